"""A cluster's head that is watched: it may come back in time; the wait begins when it is first missed."""

from __future__ import annotations

import socket

import pytest

from nebula_tune.errors import ScoringError
from nebula_tune.execution import ray_head


def test_a_head_is_waited_for_from_when_it_is_missed_and_may_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now, notes = [1000.0], []
    monkeypatch.setattr(ray_head.time, "monotonic", lambda: now[0])
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = "{}:{}".format(*listening.getsockname())
        head = ray_head.Head(address, 30.0, notes.append)
        now[0] += 1
        assert head.answers() and notes == []
    now[0] += 500  # nobody looked, as while the score card is worked out
    assert not head.answers() and not head.lost
    now[0] += 29
    assert not head.answers()
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        now[0] += 1
        assert head.answers()
    assert [" ".join(note.split()[-2:]) for note in notes] == ["for it", "is back"]
    for _ in range(2):
        now[0] += 1
        assert not head.answers()
    now[0] += 30
    with pytest.raises(ScoringError, match=rf"at {address} is lost: no answer for 30 s \(--ray-patience\)"):
        head.answers()
    assert head.lost
