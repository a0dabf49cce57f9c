"""Finding and reading audio files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from nebula_tune.corpus import folder
from nebula_tune.corpus.folder import Unusable, find_audio, fingerprint, read_audio
from nebula_tune.corpus.prepare import Prepare
from nebula_tune.errors import CorpusError
from tests.corpus.sounds import FORMATS, burst, loudest_hertz, tone, write


def test_audio_is_found_recursively_in_the_order_of_relative_names(tmp_path: Path) -> None:
    wanted = ["a.WAV", "b/c/deep.flac", "b/x.ogg", "b.aif", "z.mp3", "zz.aiff"]
    unwanted = ["notes.txt", ".hidden.wav", "._z.wav", ".git/x.wav", "b/wav", "cover.wav.jpg"]
    for name in [*wanted, *unwanted]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)] == sorted(wanted)


def test_a_folder_without_audio_a_file_and_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").touch()
    with pytest.raises(CorpusError, match=r"holds no audio files \(8svx, aif, aifc, aiff, .*flac, .*wav, wave, wve\)"):
        find_audio(tmp_path)
    with pytest.raises(CorpusError, match=r"readme\.txt is not a folder"):
        find_audio(tmp_path / "readme.txt")
    with pytest.raises(CorpusError, match="nowhere does not exist"):
        find_audio(tmp_path / "nowhere")


@pytest.mark.parametrize("extension", [*FORMATS, "aif", "WAV"])
def test_every_format_is_read_at_its_own_length_and_level(tmp_path: Path, extension: str) -> None:
    audio = tone(440, seconds=0.5, sample_rate=44100)
    read = read_audio(write(tmp_path / f"sound.{extension}", audio, 44100), 44100)
    assert read.dtype == np.float32 and read.ndim == 1
    assert loudest_hertz(read, 44100) == pytest.approx(440, abs=2)
    if extension in ("mp3", "ogg"):
        assert len(read) == pytest.approx(len(audio), abs=3000)
        assert np.sqrt(np.mean(read**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
    else:
        np.testing.assert_allclose(read, audio, atol=2**-15)


def test_stereo_is_mixed_to_the_mean_of_its_channels(tmp_path: Path) -> None:
    left, right = burst(1), 0.3 * burst(2)
    path = write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path, 8000), (left + right) / 2, rtol=1e-6)


@pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (22050, 32000), (48000, 44100), (96000, 8000)])
def test_resampling_keeps_frequency_length_and_level(tmp_path: Path, rate: int, wanted: int) -> None:
    path = write(tmp_path / "sine.wav", tone(1234.5, seconds=1, sample_rate=rate), rate)
    read = read_audio(path, wanted)
    assert len(read) == pytest.approx(wanted, abs=2)
    assert loudest_hertz(read, wanted) == pytest.approx(1234.5, abs=0.5)
    middle = read[wanted // 4 : -wanted // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_what_lies_above_the_new_nyquist_is_removed(tmp_path: Path) -> None:
    path = write(tmp_path / "high.wav", tone(7000, seconds=0.5, sample_rate=32000), 32000)
    assert np.abs(read_audio(path, 8000)[500:-500]).max() < 1e-3


def test_no_more_than_the_first_minute_is_read(tmp_path: Path) -> None:
    audio = np.resize(np.float32([0.1, -0.1]), folder.LONGEST_SECONDS * 1000 + 500)
    path = write(tmp_path / "long.wav", audio, 1000)
    assert len(read_audio(path, 1000)) == folder.LONGEST_SECONDS * 1000


def with_samples(path: Path, *values: float) -> Path:
    audio = burst(0)
    audio[10 : 10 + len(values)] = values
    return write(path, audio, subtype="FLOAT")


UNUSABLE = {
    "no_audio.wav": (lambda p: p.write_text("this is not audio"), "unreadable"),
    "no_bytes.wav": (lambda p: p.touch(), "unreadable"),
    "header_only.flac": (lambda p: p.write_bytes(write(p, burst(0)).read_bytes()[:30]), "unreadable"),
    "no_samples.wav": (lambda p: write(p, np.zeros(0, np.float32)), "empty"),
    "zeros.wav": (lambda p: write(p, np.zeros(900, np.float32)), "silent"),
    "too_quiet.wav": (lambda p: write(p, 9e-5 * np.ones(900, np.float32), subtype="FLOAT"), "silent"),
    "nan.wav": (lambda p: with_samples(p, np.nan), "not finite"),
    "infinite.wav": (lambda p: with_samples(p, np.inf), "not finite"),
    "both_infinities.wav": (lambda p: with_samples(p, np.inf, -np.inf), "not finite"),
    "absurd.wav": (lambda p: with_samples(p, 1e30), "not finite"),
    "too_short.wav": (lambda p: write(p, np.full(1, 0.5, np.float32), 192000), "empty: shorter than a sample"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str) -> None:
    make, reason = UNUSABLE[name]
    make(tmp_path / name)
    with pytest.raises(Unusable, match=reason) as caught:
        read_audio(tmp_path / name, 8000)
    assert "\n" not in str(caught.value)


def test_a_quiet_sound_is_not_silent(tmp_path: Path) -> None:
    path = write(tmp_path / "quiet.wav", 1.1e-4 * np.resize(np.float32([1, -1]), 900), subtype="FLOAT")
    assert len(read_audio(path, 8000)) == 900


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    first = fingerprint(write(tmp_path / "kit/a.wav", burst(1)), tmp_path)
    again = fingerprint(write(tmp_path / "b.wav", burst(1)), tmp_path)
    other = fingerprint(write(tmp_path / "c.wav", burst(2)), tmp_path)
    assert first.key == again.key != other.key
    assert (first.name, first.folder, again.folder) == ("kit/a.wav", "kit", ".")
    (tmp_path / "dangling.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(Unusable, match="unreadable: No such file"):
        fingerprint(tmp_path / "dangling.wav", tmp_path)


def test_soundfile_can_write_what_these_tests_read() -> None:
    assert set(FORMATS) <= {name.lower() for name in soundfile.available_formats()}


@pytest.mark.parametrize("rate", [8000, 11025])
def test_a_file_with_an_offset_reads_like_the_one_without(tmp_path: Path, rate: int) -> None:
    hit = tone(700, seconds=0.5, sample_rate=rate) * np.exp(-np.arange(rate // 2) / 400).astype(np.float32)
    hit = np.concatenate([np.zeros(300, np.float32), hit])
    plain = read_audio(write(tmp_path / "plain.wav", hit, rate), 8000)
    offset = write(tmp_path / "offset.wav", hit + np.float32(0.2), rate)
    np.testing.assert_allclose(read_audio(offset, 8000), plain, atol=1e-3)
    assert read_audio(offset, 8000, Prepare.RMS_ONLY).mean() > 0.15


def test_a_file_that_holds_a_constant_is_silent(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="silent"):
        read_audio(write(tmp_path / "constant.wav", np.full(5000, 0.2, np.float32), 8000), 8000)
