"""torch.compile(fullgraph=True), with the backends that need no C++ compiler."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

import kdvideo as kd
from tests.core.nets import Overwrites, Skips, VideoNet, Wraps, clips

LAYERS = {"stem": "low", "block": "high"}
BACKENDS = ["eager", "aot_eager"]


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(module: Callable, backend: str = "eager") -> Callable:
    return torch.compile(module, fullgraph=True, backend=backend)


@pytest.mark.reliability("C8")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_step_compiles_whole_and_gives_the_same_gradients(backend: str) -> None:
    """Fails when the copy that `Tap` keeps under a compiler is detached."""
    torch.manual_seed(0)
    eager = kd.Student(VideoNet(), LAYERS, projectors={"low": kd.projectors.conv(4, 4)})
    student = copy.deepcopy(eager)
    teacher = kd.Teacher(VideoNet(channels=2), LAYERS)
    ramp = kd.schedules.Linear(0.0, 1.0, steps=4)
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("low") + ramp * kd.SoftTarget()

    def step(model: nn.Module, rgb: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
        return criterion(model(rgb), teacher(flow), step=2)

    for run, model in ((step, eager), (compiled(step, backend), student)):
        for seed in (0, 1):
            run(model, clips(seed=seed), clips(channels=2, seed=seed)).backward()
    for ours, theirs in zip(student.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("options", [{}, {"dtype": torch.bfloat16}, {"logits": None, "early_exit": True}], ids=str)
def test_teacher_compiles_whole(options: dict) -> None:
    teacher = kd.Teacher(VideoNet(), LAYERS, **options)
    expected, output = teacher(clips()), compiled(teacher, "aot_eager")(clips())
    assert type(output) is kd.Output
    assert (output.logits is None) == (expected.logits is None)
    assert torch.equal(output.features["high"], expected.features["high"])
    assert not output.features["high"].requires_grad


def test_compiled_student_follows_train_and_eval() -> None:
    student = kd.Student(VideoNet(dropout=0.5), LAYERS)
    run = compiled(student)
    student.eval()
    assert torch.equal(run(clips()).logits, student(clips()).logits)
    student.train()
    assert not torch.equal(run(clips()).logits, run(clips()).logits)


def test_overwritten_output_is_the_output_of_the_layer() -> None:
    net = Overwrites()
    feature = compiled(kd.FeatureExtractor(net, ["stem"]), "aot_eager")(clips()).features["stem"]
    assert torch.equal(feature, net.stem(clips()))


def test_selectors_compile() -> None:
    net = Wraps("dict")
    extractor = kd.FeatureExtractor(
        net, ["middle"], select={"middle": lambda pair: pair[1]}, logits=lambda output: output["logits"]
    )
    output = compiled(extractor)(clips())
    assert torch.equal(output.features["middle"], 2 * output.logits)


@pytest.mark.reliability("C7")
@pytest.mark.parametrize("fullgraph", [True, False])
def test_layer_that_never_runs_is_an_error(fullgraph: bool) -> None:
    """Fails when `_chosen` gives nothing for a layer that did not run, instead of raising."""
    run = torch.compile(kd.FeatureExtractor(Skips(), ["block"]), fullgraph=fullgraph, backend="eager")
    with pytest.raises(RuntimeError, match=r"layer 'block'.*did not run"):
        run(clips())


@pytest.mark.reliability("C7")
@pytest.mark.parametrize("inside", [False, True])
def test_inner_model_compiled_after_wrapping_is_never_stale(inside: bool) -> None:
    """Fails when `FeatureExtractor.forward` keeps what an earlier pass recorded."""
    student = kd.Student(VideoNet(), LAYERS).eval()
    expected = student(clips(seed=1)).features["low"]
    if inside:
        student.model.compile(backend="eager")
    else:
        student.model = torch.compile(student.model, backend="eager")
    student(clips(seed=0))
    assert torch.equal(student(clips(seed=1)).features["low"], expected)


@pytest.mark.reliability("C7")
def test_hooks_that_a_compiled_model_ignores_are_an_error() -> None:
    """Fails when `_chosen` gives nothing for a layer that did not run, instead of raising."""
    net = VideoNet()
    run = torch.compile(net, backend="eager")
    run(clips())
    extractor = kd.FeatureExtractor(net, LAYERS)
    extractor.model = run
    with pytest.raises(kd.CaptureError, match=r"'stem'.*wrap before torch\.compile"):
        extractor(clips())


@pytest.mark.reliability("C11")
@pytest.mark.parametrize("first", [0, 1])
def test_two_extractors_on_one_model_compile(first: int) -> None:
    """Fails when all extractors share one `Recorder`."""
    net = VideoNet().eval()
    extractors = [kd.Student(net, {"stem": "x"}), kd.FeatureExtractor(net, {"head": "x"})]
    for extractor in (extractors[first], extractors[1 - first]):
        assert torch.equal(compiled(extractor)(clips()).features["x"], extractor(clips()).features["x"])
