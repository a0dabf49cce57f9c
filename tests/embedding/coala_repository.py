"""Coala's three networks as its repository has them, with seeded numbers: built of torch's own modules."""

from pathlib import Path

import torch
from torch import nn

CHECKPOINTS = {
    "dual-ae-c": "saved_models/dual_ae_c/audio_encoder_epoch_200.pt",
    "dual-e-c": "saved_models/dual_e_c/audio_encoder_epoch_200.pt",
    "cnn": "saved_models/cnn/audio_encoder_epoch_20.pt",
}


def network(model: str) -> nn.Module:
    """A module with the repository's names, in eval mode. Its encoder turns (patches, 1, 96, 96) to (patches, 1152)."""
    generator = torch.Generator().manual_seed(list(CHECKPOINTS).index(model))
    layers: list[nn.Module] = []
    for channels in (1, 128, 128, 128, 128):
        layers += [nn.Conv2d(channels, 128, 4, stride=2, padding=1), nn.BatchNorm2d(128), nn.ReLU(), nn.Dropout(0.25)]
    encoder = nn.Sequential(*layers, nn.Flatten())
    whole = nn.Module()
    if model == "cnn":
        whole.encoder = encoder
        whole.fc = nn.Sequential(nn.Linear(1152, 1152), nn.ReLU(), nn.Linear(1152, 1000), nn.Sigmoid())
    else:
        whole.audio_encoder = encoder
        whole.fc_audio = nn.Sequential(nn.Linear(1152, 1152, bias=False), nn.Dropout(0.25))
    with torch.no_grad():
        for name, tensor in whole.state_dict().items():
            if not tensor.ndim:
                continue  # num_batches_tracked
            numbers = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim > 1:
                numbers *= (2 / tensor[0].numel()) ** 0.5
            elif name.endswith("running_var"):
                numbers = 1 + 0.1 * numbers.abs()
            elif name.endswith("weight"):
                numbers = 1 + 0.1 * numbers
            else:
                numbers *= 0.1
            tensor.copy_(numbers)
    return whole.eval()


def encoder_of(model: str) -> nn.Module:
    whole = network(model)
    return whole.encoder if model == "cnn" else whole.audio_encoder


def write(folder: Path, scaler: bytes) -> None:
    """The three checkpoints in PyTorch 1.5's format, and a pickled scaler, where the repository has them."""
    for model, name in CHECKPOINTS.items():
        (folder / name).parent.mkdir(parents=True)
        torch.save(network(model).state_dict(), folder / name, _use_new_zipfile_serialization=False)
    (folder / "scaler_top_1000.pkl").write_bytes(scaler)
