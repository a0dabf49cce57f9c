"""What a run writes: the nebula, its provenance, its constellation, and the page about it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from nebula_tune.documents import read_json
from nebula_tune.errors import SettingsError
from nebula_tune.files import constellation_path, provenance_path, write_atomically
from nebula_tune.fitting.fit import Fitted
from nebula_tune.nebula import Nebula
from nebula_tune.report.page import report_path, write_report
from nebula_tune.storage.store import Store
from nebula_tune.tuning.resolve import ResolvedStudy

log = logging.getLogger(__name__)


def refuse_foreign_file(out: Path, identity: str | None, force: bool) -> None:
    """Never replace a file that is not this study's, unless forced to. Raises SettingsError."""
    if not out.exists() or force:
        return
    try:
        owner = read_json(provenance_path(out))["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        owner = None
    if owner is None or owner != identity:
        raise SettingsError(
            f"{out} exists and is not this study's; give another --out or --name, or --force to replace it"
        )


def export(out: Path, nebula: Nebula, fitted: Fitted | None, provenance: dict[str, Any]) -> None:
    """Write provenance, then nebula: killed in between, the study finds no file of unknown origin in its way.

    Args:
        out: the nebula's file; the others lie beside it.
        nebula: the tuned nebula.
        fitted: its constellation; None where none was fitted.
        provenance: how they came about, as JSON.
    """
    text = json.dumps(provenance, indent=1) + "\n"
    write_atomically(provenance_path(out), text.encode())
    nebula.save(out)
    if fitted is not None:
        replace(fitted.constellation, provenance=provenance).save(constellation_path(out))


def make_page(study: ResolvedStudy, ledger: Store) -> None:
    """The page of the finished study. Whatever goes wrong with it, the study's result stands."""
    if study.options.output.no_report:
        return
    study.reporter.note("making the report")
    try:
        write_report(ledger, study.name, report_path(study.out))
    except Exception as error:
        log.info("no report", extra={"fields": {"error": repr(error)}})
        study.reporter.note(f"no report could be made: {error}; the study is finished all the same")


def page_of(out: Path) -> dict[str, str]:
    """Where the page of a nebula's study is, as the report tells it; nothing where there is none."""
    path = report_path(out)
    return {"page": str(path)} if path.exists() else {}
