"""The DX7: its voices are what they say, sound as Dexed plays them, and depend on nothing that was played before."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nebula_tune.errors import SettingsError
from nebula_tune.synth import Synth, architecture
from nebula_tune.synth.dx7_synth import DX7, VoiceBytes

if find_spec("dexed") is None:
    pytest.skip("needs dexed-py", allow_module_level=True)
from dexed import DexedSynth, Patch

RATE, SECONDS = 44100, 0.5


@pytest.fixture(scope="module")
def synth() -> Synth:
    return architecture("dx7")(batch_size=8, sample_rate=RATE, seconds=SECONDS)


def one_sine(synth: Synth, **knobs: float) -> torch.Tensor:
    """Human values (1, parameters): the first operator alone, held; dots of names are double underscores."""
    values = dict.fromkeys(synth.panel.names, 0.0)
    values |= {f"pitch.level_{k}": 50.0 for k in range(1, 5)} | {f"pitch.rate_{k}": 99.0 for k in range(1, 5)}
    values |= {f"op_1.rate_{k}": 99.0 for k in range(1, 5)} | {f"op_1.level_{k}": 99.0 for k in range(1, 4)}
    values |= {"op_1.output": 99.0, "op_1.coarse": 1.0, "main.algorithm": 32.0}
    values |= {"keyboard.midi_f0": 69.0, "keyboard.velocity": 0.8, "keyboard.duration": 1.0}
    values |= {name.replace("__", "."): value for name, value in knobs.items()}
    return torch.tensor([list(values.values())], dtype=torch.float64)


def midi_pitch(audio: torch.Tensor) -> float:
    """Of the loudest partial of the middle of a sound."""
    sound = audio[0].double().numpy()[4096 : 4096 + 16384] * np.hanning(16384)
    hertz = np.abs(np.fft.rfft(sound, 2**18)).argmax() * RATE / 2**18
    return float(69 + 12 * np.log2(hertz / 440))


@pytest.mark.parametrize(
    "knobs",
    [
        {}, {"keyboard__midi_f0": 44.7}, {"op_1__coarse": 3}, {"op_1__coarse": 0, "op_1__fine": 50},
        {"op_1__fixed": 1, "op_1__coarse": 2, "op_1__fine": 50},
    ],
)  # fmt: skip
def test_an_operator_sounds_at_the_pitch_that_its_knobs_say(synth: Synth, knobs: dict[str, float]) -> None:
    human = one_sine(synth, **knobs)
    sounding = synth.sounding(human)
    assert sounding.share[0].tolist()[0] > 0.999 and float(sounding.sweep[0, 0]) == 0
    assert float(sounding.pitch[0, 0]) == pytest.approx(midi_pitch(synth.render_human(human)), abs=0.1)


@pytest.mark.parametrize("level", [3, 20, 60, 91, 97])
def test_the_pitch_envelope_moves_as_far_as_is_said(synth: Synth, level: float) -> None:
    human = one_sine(synth, **{f"pitch__level_{k}": level for k in range(1, 5)})
    moved = midi_pitch(synth.render_human(human)) - 69
    assert float(synth.sounding(human).sweep[0, 0]) == pytest.approx(abs(moved), abs=1.5)


def test_the_lfo_moves_as_far_as_is_said(synth: Synth) -> None:
    human = one_sine(synth, lfo__pitch_depth=50, lfo__pitch_sensitivity=7, lfo__wave=3)  # slow square
    moved = midi_pitch(synth.render_human(human)) - 69
    assert float(synth.sounding(human).sweep[0, 0]) == pytest.approx(abs(moved), abs=0.1)


def test_only_what_an_algorithm_lets_be_heard_has_a_share(synth: Synth) -> None:
    human = one_sine(synth, main__algorithm=1, op_2__output=99, op_3__output=99)  # 2 into 1; 6, 5, 4 into 3
    assert synth.sounding(human).share[0].tolist() == pytest.approx([0.5, 0, 0.5, 0, 0, 0], abs=1e-3)


def test_every_voice_is_one_of_a_dx7s(synth: Synth) -> None:
    low, high = (end[None] for end in synth.panel.ends(torch.device("cpu")))
    human = torch.cat([low, high, synth.to_human(synth.draw(0, 50))])
    voices = DX7._voices(human.numpy())
    assert len(np.unique(voices[:2, :145], axis=0)) == 2
    for voice in voices:
        assert np.array_equal(Patch.from_raw(voice).to_raw(), voice)  # which brings into range what is not


def test_a_sound_is_the_same_whatever_was_played_before_and_on_however_many_threads(synth: Synth) -> None:
    raw = synth.draw(0, 8)
    audio = synth.render(raw)
    assert torch.equal(synth.render(raw.flip(0)).flip(0), audio)
    for threads in (1, 3):
        other = architecture("dx7")(batch_size=8, sample_rate=RATE, seconds=SECONDS, threads=threads)
        assert torch.equal(other.render(raw), audio)


def played_by_dexed(path: Path, human: dict[str, float]) -> np.ndarray:
    """A dump of one voice, at the note that its parameters say."""
    dump = path.read_bytes()
    assert len(dump) == 163 and dump[:6] == bytes([0xF0, 0x43, 0, 0, 1, 0x1B]) and dump[-1] == 0xF7
    assert sum(dump[6:-1]) % 128 == 0
    voice: VoiceBytes = np.frombuffer(dump[6:161], dtype=np.uint8)
    player = DexedSynth(RATE)
    player.load_patch(Patch.from_raw(voice))
    velocity = max(1, round(127 * human["keyboard.velocity"]))
    return player.render(round(human["keyboard.midi_f0"]), velocity, human["keyboard.duration"], SECONDS)


def test_presets_are_dumps_that_a_dx7_plays_alike(call, synth: Synth) -> None:
    length = ("--count", "3", "--seconds", str(SECONDS))
    assert call("render", "default", "--synth", "dx7", *length, "--out", "out", "--presets", "presets").code == 0
    for k, human in enumerate(synth.to_human(synth.draw(0, 3)).tolist()):
        audio = soundfile.read(f"out/{k:010d}.wav")[0]
        again = played_by_dexed(Path(f"presets/{k:010d}.syx"), dict(zip(synth.panel.names, human, strict=True)))
        assert np.abs(again / max(1, np.abs(again).max()) - audio).max() < 1e-4


def test_matches_are_written_as_presets(call) -> None:
    hidden = architecture("dx7")(batch_size=1, seconds=1.0)
    soundfile.write("hit.wav", hidden.render(hidden.draw(77, 1))[0].numpy(), RATE)
    done = call("match", "hit.wav", "--synth", "dx7", "--pool", "256", "--renders", "240", "--embedding", "logmel",
                "--keep", "2", "--seconds", str(SECONDS), "--out", "found", "--json")  # fmt: skip
    assert done.code == 0, done.err
    [found] = json.loads(done.out)
    best = found["presets"][0]
    assert best["distance"] < found["pool_best"]["distance"]
    audio, again = soundfile.read("found/1.wav")[0], played_by_dexed(Path("found/1.syx"), best["human"])
    assert np.abs(again / max(1, np.abs(again).max()) - audio).max() < 1e-4


def test_without_dexed_one_line_says_how_to_get_it(call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dexed", None)
    done = call("render", "default", "--synth", "dx7", "--count", "1", "--out", "out")
    assert done.code == 2 and "nebula-tune[dx7]" in done.line and not Path("out").exists()
    with pytest.raises(SettingsError, match="one panel"):
        architecture("dx7", "mine.yaml")
