"""A run's metrics: what Prometheus reads while it runs, and nothing once it is over."""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from nebula_tune import tune
from nebula_tune.errors import SettingsError, StopRequested
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.status import study_status
from nebula_tune.tuning.metrics import Metrics, measured
from nebula_tune.tuning.reporter import Silent
from tests.conftest import Outcome
from tests.study.tiny import STUDY

Samples = dict[str, tuple[dict[str, str], float]]


def asked(url: str, **headers: str) -> tuple[list[str], Samples]:
    """Lines of what an address answers, and its samples by name (trials by name and state)."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        text = answer.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return text.splitlines(), {
        f"{each.name} {each.labels.get('state', '')}".strip(): (each.labels, each.value) for each in samples
    }


class Scraper(Silent):
    """A reporter that reads the metrics after some trials of a run, and ends it then."""

    def __init__(self, after: int) -> None:
        self.left, self.url, self.samples = after, "", {}

    def note(self, text: str) -> None:
        if match := re.fullmatch(r"metrics: (http://127\.0\.0\.1:\d+/metrics)", text):
            self.url = match[1]
            _, self.first = asked(self.url)

    def scored(self, done: int, best: float | None) -> None:
        self.left -= done
        if self.left == 0:
            _, self.samples = asked(self.url)
            raise StopRequested("enough")


def test_a_run_tells_prometheus_how_it_gets_on_until_it_ends(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(STUDY.replace("sounds: 40", "sounds: 8"))
    for go, (after, known) in enumerate([(7, 0), (2, 7)]):
        scraper = Scraper(after)
        with pytest.raises(StopRequested):
            tune(target, scraper, study="tiny.yaml", name="tiny", metrics_port=0, executor="inline", no_report=True)
        assert scraper.first["nebula_tune_phase_info"][0] == {"study": "tiny", "phase": "start"}
        assert scraper.first["nebula_tune_workers"][1] == scraper.first["nebula_tune_waiting"][1] == 0
        told = study_status(Ledger("sqlite:///studies/nebula-tune.db"), "tiny")
        values = {name: value for name, (_, value) in scraper.samples.items()}
        assert {labels["study"] for labels, _ in scraper.samples.values()} == {"tiny"}
        assert scraper.samples["nebula_tune_phase_info"][0]["phase"] == told["phase"] == "grid + witness"
        assert values["nebula_tune_trials complete"] == told["complete"] == known + after, go
        assert values["nebula_tune_trials failed"] == values["nebula_tune_waiting"] == 0
        assert values["nebula_tune_workers"] == told["workers"] == 1
        assert values["nebula_tune_trials_per_second"] > 0
        assert values["nebula_tune_best"] >= told["best"]  # of generations that are whole
        with pytest.raises(urllib.error.URLError):
            asked(scraper.url)


def test_failed_trials_and_missing_workers_are_told() -> None:
    coordinator = SimpleNamespace(
        phase="grid", counts={"complete": 3, "failed": 2}, rate=0.5, best=None, executor=SimpleNamespace(workers=0)
    )
    for stage, phase, waiting in [("workers", "workers", 1), ("search", "grid", 1), ("judge", "judge", 0)]:
        metrics = Metrics("caf\udce9", stage, coordinator)  # type: ignore[arg-type]
        families = {family.name: family.samples for family in metrics.collect()}
        assert families["nebula_tune_phase"][0].labels == {"study": "caf\\xe9", "phase": phase}
        assert families["nebula_tune_waiting"][0].value == waiting
        assert [each.value for each in families["nebula_tune_trials"]] == [3, 2]
        assert "nebula_tune_best" not in families


def listening_options(port: int, host: str = "127.0.0.1") -> SimpleNamespace:
    return SimpleNamespace(metrics_port=port, metrics_host=host)


def test_a_page_elsewhere_reads_no_metrics() -> None:
    notes: list[str] = []
    with measured(listening_options(0), "tiny", notes.append):  # type: ignore[arg-type]
        url = notes[0].removeprefix("metrics: ")
        lines, _ = asked(url)
        assert 'nebula_tune_phase_info{phase="start",study="tiny"} 1.0' in lines
        for headers, status in (({"Host": "evil.example"}, 421), ({"Origin": "http://evil.example"}, 403)):
            with pytest.raises(urllib.error.HTTPError) as refused:
                asked(url, **headers)
            assert refused.value.code == status
    with measured(listening_options(0, "0.0.0.0"), "tiny", notes.append):  # type: ignore[arg-type]
        asked(notes[1].removeprefix("metrics: "), Host="any.name")


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    with (
        pytest.raises(SettingsError, match=f"port {port}: .*give another --metrics-port"),
        measured(listening_options(port), "tiny", print),  # type: ignore[arg-type]
    ):
        pass


def test_a_port_in_use_is_one_line_before_anything_is_made(
    call: Callable[..., Outcome], target: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        outcome = call("run", "--target", str(target), "--metrics-port", port)
    assert outcome.code == 2 and f"cannot listen on 127.0.0.1 port {port}: Address already in use" in outcome.line
    assert not list(tmp_path.rglob("*.db"))


def test_nothing_listens_unless_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nebula_tune.tuning.metrics.listening", lambda *_: pytest.fail("listens"))
    with measured(SimpleNamespace(metrics_port=None, metrics_host="127.0.0.1"), "tiny", print) as metrics:  # type: ignore[arg-type]
        assert metrics.study == "tiny"
