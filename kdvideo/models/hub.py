"""Networks as folders and as repositories of the Hugging Face Hub: weights, configuration, model card."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from kdvideo.files import write_atomic
from kdvideo.models import checkpoints
from kdvideo.models.build import BUILDERS
from kdvideo.models.checkpoints.native import check_names, describe
from kdvideo.models.model_card import TEMPLATE, Card, check_card, licence_identifier, texts
from kdvideo.models.network import NOTHING, Network

__all__ = ["from_pretrained", "push_to_hub", "save_pretrained"]

WEIGHTS, CONFIG, README = "model.safetensors", "config.json", "README.md"


def save_pretrained(model: Network, folder: str | Path, *, classes: Sequence[str], card: Card = NOTHING) -> None:
    """Write a network into a folder that `from_pretrained`, and the Hub, can read.

    ``model.safetensors`` is what `checkpoints.save` writes, ``config.json`` holds configuration, class names and
    ``input_spec``, ``README.md`` is the model card. All three are written anew; other files stay.

    Args:
        model: any network of kdvideo; also called as ``model.save_pretrained(folder, ...)``.
        folder: made where it is missing.
        classes: the K class names, in the order of the logits.
        card: what the model card is to say: ``data``, ``protocol``, ``accuracy``, ``source`` and ``licence`` (an SPDX
            identifier), each a text. What is not given is "not stated".

    Raises:
        ImportError: huggingface_hub is not installed.
        ValueError: another number of class names than K, an unknown field of the card, or a configuration that is
            not JSON.

    Examples:
        >>> import tempfile
        >>> from kdvideo import models
        >>> model, folder = models.i3d(2, depth_multiplier=0.125, min_depth=8), tempfile.mkdtemp()
        >>> model.save_pretrained(folder, classes=["run", "jump"], card={"data": "synthetic clips"})
        >>> models.from_pretrained(folder).classes
        ('run', 'jump')
    """
    _package(model, classes, card).save_pretrained(folder, model_card_kwargs={"repository": Path(folder).name})


def push_to_hub(model: Network, repo_id: str, *, classes: Sequence[str], card: Card = NOTHING, **options: Any) -> str:
    """Upload what `save_pretrained` writes, in one commit, and return that commit's address.

    Args:
        model: any network of kdvideo; also called as ``model.push_to_hub(repo_id, ...)``.
        repo_id: "owner/name"; made where it is missing.
        classes, card: as in `save_pretrained`.
        options: of huggingface_hub's ``PyTorchModelHubMixin.push_to_hub``, e.g. ``private=True``, ``token=...``,
            ``commit_message=...``, ``create_pr=True``.

    Raises:
        ImportError, ValueError: as in `save_pretrained`.
    """
    package = _package(model, classes, card)
    return str(package.push_to_hub(repo_id, model_card_kwargs={"repository": repo_id}, **options))


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
    """The network of a folder, or of a repository on the Hub, that `save_pretrained` wrote; in eval mode.

    Weights and buffers are those that were saved, bit for bit; ``config``, ``classes`` and ``input_spec`` come along.

    Args:
        source: a folder, or "owner/name".
        device: where the network goes.
        revision, token, cache_dir, force_download, local_files_only: of a download, as huggingface_hub has them.

    Raises:
        ImportError: huggingface_hub is not installed.
        FileNotFoundError: the folder lacks config.json or model.safetensors.
        ValueError: neither a folder nor a repository's name; a file that is truncated or foreign; an unknown
            architecture; class names that do not fit; two files that do not describe the same network.
    """
    local = Path(source).is_dir()
    if local:
        _description(Path(source) / CONFIG)
    elif Path(source).is_file():
        raise ValueError(f"{source}: a file; models.checkpoints.load reads it")
    elif not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(source)):
        raise ValueError(f"{source}: no such folder, and not a repository's name, which is owner/name")
    try:
        package = _hub_class().from_pretrained(
            str(source),
            device=device,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
        )
    except OSError as error:
        if not local:
            error.add_note(f"There is no folder {source}, so it was looked for on the Hub.")
        raise
    network: Network = package.network
    return network


def _package(model: Network, classes: Sequence[str], card: Card) -> Any:
    """The network with what describes it; checked first, so that no folder is left half written."""
    check_names(classes, model.config)
    try:
        json.dumps(model.config)
    except TypeError as error:
        raise ValueError(f"the configuration must be what JSON can hold: {error}") from error
    check_card(card)
    return _hub_class()(model, list(classes), card)


@cache
def _hub_class() -> Any:
    """huggingface_hub's mixin around a network; made at the first use, as not everyone has that library."""
    try:
        from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
    except ImportError as error:
        raise ImportError(
            "folders and repositories of networks need huggingface_hub: pip install huggingface_hub"
        ) from error

    class HubNetwork(PyTorchModelHubMixin, library_name="kdvideo", pipeline_tag="video-classification"):
        def __init__(self, network: Network, names: list[str], card: Card) -> None:
            self.network, self.names, self.card = network, names, card

        def _save_pretrained(self, save_directory: Path) -> None:
            seen = asdict(self.network.input_spec)
            checkpoints.save(self.network, save_directory / WEIGHTS, classes=self.names, input=seen)
            description = {"config": self.network.config, "classes": self.names, "input": seen}
            write_atomic(save_directory / CONFIG, json.dumps(description, indent=2).encode())
            (save_directory / README).unlink(missing_ok=True)  # the mixin writes a new one

        @classmethod
        def _from_pretrained(cls, *, model_id: str, device: str | torch.device = "cpu", **download: Any) -> HubNetwork:
            def find(file: str) -> Path:
                folder = Path(model_id)
                return folder / file if folder.is_dir() else Path(hf_hub_download(model_id, file, **download))

            network = _load(find(CONFIG), find(WEIGHTS), device)
            return cls(network, list(network.classes), NOTHING)

        def generate_model_card(self, *args: Any, repository: str = "owner/name", **kwargs: Any) -> ModelCard:
            about = copy.deepcopy(self._hub_mixin_info.model_card_data)
            about.license = licence_identifier(self.card)
            said = {**texts(self.network, self.names, self.card), "repository": repository}
            card: ModelCard = ModelCard.from_template(about, template_str=TEMPLATE, **said)
            return card

    return HubNetwork


def _load(config: Path, weights: Path, device: str | torch.device) -> Network:
    described = _description(config)
    model, _ = checkpoints.load(weights, device=device)
    with safe_open(weights, framework="pt") as file:
        metadata = file.metadata() or {}
    try:
        written = describe(metadata)
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error
    for key, value in described.items():
        if written[key] != value:
            raise ValueError(f"{config} and {weights} disagree on {key}: {value} and {written[key]}")
    return model


def _description(path: Path) -> dict[str, Any]:
    """What config.json says, found to be in order."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; save_pretrained writes it")
    try:
        known = json.loads(path.read_bytes())
        described = {key: known[key] for key in ("config", "classes", "input")}
        architecture = described["config"].get("architecture")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: truncated, or not written by save_pretrained ({error!r})") from error
    if architecture not in BUILDERS:
        raise ValueError(f"{path}: unknown architecture {architecture!r}; known: {sorted(BUILDERS)}")
    try:
        check_names(described["classes"], described["config"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return described
