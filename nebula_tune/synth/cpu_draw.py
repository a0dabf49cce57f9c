"""The first words of many MT19937 generators at once, compiled.

A generator's first 227 words need its first 228 words of state and those from 397 on, so of its 624 words of state
only as many are worked out as the words asked for. Sounds lie side by side, so that the compiler vectorises over them.
"""

from __future__ import annotations

import numpy as np

from nebula_tune.arrays import Array
from nebula_tune.synth.compiler import compiled


@compiled
def first_words(first_index: int, words: Array, states: Array) -> None:
    """Fill ``words`` (count, sounds) uint32; sound i's generator is seeded with first_index + i.

    ``states`` is scratch, (397 + count, sounds) uint32.
    """
    count, sounds = words.shape
    for i in range(sounds):
        states[0, i] = np.uint32(first_index + i)
    for n in range(1, 397 + count):
        for i in range(sounds):
            last = states[n - 1, i]
            states[n, i] = np.uint32(1812433253) * (last ^ (last >> np.uint32(30))) + np.uint32(n)
    for k in range(count):
        for i in range(sounds):
            mixed = (states[k, i] & np.uint32(0x80000000)) | (states[k + 1, i] & np.uint32(0x7FFFFFFF))
            odd = np.uint32(0x9908B0DF) * (mixed & np.uint32(1))
            y = states[k + 397, i] ^ (mixed >> np.uint32(1)) ^ odd
            y ^= y >> np.uint32(11)
            y ^= (y << np.uint32(7)) & np.uint32(0x9D2C5680)
            y ^= (y << np.uint32(15)) & np.uint32(0xEFC60000)
            words[k, i] = y ^ (y >> np.uint32(18))
