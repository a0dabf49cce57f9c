"""A Ray cluster of several nodes on this machine, in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any


class Nodes:
    """A head without work, and nodes that come and go."""

    def __init__(self) -> None:
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "num_gpus": 0, "include_dashboard": False}
        self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes: list[Any] = []

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, cpus: int = 1, **resources: Any) -> Any:
        node = self._cluster.add_node(wait=False, num_cpus=cpus, num_gpus=0, **resources)
        self.nodes.append(node)
        return node

    def kill(self) -> None:
        """A whole node and all its processes, at once."""
        self._cluster.remove_node(self.nodes.pop(0), allow_graceful=False)

    def at_least(self, count: int) -> None:
        while len(self.nodes) < count:
            self.add()
        self._cluster.wait_for_nodes()

    def shutdown(self) -> None:
        self._cluster.shutdown()


def events(log: Path, event: str) -> list[dict[str, Any]]:
    """The log's lines of one kind."""
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    return [line for line in lines if line["event"] == event]


CLUSTER = """
import os, sys
from tests.service.cluster import Nodes
nodes = Nodes()
nodes.at_least(1)
head = nodes._cluster.head_node.all_processes
print(nodes.address, *(each.process.pid for kind in head if kind != "raylet" for each in head[kind]), flush=True)
sys.stdin.read()
nodes.shutdown()
"""


class ClusterApart:
    """A cluster of a head and a node, in a process of its own, whose head can be killed."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", CLUSTER], stdin=pipe, stdout=pipe, text=True)
        assert self.process.stdout
        self.address, *pids = self.process.stdout.readline().split()
        self._head = [int(pid) for pid in pids]

    def kill_head(self) -> None:
        """All processes that a cluster has one of, at once.

        Not that of the head as a node: a coordinator on the same machine is its, which elsewhere is another node's.
        """
        for pid in self._head:
            os.kill(pid, signal.SIGKILL)

    def shutdown(self) -> None:
        self.process.communicate("", timeout=300)
