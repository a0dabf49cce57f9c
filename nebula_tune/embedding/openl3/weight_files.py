"""OpenL3's official weight files: their names, where they are looked for, and where they are fetched from."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nebula_tune.corpus.cache import is_there
from nebula_tune.embedding.download import WeightsAddress, fetch_source, weights_folder
from nebula_tune.embedding.openl3.frontend import REPRESENTATIONS
from nebula_tune.errors import EmbeddingError

if TYPE_CHECKING:
    from rich.console import Console

CONTENTS = ("music", "env")
ADDRESS = "https://github.com/marl/openl3/raw/models"  # upstream's branch of weights, at c2321e8 (2021-05-29)
LICENCE = "CC BY 4.0 (Aurora Cramer, Ho-Hsiang Wu, Justin Salamon, Juan Pablo Bello)"
CITATION = (
    'Cramer, Wu, Salamon, Bello, "Look, Listen and Learn More: Design Choices for Deep Audio Embeddings", ICASSP 2019'
)

# Ids of the .gz files in upstream's own git tree; upstream publishes no other checksum.
GIT_BLOBS = {
    "openl3_audio_mel256_music": "15e483646fa3d4091a463f0affbb706e6bbbb098",
    "openl3_audio_mel256_env": "34dbd7a91cdd2de6a3d6d036ac0a24d27d78e3cc",
    "openl3_audio_mel128_music": "73ff29de441865318c4b3a3f98c40763c4773e7c",
    "openl3_audio_mel128_env": "8c3dfee140f7776373841e5938a3e76c54f28942",
    "openl3_audio_linear_music": "4e2e61beb17865481c8b8791c72eac8307e2753a",
    "openl3_audio_linear_env": "7837407f033f3564c7e8d53fc4a4241fe160478b",
}
# As a third party (whepper/musicpack) recorded it.
SHA256 = {"openl3_audio_mel256_music": "e379f41e880b78e157c199ebddac80d3764e6a46282bcccdbe875bcf538f9afd"}


def stem(representation: str, content: str) -> str:
    """The official name of a file without its ending; one serves both sizes. Raises EmbeddingError."""
    if content not in CONTENTS:
        raise EmbeddingError(f"OpenL3 was trained on {' and '.join(CONTENTS)}, not on {content!r}")
    if representation not in REPRESENTATIONS:
        raise EmbeddingError(f"no representation {representation!r}; known: {', '.join(REPRESENTATIONS)}")
    return f"openl3_audio_{representation}_{content}"


def source(official: str, base_url: str | None = None) -> WeightsAddress:
    """Where the official file of that stem is fetched from: upstream, or a mirror of its folder."""
    file = f"{official}-v0_4_0.h5.gz"
    blob, sha256 = GIT_BLOBS[official], SHA256.get(official)
    return WeightsAddress(
        file, f"{(base_url or ADDRESS).rstrip('/')}/{file}", LICENCE, CITATION, sha256=sha256, git_blob=blob
    )


def find(official: str) -> Path | None:
    """The weights if they are on this machine: in the cache, or in the folder of an installed ``openl3`` package."""
    folders = [weights_folder()]
    package = find_spec("openl3")
    if package is not None and package.submodule_search_locations:
        folders += [Path(folder) for folder in package.submodule_search_locations]
    names = (f"{official}-v0_4_0.h5.gz", f"{official}.h5.gz", f"{official}.h5")
    return next((folder / name for folder in folders for name in names if is_there(folder / name)), None)


def fetch(official: str, base_url: str | None = None, console: Console | None = None) -> Path:
    """Download the official file of that stem into the cache, verified. Raises EmbeddingError, StorageError."""
    return fetch_source(source(official, base_url), console)


def find_or_fetch(official: str) -> Path:
    """The weights, fetched on first need. Raises EmbeddingError with all the ways to get them."""
    path = find(official)
    if path is not None:
        return path
    try:
        return fetch(official)
    except EmbeddingError as error:
        _, _, representation, content = official.split("_")
        raise EmbeddingError(
            f"OpenL3 needs the weights {official}.h5, and {error}. Either run `nebula-tune embeddings --fetch "
            f"openl3-{content}-{representation}-512` when online, or give a file with --weights (from "
            f"{source(official).url}), or install the openl3 package"
        ) from error
