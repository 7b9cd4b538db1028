"""Run by test_teacher_devices: `python -m tests.core._devices`, with torch's lazy backend as a second device."""

import torch
import torch._lazy.ts_backend
from torch import nn

import kdvideo as kd
from tests.core.nets import VideoNet, clips

LAYERS = {"stem": "low"}


def main() -> None:
    torch._lazy.ts_backend.init()
    net = VideoNet().eval()
    expected = net(clips()).detach()
    teacher = kd.Teacher(net, LAYERS, device="lazy")
    output = teacher(clips())
    assert teacher.model.head.weight.device.type == "lazy"
    assert output.logits.device.type == output.features["low"].device.type == "cpu"
    assert output.raw.device.type == "lazy"
    torch.testing.assert_close(output.logits, expected)
    assert teacher(clips().to("lazy")).logits.device.type == "lazy"

    holder = nn.ModuleDict({"student": nn.Linear(2, 2), "teacher": teacher})
    holder.to("cpu")
    assert {p.device.type for p in teacher.parameters()} == {"lazy"}
    here = kd.Teacher(VideoNet(), device="cpu")
    nn.ModuleList([here]).to("lazy").double()
    assert {(p.device.type, p.dtype) for p in here.parameters()} == {("cpu", torch.float64)}
    given = clips().to("lazy").double()
    assert here(given).logits.device.type == "lazy"

    try:
        kd.Teacher(VideoNet())(clips().to("lazy"))
    except ValueError as error:
        print(error)


if __name__ == "__main__":
    main()
