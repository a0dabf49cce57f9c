"""Names of the kinds of arrays that go from module to module; shapes stand where an array is taken or given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = np.ndarray[Any, Any]
Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]  # embedded sounds, (sounds, D)
Matrix = NDArray[np.float32]  # distances of sounds, (sounds, sounds)
Raw = NDArray[np.float32]  # raw draws, (sounds, parameters)
