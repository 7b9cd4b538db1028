"""Networks as folders and as repositories of the Hugging Face Hub: weights, configuration, model card."""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from kdvideo._extras import needed
from kdvideo._hints import kind
from kdvideo.files import read_limited, write_atomic
from kdvideo.models import checkpoints
from kdvideo.models.checkpoints.native import read_description
from kdvideo.models.model_card import EMPTY_CARD, Card, check_card, model_card
from kdvideo.models.network import Network, check_network

__all__ = ["from_pretrained", "push_to_hub", "save_pretrained"]

WEIGHTS, CONFIG, README = "model.safetensors", "config.json", "README.md"


def save_pretrained(network: Network, folder: str | Path, *, classes: Sequence[str], card: Card = EMPTY_CARD) -> None:
    """Write a network into a folder that `from_pretrained`, and the Hub, can read.

    `model.safetensors` is what `checkpoints.save` writes, `config.json` holds configuration, class names and
    `input_spec`, `README.md` is the model card. All three are written anew; other files stay.

    Args:
        network: any network of kdvideo.
        folder: made where it is missing.
        classes: the K class names, in the order of the logits.
        card: what the model card is to say: "data", "protocol", "accuracy", "source" and "license" (an SPDX
            identifier), each a text. What is not given is "not stated".

    Raises:
        ImportError: huggingface_hub is not installed.
        ValueError: another number of class names than K, an unknown field of the card, or a configuration that is
            not JSON.

    Examples:
        >>> import tempfile
        >>> from kdvideo import models
        >>> model, folder = models.i3d(2, depth_multiplier=0.125, min_depth=8), tempfile.mkdtemp()
        >>> models.save_pretrained(model, folder, classes=["run", "jump"], card={"data": "synthetic clips"})
        >>> models.from_pretrained(folder).classes
        ('run', 'jump')
    """
    _write(network, Path(folder), classes, card, repository=Path(folder).name)


def push_to_hub(
    network: Network,
    repository: str,
    *,
    classes: Sequence[str],
    card: Card = EMPTY_CARD,
    private: bool | None = None,
    token: str | None = None,
    **options: Any,
) -> str:
    """Upload what `save_pretrained` writes, in one commit.

    Args:
        network: any network of kdvideo.
        repository: "owner/name"; made where it is missing.
        classes: as in `save_pretrained`.
        card: as in `save_pretrained`.
        private: whether a new repository is private; None for the owner's default.
        token: of the Hub; None for the one of `hf auth login`.
        options: of `huggingface_hub.HfApi.upload_folder`, e.g. `commit_message=...`, `revision=...`, `create_pr=True`.

    Returns:
        The address of the commit.

    Raises:
        ImportError: huggingface_hub is not installed.
        ValueError: as in `save_pretrained`.

    Examples:
        >>> from kdvideo import models
        >>> network = models.s3dg(2)
        >>> models.push_to_hub(network, "me/runs", classes=["run", "jump"])  # doctest: +SKIP
        'https://huggingface.co/me/runs/tree/main/'
    """
    api = _huggingface_hub().HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        _write(network, Path(folder), classes, card, repository=repository)
        made = api.create_repo(repository, private=private, exist_ok=True).repo_id
        return str(api.upload_folder(repo_id=made, folder_path=folder, **options))


def from_pretrained(
    source: str | Path,
    *,
    device: str | torch.device = "cpu",
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | Path | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> Network:
    """Read a network that `save_pretrained` wrote from a folder, or from a repository on the Hub; in eval mode.

    Weights and buffers are those that were saved, bit for bit; `config`, `classes` and `input_spec` come along.

    Args:
        source: a folder, or "owner/name".
        device: where the network goes.
        revision: of a download: a branch, a tag or a commit of the repository; None: its main branch.
        token: of the Hub; True or None for the one of `hf auth login`, False for none.
        cache_dir: where downloads are kept.
        force_download: download again what is there.
        local_files_only: use only what was downloaded before.

    Returns:
        The network, in eval mode, on the device.

    Raises:
        ImportError: the source is on the Hub, and huggingface_hub is not installed.
        FileNotFoundError: there is no such folder, and the source is no "owner/name" or close to the name of a folder
            that is there; or the folder lacks config.json or model.safetensors.
        OSError: of the Hub, which does not know the repository or the revision, or is not reached and nothing was
            downloaded before.
        ValueError: `source` is a file, or neither a path nor a name that the Hub allows; a file that is truncated or
            foreign; an unknown architecture; class names that do not fit; two files that do not describe the same
            network.

    Examples:
        >>> import tempfile
        >>> from kdvideo import models
        >>> network = models.s3dg(2, depth_multiplier=0.125, min_depth=8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     models.save_pretrained(network, folder, classes=["run", "jump"])
        ...     models.from_pretrained(folder).classes
        ('run', 'jump')
    """
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError(f'source must be a folder or "owner/name", got {kind(source)}')
    if Path(source).is_dir():
        return _read(Path(source), device)
    if Path(source).is_file():
        raise ValueError(f"the source must be a folder, got the file {source}: models.checkpoints.load reads it")
    _check_is_no_path(source)
    library = _huggingface_hub()
    try:
        # One question first: a download asks many times, for half a minute, whether a name exists.
        offline = local_files_only or not _answers(library, str(source), revision, token)
        folder = library.snapshot_download(
            str(source),
            allow_patterns=[CONFIG, WEIGHTS],
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=offline,
        )
    except (OSError, library.errors.HFValidationError) as error:
        error.add_note(f"There is no folder {source}, so it was looked for on the Hub.")
        raise
    return _read(Path(folder), device)


def _check_is_no_path(source: str | Path) -> None:
    """Raise FileNotFoundError, without asking the Hub, for a missing folder that no "owner/name" can be meant by."""
    path, close = Path(source), list[str]()
    if path.parent.is_dir():
        close = difflib.get_close_matches(path.name, [one.name for one in path.parent.iterdir() if one.is_dir()], n=3)
    if close or len(path.parts) != 2 or str(source).startswith(("/", "./", "../", "~")):
        near = f"; the closest there are {close}" if close else ""
        raise FileNotFoundError(f"there is no folder {source}{near}: models.save_pretrained writes one")


def _answers(library: ModuleType, repository: str, revision: str | None, token: str | bool | None) -> bool:
    """Return whether the Hub answers, and knows the repository."""
    try:
        library.HfApi(token=token).model_info(repository, revision=revision, timeout=5)
    except (library.errors.HfHubHTTPError, library.errors.HFValidationError):
        raise
    except Exception:  # whatever the client raises without a network
        return False
    return True


def _huggingface_hub() -> ModuleType:
    with needed("the Hub of networks, and their model cards,"):
        import huggingface_hub
    return huggingface_hub


def _write(network: Network, folder: Path, classes: Sequence[str], card: Card, *, repository: str) -> None:
    # Whatever can be wrong with the arguments shows before the first file is written.
    _huggingface_hub()
    check_network(network, "of others save the state_dict, of a Student its model", "network")
    check_card(card)
    spec = network.input_spec.to_dict()
    checkpoints.save(network, folder / WEIGHTS, classes=classes, input_spec=spec)
    description = {"config": network.config, "classes": list(classes), "input": spec}
    write_atomic(folder / CONFIG, json.dumps(description, indent=2).encode())
    write_atomic(folder / README, model_card(network, classes, card, repository=repository).encode())


def _read(folder: Path, device: str | torch.device) -> Network:
    """Read the network of a folder whose two descriptions, in the weights and beside them, are the same."""
    config, weights = folder / CONFIG, folder / WEIGHTS
    described = read_limited(config)
    network, _ = checkpoints.load(weights, device=device)
    written = read_description(weights)
    try:
        found = json.loads(described)
        differ = [key for key, value in written.items() if found[key] != value]
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{config}: truncated, or not written by save_pretrained ({error!r:.500})") from error
    if differ:
        raise ValueError(f"{config} and {weights} must describe the same network, they differ in {differ}")
    return network
