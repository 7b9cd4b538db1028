"""Options of a teacher: statistics of the batch, compiling; and what it shares with a student."""

import copy
import gc
import warnings

import pytest
import torch
from torch import Tensor, nn

import kdvideo as kd
from tests.core.nets import VideoNet, Wraps, clips
from tests.core.test_teacher import LAYERS, fingerprint


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def normalized(net: VideoNet, x: Tensor) -> Tensor:
    """What a VideoNet gives with the statistics of the batch, written out."""
    stem = net.stem(x)
    mean = stem.mean((0, 2, 3, 4), keepdim=True)
    variance = ((stem - mean) ** 2).mean((0, 2, 3, 4), keepdim=True)
    shape = (1, -1, 1, 1, 1)
    norm = net.block[0]
    scaled = (stem - mean) / (variance + norm.eps).sqrt() * norm.weight.reshape(shape) + norm.bias.reshape(shape)
    return net.head(scaled.relu().mean((2, 3, 4)))


@pytest.mark.parametrize("way", ["eager", "compiled", "copied", "average"])
def test_batch_statistics(way: str) -> None:
    net = VideoNet(dropout=0.5)
    build = kd.EMATeacher if way == "average" else kd.Teacher
    teacher = build(net, LAYERS, batch_statistics=True)
    run = {"compiled": torch.compile(teacher, fullgraph=True, backend="eager"), "copied": copy.deepcopy(teacher)}
    before = fingerprint(teacher)
    for seed in range(2):
        logits = run.get(way, teacher)(clips(seed=seed)).logits
        torch.testing.assert_close(logits, normalized(net, clips(seed=seed)).detach())
    assert fingerprint(teacher) == before
    assert not torch.allclose(logits, kd.Teacher(net)(clips(seed=1)).logits)
    assert net.block[0].track_running_stats


@pytest.mark.reliability("C1")
def test_batch_statistics_are_given_back_after_an_error() -> None:
    """Fails when `Teacher.forward` gives the modes of BatchNorm back only after a pass that went well."""
    teacher = kd.Teacher(VideoNet(), batch_statistics=True)
    with pytest.raises(RuntimeError):
        teacher(clips(channels=2))
    assert not teacher.model.block[0].training
    assert teacher.model.block[0].track_running_stats


def test_batch_statistics_need_a_norm() -> None:
    net = VideoNet(norm=False)
    with pytest.raises(ValueError, match="needs a BatchNorm"):
        kd.Teacher(net, LAYERS, batch_statistics=True)
    assert not net.stem._forward_hooks
    assert net.head.weight.requires_grad


def test_raw_stays_as_the_network_gave_it() -> None:
    raw = kd.Teacher(Wraps("dict"), logits=lambda o: o["logits"], dtype=torch.bfloat16)(clips()).raw
    assert raw["logits"].dtype == torch.bfloat16


@pytest.mark.parametrize("options", [{}, {"dtype": torch.bfloat16}, {"device": "cpu"}])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_teacher_compiles_whole(options: dict, backend: str) -> None:
    teacher = kd.Teacher(VideoNet(), LAYERS, **options)
    output = torch.compile(teacher, fullgraph=True, backend=backend)(clips())
    expected = teacher(clips())
    torch.testing.assert_close((output.logits, output.features), (expected.logits, expected.features))
    assert not output.logits.requires_grad


def test_a_compiled_network_teaches_by_its_logits() -> None:
    net = VideoNet()
    teacher = kd.Teacher(torch.compile(net, backend="eager"))
    assert torch.equal(teacher(clips()).logits, net(clips()))
    assert not net.head.weight.requires_grad
    with pytest.raises(ValueError, match="compile"):
        kd.Teacher(torch.compile(net, backend="eager"), LAYERS)


def test_an_exported_program_teaches_by_its_logits() -> None:
    net = VideoNet().eval()
    exported = torch.export.export(net, (clips(),)).module()
    teacher = kd.Teacher(exported).train()
    assert not teacher.training
    torch.testing.assert_close(teacher(clips()).logits, net(clips()).detach())


def test_a_function_is_no_module() -> None:
    with pytest.raises(ValueError, match=r"must be a torch module, got a function.*kd\.Output"):
        kd.Teacher(lambda x: x)


def test_a_student_must_not_share_what_a_teacher_froze() -> None:
    layers = [nn.Linear(4, 4) for _ in range(3)]
    teacher = kd.Teacher(nn.Sequential(*layers))
    half = nn.Sequential(layers[0], layers[2], nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"4 of them \(0\.weight, 0\.bias, 1\.weight, \.\.\.\).*deepcopy"):
        kd.Student(half, {"0": "h"})
    assert not layers[0]._forward_hooks
    teacher.release()
    kd.Student(half, {"0": "h"})


def test_what_the_user_froze_may_be_shared() -> None:
    head = nn.Linear(4, 2).requires_grad_(False)
    kd.Teacher(nn.Sequential(nn.Linear(4, 4), head))
    kd.Student(nn.Sequential(nn.Linear(4, 4), head))


def test_a_copy_is_not_shared() -> None:
    net = VideoNet()
    kd.Teacher(copy.deepcopy(net))
    kd.Teacher(net, dtype=torch.bfloat16)
    kd.EMATeacher(net)
    kd.Student(net)


def test_a_teacher_warns_before_it_freezes_what_a_student_learns() -> None:
    net = VideoNet()
    student = kd.Student(net, LAYERS)
    with pytest.warns(UserWarning, match=r"freezes parameters of a Student.*2 of them \(0\.weight") as caught:
        kd.Teacher(nn.Sequential(net.stem))
    assert caught[0].filename == __file__
    assert not student.model.stem.weight.requires_grad


@pytest.mark.parametrize("way", ["removed", "gone", "frozen"])
def test_a_network_that_has_learned_may_teach(way: str) -> None:
    net = VideoNet()
    student = kd.Student(net, LAYERS)
    if way == "removed":
        assert student.remove() is net
    elif way == "frozen":
        net.requires_grad_(False)
    else:
        del student
        gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kd.Teacher(net)


def test_one_network_with_and_without_an_adapter() -> None:
    peft = pytest.importorskip("peft")
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    without = net(torch.ones(2, 6)).detach()
    adapted = peft.get_peft_model(net, peft.LoraConfig(r=2, target_modules=["0", "2"], init_lora_weights=False))
    layers = {"base_model.model.0": "h"}
    student, teacher = kd.Student(adapted, layers), kd.FeatureExtractor(adapted, layers)
    student.train()
    with torch.no_grad(), adapted.disable_adapter():
        t = teacher(torch.ones(2, 6))
    s = student(torch.ones(2, 6))
    assert torch.equal(t.logits, without)
    assert not torch.allclose(s.features["h"], t.features["h"])
    (kd.SoftTarget()(s, t) + kd.FeatureMSE("h")(s, t)).backward()
    learned = [name for name, p in adapted.named_parameters() if p.grad is not None]
    assert len(learned) == 4
    assert all("lora" in name for name in learned)
