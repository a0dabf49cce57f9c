"""Settings that are read strictly: an unknown key or a value of another type is refused, and nothing changes later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1, le=2**31)]


class Strict(BaseModel):
    """A model of settings."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def said(problem: ErrorDetails) -> str:
    """What a problem that pydantic found says: of an error of our own its words alone, without pydantic's in front."""
    error = problem.get("ctx", {}).get("error")
    return str(error) if isinstance(error, ValueError) else problem["msg"]


def first_problem(error: ValidationError, lines: Mapping[tuple[str | int, ...], int]) -> str:
    """The first problem as ``:LINE: key: what``; names of union members in pydantic's path are left out."""
    problem = error.errors()[0]
    place: tuple[str | int, ...] = ()
    for part in problem["loc"]:
        if (*place, part) in lines:
            place = (*place, part)
    line = f":{lines[place]}" if place in lines else ""
    named = place if place else problem["loc"]
    key = ".".join(str(part) for part in named)
    message = {"extra_forbidden": "unknown key", "missing": "is missing"}.get(problem["type"], said(problem))
    if problem["type"] == "missing":
        key = ".".join([*map(str, place), str(problem["loc"][-1])])
    return f"{line}: {key}: {message}" if key else f": {message}"
