"""The note of a study in Optuna's dashboard: what it is, and at its end its score card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nebula_tune.corpus.source import Source
from nebula_tune.results import Judged, figure
from nebula_tune.study.plan import Plan
from nebula_tune.words import printable


def study_note(plan: Plan, source: Source | None, command: str, judged: Judged | None) -> str:
    """The note as Markdown.

    Args:
        plan: of the study.
        source: the target; None for a study without.
        command: what makes the study.
        judged: its score card; None while there is none.
    """
    settings = plan.settings
    lines = [
        f"**Target**: {_verbatim(source.text) if source else 'none: the sounds are to be varied'}",
        f"**Command**: {_verbatim(command)}",
        f"**Trials hear**: {_verbatim(settings.heard_as)}",
    ]
    if settings.chooser:
        lines.append(f"**Chooses**: {_verbatim(settings.chooser.name)}")
    if settings.second_opinion and source:
        lines.append(f"**Second opinion**: {_verbatim(settings.second_opinion.name)}")
    return "\n\n".join([*lines, *(_score_card(judged) if judged else [])])


def _verbatim(text: str) -> str:
    """A text of others, which is no Markdown."""
    return f"`{printable(text).replace('`', chr(39))}`"


def _score_card(judged: Judged) -> Iterator[str]:
    if verdicts := judged.told_apart:
        rows = [(name, f"{auc:.3f}", f"{verdicts.linear[name]:.3f}") for name, auc in verdicts.network.items()]
        yield "**Told from real sounds** (0.5: cannot be told)"
        yield _table(("sounds of", "network", "linear classifier"), rows)
    if judged.heldout:
        yield "**Distance to held-out sounds** (unbiased)"
        distances = [(name, figure(row.mmd_unbiased), *map(figure, row.ci95)) for name, row in judged.heldout.items()]
        yield _table(("sounds of", "distance", "95 % from", "to"), distances)
    if judged.spread:
        yield "**Spread** (mean distance among fresh sounds)"
        spreads = [(name, figure(row.value), *map(figure, row.ci95)) for name, row in judged.spread.items()]
        yield _table(("sounds of", "spread", "95 % from", "to"), spreads)


def _table(titles: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *((_verbatim(name), *figures) for name, *figures in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
