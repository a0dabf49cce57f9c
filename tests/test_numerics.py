"""What a caller set in torch, numpy and Python changes no result, and is as it was afterwards."""

from __future__ import annotations

import ast
import json
import os
import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from nebula_tune.corpus.prepare import Prepare
from nebula_tune.corpus.source import Source
from nebula_tune.embedding import make_embedding
from nebula_tune.embedding.embed import embed_source, one_thread
from nebula_tune.evaluate import scorecard
from nebula_tune.evaluate.network_judge import _generator, _trained
from nebula_tune.evaluate.picture import BANDS
from nebula_tune.numerics import own_numerics
from nebula_tune.synth import FM, Synth, Voice
from nebula_tune.tuning.tune import tune
from tests.test_layers import modules

MAKERS = {
    "zeros", "ones", "empty", "full", "tensor", "arange", "linspace", "eye", "rand", "randn", "randint", "randperm",
    "hann_window", "triu_indices", "tril_indices", "scalar_tensor",
}  # fmt: skip


@contextmanager
def restored(before: Any, set_it: Any) -> Iterator[None]:
    try:
        yield
    finally:
        set_it(before)


@contextmanager
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("default", category=ResourceWarning)  # pytest's own, of other tests' leavings
        yield


def changed(stack: ExitStack, name: str) -> None:
    """Change a setting until the stack is left."""
    if name in ("float64", "bfloat16"):
        stack.enter_context(restored(torch.get_default_dtype(), torch.set_default_dtype))
        torch.set_default_dtype(getattr(torch, name))
    elif name == "meta":
        stack.enter_context(torch.device("meta"))
    elif name == "no gradients":
        stack.enter_context(torch.set_grad_enabled(False))
    elif name == "inference":
        stack.enter_context(torch.inference_mode())
    elif name == "threads":
        stack.enter_context(restored(torch.get_num_threads(), torch.set_num_threads))
        stack.enter_context(threadpool_limits(2, user_api="blas"))
        torch.set_num_threads(2)
    elif name == "deterministic":
        stack.enter_context(restored(False, torch.use_deterministic_algorithms))
        torch.use_deterministic_algorithms(True)
    elif name == "products":
        stack.enter_context(restored(torch.get_float32_matmul_precision(), torch.set_float32_matmul_precision))
        torch.set_float32_matmul_precision("medium")
    elif name == "autocast":
        stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
    elif name == "numpy's errors":
        stack.enter_context(np.errstate(all="raise"))
    elif name == "warnings":
        stack.enter_context(warnings_are_errors())
    elif name == "seeds":
        torch.manual_seed(1)
        np.random.seed(1)
        random.seed(1)
    else:
        stack.enter_context(restored(os.umask(0o077), os.umask))


SETTINGS = [
    "float64", "bfloat16", "meta", "no gradients", "inference", "threads", "deterministic", "products", "autocast",
    "numpy's errors", "warnings", "seeds", "umask",
]  # fmt: skip


def state() -> dict[str, Any]:
    """All that a caller may have set, and generators that a caller may be drawing from."""
    mask = os.umask(0)
    os.umask(mask)
    return {
        "dtype": torch.get_default_dtype(), "device": torch.get_default_device(), "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(), "threads": torch.get_num_threads(),
        "libraries": [library["num_threads"] for library in threadpool_info()],
        "deterministic": torch.are_deterministic_algorithms_enabled(), "numpy": np.geterr(),
        "products": torch.get_float32_matmul_precision(), "autocast": torch.is_autocast_enabled("cpu"),
        "generators": (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()),
        "folder": Path.cwd(), "umask": mask,
    }  # fmt: skip


def rendered(synth: type[Synth], backend: str) -> bytes:
    return synth("default", 4, 16000, 0.25, backend=backend)(3)[0].numpy().tobytes()


def small_results() -> dict[str, bytes]:
    results = {
        f"{synth.__name__} {way}": rendered(synth, way) for synth in (Voice, FM) for way in ("auto", "reference")
    }
    for name in ("logmel", "mss", "modulation", "scattering", "picture"):
        embedding = make_embedding(name)
        for source in ("default", "white-noise"):
            # Each test has a cache of its own, so they are embedded anew.
            vectors = embed_source(Source.parse(source), embedding, Prepare.ONSET, Voice, 0, sounds=2).vectors
            results[f"{name} of {source}"] = vectors.tobytes()
    return results


@pytest.fixture(scope="module")
def usual() -> dict[str, bytes]:
    return small_results()


@pytest.mark.parametrize("name", SETTINGS)
def test_sounds_and_vectors_do_not_depend_on_a_setting(name: str, usual: dict[str, bytes]) -> None:
    with ExitStack() as stack:
        changed(stack, name)
        before = state()
        results = small_results()
        assert state() == before
    assert [what for what in usual if usual[what] != results[what]] == []


STUDY = """\
embedding: {name: logmel, sample_rate: 8000, seconds: 0.5}
sounds: 16
search: [{sampler: grid, trials: 2}, {sampler: witness, trials: 3}]
reevaluate: {top: 1, repeats: 1}
judges: false
"""


def tuned(folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    folder.mkdir()
    (folder / "tiny.yaml").write_text(STUDY)
    monkeypatch.setenv("NEBULA_TUNE_CACHE", str(folder / "cache"))
    out, url = str(folder / "n.json"), f"sqlite:///{folder}/s.db"
    study = str(folder / "tiny.yaml")
    result = tune(target, study=study, name="tiny", executor="inline", no_report=True, out=out, storage=url)
    told = {key: value for key, value in result.report.items() if key not in ("seconds", "storage", "nebula")}
    return {"nebula": result.nebula.to_json(), "told": json.dumps(told)}


def test_a_study_does_not_depend_on_settings_nor_change_them(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorecard, "SOUNDS", 64)
    usual = tuned(tmp_path / "usual", target, monkeypatch)
    with ExitStack() as stack:
        for name in SETTINGS:
            changed(stack, name)
        stack.callback(os.chdir, Path.cwd())
        os.chdir(tmp_path)
        before = state()
        result = tuned(tmp_path / "set", target, monkeypatch)
        assert state() == before
    assert result == usual


def test_a_network_is_trained_whatever_the_caller_set() -> None:
    generator = np.random.default_rng(0)
    sides = [torch.from_numpy(generator.random((12, 40, BANDS), dtype=np.float32)) for _ in range(2)]

    def weights() -> bytes:
        with one_thread():  # as judges are trained
            network = _trained(*sides, _generator([1]), torch.device("cpu"))
        return network.output.weight.detach().numpy().tobytes()

    usual = weights()
    with ExitStack() as stack:
        for name in SETTINGS:
            changed(stack, name)
        assert weights() == usual


def test_what_is_kept_of_a_panel_serves_gradients_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Voice.panel, "_ranges", {}, raising=False)
    with torch.inference_mode():
        Voice("default", 1, 8000, 0.1)(0)
    knobs = Voice("default", 1, 8000, 0.1, backend="reference").draw(0, 1).double().requires_grad_()
    Voice("default", 1, 8000, 0.1, backend="reference").render(knobs).square().mean().backward()
    assert torch.isfinite(knobs.grad).all()


def test_settings_are_put_back_by_the_last_of_several_threads() -> None:
    first, second = threading.Event(), threading.Event()

    def work() -> None:
        with own_numerics():
            first.set()
            second.wait(60)
            assert torch.get_float32_matmul_precision() == "highest"

    with ExitStack() as stack:
        changed(stack, "products")
        changed(stack, "deterministic")
        with own_numerics():
            thread = threading.Thread(target=work)
            thread.start()
            first.wait(60)
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "highest", "the other is still at work"
        second.set()
        thread.join()
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.are_deterministic_algorithms_enabled()


def test_every_tensor_that_is_made_names_its_dtype_and_device() -> None:
    unnamed = []
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "torch":
                named = {keyword.arg for keyword in node.keywords}
                if not (None in named or {"dtype", "device"} <= named):
                    unnamed.append(f"{module}:{node.lineno}")
    assert unnamed == []
