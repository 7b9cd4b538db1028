"""The model card of a network: what its author states, and nothing else."""

import difflib
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kdvideo._escaping import markdown, printable
from kdvideo.models.network import InputSpec, Network

Card = Mapping[str, Any]
EMPTY_CARD: Card = MappingProxyType({})
FIELDS = ("data", "protocol", "accuracy", "source", "license")


def check_card(card: Card) -> None:
    """Raise `ValueError` where a field is none that the card has."""
    for field in card:
        if field not in FIELDS:
            close = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.3)
            raise ValueError(f"a field of the card must be one of {FIELDS}, got {field!r}: closest {close}")


def model_card(network: Network, classes: Sequence[str], card: Card, *, repository: str) -> str:
    """Return the text of the card, with the metadata block of the Hub on top."""
    from huggingface_hub import ModelCardData  # optional, so not at import

    given = {field: str(value) for field, value in card.items() if value not in (None, "")}
    # The Hub knows licenses by identifiers; any other text is "other" there, with a name.
    terms = given.get("license", "")
    named = {"license": "other", "license_name": terms} if " " in terms else {"license": terms.lower() or None}
    metadata = ModelCardData(library_name="kdvideo", pipeline_tag="video-classification", **named)
    config = network.config
    title = " ".join(str(config[key]) for key in ("architecture", "name") if key in config)
    use = f"from kdvideo import models\n\nmodel = models.from_pretrained({json.dumps(printable(repository))})"
    sections = {
        **{field.capitalize(): given.get(field, "not stated") for field in FIELDS},
        "Input": _describe(network.input_spec, network.in_channels),
        "Configuration": f"```json\n{json.dumps(config, indent=2)}\n```",
        "Classes": ", ".join(map(markdown, classes)),
    }
    return "\n\n".join(
        [
            f"---\n{metadata.to_yaml()}\n---",
            f"# {markdown(title)}",
            f"A video classifier of {len(classes)} classes.",
            f"```python\n{use}\n```",
            *(f"## {heading}\n\n{text}" for heading, text in sections.items()),
            "",
        ]
    )


def _describe(spec: InputSpec, channels: int) -> str:
    low, high = spec.value_range
    rate = f" at {spec.fps:g} frames per second" if spec.fps else ""
    every = f", one in {spec.step} frames of a video{rate}" if spec.step > 1 else f", consecutive frames{rate}"
    norm = f", then (x - mean) / std with mean {list(spec.mean)} and std {list(spec.std)}" if spec.mean else ""
    return (
        f"{channels} channels, {spec.frames} frames of {spec.size} x {spec.size} pixels{every}; "
        f"values in [{low:g}, {high:g}]{norm}."
    )
