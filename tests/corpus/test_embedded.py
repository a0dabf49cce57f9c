"""Corpora as vectors: folders, nebulae and white noise; what is skipped, and what the cache saves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from nebula_tune.corpus.folder import ReadSound, read_audio, read_sound
from nebula_tune.corpus.prepare import Prepare, as_read, prepare
from nebula_tune.corpus.source import Folder, NebulaSounds, Source, WhiteNoise, white_noise
from nebula_tune.embedding import vectors
from nebula_tune.embedding.embed import Embedded, embed_source
from nebula_tune.errors import CorpusError
from nebula_tune.nebula import Nebula
from tests.corpus.sounds import burst, write
from tests.corpus.test_folder import UNUSABLE
from tests.toys import ToyEar, ToySynth

EAR = ToyEar(sample_rate=8000, seconds=0.05)
NEBULA = Nebula({"tone.pitch": 3.0, "level.decay": 0.5}, {"tone.bend": True})


def embed(source: Source | Path, style: Prepare = Prepare.ONSET, first: int = 0, sounds: int = 40) -> Embedded:
    source = Source.parse(str(source)) if isinstance(source, Path) else source
    return embed_source(source, EAR, style, ToySynth, first, sounds=sounds)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Twenty sounds in two folders of several formats."""
    for k in range(20):
        write(tmp_path / f"kit-{k % 2}/{k:02d}.{('wav', 'flac', 'aiff')[k % 3]}", burst(k))
    return tmp_path


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of files decoded from now on."""
    names: list[str] = []

    def counting(path: Path, sample_rate: int, style: Prepare = Prepare.ONSET) -> ReadSound:
        names.append(path.name)
        return read_sound(path, sample_rate, style)

    monkeypatch.setattr(vectors, "read_sound", counting)
    return names


def test_files_have_their_vectors_in_the_order_they_are_named_in(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(target)
    named = ["kit-1/03.wav", target / "kit-0/00.wav", "kit-1/03.wav"]
    some = vectors.vectors_of_files(named, EAR)
    corpus = embed(target)
    places = [corpus.names.index(name) for name in ("kit-1/03.wav", "kit-0/00.wav", "kit-1/03.wav")]
    assert np.array_equal(some, corpus.vectors[places])
    assert vectors.vectors_of_files([], EAR).shape == (0, 12)
    Path("broken.wav").write_bytes(b"RIFF")
    with pytest.raises(CorpusError, match=r"/broken\.wav: unreadable"):
        vectors.vectors_of_files([*named, "broken.wav"], EAR)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in [folder, *folder.rglob("*")]}


def test_a_folder_gives_one_vector_a_sound_in_the_order_of_content(target: Path) -> None:
    corpus = embed(target)
    assert corpus.keys == tuple(sorted(corpus.keys)) and len(set(corpus.names)) == 20
    assert corpus.vectors.shape == (20, 12) and corpus.vectors.dtype == np.float32
    assert set(corpus.folders) == {"kit-0", "kit-1"} and corpus.skipped == ()
    audio = torch.from_numpy(read_audio(target / corpus.names[7], 8000))[None]
    expected = EAR.embed_batch(prepare(audio, EAR.samples)).flatten()
    assert np.array_equal(corpus.vectors[7], expected.numpy())


def test_files_that_cannot_be_used_are_skipped_with_their_reasons(target: Path) -> None:
    for name, (make, _) in UNUSABLE.items():
        make(target / name)
    shutil.copy(target / "kit-0/00.wav", target / "zz_copy.wav")
    soundfile.write(target / "zz_same_audio.flac", *soundfile.read(target / "kit-0/00.wav", dtype="int16"))
    (target / "zz_dangling.wav").symlink_to(target / "gone.wav")
    corpus = embed(target)
    assert len(corpus.keys) == 20
    skipped = {s.name: s.reason for s in corpus.skipped}
    assert len(corpus.skipped) == len(UNUSABLE) + 3
    for name, (_, reason) in UNUSABLE.items():
        assert skipped[name].startswith(reason)
    assert skipped["zz_copy.wav"] == skipped["zz_same_audio.flac"] == "duplicate of kit-0/00.wav"
    assert skipped["zz_dangling.wav"].startswith("unreadable")
    assert np.isfinite(corpus.vectors).all()


def test_what_is_told_of_a_file_is_told_again_from_the_cache(target: Path) -> None:
    cut = target / "kit-0/00.wav"
    cut.write_bytes(cut.read_bytes()[:-200])
    (target / "song.m4a").touch()
    (target / "again").symlink_to(target / "kit-0")
    told = {
        "1 .m4a file is not read": ("convert it to wav or flac (with ffmpeg, for instance)", 1),
        "again": ("a link to kit-0, which is read already", 1),
        "kit-0/00.wav": ("cut short: 0.11 s used", 0),
    }
    for _ in range(2):
        assert {file.name: (file.reason, file.files) for file in embed(target).skipped} == told


def test_fewer_than_16_usable_sounds_are_refused_naming_a_reason(target: Path) -> None:
    for path in sorted(target.rglob("*.*"))[:4]:
        path.write_text("no audio")
    assert len(embed(target).keys) == 16
    sorted(target.rglob("*.*"))[5].write_text("no audio")
    with pytest.raises(CorpusError, match=r"15 usable sounds of 20 files; at least 16.*unreadable"):
        embed(target)


def test_a_second_run_decodes_nothing(target: Path, decoded: list[str]) -> None:
    first = embed(target)
    assert len(decoded) == 20
    second = embed(target)
    assert len(decoded) == 20
    assert np.array_equal(first.vectors, second.vectors) and first.content == second.content
    write(target / "new.wav", burst(99))
    assert len(embed(target).keys) == 21 and decoded[20:] == ["new.wav"]


def test_renamed_files_are_known_and_other_settings_are_not(target: Path, decoded: list[str]) -> None:
    first = embed(target)
    (target / "kit-0").rename(target / "other")
    second = embed(target)
    assert len(decoded) == 20 and first.content == second.content
    for key, vector in zip(first.keys, first.vectors, strict=True):
        assert np.array_equal(second.vectors[second.keys.index(key)], vector)
    embed(target, Prepare.RMS_ONLY)
    assert len(decoded) == 40


def test_torn_cache_files_are_made_again(target: Path, decoded: list[str], cache_of_the_test: Path) -> None:
    first = embed(target)
    kept = sorted(cache_of_the_test.rglob("*.npy"))
    assert len(kept) == 20
    for number, path in enumerate(kept):
        path.write_bytes(path.read_bytes()[: 8 * number])
    again = embed(target)
    assert len(decoded) == 40 and np.array_equal(first.vectors, again.vectors)
    embed(target)
    assert len(decoded) == 40


def test_nothing_is_written_where_the_target_is(target: Path) -> None:
    (target / "broken.wav").write_text("no audio")
    before = snapshot(target)
    embed(target)
    embed(target)
    assert snapshot(target) == before


def test_progress_counts_all_files(target: Path) -> None:
    calls: list[tuple[int, int]] = []

    def progress(done: int, of: int) -> None:
        calls.append((done, of))

    embed_source(Source.parse(str(target)), EAR, Prepare.ONSET, ToySynth, 0, progress=progress)
    assert calls == [(k, 20) for k in range(1, 21)]


SYNTHETIC = pytest.mark.parametrize(
    "source", [NebulaSounds("x", NEBULA), WhiteNoise("white-noise")], ids=["nebula", "noise"]
)


@SYNTHETIC
def test_synthetic_sounds_are_a_function_of_their_indices(source: Source) -> None:
    corpus = embed(source, first=100, sounds=70)
    assert corpus.vectors.shape == (70, 12) and len(np.unique(corpus.vectors, axis=0)) == 70
    fresh = embed(source, first=133, sounds=20)  # other batches, another cache entry
    assert np.array_equal(fresh.vectors, corpus.vectors[33:53]) and fresh.keys == corpus.keys[33:53]
    other = embed(source, first=170, sounds=70)
    assert not set(other.keys) & set(corpus.keys)
    assert len(np.unique(np.concatenate([corpus.vectors, other.vectors]), axis=0)) == 140


@SYNTHETIC
def test_synthetic_sounds_are_cached_too(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embed(source)

    def refuse(*_: object) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr(ToyEar, "embed_batch", refuse)
    assert np.array_equal(embed(source).vectors, first.vectors)
    with pytest.raises(AssertionError, match="embedded again"):
        embed(source, first=1)


def test_a_nebulas_sounds_are_the_synths_own() -> None:
    synth = ToySynth(NEBULA, 32, 44100, Prepare.ONSET.render_seconds(EAR.seconds))
    audio = as_read(synth.render(synth.draw(5, 8), 5), 44100, EAR.sample_rate, Prepare.ONSET)
    expected = EAR.embed_batch(prepare(audio, EAR.samples)).flatten(1).numpy()
    assert np.array_equal(embed(NebulaSounds("x", NEBULA), first=5, sounds=8).vectors, expected)
    other = Nebula({"tone.pitch": 3.1, "level.decay": 0.5}, {"tone.bend": True})
    assert not set(embed(NebulaSounds("x", other)).keys) & set(embed(NebulaSounds("x", NEBULA)).keys)


def test_white_noise_is_uniform_and_has_no_mean() -> None:
    audio = white_noise(range(7, 27), 5000)
    assert audio.shape == (20, 5000) and audio.dtype == torch.float32
    assert audio.min() >= -1 and audio.max() < 1
    assert abs(audio.mean()) < 0.01 and audio.var() == pytest.approx(1 / 3, rel=0.02)
    assert torch.equal(white_noise([8], 5000)[0], audio[1])


def test_an_existing_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(Source.parse("drum"), NebulaSounds) and Source.parse("drum").name == "drum"
    assert Source.parse("white-noise") == WhiteNoise("white-noise")
    for name in ("drum", "white-noise"):
        (tmp_path / name).mkdir()
        assert Source.parse(name) == Folder(name, Path(name))
    NEBULA.save(tmp_path / "mine.json")
    assert Source.parse("mine.json") == NebulaSounds("mine.json", NEBULA)
    assert Source.parse("nowhere/at-all") == Folder("nowhere/at-all", Path("nowhere/at-all"))
