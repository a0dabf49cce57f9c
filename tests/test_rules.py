"""Rules of the house that are counted: docstrings, dictionaries of anything, and names that are nouns."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator

from tests.test_layers import ROOT, modules

FEW = 3  # parameters that a signature alone may explain
VAGUE = {"one", "found", "own", "heard", "chosen", "made", "told"}  # names that do not say what they hold
MOST_VAGUE = 0.001  # share of all bound names
Function = tuple[str, ast.FunctionDef, list[str]]  # its dotted name, itself, and docstrings that may speak of it

# Where dictionaries of anything may stand: what is read from or written to JSON, YAML or SQL there.
BORDERS = {
    "cli.console": "prints reports of runs, studies and ballots, which are JSON",
    "constellation": "a constellation's file, and its provenance",
    "evaluate.tables": "rows of csv files, and rankings, which are JSON",
    "listening.blind": "the JSON that a test's page holds",
    "nebula": "a nebula's file: its entries",
    "report": "a page shows results as databases of every version hold them, which is JSON",
    "results": "results to JSON and back",
    "storage": "rows of the database, and the JSON that its columns hold",
    "study.editions": "settings as they are stored, of every version",
    "study.plan": "settings as they are stored, read and written",
    "study.settings": "a study's YAML: options of an embedding",
    "study.status": "a study's status as JSON, from a row of the database",
    "study.yardstick": "the distance as it is stored, read and written",
}
AS_JSON = {
    "described": "what is stored of a target",
    "settings": "what is stored of an embedding, a distance or an instrument, and names what is kept in the cache",
    "to_json": "a result as JSON",
}
OF_ANYTHING = {"dict[str, Any]", "Mapping[str, Any]"}
MOST = 3  # of them, elsewhere, in 1,000 lines of code


def parameters(function: ast.FunctionDef, method: bool) -> list[str]:
    """Names of a function's parameters, without self and cls."""
    given = function.args
    names = [each.arg for each in [*given.posonlyargs, *given.args, *given.kwonlyargs]]
    names += [each.arg for each in (given.vararg, given.kwarg) if each is not None]
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)
    return names[1:] if method and not static else names


def classes() -> dict[str, ast.ClassDef]:
    """Every class at the top of a module by its name, which no other has."""
    return {node.name: node for tree in modules().values() for node in tree.body if isinstance(node, ast.ClassDef)}


def overridden(method: str, of: ast.ClassDef, known: dict[str, ast.ClassDef]) -> Iterator[ast.FunctionDef]:
    """The same method of the classes that a class is derived from."""
    for base in of.bases:
        parent = known.get(base.id) if isinstance(base, ast.Name) else None
        if parent is not None:
            yield from (node for node in parent.body if isinstance(node, ast.FunctionDef) and node.name == method)
            yield from overridden(method, parent, known)


def public(tree: ast.Module, known: dict[str, ast.ClassDef]) -> Iterator[Function]:
    """Public functions, methods and constructors. A class speaks of its constructor, a method of one that overrides it
    without a word."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node, [ast.get_docstring(node) or ""]
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        for method in node.body:
            if not isinstance(method, ast.FunctionDef):
                continue
            own = ast.get_docstring(method)
            if method.name == "__init__":
                yield node.name, method, [ast.get_docstring(node) or "", own or ""]
            elif not method.name.startswith("_"):
                there = [method] if own else overridden(method.name, node, known)
                yield f"{node.name}.{method.name}", method, [ast.get_docstring(each) or "" for each in there]


def with_help(annotation: ast.expr | None, options: set[str]) -> bool:
    """Whether a parameter of a command says of itself what it is: typer's ``help``, its own or of a shared option."""
    if isinstance(annotation, ast.Name):
        return annotation.id in options
    calls = [node for node in ast.walk(annotation) if isinstance(node, ast.Call)] if annotation else []
    return any(word.arg == "help" for call in calls for word in call.keywords)


def shared_options() -> set[str]:
    """Names of the options that several commands have."""
    body = modules()["nebula_tune.cli.types"].body
    assigned = [node for node in body if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)]
    return {node.targets[0].id for node in assigned if with_help(node.value, set())}


def unnamed(function: ast.FunctionDef, said: list[str], *, method: bool, options: set[str]) -> list[str]:
    """Parameters, of more than a few, that neither docstrings nor typer's help name."""
    names = parameters(function, method)
    words = set(re.findall(r"\w+", " ".join(said)))
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    helped = {each.arg for each in every if options and with_help(each.annotation, options)}
    return [name for name in names if name not in words | helped] if len(names) > FEW else []


def test_docstrings_of_public_functions_with_more_than_three_parameters_name_them_all() -> None:
    known, silent = classes(), {}
    for module, tree in modules().items():
        if any(part.startswith("_") for part in module.split(".")):
            continue
        options = shared_options() if module.startswith("nebula_tune.cli.") else set()
        for name, function, said in public(tree, known):
            method = "." in name or function.name == "__init__"
            if missing := unnamed(function, said, method=method, options=options):
                silent[f"{module}.{name}"] = missing
    assert not silent


def test_parameters_are_found_where_they_are_named_and_missed_where_not() -> None:
    tree = ast.parse(
        "class Base:\n"
        '    def make(self, a, b, c, d):\n        """a, b, c and d."""\n'
        "class Derived(Base):\n"
        '    """Of a and b."""\n'
        "    def __init__(self, a, b, *, c, d): ...\n"
        "    def make(self, a, b, c, d): ...\n"
        "def command(a: Annotated[str, typer.Option(help='A.')], b: Seed, c: int, d: int):\n"
        '    """What c does."""\n'
        "def _private(a, b, c, d): ...\n"
        "def few(a, b, c): ...\n"
    )
    known = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    missing = {
        name: unnamed(function, said, method=name[0].isupper(), options={"Seed"})
        for name, function, said in public(tree, known)
    }
    assert missing == {"Base.make": [], "Derived": ["c", "d"], "Derived.make": [], "command": ["d"], "few": []}


def code_lines(text: str) -> int:
    """Lines that hold code: no blank ones, comments and docstrings."""
    silent = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in silent:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines.difference_update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def of_anything(node: ast.AST) -> Iterator[int]:
    """Lines of a module at which something is a dictionary of anything, but for those functions that are borders."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) and child.name in AS_JSON:
            continue
        if isinstance(child, ast.Subscript) and ast.unparse(child) in OF_ANYTHING:
            yield child.lineno
        yield from of_anything(child)


def text_of(module: str) -> str:
    """A module's text."""
    path = ROOT.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def is_border(module: str) -> bool:
    """Whether a module, or a package that it is in, is one."""
    name = module.removeprefix("nebula_tune.")
    return any(name == border or name.startswith(f"{border}.") for border in BORDERS)


def test_dictionaries_of_anything_stay_at_borders() -> None:
    lines = sum(code_lines(text_of(name)) for name in modules() if not is_border(name))
    found = [f"{name}:{line}" for name, tree in modules().items() if not is_border(name) for line in of_anything(tree)]
    assert 1000 * len(found) / lines < MOST, found


def test_every_border_is_needed() -> None:
    used = {name.removeprefix("nebula_tune.") for name, tree in modules().items() if any(of_anything(tree))}
    assert not [
        border for border in BORDERS if not any(name == border or name.startswith(f"{border}.") for name in used)
    ]


def test_dictionaries_are_counted_where_they_stand_and_lines_where_there_is_code() -> None:
    text = (
        '"""Two lines\nof this."""\n\n# a comment\ntable: dict[str, dict[str, Any]] = {\n}\n'
        "def f(x: Mapping[str, Any]) -> dict[str, int]: ...\n"
        "def to_json() -> dict[str, Any]:\n    return {}\n"
    )
    assert list(of_anything(ast.parse(text))) == [5, 7]
    assert code_lines(text) == 5


def bound_names(trees: Iterable[ast.AST]) -> Iterator[str]:
    """Names that are bound: variables, parameters, functions, classes, and attributes where they are declared."""
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            yield node.target.attr


def test_names_are_nouns_of_what_they_hold() -> None:
    names = list(bound_names(modules().values()))
    vague = [name for name in names if name.strip("_") in VAGUE]
    assert len(vague) <= MOST_VAGUE * len(names), f"{len(vague)} of {len(names)} names"


def test_every_kind_of_binding_is_counted_and_no_use() -> None:
    tree = ast.parse(
        "class Made:\n"
        "    told: int\n"
        "    def own(self, found):\n"
        "        self.one: int = found\n"
        "        self.other = [heard for heard in found]\n"
        "        chosen, _made = found.made, print(own=found)\n"
    )
    assert sorted(bound_names([tree])) == ["Made", "_made", "chosen", "found", "heard", "one", "own", "self", "told"]
