"""Documentation says what the command line does: every command and option is documented, none is invented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
import yaml

from nebula_tune.cli.app import app
from nebula_tune.study.settings import shipped_studies
from tests.resolution import PYTHONS

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


def test_ci_runs_targets_that_there_are_on_the_pythons_whose_ranges_are_checked() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())
    makefile = (ROOT / "Makefile").read_text()
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    assert {name: lines[-1].split()[1] for name, lines in runs.items()} == {
        "linux": "test",
        "macos": "quick",
        "ranges": "resolve",
    }
    for (line,) in runs.values():
        assert re.search(rf"^{line.split()[1]}:", makefile, re.M), line
    assert workflow["jobs"]["linux"]["strategy"]["matrix"]["python"] == list(PYTHONS)


def test_files_the_readme_names_exist() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in re.findall(r"`((?:docs|benchmarks)/[a-z_-]+\.[a-z]+)`", readme):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", ["README.md", *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md"))])
def test_links_of_pages_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
        if "://" not in link:
            assert ((ROOT / page).parent / link).exists(), link


def test_every_page_of_the_docs_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"docs/[a-z0-9-]+\.md", (ROOT / "README.md").read_text()))
    assert linked >= {path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/*.md")}


def test_every_option_of_the_other_commands_is_documented_and_no_other() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    names = set(typer.main.get_command(app).commands) - {"run", "listen"}  # type: ignore[attr-defined]
    sections = dict(re.findall(r"^## ([a-z]+)\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    assert set(sections) == names
    for name, section in sections.items():
        assert set(re.findall(r"^\| `(--[a-z-]+)`", section, re.M)) == options(name) - {"--help"}, name


def test_pictures_and_sounds_stay_small() -> None:
    assert (ROOT / "docs/report.png").stat().st_size < 400_000
    assert sum(path.stat().st_size for path in (ROOT / "examples/sounds").iterdir()) < 1_000_000


def test_every_option_of_listen_is_documented_and_no_other() -> None:
    table = re.findall(r"^\| `(--[a-z-]+)` \|", (ROOT / "docs/listening.md").read_text(), re.M)
    assert set(table) == options("listen")


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_files_and_names_that_guide_developers_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    files = set(re.findall(r"`((?:[a-z_0-9]+/)+[a-z_0-9-]+\.py)(?::[\w.]+)?`", text))
    assert len(files) > 3
    for file in files:
        assert any((root / file).is_file() for root in (ROOT, ROOT / "nebula_tune")), file
    for file, name in re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py):([\w.]+)`", text):
        source = (ROOT / file if (ROOT / file).is_file() else ROOT / "nebula_tune" / file).read_text()
        for part in name.split("."):
            assert re.search(rf"^ *(class|def) {part}\b|^{part}\b.* = ", source, re.M), (file, name)
