"""The recipe end to end on tiny synthetic videos: one process, two processes, killed and resumed, bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from examples.d3d import evaluate, report, train_student
from examples.d3d import run as recipe
from kdvideo import cli
from kdvideo.training import StepLog
from tests.examples.tiny import CLASSES, ROOT, command, inside, run, succeeded


@pytest.fixture(scope="module")
def finished(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("finished")
    inside(recipe.main, clips, work, "--seeds", "0", "1", "--test-every", "4")
    return work


def test_run_writes_report_student_and_pictures(finished: Path) -> None:
    out = finished / "out"
    result = json.loads((out / "report.json").read_text(), parse_constant=pytest.fail)
    assert [row["method"] for row in result["rows"]][3] == "D3D"
    assert all(len(row["top1"]) == 2 and 0 <= row["mean"] <= 1 for row in result["rows"])
    rgb, flow, both, d3d, _ = result["rows"]
    assert both["parameters"] == rgb["parameters"] + flow["parameters"]
    assert d3d["parameters"] == rgb["parameters"]
    assert d3d["multiply_adds"] == rgb["multiply_adds"] > flow["multiply_adds"]
    assert sum(map(sum, result["confusion"])) == 2 * 2 * len(CLASSES)
    text = (out / "report.md").read_text()
    assert f"| D3D | {' | '.join(f'{100 * value:.1f}' for value in d3d['per_class'])} |" in text
    for picture in report.PICTURES:
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
    assert text.index("(accuracy.png)") < text.index("| method |")
    rows = StepLog.read(out / "seed0" / "d3d" / "log.jsonl")
    assert [row["step"] for row in rows if "top1" in row] == [3, 5]  # every fourth step, and the last


def test_a_second_run_trains_nothing(clips: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.glob("out/seed*/*/*")}
    inside(recipe.main, clips, finished, "--seeds", "0", "1")
    assert len(before) >= 6 * 3
    assert {path: path.stat().st_mtime_ns for path in finished.glob("out/seed*/*/*")} == before


@pytest.mark.reliability("A16")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--optimizer.lr", "0.5"), "flow must .* got optimizer.lr 0.003, not 0.5: choose another folder"),
        (("--distill-weight", "2"), r"d3d must .* got distill_weight 1.0, not 2.0"),
    ],
)
def test_a_folder_with_other_settings_is_refused(
    clips: Path, finished: Path, change: tuple[str, ...], said: str
) -> None:
    """Fails when `claim_folder` compares nothing, or a group of settings as a whole."""
    with pytest.raises(SystemExit, match=f"^error: .*{said}"):
        inside(recipe.main, clips, finished, *change)


@pytest.mark.reliability("C3")
def test_the_student_is_a_plain_file_for_a_bare_network(finished: Path) -> None:
    """Fails when `save` puts a prefix before the names of the weights."""
    code = (
        "import sys, torch; from safetensors.torch import load_file; from kdvideo import models\n"
        "net = models.s3dg(2, depth_multiplier=0.25)\n"
        f"net.load_state_dict(load_file({str(finished / 'out' / 'student.safetensors')!r}), strict=True)\n"
        "assert not any('teacher' in name for name in sys.modules if name.startswith('examples'))\n"
        "print(tuple(net.eval()(torch.zeros(1, 3, 8, 32, 32)).shape))"
    )
    assert succeeded(run(["-c", code])) == "(1, 2)\n"


def test_predict_and_evaluate_read_the_student(clips: Path, finished: Path, capsys) -> None:
    student = str(finished / "out" / "student.safetensors")
    clip = str(next((clips / "test").rglob("*.mp4")))
    assert cli.main(["predict", "--weights", student, clip]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in CLASSES)
    inside(evaluate.main, clips, finished, "--weights", student)
    printed = capsys.readouterr().out
    report = json.loads((finished / "out" / "report.json").read_text())
    assert f"top-1 {report['rows'][3]['top1'][0]:.3f} on 4 clips" in printed


def logs(work: Path) -> dict[str, list[str]]:
    return {
        f"{path.parts[-3]}/{path.parts[-2]}": path.read_text().splitlines()
        for path in work.glob("out/seed*/*/log.jsonl")
    }


@pytest.mark.reliability("A1")
def test_a_killed_run_resumes_with_the_same_losses(clips: Path, finished: Path, tmp_path: Path) -> None:
    """Fails when a step's seed counts from where the process began, or the optimizer's state is not loaded."""
    arguments = command(clips, tmp_path, "--seeds", "0", "--test-every", "4")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("out/seed*/*/checkpoints/step_*/manifest.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "report.json").exists()
    succeeded(run(arguments))
    resumed, whole = logs(tmp_path), logs(finished)
    assert len(resumed) == 3
    assert resumed == {key: whole[key] for key in resumed}


def test_an_interrupted_run_leaves_a_checkpoint_and_says_how_to_go_on(clips: Path, tmp_path: Path) -> None:
    arguments = command(clips, tmp_path, "--optimizer.steps", "100000", module="examples.d3d.train_student")
    process = subprocess.Popen([sys.executable, *arguments, "--distill-weight", "0"], cwd=ROOT, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("out/seed*/*/log.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command continues from here" in printed
    assert len(list(tmp_path.glob("out/seed*/*/checkpoints/step_*/manifest.json"))) >= 1


@pytest.mark.reliability("D3")
def test_two_processes_train_one_network(clips: Path, tmp_path: Path) -> None:
    """Fails when every process writes the log."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29541")
    printed = succeeded(run(command(clips, tmp_path, "--mixed-precision", "bf16"), launcher=launcher))
    assert printed.count("# D3D report") == 1
    settings = [json.loads(path.read_text()) for path in tmp_path.glob("out/seed*/*/settings.json")]
    assert not any("processes" in one for one in settings)  # any number of them may continue it
    assert all(len(lines) == 6 for lines in logs(tmp_path).values())


def test_accumulated_batches_take_as_many_steps(clips: Path, tmp_path: Path) -> None:
    inside(train_student.main, clips, tmp_path, "--gradient-accumulation-steps", "2", "--distill-weight", "0")
    ((_, lines),) = logs(tmp_path).items()
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--train", "nowhere"), "nowhere"),
        (("--input.crop", "99"), "crop must be at most short_side 36, got 99"),
        (("--flow-preset", "guess"), "guess"),
        (("--teacher", "gone.safetensors"), "gone.safetensors"),
        (("--distinct-views", "-1"), "distinct-views"),
        (("--optimizer.steps", "0"), "steps must be at least 1, got 0"),
        (("--checkpointing-steps", "0"), "checkpointing_steps must be at least 1, got 0"),
        (("--gradient-accumulation-steps", "3"), "batch_size must divide into 3 accumulated parts, got 4"),
    ],
)
def test_bad_settings_end_with_a_sentence(
    clips: Path, tmp_path: Path, capsys, change: tuple[str, ...], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        inside(recipe.main, clips, tmp_path, *change)
    assert stop.value.code not in (0, None)
    assert message in f"{stop.value.code} {capsys.readouterr().err}"
    assert not list(tmp_path.glob("out/*.*"))


def test_a_broken_clip_is_named(clips: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(clips, copy)
    broken = next((copy / "train").rglob("*.mp4"))
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(SystemExit, match=f"(?s)error: .*{broken.name}"):
        inside(recipe.main, copy, tmp_path / "work")
    assert not list(tmp_path.glob("work/out/seed*/*/*.safetensors"))


def test_logged_losses_are_finite_and_fall(finished: Path) -> None:
    for lines in logs(finished).values():
        values = [json.loads(line) for line in lines]
        assert [value["step"] for value in values] == list(range(6))
        assert all(torch.tensor(list(value.values())).isfinite().all() for value in values)


def test_weights_carry_their_input(finished: Path) -> None:
    assert load_file(finished / "out" / "student.safetensors")["head.proj.weight"].shape[0] == len(CLASSES)
