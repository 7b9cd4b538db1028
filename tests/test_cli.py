"""The command line as a whole, `kdvideo predict`, `describe` and `doctor`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

import kdvideo as kd
from kdvideo import cli, models
from kdvideo.cli import describe_command, doctor_command, main
from tests.data.videos import write_video

COMMANDS = ["predict", "demo", "convert", "export", "prepare", "extract", "features", "verify", "describe", "doctor"]
SMALL = {"depth_multiplier": 0.125, "min_depth": 8}
Captured = pytest.CaptureFixture[str]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def one_line(capsys: Captured) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


HEAVY = """
import sys
from kdvideo.cli import main
try:
    main([*sys.argv[1:], "--help"])
except SystemExit as end:
    assert end.code == 0
rooms = ("torch", "kdvideo.data", "kdvideo.flow", "kdvideo.models", "kdvideo.extraction", "kdvideo.training", "av")
print(*sorted(set(rooms) & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_help_imports_neither_torch_nor_a_room(command: list[str]) -> None:
    """Fails when a command, or the package itself, imports torch before its command line is read."""
    done = subprocess.run([sys.executable, "-c", HEAVY, *command], check=True, capture_output=True, text=True)
    assert done.stderr == "\n"


def test_as_a_module() -> None:
    command = [sys.executable, "-m", "kdvideo"]
    shown = subprocess.run([*command, "--help"], check=True, capture_output=True, text=True)
    assert shown.stdout.startswith("usage: kdvideo ")
    assert all(f"  {name}  " in shown.stdout for name in COMMANDS)
    wrong = subprocess.run([*command, "distil"], check=False, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: argument COMMAND: invalid choice: 'distil' (choose from ")
    assert wrong.stderr.endswith("; see kdvideo --help\n")
    assert wrong.stderr.count("\n") == 1


def test_the_script_is_this_command_line() -> None:
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    assert 'kdvideo = "kdvideo.cli:main"' in pyproject.read_text()


def test_without_a_command(capsys: Captured) -> None:
    with pytest.raises(SystemExit, match="2"):
        run()
    assert "required: COMMAND" in one_line(capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, capsys: Captured) -> None:
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    assert f"example:\n  kdvideo {command}" in capsys.readouterr().out


def test_version(capsys: Captured) -> None:
    with pytest.raises(SystemExit, match="0"):
        run("--version")
    assert capsys.readouterr().out == f"kdvideo {kd.__version__}\n"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C\n"),
        (ModuleNotFoundError("x", name="av"), 1, 'error: av is not installed: run pip install "kdvideo[video]"\n'),
    ],
)
def test_what_every_command_may_meet(
    error: BaseException, status: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(doctor_command, "examine", fail)
    assert run("doctor") == status
    assert capsys.readouterr() == ("", message)


def test_a_missing_module_of_ours_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("x", name="kdvideo.nowhere")

    monkeypatch.setattr(doctor_command, "examine", fail)
    with pytest.raises(ModuleNotFoundError):
        run("doctor")


def test_a_reader_that_goes_away() -> None:
    command = [sys.executable, "-m", "kdvideo", "describe", "s3d", "--all"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = models.s3d(3, **SMALL)
    view = {"stream": "rgb", "frames": 8, "fps": 12.5, "short_side": 40, "crop": 32, "flow_bound": 20.0}
    path = tmp_path / "a.safetensors"
    models.checkpoints.save(network, path, classes=["run", "jump", "swim"], input_spec=view, extra={"data": "ours"})
    return path


class TestPredict:
    def test_prints_the_top_classes_of_each_clip(self, weights: Path, tmp_path: Path, capsys: Captured) -> None:
        clips = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
        for clip in clips:
            write_video(clip)
        assert run("predict", "--weights", weights, *clips, "--top", 2, "--views", 2) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0::3] == [str(clip) for clip in clips]
        assert {line.split()[-1] for line in lines[1:3]} < {"run", "jump", "swim"}
        assert len(lines) == 6

    def test_a_bad_clip_does_not_stop_the_others(self, weights: Path, tmp_path: Path, capsys: Captured) -> None:
        write_video(tmp_path / "b.mp4")
        assert run("predict", "--weights", weights, tmp_path / "a.mp4", tmp_path / "b.mp4") == 1
        out, err = capsys.readouterr()
        assert out.splitlines()[0] == str(tmp_path / "b.mp4")
        assert err.startswith(f"error: {tmp_path / 'a.mp4'}")
        assert err.count("\n") == 1

    def test_the_network_is_loaded_once(
        self, weights: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Fails when the command loads the network for every clip."""
        loads: list[object] = []
        load = models.checkpoints.load
        monkeypatch.setattr(models.checkpoints, "load", lambda *a: (loads.append(a), load(*a))[1])
        write_video(tmp_path / "a.mp4")
        assert run("predict", "--weights", weights, *[tmp_path / "a.mp4"] * 3) == 0
        assert len(loads) == 1

    def test_names_are_escaped(self, weights: Path, tmp_path: Path, capsys: Captured) -> None:
        r"""Fails when a name is printed as it is: `\x1b[2J` clears the terminal, a line feed forges a line."""
        name = "a\x1b[2J\n 99.9 %  run.mp4"
        write_video(tmp_path / name)
        (tmp_path / ("bad" + name)).touch()
        assert run("predict", "--weights", weights, tmp_path / name, tmp_path / ("bad" + name)) == 1
        out, err = capsys.readouterr()
        assert out.splitlines()[0] == rf"{tmp_path}/a\x1b[2J\n 99.9 %  run.mp4"
        assert r"bada\x1b[2J\n" in err
        assert "\x1b" not in out + err

    def test_no_weights(self, tmp_path: Path, capsys: Captured) -> None:
        assert run("predict", "--weights", tmp_path / "none.pt", "a.mp4") == 1
        assert "none.pt: no such file" in one_line(capsys)

    @pytest.mark.parametrize("option", ["--top", "--views"])
    def test_counts_start_at_one(self, option: str, capsys: Captured) -> None:
        with pytest.raises(SystemExit, match="2"):
            run("predict", "--weights", "a", "a.mp4", option, 0)
        assert "must be at least 1, got 0" in one_line(capsys)


class TestDescribe:
    def test_a_file(self, weights: Path, capsys: Captured) -> None:
        assert run("describe", weights) == 0
        facts, _, table = capsys.readouterr().out.partition("\n\n")
        for line in (
            "format      kdvideo",
            "network     s3d",
            "classes     3 (run, jump, swim)",
            "clip        3x8x32x32 (channels, frames, height, width)",
            "data        ours",
        ):
            assert line in facts.splitlines()
        assert "stream rgb, frames 8, fps 12.5, short_side 40, crop 32" in facts
        network = models.s3d(3, **SMALL)
        assert f"parameters  {sum(p.numel() for p in network.parameters()):,}" in facts
        rows = [line.split(maxsplit=3) for line in table.splitlines()]
        assert rows[0] == ["layer", "path", "type", "output"]
        assert {row[0]: row[1] for row in rows[1:]} == network.layer_names

    def test_the_layers_are_those_that_a_teacher_taps(self, weights: Path, capsys: Captured) -> None:
        run("describe", weights)
        table = capsys.readouterr().out.partition("\n\n")[2].splitlines()[1:]
        network = models.checkpoints.load(weights)[0]
        seen = kd.Teacher(network, list(network.layer_names))(torch.zeros(1, 3, 8, 32, 32)).features
        shapes = {line.split(maxsplit=3)[0]: line.split(maxsplit=3)[3] for line in table}
        assert shapes == {name: str(tuple(feature.shape)) for name, feature in seen.items()}

    def test_every_module(self, weights: Path) -> None:
        network = models.s3d(3, **SMALL)
        lines = describe_command.describe(network, {}, every_module=True)
        table = lines[lines.index("") + 2 :]
        assert len(table) == len(dict(network.named_modules(remove_duplicate=False)))

    @pytest.mark.parametrize(
        "name", ["s3dg", "x3d_s", "slowfast_r50", "slow_r50_detection", "torchvision:r3d_18", "timm:resnet18"]
    )
    def test_a_network(self, name: str, capsys: Captured) -> None:
        assert run("describe", name) == 0
        facts, _, table = capsys.readouterr().out.partition("\n\n")
        assert "a network with fresh weights" in facts
        assert f"network     {name.rpartition(':')[2]}\n" in facts
        assert len(table.splitlines()) > 5

    def test_a_backbone_of_pytorchvideo(self, tmp_path: Path, capsys: Captured) -> None:
        network = models.pytorchvideo("x3d_xs", num_classes=7)
        torch.save({"model_state": network.network.state_dict()}, tmp_path / "x.pyth")
        assert run("describe", tmp_path / "x.pyth", "--name", "x3d_xs") == 0
        assert "classes     7" in capsys.readouterr().out

    def test_errors(self, tmp_path: Path, capsys: Captured) -> None:
        (tmp_path / "a.txt").write_text("not weights")
        assert run("describe", tmp_path / "a.txt") == 1
        assert "a.txt" in one_line(capsys)
        assert run("describe", "s4d") == 1
        assert "s4d: no such file or network; networks are s3dg, i3d, s3d, torchvision:NAME" in one_line(capsys)
        assert run("describe", "timm:nothing") == 1
        assert "nothing" in one_line(capsys)


class TestDoctor:
    def test_a_whole_machine(self, capsys: Captured) -> None:
        assert run("doctor") == 0
        out, err = capsys.readouterr()
        topics = dict(line.split(maxsplit=1) for line in out.splitlines())
        assert err == ""
        assert topics["torch"] == metadata.version("torch")
        assert torch.backends.cpu.get_cpu_capability() in topics["CPU"]
        assert f"{torch.get_num_threads()} threads" in topics["CPU"]
        assert topics["[video]"].strip() == "complete"
        assert "h264" in topics["decoder"]
        assert "BROKEN" not in out

    def test_what_is_missing_is_no_failure(self, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
        real = metadata.version

        def version(name: str) -> str:
            if name == "timm":
                raise metadata.PackageNotFoundError(name)
            return real(name)

        monkeypatch.setattr(metadata, "version", version)
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setattr(doctor_command.shutil, "which", lambda name: None)
        assert run("doctor") == 0
        out = capsys.readouterr().out
        assert 'lacks timm: run pip install "kdvideo[video]"' in out
        assert "none: TV-L1 runs in plain torch" in out

    def test_what_is_broken_is(self, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
        real = doctor_command.import_module

        def broken(name: str) -> object:
            if name == "timm":
                raise OSError("undefined symbol")
            return real(name)

        monkeypatch.setattr(doctor_command, "import_module", broken)
        assert run("doctor") == 1
        assert "BROKEN: " in capsys.readouterr().out
        assert [finding.topic for finding in doctor_command.examine() if finding.broken] == ["timm"]

    def test_a_package_for_another_torch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fails when versions are not compared: "operator torchvision::nms does not exist" is all that is said then."""
        monkeypatch.setattr(metadata, "requires", lambda name: ["numpy", "torch==2.1.0"])
        finding = doctor_command._package("torchvision")
        assert finding.broken
        assert "built for torch 2.1.0" in finding.text
        assert "pip install --upgrade torch torchvision" in finding.text

    def test_a_compiler_that_does_not_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ValueError("cannot build")

        monkeypatch.setattr(kd.flow, "tvl1", fail)
        monkeypatch.setenv("CXX", "c++")
        assert doctor_command._compiler() == ("C++ compiler", "c++: cannot build", True)

    def test_a_copy_that_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def absent(name: str) -> None:
            raise metadata.PackageNotFoundError(name)

        monkeypatch.setattr(metadata, "requires", absent)
        assert doctor_command._extras() == {}


def test_every_command_is_listed() -> None:
    assert [module.__name__.rpartition(".")[2] for module in cli.COMMANDS] == [f"{name}_command" for name in COMMANDS]
