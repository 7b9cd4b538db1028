import copy
import gc
import operator
import pickle
import threading
import weakref
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

import kdvideo as kd
from tests.core.nets import (
    Breaks,
    Checkpoints,
    Overwrites,
    Skips,
    Twice,
    VideoNet,
    Wraps,
    clips,
)

LAYERS = {"stem": "low", "block": "high"}


def hooks_on(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_output_is_a_plain_tuple_for_pickle_and_pytrees() -> None:
    output = kd.Output(torch.ones(2, 5), {"a": torch.zeros(3)}, {"loss": torch.tensor(1.0)})
    again = pickle.loads(pickle.dumps(output))
    assert type(again) is kd.Output
    assert torch.equal(again.logits, output.logits)
    leaves, spec = pytree.tree_flatten(output)
    assert len(leaves) == 3
    assert type(pytree.tree_unflatten(leaves, spec)) is kd.Output


def test_raw_is_what_the_network_returned() -> None:
    class TwoHeads(nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": x, "auxiliary": x + 1}

    output = kd.Student(TwoHeads())(torch.ones(2, 3))
    assert set(output.raw) == {"logits", "auxiliary"}
    assert output.raw["logits"] is output.logits


def test_features_are_the_outputs_of_the_layers() -> None:
    net = VideoNet().eval()
    output = kd.FeatureExtractor(net, LAYERS)(clips())
    stem = net.stem(clips())
    assert torch.equal(output.features["low"], stem)
    assert torch.equal(output.features["high"], net.block(stem))
    assert list(output.features) == ["low", "high"]


def test_sequence_of_paths_makes_each_path_its_role() -> None:
    assert list(kd.FeatureExtractor(VideoNet(), ["stem", "block.1"])(clips()).features) == ["stem", "block.1"]


def test_short_names_of_the_model_resolve() -> None:
    extractor = kd.FeatureExtractor(VideoNet(), {"2A": "bn"})
    assert extractor.paths == {"bn": "block.0"}
    assert "bn" in extractor(clips()).features


def test_empty_path_is_the_model_itself() -> None:
    output = kd.FeatureExtractor(VideoNet(), {"": "all"})(clips())
    assert torch.equal(output.features["all"], output.logits)


@pytest.mark.parametrize("name", ["stemm", "block.9", "2B"])
def test_unknown_path_names_the_closest(name: str) -> None:
    with pytest.raises(ValueError, match=r"VideoNet has no layer .*closest are \['(stem|2A|block)"):
        kd.FeatureExtractor(VideoNet(), {name: "x"})


def test_short_name_of_a_missing_module_is_unknown() -> None:
    net = VideoNet()
    net.layer_names = {"9Z": "gone"}
    with pytest.raises(ValueError, match="no layer '9Z'"):
        kd.FeatureExtractor(net, ["9Z"])


@pytest.mark.reliability("C5")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "stem"}, "got the string 'stem'"),
        ({"layers": {"stem": "x", "block": "x"}}, "every role must have one layer, got 'stem' and 'block' for 'x'"),
        ({"layers": ["stem"], "select": {"block": lambda y: y}}, r"roles \['block'\]"),
        ({"layers": ["stem"], "early_exit": True}, "logits=None"),
        ({"logits": None, "early_exit": True}, "needs layers"),
        ({"logits": 2.5}, "logits must be a function of an output, a key or an index, got 2.5"),
        ({"layers": {"stem": "x"}, "select": {"x": 2.5}}, r"select\['x'\] must be a function of an output"),
    ],
)
def test_bad_arguments_are_refused_and_leave_no_hook(arguments, message) -> None:
    """Fails when `FeatureExtractor` puts its hooks on before it has looked at `early_exit`."""
    net = VideoNet()
    with pytest.raises(ValueError, match=message):
        kd.FeatureExtractor(net, **arguments)
    assert hooks_on(net) == 0


def test_no_output_bit_and_no_key_changes() -> None:
    net = VideoNet(dropout=0.5)
    bare = copy.deepcopy(net)
    extractor = kd.FeatureExtractor(net, LAYERS)
    assert list(net.state_dict()) == list(bare.state_dict())
    torch.manual_seed(1)
    wrapped = extractor(clips()).logits
    torch.manual_seed(1)
    assert torch.equal(wrapped, bare(clips()))
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), bare.buffers(), strict=True))


def test_gradients_reach_the_network_through_features() -> None:
    net = VideoNet()
    kd.FeatureExtractor(net, LAYERS)(clips()).features["low"].sum().backward()
    assert net.stem.weight.grad is not None
    assert net.head.weight.grad is None


@pytest.mark.reliability("C4")
def test_hooks_are_installed_once_and_removed_on_request() -> None:
    """Fails when `FeatureExtractor.remove` leaves the hooks."""
    net = VideoNet()
    extractor = kd.FeatureExtractor(net, LAYERS)
    for _ in range(3):
        extractor(clips())
    assert hooks_on(net) == 2
    assert extractor.remove() is net
    assert hooks_on(net) == 0
    with pytest.raises(kd.CaptureError, match="'stem'"):
        extractor(clips())


def test_the_bare_model_records_nothing() -> None:
    net = VideoNet()
    extractor = kd.FeatureExtractor(net, LAYERS)
    kept = []
    handle = net.stem.register_forward_hook(lambda module, inputs, out: kept.append(weakref.ref(out)))
    net(clips())
    extractor(clips())
    handle.remove()
    gc.collect()
    assert [reference() for reference in kept] == [None, None]


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_nothing_is_kept_after_an_exception(error: BaseException) -> None:
    net = Breaks()
    extractor = kd.FeatureExtractor(net, ["stem"])
    kept = []
    handle = net.stem.register_forward_hook(lambda module, inputs, out: kept.append(weakref.ref(out)))
    net.error = error
    with pytest.raises(type(error)):
        extractor(clips())
    handle.remove()
    net.error = None
    error.__traceback__ = None
    gc.collect()
    assert kept[0]() is None
    assert extractor._recorder.seen is None
    net(clips())
    assert extractor(clips()).features["stem"].shape == (2, 4, 4, 6, 6)


def test_layer_that_never_runs_is_an_error_that_names_it() -> None:
    with pytest.raises(kd.CaptureError, match=r"'block' \(role 'b'\) did not run.*torch\.compile"):
        kd.FeatureExtractor(Skips(), {"block": "b"})(clips())


def test_replaced_layer_is_an_error_and_not_a_stale_tensor() -> None:
    net = VideoNet()
    extractor = kd.FeatureExtractor(net, LAYERS)
    extractor(clips())
    net.stem = nn.Conv3d(3, 4, 3, padding=1)
    with pytest.raises(kd.CaptureError, match="'stem'"):
        extractor(clips())


def test_layer_that_runs_twice_is_an_error() -> None:
    with pytest.raises(kd.CaptureError, match=r"'head'.* ran 2 times"):
        kd.FeatureExtractor(Twice(), ["head"])(clips())


def test_overwritten_output_is_an_error() -> None:
    with pytest.raises(kd.CaptureError, match=r"'stem'.*overwritten in place.*inplace=False"):
        kd.FeatureExtractor(Overwrites(), ["stem"])(clips())


def test_overwritten_through_a_view_is_an_error() -> None:
    extractor = kd.FeatureExtractor(Overwrites(), ["stem"], select={"stem": lambda output: output[:, :1]})
    with pytest.raises(kd.CaptureError, match="overwritten"):
        extractor(clips())


def test_in_place_layer_itself_can_be_tapped() -> None:
    net = VideoNet()
    net.block[1] = nn.ReLU(inplace=True)
    output = kd.FeatureExtractor(net, ["block.1"])(clips())
    assert (output.features["block.1"] >= 0).all()


def test_inference_mode_gives_the_output_of_the_layer_itself() -> None:
    net = Overwrites()
    with torch.inference_mode():
        feature = kd.FeatureExtractor(net, ["stem"])(clips()).features["stem"]
        assert torch.equal(feature, net.stem(clips()))


def test_reentrant_checkpoint_is_an_error() -> None:
    extractor = kd.FeatureExtractor(Checkpoints(reentrant=True), ["stem"])
    with pytest.raises(kd.CaptureError, match=r"'stem'.*without gradient.*use_reentrant=False"):
        extractor(clips().requires_grad_())
    with torch.no_grad():
        assert "stem" in extractor(clips().requires_grad_()).features
    extractor.requires_grad_(False)
    assert "stem" in extractor(clips().requires_grad_()).features


def test_other_checkpoints_give_the_same_gradient() -> None:
    net, plain = Checkpoints(reentrant=False), Skips()
    plain.load_state_dict(net.state_dict())
    for model in (net, plain):
        output = kd.FeatureExtractor(model, ["stem"])(clips())
        (output.logits.sum() + output.features["stem"].square().sum()).backward()
    assert torch.equal(net.stem.weight.grad, plain.stem.weight.grad)


@pytest.mark.reliability("C7")
@pytest.mark.parametrize("how", ["torch.compile", "compile in place", "compiled block"])
def test_wrapping_after_compile_is_refused(how: str) -> None:
    """Fails when `_is_compiled` does not see modules that were compiled in place."""
    net = VideoNet()
    if how == "torch.compile":
        net = torch.compile(net, backend="eager")
    elif how == "compile in place":
        net.compile(backend="eager")
    else:
        net.block = torch.compile(net.block, backend="eager")
    path = "block._orig_mod.1" if how == "compiled block" else "block.1"
    with pytest.raises(ValueError, match="wrap the plain model first"):
        kd.FeatureExtractor(net, {path: "x"})


@pytest.mark.parametrize(
    ("kind", "by_operator", "by_function"),
    [
        ("tuple", operator.itemgetter(0), lambda output: output[0]),
        ("dict", operator.itemgetter("logits"), lambda output: output["logits"]),
        ("dataclass", operator.attrgetter("logits"), lambda output: output.logits),
    ],
)
def test_selectors_take_the_tensor_out(kind: str, by_operator, by_function) -> None:
    net = Wraps(kind).eval()
    for logits in (by_operator, by_function):
        extractor = kd.FeatureExtractor(net, ["middle"], select={"middle": operator.itemgetter(1)}, logits=logits)
        output = extractor(clips())
        assert torch.equal(output.logits, net.net(clips()))
        assert torch.equal(output.features["middle"], 2 * net.net(clips()))


def test_outputs_without_selector_say_what_they_are() -> None:
    net = Wraps("dict")
    with pytest.raises(
        ValueError, match=r"dict with keys \['scores'\].*logits=lambda output: output\['scores'\].*logits=None"
    ):
        kd.FeatureExtractor(nn.Sequential(net, Renamed()))(clips())
    with pytest.raises(
        ValueError, match=r"\(role 'm'\) must give a tensor, got a tuple of length 2.*as in \{'middle\[0\]': 'm'\}"
    ):
        kd.FeatureExtractor(net, {"middle": "m"}, logits=None)(clips())


class Renamed(nn.Module):
    def forward(self, output: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"scores": output["logits"]}


class Named(nn.Module):
    """Gives its logits as an attribute, as Hugging Face's outputs and dataclasses do."""

    def forward(self, output: dict[str, Tensor]) -> SimpleNamespace:
        return SimpleNamespace(loss=None, logits=output["logits"])


def test_logits_are_found_by_their_name() -> None:
    net = Wraps("dict")
    expected = net(clips())["logits"]
    for wrapped in (net, nn.Sequential(net, Named())):
        assert torch.equal(kd.FeatureExtractor(wrapped)(clips()).logits, expected)


def test_one_layer_may_have_several_roles() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    features = kd.FeatureExtractor(net, {"1": ["a", "b"], "0": "c"})(torch.randn(2, 3)).features
    assert list(features) == ["a", "b", "c"]
    assert torch.equal(features["a"], features["b"])


def test_a_layer_that_was_replaced_is_noticed() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    student = kd.Student(net, {"0": "h"})
    net[0] = nn.Sequential(net[0], nn.Linear(4, 4))  # as an adapter that is injected around the layer
    with pytest.raises(kd.CaptureError, match=r"layer '0' \(role 'h'\) is another module.*wrap again"):
        student(torch.randn(2, 3))


class Momentum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online, self.momentum = nn.Linear(3, 4), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.momentum(x)
        return self.online(x) - target


def test_a_branch_without_gradient_is_allowed_where_it_is_named() -> None:
    with pytest.raises(kd.CaptureError, match=r"without_gradient=\['m'\]"):
        kd.Student(Momentum(), {"momentum": "m"})(torch.randn(2, 3))
    student = kd.Student(Momentum(), {"momentum": "m", "online": "o"}, without_gradient=["m"])
    features = student(torch.randn(2, 3)).features
    assert (features["m"].requires_grad, features["o"].requires_grad) == (False, True)
    with pytest.raises(ValueError, match=r"without_gradient= names the roles \['x'\]"):
        kd.Student(Momentum(), {"momentum": "m"}, without_gradient=["x"])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (None, "got None: pass logits=None"),
        (kd.Output(None, {}), "got None: pass logits=None"),
        ({}, r"got a dict with keys \[\]: pass logits=None"),
        (torch.zeros(2, 5).numpy(), "got a ndarray: pass logits=None"),
    ],
)
def test_outputs_without_logits_say_so(output: object, message: str) -> None:
    net = nn.Linear(3, 4)
    net.register_forward_hook(lambda *_: SimpleNamespace(logits=None) if output is None else output)
    for wrapper in (kd.Teacher, kd.Student):
        with pytest.raises(ValueError, match=message):
            wrapper(copy.deepcopy(net))(torch.zeros(2, 3))


def test_a_network_may_return_an_output() -> None:
    inner = kd.FeatureExtractor(nn.Linear(3, 4), {"": "f"})
    output = kd.FeatureExtractor(inner, {"model": "g"})(x := torch.randn(2, 3))
    assert torch.equal(output.logits, inner.model(x))
    assert torch.equal(output.raw.features["f"], output.features["g"])


@pytest.mark.parametrize("wrapper", [kd.FeatureExtractor, kd.Student, kd.Teacher])
def test_what_is_no_module_is_refused(wrapper: type) -> None:
    for model, shown in ((len, "builtin_function_or_method"), (nn.Linear, "the class Linear"), (None, "None")):
        with pytest.raises(ValueError, match=f"model must be a torch module, got .*{shown}.*: "):
            wrapper(model)


def test_after_remove_there_is_nothing_to_give() -> None:
    extractor = kd.FeatureExtractor(nn.Linear(3, 4), {"": "f"})
    extractor.remove()
    with pytest.raises(kd.CaptureError, match=r"\(role 'f'\) is not tapped any more: wrap the model again"):
        extractor(torch.zeros(2, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_says_what_to_do() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    x = torch.randn(2, 3)
    for scripted in (torch.jit.script(net), torch.jit.trace(net, x), nn.ModuleList([torch.jit.script(net)])):
        path = "0.1" if isinstance(scripted, nn.ModuleList) else "1"
        with pytest.raises(ValueError, match=f"layer '{path}' must be of a module in Python, got TorchScript"):
            kd.FeatureExtractor(scripted, [path])
    assert torch.equal(kd.Teacher(torch.jit.script(copy.deepcopy(net)))(x).logits, net(x))
    student = kd.Student(net, ["1"])
    with pytest.raises(AttributeError, match=r"layer '1' .* cannot compile: .*copy.deepcopy\(student\).remove\(\)"):
        torch.jit.script(student.model)
    assert torch.equal(torch.jit.script(copy.deepcopy(student).remove())(x), net(x))


def test_hints_fit_the_output() -> None:
    class Attention(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None]:
            return x, None

    net = nn.Sequential(Attention())
    with pytest.raises(ValueError, match=r'attn_implementation="eager"'):
        kd.FeatureExtractor(net, {"0": "map"}, select={"map": lambda output: output[1]}, logits=None)(torch.ones(1))


def test_no_logits_wanted() -> None:
    output = kd.FeatureExtractor(Wraps("dict"), ["net"], logits=None)(clips())
    assert output.logits is None
    assert list(output.features) == ["net"]


def test_early_exit_stops_after_the_last_tapped_layer() -> None:
    net, ran = Breaks(), []
    net.head.register_forward_hook(lambda *_: ran.append("head"))
    net.error = RuntimeError("ran on")
    extractor = kd.FeatureExtractor(net, ["stem"], logits=None, early_exit=True)
    output = extractor(clips())
    assert output.logits is None
    assert torch.equal(output.features["stem"], net.stem(clips()))
    assert ran == []
    assert extractor._recorder.seen is None


def test_early_exit_of_an_outer_extractor_passes_through_an_inner_one() -> None:
    net = VideoNet()
    inner = kd.FeatureExtractor(net, ["stem", "block"], logits=None, early_exit=True)
    outer = kd.FeatureExtractor(inner, ["model.stem"], logits=None, early_exit=True)
    assert list(outer(clips()).features) == ["model.stem"]
    assert list(inner(clips()).features) == ["stem", "block"]


def test_copies_record_for_themselves() -> None:
    extractor = kd.FeatureExtractor(VideoNet(), LAYERS)
    for again in (copy.deepcopy(extractor), pickle.loads(pickle.dumps(extractor))):
        with torch.no_grad():
            again.model.stem.weight.mul_(2)
        expected, other = again.model.stem(clips()), extractor.model.stem(clips())
        assert torch.equal(again(clips()).features["low"], expected)
        assert torch.equal(extractor(clips()).features["low"], other)
        assert not torch.equal(expected, other)
        again.remove()
        assert hooks_on(again) == 0
        assert hooks_on(extractor) == 2


def test_copy_of_the_bare_model_is_a_model_like_any_other() -> None:
    extractor = kd.FeatureExtractor(VideoNet(), LAYERS)
    bare = copy.deepcopy(extractor.model)
    assert torch.equal(bare.eval()(clips()), extractor.eval()(clips()).logits)


def test_two_extractors_on_one_model_do_not_meet() -> None:
    net = VideoNet()
    low, high = kd.FeatureExtractor(net, {"stem": "x"}), kd.FeatureExtractor(net, {"block": "x"})
    assert torch.equal(low(clips()).features["x"], net.stem(clips()))
    assert not torch.equal(low(clips()).features["x"], high(clips()).features["x"])


@pytest.mark.reliability("C11")
def test_threads_on_one_extractor_do_not_meet() -> None:
    """Fails when `Recorder` is not local to a thread."""
    net = VideoNet(norm=False)
    extractor = kd.FeatureExtractor(net, ["stem", "block"])
    both_inside = threading.Barrier(2, timeout=60)
    outputs: dict[int, kd.Output] = {}

    def wait(*_: object) -> None:
        both_inside.wait()

    net.block.register_forward_pre_hook(wait)

    def run(seed: int) -> None:
        outputs[seed] = extractor(clips(seed=seed))

    threads = [threading.Thread(target=partial(run, seed)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both_inside.abort()
    net.block._forward_pre_hooks.clear()
    for seed in (1, 2):
        torch.testing.assert_close(outputs[seed].features["stem"], net.stem(clips(seed=seed)))
