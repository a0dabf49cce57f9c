"""Where the fast ways to draw and to render, on a CPU and on a GPU alike, leave off."""

from __future__ import annotations

import numpy as np

MOST_NUMBERS = 227  # of one generator; later ones need new state
STEEPEST = 0.35  # largest bend (in powers of e) over one control interval that the closed form is used for
CEILING = np.float32(7.6)  # tanh is 1 to within 5e-7 from here on
