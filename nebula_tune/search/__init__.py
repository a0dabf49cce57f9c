"""Samplers: scores in, next nebulae out. Pure ask and tell."""

from typing import Annotated

from pydantic import Field

from nebula_tune.search.cmaes import CmaEs, CmaEsSettings
from nebula_tune.search.grid import Grid, GridSettings
from nebula_tune.search.reevaluate import Reevaluation
from nebula_tune.search.sampler import Candidate, Sampler
from nebula_tune.search.space import Space
from nebula_tune.search.witness import Witness, WitnessSettings

# What a phase of a study file may be: a line here adds a sampler.
AnySampler = Annotated[GridSettings | CmaEsSettings | WitnessSettings, Field(discriminator="sampler")]

__all__ = ["AnySampler", "Candidate", "CmaEs", "Grid", "Reevaluation", "Sampler", "Space", "Witness"]
