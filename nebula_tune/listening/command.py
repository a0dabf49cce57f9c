"""What `nebula-tune listen` does: a test made, or ballots analysed, from what was typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nebula_tune.corpus.source import NebulaSounds, Source
from nebula_tune.errors import SettingsError
from nebula_tune.listening.analysis import analyse
from nebula_tune.listening.ballot import unblind
from nebula_tune.listening.blind import KIND, Written, write_among, write_test
from nebula_tune.listening.design import FEWEST_AMONG, MOST_AMONG
from nebula_tune.storage.store import Store
from nebula_tune.study.plan import Plan
from nebula_tune.study.replay import search_snapshots
from nebula_tune.synth import Synth


def make_test(
    what: Sequence[str], synth: type[Synth], out: Path, *, target_kind: str | None, pairs: int, seed: int | None,
    keys: Sequence[Path] | None,
) -> dict[str, str]:  # fmt: skip
    """Write a test of two sources; where it is, and what it can show.

    Args:
        what: the two sources, as they were typed.
        synth: nebulae's architecture.
        out: the page, a new .html file.
        target_kind: what listeners are told to look for; None: KIND.
        pairs: of sounds to compare.
        seed: of the order; None: one is drawn.
        keys: must be None or empty: a new test writes its own.

    Raises:
        UserInputError: for what cannot be.
    """
    _refuse_keys(keys)
    if len(what) != 2:
        raise SettingsError(f"listen compares two, A and B, not {len(what)}: nebula-tune listen A B")
    a, b = map(Source.parse, what)
    written = write_test(
        a,
        b,
        synth,
        out,
        target_kind=KIND if target_kind is None else target_kind,
        pairs=pairs,
        seed=seed,
    )
    return _as_json(written)


def make_among_test(
    sources: Sequence[Source], synth: type[Synth], out: Path, *, target_kind: str | None, pairs: int, seed: int | None,
    keys: Sequence[Path] | None,
) -> dict[str, str]:  # fmt: skip
    """Write a test among several sources; where it is, and how large.

    Args:
        sources: what is compared.
        synth: nebulae's architecture.
        out: the page, a new .html file.
        target_kind: what listeners are told to look for; None: KIND.
        pairs: of sounds to compare, of all sources together.
        seed: of the order; None: one is drawn.
        keys: must be None or empty: a new test writes its own.

    Raises:
        UserInputError: for what cannot be.
    """
    _refuse_keys(keys)
    kind = KIND if target_kind is None else target_kind
    return _as_json(write_among(sources, synth, out, target_kind=kind, pairs=pairs, seed=seed))


def candidates(ledger: Store, what: Sequence[str]) -> tuple[list[Source], type[Synth]]:
    """The nebulae that a study chose among, equal ones once, and its synth. Raises UserInputError."""
    if len(what) != 1:
        raise SettingsError(f"--among-candidates takes one study's name, not {len(what)}")
    plan = Plan.stored(ledger.record(what[0]))
    named = {
        f"phase {each.phase} {each.sampler} after {each.trials} trials": plan.nebula(each.point)
        for each in search_snapshots(ledger, what[0])
    }
    sources = {source.content(plan.synth): source for source in map(NebulaSounds, named, named.values())}
    if not FEWEST_AMONG <= len(sources) <= MOST_AMONG:
        raise SettingsError(
            f"study {what[0]} has {len(sources)} different candidates, a test {FEWEST_AMONG} to {MOST_AMONG}; export "
            "some of its trials, and give their files to --among"
        )
    return list(sources.values()), plan.synth


def _refuse_keys(keys: Sequence[Path] | None) -> None:
    if keys:
        raise SettingsError("--key goes with --analyse; a new test writes its own key")


def _as_json(written: Written) -> dict[str, str]:
    return {"page": str(written.page), "key": str(written.key), "power": written.power}


def analyse_ballots(ballots: Sequence[str], keys: Sequence[Path]) -> dict[str, Any]:
    """What ballots say (:func:`nebula_tune.listening.analysis.analyse`). Raises SettingsError."""
    if not keys:
        raise SettingsError("--analyse needs the test's key: nebula-tune listen --analyse BALLOT.json --key KEY.json")
    return analyse(unblind([Path(ballot) for ballot in ballots], keys))
