"""Which executor a run gets."""

import pytest
import torch

from nebula_tune.execution import ray_executor
from nebula_tune.execution.inline import InlineExecutor
from nebula_tune.execution.where import Where


@pytest.fixture
def made(monkeypatch):
    """What makes an executor and says of what kind it is, without starting workers."""

    class Ray:
        def __init__(self, *arguments, **options):
            self.told = arguments, options

    monkeypatch.setattr(ray_executor, "RayExecutor", Ray)
    monkeypatch.setattr(InlineExecutor, "__init__", lambda self, spec: None)
    return lambda where: "ray" if isinstance(where.make(None, print), Ray) else "inline"


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
