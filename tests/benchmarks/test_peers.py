"""The record of parity: rendered, consistent, in the cards; and how a row, a case and a checkout are read."""

import json

import pytest
import torch

import kdvideo as kd
from benchmarks import record
from benchmarks.peers import cards, case, other_rows, parity, torchdistill_rows
from benchmarks.peers.row import TOLERANCE, Row, measure
from benchmarks.peers.sources import Sources

FOUND = json.loads((record.FOLDER / f"{parity.NAME}.json").read_text())


def soft_target(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return kd.functional.soft_target(student, teacher)


def row(factor: float, why: str = "") -> Row:
    return Row("SoftTarget", "theirs", "× 1", lambda s, t: factor * soft_target(s, t), soft_target, why=why)


def test_the_committed_table_is_rendered_from_the_committed_record() -> None:
    assert parity.render(FOUND) == (record.FOLDER / f"{parity.NAME}.md").read_text()


def test_cells_hold_no_column_mark() -> None:
    widths = {line.count("|") for line in parity.render(FOUND).splitlines() if line.startswith("|")}
    assert widths == {8}


def test_the_record_has_every_peer_and_verdicts_that_follow_from_its_numbers() -> None:
    assert {found["peer"] for found in FOUND["rows"]} == set(parity.PEERS) == set(FOUND["versions_of_peers"])
    for found in FOUND["rows"]:
        largest = max(value for dtype in ("float64", "float32") for value in found[dtype].values())
        assert largest == found["largest"]
        assert (found["verdict"] == "equal") == (largest <= TOLERANCE) == (not found["why"]), found["name"]
        assert hasattr(kd, found["method"])


def test_ours_is_what_the_equation_gives_and_theirs_is_not() -> None:
    computed = [found for found in FOUND["cases"] if found["expected"]]
    assert len(computed) >= 9
    for found in computed:
        ours, theirs, expected = (float(found[name]) for name in ("ours", "theirs", "expected"))
        assert ours == pytest.approx(expected, rel=2e-3), found["name"]
        assert theirs != pytest.approx(expected, rel=5e-2), found["name"]


@pytest.mark.parametrize("page", cards.PAGES, ids=lambda page: page.stem)
def test_the_cards_have_the_lines_of_the_record(page) -> None:
    assert cards.updated(page.read_text(), FOUND) == page.read_text(), "run: python -m benchmarks.peers.parity"


def test_every_method_of_the_record_has_a_line_in_one_card() -> None:
    text = "".join(page.read_text() for page in cards.PAGES)
    for method in {found["method"] for found in FOUND["rows"]}:
        assert any(cards.line({method, other}, FOUND) in text for other in (method, "RKDDistance", "RKDAngle")), method


def test_a_card_gets_its_line_once_and_at_the_end_of_its_list() -> None:
    page = "### DKD\n- **When:** now.\n- **Source:** a paper,\n  2022.\n\n### NKD\n- **When:** then.\n"
    once = cards.updated(page, FOUND)
    line = cards.line({"DKD"}, FOUND)
    assert line.startswith("- **Parity:** mdistiller a08d46f `dkd_loss`")
    assert once == page.replace("  2022.\n", f"  2022.\n{line}")
    assert cards.updated(once, FOUND) == once


def test_equal_losses_are_equal_and_others_differ() -> None:
    assert measure(row(1.0))["verdict"] == "equal"
    found = measure(row(1.5, why="half as much again"))
    assert (found["verdict"], found["float64"]["value"]) == ("differs", 0.5)


@pytest.mark.parametrize(("factor", "why"), [(1.001, ""), (1.0, "no reason")])
def test_a_difference_needs_a_reason_and_a_reason_a_difference(factor: float, why: str) -> None:
    with pytest.raises(ValueError, match="must give a reason only if it differs"):
        measure(row(factor, why))


def test_a_gradient_that_differs_is_seen() -> None:
    detached = Row("SoftTarget", "theirs", "× 1", lambda s, t: soft_target(s, t).detach() + 0 * s.sum(), soft_target)
    with pytest.raises(ValueError, match=r"'gradient': 1\.0"):
        measure(detached)


def test_results_are_shown_as_numbers_words_and_names_of_errors() -> None:
    assert case.shown(lambda: torch.tensor(1 / 3)) == "0.3333"
    assert case.shown(lambda: "constant") == "constant"
    assert case.shown(lambda: soft_target(torch.zeros(2, 3), torch.zeros(1, 3))) == "ValueError"
    assert case.kl([4.0, 0.0], [0.0, 0.0], 4.0) == pytest.approx(0.1109, abs=1e-4)


def test_a_file_of_mmrazor_needs_no_registry(tmp_path) -> None:
    folder = tmp_path / "mmrazor" / "mmrazor" / "models" / "losses"
    folder.mkdir(parents=True)
    source = "from mmrazor.registry import MODELS\n\n@MODELS.register_module()\nclass One:\n    value = 1\n"
    (folder / "one.py").write_text(source)
    assert Sources(tmp_path).mmrazor("one").One.value == 1


@pytest.mark.parametrize(
    ("peer", "module", "rows"),
    [
        ("timm", "timm.task", other_rows.timm),
        ("torchdistill", "torchdistill", torchdistill_rows.rows),
        ("ModelOpt", "modelopt.torch.distill", other_rows.modelopt),
        ("TRL", "trl", other_rows.trl),
    ],
)
def test_the_verdicts_of_an_installed_peer_are_those_of_the_record(tmp_path, peer, module, rows) -> None:
    pytest.importorskip(module, reason=f"{peer} is not installed")
    verdicts = [measure(row)["verdict"] for row in rows(Sources(tmp_path))]
    assert verdicts == [found["verdict"] for found in FOUND["rows"] if found["peer"] == peer]
