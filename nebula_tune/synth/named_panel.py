"""A panel that users write, as a study keeps it: its name, and all of its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class NamedPanel:
    """Which controls of an instrument a nebula draws, and how the others are set.

    Attributes:
        name: what it is called; two of one name may differ, as a file does once it is edited.
        content: all that it says, as JSON text in which equal panels are equal.
    """

    name: str
    content: str

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.content.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """As a study's settings keep it."""
        return {"name": self.name, "sha256": self.digest, "content": json.loads(self.content)}

    @classmethod
    def from_json(cls, kept: Any) -> NamedPanel:
        """Inverse of :meth:`to_json`."""
        return cls(kept["name"], json.dumps(kept["content"]))
