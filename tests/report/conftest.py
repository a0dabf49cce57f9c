"""A finished study with its report, made by the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from nebula_tune.corpus.source import Source
from nebula_tune.report.view import Ours, View
from nebula_tune.storage.ledger import Ledger
from tests.study.tiny import TinyStudy, make_target


class Reported(TinyStudy):
    """A tiny study that writes its page."""

    @property
    def page(self) -> Path:
        return self.folder / "nebulae" / "tiny.report.html"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.storage, create=False)

    @property
    def view(self) -> View:
        """The study, with its target."""
        return View.of(self.ledger, "tiny", Ours(Source.parse(str(self.target))))


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    folder = tmp_path_factory.mktemp("reported")
    study = Reported(folder, make_target(folder / "bells & <whistles>", 30))
    told = study.run(report=True)
    assert told["page"] == "nebulae/tiny.report.html"
    return study
