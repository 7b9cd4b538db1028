"""Networks as programs for machines without kdvideo: files of torch.export, ONNX and ExecuTorch.

Legend: B batch, C channels, T frames, H W space, K classes.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo.files import write_atomic
from kdvideo.models.export_formats import LEAST, STEP, Program, from_onnx, from_pt2, to_onnx, to_pt2, trace
from kdvideo.models.int8 import quantize
from kdvideo.models.network import InputSpec, Network
from kdvideo.models.pte import from_pte, to_pte

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exported:
    """What `export` wrote.

    Attributes:
        path: the file.
        frames: T that it takes, in words; of a `.pt2` whose T had to be fixed also what forbids another one.
        difference: the largest difference of a logit from that of the network.
        int8_difference: with int8, the largest difference of a logit from that in float32, on noise.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        ...     done = Exported(Path(file.name), frames="64", difference=1e-6)
        ...     str(done).removeprefix(f"{file.name}: ")
        '0.0 MB, clips of 64 frames in batches of any size; largest difference of a logit from eager: 1e-06'
    """

    path: Path
    frames: str
    difference: float
    int8_difference: float | None = None

    def __str__(self) -> str:
        batches = "one at a time" if self.path.suffix == ".pte" else "in batches of any size"
        size = f"{self.path.stat().st_size / 1e6:.1f} MB, clips of {self.frames} frames {batches}"
        lost = "" if self.int8_difference is None else f"; int8 from float32, on noise: {self.int8_difference:.1g}"
        return f"{self.path}: {size}; largest difference of a logit from eager: {self.difference:.1g}{lost}"


class Deployed(nn.Module):
    """A network with its normalization inside.

    Three channels are uint8 RGB frames (B, 3, T, H, W); others, such as flow, are float32 in `value_range`.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, spec: InputSpec, channels: int) -> None:
        super().__init__()
        self.network = network
        mean, std = torch.tensor(spec.mean or [0.0]), torch.tensor(spec.std or [1.0])
        low, high = spec.value_range
        scale, shift = ((high - low) / 255, low) if channels == 3 else (1.0, 0.0)
        self.register_buffer("scale", (scale / std).view(-1, 1, 1, 1))
        self.register_buffer("shift", ((shift - mean) / std).view(-1, 1, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits (B, K)."""
        logits: Tensor = self.network(frames.float() * self.scale + self.shift)
        return logits


def export(
    network: Network, path: str | Path, *, recorded: Mapping[str, Any] = MappingProxyType({}), int8: bool = False
) -> Exported:
    """Write a network as one file that runs without kdvideo: `.pt2` of torch.export, `.onnx`, or `.pte` of ExecuTorch.

    The program takes uint8 RGB frames (B, 3, T, H, W) as they are decoded, or flow as float32 in `value_range`; the
    normalization is inside. H, W are those of `input_spec`; B is free but in `.pte`, where it is 1, and in `.pt2`,
    where the network allows it, T in steps of 8. A JSON text of "classes", "input" and "config" is in the `.pt2`'s
    extra file `kdvideo.json`, in ONNX the metadata property "kdvideo", and what the `.pte`'s method `kdvideo` gives.
    Before the file appears it is read back and run, ONNX by onnxruntime, on noise in batches of other sizes than the
    one traced, and compared with the network.

    Args:
        network: any network of kdvideo; it is not changed.
        path: the file; its ending says the format.
        recorded: more about the input, as `checkpoints.load` gives it under "input".
        int8: store the weights of convolutions and linear layers as int8, with one scale for each output channel.
            The arithmetic stays float32: the file is smaller and not faster.

    Returns:
        What was written, and how far its logits are from those of the network; printed, it is a summary.

    Raises:
        ImportError: the extra `export` is not installed (ONNX and int8), or executorch (`.pte`).
        ValueError: another ending, an operation that the format lacks, which is named, or logits that differ by more
            than 1e-4 times the largest one, or 1.

    Examples:
        >>> import tempfile
        >>> class Mean(Network):  # a small one of your own
        ...     config = {"architecture": "mean", "num_classes": 2, "in_channels": 3}
        ...     input_spec = InputSpec(frames=8, size=32)
        ...
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.head = nn.Linear(3, 2)
        ...
        ...     def forward(self, clip):
        ...         return self.head(clip.mean((2, 3, 4)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = export(Mean(), f"{folder}/network.pt2")
        ...     done.path.name, done.difference < 1e-4
        ('network.pt2', True)
    """
    path = Path(path)
    if path.suffix not in (".pt2", ".onnx", ".pte"):
        raise ValueError(f"the file must end in .pt2, .onnx or .pte, got {path.name}")
    original = copy.deepcopy(network).cpu().eval()
    bare = quantize(copy.deepcopy(original)) if int8 else original
    shown = {**network.input_spec.to_dict(), **recorded, "channels": network.in_channels}
    description = json.dumps({"classes": list(network.classes), "input": shown, "config": network.config})
    with torch.no_grad():
        data, frames, difference = _written(bare, network, path.suffix, description)
        clip = _noise(network, 1, network.input_spec.frames)[1]
        lost = float((bare(clip) - original(clip)).abs().max()) if int8 else None
    write_atomic(path, data)
    return Exported(path, frames, difference, lost)


def _written(bare: nn.Module, network: Network, suffix: str, description: str) -> tuple[bytes, str, float]:
    """Return the bytes of the file, T in words, and the largest difference from eager."""
    frames, why = network.input_spec.frames, ""
    deployed = Deployed(bare, network.input_spec, network.in_channels).eval()
    clip, _ = _noise(network, 2, frames)
    if suffix == ".pt2" and frames % STEP == 0 and frames >= LEAST * STEP:
        try:
            data = to_pt2(trace(deployed, clip, free_time=True), description)
            difference = _check(from_pt2(data), bare, network, [(3, frames), (1, frames + STEP), (1, LEAST * STEP)])
            return data, f"{LEAST * STEP}, {LEAST * STEP + STEP}, ...", difference
        except (ValueError, AssertionError, RuntimeError) as error:  # not every network lets go of its length
            why = f" (no other number: {str(error).strip().partition(chr(10))[0]})"
    formats = {".pt2": (to_pt2, from_pt2), ".onnx": (to_onnx, from_onnx), ".pte": (to_pte, from_pte)}
    (write, read), one = formats[suffix], suffix == ".pte"  # ExecuTorch plans its memory for one size
    program = trace(deployed, clip[:1] if one else clip, free_time=False, free_batch=not one)
    data = write(program, description)
    return data, f"{frames}{why}", _check(read(data), bare, network, [(1, frames), *([] if one else [(3, frames)])])


def _check(run: Program, bare: nn.Module, network: Network, sizes: Sequence[tuple[int, int]]) -> float:
    """Return the largest difference from eager of the logits of noise, (batch, frames) in several sizes."""
    worst = 0.0
    for batch, frames in sizes:
        raw, clip = _noise(network, batch, frames)
        expected = bare(clip)
        off, most = float((run(raw) - expected).abs().max()), max(float(expected.abs().max()), 1.0)
        if not off <= TOLERANCE * most:
            raise ValueError(
                f"the exported program must give the network's logits, got {off:.2g} off where the largest is "
                f"{most:.2g}: nothing was written"
            )
        worst = max(worst, off)
    return worst


def _noise(network: Network, batch: int, frames: int) -> tuple[Tensor, Tensor]:
    """Return random frames as the program takes them, and as the network does."""
    spec, draws = network.input_spec, torch.Generator().manual_seed(batch)
    shape = (batch, network.in_channels, frames, spec.size, spec.size)
    if network.in_channels == 3:
        raw = torch.randint(256, shape, generator=draws, dtype=torch.uint8)
        return raw, spec.prepare(raw)
    low, high = spec.value_range
    raw = torch.rand(shape, generator=draws) * (high - low) + low
    return raw, spec.normalize(raw)
