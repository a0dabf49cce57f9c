"""A study that waits for workers which other studies have: its state says so, and it can be stopped meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from nebula_tune.errors import NebulaTuneError
from nebula_tune.storage.store import Store

WAITING = "waiting"  # the state
PHASE = 64  # letters that the database keeps of a phase

log = logging.getLogger(__name__)


class Waiting:
    """Keeps the state of a running study, as a context manager: called by its executor while that has no worker.

    Args:
        store: keeps the study.
        name: the study's.
        note: told once a wait.
        check: raises where the run is to stop.
    """

    def __init__(self, store: Store, name: str, note: Callable[[str], None], check: Callable[[], None]) -> None:
        self._store, self._name, self._note, self._check = store, name, note, check
        self._holders = self._phase = ""

    def __call__(self, holders: str) -> None:
        """Note who has all workers; "": nobody, the study goes on. Raises as ``check``, StorageError, StudyError."""
        self._check()
        if holders == self._holders:
            return
        if not self._holders:
            self._phase = self._store.record(self._name)["phase"]
            self._note(f"waiting for workers: {holders}; this run goes on as soon as it gets one")
            log.info("waits for workers", extra={"fields": {"holders": holders}})
        if holders:
            phase = f"waits for workers: {holders}"
            shown = phase if len(phase) <= PHASE else f"{phase[: PHASE - 1]}…"
            self._store.update(self._name, state=WAITING, phase=shown, workers=0)
        else:
            self._go_on()
        self._holders = holders

    def _go_on(self) -> None:
        self._store.update(self._name, state="running", phase=self._phase)

    def __enter__(self) -> Waiting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holders:
            with suppress(NebulaTuneError):  # what ended the run says more
                self._go_on()
