"""Settings that are read strictly: an unknown key or a value of another type is refused, and nothing changes later."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
AtLeastOne = Annotated[int, Field(ge=1)]


class Strict(BaseModel):
    """A model of settings."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
