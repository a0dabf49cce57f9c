"""Files of weights and presets that others hand on: none hangs a command or fills the memory."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nebula_tune.embedding import aisfx, coala
from nebula_tune.embedding.checkpoint import LARGEST_FILE
from nebula_tune.embedding.openl3.keras_file import read_weights
from nebula_tune.errors import UserInputError
from nebula_tune.ranking.instruments.instrument import bank_content

READERS: dict[str, Callable[[Path], Any]] = {
    "weights.h5": read_weights,
    "weights.pth": aisfx.read_checkpoint,
    "weights.whl": aisfx.read_checkpoint,
    "weights.pt": lambda path: coala.read_checkpoint(path, "dual-ae-c"),
    "scaler.pkl": coala.read_scaler,
    "voices.syx": bank_content,
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_is_too_large_or_none_is_refused_unread(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    os.truncate(path, LARGEST_FILE + 1)  # of no bytes on the disk
    with pytest.raises(UserInputError, match=f"{name}.*larger than"):
        READERS[name](path)
    path.unlink()
    os.mkfifo(path)  # who opens it to read waits for ever
    with pytest.raises(UserInputError, match=f"{name}.*no regular file"):
        READERS[name](path)


def test_a_wheel_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aisfx, "LARGEST_FILE", 2**20)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(aisfx.MEMBER, bytes(2**20 + 1))
    (tmp_path / "bomb.whl").write_bytes(packed.getvalue())
    with pytest.raises(UserInputError, match=r"bomb.whl.*larger than 1 MiB"):
        aisfx.read_checkpoint(tmp_path / "bomb.whl")
