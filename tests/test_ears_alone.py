"""The distribution of the embeddings alone: what is in it, that it needs little, and that it lives beside the whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from itertools import chain
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder
from packaging.requirements import Requirement

from nebula_tune import __version__
from tests.embedding.fixtures import make_random_weights
from tests.test_layers import ROOT, imported, modules

EARS = ROOT / "packages" / "ears"
WITH_RICH = {"nebula_tune.terminal"}  # used where there is rich
HEAVY = ("kymatio", "numba", "optuna", "platformdirs", "pyarrow", "pydantic", "ray", "rich", "sqlalchemy", "typer")
ALONE = """
import site
import sys

site.addsitedir(sys.argv[1])
import json
import torch
torch.set_num_threads(1)
from nebula_tune.embedding import catalogue, make_embedding
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.embedding.vectors import vectors_of, vectors_of_files
from nebula_tune.errors import UserInputError

files = sys.argv[3:]
shapes = {"logmel": vectors_of_files(files, make_embedding("logmel")).shape}
ear = make_embedding("openl3-music-mel128-512", weights=sys.argv[2], hop=1.0, seconds=1.0)
shapes["openl3"] = vectors_of_files(files, ear).shape
shapes["array"] = vectors_of(torch.ones(3, 22050), 22050, ear, Prepare.RMS_ONLY).shape
refused = []
for name in ("modulation", "scattering", "picture"):
    try:
        vectors_of_files(files, make_embedding(name))
    except UserInputError as error:
        refused.append(str(error))
try:
    vectors_of_files([*files, "no-such.wav"], ear)
except UserInputError as error:
    refused.append(str(error).rpartition("/")[2])
ready = [entry.name for entry in catalogue.entries() if entry.ready]
print(json.dumps([shapes, refused, ready]))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both distributions as wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    built = {}
    for name, root in (("ears", EARS), ("whole", ROOT)):
        (built[name],) = map(Path, WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"]))
    return built


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def needed(start: set[str]) -> set[str]:
    """Modules that some modules import, with the packages they are in."""
    trees, closure, rest = modules(), set(), set(start)
    while rest:
        name = rest.pop()
        closure.add(name)
        parents = {name.rsplit(".", k)[0] for k in range(1, name.count(".") + 1)}
        uses = set(imported(trees[name], set(trees))) if name != "nebula_tune" else set()  # its names are loaded later
        rest |= (uses | parents) - closure - WITH_RICH
    return closure


def test_the_ears_hold_the_modules_that_they_import_and_no_other(wheels: dict[str, Path]) -> None:
    inside = [Path(name).with_suffix("").parts[1:] for name in names(wheels["ears"]) if name.endswith(".py")]
    embeddings = {name for name in modules() if name.startswith("nebula_tune.embedding.")}
    expected = needed(embeddings - {"nebula_tune.embedding.embed"})
    assert {".".join(parts).removesuffix(".__init__") for parts in inside} == expected
    assert len(inside) == len(expected) > 30


def test_no_file_is_of_both_and_versions_are_one(wheels: dict[str, Path]) -> None:
    assert not set(names(wheels["ears"])) & set(names(wheels["whole"]))
    whole = [name for name in names(wheels["whole"]) if name.endswith(".py")]
    assert len(whole) == len(modules())
    assert all(f"-{__version__}-" in wheel.name for wheel in wheels.values())


def test_ranges_are_those_of_the_whole() -> None:
    ours = tomllib.loads((EARS / "pyproject.toml").read_text())["project"]
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [ours["dependencies"], *ours["optional-dependencies"].values()]
    assert set(chain(*lines)) <= set(whole["dependencies"])
    assert ours["requires-python"] == whole["requires-python"]


def unpacked(folder: Path, *archives: Path) -> Path:
    for archive in archives:
        shutil.unpack_archive(archive, folder, "zip")
    return folder


def put_beside(site: Path, required: list[str]) -> None:
    """Links to what pip would install for requirements and theirs: these packages as they are here, and no other."""
    rest, seen = [Requirement(line) for line in required], set()
    while rest:
        requirement = rest.pop()
        if requirement.name in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(requirement.name)
        package = distribution(requirement.name)
        rest += map(Requirement, package.requires or [])
        for name in {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}:
            (site / name).symlink_to(package.locate_file(name))


def run(code: str, *arguments: object) -> str:
    """What a fresh Python prints that has nothing but its standard library on its path."""
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


def test_sounds_are_embedded_where_nothing_else_is_installed(
    wheels: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights.h5"
    make_random_weights.write_h5(weights, make_random_weights.make_layers(make_random_weights.SEEDS["mel128"]))
    drums = sorted((ROOT / "examples" / "drums").glob("sonic_bd_*.flac"))[:2]
    site = unpacked(tmp_path / "site", wheels["ears"])
    ears = tomllib.loads((EARS / "pyproject.toml").read_text())["project"]
    put_beside(site, ears["dependencies"] + ears["optional-dependencies"]["openl3"])
    assert not [name for name in HEAVY if (site / name).exists()]
    shapes, refused, ready = json.loads(run(ALONE, site, weights, *drums))
    assert shapes == {"logmel": [2, 480], "openl3": [2, 1024], "array": [3, 1024]}
    assert refused == [
        "modulation needs scipy, which is not installed: pip install scipy",
        "scattering needs kymatio, which is not installed: pip install kymatio",
        "embedding picture needs nebula_tune.evaluate, which the ears alone do not have",
        "no-such.wav: unreadable: No such file or directory",
    ]
    assert ready == ["logmel", "mss"]


def test_where_both_are_the_whole_is_used_and_either_may_go(wheels: dict[str, Path], tmp_path: Path) -> None:
    code = "import site, sys; site.addsitedir(sys.argv[1]); import nebula_tune; print(nebula_tune.__file__)"
    both = unpacked(tmp_path / "both", *wheels.values())
    assert Path(run(code, both)) == both / "nebula_tune" / "__init__.py"
    for name, place in (("whole", "nebula_tune"), ("ears", "nebula_tune_ears/nebula_tune")):
        alone = unpacked(tmp_path / name, wheels[name])
        assert Path(run(code, alone)) == alone / place / "__init__.py"
