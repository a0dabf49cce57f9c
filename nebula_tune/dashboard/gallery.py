"""What a run leaves for the dashboard: sounds, pictures and figures of a study.

All of it is made on a thread of its own, for improving trials only, and none of it can fail a study.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nebula_tune.corpus.source import Source
from nebula_tune.dashboard import figures
from nebula_tune.files import write_atomically
from nebula_tune.results import Row
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.store import TrialKey
from nebula_tune.study.plan import Plan
from nebula_tune.synth.indices import Purpose, first_index
from nebula_tune.trial import Point, Score

NEEDED = ("optuna_dashboard", "plotly", "matplotlib")
FIGURES_EVERY = 20.0  # seconds
ARTIFACT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # an artifact's name: a UUID
LAST_WAIT = 60.0  # seconds for what is not drawn yet when a run ends

log = logging.getLogger(__name__)


def remove_artifacts(ledger: Ledger, name: str, folder: Path) -> int:
    """Remove a study's sounds and pictures; returns how many there were."""
    study = ledger.study_row(name)
    attributes = ledger.database.call(lambda _: ledger.storage.get_study_system_attrs(study))
    named = {key.rpartition(":")[2] for key in attributes if key.startswith(("artifacts:", "dashboard:artifacts:"))}
    there = [path for path in map(partial(artifact_path, folder), named) if path is not None]
    for path in there:
        path.unlink(missing_ok=True)
    return len(there)


def artifact_path(folder: Path, artifact: str) -> Path | None:
    """The file of an artifact that a row names; None where there is none, or the name is not one that an artifact has.

    A name is a UUID, so it leads nowhere else, and the file is one: no link, which might.
    """
    if not ARTIFACT.fullmatch(artifact):
        return None
    path = folder / artifact
    return path if path.is_file() and not path.is_symlink() else None


class _LeasedStorage:
    """Optuna's storage, by which a study's attributes are written only while this process has the study."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger, self._name = ledger, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger.storage, name)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._ledger.write_attribute(self._name, study_id, key, value)


class Gallery:
    """Use as a context manager; give :meth:`written` every trial that is in the ledger.

    Args:
        ledger: the database that the study is in.
        name: of the study.
        plan: of the study; it renders the nebulae.
        source: the target; None for a study without.
        folder: where sounds and pictures go.
    """

    def __init__(self, ledger: Ledger, name: str, plan: Plan, source: Source | None, folder: Path) -> None:
        self._ledger, self._name, self._plan, self._source, self._folder = ledger, name, plan, source, folder
        self._identity = ledger.record(name)["identity"]
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._values: list[tuple[str, float, bool]] = []
        self._best = float("inf")
        self._drawn = time.monotonic()
        self._ended = False
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Gallery:
        if all(find_spec(module) for module in NEEDED):
            for trial in self._ledger.trials(self._name):
                if trial.score is not None:
                    self._note_value(trial.sampler, trial.score.value, trial.relaxed)
            self._study = self._ledger.study_row(self._name)
            self._thread = threading.Thread(target=self._work, name="gallery", daemon=True)
            self._thread.start()
            self._queue.put(self._show_target)
        return self

    def __exit__(self, *error: object) -> None:
        if self._thread is not None:
            self._ended = error[0] is not None  # whoever ends in haste leaves the rest undrawn
            if not self._ended:
                self._queue.put(self._draw_convergence)
            self._queue.put(None)
            self._thread.join(LAST_WAIT)

    def written(self, row: int, key: TrialKey, sampler: str, point: Point, score: Score) -> None:
        """A trial is in the ledger, in this row.

        Args:
            row: of the trial in Optuna's table.
            key: its phase, generation and index.
            sampler: name of the sampler that asked for it.
            point: the nebula that was scored.
            score: what it scored.
        """
        if self._thread is None:
            return
        improves = self._note_value(sampler, score.value, point.relaxed)
        if improves:
            self._queue.put(lambda: self._show_trial(row, key, sampler, point, score))
        if time.monotonic() - self._drawn > FIGURES_EVERY:
            self._drawn = time.monotonic()
            self._queue.put(self._draw_convergence)

    def judged(self, rows: Mapping[str, Row] | None) -> None:
        """The score card is there."""
        if rows and self._thread is not None:
            self._queue.put(lambda: self._save_figure("heldout", figures.heldout(rows)))

    def _note_value(self, sampler: str, value: float, relaxed: bool) -> bool:
        self._values.append((sampler, value, relaxed))
        improves = not relaxed and value < self._best
        if improves:
            self._best = value
        return improves

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if self._ended:
                continue
            try:
                self._ledger.update(self._name)  # or this process may leave nothing more
                job()
            except Exception as error:
                # whatever it is, the study goes on
                log.info("the dashboard misses something", extra={"fields": {"error": repr(error)}})

    def _show_target(self) -> None:
        if self._source is not None:
            first = first_index(Purpose.TARGET, self._plan.seed)
            audio = figures.source_sheet(self._source, self._plan.synth, first)
            self._attach(None, "target.wav", "audio/wav", lambda: figures.wav(audio))
            self._attach(None, "target.png", "image/png", lambda: figures.spectrogram(audio))

    def _show_trial(self, row: int, key: TrialKey, sampler: str, point: Point, score: Score) -> None:
        synth = self._plan.synth(self._plan.nebula(point), figures.SHEET_SOUNDS, figures.SAMPLE_RATE, figures.SECONDS)
        audio = figures.nebula_sheet(synth, first_index(Purpose.VALIDATION, self._plan.seed))
        self._attach(row, "sounds.wav", "audio/wav", lambda: figures.wav(audio))
        self._attach(row, "spectrogram.png", "image/png", lambda: figures.spectrogram(audio))
        phase, generation, index = key
        shares = [f"{name.replace('_', ' ')} {share:.1%}" for name, share in score.shares.items()]
        each = ", ".join(f"{name} {value:.3f}" for name, value in score.by_embedding.items())
        text = (
            f"**Best so far: {score.value:.4g}** (unbiased distance, and guards; eq. 2: {score.mmd:.4g})\n\n"
            + (f"of that, over the target's own mean distance: {each}\n\n" if each else "")
            + f"{sampler}, phase {phase + 1}, generation {generation}, trial {index}\n\n"
            f"{', '.join(shares)}\n\n"
            f"`sounds.wav`: {figures.SHEET_SOUNDS} sounds in a row, the same draws for every trial"
        )
        self._set(f"dashboard:{row}:note_str:0", text)
        self._set(f"dashboard:{row}:note_ver", 1)

    def _attach(self, row: int | None, filename: str, mimetype: str, make: Callable[[], bytes]) -> None:
        """Keep a file, and name it in the study's attributes; the same file of the same trial is made once."""
        artifact = str(uuid.uuid5(uuid.UUID(self._identity), f"{row}/{filename}"))
        path = self._folder / artifact
        if not path.exists():
            write_atomically(path, make())
        where = "artifacts:" if row is None else f"dashboard:artifacts:{row}:"
        described = {"artifact_id": artifact, "filename": filename, "mimetype": mimetype, "encoding": None}
        self._set(where + artifact, json.dumps(described))

    def _draw_convergence(self) -> None:
        self._save_figure("convergence", figures.convergence(list(self._values)))

    def _save_figure(self, name: str, figure: Any) -> None:
        import optuna
        from optuna_dashboard import save_plotly_graph_object

        leased: Any = _LeasedStorage(self._ledger, self._name)
        study = optuna.load_study(storage=leased, study_name=self._name)
        save_plotly_graph_object(study, figure, graph_object_id=name)

    def _set(self, key: str, value: Any) -> None:
        self._ledger.write_attribute(self._name, self._study, key, value)
