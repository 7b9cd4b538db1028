"""Files of weights as named tensors; nothing that a file holds is ever executed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from kdvideo.files import check_regular
from kdvideo.models.checkpoints.tf_checkpoint import read_tf
from kdvideo.models.checkpoints.torch_files import check_tensors, load_torch

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model", "module", "network")
TF_FILE = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
LARGEST_HEADER, MOST_TENSORS = 2**23, 100_000  # of a safetensors file; the largest published ones have some thousand
LARGEST_STATE = 2**20  # the text file that names the newest checkpoint of TensorFlow
DEEPEST = 5  # wrappers around a state dict
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
    check_regular(path)
    with open(path, "rb") as file:
        head = file.read(9)
    if head[8:] == b"{" or path.suffix == ".safetensors":
        return _read_safetensors(path)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return _state_dict(load_torch(path), path), {}
    raise ValueError(f"{path}: must be a file of weights ({KINDS}), got other content")


def _inside(folder: Path) -> Path:
    """Return the file of weights in a folder: of save_pretrained, or with one TensorFlow checkpoint."""
    if (folder / "model.safetensors").is_file():
        return folder / "model.safetensors"
    indices = sorted(folder.glob("*.index"))
    state = folder / "checkpoint"
    if state.is_file():
        with open(state, errors="replace") as file:
            newest = re.search(r'^model_checkpoint_path: "(.+)"', file.read(LARGEST_STATE), re.MULTILINE)
        if newest:  # often a path of the machine that wrote it: the name is what counts
            return folder / f"{Path(newest[1]).name}.index"
    if len(indices) == 1:
        return indices[0]
    found = sorted(entry.name for entry in folder.iterdir())[:10]
    raise ValueError(f"{folder}: must hold model.safetensors, or one TensorFlow checkpoint, got {found}")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with open(path, "rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if LARGEST_HEADER < header < path.stat().st_size:
        raise ValueError(f"{path}: its header must have at most {LARGEST_HEADER:,} bytes, got {header:,}")
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            if len(names) > MOST_TENSORS:
                raise ValueError(f"it must have at most {MOST_TENSORS:,} tensors, got {len(names):,}")
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, ValueError, TypeError, RuntimeError, LookupError, OverflowError) as error:
        raise ValueError(f"{path}: not a safetensors file, or truncated ({error})") from error


def _state_dict(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict inside a training checkpoint."""
    for _ in range(DEEPEST):  # a pickle can hold itself
        if not isinstance(content, Mapping):
            break
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return _checked({str(key): value for key, value in content.items()}, path)
        inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner:
            keys = [key if isinstance(key, str) else f"a {type(key).__name__}" for key in list(content)[:10]]
            raise ValueError(f"{path}: must hold a state dict, itself or under one of {list(WRAPPERS)}, got {keys}")
        content = inner[0]
    raise ValueError(f"{path}: must hold a state dict, got a {type(content).__name__}")


def _checked(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    try:
        check_tensors(tensors.values(), path.stat().st_size)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return tensors
