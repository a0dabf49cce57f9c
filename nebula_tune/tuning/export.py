"""What a run writes: the nebula, its provenance, its constellation, and the page about it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nebula_tune.constellation import Constellation
from nebula_tune.documents import read_json
from nebula_tune.errors import SettingsError
from nebula_tune.files import constellation_path, provenance_path, write_atomically
from nebula_tune.nebula import Nebula
from nebula_tune.report.page import report_path, write_report
from nebula_tune.report.view import Ours, View
from nebula_tune.storage.address import shown
from nebula_tune.storage.ledger import Ledger
from nebula_tune.storage.store import Store
from nebula_tune.study.plan import stored_json
from nebula_tune.tuning.outputs import claimed, try_out
from nebula_tune.tuning.resolve import ResolvedStudy
from nebula_tune.words import all_printable, json_text

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """What a finished study's files hold, as its database has it.

    Attributes:
        out: the nebula's file; the others lie beside it.
        identity: of the study, whatever its name.
        report: the whole, which names these files.
        nebula: the tuned one.
        constellation: fitted on it; None where there is none, or none is kept any more.
        origin: where the trials came from, and ``settings`` the resolved ones, as JSON.
    """

    out: Path
    identity: str
    report: dict[str, Any]
    nebula: Nebula
    constellation: Constellation | None
    settings: dict[str, Any]
    origin: dict[str, Any]

    @classmethod
    def of(cls, ledger: Ledger, name: str, out: Path) -> Finished | None:
        """Read a study; None for one that is not finished. Raises StorageError, StudyError."""
        row, known = ledger.record(name), ledger.result(name)
        if row["state"] != "finished" or known is None:
            return None
        report, entries = known
        kept = ledger.constellation(name)
        constellation = Constellation.from_json(kept) if kept else Constellation.beside(out, row["identity"])
        report |= {"storage": shown(ledger.url), "nebula": str(out)}
        if "constellation" in report:
            report["constellation"] |= {"file": str(constellation_path(out))}
        settings, origin = stored_json(row, "settings"), {"target": ledger.target(name), **stored_json(row, "origin")}
        return cls(out, row["identity"], report, Nebula.from_json(entries), constellation, settings, origin)

    @property
    def fitted(self) -> bool:
        """Whether a constellation was fitted."""
        return "constellation" in (self.report.get("heldout") or {})

    @property
    def lost(self) -> bool:
        """Whether its constellation is nowhere any more: studies of before kept it in its file only."""
        return self.fitted and self.constellation is None and not constellation_path(self.out).exists()

    @property
    def files(self) -> list[Path]:
        """Where everything goes: provenance first, so that a study that is killed finds no foreign file in its way."""
        return [
            provenance_path(self.out),
            self.out,
            *([constellation_path(self.out)] if self.constellation is not None else []),
        ]

    @property
    def missing(self) -> list[Path]:
        """Those that are not there."""
        return [path for path in self.files if not path.exists()]

    def write(self, files: list[Path]) -> None:
        """Write some of its files. Raises StorageError."""
        whole = {"identity": self.identity, **self.report, "settings": self.settings, "origin": self.origin}
        provenance = all_printable(whole)
        for path in files:
            if path == self.out:
                self.nebula.save(path)
            elif path == provenance_path(self.out):
                write_atomically(path, f"{json_text(provenance)}\n".encode())
            elif self.constellation is not None:
                replace(self.constellation, provenance=provenance).save(path)


def refuse_foreign_file(out: Path, identity: str | None, force: bool, nebula: Nebula | None = None) -> None:
    """Never replace a file that is not this study's, unless forced to. Raises SettingsError.

    Args:
        out: the nebula's file.
        identity: of the study; None for one that has not begun.
        force: replace it whatever it is.
        nebula: what the file holds where it is this study's and its provenance is gone.
    """
    if force:
        return
    for path in (out, provenance_path(out), constellation_path(out)):
        if path.exists() and not _is_ours(path, out, identity, nebula):
            raise SettingsError(
                f"{path} exists and is not this study's; give another --out or --name, or --force to replace it"
            )


def _is_ours(path: Path, out: Path, identity: str | None, nebula: Nebula | None) -> bool:
    """Whether a study may replace a file: its own, or what lies beside a nebula that is gone."""
    try:
        described = provenance_path(out) if path == out else path
        content = read_json(described)
        if path == constellation_path(out):
            content = content["provenance"]
        if content["identity"] == identity and identity is not None:
            return True
        return path != out and not path.with_name(Path(content["nebula"]).name).exists()
    except (OSError, ValueError, KeyError, TypeError):
        return path == out and nebula is not None and _holds(path, nebula)


def _holds(path: Path, nebula: Nebula) -> bool:
    try:
        return path.read_bytes() == nebula.to_json().encode()
    except OSError:
        return False


def complete(study: ResolvedStudy, ledger: Ledger, finished: Finished) -> None:
    """Write again what is missing of a finished study's files. Raises SettingsError, StorageError."""
    wants_page = not study.options.output.no_report and not report_path(study.out).exists()
    force = study.options.output.force
    wanted = finished.files if force and not _holds(study.out, finished.nebula) else finished.missing
    try_out([("the study's file", path) for path in wanted])
    if wanted:
        with claimed(study.out, study.name, finished.identity):
            refuse_foreign_file(study.out, finished.identity, force, finished.nebula)
            finished.write(wanted)
    if wants_page:
        make_page(study, ledger)


def make_page(study: ResolvedStudy, ledger: Store) -> None:
    """The page of the finished study. Whatever goes wrong with it, the study's result stands."""
    if study.options.output.no_report:
        return
    study.reporter.note("making the report")
    try:
        ours = Ours(study.source, study.plan, study.out)
        write_report(View.of(ledger, study.name, ours), report_path(study.out))
    except Exception as error:
        log.info("no report", extra={"fields": {"error": repr(error)}})
        study.reporter.note(f"no report could be made: {error}; the study is finished all the same")


def page_of(out: Path) -> dict[str, str]:
    """Where the page of a nebula's study is, as the report tells it; nothing where there is none."""
    path = report_path(out)
    return {"page": str(path)} if path.exists() else {}
