"""Every card of a loss has an equation, its call with the code's defaults, a pitfall, a source, and leads to a loop."""

import ast
import inspect
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import kdvideo as kd
from tests.docs.test_methods_page import METHODS, TABLE, card

AROUND = {name for name, fields in TABLE.items() if "another loss" in fields[3]}
PARTS = ("Equation:** \\(", "Code:** `kd.", "When:**", "Pitfall:**", "loops.md)")


@pytest.mark.parametrize("name", TABLE)
def test_a_card_has_all_its_parts(name: str) -> None:
    """Fails when a part of PARTS is taken out of a card."""
    text = card(name)
    wanted = PARTS if name in AROUND else (*PARTS, "Source:**", "Weight")
    assert [part for part in wanted if part not in text] == []


@pytest.mark.parametrize("name", TABLE)
def test_the_code_of_a_card_has_the_defaults_of_the_class(name: str) -> None:
    """Fails when a default that a card shows is changed in the code, or is no argument any more."""
    (code,) = re.findall(rf"`(kd\.{name}\(.*?\))`[,;]", card(name))
    loss = eval(code, {"kd": kd, "nn": nn, "torch": torch})
    assert isinstance(loss, kd.Loss)
    parameters = inspect.signature(getattr(kd, name)).parameters
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    for given in call.keywords:
        default = parameters[given.arg].default
        assert default is inspect.Parameter.empty or default == ast.literal_eval(given.value)


def test_equations_are_closed() -> None:
    """Fails when a \\) of an equation is missing: the rest of the paragraph would be typeset as one."""
    for page in [*METHODS.glob("*.md"), *Path(METHODS.parent).glob("**/*.md")]:
        text = page.read_text()
        assert text.count("\\(") == text.count("\\)"), page
        assert text.count("\\[ ") == text.count(" \\]"), page
