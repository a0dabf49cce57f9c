"""Parameters of a synth: names, ranges, order, and the way from raw draws to human values.

Two scales only: *raw* in 0..1 before the curve (what is drawn, stored and returned) and *human*
(Hz, seconds, semitones). Source: the paper, section 3.3 and Figure 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nebula_tune.errors import NebulaError, shortened
from nebula_tune.nebula import Nebula

# torchsynth maps draws in float32, where what is smaller than this is zero. That can be heard: a decay or release of
# exactly zero is left out of its envelope, which then does not fall at all.
CONTROL_RATE = 441.0  # Hz of every synth's control signals (section 3.1)
VANISHING = 2.0**-150

# Radii below this are taken as this, so that logarithms stay finite; a raw draw is a multiple of 2^-24.
SMALLEST_RADIUS = 2.0**-25


@dataclass(frozen=True)
class Parameter:
    """One knob: human range and its unit, and curve and symmetry of the default nebula."""

    name: str
    minimum: float
    maximum: float
    curve: float = 1.0
    symmetric: bool = False
    module: str = ""
    unit: str = ""

    @property
    def full_name(self) -> str:
        """Dotted name, ``module.parameter``."""
        return f"{self.module}.{self.name}"


class Panel:
    """All parameters of a synth in torchsynth's registration order (modules as built, then their knobs).

    Args:
        modules: the knobs of each.
        origin: of a panel that a user wrote, what its nebulae say of it (:class:`nebula_tune.nebula.Nebula`).
    """

    def __init__(self, modules: Mapping[str, Sequence[Parameter]], origin: Mapping[str, str] | None = None) -> None:
        self.origin = dict(origin or {})
        self.parameters = tuple(replace(p, module=module) for module, knobs in modules.items() for p in knobs)
        self.names = tuple(p.full_name for p in self.parameters)
        self.index = {name: k for k, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.parameters)

    @cached_property
    def draw_order(self) -> np.ndarray:
        """For each parameter, which number of a sound's random draw it takes.

        torchsynth deals the numbers out in lexicographic order of ``module.torchparameters.parameter``.
        """
        dotted = [f"{p.module}.torchparameters.{p.name}" for p in self.parameters]
        return np.argsort(np.argsort(np.array(dotted)))

    @cached_property
    def default_nebula(self) -> Nebula:
        """Curves and symmetry as the synth's designers set them."""
        return Nebula(
            {p.full_name: p.curve for p in self.parameters},
            {p.full_name: p.symmetric for p in self.parameters},
            self.origin,
        )

    def complete(self, nebula: Nebula) -> Nebula:
        """The nebula over the default one: every parameter listed, in registration order.

        Raises NebulaError for a name this synth does not have, or a nebula of another synth or panel.
        """
        self._refuse_another(nebula)
        for name in [*nebula.curves, *nebula.symmetric]:
            if name not in self.index:
                raise NebulaError(f"nebula names a parameter this synth does not have: {shortened(name)}")
        base = self.default_nebula
        return Nebula(
            {name: nebula.curves.get(name, base.curves[name]) for name in self.names},
            {name: nebula.symmetric.get(name, base.symmetric[name]) for name in self.names},
            self.origin,
        )

    def _refuse_another(self, nebula: Nebula) -> None:
        """Refuse a nebula of another synth or panel by its name, as far as it says what it is of."""
        theirs, ours = nebula.origin, self.origin
        if theirs and not (ours and all(theirs[key] == ours[key] for key in ("synth", "panel_sha256"))):
            named = f"synth {shortened(theirs['synth'])}, panel {shortened(theirs['panel'])}"
            if ours and theirs["synth"] == ours["synth"] and theirs["panel"] == ours["panel"]:
                raise NebulaError(
                    f"this nebula is of {named} with another content ({theirs['panel_sha256'][:12]}; here it is "
                    f"{ours['panel_sha256'][:12]}): the panel's file has changed since"
                )
            raise NebulaError(
                f"this nebula is of {named}: give --synth {shortened(theirs['synth'])} and its panel with --panel"
            )
        strange = [name for name in nebula.curves if name not in self.index]
        if ours and not theirs and strange:
            raise NebulaError(
                f"this nebula is torchsynth's or of another synth, not of {ours['synth']} under panel {ours['panel']}: "
                f"there is no {shortened(strange[0])} here"
            )

    def arrays(self, nebula: Nebula) -> tuple[np.ndarray, np.ndarray]:
        """Curves (float64) and symmetric flags (bool) of a complete nebula, each (parameters,)."""
        full = self.complete(nebula)
        return np.array(list(full.curves.values())), np.array(list(full.symmetric.values()), dtype=bool)

    def nebula(self, curves: Iterable[float], symmetric: Iterable[bool]) -> Nebula:
        """Inverse of :meth:`arrays`."""
        return Nebula(
            {n: float(c) for n, c in zip(self.names, curves, strict=True)},
            {n: bool(s) for n, s in zip(self.names, symmetric, strict=True)},
            self.origin,
        )

    def to_human(self, raw: Tensor, curves: Tensor, symmetric: Tensor) -> Tensor:
        """Human values (sounds, parameters), float64, of raw draws.

        ``curves`` and ``symmetric`` are (parameters,), or (sounds, parameters) where each sound has its own.
        Worked out in float64: a float32 ulp here is audible arithmetic later (fast sweeps). On a CPU a sound's values
        are the same bits in every batch.
        """
        minimum, maximum = self.ends(raw.device)
        return minimum + (maximum - minimum) * to_unit(raw, curves, symmetric)

    def to_raw(self, human: Tensor, curves: Tensor, symmetric: Tensor) -> Tensor:
        """Raw values of human ones; the inverse of :meth:`to_human`. Values are clipped to the range."""
        minimum, maximum = self.ends(human.device)
        unit = ((human.double() - minimum) / (maximum - minimum)).clamp(0, 1)
        deviation = 2 * unit - 1
        mirrored = (1 + deviation.sign() * deviation.abs().pow(curves)) / 2
        return torch.where(symmetric, mirrored, unit.pow(curves))

    @cached_property
    def _ranges(self) -> dict[torch.device, tuple[Tensor, Tensor]]:
        return {}

    def ends(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Minimum and maximum of each parameter, (parameters,) float64 each."""
        if device not in self._ranges:
            ranges = [(p.minimum, p.maximum) for p in self.parameters]
            with torch.inference_mode(False):  # they are kept, for callers with gradients too
                ends = torch.tensor(ranges, dtype=torch.float64, device=device)
                self._ranges[device] = ends[:, 0].contiguous(), ends[:, 1].contiguous()
        return self._ranges[device]


def to_unit(raw: Tensor, curves: Tensor, symmetric: Tensor) -> Tensor:
    """Raw draws through curve and symmetry, still in 0..1, float64 (section 3.3, Figure 4).

    A symmetric curve of exactly 1 is the identity here; torchsynth's own formula loses half the range there.
    """
    u = raw.double()
    deviation = 2 * u - 1
    radius = power(torch.where(symmetric, deviation.abs(), u), 1 / curves)
    radius = torch.where(radius < VANISHING, 0.0, radius)
    return torch.where(symmetric, (1 + deviation.sign() * radius) / 2, radius)


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """base^exponent, float64, broadcast. On a CPU each element's bits depend on nothing but its own operands.

    torch works out the elements left over by its vector loop with another function, so that a sound's values would
    depend on its place in the batch; numpy does not.
    """
    if base.device.type != "cpu" or (torch.is_grad_enabled() and (base.requires_grad or exponent.requires_grad)):
        return base.pow(exponent)
    pair = np.broadcast_arrays(base.detach().numpy(), exponent.detach().numpy())
    return torch.from_numpy(np.power(*(np.ascontiguousarray(array) for array in pair)))


class Controls:
    """Human values of a batch of sounds, looked up by module and knob: ``controls["adsr_1"]["attack"]``.

    Each value is (sounds, 1), in the dtype the synth computes in.
    """

    def __init__(self, panel: Panel, human: Tensor) -> None:
        self._modules: dict[str, dict[str, Tensor]] = {}
        for k, parameter in enumerate(panel.parameters):
            self._modules.setdefault(parameter.module, {})[parameter.name] = human[:, k : k + 1]

    def __getitem__(self, module: str) -> dict[str, Tensor]:
        return self._modules[module]
