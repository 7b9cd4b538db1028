"""kdvideo's own file: a state dict as safetensors, with how to build and feed the network in its metadata."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import safe_open
from torch import nn

from kdvideo.files import write_atomic
from kdvideo.models.network import InputSpec, Network


def save(
    model: nn.Module,
    path: str | Path,
    *,
    classes: Sequence[str],
    input_spec: dict[str, Any],
    extra: Mapping[str, str] | None = None,
) -> None:
    """Write a bare network as one safetensors file that also says how to build and feed it.

    Tensors carry the state dict's own names, so `model.load_state_dict(safetensors.torch.load_file(path))` works
    without kdvideo's reader. The file appears whole or not at all.

    Args:
        model: a network of kdvideo.models, compiled or not: its `config` is recorded.
        path: the file to write.
        classes: the K class names, in the order of the logits.
        input_spec: how to feed the network, anything JSON can hold: the keys of `InputSpec.to_dict`, and whatever else
            the reader is to know (stream, short side, flow bound ...).
        extra: further strings for the file's metadata.

    Raises:
        ValueError: the model does not know its constructor's arguments, the number of names is not K, or `input_spec`
            is not JSON or not possible.

    Examples:
        >>> import tempfile
        >>> from kdvideo import models
        >>> model = models.i3d(2, depth_multiplier=0.125, min_depth=8)
        >>> path = tempfile.mkdtemp() + "/network.safetensors"
        >>> save(model, path, classes=["run", "jump"], input_spec={"fps": 25.0})
        >>> models.checkpoints.load(path)[1]["classes"]
        ['run', 'jump']
    """
    model = getattr(model, "_orig_mod", model)  # a compiled network has other names
    config = getattr(model, "config", None)
    if not isinstance(config, dict):
        raise ValueError(f"the model must be a network of kdvideo.models, got {type(model).__name__} without config")
    if "name" in config and config["name"] is None:
        raise ValueError("the network must be inflated with name=, got none: no file could rebuild it")
    check_names(classes, config)
    taken = sorted({"kdvideo", "format", "config", "classes", "input"} & set(extra or {}))
    if taken:
        raise ValueError(f"extra must leave the file's own keys alone, got {taken}")
    try:
        description = json.dumps({"config": config, "classes": list(classes), "input": input_spec})
    except TypeError as error:
        raise ValueError(f"config, classes and input_spec must be what JSON can hold: {error}") from error
    if isinstance(model, Network):
        recorded_spec(model.input_spec, input_spec)  # what could not be read is not written
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_atomic(Path(path), safetensors.torch.save(tensors, {**(extra or {}), "kdvideo": description}))


def describe(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what `save` wrote beside the tensors: config, classes, input, and the strings of `extra`.

    Raises:
        ValueError: another program wrote it.
    """
    extra = {key: value for key, value in metadata.items() if key != "kdvideo"}
    try:
        description = json.loads(metadata["kdvideo"])
        known = {key: description[key] for key in ("config", "classes", "input")}
        if not isinstance(known["config"], dict):
            raise TypeError(f"config is {known['config']!r}")
        if known["classes"] is not None:
            check_names(known["classes"], known["config"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"no usable kdvideo description in its metadata ({error!r:.500})") from error
    return {**extra, **known}


def read_description(path: Path) -> dict[str, Any]:
    """Read config, classes and input of a file that `save` wrote, as they are in it.

    Raises:
        ValueError: another program wrote it.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    try:
        return describe({"kdvideo": metadata.get("kdvideo", "")})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check_names(classes: Sequence[str], config: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless there is one name for each logit."""
    if not isinstance(classes, str) and not all(isinstance(name, str) for name in classes):
        raise ValueError("classes must be texts, one for each logit, got other values")
    if isinstance(classes, str) or len(classes) != config.get("num_classes"):
        given = repr(classes) if isinstance(classes, str) else f"{len(classes)} class names"
        raise ValueError(f"classes must be {config.get('num_classes')} names, one for each logit, got {given}")


def recorded_spec(default: InputSpec, recorded: Mapping[str, Any]) -> InputSpec:
    """Return the specification with what a file's input says of it; clips that are cut have a `crop` for a size."""
    size = {"size": recorded["crop"]} if "crop" in recorded else {}
    return default.updated({**size, **recorded})
