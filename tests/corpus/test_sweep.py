"""Ranked data sets made here: layout, resumption, the instruments and their banks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from nebula_tune.errors import CorpusError, SettingsError
from nebula_tune.ranking.instruments import amsynth, dx7, make_instrument
from nebula_tune.ranking.instruments.instrument import Instrument
from nebula_tune.ranking.ranked_sets import RankedDataset
from nebula_tune.ranking.sweeps import Sweep, write_dataset
from tests.corpus.sounds import loudest_hertz


class Toy(Instrument):
    """Presets 0 to 5: preset 1 ignores what is swept, preset 2 is silent, preset 3 too loud."""

    name, kinds = "toy", ("velocity",)

    def __init__(self) -> None:
        self.rendered: list[str] = []

    @property
    def settings(self) -> Mapping[str, Any]:
        return {}

    def presets(self, seed: int) -> Iterable[str]:
        return [f"p{k}" for k in range(6)]

    def sounds(self, preset: str, kind: str, ranks: Sequence[int]) -> np.ndarray:
        self.rendered.append(preset)
        wave = np.sin(np.arange(500) * 0.1 * (1 + int(preset[1]))).astype(np.float32) / 2
        return np.stack(
            [wave * {"p1": 1.0, "p2": 0.0, "p3": 4.0 * rank}.get(preset, 1e-3 * (rank // 2)) for rank in ranks]
        ).astype(np.float32)


SWEEP = Sweep("velocity", "toy", {}, list(range(2, 10)), 3, 0)


def quiet(done: int, total: int) -> None:
    """Nothing."""


def test_layout_manifest_and_what_is_left_out(tmp_path: Path) -> None:
    made = write_dataset(Toy(), SWEEP, tmp_path / "set", quiet)
    assert made["left_out"] == [
        {"preset": "p1", "reason": "1 different sounds"},
        {"preset": "p2", "reason": "0 different sounds"},
    ]
    assert made["sounds"] == {"p0": [2, 4, 6, 8], "p3": list(range(2, 10)), "p4": [2, 4, 6, 8]}
    assert json.loads((tmp_path / "set/dataset.json").read_text()) == made
    dataset = RankedDataset.read(tmp_path / "set")
    assert {p.name: list(p.ranks) for p in dataset.presets} == made["sounds"]
    assert dataset.kind == "velocity" and dataset.skipped == ()
    # A quiet sound keeps its shape: 24 bits. A loud one is scaled, not clipped.
    soft, rate = soundfile.read(tmp_path / "set/p0/2.flac")
    assert rate == 44100 and np.abs(soft - 1e-3 * np.sin(np.arange(500) * 0.1) / 2).max() < 1e-6
    loud, _ = soundfile.read(tmp_path / "set/p3/9.flac")
    half, _ = soundfile.read(tmp_path / "set/p3/3.flac")
    assert 0.999 < np.abs(loud).max() <= 1 and np.abs(half - loud / 3).max() < 1e-6


def test_an_interrupted_sweep_is_finished_by_the_same_call(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(Toy(), SWEEP, tmp_path, stop)
    (tmp_path / ".p4").mkdir()  # as a kill amid a preset leaves it
    again = Toy()
    made = write_dataset(again, SWEEP, tmp_path, quiet)
    assert list(made["sounds"]) == ["p0", "p3", "p4"] and not {"p0", "p3"} & set(again.rendered)
    assert not list(tmp_path.glob(".*"))
    more = write_dataset(Toy(), Sweep(**{**vars(SWEEP), "presets": 4}), tmp_path, quiet)
    assert list(more["sounds"]) == ["p0", "p3", "p4", "p5"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CorpusError, match="holds something else"):
        write_dataset(Toy(), SWEEP, tmp_path, quiet)
    write_dataset(Toy(), SWEEP, tmp_path / "set", quiet)
    with pytest.raises(CorpusError, match="another ranks, seed"):
        write_dataset(Toy(), Sweep("velocity", "toy", {}, [1, 2, 3], 3, 1), tmp_path / "set", quiet)
    (tmp_path / "set/dataset.json").write_text("{")
    with pytest.raises(CorpusError, match="cannot be read"):
        write_dataset(Toy(), SWEEP, tmp_path / "set", quiet)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_voice_sweeps_one_knob_of_a_synth1b1_sound(tmp_path: Path) -> None:
    voice = make_instrument("voice", parameter="mixer.vco_1")
    low, high, again = voice.sounds("0000000007", "pitch", [40, 64, 40])
    assert (low == again).all() and not (low == high).all()
    timbre = voice.sounds("0000000007", "timbre", [0, 100])
    assert not (timbre[0] == timbre[1]).all()
    assert list(voice.presets(0))[:2] == ["0000000000", "0000000001"]


def test_ranks_of_each_kind() -> None:
    voice = make_instrument("voice")
    assert voice.ranks("pitch", None) == list(range(21, 109, 3))
    assert voice.ranks("timbre", 33) == [0, 33, 66, 99]
    with pytest.raises(SettingsError, match="--step 50"):
        voice.ranks("timbre", 50)
    with pytest.raises(SettingsError, match="voice has no velocity"):
        voice.ranks("velocity", None)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("theremin", {}, "no instrument 'theremin'"),
        ("voice", {"banks": Path("x")}, "voice takes no --banks"),
        ("voice", {"parameter": "vco_9.shape"}, "'vco_9.shape'"),
    ],
)
def test_instruments_that_are_not_there(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make_instrument(name, **options)


def packed(name: str, velocity_sensitivity: int = 0) -> bytes:
    """A DX7 voice of 128 bytes: its first operator a sine at the played pitch, the others silent."""
    operators = bytearray()
    for number in range(6):  # operator 6 first
        level = 99 if number == 5 else 0
        operators += bytes([99, 99, 99, 99, 99, 99, 99, 0, 0, 0, 0, 0, 7 << 3, velocity_sensitivity << 2, level, 2, 0])
    rest = bytes([99] * 4 + [50] * 4 + [31, 0, 0, 0, 0, 0, 0, 24])
    return bytes(operators) + rest + name.ljust(10).encode()


def bank(voices: list[bytes]) -> bytes:
    body = b"".join(voices)
    return b"\xf0\x43\x00\x09\x20\x00" + body + bytes([-sum(body) & 0x7F, 0xF7])


def test_dx7_banks_are_read_and_voices_taken_once(tmp_path: Path) -> None:
    voices = [packed(f"V {k}") for k in range(32)]
    (tmp_path / "one.syx").write_bytes(bank(voices))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/two.SYX").write_bytes(b"\xf0\x7e\x00\xf7" + bank([packed("NEW!"), *voices[1:]]))
    (tmp_path / "raw.dx7").write_bytes(packed("RAW") * 2)
    (tmp_path / "broken.syx").write_bytes(bank(voices)[:1000])
    (tmp_path / "text.txt").write_text("no bank")
    names = list(dx7.read_banks(tmp_path))
    assert len(names) == 34 and {"one-001-V-0", "raw-001-RAW", "two-001-NEW"} <= set(names)


def test_missing_banks_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--banks; Debian's package hexter"):
        dx7.read_banks(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="holds no DX7 banks"):
        dx7.read_banks(tmp_path)
    with pytest.raises(SettingsError, match="no amsynth banks"):
        amsynth.read_banks(tmp_path)


def test_a_dx7_plays_its_bank(tmp_path: Path) -> None:
    pytest.importorskip("dexed", reason="an optional extra")
    (tmp_path / "one.syx").write_bytes(bank([packed(f"V{k}", 7) for k in range(32)]))
    player = make_instrument("dx7", banks=tmp_path)
    preset = next(iter(player.presets(0)))
    low, high = player.sounds(preset, "pitch", [69, 81])
    assert loudest_hertz(low[4410:48510], 44100) == pytest.approx(440, rel=0.01)
    assert loudest_hertz(high[4410:48510], 44100) == pytest.approx(880, rel=0.01)
    soft, loud = player.sounds(preset, "velocity", [20, 127])
    assert np.abs(loud).max() > 2 * np.abs(soft).max() > 0
    assert (player.sounds(preset, "velocity", [20])[0] == soft).all(), "bit for bit"


def test_amsynths_banks_are_read_and_presets_taken_once(tmp_path: Path) -> None:
    one = "<preset> <name> Bass 1\n<parameter> amp_attack 1.25\n<parameter> osc2_pitch 6\n"
    other = "<preset> <name> \n<parameter> amp_attack 0\n"
    (tmp_path / "A.amSynth.bank").write_text("amSynth\n" + one + other)
    (tmp_path / "B.bank").write_text("amSynth\n" + one + "EOF\n")
    presets = amsynth.read_banks(tmp_path)
    assert presets == {"A-001-Bass-1": {"amp_attack": 1.25, "osc2_pitch": 6.0}, "A-002-": {"amp_attack": 0.0}}
    assert [amsynth._share(name, value) for name, value in presets["A-001-Bass-1"].items()] == [0.5, 0.75]
    assert amsynth._share("osc_mix_mode", 3.0) == 1.0


@pytest.mark.slow
def test_amsynth_plays_in_tune(tmp_path: Path) -> None:
    pytest.importorskip("dawdreamer", reason="an optional extra")
    if not amsynth.PLUGIN.is_file():
        pytest.skip("Debian's package amsynth is not installed")
    player = make_instrument("amsynth")
    values = dict.fromkeys(("osc1_waveform", "osc_mix_mode", "reverb_wet", "freq_mod_amount"), 0.0)
    player._presets = {"sine": values | {"osc_mix": -1.0, "filter_cutoff": 1.5, "amp_sustain": 1.0}}  # type: ignore[attr-defined]
    sounds = player.sounds("sine", "pitch", [45, 57, 45])
    hertz = [loudest_hertz(sound[4410:48510], 44100) for sound in sounds]
    assert hertz == pytest.approx([110, 220, 110], rel=0.01)
