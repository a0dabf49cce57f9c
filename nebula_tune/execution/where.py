"""The executors by name, and which of them a run gets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nebula_tune.additions import class_at
from nebula_tune.errors import SettingsError
from nebula_tune.execution.executor import Client, Executor
from nebula_tune.scoring import ScorerSpec

EXECUTORS = {  # each with its class, which is imported when it is asked for
    "inline": "nebula_tune.execution.inline:InlineExecutor",
    "ray": "nebula_tune.execution.ray_executor:RayExecutor",
}


@dataclass(frozen=True)
class Where:
    """Where trials are scored; nothing of it can change a result."""

    executor: str = "auto"
    workers: int | None = None
    ray_address: str | None = None
    gpu_share: float = 1.0
    task_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.executor not in ("auto", *EXECUTORS):
            raise SettingsError(f"--executor {self.executor!r}: it is one of auto, {', '.join(EXECUTORS)}")
        if self.workers is not None and self.workers < 1:
            raise SettingsError(f"--workers {self.workers}: at least 1")
        if not 0 < self.gpu_share <= 1:
            raise SettingsError(f"--gpu-share {self.gpu_share}: above 0, at most 1")
        if self.task_timeout is not None and not 0 < self.task_timeout < math.inf:
            raise SettingsError(f"--task-timeout {self.task_timeout}: seconds above 0")
        if self.ray_address is not None and self.executor not in ("auto", "ray"):
            raise SettingsError("--ray-address needs --executor ray")

    @property
    def _alone(self) -> bool:
        """Whether Ray would start one worker on this machine's CPU: a process more, and no gain."""
        import torch

        asked = (self.workers or 1, self.ray_address, self.gpu_share, self.task_timeout) != (1, None, 1.0, None)
        return not asked and torch.cuda.device_count() == 0

    def make(self, spec: ScorerSpec, client: Client) -> Executor:
        """The executor that scores by ``spec`` for ``client``. Raises ScoringError, and what ``client`` raises."""
        auto = "inline" if self._alone else "ray"
        kind: type[Executor] = class_at(EXECUTORS[auto if self.executor == "auto" else self.executor])
        return kind.start(spec, self, client)
