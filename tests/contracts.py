"""What is under a contract, whichever files were collected."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path


def under(contract: type, folder: str) -> list[type]:
    """All test classes of a contract in the files of a folder of tests."""
    for path in sorted((Path(__file__).parent / folder).glob("test_*.py")):
        if contract.__name__ in path.read_text():
            import_module(f"tests.{folder}.{path.stem}")
    return [kind for kind in contract.__subclasses__() if kind.__name__.startswith("Test")]
