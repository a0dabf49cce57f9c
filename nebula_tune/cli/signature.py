"""A command's options from the parameters of a function: one declaration for Python and for the command line."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

Command = Callable[..., None]
# Types of Python that the command line takes as others.
TYPED = {str | Path | None: str | None, Sequence[str]: list[str]}


def options_of(function: Callable[..., Any], *, without: Sequence[str], **instead: Any) -> Callable[[Command], Command]:
    """Give a command an option for each parameter of a function, before the options that it names itself.

    Types, defaults and order are those of the function's signature, help texts those of the "Args:" at the end of its
    docstring, where ``name`` is the option of that name. The command takes what is given as ``**options``.

    Args:
        function: what is called with the options.
        without: its parameters that are no options.
        instead: annotations that take the place of those made here, by the parameter's name.
    """
    texts = parameter_texts(function)
    options = [
        parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY,
            annotation=instead.get(parameter.name) or _option(parameter, texts.get(parameter.name)),
        )
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in without
    ]

    def decorate(command: Command) -> Command:
        named = inspect.signature(command, eval_str=True).parameters.values()
        options_of_its_own = [parameter for parameter in named if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
        signed: Any = command
        signed.__signature__ = inspect.Signature([*options, *options_of_its_own])
        return command

    return decorate


def parameter_texts(function: Callable[..., Any]) -> dict[str, str]:
    """What the "Args:" of a function's docstring say of each parameter; nothing without a docstring (python -OO)."""
    _, _, listed = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def _option(parameter: inspect.Parameter, text: str | None) -> Any:
    """The parameter as typer takes it; a bool is a flag without its contrary."""
    kind = TYPED.get(parameter.annotation, parameter.annotation)
    flags = [_flag(parameter.name)] if kind is bool else []
    help_text = re.sub(r"``(\w+)``", lambda name: _flag(name[1]), text or "")
    if kind == list[str]:
        help_text += " Repeatable."
    return Annotated[kind, typer.Option(*flags, help=help_text)]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
