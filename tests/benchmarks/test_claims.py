"""The paper's claims on records made by hand."""

import json
from pathlib import Path

import pytest

from benchmarks.paper import claims
from benchmarks.paper.tables import scripts
from benchmarks.paper.tables.scales import SCALES

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


def test_without_records_nothing_can_be_told(tmp_path: Path) -> None:
    assert set(verdicts(tmp_path).values()) == {"cannot tell"}
    assert claims.render(claims.result(POCKET, tmp_path)).count("not run") == sum(len(c.pairs) for c in claims.CLAIMS)


def test_table_2(tmp_path: Path) -> None:
    d3d = [80.0, 84.0, 82.0]
    rows = {
        "D3D, RGB": d3d,
        "S3D-G, RGB": [v - 9 for v in (79.0, 85.0, 82.0)],
        "S3D-G, RGB+Flow": [v + 0.3 for v in d3d],
        "D3D+S3D-G, RGB": [v - 1 for v in (80.1, 84.1, 82.0)],
    }
    write(tmp_path, "table2", rows)
    found = verdicts(tmp_path)
    assert found["D3D is better than S3D-G on RGB"] == "holds"
    assert found["D3D is about as good as two streams"] == "holds"
    assert found["D3D+S3D-G (RGB) is better than D3D"] == "does not hold"
    write(tmp_path, "table2", rows | {"S3D-G, RGB+Flow": [v + 15 for v in d3d], "D3D, RGB": d3d[:2]})
    found = verdicts(tmp_path)
    assert found["D3D is better than S3D-G on RGB"] == "cannot tell"
    assert found["D3D is about as good as two streams"] == "cannot tell"
    write(tmp_path, "table2", rows | {"S3D-G, RGB+Flow": [v + 15 for v in d3d]})
    assert verdicts(tmp_path)["D3D is about as good as two streams"] == "does not hold"


@pytest.mark.parametrize(("gain", "verdict"), [(-8.0, "holds"), (1.5, "holds"), (2.5, "does not hold")])
def test_gains_nothing(tmp_path: Path, gain: float, verdict: str) -> None:
    spatial = [70.0, 72.0, 71.0]
    more = [v + gain + e for v, e in zip(spatial, (0.1, -0.1, 0.0), strict=True)]
    taught = {"S3D-G with flow loss": more, "D3D distilled from spatial stream": more}
    write(tmp_path, "table6", {"S3D-G spatial stream": spatial, **taught})
    found = verdicts(tmp_path)
    assert found["a flow loss gains almost nothing"] == verdict
    assert found["distilling from the spatial stream gains almost nothing"] == verdict
    write(tmp_path, "table8", {"D3D, RGB": spatial, "D3D+S3D-G, RGB+Flow": more})
    assert verdicts(tmp_path)["adding flow to D3D gains nothing"] == verdict


def test_one_link_refutes_a_chain_and_a_gap_leaves_it_open(tmp_path: Path) -> None:
    text = "flow is read with errors zeros > S3D-G > D3D > fine-tuned > Flow"
    errors = {name: [5.0 - k, 5.1 - k, 4.9 - k] for k, name in enumerate(claims.ERRORS)}
    write(tmp_path, "table1", errors)
    assert verdicts(tmp_path)[text] == "holds"
    write(tmp_path, "table1", errors | {"D3D, RGB": [4.5, 4.6, 4.4]})
    assert verdicts(tmp_path)[text] == "does not hold"
    del errors["S3D-G, Flow"]
    write(tmp_path, "table1", errors)
    assert verdicts(tmp_path)[text] == "cannot tell"


def test_at_every_layer(tmp_path: Path) -> None:
    text = "at every layer flow is read better from D3D than from S3D-G"
    rows = {f"S3D-G at {layer}": [2.0, 2.1, 2.2] for layer in ("2C", "3A", "3C", "4C", "4F")}
    rows |= {name.replace("S3D-G", "D3D"): [v - 0.5 for v in values] for name, values in rows.items()}
    write(tmp_path, "figure3", rows)
    assert verdicts(tmp_path)[text] == "holds"
    write(tmp_path, "figure3", rows | {"D3D at 4F": [2.0, 2.2, 2.1]})
    assert verdicts(tmp_path)[text] == "cannot tell"


def test_the_table_of_the_claims(tmp_path: Path) -> None:
    write(tmp_path, "table2", {"D3D, RGB": [81.0, 82.0, 83.0], "S3D-G, RGB": [80.0, 80.0, 80.0]})
    claims.write("pocket", tmp_path)
    lines = (tmp_path / "claims_pocket.md").read_text().splitlines()
    ours = "D3D, RGB − S3D-G, RGB: +2.0 ± 0.6 (paired, 3 seeds), cannot tell; -0.5 to +4.5 points"
    assert f"| D3D is better than S3D-G on RGB | **cannot tell** | {ours} | +1.9 | table2 |" in lines
    assert "synthetic videos" in lines[0]
    found = json.loads((tmp_path / "claims_pocket.json").read_text())
    assert found["claims"][0]["links"][0]["measured"]["seeds"] == 3
    several = next(line for line in lines if line.startswith("| distillation helps every backbone"))
    assert "+1.7<br>+1.9<br>+1.3" in several
