"""What a run writes: all of it tried out before the first trial, claimed, and there when the study is finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nebula_tune.errors import SettingsError
from nebula_tune.files import LONGEST_STEM, shipped
from nebula_tune.storage.ledger import Ledger
from nebula_tune.tuning.options import fitting
from nebula_tune.tuning.outputs import claimed, refuse_one_file
from tests.study.tiny import TinyStudy


@pytest.fixture
def again(call, target: Path, undisturbed: TinyStudy, tmp_path: Path):
    """The command of a finished study in another folder, to which its database alone was moved."""
    shutil.copy(undisturbed.folder / "tiny.yaml", tmp_path)
    shutil.copy(undisturbed.folder / "studies.db", tmp_path)

    def run(*more: str):
        command = ["run", "--target", str(target), "--study", "tiny.yaml", "--name", "tiny", "--executor", "inline"]
        options = [] if "--storage" in more else ["--storage", "sqlite:///studies.db"]
        return call(*command, "--no-report", "--json", *options, *more)

    return run


def test_a_finished_study_writes_again_what_is_missing(again, undisturbed: TinyStudy) -> None:
    nebula, provenance = Path("nebulae/tiny.json"), Path("nebulae/tiny.provenance.json")
    told = json.loads(again().out)
    assert told["nebula"] == str(nebula) and told["storage"] == "sqlite:///studies.db"
    assert nebula.read_bytes() == undisturbed.nebula.read_bytes()
    first = json.loads(undisturbed.nebula.with_name("tiny.provenance.json").read_text())
    assert json.loads(provenance.read_text()) == first | {"storage": "sqlite:///studies.db"}
    for lost in ([nebula], [provenance], [nebula, provenance]):
        kept = {path: path.stat().st_mtime_ns for path in (nebula, provenance) if path not in lost}
        for path in lost:
            path.unlink()
        assert json.loads(again().out) == told
        assert nebula.read_bytes() == undisturbed.nebula.read_bytes() and provenance.exists()
        assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert not list(Path("nebulae").glob(".*"))


def test_a_finished_study_goes_where_it_is_asked_for_and_tells_that_place(again, undisturbed: TinyStudy) -> None:
    assert json.loads(again("--out", "new/else.json").out)["nebula"] == "new/else.json"
    assert Path("new/else.json").read_bytes() == undisturbed.nebula.read_bytes()
    assert json.loads(Path("new/else.provenance.json").read_text())["nebula"] == "new/else.json"
    Path("mine.json").write_text("mine")
    refused = again("--out", "mine.json")
    assert refused.code == 2 and "not this study's" in refused.line and Path("mine.json").read_text() == "mine"
    assert again("--out", "mine.json", "--force").code == 0
    assert Path("mine.json").read_bytes() == undisturbed.nebula.read_bytes()


def test_files_beside_another_nebula_are_not_replaced(again) -> None:
    again("--out", "x.json")
    provenance = json.loads(Path("x.provenance.json").read_text()) | {"identity": "another"}
    Path("x.provenance.json").write_text(json.dumps(provenance))
    refused = again("--out", "x.txt")
    assert refused.code == 2 and "x.provenance.json exists and is not this study's" in refused.line


LONG = "n" * 240


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--out", "/proc/x.json"], "/proc/x.json"),
        (["--out", f"{LONG}.json"], "File name too long"),
        (["--out", "file/x.json"], "file/x.json"),
        (["--out", "folder"], "folder"),
        (["--log", "/proc/x.log"], "cannot write log /proc/x.log"),
        (["--log", "folder"], "cannot write log folder: Is a directory"),
        (["--artifacts", "file"], "cannot write to folder file"),
        (["--artifacts", "/proc/x"], "cannot write to folder /proc/x"),
        (["--storage", "sqlite:////proc/x.db"], "cannot write database /proc/x.db"),
        (["--storage", f"sqlite:///{LONG}{LONG}.db"], "File name too long"),
        (["--storage", "sqlite:///folder"], "cannot write database folder"),
        (["--log", "nebulae/tiny.json"], "the nebula and the log"),
        (["--log", "nebulae/tiny.provenance.json"], "its provenance and the log"),
        (["--log", "tiny.yaml"], "the study's file and the log"),
        (["--log", "./new/../new.db", "--storage", "sqlite:///new.db"], "the database and the log"),
        (["--log", "new.db-wal", "--storage", "sqlite:///new.db"], "the database's -wal and the log"),
        (["--out", "link.db", "--storage", "sqlite:///new.db"], "the database and the nebula"),
        (["--artifacts", "new.db", "--storage", "sqlite:///new.db"], "the database and the folder of artifacts"),
        (["--start", "start.json", "--out", "start.json", "--force"], "the nebula to start from and the nebula"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_first_trial(again, options: list[str], named: str) -> None:
    Path("file").touch()
    Path("folder").mkdir()
    Path("link.db").symlink_to("new.db")
    shutil.copy(shipped("nebulae") / "default.json", "start.json")
    new = ["--name", "new"] if "nebulae/tiny" not in " ".join(options) else []
    refused = again(*new, *options)
    assert refused.code == 2 and len(refused.err.strip().splitlines()) == 1
    assert named in refused.line
    assert Ledger("sqlite:///studies.db").names() == ["tiny"]
    assert not Path("new.db").exists()


@pytest.mark.parametrize("letter", ["n", "ü", "音"])
def test_a_derived_name_is_cut_to_what_files_can_be_named(letter: str) -> None:
    name, other = fitting(letter * 255), fitting(letter * 254)
    assert name != other and len(name.encode()) <= LONGEST_STEM and fitting(name) == name
    assert fitting("n" * LONGEST_STEM) == "n" * LONGEST_STEM


def test_one_study_at_a_time_writes_a_nebula(tmp_path: Path) -> None:
    out = tmp_path / "same.json"
    with claimed(out, "first", "1"):
        owner = f"same.json is being written by study first, process {os.getpid()}"
        with pytest.raises(SettingsError, match=owner), claimed(out, "second", "2"):
            pass
        with claimed(out, "first", "1"):  # the lease decides between processes of one study
            pass
    with claimed(out, "second", "2"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_claim_goes_with_its_process(tmp_path: Path) -> None:
    out = tmp_path / "same.json"
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom nebula_tune.tuning.outputs import claimed\n"
        "with claimed(Path(sys.argv[1]), 'first', '1'):\n    print('has it', flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(out)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout and owner.stdout.readline() == "has it\n"
        with pytest.raises(SettingsError, match=f"process {owner.pid}"), claimed(out, "second", "2"):
            pass
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    assert (tmp_path / ".same.claim").exists()
    with claimed(out, "second", "2"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_run_whose_file_is_claimed_stops_before_its_first_trial(again) -> None:
    with claimed(Path("same.json"), "first", "1"):
        refused = again("--out", "same.json", "--name", "new", "--trials", "3")
    assert refused.code == 2 and "same.json is being written by study first" in refused.line
    ledger = Ledger("sqlite:///studies.db")
    assert not list(ledger.trials("new")) and not Path("same.json").exists()


def test_one_file_has_one_use(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.touch()
    os.link(table, tmp_path / "b.csv")
    with pytest.raises(SettingsError, match="the table and the picture at once"):
        refuse_one_file({"the table": table, "the picture": tmp_path / "b.csv"}, {})
    refuse_one_file({"the table": Path("/dev/null"), "the picture": Path("/dev/zero")}, {})
