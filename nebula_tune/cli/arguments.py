"""Arguments that hold a password: other users of the machine do not see them, and no message repeats them."""

from __future__ import annotations

import re
import sys

from nebula_tune.machine import overwrite_argument

# A login in a URL, or a setting by the name of one; what is before may be shown.
LOGIN = re.compile(r"((?:.*?[\s=])?(?:\w+(?:\+\w+)?:/+)?)([^@]*:.*@.*)", re.S)
WITHOUT_HOST = re.compile(
    r"((?:.*?[\s=])?postgres\w*(?:\+\w+)?:/*)([^/?]*:(?!\d*(?:[/?]|$)).+)", re.S
)  # no port follows
SETTING = re.compile(r"(.*?(?:pass(?!file)\w*|pwd|secret|token)\s*(?:=|%3D))(.+)", re.S | re.I)
FORMS = (LOGIN, WITHOUT_HOST, SETTING)


def masked(argument: str) -> str:
    """An argument with stars in place of what may be a password, as long as before."""
    for form in FORMS:
        if match := form.fullmatch(argument):
            argument = match[1] + "*" * len(match[2])
    return argument


def hide_passwords() -> None:
    """Take passwords out of the command line that the system shows of this process: ps, /proc, a Ray job's entry."""
    for argument in sys.argv[1:]:
        if masked(argument) != argument:
            overwrite_argument(argument, masked(argument))


def without_passwords(message: str) -> str:
    """A message in which no argument's password is repeated."""
    for argument in sys.argv[1:]:
        for secret in [match[2] for form in FORMS if (match := form.fullmatch(argument))]:
            for said in (secret, repr(secret)[1:-1]):
                message = message.replace(said, "***")
    return message
