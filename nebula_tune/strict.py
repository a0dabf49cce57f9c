"""Settings that are read strictly: an unknown key or a value of another type is refused, and nothing changes later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

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
