"""The real torchsynth 1.0.2 as a peer.

It does not import on a current stack as it is: it asks for ``pkg_resources`` (gone from setuptools) and for a
module path pytorch_lightning no longer has. Two small stand-ins give it just what it uses of them.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import torch


def _resource_string(package: str, name: str) -> bytes:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin is not None
    return (Path(spec.origin).parent / name).read_bytes()  # FileNotFoundError where there is none, as expected there


class _LightningModule(torch.nn.Module):
    @property
    def device(self) -> torch.device:
        return torch.device("cpu")


def install_stand_ins() -> None:
    resources: Any = types.ModuleType("pkg_resources")
    resources.resource_string = _resource_string
    lightning: Any = types.ModuleType("pytorch_lightning.core.lightning")
    lightning.LightningModule = _LightningModule
    sys.modules.setdefault("pkg_resources", resources)
    for name in ("pytorch_lightning", "pytorch_lightning.core"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules.setdefault("pytorch_lightning.core.lightning", lightning)


def voice(nebula: str = "default", batch_size: int = 32, sample_rate: int = 44100, seconds: float = 4.0) -> Any:
    """torchsynth's own Voice under a nebula (a name it ships, or a file)."""
    install_stand_ins()
    from torchsynth.config import SynthConfig
    from torchsynth.synth import Voice

    config = SynthConfig(batch_size=batch_size, sample_rate=sample_rate, buffer_size_seconds=seconds)
    return Voice(config, nebula=nebula)
