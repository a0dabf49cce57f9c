"""An embedding of another package: how a sound's energy is spread over time."""

import torch
from torch import Tensor

from nebula_tune.embedding import Embedding

STRETCHES = 16


class Envelope(Embedding):
    """Square roots of the shares of a sound's energy that lie in 16 stretches of time: one frame of 16 numbers."""

    name = "envelope"
    sample_rate = 16000  # Hz

    def __init__(self, seconds: float = 1.0, device: str = "cpu") -> None:
        self.seconds, self.device = seconds, device

    @property
    def settings(self) -> dict[str, object]:
        """All that changes a vector. Whoever changes the arithmetic below gives it a new version."""
        return {"name": self.name, "version": 1, "seconds": self.seconds}

    def embed_batch(self, audio: Tensor) -> Tensor:
        """Vectors (sounds, 1, 16) of audio (sounds, samples); zeros for silence."""
        stretches = audio.to(self.device, torch.float64).square().tensor_split(STRETCHES, dim=1)
        energy = torch.stack([stretch.sum(dim=1) for stretch in stretches], dim=1)
        whole = energy.sum(dim=1, keepdim=True)
        return (energy / torch.where(whole > 0, whole, 1.0)).sqrt().float()[:, None]
