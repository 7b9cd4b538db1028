"""Nothing piles up: the number of living tensors is the same after any number of steps."""

import gc
import os
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

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


@pytest.mark.reliability("C6")
@pytest.mark.parametrize("step", [train, forward_only, without_gradient])
def test_living_tensors_stay_constant(step: Callable[[kd.Student, kd.Teacher], None]) -> None:
    """Fails when `FeatureExtractor.forward` keeps what each pass recorded."""
    student = kd.Student(VideoNet(), LAYERS, projectors={"low": kd.projectors.conv(4, 4)})
    teacher = kd.Teacher(VideoNet(), LAYERS)
    step(student, teacher)
    before = living()
    for _ in range(20):
        step(student, teacher)
    assert living() <= before


@pytest.mark.reliability("C5")
def test_no_reference_to_the_features_outlives_the_output() -> None:
    """Fails when `FeatureExtractor.forward` leaves its captures in the recorder."""
    teacher = kd.Teacher(VideoNet(), LAYERS)  # which lives on
    output = teacher(clips())
    seen = [weakref.ref(one) for one in (output.logits, *output.features.values())]
    assert len(seen) == 3
    del output
    gc.collect()
    assert [one() for one in seen] == [None] * 3


@pytest.mark.reliability("C6")
@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_steps_do_not_grow() -> None:
    """Fails when `FeatureExtractor.forward` keeps what each pass recorded."""

    def net() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))

    student, teacher = kd.Student(net(), {"2": "h"}, projectors={"h": nn.Linear(8, 8)}), kd.Teacher(net(), {"2": "h"})
    average = kd.EMATeacher(student)
    criterion = kd.SoftTarget() + kd.FeatureMSE("h")
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
    x = torch.randn(4, 6)

    def steps(count: int) -> tuple[int, int]:
        for _ in range(count):
            optimizer.zero_grad()
            s = student(x)
            (criterion(s, teacher(x)) + kd.functional.logit_mse(s.logits, average(x).logits)).backward()
            optimizer.step()
            average.update(student)
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return living(), resident

    tensors, resident = steps(500)
    after = steps(10_000)
    assert after[0] <= tensors
    assert after[1] <= resident + 2**21  # 10,000 features alone would be 1.2 MB for each role and copy, and more
