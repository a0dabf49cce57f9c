"""Rules of the house: who may import whom, and one name for one thing."""

from __future__ import annotations

import ast
import logging
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package by its dotted name, parsed."""
    found = {}
    for path in sorted((ROOT / "nebula_tune").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text())
    return found


def imported(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """Modules that a module imports when it runs, inside functions too; what only a type checker sees is none."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for name in node.names:
                submodule = f"{node.module}.{name.name}"
                yield submodule if submodule in known else node.module
        yield from imported(node, known)


def named_twice(places: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    """Names (first of each pair) that are in more than one place (second)."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, place in places:
        found[name].append(place)
    return {name: where for name, where in found.items() if len(where) > 1}


def test_arrows_between_packages_point_one_way(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(ROOT)
    for name in filter(lambda name: name.startswith("nebula_tune"), logging.root.manager.loggerDict):
        monkeypatch.setattr(logging.getLogger(name), "disabled", False)  # as the linter's own logging leaves them
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


def test_no_module_imports_itself_by_way_of_others() -> None:
    trees = modules()
    graph = {name: set(imported(tree, set(trees))) - {name} for name, tree in trees.items()}
    assert sum(map(len, graph.values())) > len(graph)  # imports are found at all
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle: {' -> '.join(error.args[1])}")


def test_imports_inside_functions_count_and_those_of_type_checkers_do_not() -> None:
    inside = ast.parse("def f():\n    from a import b\nif TYPE_CHECKING:\n    import c\n")
    assert list(imported(inside, {"a", "a.b", "c"})) == ["a.b"]


def test_no_two_modules_have_one_name() -> None:
    last = ((name.rpartition(".")[2], name) for name in modules() if not name.endswith("__main__"))
    assert not named_twice(last)


def test_no_two_public_types_have_one_name() -> None:
    def types() -> Iterator[tuple[str, str]]:
        for module, tree in modules().items():
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    name = node.name
                elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                    name = node.targets[0].id  # an alias, like Vectors; CONSTANTS are none
                else:
                    continue
                if name[0].isupper() and not name.isupper():
                    yield name, module

    assert not named_twice(types())
