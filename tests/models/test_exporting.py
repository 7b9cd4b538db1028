"""Exported programs: the network's logits from raw frames, in any batch, with class names and input inside."""

import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from kdvideo import models
from kdvideo.cli import main
from kdvideo.models import export_formats, exporting, pte
from kdvideo.models.network import InputSpec, Network


class Small(Network):
    """One convolution and a classifier; `odd` is applied to the logits."""

    def __init__(self, channels=3, frames=8, odd=None, spec=None):
        super().__init__()
        torch.manual_seed(0)
        self.config = {"architecture": "small", "in_channels": channels, "num_classes": 4}
        self.conv, self.proj, self.odd = nn.Conv3d(channels, 64, 3), nn.Linear(64, 4), odd
        self.input_spec = spec or InputSpec(frames, 16)
        self.classes = ("a", "b", "c", "d")

    def forward(self, clip):
        logits = self.proj(self.conv(clip).relu().mean((2, 3, 4)))
        return logits if self.odd is None else self.odd(logits)


@pytest.fixture(scope="module")
def network():
    """A tiny S3D-G whose logits hang on the clip, fed in (0, 1) with mean and std."""
    torch.manual_seed(0)
    network = models.s3dg(3, depth_multiplier=0.125, min_depth=8).eval()
    layers = [module for module in network.modules() if isinstance(module, (nn.Conv3d, nn.Linear))]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
    with torch.no_grad():
        layers[-1].weight.mul_(10)  # so that the logits hang on the clip, whatever this version of torch draws
    network.input_spec = InputSpec(24, 32, value_range=(0.0, 1.0), mean=(0.4, 0.45, 0.5), std=(0.2, 0.25, 0.3))
    network.classes = ("run", "jump", "sit")
    return network


def frames(batch, time=24, size=32):
    return torch.randint(256, (batch, 3, time, size, size), generator=torch.Generator().manual_seed(1)).byte()


@torch.no_grad()
def same(network, program, raw):
    expected = network(network.input_spec.prepare(raw))
    assert expected.std() > 1e-3, "the logits must hang on the clip"
    return torch.allclose(program(raw), expected, atol=1e-4)


ELSEWHERE = """
import sys, torch
extra = {"kdvideo.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
assert not any(name.split(".")[0] == "kdvideo" for name in sys.modules)
print(extra["kdvideo.json"])
"""


def test_s3dg_as_pt2_in_any_batch_and_length(network, tmp_path):
    """Fails when the normalization is left out, or when batch or time is traced as a constant."""
    done = models.export(network, tmp_path / "a.pt2", recorded={"stream": "rgb", "short_side": 36})
    assert done.difference < 1e-4
    assert "frames" in str(done)
    program = torch.export.load(tmp_path / "a.pt2").module()
    for batch, time in [(1, 24), (3, 24), (2, 40), (1, 16)]:
        assert same(network, program, frames(batch, time))
    with pytest.raises(AssertionError, match="% 8 == 0"):  # of 17 frames the logits would be others
        program(frames(1, 17))
    told = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "a.pt2")], check=True, capture_output=True, text=True
    )
    description = json.loads(told.stdout)
    assert description["classes"] == ["run", "jump", "sit"]
    assert description["input"] | {"stream": "rgb", "short_side": 36, "size": 32, "frames": 24} == description["input"]


@pytest.mark.slow
@pytest.mark.parametrize("build", [models.s3d, models.i3d])
def test_s3d_and_i3d_take_any_length_too(build, tmp_path):
    """Fails when a layer is traced for one length."""
    network = build(3, depth_multiplier=0.125, min_depth=8).eval()
    network.input_spec = InputSpec(24, 32)
    assert models.export(network, tmp_path / "a.pt2").frames == "16, 24, ..."


class OneLength(Small):
    """Holds its number of frames in a comparison."""

    def forward(self, clip):
        return super().forward(clip if clip.shape[2] == 24 else clip.flip(2))


def test_what_fixes_the_length_is_said(tmp_path):
    """Fails when the reason why T could not be freed is lost."""
    done = models.export(OneLength(frames=24), tmp_path / "a.pt2")
    assert done.frames.startswith("24 (no other number: ")


def test_s3dg_as_onnx(network, tmp_path):
    """Fails when the batch is a constant, or when the metadata are left out."""
    runtime = pytest.importorskip("onnxruntime")
    done = models.export(network, tmp_path / "a.onnx")
    assert done.frames == "24"
    session = runtime.InferenceSession(tmp_path / "a.onnx")
    for batch in (1, 5):
        assert same(network, lambda raw: torch.from_numpy(session.run(None, {"frames": raw.numpy()})[0]), frames(batch))
    meta = session.get_modelmeta().custom_metadata_map
    assert json.loads(meta["kdvideo"])["classes"] == ["run", "jump", "sit"]
    assert b"/site-packages/" not in (tmp_path / "a.onnx").read_bytes(), "paths of the machine that wrote it"


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_int8_is_smaller_and_close(tmp_path, suffix):
    """Fails when float weights stay in the file, or when the network itself is changed."""
    pytest.importorskip("torchao")
    pytest.importorskip("onnxruntime")
    network = Small().eval()
    network.conv = nn.Sequential(network.conv, nn.Conv3d(64, 512, 3))
    network.proj = nn.Linear(512, 4)
    whole = models.export(network, tmp_path / f"float{suffix}")
    small = models.export(network, tmp_path / f"int8{suffix}", int8=True)
    assert whole.int8_difference is None
    assert 0 < small.int8_difference < 0.05
    assert small.path.stat().st_size < 0.4 * whole.path.stat().st_size
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters()), "it is a copy"


def test_the_weights_of_each_channel_have_their_own_scale():
    """Fails when one scale stands for all channels: the second one is then zero."""
    pytest.importorskip("torchao")
    layer = nn.Linear(8, 2, bias=False)
    exact = torch.stack([torch.linspace(-100, 100, 8), torch.linspace(-1e-3, 1e-3, 8)])
    layer.weight.data = exact.clone()
    restored = models.int8.quantize(layer).weight
    assert ((restored - exact).abs().amax(1) <= exact.abs().amax(1) / 254 * 1.01).all()


@torch.no_grad()
def test_flow_is_taken_in_its_range(tmp_path):
    network = Small(channels=2, frames=5).eval()
    done = models.export(network, tmp_path / "flow.pt2")
    assert done.frames == "5"
    clip = torch.rand(3, 2, 5, 16, 16) * 2 - 1
    assert torch.allclose(torch.export.load(tmp_path / "flow.pt2").module()(clip), network(clip), atol=1e-5)


def test_an_operation_that_onnx_lacks_is_named(tmp_path):
    """Fails when the exporter's own error comes through."""
    pytest.importorskip("onnxruntime")
    with pytest.raises(ValueError, match=r"^ONNX lacks the operation prims.bessel_j0"):
        models.export(Small(odd=torch.special.bessel_j0), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_traced_is_named(tmp_path):
    odd = lambda logits: logits if logits.sum() > 0 else -logits  # noqa: E731
    with pytest.raises(ValueError, match=r"^torch.export cannot follow "):
        models.export(Small(odd=odd), tmp_path / "a.pt2")


LAYERS = {
    "convolution": nn.Conv3d(4, 6, (3, 5, 3), (2, 1, 2), (1, 2, 0), (1, 1, 2), groups=2),
    "convolution without bias": nn.Conv3d(4, 6, (4, 3, 3), dilation=(2, 1, 1), bias=False),
    "maxima": nn.MaxPool3d((3, 2, 3), (2, 2, 1), (1, 0, 1)),
    "maxima at their own stride": nn.MaxPool3d(2),
    "means": nn.AvgPool3d((3, 2, 2), (2, 1, 1), (1, 0, 0)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_over_time_as_layers_of_pictures(name):
    """Fails when a frame of the kernel, a stride or a padding is left out, or when a batch mixes with time."""
    layer, clip = LAYERS[name].eval(), torch.randn(2, 4, 9, 8, 8) - 1
    program = torch.export.export(layer, (clip,))
    changed = pte.of_pictures(program)
    assert not [node.target for node in changed.graph.nodes if "3d" in str(node.target)]
    with torch.no_grad():
        torch.testing.assert_close(changed.module()(clip), layer(clip), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_s3dg_as_layers_of_pictures(network):
    """Fails when a layer views what is not in the plain order."""
    deployed = exporting.Deployed(network, network.input_spec, 3).eval()
    raw = frames(1)
    program = pte.of_pictures(export_formats.trace(deployed, raw, free_time=False, free_batch=False))
    assert same(network, program.module(), raw)


def test_s3dg_as_pte(network, tmp_path):
    """Fails when the program takes another number of clips than one, or when its description is left out."""
    runtime = pytest.importorskip("executorch.runtime", reason="executorch is not installed")
    done = models.export(network, tmp_path / "a.pte")
    assert str(done).count("24 frames one at a time") == 1
    program = runtime.Runtime.get().load_program(tmp_path / "a.pte")
    method = program.load_method("forward")
    assert same(network, lambda raw: method.execute([raw])[0], frames(1))
    (text,) = program.load_method("kdvideo").execute([])
    assert json.loads(text)["classes"] == ["run", "jump", "sit"]


def test_a_pte_without_executorch_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(pte, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install executorch, or export to \.onnx or \.pt2"):
        models.export(Small(), tmp_path / "a.pte")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("off", [2e-4, float("nan")])
def test_a_program_with_other_logits_is_not_written(tmp_path, monkeypatch, off):
    """Fails when the comparison is left out, or lets NaN pass."""
    right = export_formats.from_pt2
    monkeypatch.setattr(exporting, "from_pt2", lambda data: lambda clip: right(data)(clip) + off)
    with pytest.raises(ValueError, match=r"must give the network's logits, got .* nothing was written"):
        models.export(Small(), tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("missing", "suffix", "int8"), [("onnxruntime", ".onnx", False), ("torchao", ".pt2", True)])
def test_a_missing_extra_is_named(tmp_path, monkeypatch, missing, suffix, int8):
    for name in (missing, f"{missing}.quantization"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"{missing}: run pip install \"kdvideo\[export\]\""):
        models.export(Small(), tmp_path / f"a{suffix}", int8=int8)


def test_the_command(tmp_path, capsys):
    weights, out = tmp_path / "i3d.safetensors", tmp_path / "i3d.pt2"
    network = models.i3d(2, depth_multiplier=0.125, min_depth=8)
    spec = {"frames": 8, "crop": 32, "stream": "rgb", "fps": 25.0}
    models.checkpoints.save(network, weights, classes=["run", "jump"], input_spec=spec)
    assert main(["export", str(weights), str(out)]) == 0
    assert "clips of 8 frames" in capsys.readouterr().out
    extra = {"kdvideo.json": ""}
    torch.export.load(io.BytesIO(out.read_bytes()), extra_files=extra)
    assert json.loads(extra["kdvideo.json"])["input"]["fps"] == 25.0
    for arguments, says in [([], "exists: --force replaces it"), (["--int8"], "exists")]:
        assert main(["export", str(weights), str(out), *arguments]) == 1
        assert says in capsys.readouterr().err
    assert main(["export", str(weights), str(tmp_path / "a.tflite")]) == 1
    assert "must end in .pt2, .onnx or .pte, got a.tflite" in capsys.readouterr().err


def test_numbers_of_a_file_are_plain(tmp_path):
    spec = dataclasses.replace(InputSpec(8, 16), fps=np.float64(25).item())
    models.export(Small(spec=spec), tmp_path / "a.pt2")
