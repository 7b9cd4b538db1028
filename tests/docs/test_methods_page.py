"""The table of all methods has every loss, and says of each what its card and the code say."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

import kdvideo as kd
from kdvideo.losses.kinds import FeatureLoss, LogitLoss, StudentLogitLoss
from tests.core import test_losses_divergences, test_losses_features, test_losses_logits, test_losses_parametric
from tests.core.battery import Row

METHODS = Path(__file__).resolve().parents[2] / "docs" / "methods"
LINE = re.compile(r"\| \[`(\w+)`\]\((\S+?)#(\S+?)\) \| (.*) \| (.*)\| (.*) \| (.*) \| (.*)\|")
TABLE = {name: fields for name, *fields in LINE.findall((METHODS / "index.md").read_text())}
LOSSES = {name for name in kd.__all__ if inspect.isclass(getattr(kd, name)) and issubclass(getattr(kd, name), kd.Loss)}
LAWS = (test_losses_divergences, test_losses_features, test_losses_logits, test_losses_parametric)
KINDS = {
    LogitLoss: {"logits", "numbers"},
    StudentLogitLoss: {"the student's logits"},
    FeatureLoss: {"features", "relations", "attention maps"},
}


def rows() -> Iterator[tuple[str, Row]]:
    """One row of the laws for each loss that has them and is not around another one."""
    found = {type(row.loss).__name__: row for laws in LAWS for row in laws.TABLE.values()}
    yield from ((name, row) for name, row in found.items() if name in TABLE and "another loss" not in TABLE[name][3])


def card(name: str) -> str:
    page, anchor = TABLE[name][:2]
    cards = re.split(r"^### ", (METHODS / page).resolve().read_text(), flags=re.M)
    (text,) = [text for text in cards if re.sub(r"[^\w]+", "-", text.split("\n")[0].lower()).strip("-") == anchor]
    return text


def test_every_loss_has_a_row() -> None:
    assert set(TABLE) == LOSSES - {"Loss"}


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/guides/first_hour.md"])
def test_pages_count_the_losses(page: str) -> None:
    """Fails when a loss is added and a page keeps the number of before."""
    assert re.findall(r"(\d+) losses", (METHODS.parents[1] / page).read_text()) == [str(len(TABLE))]


@pytest.mark.parametrize("name", TABLE)
def test_weight_and_source_are_those_of_the_card(name: str) -> None:
    *_, weight, source = TABLE[name]
    text = " ".join(card(name).split())
    (weights,) = re.findall(r"\*\*Weight.*?(?= - \*\*|$)", text) or [""]
    if weight != "—":
        assert re.search(rf"(?<![\w.]){re.escape(weight)}(?![\w.]*\d)", weights)
    if source.strip() and not source.startswith("as "):
        assert source.strip() in text


@pytest.mark.parametrize("name", TABLE)
def test_what_is_compared_is_the_kind_of_the_class(name: str) -> None:
    allowed = [said for kind, said in KINDS.items() if issubclass(getattr(kd, name), kind)]
    assert not allowed or TABLE[name][2] in allowed[0]


@pytest.mark.parametrize(("name", "row"), list(rows()))
def test_mask_and_needs_are_those_of_the_code(name: str, row: Row) -> None:
    needs, mask = TABLE[name][3], TABLE[name][4]
    assert mask == ("yes" if isinstance(row.masked(mask=row.mask), Tensor) else "no")
    for given in ("labels", "index"):
        assert (given in needs) == (given in row.given)
    learns = any(parameter.requires_grad for parameter in row.loss.parameters())
    assert ("parameters" in needs) == learns
    samples = re.search(r"(\d) samples", needs)
    if isinstance(row.loss, FeatureLoss):
        assert (int(samples[1]) if samples else 1) == row.least_batch
