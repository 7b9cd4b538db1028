"""The average equals its definition, written out, and timm's; it resumes from a checkpoint."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from tests.core.nets import VideoNet, clips

LAYERS = {"stem": "low"}
LABEL = torch.tensor([1, 3])


def net(seed: int = 0) -> VideoNet:
    torch.manual_seed(seed)
    return VideoNet()


def train_step(model: nn.Module, seed: int = 0) -> None:
    """One step that moves every parameter and every buffer."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    output = model(clips(seed=seed))
    F.cross_entropy(output if isinstance(output, Tensor) else output.logits, LABEL).backward()
    optimizer.step()
    model.zero_grad()


def values(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("average_buffers", [True, False])
def test_the_average_is_that_of_the_definition(average_buffers: bool) -> None:
    student = net()
    teacher = kd.EMATeacher(student, momentum=0.7, average_buffers=average_buffers)
    expected = values(student)
    assert values(teacher.model).keys() == expected.keys()
    for seed in range(4):
        train_step(student, seed)
        teacher.update(student)
        for name, now in values(student).items():
            averaged = now.is_floating_point() and (average_buffers or "running" not in name)
            expected[name] = 0.7 * expected[name] + 0.3 * now if averaged else now
    moved = 0
    for name, value in values(teacher.model).items():
        torch.testing.assert_close(value, expected[name], msg=name)
        moved += not torch.equal(value, values(student)[name])
    assert moved == (8 if average_buffers else 6)
    assert teacher.model.block[0].num_batches_tracked == 4


@pytest.mark.parametrize("exclude_buffers", [True, False])
def test_it_is_the_average_of_timm(exclude_buffers: bool) -> None:
    timm = pytest.importorskip("timm.utils")
    student = net()
    ours = kd.EMATeacher(student, momentum=0.9, average_buffers=not exclude_buffers)
    theirs = timm.ModelEmaV3(student, decay=0.9, exclude_buffers=exclude_buffers, foreach=True)
    for seed in range(3):
        train_step(student, seed)
        ours.update(student)
        theirs.update(student)
    for name, value in values(theirs.module).items():
        assert torch.equal(values(ours.model)[name], value), name


def test_it_is_a_teacher() -> None:
    student = net().train()
    teacher = kd.EMATeacher(student, LAYERS, momentum=0.5).train()
    assert student.training
    assert all(p.requires_grad for p in student.parameters())
    output = teacher(clips())
    assert not teacher.training
    assert not output.logits.requires_grad
    assert torch.equal(output.features["low"], student.stem(clips()))
    assert not {id(p) for p in teacher.parameters()} & {id(p) for p in student.parameters()}
    assert teacher.release().training


def test_momentum_as_a_schedule() -> None:
    student = net()
    teacher = kd.EMATeacher(student, momentum=kd.schedules.Linear(0.0, 1.0, steps=2))
    train_step(student)
    teacher.update(student, step=0)
    assert torch.equal(teacher.model.head.weight, student.head.weight)
    before = values(teacher.model)
    train_step(student)
    teacher.update(student, step=2)
    assert torch.equal(teacher.model.head.weight, before["head.weight"])
    teacher.update(student, 1)
    torch.testing.assert_close(teacher.model.head.weight, (before["head.weight"] + student.head.weight) / 2)
    with pytest.raises(ValueError, match="is a schedule: pass the step"):
        teacher.update(student)


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_momentum_outside_0_to_1_is_refused(momentum: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        kd.EMATeacher(net(), momentum=momentum)
    with pytest.raises(ValueError, match="between 0 and 1"):
        kd.EMATeacher(net(), momentum=lambda step: momentum).update(net(), 0)


def compiled_inside(student: VideoNet) -> nn.Module:
    student.block = torch.compile(student.block, backend="eager")
    return student


WRAPPERS = {
    "student": lambda student: kd.Student(student, LAYERS, projectors={"low": kd.projectors.conv(4, 4)}),
    "compiled": lambda student: torch.compile(student, backend="eager"),
    "compiled student": lambda student: torch.compile(kd.Student(student, LAYERS), backend="eager"),
    "data parallel": nn.DataParallel,
    "compiled inside": compiled_inside,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
@pytest.mark.parametrize("built_from", ["bare", "wrapped"])
def test_wrappers_are_seen_through(wrap, built_from: str) -> None:
    student = net()
    given = copy.deepcopy(student) if built_from == "bare" else None
    wrapped = wrap(student)
    teacher = kd.EMATeacher(wrapped if given is None else given, momentum=0.0)
    train_step(wrapped)
    teacher.update(wrapped)
    weights = [p for name, p in wrapped.named_parameters() if "projectors" not in name]
    assert len(weights) == len(list(teacher.model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(teacher.model.parameters(), weights, strict=True))
    assert teacher(clips()).logits.shape == (2, 5)


def test_another_network_is_refused_by_the_names_that_differ() -> None:
    teacher = kd.EMATeacher(net())
    with pytest.raises(ValueError, match=r"parameters.*stem.weight, stem.bias"):
        teacher.update(VideoNet(width=6))
    with pytest.raises(ValueError, match=r"parameters.*block.0.weight"):
        teacher.update(VideoNet(norm=False))
    other = net()
    other.register_buffer("more", torch.zeros(1))
    with pytest.raises(ValueError, match=r"buffers.*more"):
        teacher.update(other)


def test_half_precision_is_refused_and_averaged_in_float32() -> None:
    student = net().to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"bfloat16.*dtype=torch.float32"):
        kd.EMATeacher(student).update(student)
    teacher = kd.EMATeacher(student, dtype=torch.float32, momentum=0.999)
    before = teacher.model.head.weight.clone()
    student.head.weight.data.add_(1.0)
    teacher.update(student)
    torch.testing.assert_close(teacher.model.head.weight, 0.999 * before + 0.001 * student.head.weight.float())
    assert not torch.equal(teacher.model.head.weight, before)
    assert teacher(clips().bfloat16()).logits.dtype == torch.bfloat16
    assert student.head.weight.dtype == torch.bfloat16


def test_tied_weights_move_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight

    student = Tied()
    teacher = kd.EMATeacher(student, momentum=0.5)
    before = student.a.weight.detach().clone()
    student.a.weight.data.add_(1.0)
    teacher.update(student)
    assert teacher.model.a.weight is teacher.model.b.weight
    torch.testing.assert_close(teacher.model.a.weight, before + 0.5)


def test_a_training_continues_from_the_state_of_the_module_that_holds_it() -> None:
    def family() -> nn.ModuleDict:
        student = net()
        return nn.ModuleDict({"student": student, "teacher": kd.EMATeacher(student, momentum=0.5)})

    def go_on(parts: nn.ModuleDict, seeds: range) -> None:
        for seed in seeds:
            train_step(parts["student"], seed)
            parts["teacher"].update(parts["student"])

    whole, first, second = family(), family(), family()
    go_on(whole, range(4))
    go_on(first, range(2))
    second.load_state_dict(first.state_dict())
    go_on(second, range(2, 4))
    expected = values(whole)
    assert sum(name.startswith("teacher.") for name in expected) == len(expected) / 2
    assert all(torch.equal(value, expected[name]) for name, value in values(second).items())


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda teacher: pickle.loads(pickle.dumps(teacher))])
def test_copies_average_on(copier) -> None:
    student = net()
    teacher = kd.EMATeacher(student, LAYERS, momentum=kd.schedules.Constant(0.5))
    train_step(student)
    again = copier(teacher)
    for average in (teacher, again):
        average.update(student, 0)
    assert torch.equal(again(clips()).features["low"], teacher(clips()).features["low"])
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), teacher.parameters(), strict=True))
