"""Files of weights that would touch a canary file if anything in them ran."""

import builtins
import collections
import copyreg
import gzip
import importlib
import io
import operator
import os
import pickle
import runpy
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

WEIGHTS = {"conv_1a.conv.weight": torch.zeros(2, 3, 1, 1, 1)}
Write = Callable[[Path, Path], None]  # (file, canary)


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.how = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.how[: 2 + (self.how[2] is not None)]

    def __call__(self) -> None:
        """Be callable, as pickle wants of what it is to call."""


def shell(canary: Path) -> Calls:
    return Calls(os.system, f"touch {canary}")


def code(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()"


def imported(name: str) -> Calls:
    return Calls(importlib.import_module, name)


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


PAYLOADS: dict[str, Callable[[Path], Any]] = {
    "os.system": shell,
    "posix.system by name": lambda c: Raw(f"cposix\nsystem\n(S'touch {c}'\ntR.".encode()),
    "subprocess": lambda c: Calls(subprocess.call, ["touch", str(c)]),
    "Popen": lambda c: Calls(subprocess.Popen, ("touch", str(c))),
    "exec": lambda c: Calls(builtins.exec, code(c)),
    "eval": lambda c: Calls(builtins.eval, f"__import__('os').system('touch {c}')"),
    "open": lambda c: Calls(builtins.open, str(c), "w"),
    "getattr": lambda c: Calls(Calls(getattr, imported("os"), "system"), f"touch {c}"),
    "__import__": lambda c: Calls(operator.methodcaller("system", f"touch {c}"), Calls(builtins.__import__, "os")),
    "importlib": lambda c: Calls(operator.methodcaller("system", f"touch {c}"), imported("os")),
    "attrgetter": lambda c: Calls(
        Calls(operator.attrgetter("system"), Calls(importlib.import_module, "os")), f"touch {c}"
    ),
    "runpy": lambda c: Calls(runpy._run_code, code(c), {}),
    "partial": lambda c: Calls(partial(os.system, f"touch {c}")),
    "map": lambda c: Calls(list, Calls(map, os.system, [f"touch {c}"])),
    "nested pickle": lambda c: Calls(pickle.loads, pickle.dumps(shell(c))),
    "nested torch.load": lambda c: Calls(partial(torch.load, weights_only=False), Calls(io.BytesIO, saved(c))),
    "torch.storage": lambda c: Calls(torch.storage._load_from_bytes, saved(c)),
    "rebuild, abused": lambda c: Calls(
        torch._tensor._rebuild_from_type_v2, os.system, torch.Tensor, (f"touch {c}",), {}
    ),
    "rebuild parameter": lambda c: Calls(torch._utils._rebuild_parameter, shell(c), False, collections.OrderedDict()),
    "rebuild with hooks": lambda c: Calls(
        torch._utils._rebuild_tensor_v2, shell(c), 0, (1,), (1,), False, collections.OrderedDict()
    ),
    "ordered dict": lambda c: collections.OrderedDict([("a", shell(c))]),
    "state of a module": lambda c: Calls(torch.nn.Linear, 1, 1, state={"a": shell(c)}),
    "deep inside": lambda c: {"a": [({"b": shell(c)},)]},
    "beside weights": lambda c: {"state_dict": {**WEIGHTS}, "optimizer": Calls(os.system, f"touch {c}")},
    "numpy": lambda c: Calls(np.load, Calls(io.BytesIO, npy(c)), None, True),
    "copyreg": lambda c: Calls(copyreg._reconstructor, shell(c), object, None),
    "INST": lambda c: Raw(b"(S'touch " + str(c).encode() + b"'\nios\nsystem\n."),
    "OBJ": lambda c: Raw(b"(cos\nsystem\nS'touch " + str(c).encode() + b"'\no."),
    "STACK_GLOBAL": lambda c: Raw(
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c"
        + bytes([len(f"touch {c}")])
        + f"touch {c}".encode()
        + b"\x85R."
    ),
    "BUILD": lambda c: Raw(f"cos\nsystem\np0\n0(dp1\nS'x'\ng0\n(S'touch {c}'\ntRs.".encode()),
    "torch.hub": lambda c: Calls(partial(torch.hub.load, source="local", trust_repo=True), hub(c), "net"),
    "compiled code": lambda c: Calls(exec, Calls(compile, code(c), "a", "exec")),
}


class Raw(bytes):
    """A pickle, byte by byte."""


def saved(canary: Path) -> bytes:
    file = io.BytesIO()
    torch.save(shell(canary), file)
    return file.getvalue()


def npy(canary: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([shell(canary)], dtype=object), allow_pickle=True)
    return file.getvalue()


def hub(canary: Path) -> str:
    folder = canary.with_name("hub")
    folder.mkdir(exist_ok=True)
    (folder / "hubconf.py").write_text(code(canary))
    return str(folder)


def pickled(content: Any, protocol: int = 2) -> bytes:
    return bytes(content) if isinstance(content, Raw) else pickle.dumps(content, protocol)


def as_zip(path: Path, data: bytes, *, front: bytes = b"", back: bytes = b"") -> None:
    """Write a zip as torch.save does, with a pickle of one's own."""
    whole = io.BytesIO()
    torch.save(WEIGHTS, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, data if member.filename.endswith("data.pkl") else old.read(member.filename))
    path.write_bytes(front + path.read_bytes() + back)


def as_legacy(path: Path, data: bytes) -> None:
    """Write the pickles of the files before PyTorch 1.6: magic, version, system, content, keys."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = [pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, system)]
    path.write_bytes(b"".join([*head, data, pickle.dumps([], 2)]))


def as_tar(path: Path, data: bytes) -> None:
    """Write the tar of the very first PyTorch."""
    with tarfile.open(path, "w") as archive:
        for name, content in {"storages": data, "tensors": data, "pickle": data}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def as_joblib(path: Path, data: bytes) -> None:
    path.write_bytes(gzip.compress(data))


def in_header(path: Path, data: bytes) -> None:
    """Write a pickle where a safetensors file has its header."""
    path.write_bytes(len(data).to_bytes(8, "little") + data)


def script(path: Path, canary: Path) -> None:
    """Write a TorchScript archive whose pickle calls a function."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), str(path))
    with zipfile.ZipFile(path) as old:
        parts = {member.filename: old.read(member.filename) for member in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in parts.items():
            new.writestr(name, pickled(shell(canary)) if name.endswith(".pkl") else content)


CONTAINERS: dict[str, Callable[[Path, bytes], None]] = {
    "zip": as_zip,
    "legacy": as_legacy,
    "tar": as_tar,
    "bare pickle": lambda path, data: path.write_bytes(data),
    "gzip": as_joblib,
    "safetensors header": in_header,
    "pickle before a zip": lambda path, data: as_zip(path, data, front=data),
    "zip before a pickle": lambda path, data: (
        as_zip(path, pickled(WEIGHTS)),
        path.write_bytes(path.read_bytes() + data),
    )[0],
}


def files() -> dict[str, Write]:
    """Return every payload in a zip, one payload in every container, and what is neither."""

    def of(container: str, payload: str, protocol: int = 2) -> Write:
        return lambda path, canary: CONTAINERS[container](path, pickled(PAYLOADS[payload](canary), protocol))

    found = {f"zip: {payload}": of("zip", payload) for payload in PAYLOADS}
    found |= {f"{container}: os.system": of(container, "os.system") for container in CONTAINERS}
    found |= {f"protocol {k}": of("bare pickle", "os.system", k) for k in range(6)}
    found |= {"whole module": lambda path, canary: torch.save(_module(canary), path), "TorchScript": script}
    found["an array of objects"] = lambda path, canary: path.write_bytes(npy(canary))
    return found


def _module(canary: Path) -> torch.nn.Module:
    module = torch.nn.Linear(1, 1)
    module.payload = shell(canary)
    return module
