"""Resolution of layer names to the paths of modules that a hook may be put on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from torch import nn

Layers = Mapping[str, str | Sequence[str]] | Sequence[str]


def roles_to_paths(model: nn.Module, layers: Layers) -> dict[str, str]:
    """Map each role to its module path; ValueError where a layer is unknown or compiled, or a role occurs twice."""
    if isinstance(layers, str):
        raise ValueError(f"layers= must be a mapping or a sequence of paths, got the string {layers!r}")
    if layers and _is_compiled(model):
        raise ValueError(f"the model is compiled: {_WRAP_FIRST}")
    pairs = layers.items() if isinstance(layers, Mapping) else [(path, path) for path in layers]
    paths: dict[str, str] = {}
    for name, roles in pairs:
        for role in (roles,) if isinstance(roles, str) else roles:
            if role in paths:
                raise ValueError(f"every role must have one layer, got {paths[role]!r} and {name!r} for {role!r}")
            paths[role] = _resolve(model, name)
    return paths


def _resolve(model: nn.Module, name: str) -> str:
    aliases: Mapping[str, str] = getattr(model, "layer_names", {})
    modules = dict(model.named_modules(remove_duplicate=False))
    path = name if name in modules else aliases.get(name)
    if path is None or path not in modules:
        close = difflib.get_close_matches(name, [*aliases, *modules], n=3, cutoff=0.3)
        raise ValueError(
            f"{type(model).__name__} has no layer {name!r}; the closest are {close}. "
            "kdvideo.describe(model, input) prints them all"
        )
    if any(_is_compiled(modules[prefix]) for prefix in _prefixes(path)):
        raise ValueError(f"layer {name!r} is inside a compiled module: {_WRAP_FIRST}")
    return path


_WRAP_FIRST = "hooks put on it now would never run; wrap the plain model first, then compile the wrapper"


def _is_compiled(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules or module._compiled_call_impl is not None


def _prefixes(path: str) -> Iterable[str]:
    parts = path.split(".") if path else []
    return (".".join(parts[:end]) for end in range(len(parts) + 1))
