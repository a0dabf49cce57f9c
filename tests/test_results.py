"""Typed results read reports of every version, and write them as they were."""

import json
from pathlib import Path

import pytest

from nebula_tune.results import Found, Judged, Row, RunReport, SearchReport, StudyReport
from nebula_tune.storage.ledger import Ledger

SERVICE = Path(__file__).parent / "service"
ROW = {"mmd": 1.5, "mmd_unbiased": 1.25, "ci95": [0.0, 2.5], "p_value": 0.001, "n": 1024, "m": 22}


@pytest.mark.parametrize("golden", sorted(path.name for path in SERVICE.glob("golden-*.db")))
def test_a_report_of_an_earlier_version_is_read_and_written_as_it_was(golden, tmp_path):
    database = tmp_path / golden
    database.write_bytes((SERVICE / golden).read_bytes())
    ledger = Ledger(f"sqlite:///{database}", create=False)
    reports = [found[0] for name in ledger.names() if (found := ledger.result(name))]
    assert reports
    for report in reports:
        known = {key: value for key, value in report.items() if key in RunReport.model_fields}
        assert {"heldout", "target"} <= set(known)
        whole = RunReport.from_json(report)
        assert whole.to_json() == known
        parts = [kind.from_json(report) for kind in (SearchReport, Judged, StudyReport)]
        assert RunReport.joined(*parts) == whole
        assert json.dumps(RunReport.joined(*parts).to_json()) == json.dumps(whole.to_json())


def test_fields_come_in_their_order_and_what_was_never_given_is_left_out():
    assert json.dumps(Row.from_json(ROW).to_json()) == json.dumps(ROW)
    shares = ROW | {"parts": None, "shares": {"silent": 0.5}}
    assert json.dumps(Row.from_json(shares).to_json()) == json.dumps(shares)


def test_results_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Row.from_json(ROW).n = 3


def test_an_unknown_key_of_a_later_version_is_read_over():
    assert not hasattr(Row.from_json(ROW | {"later": 1}), "later")


def every(kind: type[Found]) -> list[type[Found]]:
    return [kind, *(one for below in kind.__subclasses__() for one in every(below))]


def test_every_result_says_what_it_is():
    assert len(every(Found)) > 10
    assert all(kind.__doc__ for kind in every(Found))
