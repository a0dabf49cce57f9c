"""Who is told what a run does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from nebula_tune.study.coordinator import Observer


class Reporter(Observer, Protocol):
    """Told of all a run does."""

    def note(self, text: str) -> None:
        """A line the user should read."""

    def loading(self, done: int, total: int) -> None:
        """So many of the target's sounds are embedded."""

    def rendering(self, done: int, total: int) -> None:
        """So many of a constellation's sounds are rendered."""

    def skipped(self, files: Sequence[Mapping[str, str]]) -> None:
        """Files of the target (name, reason) that are not used."""


class Silent:
    """A reporter that tells nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def loading(self, done: int, total: int) -> None:
        """Nothing."""

    def rendering(self, done: int, total: int) -> None:
        """Nothing."""

    def skipped(self, files: Sequence[Mapping[str, str]]) -> None:
        """Nothing."""

    def phase(self, name: str, done: int, total: int) -> None:
        """Nothing."""

    def scored(self, done: int, best: float | None) -> None:
        """Nothing."""

    def ended_early(self, name: str, trials: int, total: int) -> None:
        """Nothing."""
