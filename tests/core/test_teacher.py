import copy
import hashlib
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import kdvideo as kd
from tests.core.nets import Checkpoints, VideoNet, Wraps, clips

LAYERS = {"stem": "low", "block": "high"}


def fingerprint(module: nn.Module) -> str:
    """Every parameter and buffer bit, and every mode, requires_grad and gradient."""
    digest = hashlib.sha256()
    for key, value in module.state_dict().items():
        digest.update(key.encode() + value.numpy().tobytes())
    digest.update(bytes(child.training for child in module.modules()))
    digest.update(bytes(p.requires_grad + 2 * (p.grad is not None) for p in module.parameters()))
    return digest.hexdigest()


def fit(student: Callable[[Tensor], kd.Output], teacher: kd.Teacher, optimizer, steps: int = 3) -> None:
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("low") + kd.SoftTarget()
    for step in range(steps):
        optimizer.zero_grad()
        criterion(student(clips(seed=step)), teacher(clips(seed=step))).backward()
        optimizer.step()


@pytest.mark.reliability("C1")
@pytest.mark.parametrize(
    "way", ["eager", "compile", "autocast", "checkpoint", "all parameters", "train", "inner train", "unfrozen"]
)
def test_teacher_keeps_every_bit(way: str) -> None:
    """Fails when `Teacher.forward` leaves modules in training mode."""
    teacher = kd.Teacher(VideoNet(dropout=0.5), LAYERS)
    net = Checkpoints(reentrant=False) if way == "checkpoint" else VideoNet()
    student = kd.Student(net, {"stem": "low"})
    family = nn.ModuleDict({"teacher": teacher, "student": student})
    before = fingerprint(teacher)
    parameters = family.parameters() if way == "all parameters" else student.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.1)
    if way in ("train", "all parameters"):
        family.train()
    if way == "inner train":
        for module in family.modules():
            module.training = True
    if way == "unfrozen":
        family.requires_grad_(True)
    run = torch.compile(student, backend="eager") if way == "compile" else student
    with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
        fit(run, teacher, optimizer)
    teacher.requires_grad_(False)
    if way == "inner train":  # what somebody switches by hand is given back as it was, and does not count
        assert all(module.training for module in teacher.modules())
        teacher.eval()
    assert fingerprint(teacher) == before
    assert student.training


def test_modules_shared_with_the_student_keep_their_modes() -> None:
    shared = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    teacher = kd.Teacher(nn.Sequential(shared, nn.Linear(4, 2)))
    student = nn.Sequential(shared, nn.Linear(4, 2)).train()
    statistics = shared[1].running_mean.clone()
    x = torch.randn(8, 3)
    assert torch.equal(teacher(x).logits, teacher(x).logits)
    assert torch.equal(shared[1].running_mean, statistics)
    assert all(module.training for module in student.modules())


def test_integer_inputs_are_computed_in_the_dtype_too() -> None:
    teacher = kd.Teacher(nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 2)), dtype=torch.float32)
    ids = torch.tensor([[0, 1, 2]])
    expected = teacher(ids).logits
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher(ids).logits, expected)
    assert kd.Teacher(nn.Embedding(5, 4), dtype=torch.float64)(ids).logits.dtype == torch.float64


@pytest.mark.reliability("C2")
def test_teacher_is_in_evaluation_mode_and_repeatable() -> None:
    """Fails when `Teacher` does not put the network into evaluation mode."""
    net = VideoNet(dropout=0.5).train()
    teacher = kd.Teacher(net)
    assert torch.equal(teacher(clips()).logits, teacher(clips()).logits)
    assert torch.equal(teacher(clips()).logits, net(clips()))


def test_outputs_carry_no_gradient_but_may_be_saved_for_backward() -> None:
    output = kd.Teacher(VideoNet(), LAYERS)(clips().requires_grad_())
    assert not output.logits.requires_grad
    assert not output.logits.is_inference()
    weight = torch.ones(5, requires_grad=True)
    (output.logits * weight).sum().backward()
    assert torch.equal(weight.grad, output.logits.sum(0))


@pytest.mark.reliability("C5")
def test_gradient_mode_is_restored() -> None:
    """Fails when `Teacher.forward` turns gradients off and not on again."""
    teacher = kd.Teacher(VideoNet())
    teacher(clips())
    assert torch.is_grad_enabled()
    with pytest.raises(RuntimeError):
        teacher(clips(channels=2))
    assert torch.is_grad_enabled()


def test_student_knows_nothing_of_the_teacher() -> None:
    teacher_net, student_net = VideoNet(channels=2), VideoNet()
    student, teacher = kd.Student(student_net, LAYERS), kd.Teacher(teacher_net, LAYERS)
    kd.LogitMSE()(student(clips()), teacher(clips(channels=2))).backward()
    theirs = {id(tensor) for tensor in teacher.state_dict(keep_vars=True).values()}
    ours = [*student.parameters(), *student.buffers(), *student.state_dict(keep_vars=True).values()]
    assert not theirs & {id(tensor) for tensor in ours}
    assert list(student.model.state_dict()) == list(VideoNet().state_dict())


def holder() -> nn.ModuleDict:
    return nn.ModuleDict({"student": nn.Linear(2, 2), "teacher": kd.Teacher(VideoNet(), LAYERS)})


@pytest.mark.reliability("C3")
def test_a_module_that_holds_the_teacher_does_not_save_it() -> None:
    """Fails when `Teacher.state_dict` fills the destination of a module that holds the teacher."""
    held, other = holder(), holder()
    before = fingerprint(other["teacher"])
    assert list(held.state_dict()) == ["student.weight", "student.bias"]
    other.load_state_dict(held.state_dict())
    assert torch.equal(other["student"].weight, held["student"].weight)
    assert fingerprint(other["teacher"]) == before
    other.load_state_dict(held.state_dict(), assign=True)
    assert fingerprint(other["teacher"]) == before
    assert held.double()["teacher"].model.head.weight.dtype == torch.float64


def test_a_checkpoint_that_has_the_teacher_is_loaded_into_it() -> None:
    held, other = holder(), holder()
    held["teacher"].saved = True
    state = held.state_dict()
    assert {name for name in state if name.startswith("teacher.")} == {
        "teacher." + name for name in held["teacher"].state_dict()
    }
    other.load_state_dict(state)
    assert fingerprint(other["teacher"]) == fingerprint(held["teacher"])
    del state["teacher.model.head.weight"]
    with pytest.raises(RuntimeError, match=r"Missing key.*teacher.model.head.weight"):
        other.load_state_dict(state)


def test_the_teacher_itself_is_saved_and_loaded_as_any_module() -> None:
    teacher, other = kd.Teacher(VideoNet()), kd.Teacher(VideoNet())
    assert list(teacher.state_dict()) == ["model." + name for name in VideoNet().state_dict()]
    other.load_state_dict(teacher.state_dict())
    assert fingerprint(other) == fingerprint(teacher)
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict({})


def test_evaluation_of_the_student_does_not_run_the_teacher() -> None:
    teacher, student, ran = kd.Teacher(VideoNet()), kd.Student(VideoNet()), []
    teacher.model.register_forward_hook(lambda *_: ran.append(1))
    student.eval()(clips())
    assert ran == []


@pytest.mark.reliability("C2")
def test_release_gives_back_what_was_given() -> None:
    """Fails when `Teacher.release` unfreezes every parameter."""
    net = VideoNet(dropout=0.5)
    net.block.eval()
    net.head.weight.requires_grad_(False)
    before = fingerprint(net)
    teacher = kd.Teacher(net, LAYERS)
    teacher(clips())
    assert fingerprint(net) != before
    assert teacher.release() is net
    assert fingerprint(net) == before
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda teacher: pickle.loads(pickle.dumps(teacher))])
def test_copies_stay_frozen(copier) -> None:
    teacher = kd.Teacher(VideoNet(dropout=0.5), LAYERS)
    again = copier(teacher).train()
    assert fingerprint(again) == fingerprint(teacher)
    assert torch.equal(again(clips()).features["low"], teacher(clips()).features["low"])


def test_dtype_casts_at_the_boundary_and_leaves_the_model_alone() -> None:
    net = VideoNet().eval().requires_grad_(False)
    before = fingerprint(net)
    teacher = kd.Teacher(net, LAYERS, dtype=torch.bfloat16)
    output = teacher(clips())
    expected = copy.deepcopy(net).to(torch.bfloat16)(clips().to(torch.bfloat16))
    assert output.logits.dtype == output.features["low"].dtype == torch.float32
    assert torch.equal(output.logits, expected.float())
    assert fingerprint(net) == before


def test_dtype_wins_over_autocast() -> None:
    net = VideoNet().eval()
    teacher = kd.Teacher(net, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = teacher(clips()).logits
    assert torch.equal(inside, net(clips()))


def test_dtype_with_keyword_inputs_and_integers() -> None:
    class Embeds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(4, 5)

        def forward(self, index: Tensor, *, scale: Tensor | None = None) -> Tensor:
            assert scale is None or scale.dtype == torch.bfloat16
            return self.table(index) * (1 if scale is None else scale)

    teacher = kd.Teacher(Embeds(), dtype=torch.bfloat16)
    assert teacher(torch.tensor([1, 2])).logits.dtype == torch.bfloat16
    assert teacher(torch.tensor([1, 2]), scale=torch.ones(5)).logits.dtype == torch.float32


def test_early_exit() -> None:
    net, ran = VideoNet(), []
    net.head.register_forward_hook(lambda *_: ran.append("head"))
    output = kd.Teacher(net, ["stem"], logits=None, early_exit=True)(clips())
    assert output.logits is None
    assert torch.equal(output.features["stem"], net.stem(clips()))
    assert ran == []


def test_selectors_are_passed_on() -> None:
    teacher = kd.Teacher(
        Wraps("dict"),
        ["middle"],
        select={"middle": lambda pair: pair[1]},
        logits=lambda output: output["logits"],
    )
    output = teacher(clips())
    assert torch.equal(output.features["middle"], 2 * output.logits)


@pytest.mark.reliability("C11")
def test_one_network_may_teach_twice() -> None:
    """Fails when all extractors share one `Recorder`."""
    net = VideoNet()
    low, high = kd.Teacher(net, {"stem": "x"}), kd.Teacher(net, {"block": "x"})
    assert torch.equal(low(clips()).features["x"], net.stem(clips()))
    assert torch.equal(high(clips()).features["x"], net.block(net.stem(clips())))


@pytest.mark.parametrize("options", [{"device": "gpu"}, {"device": "cuda:99"}, {"dtype": torch.int8}])
def test_a_teacher_that_is_refused_leaves_the_network_as_it_was(options: dict) -> None:
    """Fails when the device is looked at after the network is frozen and tapped."""
    net = nn.Linear(3, 4).train()
    with pytest.raises(ValueError, match=r"(device|dtype) must be"):
        kd.Teacher(net, {"": "f"}, **options)
    assert net.weight.requires_grad
    assert net.training
    assert not net._forward_hooks
    kd.Student(net, {"": "f"})


def test_a_teacher_that_cannot_be_moved_leaves_the_network_as_it_was(monkeypatch) -> None:
    """Fails when an error of `to` leaves the network frozen, with hooks."""

    def full(*_: object) -> None:
        raise RuntimeError("out of memory")

    net = nn.Linear(3, 4)
    monkeypatch.setattr(kd.Teacher, "to", full)
    with pytest.raises(RuntimeError, match="out of memory"):
        kd.Teacher(net, {"": "f"}, device="cpu")
    assert net.weight.requires_grad
    assert net.training
    assert not net._forward_hooks
