"""Files of weights as named tensors; nothing that a file holds is ever executed."""

import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kdvideo.models.checkpoints.tf_checkpoint import read_tf

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "module", "network")
TF_FILE = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
KINDS = "safetensors, a TensorFlow checkpoint (prefix or .index), or a file of torch.save"


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read (name -> tensor, the file's metadata) from a file or folder; what it is, its content says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign, without weights, or with code in it; the file is named.
    """
    if path.is_dir():
        path = _inside(path)
    prefix = path.with_name(TF_FILE.sub("", path.name))
    if prefix != path or path.with_name(path.name + ".index").is_file():
        return read_tf(prefix), {}
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with open(path, "rb") as file:
        head = file.read(9)
    if head[8:] == b"{" or path.suffix == ".safetensors":
        return _read_safetensors(path)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _state_dict(_unpickle(path), path), {}
    raise ValueError(f"{path}: must be a file of weights ({KINDS}), got other content")


def _inside(folder: Path) -> Path:
    """Return the file of weights in a folder: of save_pretrained, or with one TensorFlow checkpoint."""
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    indices = sorted(folder.glob("*.index"))
    state = folder / "checkpoint"
    if state.is_file():
        newest = re.search(r'^model_checkpoint_path: "(.+)"', state.read_text(errors="replace"), re.MULTILINE)
        if newest:  # often a path of the machine that wrote it: the name is what counts
            return folder / f"{Path(newest[1]).name}.index"
    if len(indices) == 1:
        return indices[0]
    found = sorted(entry.name for entry in folder.iterdir())[:10]
    raise ValueError(f"{folder}: must hold model.safetensors, or one TensorFlow checkpoint, got {found}")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a safetensors file, or truncated ({error})") from error


def _unpickle(path: Path) -> Any:
    """Read what torch.save wrote, tensors and plain containers only."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        wanted = _first_import(path, str(error))
        if wanted is None:
            reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
            raise ValueError(f"{path}: truncated, damaged, or no file of torch.save ({reason})") from error
        raise ValueError(
            f"{path}: holds more than weights: it wants to import {wanted}, which was not run. Ask its author "
            "for the bare state dict, or, if you trust the file, load it yourself and save only that"
        ) from error


def _first_import(path: Path, message: str) -> str | None:
    """Return what a refused pickle wanted to import: PyTorch says it, but for newer pickles of other programs."""
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named or zipfile.is_zipfile(path):
        return named and named[1]
    words: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if operation.name == "STACK_GLOBAL":
                return ".".join(words[-2:])
            if isinstance(argument, str):
                words.append(argument)
    except ValueError:  # no pickle at all
        pass
    return None


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict inside a training checkpoint."""
    while isinstance(content, Mapping):
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return {str(key): value for key, value in content.items()}
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            keys = [str(key) for key in content][:10]
            raise ValueError(f"{path}: must hold a state dict, itself or under one of {list(WRAPPERS)}, got {keys}")
        content = inner[0]
    raise ValueError(f"{path}: must hold a state dict, got a {type(content).__name__}")
