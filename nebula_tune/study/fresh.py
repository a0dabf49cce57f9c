"""Fresh sounds of nebulae under another embedding than a study's own, rendered and embedded in this process."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from nebula_tune.execution.executor import Fresh
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.scoring import Request, ScorerSpec
from nebula_tune.study.plan import Plan

Name = TypeVar("Name", bound=Hashable)


def fresh_sounds(
    requests: Mapping[Name, Request], plan: Plan, named: Mapping[str, Any], device: str, most: int
) -> dict[Name, Fresh]:
    """Vectors (sounds, D) and penalties (sounds, shares) of each request under an embedding.

    Args:
        requests: of each nebula, by a name.
        plan: of the study.
        named: the embedding's name and its options.
        device: torch's name of where synth and embedding run.
        most: sounds of each request, from its first on.
    """
    spec = ScorerSpec(plan.synth_name, [named], plan.settings.prepare, None, device, panel=plan.panel)
    with InlineExecutor(spec) as executor:
        return {name: executor.fresh(_fewer(request, most)) for name, request in requests.items()}


def _fewer(request: Request, most: int) -> Request:
    raw = None if request.raw is None else request.raw[:most]
    return replace(request, sounds=min(most, request.sounds), raw=raw)
