"""What is under a contract, whichever files were collected."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path


def under(contract: type) -> list[type]:
    """All test classes of a contract, in the test files that lie beside it."""
    package = contract.__module__.rpartition(".")[0]
    for path in sorted((Path(__file__).parent.parent / package.replace(".", "/")).glob("test_*.py")):
        if contract.__name__ in path.read_text():
            import_module(f"{package}.{path.stem}")
    return [kind for kind in contract.__subclasses__() if kind.__name__.startswith("Test")]
