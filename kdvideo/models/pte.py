"""Programs of ExecuTorch, for phones: its kernels are of pictures, so layers over time become sums over frames.

Legend: B batch, C channels, T frames, H W space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.export import ExportedProgram

from kdvideo.models.export_formats import operation

aten: Any = torch.ops.aten
Sizes = Sequence[int]


def to_pte(program: ExportedProgram, description: str) -> bytes:
    """Return the file of ExecuTorch, for its XNNPACK kernels; its method `kdvideo` gives the description.

    Raises:
        ImportError: executorch is not installed.
        ValueError: it lacks an operation; it is named.
    """
    if find_spec("executorch") is None:
        raise ImportError("a .pte file needs executorch: run pip install executorch, or export to .onnx or .pt2")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    kernels, methods = [XnnpackPartitioner()], {"kdvideo": description}
    try:
        edge = to_edge_transform_and_lower(of_pictures(program), partitioner=kernels, constant_methods=methods)
        data: bytes = edge.to_executorch().buffer
    except Exception as error:  # nearly any error of its many passes
        raise ValueError(f"ExecuTorch lacks {operation(error)}") from error
    return data


def from_pte(data: bytes) -> Callable[[Tensor], Tensor]:
    """Return the program in a file of ExecuTorch, run on the CPU."""
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(data).load_method("forward")
    if method is None:
        raise ValueError("the program must have a method forward")
    return lambda clip: method.execute([clip])[0]


def of_pictures(program: ExportedProgram) -> ExportedProgram:
    """Return the program with no operation over time and space at once."""
    for node in list(program.graph.nodes):
        if node.target is aten.contiguous.default:  # ExecuTorch knows no order of five axes but the plain one
            node.replace_all_uses_with(node.args[0])
            program.graph.erase_node(node)
    table: Any = torch.export.default_decompositions()
    table.update(
        {aten.conv3d.default: _conv3d, aten.max_pool3d.default: _max_pool3d, aten.avg_pool3d.default: _avg_pool3d}
    )
    changed: ExportedProgram = program.run_decompositions(table)
    return changed


def _conv3d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = (1,),
    padding: Sizes = (0,),
    dilation: Sizes = (1,),
    groups: int = 1,
) -> Tensor:
    """Convolve: the sum over the kernel's frames i of a convolution in space of the frames that lie under i."""
    stride, padding, dilation = _three(stride), _three(padding), _three(dilation)
    parts = _under_kernel(x, weight.shape[2], stride[0], padding[0], dilation[0], fill=0.0)
    space = (stride[1:], padding[1:], dilation[1:], groups)
    sums = [
        F.conv2d(_pictures(part), weight[:, :, i], bias if i == 0 else None, *space) for i, part in enumerate(parts)
    ]
    return _clip(reduce(torch.add, sums), len(x))


def _max_pool3d(
    x: Tensor,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = (0,),
    dilation: Sizes = (1,),
    ceil_mode: bool = False,
) -> Tensor:
    """Take the maxima in space, then over the frames under the kernel."""
    kernel, padding, dilation = _three(kernel), _three(padding), _three(dilation)
    stride = _three(stride) if len(stride) else kernel
    small = F.max_pool2d(_pictures(x), kernel[1:], stride[1:], padding[1:], dilation[1:], ceil_mode)
    parts = _under_kernel(_clip(small, len(x)), kernel[0], stride[0], padding[0], dilation[0], fill=float("-inf"))
    return reduce(torch.maximum, parts)


def _avg_pool3d(
    x: Tensor,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = (0,),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Take the means in space, then over the frames under the kernel."""
    kernel, padding = _three(kernel), _three(padding)
    stride = _three(stride) if len(stride) else kernel
    if ceil_mode or divisor_override is not None or not (count_include_pad or padding[0] == 0):
        raise NotImplementedError("aten.avg_pool3d.default with ceil_mode, a divisor or padding that does not count")
    small = F.avg_pool2d(_pictures(x), kernel[1:], stride[1:], padding[1:], count_include_pad=count_include_pad)
    parts = _under_kernel(_clip(small, len(x)), kernel[0], stride[0], padding[0], 1, fill=0.0)
    return reduce(torch.add, parts) / kernel[0]


def _under_kernel(x: Tensor, kernel: int, stride: int, padding: int, dilation: int, *, fill: float) -> list[Tensor]:
    """Return for each frame of a kernel the frames (B, C, T', H, W) that lie under it, window by window."""
    if padding:
        x = F.pad(x, (0, 0, 0, 0, padding, padding), value=fill)
    last = (x.shape[2] - dilation * (kernel - 1) - 1) // stride * stride
    return [x[:, :, i * dilation : i * dilation + last + 1 : stride] for i in range(kernel)]


def _pictures(x: Tensor) -> Tensor:
    """Return the frames of clips (B, C, T, H, W) as (B T, C, H, W)."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], *x.shape[3:])


def _clip(x: Tensor, batch: int) -> Tensor:
    """Return clips of B T frames, in the plain order: what follows may view it."""
    return x.reshape(batch, -1, *x.shape[1:]).transpose(1, 2).clone(memory_format=torch.contiguous_format)


def _three(sizes: Sizes) -> list[int]:
    return [*sizes] * 3 if len(sizes) == 1 else [*sizes]
