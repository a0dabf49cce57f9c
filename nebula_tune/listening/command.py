"""What `nebula-tune listen` does: a test made, or ballots analysed, from what was typed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nebula_tune.corpus.source import Source
from nebula_tune.errors import SettingsError
from nebula_tune.listening.analysis import analyse
from nebula_tune.listening.ballot import unblind
from nebula_tune.listening.blind import KIND, write_test
from nebula_tune.synth import architecture


def make_test(
    what: Sequence[str], synth: str, out: Path, *, target_kind: str | None, pairs: int, seed: int | None,
    keys: Sequence[Path] | None, panel: str | None = None,
) -> dict[str, str]:  # fmt: skip
    """Write a test of two sources; where it is, and what it can show.

    Args:
        what: the two sources, as they were typed.
        synth: the name of nebulae's architecture.
        out: the page, a new .html file.
        target_kind: what listeners are told to look for; None: KIND.
        pairs: of sounds to compare.
        seed: of the order; None: one is drawn.
        panel: the synth's, a name or file; None: its own.
        keys: must be None or empty: a new test writes its own.

    Raises:
        UserInputError: for what cannot be.
    """
    if keys:
        raise SettingsError("--key goes with --analyse; a new test writes its own key")
    if len(what) != 2:
        raise SettingsError(f"listen compares two, A and B, not {len(what)}: nebula-tune listen A B")
    a, b = map(Source.parse, what)
    written = write_test(
        a,
        b,
        architecture(synth, panel),
        out,
        target_kind=KIND if target_kind is None else target_kind,
        pairs=pairs,
        seed=seed,
    )
    return {"page": str(written.page), "key": str(written.key), "power": str(written.power)}


def analyse_ballots(ballots: Sequence[str], keys: Sequence[Path]) -> dict[str, Any]:
    """What ballots say (:func:`nebula_tune.listening.analysis.analyse`). Raises SettingsError."""
    if not keys:
        raise SettingsError("--analyse needs the test's key: nebula-tune listen --analyse BALLOT.json --key KEY.json")
    return analyse(unblind([Path(ballot) for ballot in ballots], keys))
