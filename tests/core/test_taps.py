"""What a layer's name can mean: the grammar `path[:in][index or "key"]...`, globs, modules, several runs."""

import copy
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import kdvideo as kd
from tests.core.nets import Twice, VideoNet, clips


class Block(nn.Module):
    """Gives a tensor and its attention map."""

    def __init__(self) -> None:
        super().__init__()
        self.attn, self.mlp = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        map_ = self.attn(x) if mask is None else self.attn(x) * mask
        return self.mlp(map_), map_


@dataclass
class Pyramid:
    loss: Tensor
    levels: dict[str, list[Tensor]]


class Neck(nn.Module):
    def forward(self, x: Tensor) -> Pyramid:
        return Pyramid(x.sum(), {"p.3": [x, 2 * x], "p4": [3 * x]})


class Net(nn.Module):
    """Three blocks, a neck that gives an object, and a head that runs once on each of three levels."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(3))
        self.neck, self.relu, self.head = Neck(), nn.ReLU(inplace=inplace), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x, _ = block(x, mask=torch.ones(4))
        found = self.neck(x).levels
        levels = [*found["p.3"], *found["p4"]]
        return sum((self.head(self.relu(level * 1)) for level in levels), torch.zeros(5))


X = torch.linspace(-1, 1, 8).view(2, 4)


def features(layers: object, net: nn.Module | None = None, **options: object) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return kd.FeatureExtractor(net or Net(), layers, **options)(X).features


def block_outputs() -> list[tuple[Tensor, Tensor]]:
    torch.manual_seed(0)
    net, x, found = Net(), X, []
    for block in net.blocks:
        found.append(block(x))
        x = found[-1][0]
    return found


def test_keys_and_indexes_lead_into_outputs() -> None:
    found = features({"blocks.1[0]": "a", "blocks.1[-1]": "b", "neck['levels'][\"p.3\"][1]": "c", "neck['loss']": "d"})
    outputs = block_outputs()
    assert torch.equal(found["a"], outputs[1][0])
    assert torch.equal(found["b"], outputs[1][1])
    assert torch.equal(found["c"], 2 * outputs[2][0])
    assert torch.equal(found["d"], outputs[2][0].sum())


def test_select_takes_what_lies_under_the_keys() -> None:
    found = features({"blocks.1[1]": "a"}, select={"a": torch.neg})
    assert torch.equal(found["a"], -block_outputs()[1][1])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            "blocks.1[2]",
            r"'blocks.1\[2\]'.*nothing at \[2\], for it gives a tuple of length 2.*keys there are \[0, 1\]",
        ),
        ("blocks.1['x']", r"nothing at \['x'\], for it gives a tuple"),
        ("neck['levels']['p5']", r"gives a dict with keys \['p.3', 'p4'\]"),
        ("neck['levels']", r"got a dict with keys \['p.3', 'p4'\]: say which tensor is meant, select="),
        ("neck[0]", r"gives a Pyramid there: the keys there are \['loss', 'levels'\]"),
        ("blocks.1", r"got a tuple of length 2: say which tensor is meant, as in \{'blocks.1\[0\]': 'blocks.1'\}"),
        ("blocks.1.attn[0]", r"gives a Tensor there: drop \[0\]"),
        ("blocks.1:in[2]", r"gives a dict with keys \[0, 'mask'\]"),
    ],
)
def test_nothing_under_a_key_says_what_is_there(layer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        features([layer])


def test_inputs_by_position_and_keyword() -> None:
    found = features({"blocks.2:in": "x", "blocks.2:in[0]": "same", "blocks.2:in['mask']": "mask"})
    assert torch.equal(found["x"], block_outputs()[1][0])
    assert found["same"] is found["x"]
    assert torch.equal(found["mask"], torch.ones(4))


def test_an_input_that_its_module_overwrites_is_an_error() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True))
    with pytest.raises(kd.CaptureError, match=r"layer '1:in' \(role '1:in'\) was overwritten in place"):
        features(["1:in"], net)
    assert (features(["1:in"], net, select={"1:in": torch.clone})["1:in"] < 0).any()


def test_an_input_ends_a_pass_early() -> None:
    class Last(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    net = nn.Sequential(nn.Linear(4, 4), Last())
    assert torch.equal(features(["1:in"], net, logits=None, early_exit=True)["1:in"], net[0](X))


def test_every_match_of_a_glob_has_its_role() -> None:
    found = features({"blocks.*.attn": "attn.*", "blocks.*[0]": ["out.*", "again.*"]})
    assert list(found) == [
        *("attn.0", "attn.1", "attn.2"),
        *("out.0", "again.0", "out.1", "again.1", "out.2", "again.2"),
    ]
    for number, (out, map_) in enumerate(block_outputs()):
        assert torch.equal(found[f"out.{number}"], out)
        assert torch.equal(found[f"attn.{number}"], map_)


def test_roles_of_globs_in_a_sequence_are_the_places() -> None:
    assert list(features(["blocks.*.m*:in", "head:in"], call={"head:in": 0})) == [
        *("blocks.0.mlp:in", "blocks.1.mlp:in", "blocks.2.mlp:in", "head:in")
    ]
    assert list(kd.FeatureExtractor(Net(), {"*.*.*": "*-*-*"}).paths)[:2] == ["blocks-0-attn", "blocks-0-mlp"]


def test_a_star_crosses_no_dot() -> None:
    assert list(kd.FeatureExtractor(Net(), ["*"]).paths) == ["blocks", "neck", "relu", "head"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["block.*.attn"], r"Net has no layer 'block\.\*\.attn'; the closest are \['blocks"),
        ({"blocks.*.attn": "a"}, r"got 'blocks.0.attn' and 'blocks.1.attn' for 'a': put a \* into the role"),
        ({"blocks.*.attn": "a.*.*"}, r"at most as many \* as its path, 1, got 'a\.\*\.\*'"),
        (["head:out"], "no layer 'head:out'"),
        (["head[x]"], r"no layer 'head\[x\]'"),
        ([nn.Linear(3, 4)], r"must be one of Net's own, got a Linear"),
        (None, "must be a mapping or a sequence of paths, got None"),
        ([1], "a layer must be a path, as text, or a module, got 1"),
        ({"relu": 5}, "must have a role, or several, as text, got 5: layers="),
        ({"relu": None}, "must have a role, or several, as text, got None"),
        ({"relu": []}, r"must have a role, or several, as text, got \[\]"),
        (["§"], r"Net has no layer '§'; the first are \['blocks'"),
        (nn.Linear(3, 4), "must be a mapping or a sequence of paths, got a Linear"),
    ],
)
def test_bad_layers_are_refused(layers: object, message: str) -> None:
    net = Net()
    with pytest.raises(ValueError, match=message):
        kd.FeatureExtractor(net, layers)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


def test_modules_stand_for_their_paths() -> None:
    net = Net()
    extractor = kd.FeatureExtractor(net, {net.blocks[1].attn: "a", net.head: ["b", "c"]}, call={"b": 0, "c": -1})
    assert extractor.paths == {"a": "blocks.1.attn", "b": "head", "c": "head"}
    assert kd.FeatureExtractor(net, [net.blocks[2].mlp, net]).paths == {"blocks.2.mlp": "blocks.2.mlp", "": ""}


def test_a_name_of_the_model_may_hold_signs_of_the_grammar() -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    net.add_module("a:in[0]*", nn.ReLU())
    assert torch.equal(features(["a:in[0]*"], net)["a:in[0]*"], net(X))


def test_short_names_of_the_model_take_keys_and_inputs() -> None:
    assert kd.FeatureExtractor(VideoNet(), {"2A:in": "x"}).paths == {"x": "block.0:in"}


def test_one_run_of_a_layer_that_runs_several_times() -> None:
    outputs: list[Tensor] = []
    torch.manual_seed(0)
    net = Net()
    net.head.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    runs = kd.FeatureExtractor(net, {"head": ["all", "first", "last"]}, call={"all": "all", "first": 0, "last": -1})
    found = runs(X).features
    assert list(found) == ["all[0]", "all[1]", "all[2]", "first", "last"]
    expected = [*outputs, outputs[0], outputs[-1]]
    assert all(torch.equal(a, b) for a, b in zip(found.values(), expected, strict=True))


def test_every_run_is_projected_and_compared() -> None:
    torch.manual_seed(0)
    projector = nn.Linear(5, 7)
    student = kd.Student(Net(), {"head": "h"}, call={"h": "all"}, projectors={"h": projector})
    found = student(X).features
    assert torch.equal(found["h[2]"], projector(features({"head": "h"}, student.model, call={"h": -1})["h"]))
    kd.FeatureMSE([*found])(student(X), kd.Output(None, {role: torch.zeros(2, 7) for role in found})).backward()
    assert projector.weight.grad is not None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({}, kd.CaptureError, r"ran 2 times .*call=\{'head': -1\} or \"all\""),
        ({"head": 2}, kd.CaptureError, "ran 2 times in a forward pass, too few for call=2"),
        ({"head": -3}, kd.CaptureError, "too few for call=-3"),
        ({"stem": 0}, ValueError, r"call= names the roles \['stem'\]"),
        ({"head": "last"}, ValueError, r"call= must be a number of a run or \"all\", got 'last'"),
        ({"head": True}, ValueError, "call= must be a number of a run"),
    ],
)
def test_runs_that_are_not_there(call: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        kd.FeatureExtractor(Twice(), ["head"], call=call)(clips())


def test_roles_of_all_runs_are_no_other_roles() -> None:
    with pytest.raises(ValueError, match=r"makes the roles h\[0\] and so on, got \['h\[0\]'\] too"):
        kd.FeatureExtractor(Net(), {"head": "h", "neck": "h[0]"}, call={"h": "all"})


@pytest.mark.parametrize("call", [-1, 1, "all"])
def test_an_early_exit_has_first_runs_only(call: object) -> None:
    with pytest.raises(ValueError, match="of every layer the first run"):
        kd.Teacher(Twice(), ["head"], logits=None, early_exit=True, call={"head": call})


def test_first_run_of_an_early_exit() -> None:
    net = Twice()
    found = kd.Teacher(net, ["head"], logits=None, early_exit=True, call={"head": 0})(clips())
    assert torch.equal(found.features["head"], net.head(net.stem(clips()).mean((2, 3, 4))))


def test_an_overwritten_run_is_an_error_only_where_it_is_wanted() -> None:
    class Overwrites(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[0](self[0](x).relu_())

    net = Overwrites(nn.Linear(4, 4))
    features({"0": "h"}, net, call={"h": -1})
    with pytest.raises(kd.CaptureError, match="overwritten"):
        features({"0": "h"}, net, call={"h": "all"})


def test_tied_modules_are_tapped_under_both_paths() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2] = net[0]
    with pytest.raises(kd.CaptureError, match=r"layer '2'.* ran 2 times"):
        features(["2"], net)
    found = features({"0": "first", "2": "last"}, net, call={"first": 0, "last": 1})
    assert torch.equal(found["first"], net[0](X))
    assert torch.equal(found["last"], net(X))


def test_tied_weights_are_two_layers() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    net[2].weight = net[0].weight
    assert not torch.equal(*features(["0", "2"], net).values())


LAYERS = {"blocks.*.attn": "a.*", "blocks.2:in": "in", "neck['levels']['p4'][0]": "p4", "head": "h"}


def wrapped() -> kd.Student:
    torch.manual_seed(0)
    projectors = {"h": nn.Linear(5, 6), "a.1": nn.Linear(4, 3)}
    return kd.Student(Net(), LAYERS, call={"h": "all"}, projectors=projectors)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda student: pickle.loads(pickle.dumps(student))])
def test_copies_tap_for_themselves(copier: object) -> None:
    student = wrapped()
    again = copier(student)
    with torch.no_grad():
        student.model.blocks[0].attn.weight.zero_()
    expected = wrapped()(X).features
    assert list(again(X).features) == list(expected)
    assert all(torch.equal(a, b) for a, b in zip(again(X).features.values(), expected.values(), strict=True))
    for one in (student, again):
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in one.remove().modules())


@pytest.mark.parametrize("kind", [kd.Student, kd.Teacher])
def test_every_kind_of_tap_compiles_whole(kind: type) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    wrapper = kind(Net(), LAYERS, call={"h": "all"})
    expected = wrapper(X).features
    found = torch.compile(wrapper, fullgraph=True, backend="aot_eager")(X).features
    assert list(found) == list(expected)
    for role, feature in expected.items():
        torch.testing.assert_close(found[role], feature)
    torch._dynamo.reset()


def test_gradients_reach_the_layers_before_an_input() -> None:
    student = wrapped()
    student(X).features["in"].sum().backward()
    assert [block.mlp.weight.grad is not None for block in student.model.blocks] == [True, True, False]
