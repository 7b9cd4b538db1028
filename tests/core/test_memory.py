"""Nothing piles up: the number of living tensors is the same after any number of steps."""

import gc
from collections.abc import Callable

import pytest
import torch

import kdvideo as kd
from tests.core.nets import VideoNet, clips

LAYERS = {"stem": "low", "block": "high"}


def living() -> int:
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def train(student: kd.Student, teacher: kd.Teacher) -> None:
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("low") + kd.SoftTarget()
    criterion(student(clips()), teacher(clips())).backward()


def forward_only(student: kd.Student, teacher: kd.Teacher) -> None:
    student(clips()), teacher(clips())


def without_gradient(student: kd.Student, teacher: kd.Teacher) -> None:
    with torch.no_grad():
        forward_only(student, teacher)


@pytest.mark.parametrize("step", [train, forward_only, without_gradient])
def test_living_tensors_stay_constant(step: Callable[[kd.Student, kd.Teacher], None]) -> None:
    student = kd.Student(VideoNet(), LAYERS, projectors={"low": kd.projectors.conv(4, 4)})
    teacher = kd.Teacher(VideoNet(), LAYERS)
    step(student, teacher)
    before = living()
    for _ in range(20):
        step(student, teacher)
    assert living() <= before


def test_no_reference_to_the_features_outlives_the_output() -> None:
    teacher = kd.Teacher(VideoNet(), LAYERS)
    before = living()
    output = teacher(clips())
    assert living() > before
    del output
    assert living() <= before
