"""The paper's claims on records made by hand."""

import json
from pathlib import Path

import pytest

from benchmarks.paper import claim_list, claims
from benchmarks.paper.tables import scripts
from benchmarks.paper.tables.scales import SCALES
from benchmarks.paper.tables.sharing import shared

POCKET = SCALES["pocket"]


def write(folder: Path, table: str, rows: dict[str, list[float]]) -> None:
    """A record with these values at the seeds 0, 1, ..."""
    seeds = {name: {"seeds": {str(k): {"value": v} for k, v in enumerate(values)}} for name, values in rows.items()}
    record = {"table": table, "scale": "pocket", "data": "synthetic videos", "rows": seeds}
    (folder / f"{table}_pocket.json").write_text(json.dumps(record))


def verdicts(folder: Path) -> dict[str, str]:
    return {one["claim"]: str(one["verdict"]) for one in claims.result(POCKET, folder)["claims"]}


def test_every_claim_names_rows_on_which_a_claim_rests() -> None:
    for claim in claims.CLAIMS:
        table = scripts.load(claim.table).TABLE
        assert all(table.row(name).claim for pair in claim.pairs for name in pair), claim.text


def test_pairs_are_the_rows_that_share_a_trained_network() -> None:
    rows = {name: scripts.load(name).TABLE.row for name in ("table2", "table6", "table1")}
    second, sixth, first = (rows[name] for name in ("table2", "table6", "table1"))
    assert shared(second("D3D+S3D-G, RGB"), second("D3D, RGB"))  # a member of the ensemble
    assert shared(second("S3D-G, RGB+Flow"), second("S3D-G, RGB"))
    assert shared(second("D3D, RGB"), second("S3D-G, RGB+Flow"))  # its teacher
    assert shared(sixth("D3D"), sixth("D3D distilled at layer 2C"))  # one teacher of both
    assert not shared(second("D3D, RGB"), second("S3D-G, RGB"))
    assert not shared(sixth("D3D distilled from spatial stream"), sixth("S3D-G spatial stream"))  # of another seed
    assert not shared(first("All zeros"), first("All zeros"))
    assert shared(first("S3D-G, RGB"), first("S3D-G, RGB, fine-tuned"))


def test_without_records_nothing_was_run(tmp_path: Path) -> None:
    assert set(verdicts(tmp_path).values()) == {"not run"}
    pairs = sum(len(one.pairs) for one in claims.CLAIMS)
    assert claims.render(claims.result(POCKET, tmp_path)).count("not run") == len(claims.CLAIMS) + pairs
    assert set(claims.power("pocket", tmp_path, ["table5"]).splitlines()) == {
        "table5: D3D's features detect actions better than S3D-G's: needs a pilot of 3 runs"
    }


def table_2(**changes: list[float]) -> dict[str, list[float]]:
    return {
        "D3D, RGB": [80.0, 84.0, 82.0],
        "S3D-G, RGB": [60.0, 61.0, 62.0],
        "S3D-G, RGB+Flow": [80.3, 84.4, 82.3],
        "D3D+S3D-G, RGB": [79.0, 83.1, 81.0],
    } | changes


def test_table_2(tmp_path: Path) -> None:
    write(tmp_path, "table2", table_2())
    found = verdicts(tmp_path)
    assert found["D3D is better than S3D-G on RGB"] == "holds"
    assert found["D3D is about as good as two streams"] == "holds"
    assert found["D3D+S3D-G (RGB) is better than D3D"] == "does not hold"
    how = [one["links"][0]["measured"]["paired"] for one in claims.result(POCKET, tmp_path)["claims"][:3]]
    assert how == [False, True, True]
    write(tmp_path, "table2", table_2(**{"D3D, RGB": [80.0, 84.0]}))
    assert verdicts(tmp_path)["D3D is better than S3D-G on RGB"] == "too few runs"
    write(tmp_path, "table2", table_2(**{"S3D-G, RGB": [70.0, 81.0, 82.0]}))
    assert verdicts(tmp_path)["D3D is better than S3D-G on RGB"] == "needs runs"


def test_other_claims_count_in_holm_s_correction(tmp_path: Path) -> None:
    text = "D3D's features detect actions better than S3D-G's"
    write(tmp_path, "table5", {"D3D": [20.0, 21.0, 22.0], "S3D-G": [16.5, 17.5, 18.6]})
    before = claims.result(POCKET, tmp_path)["claims"]
    assert verdicts(tmp_path)[text] == "holds"
    noisy = {"S3D-G, RGB": [70.0, 81.0, 92.0], "S3D-G, RGB+Flow": [80.0, 92.0, 70.0]}
    write(tmp_path, "table2", table_2(**noisy, **{"D3D+S3D-G, RGB": [60.0, 99.0, 80.0]}))
    assert verdicts(tmp_path)[text] == "needs runs"
    one, other = (
        next(c for c in each if c["claim"] == text) for each in (before, claims.result(POCKET, tmp_path)["claims"])
    )
    assert other["p_value"] > one["p_value"]


@pytest.mark.parametrize(("gain", "verdict"), [(-8.0, "holds"), (1.0, "holds"), (1.9, "needs runs"), (2.1, "not seen")])
def test_gains_nothing(tmp_path: Path, gain: float, verdict: str) -> None:
    flow = {"D3D, RGB": [70.0, 72.0, 71.0], "D3D+S3D-G, RGB+Flow": [70 + gain, 72.3 + gain, 70.7 + gain]}
    write(tmp_path, "table8", flow)
    assert verdicts(tmp_path)["adding flow to D3D gains nothing"] == verdict
    assert f"difference of {gain:+.1f} points" in claims.power("pocket", tmp_path) or verdict != "not seen"
    write(tmp_path, "table8", flow | {"D3D+S3D-G, RGB+Flow": [80.0, 82.3, 80.7]})
    assert verdicts(tmp_path)["adding flow to D3D gains nothing"] == "does not hold"


def test_one_link_refutes_a_chain_and_a_gap_leaves_it_open(tmp_path: Path) -> None:
    text = "flow is read with errors zeros > S3D-G > D3D > fine-tuned > Flow"
    errors = {name: [5.0 - k, 5.1 - k, 4.9 - k] for k, name in enumerate(claim_list.ERRORS)}
    write(tmp_path, "table1", errors)
    assert verdicts(tmp_path)[text] == "holds"
    write(tmp_path, "table1", errors | {"D3D, RGB": [4.5, 4.6, 4.4]})
    assert verdicts(tmp_path)[text] == "does not hold"
    del errors["S3D-G, Flow"]
    write(tmp_path, "table1", errors)
    assert verdicts(tmp_path)[text] == "not run"


def timed(values: list[float], name: str, seconds: float | None, hardware: str) -> dict:
    trainings = {
        seed: {f"{name}{seed}": {"first_losses": [1.0], "seconds": seconds}, f"flow{seed}": {"seconds": 60.0}}
        for seed in range(len(values))
    }
    return {"seeds": {str(k): {"value": v, "environment": 0, "trainings": trainings[k]} for k, v in enumerate(values)}}


@pytest.mark.parametrize(
    ("hardware", "seconds", "unit"),
    [("x, no GPU used", 300.0, "core-hours"), ("x, H200", 300.0, "GPU-hours"), ("x, H200", None, "")],
)
def test_the_cost_of_the_missing_runs_counts_each_training_once(
    tmp_path: Path, hardware: str, seconds: float | None, unit: str
) -> None:
    rows = {
        "D3D, RGB": timed([80.0, 84.0, 82.0], "d3d", seconds, hardware),
        "S3D-G, RGB": timed([79.0, 74.0, 82.0], "rgb", seconds, hardware),
    }
    about = {"table": "table2", "scale": "pocket", "data": "x", "environments": [{"hardware": hardware}], "rows": rows}
    (tmp_path / "table2_pocket.json").write_text(json.dumps(about))
    one = claims.result(POCKET, tmp_path)["claims"][0]
    missing = one["runs_needed"] - 3
    expected = f"{missing} of them still to do, about {missing * 660 / 3600:.1f} {unit}" if unit else None
    assert one["cost"] == expected


def test_the_table_of_the_claims(tmp_path: Path) -> None:
    write(tmp_path, "table2", {"D3D, RGB": [81.0, 82.0, 83.0], "S3D-G, RGB": [80.0, 80.0, 80.0]})
    claims.write("pocket", tmp_path)
    lines = (tmp_path / "claims_pocket.md").read_text().splitlines()
    ours = "D3D, RGB − S3D-G, RGB: +2.0 ± 0.6 (Welch, 3 and 3 runs); -0.5 to +4.5 points"
    needs = claims.result(POCKET, tmp_path)["claims"][0]["runs_needed"]
    assert f"| D3D is better than S3D-G on RGB | **needs {needs} runs** | 0.074 | {ours} | +1.9 | table2 |" in lines
    assert "synthetic videos" in lines[0]
    several = next(line for line in lines if line.startswith("| distillation helps every backbone"))
    assert "+1.7<br>+1.9<br>+1.3" in several
