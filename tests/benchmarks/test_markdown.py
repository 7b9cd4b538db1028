"""What a reader of the tables sees."""

import re

from benchmarks.paper import figure3_layers
from benchmarks.paper.tables import rendering, running, scripts
from benchmarks.paper.tables.records import RecordFile
from benchmarks.paper.tables.scales import SCALES
from benchmarks.paper.tables.table import Measured
from tests.benchmarks.fakes import ENVIRONMENT, Counting, options, table, without_machine


def lines(text: str) -> dict[str, list[str]]:
    """First cell -> the others, in the table that is not folded away."""
    shown = text.split("<details")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in shown if line[:1] == "|"]
    return {first: rest for first, *rest in cells}


def rendered(tmp_path, monkeypatch, *seeds: str) -> str:
    without_machine(monkeypatch)
    running.run([table(Counting())], options(tmp_path, "--seeds", *seeds))
    return (tmp_path / "results" / "table6_pocket.md").read_text()


def test_ours_and_the_papers_stand_in_their_own_columns(tmp_path, monkeypatch) -> None:
    found = lines(rendered(tmp_path, monkeypatch, "0", "1"))
    assert found[""] == ["ours: top-1 (%)", "seeds", "paper (Kinetics-400, reduced)"]
    assert found["D3D"] == ["80.5 ± 0.5", "2", "75.9"]
    assert found["MARS"] == ["75.5 ± 0.5", "2", ""]
    assert found["quoted"] == ["not run (the paper quotes it)", "", "74.3"]


def test_every_class_has_its_mean(tmp_path, monkeypatch) -> None:
    text = rendered(tmp_path, monkeypatch, "0", "1")
    folded = text.split("<details markdown>")[1].split("</details>")[0]
    assert "top-1 of every class" in folded
    found = lines(folded)
    assert found.pop("---") == ["---"] * 2
    assert found.pop("") == ["orbit", "spin"]
    assert set(found) == {"S3D-G spatial stream", "D3D", "MARS"}
    assert all(cells == ["90.0", "50.0"] for cells in found.values())
    without = table(lambda row, lab, seed: Measured(1.0, 5))
    running.run([without], options(tmp_path / "none", "--seeds", "0"))
    assert "<details" not in (tmp_path / "none" / "results" / "table6_pocket.md").read_text()


def test_one_seed_has_no_spread(tmp_path, monkeypatch) -> None:
    assert lines(rendered(tmp_path, monkeypatch, "1"))["D3D"] == ["81.0 (one seed: no spread)", "1", "75.9"]


def test_the_caption_says_on_what_both_were_measured(tmp_path, monkeypatch) -> None:
    text = rendered(tmp_path, monkeypatch, "1")
    caption = text.splitlines()[0]
    assert caption.startswith(
        "**Table 6 of the paper: Ablations on reduced Kinetics-400, top-1.** Ours: top-1 in % on "
    )
    assert "the embedded synthetic videos" in caption
    assert "**not on the data of the paper**" in caption
    assert "How it is done." in text
    assert text.splitlines()[-1] == (
        "*a processor, 1 thread; torch 2.13; commit 0123456789; 2026-01-02; `python -m benchmarks.x`*"
    )


def test_every_environment_is_named_once() -> None:
    other = {**ENVIRONMENT, "commit": "fedcba98765", "uncommitted_changes": True, "threads": 2}
    unused = {**ENVIRONMENT, "commit": "abcdefabcdef"}
    seeds = {str(number): {"environment": number} for number in range(3)}
    record = {"environments": [ENVIRONMENT, other, ENVIRONMENT, unused], "rows": {"D3D": {"seeds": seeds}}}
    text = rendering.where(record)
    assert "abcdef" not in text
    assert text.count("a processor, 1 thread, a processor, 2 threads;") == 1
    assert "commit 0123456789, commit fedcba9876 with changes;" in text
    assert text.count("torch 2.13") == 1


def test_nothing_run_is_said(tmp_path) -> None:
    for name in ("table1", "table2", "table3", "table6", "table7", "table8", "figure3", "figure4"):
        one = scripts.load(name).TABLE
        for scale in SCALES.values():
            text = rendering.document(one, RecordFile(one, scale, tmp_path).read())
            runnable = sum(bool(row.of) for row in one.rows)
            assert len(re.findall(r"\| not run (?=\|)", text)) == runnable
            assert "Nothing of it was run yet" in text


def test_figure_3_has_a_line_a_layer_and_a_column_a_network(tmp_path) -> None:
    one = figure3_layers.TABLE
    record = RecordFile(one, SCALES["pocket"], tmp_path).read()
    record["rows"] = {"D3D at 3C": {"seeds": {"0": {"value": 0.5}, "1": {"value": 0.25}}}}
    found = lines("\n".join(figure3_layers.body(one, record)))
    assert found["layer"] == ["All zeros", "S3D-G", "D3D", "S3D-G, fine-tuned"]
    assert found["3C"] == ["not run", "not run", "0.375 ± 0.125", "not run"]
    assert len(found) == 2 + len(figure3_layers.LAYERS)
