"""Coala agrees with its authors' code, and its files are read without running anything."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nebula_tune.embedding import COALA, catalogue, make_embedding
from nebula_tune.embedding.coala import MODELS, SCALER, Coala, read_scaler
from nebula_tune.errors import EmbeddingError
from tests.embedding.coala_repository import CHECKPOINTS, encoder_of
from tests.embedding.conftest import FIXTURES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def official():
    with np.load(FIXTURES / "expected_coala.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def ear(coala_weights):
    return Coala(weights=coala_weights)


@pytest.mark.parametrize("sound", ["short", "sweep"])
def test_patches_agree_with_librosa_and_scikit_learn(sound, ear, sounds, official):
    ours = ear._patches(torch.from_numpy(sounds[sound][:88000]))
    assert ours.shape == official[f"patches/{sound}"].shape
    assert np.abs(ours.numpy() - official[f"patches/{sound}"]).max() < 1e-4


@pytest.mark.parametrize("model", MODELS)
def test_the_network_agrees_with_torchs_own_modules(model, coala_weights):
    patches = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = encoder_of(model)(patches[:, None])
    ours = Coala(model, weights=coala_weights)._forward(patches)
    assert expected.shape == (3, 1152)
    assert expected.std() > 0.1
    assert (ours - expected).abs().max() < 1e-5


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_scaler_is_read_as_scikit_learn_pickled_it(protocol, official, tmp_path):
    path = tmp_path / "scaler.pkl"
    path.write_bytes(official[f"scaler/protocol {protocol}"].tobytes())
    scale, shift = read_scaler(path)
    assert np.array_equal(scale, official["scaler/scale"])
    assert np.array_equal(shift, official["scaler/min"])


@pytest.mark.parametrize(("seconds", "patches"), [(0.5, 1), (2.3, 2), (8.0, 4), (10.0, 4)])
def test_patches_that_begin_after_the_sound_are_left_out(seconds, patches, coala_weights):
    ear = Coala(weights=coala_weights, seconds=seconds)
    assert ear.embed_batch(torch.zeros(1, ear.samples)).shape == (1, patches, 1152)


def test_a_sound_is_heard_as_if_silence_filled_it_up(ear, sounds):
    short = torch.from_numpy(sounds["short"])[None]
    longer = torch.nn.functional.pad(short, (0, 88000 - short.shape[1]))
    assert torch.equal(ear.embed_batch(short), ear.embed_batch(longer)[:, :1])


@pytest.mark.parametrize("seconds", [0.0, -1.0, 10.1, float("nan")])
def test_seconds_are_over_0_and_at_most_10(seconds, coala_weights):
    with pytest.raises(EmbeddingError, match="at most 10"):
        Coala(weights=coala_weights, seconds=seconds)


def test_every_model_has_a_name_and_no_other_is_there(coala_weights):
    assert {options["model"] for options in COALA.values()} == set(MODELS) == set(CHECKPOINTS)
    with pytest.raises(EmbeddingError, match="no Coala model 'dual'"):
        Coala("dual", weights=coala_weights)


def test_settings_tell_models_and_scalers_apart(coala_weights, ear, tmp_path):
    other = Coala("dual-e-c", weights=coala_weights)
    assert other.settings["weights"] != ear.settings["weights"]
    assert other.settings["scaler"] == ear.settings["scaler"]
    shutil.copytree(coala_weights, tmp_path, dirs_exist_ok=True)
    content = (tmp_path / SCALER).read_bytes()
    scale = read_scaler(tmp_path / SCALER)[0].astype("<f4").tobytes()
    (tmp_path / SCALER).write_bytes(content.replace(scale, (np.frombuffer(scale, "<f4") * 2).tobytes()))
    changed = Coala(weights=tmp_path)
    assert changed.settings["weights"] == ear.settings["weights"]
    assert changed.settings["scaler"] != ear.settings["scaler"]


def test_a_checkpoint_may_be_given_with_the_scaler_beside_it(coala_weights, ear, tmp_path):
    in_place = coala_weights / CHECKPOINTS["dual-ae-c"]
    assert Coala(weights=in_place).settings == ear.settings
    shutil.copy(in_place, tmp_path / "any name.pt")
    with pytest.raises(EmbeddingError, match=f"{SCALER} cannot be read"):
        Coala(weights=tmp_path / "any name.pt")
    shutil.copy(coala_weights / SCALER, tmp_path)
    assert Coala(weights=str(tmp_path / "any name.pt")).settings == ear.settings


def test_a_copy_of_the_repository_in_the_cache_is_found(coala_weights, ear, cache):
    for name in COALA:
        entry = next(entry for entry in catalogue.entries() if entry.name == name)
        assert not entry.ready and entry.remedy.startswith("git clone ")
        with pytest.raises(EmbeddingError, match=r"git clone .*coala.*--weights FILE"):
            catalogue.fetch(name)
    shutil.copytree(coala_weights, cache / "weights" / "coala")
    for name in COALA:
        entry = next(entry for entry in catalogue.entries() if entry.name == name)
        embedding = make_embedding(name)
        assert entry.ready and not entry.remedy
        assert (entry.sample_rate, entry.seconds) == (embedding.sample_rate, embedding.seconds)
        assert entry.dimensions == embedding.embed_batch(torch.zeros(1, embedding.samples)).numel()
        assert catalogue.fetch(name) == cache / "weights" / "coala" / CHECKPOINTS[COALA[name]["model"]]
    assert Coala().settings == ear.settings


class Malicious:
    def __reduce__(self):
        return print, ("executed",)


def test_code_in_files_is_not_run(coala_weights, tmp_path, capsys):
    shutil.copytree(coala_weights, tmp_path, dirs_exist_ok=True)
    (tmp_path / SCALER).write_bytes(pickle.dumps((Malicious(), "scale_", b"1" * 384, "min_", b"2" * 384)))
    Coala(weights=tmp_path)
    torch.save(Malicious(), tmp_path / "new.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(Malicious(), protocol=2))
    for name in ("new.pt", "old.pt"):
        with pytest.raises(EmbeddingError, match="cannot be read") as caught:
            Coala(weights=tmp_path / name)
        assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out


def test_wrong_checkpoints_are_one_clear_line(coala_weights, tmp_path):
    good = torch.load(coala_weights / CHECKPOINTS["dual-ae-c"], weights_only=True)
    shutil.copy(coala_weights / SCALER, tmp_path)
    for name, tensor, said in [
        ("audio_encoder.4.weight", torch.zeros(128, 128, 3, 3), r"audio_encoder.4.weight has shape \(128, 128, 3, 3\)"),
        ("audio_encoder.17.running_var", torch.full((128,), -1.0), "negative variance"),
        ("audio_encoder.0.bias", torch.full((128,), torch.nan), "not finite"),
        ("audio_encoder.0.bias", "text", "no tensor audio_encoder.0.bias"),
    ]:
        torch.save(good | {name: tensor}, tmp_path / "bad.pt")
        with pytest.raises(EmbeddingError, match=said) as caught:
            Coala(weights=tmp_path / "bad.pt")
        assert "\n" not in str(caught.value)
    torch.save([1, 2], tmp_path / "bad.pt")
    with pytest.raises(EmbeddingError, match="holds a list"):
        Coala(weights=tmp_path / "bad.pt")
    with pytest.raises(EmbeddingError, match="not a checkpoint of coala-dual-e-c"):
        Coala("dual-e-c", weights=coala_weights / CHECKPOINTS["cnn"])
    with pytest.raises(EmbeddingError, match=r"nowhere.pt cannot be read as Coala weights: No such file"):
        Coala(weights=tmp_path / "nowhere.pt")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", pickle.dumps({"scale_": bytes(384)}), b"\x80\x04\x95"])
def test_wrong_scalers_are_one_clear_line(content, coala_weights, tmp_path):
    shutil.copy(coala_weights / CHECKPOINTS["dual-ae-c"], tmp_path / "good.pt")
    (tmp_path / SCALER).write_bytes(content)
    with pytest.raises(EmbeddingError, match="not the scaler") as caught:
        Coala(weights=tmp_path / "good.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [0.0, -1.0, np.inf, np.nan])
def test_a_scaler_multiplies_by_finite_numbers_over_0(number, tmp_path):
    scale, shift = np.full(96, number, "<f8").tobytes(), np.zeros(96, "<f8").tobytes()
    (tmp_path / SCALER).write_bytes(pickle.dumps({"scale_": scale, "min_": shift}))
    with pytest.raises(EmbeddingError, match="not finite"):
        read_scaler(tmp_path / SCALER)


def test_damaged_scalers_are_refused_or_read_but_never_crash(official, tmp_path):
    whole = official["scaler/protocol 4"].tobytes()
    random = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        damaged[random.integers(len(damaged))] = random.integers(256)
        (tmp_path / SCALER).write_bytes(damaged)
        try:
            numbers = read_scaler(tmp_path / SCALER)
        except EmbeddingError:
            continue
        assert np.isfinite(numbers).all()


@pytest.fixture
def drums(tmp_path):
    """Folders "some" and "others", of 16 drums each, where commands are called."""
    files = sorted((ROOT / "examples/drums").glob("*.flac"))
    for number, name in enumerate(("some", "others")):
        (tmp_path / name).mkdir()
        for file in files[16 * number : 16 * number + 16]:
            shutil.copy(file, tmp_path / name)


@pytest.mark.usefixtures("drums")
def test_compare_finds_drums_nearer_to_drums_than_to_noise(call, coala_weights):
    corpora = ["some", "others", "white-noise", "--sounds", "16", "--n", "16", "--trials", "5"]
    done = call("compare", *corpora, "--embedding", "coala-dual-ae-c", "--weights", str(coala_weights), "--json")
    assert done.code == 0, done.err
    (report,) = json.loads(done.out)
    assert report["embedding"] == "coala-dual-ae-c"
    between = {(row["a"], row["b"]): row["mmd_unbiased"] for row in report["rows"]}
    assert between["some", "white-noise"] > 5 * abs(between["some", "others"])


@pytest.mark.usefixtures("drums")
@pytest.mark.parametrize(
    "command",
    [
        ["compare", "some", "others"],
        ["rank", "some"],
        ["run", "--target", "some", "--executor", "inline"],
    ],
    ids=lambda command: command[0],
)
def test_without_weights_a_command_ends_with_what_to_do(command, call):
    outcome = call(*command, "--embedding", "coala-cnn")
    assert outcome.code == 2
    assert "git clone https://github.com/xavierfav/coala" in outcome.line
    assert "--weights FILE" in outcome.line and CHECKPOINTS["cnn"] in outcome.line
