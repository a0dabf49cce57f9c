"""Where the fused renderers, on a CPU and on a GPU alike, leave off one way of working a function out."""

from __future__ import annotations

import numpy as np

STEEPEST = 0.35  # largest bend (in powers of e) over one control interval that the closed form is used for
CEILING = np.float32(7.6)  # tanh is 1 to within 5e-7 from here on
