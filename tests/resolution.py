"""Whether all ranges of our dependencies can be kept: on each Python, at both their ends. Installs nothing.

`make resolve` runs it; uv asks the package index. Of the lowest versions each must be the one that its range begins
with, as a wheel: a range that begins lower promises what cannot be had.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECTS = (ROOT, ROOT / "packages" / "ears")
PYTHONS = ("3.11", "3.12", "3.13")


def requirements(project: Path, *, extras: bool) -> list[Requirement]:
    """What a project requires, alone or with all its extras."""
    table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    groups = [table["dependencies"], *(table["optional-dependencies"].values() if extras else [])]
    every = [Requirement(line) for lines in groups for line in lines]
    return [requirement for requirement in every if requirement.name != table["name"]]  # its own extras


def floors(required: list[Requirement], python: str) -> dict[str, Version]:
    """Where each range begins on that Python, by name."""
    lowest: dict[str, Version] = {}
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate({"python_version": python}):
            continue
        for bound in requirement.specifier:
            if bound.operator in (">=", "=="):
                version = Version(bound.version)
                lowest[requirement.name] = max(version, lowest.get(requirement.name, version))
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lowest.items()}


def resolve(required: list[Requirement], python: str, resolution: str) -> dict[str, Version]:
    """Versions that fit together, by name. Raises ValueError with what uv says where there are none."""
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        "-",
        "--no-config",
        "--no-header",
        "--quiet",
    ]
    command += ["--no-annotate", "--only-binary", ":all:", "--python-version", python, "--resolution", resolution]
    text = "\n".join(map(str, required))
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    process = subprocess.run(command, input=text, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise ValueError(process.stderr.strip())
    return {name: Version(version) for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", process.stdout, re.M)}


def broken(project: Path, python: str, *, extras: bool) -> list[str]:
    """Promises that cannot be kept, a line each."""
    required = requirements(project, extras=extras)
    try:
        resolve(required, python, "highest")
        lowest = resolve(required, python, "lowest-direct")
    except ValueError as error:
        return [str(error)]
    return [
        f"{name}>={floor}: the lowest that can be had is {lowest[name]}"
        for name, floor in floors(required, python).items()
        if lowest[name] != floor
    ]


def main() -> None:
    failed = False
    for project in PROJECTS:
        for python in PYTHONS:
            for extras in (False, True):
                lines = broken(project, python, extras=extras)
                failed |= bool(lines)
                what = f"{project.relative_to(ROOT.parent)}, Python {python}{', all extras' if extras else ''}:"
                print(what, *(lines or ["lowest and highest versions resolve"]), sep="\n  ", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
