"""Documentation says what the command line does: every command and option is documented, none is invented."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from nebula_tune.cli import app
from nebula_tune.study.settings import shipped_studies

ROOT = Path(__file__).resolve().parent.parent


def options(name: str) -> set[str]:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


def test_every_option_of_run_is_documented_and_no_other() -> None:
    text = (ROOT / "docs/studies.md").read_text()
    table = text[text.index("## Options of `run`") : text.index("Exit codes")]
    assert set(re.findall(r"`(--[a-z-]+)`", table)) == options("run")


def test_every_command_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in typer.main.get_command(app).commands:  # type: ignore[attr-defined]
        assert re.search(rf"`(nebula-tune )?{name}`|nebula-tune {name}", readme), name


def test_every_option_has_a_help_text() -> None:
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        assert command.help
        for parameter in command.params:
            assert getattr(parameter, "help", None), (command.name, parameter.name)


def test_every_shipped_study_is_documented() -> None:
    text = (ROOT / "docs/studies.md").read_text()
    table = text[: text.index("## Study files")]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.M)) == set(shipped_studies())


def test_files_the_readme_names_exist() -> None:
    for name in re.findall(r"`(docs/[a-z-]+\.md)`", (ROOT / "README.md").read_text()):
        assert (ROOT / name).exists(), name


def test_every_option_of_listen_is_documented_and_no_other() -> None:
    table = re.findall(r"^\| `(--[a-z-]+)` \|", (ROOT / "docs/listening.md").read_text(), re.M)
    assert set(table) == options("listen")
