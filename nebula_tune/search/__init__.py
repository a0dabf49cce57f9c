"""Samplers: scores in, next nebulae out. Pure ask and tell."""

from nebula_tune.search.cmaes import CmaEs
from nebula_tune.search.grid import Grid
from nebula_tune.search.prior import Leash
from nebula_tune.search.reevaluate import Reevaluation
from nebula_tune.search.reuse import Reuse
from nebula_tune.search.sampler import Candidate, Sampler
from nebula_tune.search.space import Space
from nebula_tune.search.witness import Witness

__all__ = ["Candidate", "CmaEs", "Grid", "Leash", "Reevaluation", "Reuse", "Sampler", "Space", "Witness"]
