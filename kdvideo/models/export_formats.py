"""The formats of exported networks, torch.export's and ONNX: how a program is traced, written, read back and run."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

Program = Callable[[Tensor], Tensor]
DESCRIPTION = "kdvideo.json"
STEP, LEAST, MOST = 8, 2, 512  # frames of a step; steps of a clip whose length is free
INSTALL = 'run pip install "kdvideo[export]"'


def trace(network: nn.Module, clip: Tensor, *, free_time: bool, free_batch: bool = True) -> ExportedProgram:
    """Trace a network on clips, more than one where the batch is free; the time is so in steps of 8 frames.

    Raises:
        ValueError: an operation cannot be traced; it is named.
    """
    axes = {0: Dim("batch", min=1)} if free_batch else {}
    axes |= {2: STEP * Dim("steps", min=LEAST, max=MOST)} if free_time else {}
    try:
        with warnings.catch_warnings(action="ignore"):  # torch's own, about itself
            program = torch.export.export(network, (clip,), dynamic_shapes=(axes,))
    except Exception as error:  # nearly any error of any layer
        raise ValueError(f"torch.export cannot follow {operation(error)}") from error
    if free_time:
        # Those of PyTorch forbid a batch of one, for the sake of strides that no layer here hangs on; whoever frees
        # the time must run the program in several sizes. A length between two steps would go wrong unnoticed.
        program._guards_code = [f"L['frames'].size()[2] % {STEP} == 0"]
    for node in program.graph.nodes:
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack"):  # half the file, and paths of this machine
            node.meta.pop(key, None)
    return program


def to_pt2(program: ExportedProgram, description: str) -> bytes:
    """Return the file of torch.export, with a description as the extra file `kdvideo.json`."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={DESCRIPTION: description})
    return file.getvalue()


def from_pt2(data: bytes) -> Program:
    """Return the program in a file of torch.export."""
    program: Program = torch.export.load(io.BytesIO(data)).module()
    return program


def to_onnx(program: ExportedProgram, description: str) -> bytes:
    """Return the ONNX file, with a description as the metadata property "kdvideo".

    Raises:
        ImportError: the extra `export` is not installed.
        ValueError: ONNX lacks an operation; it is named.
    """
    _need("onnx", "onnxscript", "onnxruntime")
    try:
        with warnings.catch_warnings(action="ignore"):
            made: Any = torch.onnx.export(
                program, (), input_names=["frames"], output_names=["logits"], dynamo=True, verbose=False
            )
    except Exception as error:
        raise ValueError(f"ONNX lacks {operation(error)}") from error
    model = made.model_proto
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del model.metadata_props[:]
    model.metadata_props.add(key="kdvideo", value=description)
    data: bytes = model.SerializeToString()
    return data


def from_onnx(data: bytes) -> Program:
    """Return the program in an ONNX file, run by onnxruntime on the CPU in as many threads as torch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda clip: torch.from_numpy(session.run(None, {"frames": clip.numpy()})[0])


def _need(*packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            raise ImportError(f"ONNX needs {package}: {INSTALL}")


def operation(error: BaseException) -> str:
    """Return the operation that an exporter's error, or its cause, names; its first line where there is none."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        texts.append(str(cause))
        cause = cause.__cause__ or cause.__context__
    return _named(texts) or f"this network: {type(error).__name__}: {texts[0].strip().partition(chr(10))[0]}"


def _named(texts: Sequence[str]) -> str | None:
    for pattern in (r"op='([\w.]+)'", r"\b((?:aten|prims|torchvision)[.:]+\w+(?:\.\w+)?)", r"for '(torch\.\w+)'"):
        for text in texts:
            if found := re.search(pattern, text):
                return f"the operation {found[1]}"
    return None
