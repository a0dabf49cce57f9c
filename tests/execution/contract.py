"""What every executor promises: a test class for each inherits this and overrides a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.execution.executor import Client, Executor, Failure
from nebula_tune.execution.where import EXECUTORS, Where
from nebula_tune.objective import Target
from nebula_tune.scoring import Request, Scorer, ScorerSpec
from nebula_tune.trial import Point, Score

PARAMETERS = 78  # of the Voice
POINTS = [Point(np.full(PARAMETERS, curve), np.zeros(PARAMETERS)) for curve in (0.5, 1.0, 2.0)]
REQUESTS = {number: Request(point, 1000 * number, 40) for number, point in enumerate(POINTS)}  # three chunks, one short


def the_same(one: Score, other: Score) -> bool:
    """Whether two scores are equal to the bit."""
    arrays = ("curve_gradient", "flag_gradient", "flag_information", "curvature")
    numbers = (one.value, one.mmd, one.deviation, one.shares) == (other.value, other.mmd, other.deviation, other.shares)
    return numbers and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays)


class ExecutorContract:
    workers: int | None = None

    @pytest.fixture(scope="class")
    @classmethod
    def name(cls) -> str:
        """Its name among EXECUTORS."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def spec(cls, tmp_path_factory: pytest.TempPathFactory) -> ScorerSpec:
        path: Path = tmp_path_factory.mktemp("target") / "target.npz"
        embedding = {"name": "logmel", "sample_rate": 8000, "seconds": 0.25}
        spec = ScorerSpec("voice", [embedding], Prepare.ONSET, str(path), "cpu")
        vectors = replace(spec, target=None).build().chunk(Request(POINTS[0], 10**6, 16), 0).vectors
        Target.save(path, vectors, 2.0)
        return spec

    @pytest.fixture(scope="class")
    @classmethod
    def scorer(cls, spec: ScorerSpec) -> Scorer:
        return spec.build()

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls, name: str, spec: ScorerSpec) -> Iterator[Executor]:
        with Where(name, workers=cls.workers).make(spec, Client()) as executor:
            yield executor

    def test_it_is_found_by_name(self, name: str, executor: Executor) -> None:
        assert EXECUTORS[name].endswith(f":{type(executor).__name__}")
        assert executor.workers >= 1

    def test_scores_come_back_under_their_keys_and_are_those_of_the_chunks_in_order(
        self, executor: Executor, scorer: Scorer
    ) -> None:
        for number in REQUESTS:
            executor.submit(("trial", number), replace(REQUESTS[number], curvature=number == 1))
        scores = dict(executor.wait() for _ in REQUESTS)
        assert set(scores) == {("trial", number) for number in REQUESTS}
        for number in REQUESTS:
            request = replace(REQUESTS[number], curvature=number == 1)
            expected = scorer.reduce(request, [scorer.chunk(request, chunk) for chunk in range(3)])
            assert the_same(scores["trial", number], expected)

    def test_vectors_and_penalties_come_in_the_order_of_the_sounds(self, executor: Executor, scorer: Scorer) -> None:
        vectors, penalties = executor.fresh(REQUESTS[2])
        chunks = [scorer.chunk(REQUESTS[2], chunk) for chunk in range(3)]
        assert np.array_equal(vectors, np.concatenate([chunk.vectors for chunk in chunks]))
        assert np.array_equal(penalties, np.concatenate([chunk.penalties for chunk in chunks]))
        assert np.array_equal(executor.vectors(REQUESTS[2]), vectors)

    def test_a_trial_that_cannot_be_scored_is_a_failure_with_its_reason_and_others_go_on(
        self, executor: Executor
    ) -> None:
        executor.submit("bad", Request(Point(np.ones(3), np.zeros(3)), 0, 40))
        executor.submit("good", REQUESTS[0])
        outcomes = dict(executor.wait() for _ in range(2))
        assert isinstance(outcomes["bad"], Failure) and outcomes["bad"].message
        assert "\n" not in outcomes["bad"].message
        assert isinstance(outcomes["good"], Score)
