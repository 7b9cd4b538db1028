"""A teacher on another device, and one that was left out of `.to(device)`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import kdvideo as kd
from tests.core.nets import VideoNet, clips

ROOT = Path(__file__).resolve().parents[2]


def test_inputs_go_to_the_teacher_and_outputs_come_back() -> None:
    # A process of its own: the second device stays registered, and other tests would see it.
    run = subprocess.run([sys.executable, "-m", "tests.core._devices"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "must be on the teacher's device, cpu, got lazy:0: teacher.to('lazy:0'), or Teacher(" in run.stdout


def test_a_teacher_left_behind_is_an_error_that_names_both_devices() -> None:
    with pytest.raises(ValueError, match=r"teacher's device, cpu, got meta: teacher\.to\('meta'\)"):
        kd.Teacher(VideoNet())(clips().to("meta"))
    with pytest.raises(ValueError, match=r"teacher's device, meta, got cpu"):
        kd.Teacher(VideoNet().to("meta"))(clips())
    with pytest.raises(ValueError, match="teacher's device"):
        kd.Teacher(nn.Linear(3, 2))(input=torch.zeros(1, 3, device="meta"))


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        kd.Teacher(VideoNet())(clips(channels=2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_teacher_on_the_gpu_of_a_student_on_the_cpu() -> None:
    net = VideoNet().eval()
    expected = net(clips()).detach()
    teacher = kd.Teacher(net, {"stem": "low"}, device="cuda")
    output = teacher(clips())
    assert output.logits.device.type == output.features["low"].device.type == "cpu"
    torch.testing.assert_close(output.logits, expected, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="teacher's device, cuda:0, got cpu"):
        kd.Teacher(VideoNet().cuda())(clips())
