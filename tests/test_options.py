"""Options of a run: `tune()`, the three groups and the command line name the same things, with the same defaults."""

from __future__ import annotations

import inspect
from dataclasses import Field, FrozenInstanceError, asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from nebula_tune import tune
from nebula_tune.cli.app import app
from nebula_tune.cli.signature import parameter_texts
from nebula_tune.embedding.embed import SYNTHETIC_SOUNDS
from nebula_tune.tuning.options import ExecutionOptions, Options, OutputOptions, StudyOptions

GROUPS = (StudyOptions, ExecutionOptions, OutputOptions)
ONLY_IN_PYTHON = {"reporter"}
ONLY_ON_THE_COMMAND_LINE = {"json", "verbose", "help"}
# For each type of an option: values that are no default, and what the command line has in their place.
VALUES: dict[str, tuple[Any, list[str]]] = {
    "str": ("other", ["--{flag}", "other"]),
    "int": (77, ["--{flag}", "77"]),
    "float": (0.25, ["--{flag}", "0.25"]),
    "bool": (True, ["--{flag}"]),
    "bool | None": (False, ["--no-{flag}"]),
    "Sequence[str]": (["one.*", "two.*"], ["--{flag}", "one.*", "--{flag}", "two.*"]),
}


def parameters() -> dict[str, inspect.Parameter]:
    """Options among the parameters of `tune()`."""
    return {name: each for name, each in inspect.signature(tune).parameters.items() if name not in ONLY_IN_PYTHON}


def grouped() -> list[Field[Any]]:
    return [option for group in GROUPS for option in fields(group)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Options]:
    """The options that runs are given, which do nothing."""
    options: list[Options] = []

    def run(given: Options, _: object) -> SimpleNamespace:
        options.append(given)
        return SimpleNamespace(report={})

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEBULA_TUNE_STORAGE", raising=False)
    monkeypatch.setattr("nebula_tune.tuning.pipeline.run", run)
    monkeypatch.setattr("nebula_tune.cli.console.RunConsole.finish", lambda *_: None)
    return options


def flat(options: Options) -> dict[str, Any]:
    return {name: value for group in asdict(options).values() for name, value in group.items()}


def test_tune_the_groups_and_the_command_line_name_the_same_options() -> None:
    command = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    with command.make_context("run", []) as context:
        flags = [each.opts[0].removeprefix("--").replace("-", "_") for each in command.get_params(context)]
    assert sorted(set(flags) - ONLY_ON_THE_COMMAND_LINE) == sorted(parameters())
    assert set(flags) >= ONLY_ON_THE_COMMAND_LINE and len(flags) == len(set(flags))
    assert sorted(option.name for option in grouped()) == sorted(parameters())


def test_the_signature_shows_each_option_with_its_type_and_default() -> None:
    signature = inspect.signature(tune).parameters
    by_position = [name for name, each in signature.items() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert by_position == ["target", "reporter"]
    for name, each in signature.items():
        assert each.default is not each.empty and each.annotation is not each.empty, name
    assert signature["target_sounds"].default == SYNTHETIC_SOUNDS


def test_a_group_takes_an_option_as_tune_does() -> None:
    types = {name: inspect.formatannotation(each.annotation) for name, each in parameters().items()}
    types["target"] = "str | None"  # a path is taken as its text
    types = {name: text.removeprefix("collections.abc.") for name, text in types.items()}
    assert {option.name: option.type for option in grouped()} == types


def test_the_docstring_tells_the_meaning_of_every_parameter_and_of_no_other() -> None:
    texts = parameter_texts(tune)
    assert list(texts) == list(inspect.signature(tune).parameters)
    assert all(text.endswith((".", "]")) for text in texts.values())


def test_groups_are_frozen_and_take_options_by_keyword_only(told: list[Options]) -> None:
    tune()
    for group in asdict(told[0]):
        options = getattr(told[0], group)
        assert all(option.kw_only for option in fields(options))
        with pytest.raises(FrozenInstanceError):
            setattr(options, fields(options)[0].name, "other")


def test_the_command_line_and_tune_have_the_same_defaults(told: list[Options]) -> None:
    assert CliRunner().invoke(app, ["run"], catch_exceptions=False).exit_code == 0
    tune()
    command, python = map(flat, told)
    assert command == python | {"tune": [], "freeze": []}  # lists in place of tuples
    assert python == {name: each.default for name, each in parameters().items()}


def test_every_option_arrives_from_the_command_line_and_from_tune(told: list[Options]) -> None:
    values: dict[str, Any] = {}
    arguments: list[str] = []
    for option in grouped():
        kind = str(option.type)
        values[option.name], words = VALUES[kind if kind in VALUES else kind.removesuffix(" | None")]
        arguments += [word.format(flag=option.name.replace("_", "-")) for word in words]
    assert all(values[name] != each.default for name, each in parameters().items())
    assert CliRunner().invoke(app, ["run", *arguments], catch_exceptions=False).exit_code == 0
    tune(**values)
    assert [flat(options) for options in told] == [values, values]


def test_the_environment_names_the_database_of_the_command_alone(
    told: list[Options], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEBULA_TUNE_STORAGE", "sqlite:///elsewhere.db")
    assert CliRunner().invoke(app, ["run"], catch_exceptions=False).exit_code == 0
    tune()
    assert [options.output.storage for options in told] == ["sqlite:///elsewhere.db", parameters()["storage"].default]


def test_a_path_is_a_target_and_a_wrong_name_is_none(told: list[Options]) -> None:
    tune(Path("some/sounds"))
    assert told[0].study.target == "some/sounds"
    with pytest.raises(TypeError, match="unexpected keyword argument 'trails'"):
        tune(trails=4)  # type: ignore[call-arg]
