"""Weights in and out: the one-file form of a trained student, and TF-slim checkpoints."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from .i3d import i3d
from .s3dg import s3dg
from .tf_checkpoint import read_tf
from .tf_slim import from_tf_slim
from .zoo import pytorchvideo

__all__ = ["from_tf_slim", "load", "read_tf", "save"]

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {"s3dg": s3dg, "i3d": i3d, "pytorchvideo": pytorchvideo}


def save(
    model: nn.Module,
    path: str | Path,
    *,
    classes: list[str],
    input: dict[str, Any],
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a bare network as one safetensors file that also says how to build and feed it.

    Tensors carry the state dict's own names, so ``model.load_state_dict(safetensors.torch.load_file(path))`` works
    without kdvideo's reader. The file appears whole or not at all: it is written beside ``path`` and renamed.

    Args:
        model: from `s3dg`, `i3d` or `pytorchvideo`: its ``config`` is recorded.
        path: the file to write; its folder exists.
        classes: the K class names, in the order of the logits.
        input: how to feed the network (frames, fps, size, range, modality ...), anything JSON can hold.
        extra: further strings for the file's metadata.

    Raises:
        ValueError: the model does not know its constructor's arguments, the number of names is not K, or ``input`` is
            not JSON.
    """
    config = getattr(model, "config", None)
    if not isinstance(config, dict):
        raise ValueError(f"{type(model).__name__} has no config; expected a model from s3dg, i3d or pytorchvideo")
    if len(classes) != config["num_classes"]:
        raise ValueError(f"{len(classes)} class names for {config['num_classes']} classes")
    try:
        description = json.dumps({"config": config, "classes": list(classes), "input": input})
    except TypeError as error:
        raise ValueError(f"config, classes and input must be what JSON can hold: {error}") from error
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    part = f"{path}.part"
    try:
        save_file(tensors, part, {**(extra or {}), "kdvideo": description})
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)


def load(path: str | Path, *, device: str | torch.device = "cpu") -> tuple[nn.Module, dict[str, Any]]:
    """The network of a file written by `save`, in eval mode, and its description.

    Returns:
        The model and a dict with ``config``, ``classes``, ``input`` and the strings of ``extra``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a safetensors file, truncated, not written by `save`, or its tensors do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or truncated ({error})") from error
    try:
        description = json.loads(metadata.pop("kdvideo"))
        info: dict[str, Any] = {**metadata, **description}
        config = dict(info["config"])
        build = ARCHITECTURES[config.pop("architecture")]
        with torch.random.fork_rng(devices=[]):  # the initial weights cost the caller no random numbers
            model = build(**config)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: no usable kdvideo description in its metadata ({error!r})") from error
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from error
    return model.to(device).eval(), info
