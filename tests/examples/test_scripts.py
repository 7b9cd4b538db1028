"""Every script of examples/ runs with no argument, says what it should, and stays one short file."""

import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
import torch

from kdvideo import models
from kdvideo.data import synthetic
from tests.examples import forked

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
SCRIPTS = [path for path in SCRIPTS if path.name != "__init__.py"]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2")

# What a newcomer must find in the output of each.
SAYS = {
    "accelerate_loop": "1 process(es) on cpu, mixed precision: no",
    "born_again": "generation 2",
    "clip_pair": "student taught, 150 pairs",
    "compiled_step": "as one graph, fullgraph=True",
    "composed_criterion": "0.5*feature_mse[hidden]",
    "ema_teacher": "with the average as teacher: student",
    "export_student": "program in a process without kdvideo: same logits: True",
    "features": "rgb + flow-free ",
    "feature_distillation": "the bare student",
    "fsdp2": "holds 7690 of 7690 numbers of the student",
    "hf_trainer": "the checkpoint is the bare student: True",
    "language_model": "student taught",
    "lightning_module": "epoch 10, step 160",
    "logit_distillation": "student taught, 100 labels + 900 images",
    "mars": "student taught, RGB",
    "masked_features": "student after MVD, 40 labels: ",
    "mers": "student taught, RGB",
    "mutual_learning": "convolutional, mutual",
    "optical_flow": "wrote optical_flow.png",
    "own_loss": "100*similarity[hidden]",
    "predict_onnx": "clip.mp4: 16 frames at 25 a second, by student.onnx",
    "progressive": "layer by layer, then labels",
    "segmentation": "student taught, 24 labeled scenes",
    "several_teachers": "student, weights per sample",
    "silent_student": "student taught, RGB",
    "streaming": "frame 48: class ",
    "streaming_video": "frame    24 ",
    "teacher_cache": "runs while training from the cache: 0",
    "timm_mobilenet": "MobileNetV3 taught, 100 labels",
    "two_inputs": "student taught, RGB",
    "video_transformer": "epoch 48: the student names the teacher's class: ",
}


def run(script: str, folder: Path, *arguments: str, launcher: Sequence[str] = ()) -> tuple[int, str, str]:
    """Return exit status, output and errors of a script that runs in a folder, by a command or in a fork."""
    python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"PYTHONPATH": python_path, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    path = ROOT / "examples" / f"{script}.py"
    if not launcher:
        status, out, err = forked.run(path, folder, arguments, environment)
        # transformers imports torchao where it is installed, and PyTorch warns of that.
        return status, out, re.sub(r"^W\d{4} .*_pytree\.py.* is an Enum subclass .*\n", "", err, flags=re.MULTILINE)
    command = [*launcher, str(path), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=280
    )
    return done.returncode, done.stdout, done.stderr


@functools.cache
def output(script: str, folder: Path) -> str:
    status, out, err = run(script, folder)
    assert (status, err) == (0, "")
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which each script runs once."""
    return tmp_path_factory.mktemp("examples")


def percents(text: str) -> dict[str, float]:
    """The means of the rows "  name  12.3 ± 4.5" of a printed table."""
    rows = [line.rsplit(maxsplit=3) for line in text.splitlines() if re.match(r"  .* ± ", line)]
    return {name.strip(): float(mean) for name, mean, *_ in rows}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_runs_without_argument_and_warning(path: Path, folder: Path) -> None:
    assert SAYS[path.stem] in output(path.stem, folder)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_is_one_short_file(path: Path) -> None:
    text = path.read_text()
    assert 30 <= len(text.splitlines()) <= 120
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    assert not imported & {"examples", "benchmarks", "tests", "", *(other.stem for other in SCRIPTS)}
    assert f"python examples/{path.name}" in (ast.get_docstring(ast.parse(text)) or "")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("page", ["examples/README.md", "docs/examples.md"])
def test_is_named_on_the_page(path: Path, page: str) -> None:
    assert path.name in (ROOT / page).read_text()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_is_included_in_the_docs(path: Path) -> None:
    # A formatter of Python in Markdown once wrote "8 < --", and the page showed that instead of the scripts.
    assert f'--8<-- "examples/{path.name}"' in (ROOT / "docs" / "examples.md").read_text()


@pytest.mark.parametrize(
    ("script", "taught", "alone", "margin"),
    [
        ("clip_pair", "student taught, 150 pairs", "student alone, 150 pairs", 3),
        ("language_model", "student alone", "student taught", 0.05),  # a cross-entropy: less is better
        ("mars", "student taught, RGB", "student alone, RGB", 3),
        ("mers", "student taught, RGB", "student alone, RGB", 3),
        ("progressive", "layer by layer, then labels", "labels alone", 1),
        ("segmentation", "student taught, 24 labeled scenes", "student alone, 24 labeled scenes", 1),
        ("several_teachers", "student, averaged probabilities", "student, labels alone", 2),
        ("timm_mobilenet", "MobileNetV3 taught, 100 labels", "MobileNetV3 alone, 100 labels", 3),
    ],
)
def test_student_is_better_than_alone(script: str, taught: str, alone: str, margin: float, folder: Path) -> None:
    rows = percents(output(script, folder))
    assert rows[taught] > rows[alone] + margin


def test_students_gain_from_their_teachers(folder: Path) -> None:
    images = percents(output("logit_distillation", folder))
    assert images["student taught, 100 labels"] > images["student alone, 100 labels"] + 1
    assert images["student taught, 100 labels + 900 images"] > images["student taught, 100 labels"]
    clips = percents(output("two_inputs", folder))
    assert clips["student taught, RGB"] > clips["student alone, RGB"] + 3


@pytest.mark.parametrize(
    ("launcher", "arguments", "says"),
    [
        pytest.param(TORCHRUN, (), "2 process(es) on cpu", id="two processes"),
        pytest.param((), ("--mixed-precision", "bf16"), "mixed precision: bf16", id="bf16"),
        pytest.param((), ("--accumulate", "2"), "in 2 part(s)", id="accumulation"),
    ],
)
def test_accelerate_elsewhere(launcher: Sequence[str], arguments: Sequence[str], says: str, tmp_path: Path) -> None:
    status, out, err = run("accelerate_loop", tmp_path, *arguments, launcher=launcher)
    assert (status, err) == (0, "")
    assert says in out
    assert "of 797 test images are right" in out


def test_shards_of_two_processes(tmp_path: Path) -> None:
    status, out, err = run("fsdp2", tmp_path, launcher=TORCHRUN)
    assert (status, err) == (0, "")
    assert "2 process(es) on cpu; this one holds 3845 of 7690 numbers of the student" in out
    assert found(r"the bare student: (.*) %", out) > 85


def found(pattern: str, text: str) -> float:
    """The one number of an output that a pattern names."""
    (number,) = re.findall(pattern, text)
    return float(number)


def test_accumulated_losses_are_those_of_the_batch(folder: Path) -> None:
    assert found(r"largest difference of a weight: (.*)", output("hf_trainer", folder)) < 1e-4
    text = output("language_model", folder)
    assert found(r"normalizer of the batch: gradient differs by (\S*)", text) < 1e-4
    assert found(r"means of the parts: gradient differs by (\S*)", text) > 0.05


def test_a_causal_student_learns_and_its_stream_is_the_clip(folder: Path) -> None:
    text = output("streaming", folder)
    assert found(r"causal, taught by the teacher: (.*) %", text) > found(r"causal, the same weights: (.*) %", text) + 30
    differences = re.findall(r"off the whole clip by (\S+),", text)
    assert len(differences) == 6
    assert max(map(float, differences)) < 1e-4
    assert len(set(re.findall(r"state of (\d+) numbers", text))) == 1


def test_features_without_flow_are_near_those_with_it(folder: Path) -> None:
    text = output("features", folder)
    assert found(r"less their mean: (\S+)", text) > 0.6
    assert found(r"  rgb \+ flow-free +(\S+) %", text) > found(r"  rgb +(\d\S*) %", text)


@pytest.mark.parametrize("flag", ["--clips", "--steps"])
def test_nothing_to_train_on_is_wrong_usage(flag: str, tmp_path: Path) -> None:
    """Fails when an optimizer's schedule, or an empty stack, is what says so."""
    status, _, err = run("features", tmp_path, flag, "0")
    assert status == 2
    assert err.endswith("error: --clips and --steps must be at least 1\n")


def test_a_transformer_is_followed(folder: Path) -> None:
    """Fails when views and cached logits are of different clips: one class has 60 % of the views."""
    rates = re.findall(r"names the teacher's class: (.*) %", output("video_transformer", folder))
    assert float(rates[-1]) > 75


def test_the_student_of_a_transformer_is_saved_and_the_cache_kept(folder: Path, tmp_path: Path) -> None:
    """Fails when the clips of a folder are not those that are seen, or the teacher runs on what is cached."""
    videos = synthetic.write_dataset(tmp_path / "clips", clips_per_class={"train": 1}, frames=8, fps=10) / "train"
    flags = ["--clips", str(videos), "--epochs", "1", "--views", "2", "--cache", "logits", "--out", "s.safetensors"]
    status, out, err = run("video_transformer", tmp_path, *flags)
    assert (status, err) == (0, "")
    assert "2 views of 6 clips;" in out
    network, info = models.checkpoints.load(tmp_path / "s.safetensors")
    assert (len(network.classes), info["input"]["fps"]) == (5, 6.25)
    (kept,) = (tmp_path / "logits").glob("*")
    before = kept.stat().st_mtime_ns
    assert run("video_transformer", tmp_path, *flags)[0] == 0
    assert [path.stat().st_mtime_ns for path in (tmp_path / "logits").glob("*")] == [before]


@pytest.mark.parametrize(
    ("flags", "says"),
    [(["--clips", "gone"], "gone"), (["--student", "x3d_y"], "x3d_s"), (["--teacher", "./gone"], "gone")],
)
def test_wrong_flags_of_the_transformer_are_one_line(flags: list[str], says: str, tmp_path: Path) -> None:
    status, _, err = run("video_transformer", tmp_path, *flags)
    assert status == 1
    assert err.startswith("video_transformer.py: ")
    assert says in err
    assert "Traceback" not in err


def test_tokens_teach_without_labels(folder: Path) -> None:
    """Fails when the student gets the tokens of other places than the teacher, or learns nothing from them."""
    text = output("masked_features", folder)
    names = ("alone", "after UMT", "after MVD")
    alone, umt, mvd = (found(rf"student {name}, 40 labels: (.*) %", text) for name in names)
    assert umt > alone + 8
    assert mvd > alone


def test_a_stream_is_drawn(folder: Path, tmp_path: Path) -> None:
    output("streaming_video", folder)
    files = [str(folder / name) for name in ("stream.safetensors", "stream.mp4")]
    status, _, err = run("streaming_video", tmp_path, *files, "--out", "drawn.mp4")
    assert (status, err) == (0, "")
    with av.open(files[1]) as one, av.open(str(tmp_path / "drawn.mp4")) as two:
        shown, drawn = (
            torch.stack([torch.from_numpy(f.to_ndarray(format="gray")) for f in c.decode(video=0)]) for c in (one, two)
        )
    assert shown.shape == drawn.shape
    changed = (shown.int() - drawn.int()).abs() > 60
    assert not changed[:7].any(), "no class is known before the eighth frame"
    assert changed[7:, : 72 // 2].any(2).sum(1).min() > 20, "three lines of text"
    assert not changed[7:, 72 // 2 + 8 :].any()


def test_a_drawing_that_cannot_be_written_is_one_line(folder: Path, tmp_path: Path) -> None:
    """Fails when the source is blamed for it, or when a traceback comes with it."""
    output("streaming_video", folder)
    files = [str(folder / name) for name in ("stream.safetensors", "stream.mp4")]
    status, _, err = run("streaming_video", tmp_path, *files, "--out", "gone/drawn.mp4")
    assert (status, err) == (1, "streaming_video.py: gone/drawn.mp4: [Errno 2] No such file or directory\n")


@pytest.mark.parametrize(
    ("script", "program"), [("predict_onnx", "student.onnx"), ("streaming_video", "stream.safetensors")]
)
def test_what_cannot_be_read_is_one_line(script: str, program: str, folder: Path, tmp_path: Path) -> None:
    """Fails when an error of a decoder or of a reader of weights comes with a traceback."""
    output(script, folder)
    broken = tmp_path / "broken"
    broken.write_bytes(b"neither weights nor a video")
    good, clip = folder / program, folder / ("clip.mp4" if script == "predict_onnx" else "stream.mp4")
    for arguments in ([broken, clip], [tmp_path / "gone", clip], [good, broken], [good, tmp_path / "gone"]):
        status, _, err = run(script, tmp_path, *map(str, arguments))
        assert (status, err.count("\n")) == (1, 1), err
        assert err.startswith(f"{script}.py: {tmp_path}/")


def test_lightning_keeps_the_student_only(folder: Path) -> None:
    (line,) = [line for line in output("lightning_module", folder).splitlines() if line.startswith("in the checkpoint")]
    keys = line.removeprefix("in the checkpoint: ").split()
    assert {key.rsplit(".", 1)[0] for key in keys} == {
        "student.model.1",
        "student.model.3",
        "student.projectors.hidden",
    }


def test_compiled_losses_are_those_of_the_plain_step(folder: Path) -> None:
    assert found(r"largest difference of a loss in 50 steps: (.*)", output("compiled_step", folder)) < 1e-4


def test_flow_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(synthetic.encode(synthetic.render("orbit", seed=0, frames=8)))
    status, _, err = run("optical_flow", tmp_path, "clip.mp4")
    assert (status, err) == (0, "")
    assert (tmp_path / "optical_flow.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("frames", "message"),
    [(None, "optical_flow.py: clip.mp4: "), (1, "flow needs at least 2 frames")],
)
def test_flow_of_a_file_without_motion_is_one_line(frames: int | None, message: str, tmp_path: Path) -> None:
    if frames is not None:
        clip = torch.zeros(frames, 3, 64, 64, dtype=torch.uint8)
        (tmp_path / "clip.mp4").write_bytes(synthetic.encode(clip))
    status, _, err = run("optical_flow", tmp_path, "clip.mp4")
    assert status == 1
    assert err.count("\n") == 1
    assert message in err
