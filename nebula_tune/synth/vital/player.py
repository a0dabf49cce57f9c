"""The process that plays Vital: started, asked, ended. This process itself never imports vita.

vita is GPL-3 and an optional extra. Importing it makes the whole process's arithmetic take subnormal numbers for zero,
which would change the bits of everything else.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nebula_tune.errors import ScoringError, SettingsError

PROGRAM = Path(__file__).with_name("copies.py")
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # a copy has no thread but its own
SIZE = 8  # bytes of an answer's length

Stereo = NDArray[np.float32]


@dataclass(frozen=True)
class PlayedNote:
    """How a preset is played.

    Attributes:
        key: MIDI note.
        velocity: 0 to 1.
        held: seconds until the key is let go.
    """

    key: int
    velocity: float
    held: float


class VitalProcess:
    """Plays presets, each with an instrument that has played nothing before; for one thread at a time.

    Args:
        copies: copy one instrument where the system can; else each sound's is made anew. It changes no bit.

    Raises SettingsError where there is no vita.
    """

    def __init__(self, copies: bool = True) -> None:
        if find_spec("vita") is None:
            raise SettingsError("Vital needs vita (GPL-3): pip install 'nebula-tune[vital]'")
        self._shared = ""
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", str(PROGRAM), *([] if copies else ["--new"])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | ALONE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def play(self, preset: str, note: PlayedNote, seconds: float, *, shared: str) -> Stereo:
        """Stereo (2, samples) at 44.1 kHz. Raises ScoringError where the process has ended.

        Args:
            preset: its text; it may leave out what it shares with the others of its panel.
            note: how it is played.
            seconds: how long it is rendered.
            shared: a whole preset of the same panel.
        """
        if shared != self._shared:
            content = shared.encode()
            self._tell(json.dumps({"size": len(content)}).encode() + b"\n" + content)
            self._shared = shared
        content = preset.encode()
        asked = {"size": len(content), "key": note.key, "velocity": note.velocity, "held": note.held}
        answer = self._ask(json.dumps(asked | {"seconds": seconds}).encode() + b"\n" + content)
        return np.frombuffer(answer, dtype="<f4").reshape(2, -1)

    def describe(self) -> Any:
        """What Vital says of itself, as JSON. Raises ScoringError where the process has ended."""
        return json.loads(self._ask(b"{}\n"))

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()
        self._process.wait()

    def _tell(self, request: bytes) -> None:
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):  # the answer that does not come says so
                self._process.stdin.write(request)
                self._process.stdin.flush()

    def _ask(self, request: bytes) -> bytes:
        self._tell(request)
        answer, size = b"", 0
        if self._process.stdout is not None:
            size = int.from_bytes(self._process.stdout.read(SIZE), "little")
            answer = self._process.stdout.read(size)
        if not size or len(answer) < size:
            self.close()
            status = self._process.returncode
            raise ScoringError(f"the process that plays Vital ended (status {status}); the same command goes on")
        return answer


class _Idle:
    """Processes that play nothing now; a thread takes one, or starts another."""

    def __init__(self) -> None:
        self._processes: list[VitalProcess] = []
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._processes.clear)  # they are the parent's

    @contextmanager
    def process(self) -> Iterator[VitalProcess]:
        """One for this thread. It is not given back where a sound failed."""
        try:
            process = self._processes.pop()
        except IndexError:
            process = VitalProcess()
        yield process
        self._processes.append(process)

    def close(self) -> None:
        """End them all."""
        while self._processes:
            self._processes.pop().close()


IDLE = _Idle()


@cache
def described() -> Any:
    """What this machine's Vital says of itself: version, controls, what moves what, the preset it begins with."""
    with IDLE.process() as process:
        return process.describe()
