"""What a model card says about a network, and that it says no more than it was told."""

import difflib
import json
import re
from collections.abc import Mapping
from typing import Any

from kdvideo.models.network import Network

Card = Mapping[str, Any]
FIELDS = ("data", "protocol", "accuracy", "source", "licence")
TEMPLATE = """---
{{ card_data }}
---

# {{ title }}

A video classifier of {{ count }} classes.

```python
from kdvideo import models

model = models.from_pretrained("{{ repository }}")
```
{% for heading, text in sections %}
## {{ heading }}

{{ text }}
{% endfor %}"""


def check_card(card: Card) -> None:
    """Raise `ValueError` where a field is none that the card has."""
    for field in card:
        if field not in FIELDS:
            close = difflib.get_close_matches(field, FIELDS, n=1, cutoff=0.3)
            raise ValueError(f"unknown field {field!r} of the card; closest: {close}, all: {FIELDS}")


def licence_identifier(card: Card) -> str | None:
    """For the Hub's own field: an identifier as it is, any other text as "other"."""
    text = str(card.get("licence", "")).lower()
    return None if not text else text if re.fullmatch(r"[a-z0-9.+-]+", text) else "other"


def texts(model: Network, names: list[str], card: Card) -> dict[str, Any]:
    """What fills ``TEMPLATE``."""
    config = model.config
    given = {field: value for field, value in card.items() if value not in (None, "")}
    stated = {field.capitalize(): str(given.get(field, "not stated")) for field in FIELDS}
    sections = {
        **stated,
        "Input": _in_words(model),
        "Configuration": f"```json\n{json.dumps(config, indent=2)}\n```",
        "Classes": ", ".join(names),
    }
    return {
        "title": " ".join(str(config[key]) for key in ("architecture", "name") if key in config),
        "count": len(names),
        "sections": list(sections.items()),
    }


def _in_words(model: Network) -> str:
    spec = model.input_spec
    low, high = spec.range
    rate = f" at {spec.fps:g} frames per second" if spec.fps else ""
    every = f", one in {spec.step} frames of a video{rate}" if spec.step > 1 else f", consecutive frames{rate}"
    norm = f", then (x - mean) / std with mean {list(spec.mean)} and std {list(spec.std)}" if spec.mean else ""
    return (
        f"{model.in_channels} channels, {spec.frames} frames of {spec.size} x {spec.size} pixels{every}; "
        f"values in [{low:g}, {high:g}]{norm}."
    )
