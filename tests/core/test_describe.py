import pytest
import torch
from torch import nn

import kdvideo as kd
from tests.core.nets import Skips, clips


def test_describe_takes_keyword_inputs(capsys: pytest.CaptureFixture[str]) -> None:
    kd.describe(nn.Linear(3, 4), input=torch.zeros(2, 3))
    assert "(2, 4)" in capsys.readouterr().out


def test_describe_prints_every_layer_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    net = Skips()
    net.block.eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    kd.describe(net, clips())
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split(maxsplit=2) == ["stem", "Conv3d", "(2, 4, 4, 6, 6)"]
    assert lines[3].split(maxsplit=2) == ["block", "Sequential", "not run"]
    assert lines[-1].split(maxsplit=2) == ["head", "Linear", "(2, 5)"]
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())
