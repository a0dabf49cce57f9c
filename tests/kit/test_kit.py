"""Kits: what a sampler reads of the SFZ file is what lies in the folder, on the keys where it belongs."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from nebula_tune.constellation import Constellation
from nebula_tune.errors import CorpusError, NebulaError, SettingsError
from nebula_tune.kit.keys import drum_keys
from nebula_tune.kit.write import spectral_centre, write_kit
from nebula_tune.nebula import Nebula
from nebula_tune.synth import Voice

SHORT = {"seconds": 0.3, "robins": 2}


def regions(path: Path) -> list[dict[str, str]]:
    """What each region of an SFZ file has, with what its group and the file as a whole give it."""
    inherited: dict[str, dict[str, str]] = {"control": {}, "global": {}, "group": {}}
    found = []
    text = re.sub(r"//.*", "", path.read_text())
    for header, body in re.findall(r"<(\w+)>([^<]*)", text):
        opcodes = dict(re.findall(r"(\w+)=(\S+)", body))
        if header == "region":
            found.append({**inherited["control"], **inherited["global"], **inherited["group"], **opcodes})
        else:
            inherited[header] = opcodes
    return found


def audio(path: Path, region: dict[str, str]) -> np.ndarray:
    sound, rate = soundfile.read(path.parent / region["default_path"] / region["sample"])
    assert rate == 44100 and sound.ndim == 1
    return sound


def test_hits_are_on_neighbouring_keys_from_low_to_high(tmp_path: Path) -> None:
    path = write_kit(Voice, Nebula.load("drum"), tmp_path / "kit", keys=3, **SHORT)
    listed = regions(path)
    assert [region["lokey"] for region in listed] == ["36", "36", "37", "37", "38", "38"]
    assert all(region["lokey"] == region["hikey"] == region["pitch_keycenter"] for region in listed)
    assert [region["seq_position"] for region in listed] == ["1", "2"] * 3
    assert {(region["seq_length"], region["loop_mode"]) for region in listed} == {("2", "one_shot")}
    centres = [spectral_centre(audio(path, region), 44100) for region in listed]
    assert max(centres[:2]) <= min(centres[2:4]) * 1.2 and max(centres[2:4]) <= min(centres[4:]) * 1.2
    assert {file.name for file in (tmp_path / "kit" / "samples").iterdir()} == {region["sample"] for region in listed}
    again = write_kit(Voice, Nebula.load("drum"), tmp_path / "kit", keys=3, **SHORT)
    assert regions(again) == listed
    with pytest.raises(CorpusError, match="another keys"):
        write_kit(Voice, Nebula.load("drum"), tmp_path / "kit", keys=4, **SHORT)


def test_classes_are_on_their_drum_keys(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(4, len(Voice.panel)))
    constellation = Constellation(
        nebula=Voice.panel.complete(Nebula.load("drum")),
        parameters=Voice.panel.names,
        atoms=atoms,
        weights=np.full(4, 0.25),
        spread=0.1,
        classes=("kick", "snare", "open_hat", "closed_hat"),
    )
    path = write_kit(Voice, constellation, tmp_path / "kit", seconds=0.3, robins=1)
    keys = {region["sample"]: (region["lokey"], region.get("off_by")) for region in regions(path)}
    assert keys == {
        "036-kick-1.wav": ("36", None),
        "038-snare-1.wav": ("38", None),
        "042-closed-hat-1.wav": ("42", "1"),
        "046-open-hat-1.wav": ("46", "1"),
    }
    plain = write_kit(Voice, replace(constellation, classes=()), tmp_path / "plain", keys=1, seconds=0.3, robins=1)
    assert [region["lokey"] for region in regions(plain)] == ["36"]


def test_a_pitched_kit_is_one_sound_over_the_whole_keyboard(tmp_path: Path) -> None:
    listed = regions(write_kit(Voice, Nebula.load("drum"), tmp_path / "kit", seconds=0.1, pitched=True))
    covered = [key for region in listed for key in range(int(region["lokey"]), int(region["hikey"]) + 1)]
    assert covered == list(range(128))
    assert all(int(r["lokey"]) <= int(r["pitch_keycenter"]) <= int(r["hikey"]) for r in listed)
    assert {region["loop_mode"] for region in listed} == {"no_loop"}


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["Kick", "Kick 2", "kick-3"], {"Kick": 36, "Kick 2": 35, "kick-3": 82}),
        (["BD", "SD", "HH", "OHH", "CY", "LT", "MT", "HT"], [36, 38, 42, 46, 57, 41, 47, 50]),
        (["side_stick", "hand clap", "crash", "ride bell", "cow-bell", "tom"], [37, 39, 49, 53, 56, 45]),
        (["zzz", "Ümlaut"], None),
    ],
)
def test_names_of_drums_lead_to_their_keys(names: list[str], keys: object) -> None:
    found = drum_keys(names)
    assert len(set(found.values())) == len(names)
    if isinstance(keys, dict):
        assert found == keys
    elif isinstance(keys, list):
        assert [found[name] for name in names] == keys
    else:
        assert sorted(found.values()) == [82, 83]


def test_more_classes_than_keys_are_no_clash() -> None:
    keys = drum_keys(f"class {k:03d}" for k in range(82))
    assert len(set(keys.values())) == 82 and all(0 <= key <= 127 for key in keys.values())


@pytest.mark.parametrize(
    ("options", "words"), [({"keys": 0}, "--count 0"), ({"robins": 0}, "--robins 0"), ({"seconds": 0.0}, "--seconds 0")]
)
def test_what_cannot_be_is_refused(options: dict[str, float], words: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=words):
        write_kit(Voice, Nebula.load("drum"), tmp_path, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_silent_nebula_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nebula_tune.kit.write.is_silent", lambda audio: audio.amax(dim=1) < 9)
    with pytest.raises(NebulaError, match="fewer than 2 are to be heard"):
        write_kit(Voice, Nebula.load("drum"), tmp_path / "kit", keys=1, **SHORT)


def test_the_command_takes_a_kit_or_a_count_and_a_folder(call, tmp_path: Path) -> None:
    done = call("render", "drum", "--kit", str(tmp_path / "kit"), "--count", "1", "--robins", "1", "--seconds", "0.2")
    assert done.code == 0 and "kit.sfz" in done.out
    neither = call("render", "drum")
    assert neither.code == 2 and "--kit FOLDER" in neither.err
    both = call("render", "drum", "--kit", str(tmp_path / "kit"), "--out", str(tmp_path / "out"))
    assert both.code == 2 and "leave out --out" in both.err
