"""Which executor a run gets."""

import pytest
import torch

from nebula_tune.execution.executor import Client
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.execution.ray_executor import RayExecutor
from nebula_tune.execution.where import Where


@pytest.fixture
def made(monkeypatch):
    """What makes an executor and says of what kind it is, without starting workers."""
    for kind, name in ((RayExecutor, "ray"), (InlineExecutor, "inline")):
        monkeypatch.setattr(kind, "start", lambda *arguments, name=name: name)
    return lambda where: where.make(None, Client())


def test_without_gpu_and_options_no_ray_is_started(made):
    assert made(Where()) == "inline"
    assert made(Where(workers=1)) == "inline"


@pytest.mark.parametrize(
    "asked", [{"workers": 2}, {"ray_address": "head:6379"}, {"gpu_share": 0.5}, {"task_timeout": 60.0}]
)
def test_what_only_ray_can_do_starts_it(made, asked):
    assert made(Where(**asked)) == "ray"


def test_gpus_have_their_workers(made, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert made(Where()) == "ray"


def test_what_was_said_holds(made):
    assert made(Where("ray")) == "ray"
    assert made(Where("inline", workers=2)) == "inline"
