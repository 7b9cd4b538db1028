"""Every command of the README and the docs is one that exists, with options that it takes."""

import argparse
import importlib.util
import re
import runpy
import sys
import tomllib
from collections.abc import Sequence
from typing import Any

import pytest
import tyro

from tests.docs.pages import PAGES, ROOT, commands

COMMANDS = [pytest.param(words, id=f"{page}: {' '.join(words)[:60]}") for page in PAGES for words in commands(page)]
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
OPTIONAL = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


class ParsedError(BaseException):
    """The command line was read without an error; what follows is not run here."""


def shown(arguments: Sequence[str]) -> list[str]:
    """The arguments without a last "…", which stands for more of them."""
    return list(arguments[:-1] if arguments[-1:] == ["…"] and not arguments[-2].startswith("--t") else arguments)


def parses(module: str, arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a module as a command up to the point where its command line is read."""

    def stopping(read: Any) -> Any:
        def stopped(*given: Any, **named: Any) -> None:
            read(*given, **named)
            raise ParsedError

        return stopped

    monkeypatch.setattr(tyro, "cli", stopping(tyro.cli))
    monkeypatch.setattr(tyro.extras, "overridable_config_cli", stopping(tyro.extras.overridable_config_cli))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stopping(argparse.ArgumentParser.parse_args))
    monkeypatch.setattr(sys, "argv", [module, *shown(arguments)])
    with pytest.raises(ParsedError):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


@pytest.mark.parametrize("words", COMMANDS)
def test_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when an option that a page shows is renamed."""
    launcher, *rest = words
    if launcher == "pip":
        assert all(
            one in OPTIONAL for word in rest for group in re.findall(r"\[(.*)\]", word) for one in group.split(",")
        )
    elif launcher == "make":
        assert set(rest) <= TARGETS
    elif launcher == "kdvideo":
        parses("kdvideo", rest, monkeypatch)
    elif "-m" in rest:
        module, *arguments = rest[rest.index("-m") + 1 :]
        spec = importlib.util.find_spec(module)
        assert spec is not None
        if arguments:
            monkeypatch.delitem(sys.modules, module, raising=False)
            parses(module, arguments, monkeypatch)
    elif launcher == "python":
        assert (ROOT / rest[0]).is_file()


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 80
