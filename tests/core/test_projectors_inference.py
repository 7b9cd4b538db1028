import copy
import random

import pytest
import torch
from torch import Tensor, nn

import kdvideo as kd
from kdvideo.projectors import infer

CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


class Cnn(nn.Module):
    """Two layers, the second at half the size, and a pooled vector."""

    def __init__(self, channels: int, axes: int, stride: int = 2) -> None:
        super().__init__()
        self.low = nn.Sequential(CONVS[axes](3, channels, 3, padding=1), NORMS[axes](channels), nn.Dropout(0.5))
        self.high = CONVS[axes](channels, 2 * channels, 3, stride=stride, padding=1)
        self.pooled = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        high = self.high(self.low(x))
        return self.pooled(high.flatten(2).mean(2))


class Vit(nn.Module):
    """Patches, `prefix` tokens before them, two blocks, and the mean token."""

    def __init__(self, width: int, patch: tuple[int, ...], prefix: int = 1) -> None:
        super().__init__()
        self.patches = CONVS[len(patch)](3, width, patch, stride=patch)
        self.prefix = nn.Parameter(torch.randn(1, prefix, width))
        self.low = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.high = nn.Linear(width, width)
        self.pooled = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).mT
        tokens = torch.cat([self.prefix.expand(len(x), -1, -1), tokens], 1)
        return self.pooled(self.high(self.low(tokens)).mean(1))


ROLES = ("low", "high", "pooled")
IMAGE, CLIP, SIGNAL = (2, 3, 16, 24), (2, 3, 8, 16, 16), (2, 3, 20)
CASES = {
    "maps 1-D": (lambda: Cnn(4, 1), SIGNAL, lambda: Cnn(6, 1, 1), SIGNAL),
    "maps 2-D": (lambda: Cnn(4, 2), IMAGE, lambda: Cnn(6, 2), (2, 3, 20, 20)),
    "maps 3-D": (lambda: Cnn(4, 3), CLIP, lambda: Cnn(6, 3), (2, 3, 4, 24, 16)),
    "image to clip": (lambda: Cnn(4, 2), IMAGE, lambda: Cnn(6, 3), CLIP),
    "clip to image": (lambda: Cnn(4, 3), CLIP, lambda: Cnn(6, 2), IMAGE),
    "same shape": (lambda: Cnn(4, 2), IMAGE, lambda: Cnn(4, 2), IMAGE),
    "tokens to map": (lambda: Vit(12, (4, 4), 2), IMAGE, lambda: Cnn(6, 2), IMAGE),
    "tokens to map 3-D": (lambda: Vit(12, (2, 4, 4), 0), CLIP, lambda: Cnn(6, 3), CLIP),
    "map to tokens": (lambda: Cnn(4, 2), IMAGE, lambda: Vit(10, (4, 4)), IMAGE),
    "map to tokens 3-D": (lambda: Cnn(4, 3), CLIP, lambda: Vit(10, (2, 4, 4)), CLIP),
    "tokens, one grid": (lambda: Vit(12, (4, 4)), IMAGE, lambda: Vit(10, (4, 4)), IMAGE),
    "tokens, two grids": (lambda: Vit(12, (4, 4)), IMAGE, lambda: Vit(10, (8, 2)), IMAGE),
    "tokens, other prefix": (lambda: Vit(12, (4, 4)), IMAGE, lambda: Vit(12, (4, 4), 5), IMAGE),
    "tokens, one count": (lambda: Vit(12, (4, 4), 0), IMAGE, lambda: Vit(12, (8, 2), 0), IMAGE),
    "tokens of video and image": (lambda: Vit(12, (4, 4)), IMAGE, lambda: Vit(10, (2, 8, 8)), CLIP),
}


@pytest.mark.parametrize("case", CASES)
def test_every_role_gets_a_projector_that_fits(case: str) -> None:
    ours, our_size, theirs, their_size = CASES[case]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(our_size, generator=generator), torch.randn(their_size, generator=generator)
    net = ours()
    # A map has no pooled vector to come from.
    roles = ROLES if "map" not in case or isinstance(net, Cnn) else ("low", "high")
    probe, teacher = kd.FeatureExtractor(net, roles), kd.Teacher(theirs(), ROLES)
    projectors = infer(probe, teacher, x, teacher_inputs=y)
    assert list(projectors) == list(roles)
    student = kd.Student(probe.remove(), roles, projectors=projectors)
    kd.FeatureMSE(roles)(student(x), teacher(y)).backward()
    assert all(parameter.grad is not None for parameter in student.projectors.parameters())
    for role, line in zip(roles, str(projectors).splitlines()[1:], strict=True):
        assert line.startswith(role)
        assert str(tuple(teacher(y).features[role].shape)) in line


def test_tokens_become_the_map_in_place() -> None:
    net = Vit(6, (4, 4), 2)
    probe = kd.FeatureExtractor(net, {"low": "f"})
    x = torch.randn(IMAGE, generator=torch.Generator().manual_seed(0))
    (projector,) = infer(probe, kd.Teacher(nn.Conv2d(3, 6, 4, stride=4), {"": "f"}), x).values()
    tokens = probe(x).features["f"]
    torch.testing.assert_close(projector(tokens)[0, :, 2, 3], tokens[0, 2 + 2 * 6 + 3])


def test_equal_shapes_get_an_identity_and_a_resize_is_the_mean() -> None:
    net, x = Cnn(4, 2), torch.randn(IMAGE, generator=torch.Generator().manual_seed(0))
    roles = {"low": "a", "high": "b"}
    student, teacher = kd.FeatureExtractor(net, roles), kd.Teacher(Cnn(4, 2), {"high": "b", "low": "a"})
    assert all(isinstance(one, nn.Identity) for one in infer(student, teacher, x).values())
    half = infer(kd.FeatureExtractor(Cnn(8, 2), {"low": "b"}), teacher, x)
    assert str(half).splitlines()[1].endswith("pool to (8, 12)")
    assert not list(half["b"].parameters())


def test_the_dry_run_changes_nothing() -> None:
    student, teacher = kd.Student(Cnn(4, 2), ["low"]), kd.Teacher(Cnn(6, 2), ["low"])
    student.model.low[1].eval()
    before = copy.deepcopy((student.state_dict(), teacher.state_dict()))
    modes = [one.training for model in (student, teacher) for one in model.modules()]
    x = torch.randn(IMAGE)
    state, python = torch.get_rng_state(), random.getstate()
    first, second = infer(student, teacher, x)["low"], infer(student, teacher, x)["low"]
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(torch.get_rng_state(), state)
    assert random.getstate() == python
    assert modes == [one.training for model in (student, teacher) for one in model.modules()]
    for given, expected in zip((student.state_dict(), teacher.state_dict()), before, strict=True):
        assert all(torch.equal(given[name], expected[name]) for name in expected)
    assert all(one.grad is None for one in student.parameters())
    assert all(one.requires_grad for one in student.parameters())
    assert not student.model.low[0]._forward_hooks
    assert first.training


def test_buffers_that_a_forward_in_evaluation_writes_are_restored() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("last", torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            self.last = torch.ones(2)
            return self.conv(x) + torch.rand(())

    net = Counting()
    calls, last = net.calls, net.last
    infer(kd.FeatureExtractor(net, {"conv": "f"}), kd.Teacher(nn.Conv2d(3, 8, 1), {"": "f"}), torch.zeros(IMAGE))
    assert net.calls is calls
    assert net.last is last
    assert net.calls == 0


def test_a_run_that_fails_leaves_nothing_behind() -> None:
    net = Cnn(4, 2)
    probe, teacher = kd.FeatureExtractor(net, ["low"]), kd.Teacher(Cnn(4, 2), ["low"])
    state = torch.get_rng_state()
    with pytest.raises(RuntimeError):
        infer(probe, teacher, torch.zeros(2, 5, 4, 4))
    assert net.training
    assert not net.high._forward_hooks
    assert torch.equal(torch.get_rng_state(), state)


def test_the_projector_has_the_dtype_of_the_student() -> None:
    x = torch.zeros(IMAGE, dtype=torch.float64)
    probe = kd.FeatureExtractor(Cnn(4, 2).double(), ["low"])
    projector = infer(probe, kd.Teacher(Cnn(6, 2), ["low"]), x, teacher_inputs=x.float())["low"]
    assert projector.weight.dtype == torch.float64


def test_what_cannot_be_inferred_is_refused() -> None:
    x = torch.zeros(IMAGE)
    cnn, teacher = Cnn(4, 2), kd.Teacher(Cnn(6, 2), {"low": "f"})
    with pytest.raises(ValueError, match=r"role in common, got \['low'\] and \['f'\]"):
        infer(kd.FeatureExtractor(cnn, ["low"]), teacher, x)
    with pytest.raises(ValueError, match=r"role 'f', \(2, 8\) to .*pooled vector has no positions"):
        infer(kd.FeatureExtractor(cnn, {"pooled": "f"}), teacher, x)
    with pytest.raises(ValueError, match="a map of 1 axes does not become one of 2"):
        infer(kd.FeatureExtractor(Cnn(4, 1), {"low": "f"}), teacher, torch.zeros(SIGNAL), teacher_inputs=x)
    text = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 8))
    probe, ids = kd.FeatureExtractor(text, {"1": "f"}), torch.zeros(2, 24, dtype=torch.long)
    with pytest.raises(ValueError, match=r"grid of the tokens \(2, 24, 8\) is unknown: name the grids"):
        infer(probe, teacher, ids, teacher_inputs=x)
    assert infer(probe, teacher, ids, teacher_inputs=x, grids={"f": (4, 6)})["f"][0].size == (4, 6)
    with pytest.raises(ValueError, match=r"role 'f' of the student: the grid \(5, 5\) needs tokens \(B, 25 or more"):
        infer(probe, teacher, ids, teacher_inputs=x, grids={"f": (5, 5)})
    last = nn.Sequential(nn.Linear(24, 32), nn.LayerNorm(32))
    with pytest.raises(ValueError, match=r"channels of \(2, 3, 16, 32\) seem to be its last axis"):
        infer(kd.FeatureExtractor(last, {"1": "f"}), teacher, x)
