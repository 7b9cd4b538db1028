import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import kdvideo as kd
from tests.core.nets import VideoNet, clips

LAYERS = {"stem": "low", "block": "high"}


def test_projectors_map_the_features_of_their_role_only() -> None:
    net, projector = VideoNet(), kd.projectors.conv(4, 7)
    output = kd.Student(net, LAYERS, projectors={"low": projector})(clips())
    assert torch.equal(output.features["low"], projector(net.stem(clips())))
    assert output.features["high"].shape == (2, 4, 4, 6, 6)


@pytest.mark.reliability("C3")
def test_projectors_are_trained_and_the_bare_network_is_saved_without_them() -> None:
    """Fails when `Student` hangs its projectors on the network itself."""
    net = VideoNet()
    student = kd.Student(net, LAYERS, projectors={"low": kd.projectors.conv(4, 7)})
    assert {id(p) for p in student.parameters()} > {id(p) for p in net.parameters()}
    assert student.model is net
    assert list(student.model.state_dict()) == list(VideoNet().state_dict())


def test_role_with_dots_may_have_a_projector() -> None:
    student = kd.Student(VideoNet(), ["block.1"], projectors={"block.1": kd.projectors.conv(4, 7)})
    assert student(clips()).features["block.1"].shape[1] == 7
    assert "projectors.block/1.weight" in student.state_dict()


def test_unknown_role_is_refused_and_leaves_no_hook() -> None:
    net = VideoNet()
    with pytest.raises(ValueError, match=r"projectors= names the roles \['lo'\].*\['low', 'high'\]"):
        kd.Student(net, LAYERS, projectors={"lo": nn.Identity()})
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("projector", [nn.Linear, torch.relu])
def test_a_projector_is_a_module(projector: object) -> None:
    net = nn.Linear(3, 4)
    with pytest.raises(ValueError, match=r"the projector for 'f' must be a module, got .*nn.Linear"):
        kd.Student(net, {"": "f"}, projectors={"f": projector})
    assert not net._forward_hooks


def test_student_follows_train_and_eval() -> None:
    student = kd.Student(VideoNet(), LAYERS, projectors={"low": kd.projectors.conv_bn(4, 7)})
    assert student.train().model.training
    assert not student.eval().model.training
    assert not student.projectors["low"].training


@pytest.mark.reliability("C8")
@pytest.mark.parametrize("autocast", [False, True])
def test_training_is_bit_equal_to_a_loop_by_hand(autocast: bool) -> None:
    """Fails when `soft_target` multiplies by T instead of T²."""
    torch.manual_seed(0)
    net, teacher_net, projector = VideoNet(), VideoNet(channels=2), kd.projectors.conv(4, 4)
    by_hand, by_hand_projector = copy.deepcopy(net), copy.deepcopy(projector)
    student = kd.Student(net, {"stem": "low"}, projectors={"low": projector})
    teacher = kd.Teacher(copy.deepcopy(teacher_net), {"stem": "low"})
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("low") + 2.0 * kd.SoftTarget(temperature=3.0)
    teacher_net.eval().requires_grad_(False)
    ours = torch.optim.SGD(student.parameters(), lr=0.1, momentum=0.9)
    theirs = torch.optim.SGD([*by_hand.parameters(), *by_hand_projector.parameters()], lr=0.1, momentum=0.9)
    label = torch.tensor([1, 3])
    for step in range(4):
        rgb, flow = clips(seed=step), clips(channels=2, seed=step)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            s, t = student(rgb), teacher(flow)
            loss = F.cross_entropy(s.logits, label) + criterion(s, t)
            stem = by_hand.stem(rgb)
            logits = by_hand.head(by_hand.block(stem).mean((2, 3, 4)))
            with torch.no_grad():
                target_stem = teacher_net.stem(flow)
                target = teacher_net.head(teacher_net.block(target_stem).mean((2, 3, 4)))
            # Autograd adds gradients in the order in which the terms were made, so it is the same here.
            action = F.cross_entropy(logits, label)
            distill = F.mse_loss(logits.float(), target.float())
            distill = distill + 0.5 * F.mse_loss(by_hand_projector(stem).float(), target_stem.float())
            soft = F.log_softmax(logits.float() / 3.0, 1), F.log_softmax(target.float() / 3.0, 1)
            kl = F.kl_div(*soft, reduction="none", log_target=True).sum(1).mean() * 9.0
            expected = action + (distill + 2.0 * kl)
        assert torch.equal(loss, expected)
        for optimizer, value in ((ours, loss), (theirs, expected)):
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), by_hand.parameters(), strict=True))
    assert torch.equal(projector.weight, by_hand_projector.weight)
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), by_hand.buffers(), strict=True))


def test_moving_average_of_a_student() -> None:
    student = kd.Student(VideoNet(), LAYERS, projectors={"low": kd.projectors.conv(4, 7)})
    average = torch.optim.swa_utils.AveragedModel(student)
    average.update_parameters(student)
    assert torch.equal(average(clips()).features["low"], student(clips()).features["low"])


def test_saved_student_is_the_file_of_the_bare_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bare = VideoNet()
    student = kd.Student(copy.deepcopy(bare), LAYERS, projectors={"low": kd.projectors.conv(4, 7)})
    save_file(student.model.state_dict(), tmp_path / "student.safetensors")
    save_file(bare.state_dict(), tmp_path / "bare.safetensors")
    assert (tmp_path / "student.safetensors").read_bytes() == (tmp_path / "bare.safetensors").read_bytes()


WITHOUT_KDVIDEO = """
import sys
sys.modules["kdvideo"] = None
import torch
from safetensors.torch import load_file
from tests.core.nets import VideoNet, clips
net = VideoNet()
net.load_state_dict(load_file(sys.argv[1]), strict=True)
torch.save(net.eval()(clips()), sys.argv[2])
"""


def test_saved_student_loads_where_kdvideo_is_not_installed(tmp_path: Path) -> None:
    student = kd.Student(VideoNet(), LAYERS).eval()
    weights, logits = tmp_path / "student.safetensors", tmp_path / "logits.pt"
    save_file(student.model.state_dict(), weights)
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", WITHOUT_KDVIDEO, weights, logits], check=True, cwd=root)
    assert torch.equal(torch.load(logits), student(clips()).logits)


@pytest.mark.parametrize("role", ["keys", "type", "training", "", "a.b"])
def test_any_role_may_have_a_projector(role: str) -> None:
    """Fails when a role that ModuleDict forbids reaches it as it is."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    student = kd.Student(net, {"1": role}, projectors={role: nn.Linear(4, 16)})
    assert student(torch.zeros(2, 3)).features[role].shape == (2, 16)
    again = kd.Student(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), {"1": role}, projectors={role: nn.Linear(4, 16)})
    again.load_state_dict(student.state_dict())
