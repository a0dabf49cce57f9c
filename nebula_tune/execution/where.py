"""The executors by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nebula_tune.errors import SettingsError
from nebula_tune.execution.executor import Executor
from nebula_tune.scoring import ScorerSpec


@dataclass(frozen=True)
class Where:
    """Where trials are scored; nothing of it can change a result."""

    executor: str = "auto"
    workers: int | None = None
    ray_address: str | None = None
    gpu_share: float = 1.0
    task_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.executor not in ("auto", "ray", "inline"):
            raise SettingsError(f"--executor {self.executor!r}: it is auto, ray or inline")
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"--workers {self.workers}: at least 1")
        if not 0 < self.gpu_share <= 1:
            raise SettingsError(f"--gpu-share {self.gpu_share}: above 0, at most 1")
        if self.task_timeout is not None and not self.task_timeout > 0:
            raise SettingsError(f"--task-timeout {self.task_timeout}: seconds above 0")
        if self.ray_address is not None and self.executor == "inline":
            raise SettingsError("--ray-address needs --executor ray")

    @property
    def _alone(self) -> bool:
        """Whether Ray would start one worker on this machine's CPU: a process more, and no gain."""
        import torch

        asked = (self.workers or 1, self.ray_address, self.gpu_share, self.task_timeout) != (1, None, 1.0, None)
        return not asked and torch.cuda.device_count() == 0

    def make(self, spec: ScorerSpec, note: Callable[[str], None]) -> Executor:
        """The executor; ``note`` is told what the user should know of its workers. Raises ScoringError."""
        if self.executor == "inline" or (self.executor == "auto" and self._alone):
            from nebula_tune.execution.inline import InlineExecutor

            return InlineExecutor(spec)
        from nebula_tune.execution.ray_executor import RayExecutor

        workers = self.workers or (None if self.ray_address else _local_workers(self.gpu_share))
        return RayExecutor(
            spec, workers, address=self.ray_address, gpu_share=self.gpu_share, task_timeout=self.task_timeout, note=note
        )


def _local_workers(gpu_share: float) -> int:
    """One a GPU of this machine, or a share of one; else one."""
    import torch

    from nebula_tune.execution.ray_workers import shares

    return max(1, torch.cuda.device_count() * shares(gpu_share))
