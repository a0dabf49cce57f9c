"""Samplers: scores in, next nebulae out. Pure ask and tell."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from nebula_tune.additions import class_at
from nebula_tune.search.cmaes import CmaEs
from nebula_tune.search.grid import Grid
from nebula_tune.search.reevaluate import Reevaluation
from nebula_tune.search.sampler import Candidate, Sampler, SamplerSettings
from nebula_tune.search.space import Space
from nebula_tune.search.witness import Witness

SAMPLERS = (  # where the settings of each are: what a phase of a study file may be
    "nebula_tune.search.grid:GridSettings",
    "nebula_tune.search.cmaes:CmaEsSettings",
    "nebula_tune.search.witness:WitnessSettings",
)
if TYPE_CHECKING:
    AnySampler = SamplerSettings
else:
    AnySampler = Annotated[Union[tuple(map(class_at, SAMPLERS))], Field(discriminator="sampler")]  # noqa: UP007

__all__ = ["SAMPLERS", "AnySampler", "Candidate", "CmaEs", "Grid", "Reevaluation", "Sampler", "Space", "Witness"]
