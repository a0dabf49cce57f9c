"""Vital: panels that users write, sounds from a fresh state each, presets, and the same promises as any synth's."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from nebula_tune.corpus.dataset import SynthDataset
from nebula_tune.errors import NebulaError, ScoringError, SettingsError, StudyError, UserInputError
from nebula_tune.nebula import Nebula
from nebula_tune.storage.ledger import Ledger
from nebula_tune.study.plan import Plan
from nebula_tune.study.settings import load_study
from nebula_tune.synth import NamedPanel, Synth, Voice, architecture, panel_of
from nebula_tune.synth.vital.controls import vital_controls
from nebula_tune.synth.vital.player import IDLE, VitalProcess
from nebula_tune.tuning.options import Options
from nebula_tune.tuning.reporter import Silent
from nebula_tune.tuning.resolve import ResolvedStudy, resolve
from nebula_tune.tuning.tune import tune
from tests.study.tiny import make_target

SECONDS = 0.2
SMALL = "free:\n  osc_1_level: [0, 1]\nfixed:\n  env_1_decay: 0.5\n"
# A sound that rings: everything on, long echoes.
LOUD = """\
fixed:
  {reverb_on: on, reverb_dry_wet: 90, reverb_decay_time: 30, delay_on: on, chorus_on: on, phaser_on: on, flanger_on: on,
   distortion_on: on, distortion_drive: 24, compressor_on: on, osc_2_on: on, osc_3_on: on, sample_on: on,
   osc_1_unison_voices: 8, filter_1_on: on, filter_2_on: on, filter_fx_on: on, volume: 6, env_1_release: 4}
routes:
  - {from: lfo_1, to: osc_1_transpose, amount: 0.5}
free:
  osc_1_level: [0.5, 1]
"""
pytestmark = pytest.mark.skipif(find_spec("vita") is None, reason="needs vita")  # not imported: see player.py


def panel(folder: Path, text: str, name: str = "mine") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def drum() -> Synth:
    return architecture("vital", "vital-drum")(batch_size=4, seconds=SECONDS)


@pytest.fixture(scope="module")
def sounds(drum: Synth) -> torch.Tensor:
    return drum(0)[0]


@pytest.mark.parametrize("name", ["vital-drum", "vital-synth"])
def test_shipped_panels_make_sounds_of_many_kinds(name: str) -> None:
    synth = architecture("vital", name)(batch_size=8, sample_rate=44100, seconds=SECONDS)
    audio, raw, _ = synth(0)
    assert audio.shape == (8, 8820) and raw.shape == (8, len(synth.panel))
    assert (audio.abs().amax(dim=1) > 1e-3).sum() >= 6 and len(audio.unique(dim=0)) == 8
    assert synth.backend == "fast" and set(synth.versions()) == {"vita", "cpu"}


def test_a_drums_tone_falls_and_dies_away(drum: Synth) -> None:
    human = drum.to_human(torch.full((1, len(drum.panel)), 0.5))
    knobs = {"keyboard.midi_f0": 48, "env_3.to_sample_level": 0, "env_2.to_osc_1_transpose": 0.25, "env_2.decay": 0.1}
    for name, value in (knobs | {"env_1.decay": 0.4, "distortion.on": 0, "filter_1.cutoff": 110}).items():
        human[0, drum.panel.index[name]] = value
    long = type(drum)(seconds=1.0).render_human(human)[0]
    energy = long.reshape(10, -1).square().sum(dim=1)
    crossings = (long[:-1] * long[1:] < 0)[: 9 * 4410].reshape(9, -1).sum(dim=1)  # of zero, each tenth of a second
    assert energy[0] > 20 * energy[8] and crossings[0] > 1.3 * crossings[1] > 0
    sounding = drum.sounding(human)
    assert sounding.pitch[0, 0] == 48 and sounding.sweep[0, 0] == pytest.approx(24) and sounding.share[0, 0] == 1


def test_pitch_is_continuous_between_keys(drum: Synth) -> None:
    human = drum.to_human(torch.full((2, len(drum.panel)), 0.5))
    human[:, drum.panel.index["keyboard.midi_f0"]] = torch.tensor([60.0, 60.3], dtype=torch.float64)
    low, high = (drum.maker.values(row)["voice_tune"] for row in human.numpy())
    assert low == 0 and high == pytest.approx(0.3) and drum.maker.note(human[1].numpy()).key == 60


def test_a_longer_sound_begins_as_a_short_one(drum: Synth, sounds: torch.Tensor) -> None:
    long = type(drum)(batch_size=4, seconds=2.5 * SECONDS)(0)[0]
    assert torch.equal(long[:, : sounds.shape[1]], sounds) and long[:, sounds.shape[1] :].any()


# What a sound is: a function of panel, nebula and index, whatever was played before and wherever.


def test_order_does_not_change_a_bit(drum: Synth, sounds: torch.Tensor) -> None:
    raw = drum.draw(0, 4)
    for k in (3, 1, 0, 2):
        assert torch.equal(drum.render(raw[k : k + 1], k)[0], sounds[k])


def test_a_loud_reverb_before_does_not_change_a_bit(tmp_path: Path, drum: Synth, sounds: torch.Tensor) -> None:
    loud = architecture("vital", panel(tmp_path, LOUD))(batch_size=1, seconds=SECONDS, threads=1)
    one = type(drum)(batch_size=4, seconds=SECONDS, threads=1)
    rung = loud(0)[0]
    assert rung.abs().max() > 0.1
    for k in range(4):
        assert torch.equal(one.render(drum.draw(k, 1), k)[0], sounds[k])
        assert torch.equal(loud(0)[0], rung)


@pytest.mark.slow
def test_another_process_gives_the_same_bits(sounds: torch.Tensor) -> None:
    code = f"""
import hashlib
from nebula_tune.synth import architecture
sounds = architecture("vital", "vital-drum")(batch_size=4, seconds={SECONDS}, threads=1)(0)[0]
print(hashlib.sha256(sounds.numpy().tobytes()).hexdigest())
"""
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == hashlib.sha256(sounds.numpy().tobytes()).hexdigest()


@pytest.mark.slow
def test_an_instrument_made_for_a_sound_gives_the_same_bits(
    drum: Synth, sounds: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nebula_tune.synth.vital.player.VitalProcess.__init__.__defaults__", (False,))
    monkeypatch.setattr(IDLE, "_processes", [])
    assert torch.equal(drum(0)[0], sounds)
    assert "--new" in IDLE._processes[0]._process.args
    IDLE.close()


def asked_of_vital(code: str, *arguments: object) -> bytes:
    """What a process of its own prints that has a ``synth``, an instrument of Vital's."""
    head = "import json, sys, vita; synth = vita.Synth()\n"
    words = [json.dumps(argument) for argument in arguments]
    return subprocess.run([sys.executable, "-c", head + code, *words], capture_output=True, check=True).stdout


def played_by_vital(preset: Path, note: list[float]) -> np.ndarray:
    code = """
assert synth.load_preset(json.loads(sys.argv[1]))
sys.stdout.buffer.write(synth.render(*json.loads(sys.argv[2])).tobytes())
"""
    return np.frombuffer(asked_of_vital(code, str(preset), note), dtype=np.float32).reshape(2, -1)


def test_a_preset_loaded_back_renders_the_same_audio(tmp_path: Path, call, sounds: torch.Tensor) -> None:
    done = call("render", "default", "--synth", "vital", "--count", "2", "--out", "out", "--presets", "presets",
                "--seconds", str(SECONDS))  # fmt: skip
    assert done.code == 0, done.err
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "out/parameters.parquet").to_pylist()
    for k, row in enumerate(table):
        note = [round(row["human.keyboard.midi_f0"]), row["human.keyboard.velocity"], row["human.keyboard.duration"]]
        stereo = played_by_vital(tmp_path / f"presets/{k:010d}.vital", [*note, SECONDS + 0.1])
        mono = stereo.mean(axis=0, dtype=np.float32)[: sounds.shape[1]]
        assert np.array_equal(mono / max(1, np.abs(mono).max()), sounds[k].numpy())
    assert call("render", "default", "--count", "1", "--out", "a", "--presets", "b").line.endswith("--synth dx7")
    again = call("render", "default", "--synth", "vital", "--panel", "vital-synth", "--count", "1", "--out", "c",
                 "--presets", "presets")  # fmt: skip
    assert "presets holds sounds with another nebula, synth" in again.line


def test_a_player_that_ended_is_one_line_and_the_next_sound_has_another(drum: Synth, sounds: torch.Tensor) -> None:
    one = type(drum)(batch_size=1, seconds=SECONDS, threads=1)
    with IDLE.process() as process:
        process._process.kill()
        process._process.wait()
    with pytest.raises(ScoringError, match=r"the process that plays Vital ended \(status -9\)"):
        one(0)
    assert torch.equal(one(0)[0][0], sounds[0])


def test_noise_is_another_for_each_index_and_the_same_for_one(drum: Synth) -> None:
    raw = drum.draw(0, 1)
    assert torch.equal(drum.render(raw, 5), drum.render(raw, 37))  # rows come round, as the Voice's
    assert not torch.equal(drum.render(raw, 5), drum.render(raw, 6))


# Panels.


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fre: {}", ":1: fre: unknown key"),
        ("free:\n  osc_1_level: [0, 2]", ":2: free.osc_1_level: 2 is outside 0 … 1"),
        ("free:\n  osc_1_level: [1, 0]", ":2: free.osc_1_level: range is [lowest, highest], lowest first"),
        ("free:\n  osc_1_level: {range: [0, 1], curve: 0}", "free.osc_1_level.curve: Input should be greater than 0"),
        ("free:\n  osc_9_level: [0, 1]", ":2: free.osc_9_level: Vital has no control osc_9_level"),
        ("free:\n  osc_1_level: [0, 1]\nfixed:\n  osc_1_level: 1", ":2: free.osc_1_level: it is set twice"),
        ("fixed:\n  filter_1_model: Moog", ":2: fixed.filter_1_model: no step 'Moog': Analog, Dirty"),
        ("fixed:\n  osc_1_level: on", ":2: fixed.osc_1_level: it is a number, 0 … 1"),
        ("fixed:\n  osc_1_unison_voices: 2.5", "it has whole steps, 1 … 16"),
        ("fixed:\n  osc_1_random_phase: 50", "it is random each time"),
        ("fixed:\n  voice_tune: 10", "the keyboard and the routes set it"),
        ("switches:\n  filter_1_on: 1.5", ":2: switches.filter_1_on: Input should be less than 1"),
        ("switches:\n  osc_1_level: 0.5", "it is no switch; those have the steps Off and On"),
        ("routes:\n  - {from: env_9, to: osc_1_level, amount: 1}", ":2: routes.0.from: nothing called env_9"),
        ("routes:\n  - {from: env_2, to: osc_1_on, amount: 1}", "Vital has no control osc_1_on that can be moved"),
        ("routes:\n  - {from: env_2, to: osc_1_level, amount: 3}", "routes.0.amount: it is a share"),
        ("routes:\n  - {from: random_1, to: osc_1_level, amount: 1}", "it is random each time"),
        ("keyboard:\n  midi_f0: [0, 200]", ":2: keyboard.midi_f0: 0 … 200 is outside 0 … 127"),
        ("wavetables: {osc_1: squares}", ":1: wavetables.osc_1: Input should be 'init' or 'shapes'"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_bad_panel_is_one_line_with_file_key_and_line(tmp_path: Path, text: str, said: str) -> None:
    path = panel(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        architecture("vital", path)
    assert str(error.value).startswith(path) and said in str(error.value) and "\n" not in str(error.value)


def test_a_panel_that_is_nowhere_lists_those_that_are_shipped() -> None:
    for name in ("nope", "../panels/vital-drum"):
        with pytest.raises(SettingsError, match=r"neither a file nor a shipped panel \(vital-drum, vital-synth\)"):
            architecture("vital", name)


def test_other_synths_have_no_panels() -> None:
    for name in ("voice", "fm"):
        with pytest.raises(SettingsError, match="one panel, its own"):
            architecture(name, "vital-drum")
        assert panel_of(name, None) is None


def test_without_vita_one_line_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nebula_tune.synth.vital.player.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'nebula-tune\[vital\]'"):
        VitalProcess()


def test_vita_is_never_imported_here_and_leaves_arithmetic_as_it_was(drum: Synth) -> None:
    drum(0)
    assert "vita" not in sys.modules
    smallest = np.full(8, np.finfo(np.float32).tiny)
    assert (smallest / 2 > 0).all() and (torch.from_numpy(smallest) / 2 > 0).all()


def test_human_units_go_to_vitals_own_scale_and_back() -> None:
    written = {  # in human units, and in Vital's
        "env_1_decay": (0.5, 0.5**0.25),
        "osc_1_level": (0.25, 0.5),
        "lfo_1_frequency": (8.0, 3.0),
        "volume": (-20.0, 3600.0),
        "filter_1_cutoff": (69.0, 69.0),
        "filter_1_resonance": (40.0, 0.4),
        "osc_1_tune": (-50.0, -0.5),
        "osc_1_unison_detune": (20.0, 20**0.5),
        "reverb_decay_time": (2.0, 1.0),
    }
    controls = vital_controls()
    for name, (human, internal) in written.items():
        assert controls[name].to_internal(human) == pytest.approx(internal, rel=1e-5)
        assert controls[name].to_human(internal) == pytest.approx(human, rel=1e-5)
    alike = written.keys() - {"lfo_1_frequency", "filter_1_cutoff"}  # Vital shows seconds, and semitones from middle C
    code = """
live = synth.get_controls()
for name, value in json.loads(sys.argv[1]).items():
    live[name].set(value)
print(json.dumps({name: live[name].get_text() for name in live}))
"""
    texts = json.loads(asked_of_vital(code, {name: written[name][1] for name in alike}))
    for name in alike:
        assert float(re.sub(r"[^-.0-9]", "", texts[name])) == pytest.approx(written[name][0], rel=1e-3)


def test_a_switch_is_on_as_often_as_its_panel_says_and_its_curve_tunes_that(tmp_path: Path) -> None:
    kind = architecture("vital", panel(tmp_path, "switches: {filter_1_on: 0.3, chorus_on: 0.9}"))
    synth = kind(batch_size=1, seconds=SECONDS)
    human = synth.to_human(synth.draw(0, 2000))
    shares = [(human[:, kind.panel.index[name]] >= 0.5).double().mean().item() for name in ("filter_1.on", "chorus.on")]
    assert shares == pytest.approx([0.3, 0.9], abs=0.04)
    assert {kind.maker.values(row)["filter_1_on"] for row in human[:20].numpy()} == {0.0, 1.0}


def test_a_panels_content_decides_what_it_is_and_its_name_does_not(tmp_path: Path) -> None:
    first = panel_of("vital", panel(tmp_path, SMALL))
    commented = panel_of("vital", panel(tmp_path, f"# a remark\n{SMALL}"))
    other = panel_of("vital", panel(tmp_path, SMALL.replace("0.5", "0.6")))
    assert first == commented != other and first.digest != other.digest
    assert NamedPanel.from_json(json.loads(json.dumps(first.to_json()))) == first
    assert architecture("vital", first) is architecture("vital", commented)
    assert architecture("vital", first).__name__ != architecture("vital", other).__name__
    renamed = architecture("vital", panel(tmp_path, SMALL, "yours"))
    assert renamed.resolve(architecture("vital", first).resolve("default")) == renamed.resolve("default")


# Nebulae.


def test_a_nebula_says_what_it_is_of_and_is_refused_elsewhere_by_name(tmp_path: Path) -> None:
    drum, lead = architecture("vital", "vital-drum"), architecture("vital", "vital-synth")
    path = tmp_path / "mine.json"
    drum.resolve("default").save(path)
    read = Nebula.load(path)
    assert read == drum.resolve("default") and drum.resolve(path) == read
    assert pickle.loads(pickle.dumps(read)) == read
    kept = json.loads(path.read_text())
    assert (kept["synth"], kept["panel"], kept["panel_sha256"]) == (
        "vital",
        "vital-drum",
        panel_of("vital", None).digest,
    )
    for other in (Voice, lead):
        with pytest.raises(NebulaError, match="of synth vital, panel vital-drum: give --synth vital"):
            other.resolve(path)
    with pytest.raises(NebulaError, match="torchsynth's or of another synth, not of vital under panel vital-drum"):
        drum.resolve("drum")
    path.write_text(json.dumps(kept | {"panel_sha256": "0" * 64}))
    with pytest.raises(NebulaError, match="the panel's file has changed since"):
        drum.resolve(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 9}, "version 9"),
        ({"panel": 3}, "texts"),
        ({"more": 1}, "nothing else"),
        ({"parameters": 3}, "list"),
    ],
)
def test_a_malformed_nebula_of_a_panel_is_one_line(tmp_path: Path, change: dict[str, object], said: str) -> None:
    content = architecture("vital").resolve("default").as_json() | change
    (tmp_path / "bad.json").write_text(json.dumps(content))
    with pytest.raises(NebulaError, match=said):
        Nebula.load(tmp_path / "bad.json")


def test_a_data_set_takes_a_panel_and_can_be_sent_to_another_process(sounds: torch.Tensor) -> None:
    dataset = SynthDataset(count=4, batch_size=2, synth="vital", panel="vital-drum", seconds=SECONDS)
    there = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(torch.cat([batch.audio for batch in there]), sounds)
    assert there.parameter_names == architecture("vital").panel.names


def test_vital_has_no_reference_backend() -> None:
    with pytest.raises(UserInputError, match="no gradients and no backend 'reference'"):
        architecture("vital")(batch_size=1, seconds=SECONDS, backend="reference")(0)


# Studies.


def resolved(folder: Path, *, panel: str | None, storage: str) -> ResolvedStudy:
    parameters = inspect.signature(tune).parameters.values()
    given = {each.name: each.default for each in parameters if each.name != "reporter"}
    given |= {"target": "white-noise", "name": "mine", "synth": "vital", "panel": panel, "storage": storage}
    return resolve(Options.of(given), Silent())


def test_a_study_goes_on_with_the_panel_that_it_keeps(tmp_path: Path) -> None:
    path, storage = panel(tmp_path, SMALL), f"sqlite:///{tmp_path}/studies.db"
    begun = resolved(tmp_path, panel=path, storage=storage).plan
    assert begun.settings == load_study("vital-drum")  # what auto stands for with this synth
    Ledger(storage).begin("mine", begun.resolved(), {"versions": {}})
    Path(path).write_text(SMALL.replace("0.5", "0.6"))
    assert resolved(tmp_path, panel=path, storage=storage).plan.resolved() == begun.resolved()
    Path(path).unlink()
    assert resolved(tmp_path, panel=path, storage=storage).plan.resolved() == begun.resolved()
    with pytest.raises(StudyError, match="other settings"):
        resolved(tmp_path, panel=None, storage=storage)
    kept = Plan.read(json.loads(json.dumps(begun.resolved())))
    assert kept.panel == begun.panel and kept.start == begun.start and kept.synth is begun.synth


@pytest.mark.slow
def test_a_study_is_the_same_in_this_process_on_ray_and_after_a_stop(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nebula_tune.evaluate.scorecard.SOUNDS", 16)
    make_target(tmp_path / "sounds")
    text = "embedding: {name: logmel, sample_rate: 8000, seconds: 0.5}\nsounds: 8\njudges: false\n"
    (tmp_path / "tiny.yaml").write_text(
        text + "search:\n  - {sampler: witness, trials: 4}\nreevaluate: {top: 2, repeats: 1}\n"
    )
    run = ("run", "--target", "sounds", "--study", "tiny.yaml", "--synth", "vital", "--no-report")
    here = call(*run, "--name", "here", "--executor", "inline")
    assert here.code == 0, here.err
    assert call(*run, "--name", "stopped", "--executor", "inline", "--time-limit", "0.0001").code == 130
    assert call(*run, "--name", "stopped", "--executor", "inline").code == 0
    assert call(*run, "--name", "ray", "--executor", "ray", "--workers", "1").code == 0
    nebulae = [(tmp_path / f"nebulae/{name}.json").read_bytes() for name in ("here", "stopped", "ray")]
    assert nebulae[0] == nebulae[1] == nebulae[2]
    assert Nebula.load(tmp_path / "nebulae/here.json") != architecture("vital").resolve("default")
    provenance = json.loads((tmp_path / "nebulae/here.provenance.json").read_text())
    assert provenance["origin"]["versions"].keys() >= {"vita", "cpu"}
    assert provenance["settings"]["panel"]["sha256"] == panel_of("vital", None).digest
    assert call("render", "nebulae/here.json", "--synth", "vital", "--count", "2", "--out", "out").code == 0
    assert "give --synth vital" in call("render", "nebulae/here.json", "--count", "2", "--out", "out2").line
