"""Every exception nebula-tune raises on purpose.

Each message is one line that says what is wrong, where, and what to do about it.
``exit_code`` is what the command line ends with (0 done, 1 failed while running, 2 bad input).
"""

from __future__ import annotations

from nebula_tune.words import printable

LONGEST = 80  # characters of a value that a message quotes


class NebulaTuneError(Exception):
    """Base of all errors a user may meet. What it says is printable, whatever names it names."""

    exit_code = 1

    def __str__(self) -> str:
        return printable(super().__str__())


class UserInputError(NebulaTuneError, ValueError):
    """Something the user gave cannot be used."""

    exit_code = 2


class NebulaError(UserInputError):
    """A nebula or its file is not valid."""


class CorpusError(UserInputError):
    """A folder of sounds cannot be used as it is."""


class SettingsError(UserInputError):
    """A study file or an option is not valid."""


class EmbeddingError(UserInputError):
    """An embedding is unknown, or its weights are missing or wrong."""


class StudyError(UserInputError):
    """A study cannot be opened, resumed or found."""


class TakenOverError(NebulaTuneError):
    """Another process has this one's study now, or removed it: this one may write nothing more of it."""


class StorageError(NebulaTuneError):
    """The database or a file could not be read or written."""


class ScoringError(NebulaTuneError):
    """Trials could not be scored."""


class StopRequested(NebulaTuneError):
    """The time limit is reached, or somebody asked for it; the study can be resumed."""

    exit_code = 130


def brief(value: object) -> str:
    """A value as Python writes it, for a message: not longer than a line."""
    try:
        return shortened(repr(value))
    except (ValueError, RecursionError):  # a whole number of thousands of digits; a list of lists without end
        return f"a {type(value).__name__}"


def shortened(text: str) -> str:
    """A text for a message: not longer than a line."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
