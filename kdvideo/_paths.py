"""The grammar of taps: from a layer's name, `path[:in][index or "key"]...`, to the tensors of modules that it means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

Layers = Mapping[str, str | Sequence[str]] | Mapping[nn.Module, str | Sequence[str]] | Sequence[str | nn.Module]
Key = int | str

_KEY = r"""\[(?:-?\d+|"[^"]*"|'[^']*')\]"""
_NAME = re.compile(rf"(?P<path>[^:\[\]]*)(?P<input>:in)?(?P<keys>(?:{_KEY})*)")


class Place(NamedTuple):
    """A tensor of a model: a module's output, or one of its inputs, or what lies under some keys of them.

    Args:
        name: how it is written, with the module's real path.
        path: of the module.
        is_input: whether the first key names an input, by position or keyword.
        keys: that lead from the output, or from all inputs, to the tensor.
    """

    name: str
    path: str
    is_input: bool = False
    keys: tuple[Key, ...] = ()


def roles_to_places(model: nn.Module, layers: Layers) -> dict[str, Place]:
    """Map each role to what it taps; ValueError where a layer is unknown or compiled, or a role occurs twice."""
    if isinstance(layers, (str, nn.Module)) or not isinstance(layers, Iterable):
        raise ValueError(f"layers= must be a mapping or a sequence of paths, got {_shown(layers)}")
    if layers and _is_compiled(model):
        raise ValueError(f"the model is compiled: {_WRAP_FIRST}")
    modules = dict(model.named_modules(remove_duplicate=False))
    places: dict[str, Place] = {}
    _check_not_swapped(model, modules, layers)
    for name in layers:
        for place, stars in _matches(model, modules, name):
            own = name if isinstance(name, str) and not stars else place.name
            for role in _roles(layers[name], stars) if isinstance(layers, Mapping) else [own]:  # type: ignore[index]
                if role in places:
                    raise ValueError(
                        f"every role must have one layer, got {places[role].name!r} and {place.name!r} for {role!r}"
                        + (": put a * into the role, which stands for what the * of the path is" if stars else "")
                    )
                places[role] = place
    return places


def _check_not_swapped(model: nn.Module, modules: Mapping[str, nn.Module], layers: Layers) -> None:
    known = {*getattr(model, "layer_names", {}), *modules}
    if isinstance(layers, Mapping) and all(isinstance(name, str) for pair in layers.items() for name in pair):
        pairs: dict[str, str] = dict(layers.items())  # type: ignore[arg-type]
        if pairs and not known & {*pairs} and {*pairs.values()} <= known:
            turned = {path: role for role, path in pairs.items()}
            raise ValueError(f"layers= must map paths to roles, got roles to paths, {pairs}: layers={turned}")


def closest(written: str, names: Iterable[str], number: int) -> list[str]:
    """Return the names that are most alike, whatever their case; the first is the one that differs in case only.

    Examples:
        >>> closest("4c", ["4F", "4C", "head"], 2)
        ['4C', '4F']
    """
    known: dict[str, list[str]] = {}
    for name in names:
        known.setdefault(name.lower(), []).append(name)
    close = difflib.get_close_matches(written.lower(), known, n=number, cutoff=0.3)
    return [name for one in close for name in known[one]][:number]


def _roles(roles: str | Sequence[str], stars: Sequence[str]) -> Iterator[str]:
    roles = (roles,) if isinstance(roles, str) else roles
    if not isinstance(roles, Sequence) or not roles or not all(isinstance(role, str) for role in roles):
        raise ValueError(f'a layer must have a role, or several, as text, got {roles!r}: layers={{"path": "role"}}')
    for role in roles:
        if role.count("*") > len(stars):
            raise ValueError(f"a role must have at most as many * as its path, {len(stars)}, got {role!r}")
        found = iter(stars)
        yield re.sub(r"\*", lambda _, found=found: next(found), role)  # type: ignore[misc]


def _matches(
    model: nn.Module, modules: Mapping[str, nn.Module], name: str | nn.Module
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """Yield every place that a name means, with what each * of it stands for there."""
    if isinstance(name, nn.Module):
        name = _path_of(name, model, modules)
    if not isinstance(name, str):
        raise ValueError(f"a layer must be a path, as text, or a module, got {_shown(name)}")
    aliases: Mapping[str, str] = getattr(model, "layer_names", {})
    known = {**{alias: path for alias, path in aliases.items() if path in modules}, **{path: path for path in modules}}
    parts = _NAME.fullmatch(name)
    if name in known or parts is None:
        parts = re.fullmatch("(?P<path>.*)(?P<input>)(?P<keys>)", name, re.DOTALL)
        assert parts is not None
    written, keys = parts["path"], tuple(map(_key, re.findall(_KEY, parts["keys"])))
    if "*" in written and written not in known:
        pattern = re.compile(re.escape(written).replace(r"\*", "([^.]*)"))
        found = [(path, match.groups()) for path in modules if path and (match := pattern.fullmatch(path))]
    else:
        found = [(known[written], ())] if written in known else []
    if not found:
        close = closest(written, [*aliases, *modules], 3)
        near = f"the closest are {close}" if close else f"the first are {[*aliases, *filter(None, modules)][:5]}"
        raise ValueError(
            f"{type(model).__name__} has no layer {name!r}; {near}. kdvideo.describe(model, input) prints them all"
        )
    for path, stars in found:
        if any(_is_compiled(modules[prefix]) for prefix in _prefixes(path)):
            raise ValueError(f"layer {path!r} is inside a compiled module: {_WRAP_FIRST}")
        if any(isinstance(modules[prefix], torch.jit.ScriptModule) for prefix in _prefixes(path)):
            raise ValueError(
                f"layer {path!r} must be of a module in Python, got TorchScript, which runs no hooks: load the weights "
                "into the Python module, or leave layers= out and use the logits alone"
            )
        suffix = (parts["input"] or "") + parts["keys"]
        yield Place(path + suffix, path, bool(parts["input"]), keys or ((0,) if parts["input"] else ())), stars


def _key(written: str) -> Key:
    inner = written[1:-1]
    return inner[1:-1] if inner[0] in "\"'" else int(inner)


def _path_of(module: nn.Module, model: nn.Module, modules: Mapping[str, nn.Module]) -> str:
    for path, other in modules.items():
        if other is module:
            return path
    raise ValueError(
        f"a tapped module must be one of {type(model).__name__}'s own, got {_shown(module)}: take it from the "
        "model that is wrapped, not from a copy"
    )


def _shown(layer: object) -> str:
    if isinstance(layer, nn.Module):
        return f"a {type(layer).__name__} that is none of them"
    return f"the string {layer!r}" if isinstance(layer, str) else repr(layer)


_WRAP_FIRST = "hooks put on it now would never run; wrap the plain model first, then compile the wrapper"


def _is_compiled(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules or module._compiled_call_impl is not None


def _prefixes(path: str) -> Iterable[str]:
    parts = path.split(".") if path else []
    return (".".join(parts[:end]) for end in range(len(parts) + 1))
