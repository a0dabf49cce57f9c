"""A study resolved, stored and read back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.search.cmaes import CmaEsSettings
from nebula_tune.search.grid import GridSettings
from nebula_tune.search.witness import WitnessSettings
from nebula_tune.study.plan import Plan, brought_up_to_date, differences
from nebula_tune.study.settings import StudySettings
from nebula_tune.synth import architecture


def plan(**settings: Any) -> Plan:
    found = {
        "embedding": "logmel",
        "search": ({"sampler": "grid", "trials": 3}, {"sampler": "witness", "trials": 20}),
        **settings,
    }
    start = architecture("voice").resolve("default")
    return Plan(StudySettings.model_validate(found), "voice", start, (), (), 0, "file", 2000)


def test_a_plan_survives_the_round_trip() -> None:
    assert Plan.read(plan().resolved()).resolved() == plan().resolved()


def test_a_study_of_before_a_setting_is_the_study_of_its_default() -> None:
    stored = plan().resolved()
    del stored["study"]["reevaluate"]["halving"]
    assert not differences(brought_up_to_date(stored), plan().resolved())
    changed = plan(reevaluate={"halving": True}).resolved()
    assert differences(brought_up_to_date(stored), changed) == ["study.reevaluate.halving: false -> true"]


def test_a_study_of_before_searches_could_end_early_does_not() -> None:
    stored = plan().resolved()
    del stored["study"]["search"][1]["patience"]
    assert Plan.read(stored).settings.search[1].patience is None
    told = differences(brought_up_to_date(stored), plan().resolved())
    assert len(told) == 1 and '"patience": null' in told[0] and '"patience": 50' in told[0]


def test_a_study_of_before_witnesses_knew_of_curvature_goes_on_without() -> None:
    stored = plan().resolved()
    for key in ("curvature", "cooling"):
        del stored["study"]["search"][1][key]
    then = Plan.read(stored)
    assert not then.settings.search[1].curvature and then.settings.search[1].cooling == 0
    assert [then.settings.search[phase].needs_curvature for phase in (0, 1)] == [False, False]
    assert [plan().settings.search[phase].needs_curvature for phase in (0, 1)] == [False, True]


def test_a_study_of_before_preparation_had_versions_goes_on_with_the_first() -> None:
    stored = plan().resolved()
    del stored["study"]["prepare"]
    assert Plan.read(stored).settings.prepare is Prepare.ONSET_1


@pytest.mark.parametrize("weight", [1.0, 2.0])
def test_a_weight_of_the_other_embedding_did_nothing_and_is_read_over(weight: float) -> None:
    now = plan(other_embedding="mss").resolved()
    stored = json.loads(json.dumps(now))
    assert stored["study"]["other_embedding"]["weight"] == 1
    stored["study"]["other_embedding"]["weight"] = weight
    assert brought_up_to_date(stored) == now


def test_settings_of_a_later_version_are_told_as_they_are() -> None:
    stored = plan().resolved()
    stored["study"]["search"][1]["telepathy"] = 1
    assert brought_up_to_date(stored) == stored


def test_cma_es_has_its_own_population_where_none_is_named() -> None:
    named = plan(search=({"sampler": "cmaes", "trials": 100, "population": None},))
    sampler = named.sampler(0, named.space, named.space.start)
    assert len(sampler.ask()) == 19  # 4 + 3 log 156, as in Optuna


def test_how_many_reevaluations_there_will_be() -> None:
    assert plan().settings.reevaluations == 27 * 30
    assert plan(reevaluate={"repeats": 0}).settings.reevaluations == 0
    assert plan(reevaluate={"halving": True}).settings.reevaluations < 200


def test_reuse_is_gone_and_zero_of_it_is_read_over() -> None:
    phase = {"sampler": "witness", "trials": 10}
    assert plan(search=({**phase, "reuse": 0},)) == plan(search=(phase,))
    stored = plan(search=(phase,)).resolved()
    before = json.loads(json.dumps(stored))
    before["study"]["search"][0]["reuse"] = 0
    assert brought_up_to_date(before) == stored
    with pytest.raises(ValueError, match=r"reuse brought nothing and is gone; nebula-tune 0\.1\.0"):
        plan(search=({**phase, "reuse": 4},))


def test_trials_keep_gradients_where_their_sampler_goes_on_from_them() -> None:
    assert [kind.needs_gradient for kind in (GridSettings, CmaEsSettings, WitnessSettings)] == [False, False, True]


def test_phases_that_do_not_need_each_other_go_side_by_side() -> None:
    from_start = {"sampler": "witness", "trials": 4}
    from_best = from_start | {"begin": "best"}
    grid, cmaes = {"sampler": "grid", "trials": 4}, {"sampler": "cmaes", "trials": 4}

    def groups(*search: dict[str, Any]) -> list[list[int]]:
        return plan(search=search).side_by_side()

    assert groups(from_start, from_start, from_start) == [[0, 1, 2]]
    assert groups(from_start, cmaes, from_start) == [[0], [1, 2]]
    assert groups(grid, from_best, from_best) == [[0], [1], [2]]
    assert groups(cmaes) == [[0]]
