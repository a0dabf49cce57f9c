"""The command line: what it prints, its exit codes, one clear line for every bad input."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pyarrow import parquet

from nebula_tune.corpus.writer import write_sounds
from nebula_tune.nebula import Nebula
from nebula_tune.synth import FM, Voice
from tests.study.tiny import STUDY, make_target


@pytest.fixture
def tiny(tmp_path: Path) -> list[str]:
    """A command that runs a tiny study to its end."""
    make_target(tmp_path / "sounds", 20)
    (tmp_path / "tiny.yaml").write_text(STUDY)
    return ["run", "--target", "sounds", "--study", "tiny.yaml", "--executor", "inline", "--trials", "3", "--no-report"]


def test_help_loads_nothing_that_takes_long() -> None:
    arguments = [sys.executable, "-X", "importtime", "-m", "nebula_tune.cli", "--help"]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    slow = {"alembic", "matplotlib", "numba", "numpy", "optuna", "pyarrow", "ray", "scipy", "sqlalchemy", "torch"}
    assert "typer" in modules and not modules & slow


def test_run_status_export_and_delete(call, tiny: list[str], tmp_path: Path) -> None:
    before = os.umask(0)
    done = call(*tiny, "--json")
    os.umask(before)
    assert done.code == 0, done.err
    kept = [*tmp_path.glob("studies/**/*"), *tmp_path.glob("nebulae/*")]  # database, log, sounds, nebula
    assert len(kept) > 4 and not [path for path in kept if path.stat().st_mode & stat.S_IWOTH]
    report = json.loads(done.out)
    assert {"study", "storage", "nebula", "embedding", "trials", "seconds", "heldout", "gap_closed", "target"} <= set(
        report
    )
    assert list(report["heldout"]) == ["start", "drum", "tuned", "floor"]
    for row in report["heldout"].values():
        assert {"mmd", "mmd_unbiased", "ci95"} <= set(row)
    assert report["target"]["usable"] == 20 and report["target"]["groups"] == 20
    assert "warning: the target has 20 usable sounds" in done.err

    status = json.loads(call("status", "sounds", "--json").out)
    assert status["state"] == "finished" and status["complete"] == status["total"] == 3
    assert {"study", "phase", "best", "trials_per_second", "workers", "owner", "last_error"} <= set(status)
    assert "sounds" in call("status").out

    assert call("export", "sounds").out == (tmp_path / "nebulae/sounds.json").read_text()
    one = json.loads(call("export", "sounds", "--trial", "1").out)
    assert len(one) == 156
    assert "no trial 99" in call("export", "sounds", "--trial", "99").line

    assert call("delete", "sounds", "--yes").code == 0
    assert "no study 'sounds'" in call("status", "sounds").line
    assert (tmp_path / "nebulae/sounds.json").exists()


def test_what_is_said_before_and_after(call, tiny: list[str]) -> None:
    done = call(*tiny[:-1])  # with its report
    assert "grid" in done.err and "about" in done.err
    assert "report: nebulae/sounds.report.html" in done.out
    assert "held-out sounds" in done.out and "gap closed" in done.out and "nebula: nebulae/sounds.json" in done.out


def test_a_nebula_and_white_noise_as_target(call, tiny: list[str], tmp_path: Path) -> None:
    for target, name in (("drum", "like-drum"), ("white-noise", "like-white-noise")):
        tiny[2] = target
        report = json.loads(call(*tiny, "--json", "--target-sounds", "100").out)
        assert report["study"] == name
        assert report["target"]["usable"] == 100
    assert (tmp_path / "nebulae/like-drum.json").exists()


@pytest.mark.parametrize("written", ["sounds.json", "sounds.provenance.json"])
def test_a_run_that_dies_while_it_exports_is_finished_by_the_same_command(
    written: str, call, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def die_after(self: Path, target: Path) -> Path:
        done = replace(self, target)
        if Path(target).name == written:
            raise OSError(5, "the machine went down")
        return done

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", die_after)
        assert call(*tiny).code == 1
    again = call(*tiny, "--json")
    assert again.code == 0, again.err
    assert len(Nebula.load(tmp_path / "nebulae/sounds.json").curves) == 78


def test_diversity_needs_no_target_and_tells_the_spread(call, tiny: list[str]) -> None:
    arguments = ["run", "--objective", "diversity", *tiny[3:]]
    report = json.loads(call(*arguments, "--json").out)
    assert report["study"] == "diversity" and report["heldout"] is None and report["gap_closed"] is None
    assert list(report["spread"]) == ["start", "drum", "tuned"]
    for row in report["spread"].values():
        assert row["ci95"][0] < row["value"] < row["ci95"][1]
        assert all(0 <= row[share] <= 1 for share in ("silent", "under_midi_24", "over_midi_108"))
    assert report["spread"]["tuned"]["value"] >= 0.95 * report["spread"]["start"]["value"]
    assert "spread of 1024 fresh sounds" in call(*arguments).out


def test_frozen_parameters_never_move(call, tiny: list[str]) -> None:
    call(*tiny, "--freeze", "vco_*.*", "--freeze", "mixer.*")
    tuned, start = Nebula.load("nebulae/sounds.json"), Nebula.load("default")
    moved = {name for name in start.curves if tuned.curves[name] != start.curves[name]}
    assert moved and not any(name.startswith(("vco_", "mixer.")) for name in moved)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory) -> Path:
    """A folder of two sounds of drum."""
    folder = tmp_path_factory.mktemp("rendered") / "mix"
    write_sounds(Voice("drum", 64, 44100, 0.25), 0, 2, folder, kind="wav", progress=lambda *_: None)
    return folder


def test_render_writes_sounds_and_their_parameters(call, tmp_path: Path) -> None:
    assert call("render", "drum", "--count", "3", "--first", "40", "--out", "out").code == 0
    files = sorted(p.name for p in (tmp_path / "out").glob("*.wav"))
    assert files == ["0000000040.wav", "0000000041.wav", "0000000042.wav"]
    audio, rate = soundfile.read(tmp_path / "out" / files[2], dtype="float32")
    voice = Voice("drum")
    expected = voice.render(voice.draw(42, 1), 42)[0].numpy()
    assert rate == 44100
    np.testing.assert_allclose(audio, expected, atol=2**-15)
    kept = parquet.read_table(tmp_path / "out/parameters.parquet")
    names = voice.parameter_names
    assert kept.column_names == ["index", *(f"raw.{n}" for n in names), *(f"human.{n}" for n in names), "is_train"]
    assert kept["index"].to_pylist() == [40, 41, 42] and kept["is_train"].to_pylist() == [True] * 3
    raw = voice.draw(42, 1)
    assert [kept[f"raw.{n}"][2].as_py() for n in names] == raw[0].tolist()
    assert [kept[f"human.{n}"][2].as_py() for n in names] == voice.to_human(raw)[0].tolist()


@pytest.mark.slow
def test_another_synth_is_tuned_from_its_own_default(call, tiny: list[str]) -> None:
    report = json.loads(call(*tiny, "--synth", "fm", "--json").out)
    assert list(report["heldout"]) == ["start", "tuned", "floor"]
    tuned = Nebula.load("nebulae/sounds.json")
    assert set(tuned.curves) == set(FM.panel.names)
    assert call("render", "nebulae/sounds.json", "--synth", "fm", "--count", "2", "--out", "out").code == 0
    assert call("render", "default", "--synth", "fm", "--count", "2", "--out", "default").code == 0
    assert "does not have" in call("render", "drum", "--synth", "fm", "--count", "2", "--out", "out").line


def test_an_interrupted_render_is_finished_by_the_same_call(call, tmp_path: Path) -> None:
    command = ["render", "drum", "--count", "5", "--out", "out", "--format", "flac", "--seconds", "0.2"]
    assert call(*command).code == 0
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "out").glob("*.flac")}
    (tmp_path / "out/0000000002.flac").unlink()
    (tmp_path / "out/parameters.parquet").unlink()
    assert call(*command).code == 0
    after = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in (tmp_path / "out").glob("*.flac")}
    assert {p: content for p, (content, _) in before.items()} == {p: content for p, (content, _) in after.items()}
    assert [p.name for p in after if after[p][1] != before[p][1]] == ["0000000002.flac"]
    assert (tmp_path / "out/parameters.parquet").exists()


@pytest.mark.parametrize(
    ("other", "differs"),
    [
        (["default"], "nebula"),
        (["drum", "--seconds", ".5"], "seconds"),
        (["drum", "--sample-rate", "22050"], "sample_rate"),
        (["drum", "--format", "flac"], "format"),
        (["drum", "--parameters-only"], "sounds"),
        (["default", "--synth", "fm", "--sample-rate", "8000"], "nebula, synth, sample_rate"),
    ],
)
def test_a_folder_that_holds_other_sounds_is_refused(
    call, other: list[str], differs: str, rendered: Path, tmp_path: Path
) -> None:
    shutil.copytree(rendered, tmp_path / "mix")
    refused = call("render", "--count", "3", "--out", "mix", "--seconds", ".25", *other)
    assert refused.code == 2 and differs in refused.line and "mix holds" in refused.line
    assert sorted(path.name for path in (tmp_path / "mix").glob("*.*a*")) == sorted(
        path.name for path in rendered.glob("*.*a*")
    )


def test_other_indices_are_added_to_a_folder_and_its_table_has_them_all(call, rendered: Path, tmp_path: Path) -> None:
    shutil.copytree(rendered, tmp_path / "mix")
    assert call("render", "drum", "--count", "2", "--first", "7", "--seconds", ".25", "--out", "mix").code == 0
    table = parquet.read_table(tmp_path / "mix/parameters.parquet")
    assert table["index"].to_pylist() == [0, 1, 7, 8]
    assert table.slice(0, 2).equals(parquet.read_table(rendered / "parameters.parquet"))
    assert len(list((tmp_path / "mix").glob("*.wav"))) == 4


def test_a_folder_of_something_else_is_not_rendered_into(call, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/0000000000.wav").write_text("mine")
    for more in ((), ("--parameters-only",)):
        assert "holds something else" in call("render", "drum", "--count", "1", "--out", "mine", *more).line


def test_parameters_of_another_nebula_are_not_replaced(call) -> None:
    assert call("render", "drum", "--count", "2", "--out", "out", "--parameters-only").code == 0
    assert call("render", "drum", "--count", "2", "--out", "out", "--parameters-only").code == 0
    refused = call("render", "default", "--count", "2", "--out", "out", "--parameters-only")
    assert refused.code == 2 and "another nebula" in refused.line


def test_parameters_only_writes_tables_and_no_audio(call, tmp_path: Path) -> None:
    assert call("render", "drum", "--count", "300", "--first", "9100", "--out", "out", "--parameters-only").code == 0
    names = ["nebula.json", "parameters.npz", "parameters.parquet"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    arrays, table = np.load(tmp_path / "out/parameters.npz"), parquet.read_table(tmp_path / "out/parameters.parquet")
    assert arrays["raw"].shape == arrays["human"].shape == (300, 78)
    assert tuple(arrays["names"]) == Voice.panel.names
    np.testing.assert_array_equal(arrays["is_train"], np.arange(9100, 9400) < 9216)
    np.testing.assert_array_equal(arrays["is_train"], table["is_train"].to_numpy())
    np.testing.assert_array_equal(arrays["raw"][:, 5], table[f"raw.{Voice.panel.names[5]}"].to_numpy())


def _silent(folder: Path) -> None:
    folder.mkdir()
    for i in range(20):
        soundfile.write(folder / f"{i}.wav", np.zeros(4000), 8000)


def _with_bad_curve(path: Path) -> None:
    entries = Nebula.load("default").entries()
    entries[4]["value"] = -1
    path.write_text(json.dumps(entries))


NO_NAMES = ("-x", "--json", ".", "..", ".x", "../x", "a/b", "a b", "", "a\u3164", "a\x1b", "\udce9", "a" * 101)
BAD = [
    (["run"], 2, "--target"),
    (["run", "--target", "nowhere"], 2, "nowhere does not exist"),
    (["run", "--target", "empty"], 2, "empty holds no audio files"),
    (["run", "--target", "silent"], 2, "0 usable sounds of 20 files"),
    (["run", "--target", "sounds", "--study", "nope"], 2, "no study 'nope'"),
    (["run", "--target", "sounds", "--study", "bad.yaml"], 2, "bad.yaml:2: trails: unknown key"),
    (["run", "--target", "sounds", "--embedding", "nope"], 2, "no embedding 'nope'"),
    (["run", "--target", "sounds", "--start", "nope"], 2, "no nebula 'nope'"),
    (["run", "--target", "sounds", "--start", "bad.json"], 2, "curve of adsr_1.sustain is -1"),
    (["run", "--target", "sounds", "--start", "unknown.json"], 2, "does not have: vco_9.tuning"),
    (["run", "--target", "sounds", "--freeze", "*"], 2, "nothing is left to tune"),
    (["run", "--target", "sounds", "--tune", "vco_9.*"], 2, "matches no parameter"),
    (["run", "--target", "sounds", "--storage", "nonsense"], 2, "not a database URL"),
    (["run", "--target", "sounds", "--storage", "mysql://a/b"], 2, "sqlite or postgresql"),
    (["run", "--target", "sounds", "--storage", "sqlite:////proc/no/studies.db"], 1, "cannot make folder"),
    (["run", "--target", "sounds", "--executor", "slurm"], 2, "one of auto, inline, ray"),
    (["run", "--target", "sounds", "--name", "drum"], 2, "--name 'drum'"),
    (["run", "--target", "sounds", "--synth", "nope"], 2, "no synth 'nope'"),
    (["run", "--target", "sounds", "--trials", "0"], 2, "--trials 0"),
    (["run", "--target", "sounds", "--sounds", "x"], 2, "Invalid value for '--sounds'"),
    (["run", "--target", "sounds", "--group-by", "folder"], 2, "--group-by file"),
    (["run", "--bogus"], 2, "--bogus"),
    (["run", "--target", "sounds", "--time-limit", "nan"], 2, "--time-limit nan: minutes above 0"),
    (["run", "--target", "sounds", "--time-limit", "inf"], 2, "without it there is no limit"),
    (["run", "--target", "sounds", "--task-timeout", "nan"], 2, "--task-timeout nan: seconds above 0"),
    (["run", "--target", "sounds", "--task-timeout", "inf"], 2, "--task-timeout inf: seconds above 0"),
    (["run", "--target", "sounds", "--gpu-share", "nan"], 2, "--gpu-share nan: above 0"),
    (["run", "--target", "sounds", "--embedding", "logmel=nan,mss=1"], 2, "--embedding"),
    (["run", "--target", "sounds", "--embedding", "logmel", "--weights", "w"], 2, "weights (it has none); it takes"),
    *((["run", "--target", "sounds", "--name", name], 2, "neither '.' nor '-' first") for name in NO_NAMES),
    (["render", "drum", "--count", "1", "--seconds", "nan", "--out", "x"], 2, "0 < seconds"),
    (["status"], 2, "no studies here"),
    (["status", "--storage", "sqlite:///text.txt"], 1, "not a database"),
    (["render", "nope", "--count", "1", "--out", "x"], 2, "no nebula 'nope'"),
    (["render", "drum", "--count", "0", "--out", "x"], 2, "--count 0"),
    (["render", "drum", "--count", "1", "--out", "/proc/x"], 1, "cannot write"),
    (["render", "drum", "--count", "1", "--first", "-1", "--out", "x"], 2, "sound indices run from 0"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "message"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_bad_input_gets_one_clear_line(arguments: list[str], code: int, message: str, call, tmp_path: Path) -> None:
    make_target(tmp_path / "sounds", 20)
    (tmp_path / "empty").mkdir()
    _silent(tmp_path / "silent")
    _with_bad_curve(tmp_path / "bad.json")
    (tmp_path / "unknown.json").write_text('[{"name": ["vco_9", "tuning", "curve"], "value": 1}]')
    (tmp_path / "bad.yaml").write_text("embedding: logmel\ntrails: 3\nsearch: [{sampler: grid, trials: 2}]\n")
    (tmp_path / "text.txt").write_text("not a database, but long enough to be taken for one at first sight\n" * 20)
    outcome = call(*arguments)
    assert message in outcome.line
    assert outcome.code == code
    assert outcome.out == ""


def test_embeddings_are_listed_with_their_licence_and_readiness(call) -> None:
    listed = {one["name"]: one for one in json.loads(call("embeddings", "--json").out)}
    assert listed["logmel"]["ready"] and listed["logmel"]["dimensions"] == 480
    openl3 = listed["openl3-music-mel256-512"]
    assert "CC BY 4.0" in openl3["licence"] and openl3["dimensions"] == 36 * 512 and openl3["sample_rate"] == 48000
    assert not openl3["ready"] and "--fetch openl3-music-mel256-512" in openl3["remedy"]
    assert "logmel: needs no weights" in call("embeddings", "--fetch", "logmel").out
    assert "no embedding 'nope'" in call("embeddings", "--fetch", "nope").line


def test_skipped_files_are_counted_and_named(call, tiny: list[str], tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    (sounds / "broken.wav").write_bytes(b"RIFF nothing")
    soundfile.write(sounds / "silent.flac", np.zeros(4000), 8000)
    soundfile.write(sounds / "nan.wav", np.full(4000, np.nan, dtype=np.float32), 8000, subtype="FLOAT")
    (sounds / "copy.wav").write_bytes((sounds / "00.wav").read_bytes())
    done = call(*tiny, "--json")
    assert "4 files of the target were skipped:" in done.err and "broken.wav: unreadable" in done.err
    report = json.loads(done.out)
    assert {s["name"]: s["reason"].split(":")[0] for s in report["target"]["skipped"]} == {
        "broken.wav": "unreadable",
        "silent.flac": "silent",
        "nan.wav": "not finite",
        "copy.wav": "duplicate of 00.wav",
    }
    assert report["target"]["usable"] == 20


@pytest.mark.slow
def test_studies_and_nebulae_are_found_from_a_wheel(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(tmp_path),
            str(root),
        ],
        check=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(tmp_path / "site")], check=True)
    code = (
        "import nebula_tune, sys; from nebula_tune.study.settings import load_study, shipped_studies;"
        "from nebula_tune.study.editions import other_editions; from nebula_tune.nebula import Nebula;"
        "assert [e.called for e in other_editions('laptop')] == ['laptop', *2 * ['an earlier laptop']];"
        "assert nebula_tune.__file__.startswith(sys.argv[1]), nebula_tune.__file__;"
        "print([load_study(s).trials for s in shipped_studies()], len(Nebula.load('drum').curves))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("78")
