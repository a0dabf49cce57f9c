"""OpenL3 in torch beside a Keras model of the same layers; silent windows embedded once; where a drum's distance is.

    python benchmarks/openl3.py [--keras PYTHON] [--drums FOLDER] [--rounds N] [--device cuda]

``--keras`` is the interpreter of an environment with TensorFlow (``python -m venv tf; tf/bin/pip install
tensorflow-cpu``). Each figure is the median over rounds in which the peers take turns, of the processor time (of the
wall on a GPU) of one thread. Weights are seeded random numbers unless ``--weights`` says otherwise: that changes no
time, but it does change where distances come from.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WINDOWS = 36  # of one measurement: a sound of 4 s every 0.1 s; official openl3 predicts in batches of 32
SOUNDS = 64
IMAGES = {"mel256": (256, 199), "mel128": (128, 199), "linear": (257, 197)}


def keras_peer(weights: str, images: str, size: int) -> None:
    """In an environment with TensorFlow: on each line of input, time the images and print seconds a window."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import h5py
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = tf.keras.layers
    pictures = np.load(images)[..., None]
    rows, columns = pictures.shape[1:3]
    inputs = x = layers.Input((rows, columns, 1))
    x = layers.BatchNormalization()(x)
    for channels in (64, 128, 256, 512):
        x = layers.Conv2D(channels, 3, padding="same")(x)
        x = layers.Activation("relu")(layers.BatchNormalization()(x))
        x = layers.Conv2D(channels, 3, padding="same")(x)
        if channels < 512:
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
            x = layers.MaxPooling2D(2)(x)
    pool = (rows // 8, columns // 8) if size == 512 else (rows // 32, columns // 24)
    model = tf.keras.Model(inputs, layers.Flatten()(layers.MaxPooling2D(pool, padding="same")(x)))
    with h5py.File(weights) as file:
        names = [name.decode() for name in file.attrs["layer_names"]]
        arrays = [file[name][weight.decode()][()] for name in names for weight in file[name].attrs["weight_names"]]
    model.set_weights(arrays)
    np.save(f"{images}.keras.npy", model.predict(pictures, batch_size=32, verbose=0))
    print(json.dumps(f"TensorFlow {tf.__version__}"), flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        model.predict(pictures, batch_size=32, verbose=0)
        print(json.dumps((time.process_time() - start) / len(pictures)), flush=True)


class Peer:
    """The Keras model in its own process."""

    def __init__(self, python: str, weights: Path, images: Path) -> None:
        command = [python, __file__, "--keras-peer", str(weights), str(images)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.version = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the Keras peer ended: has that interpreter TensorFlow and h5py?")
        return json.loads(line)

    def seconds(self) -> float:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def seconds_of(device: str, work, *arguments):
    """(seconds, result) of some work: processor time, or on a GPU wall time."""
    import torch

    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    result = work(*arguments)
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start, result


def ears(weights: dict[str, Path], representation: str, device: str, **options):
    from nebula_tune.embedding.openl3 import OpenL3

    options = {"weights": weights[representation], "device": device, **options}
    return {p: OpenL3(representation, precision=p, **options) for p in ("float32", "bfloat16")}


def network(weights, folder: Path, python: str | None, rounds: int, device: str) -> None:
    """Seconds a window of the network alone, and with the frontend."""
    import numpy as np
    import torch

    print(f"\n## Seconds a window ({'one thread' if device == 'cpu' else torch.cuda.get_device_name()})\n")
    print("| representation | model | network | ratio to Keras | with frontend | relative L2 error |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    count = WINDOWS if device == "cpu" else 512
    noise = np.random.default_rng(0).standard_normal((count, 48000))
    windows = torch.from_numpy(noise * np.exp(-np.linspace(0, 6, 48000))).to(device)
    for representation in IMAGES:
        both = ears(weights, representation, device)
        pictures = torch.cat([both["float32"]._image_of(some) for some in torch.split(windows, 64)]).float()
        peer = None
        if python:
            np.save(folder / "images.npy", pictures.cpu().numpy())
            peer = Peer(python, weights[representation], folder / "images.npy")
        times: dict[str, list[float]] = {}
        for turn in range(rounds + 1):
            for precision, ear in both.items():
                for name, work, data in (
                    (precision, run_network, pictures),
                    (f"{precision} whole", type(ear)._vectors, windows),
                ):
                    seconds = seconds_of(device, work, ear, data)[0] / count
                    if turn:
                        times.setdefault(name, []).append(seconds)
            if peer:
                seconds = peer.seconds()
                if turn:
                    times.setdefault("keras", []).append(seconds)
        middle = {name: statistics.median(values) for name, values in times.items()}
        exact = both["float32"]._vectors(windows)
        if peer:
            theirs = torch.from_numpy(np.load(f"{folder / 'images.npy'}.keras.npy")).to(device)
            error = float((exact - theirs).norm() / theirs.norm())
            print(f"| {representation} | Keras, {peer.version} | {middle['keras']:.4f} | 1 | | {error:.1e} |")
            peer.close()
        for precision, ear in both.items():
            error = float((ear._vectors(windows) - exact).norm() / exact.norm())
            ratio = f"{middle[precision] / middle['keras']:.2f}" if peer else "no peer"
            cost, whole = middle[precision], middle[f"{precision} whole"]
            digits = 4 if device == "cpu" else 6
            times_of = f"{cost:.{digits}f} | {ratio} | {whole:.{digits}f}"
            print(f"| {representation} | ours, {precision} | {times_of} | {error:.1e} |")


def run_network(ear, pictures):
    from nebula_tune.embedding.convolution import in_equal_batches

    return in_equal_batches(ear._vector_of, pictures, ear._at_once)


def drums(folder: Path):
    """64 drum sounds as the paper's study prepares them: 4 s at 48 kHz, levelled."""
    import torch

    from nebula_tune.corpus.folder import find_audio, read_audio
    from nebula_tune.corpus.prepare import Prepare, prepare

    paths = find_audio(folder)[:SOUNDS]
    style = Prepare.RMS_ONLY
    return torch.cat([prepare(torch.from_numpy(read_audio(path, 48000))[None], 192000, style) for path in paths])


def all_windows(ear, audio):
    """Vectors with every window embedded, silent or not."""
    import torch

    frames = ear.frames(audio.shape[1])
    padded = torch.nn.functional.pad(audio, (24000, frames * 4800 + 48000 - audio.shape[1]))
    windows = padded.unfold(1, 48000, 4800)[:, :frames].reshape(-1, 48000)
    return torch.cat([ear._vectors(some) for some in torch.split(windows, 512)]).reshape(len(audio), frames, -1)


def reuse(weights, folder: Path, device: str) -> None:
    """Seconds of a corpus with and without embedding silent windows once; sounds take turns."""
    import torch

    audio = drums(folder)
    print(f"\n## {len(audio)} drum sounds of 4 s, 36 windows each, mel256\n")
    print("| precision | all windows | silent ones once | ratio | same vectors |")
    print("| --- | ---: | ---: | ---: | --- |")
    at_once = 1 if device == "cpu" else len(audio)
    for precision, ear in ears(weights, "mel256", device).items():
        ear.embed_batch(audio[:1])
        slow, fast, same = 0.0, 0.0, True
        for some in torch.split(audio, at_once):
            seconds, once = seconds_of(device, ear.embed_batch, some)
            fast += seconds
            seconds, each = seconds_of(device, all_windows, ear, some)
            slow += seconds
            same &= torch.equal(once, each)
        print(f"| {precision} | {slow:.1f} s | {fast:.1f} s | {slow / fast:.2f} | {'yes' if same else 'NO'} |")


def shares(weights, folder: Path, device: str) -> None:
    """Where the l1 distance between drums comes from."""
    import torch

    audio = drums(folder)
    audio = audio / audio.abs().amax(dim=1, keepdim=True)
    noise = torch.randn(audio.shape, generator=torch.Generator().manual_seed(0))
    variants = {
        "as they are: digital silence after the sound": audio,
        "with a noise floor of -90 dBFS, as of 16-bit dither": audio + 10 ** (-90 / 20) * noise,
        "with a noise floor of -70 dBFS": audio + 10 ** (-70 / 20) * noise,
    }
    print(f"\n## Where the distance between {len(audio)} drum sounds comes from (mel256, 512, legacy, hop 0.1)\n")
    print("| sounds | windows under -60 dBFS | both audible | one inaudible | both inaudible | change by the noise |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for active in (False, True):
        ear = ears(weights, "mel256", device, active=active)["bfloat16"]
        clean = None
        for name, sounds in variants.items():
            vectors = ear.embed_batch(sounds)
            clean = vectors if clean is None else clean
            padded = torch.nn.functional.pad(audio, (24000, 0))
            peaks = padded.abs().unfold(1, 48000, 4800).amax(dim=-1)[:, : vectors.shape[1]]
            heard = (peaks > 1e-3).to(vectors.device)
            parts = torch.zeros(3, dtype=torch.float64)
            for frame in range(vectors.shape[1]):
                distance = torch.cdist(vectors[:, frame], vectors[:, frame], p=1).double()
                audible = heard[:, frame].double()
                both, neither = torch.outer(audible, audible), torch.outer(1 - audible, 1 - audible)
                parts += torch.stack([(distance * m).sum() for m in (both, 1 - both - neither, neither)]).cpu()
            share = parts / parts.sum()
            pairs = len(audio) * (len(audio) - 1)
            moved = float((vectors - clean).abs().sum(dim=(1, 2)).mean() / (parts.sum() / pairs))
            quiet = float(1 - heard.double().mean())
            figures = " | ".join(f"{value:.0%}" for value in (quiet, *share.tolist(), moved))
            print(f"| {'active; ' if active else ''}{name} | {figures} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keras", metavar="PYTHON", help="interpreter of an environment with tensorflow-cpu")
    parser.add_argument("--drums", type=Path, default=ROOT / "examples" / "drums")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", type=Path, help="an official mel256 file for --only shares or reuse")
    parser.add_argument("--only", choices=["network", "reuse", "shares"])
    parser.add_argument("--keras-peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keras_peer:
        return keras_peer(*options.keras_peer, size=512)
    sys.path.insert(0, str(ROOT))
    import torch

    from tests.embedding.fixtures import make_random_weights

    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    if not options.keras:
        print(
            "No --keras: the Keras peer is left out. To have it: python -m venv tf; tf/bin/pip install tensorflow-cpu"
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = {}
        for representation in IMAGES:
            weights[representation] = folder / f"{representation}.h5"
            layers = make_random_weights.make_layers(make_random_weights.SEEDS[representation])
            make_random_weights.write_h5(weights[representation], layers)
        if options.weights:
            weights["mel256"] = options.weights
        if options.only in (None, "network"):
            network(weights, folder, options.keras, options.rounds, options.device)
        if options.only in (None, "reuse"):
            reuse(weights, options.drums, options.device)
        if options.only in (None, "shares"):
            shares(weights, options.drums, options.device)
    return None


if __name__ == "__main__":
    main()
