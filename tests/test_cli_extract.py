"""`kdvideo extract` and `kdvideo verify`: what a person reads, and the exit status."""

from pathlib import Path

import pytest

from kdvideo import flow as kf
from kdvideo.cli import extract_command, main
from tests.extraction.fakes import clips, files, write_clip

SMALL = ["--short-side", "24", "--fps", "10", "--preset", "fast", "--backend", "eager", "--workers", "0"]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_extract_and_verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips(tmp_path / "videos", 2)
    assert run("extract", tmp_path / "videos", tmp_path / "flow", *SMALL, "--codec", "raw", "--bound", 10) == 0
    assert capsys.readouterr().out == "2 clips done (8 flows), 0 failed\n"
    store = kf.FlowStore(tmp_path / "flow", bound=10, estimator=kf.TVL1Estimator(kf.FAST), fps=10, size=(24, 32))
    assert [store.read(clip).shape for clip in store] == [(4, 2, 24, 32)] * 2
    assert store.info("a/clip000.mp4")["codec"] == "Raw()"
    assert run("verify", tmp_path / "flow") == 0
    assert capsys.readouterr() == ("", "no problem\n")


def test_failures_are_printed_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "a.mp4", 10)
    (tmp_path / "list.csv").write_text("a.mp4,run\nb.mp4,run\n")
    assert run("extract", tmp_path / "list.csv", tmp_path / "flow", *SMALL) == 1
    assert capsys.readouterr().out == "1 clips done (4 flows), 1 failed\n  1 x no such file: b.mp4\n"
    assert run("verify", tmp_path / "flow") == 1
    assert capsys.readouterr() == ("b.mp4.flow.json: failed: no such file\n", "1 problems\n")
    assert run("extract", tmp_path / "list.csv", tmp_path / "flow", *SMALL, "--retry-failed") == 1
    write_clip(tmp_path / "b.mp4", 20)
    assert run("extract", tmp_path / "list.csv", tmp_path / "flow", *SMALL) == 0


def test_flow_below_the_videos_is_not_taken_for_a_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 10)
    for _ in range(2):
        assert run("extract", tmp_path, tmp_path / "flow", *SMALL) == 0
    assert set(files(tmp_path / "flow")) == {"extraction.json", "a.mp4.flow.json", "a.mp4.flow.zst"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["extract", "nowhere", "flow"], "no such file or folder"),
        (["extract", "empty", "flow"], "no video below it"),
        (["extract", "videos", "videos"], "OUT must be another folder than VIDEOS"),
        (["extract", "videos", "flow", *SMALL, "--fps", "0"], "fps must be positive"),
        (["extract", "videos", "flow", "--fps", "10", "--short-side", "0"], "short_side must be at least 1"),
        (["extract", "videos", "flow", *SMALL, "--bound", "-1"], "bound must be a positive number"),
        (["extract", "videos", "flow", *SMALL, "--backend", "abacus"], "abacus"),
        (["extract", "videos", "flow", *SMALL, "--deadline", "-5"], "deadline must be a positive number"),
        (["verify", "nowhere"], "no such folder"),
    ],
)
def test_bad_usage(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write_clip(Path("videos/a.mp4"), 10)
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert not Path("flow").exists()


@pytest.mark.parametrize("wrong", [["extract", "a"], ["extract", "a", "b", "--codec", "zip"], ["verify"]])
def test_bad_options(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        run(*wrong)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert err.endswith(f"; see kdvideo {wrong[0]} --help\n")


def test_the_choices_are_those_of_flow() -> None:
    assert sorted(extract_command.PRESETS) == sorted(kf.PRESETS)
    codecs = {name: getattr(kf, attribute) for name, attribute in extract_command.CODECS.items()}
    assert codecs == {"lossless": kf.LOSSLESS, "near-lossless": kf.NEAR_LOSSLESS, "raw": kf.UNCOMPRESSED}


def test_a_disk_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_clip(tmp_path / "a.mp4", 10)
    (tmp_path / "file").touch()
    assert run("extract", tmp_path / "a.mp4", tmp_path / "file" / "flow", *SMALL) == 3
    printed = capsys.readouterr().err
    assert "flow cannot be written: Not a directory. What is done is kept" in printed
    assert len(printed.splitlines()) == 1


def test_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "a.mp4", 10)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kf.FlowStore, "writer", interrupted)
    assert run("extract", tmp_path / "a.mp4", tmp_path / "flow", *SMALL) == 130
    assert capsys.readouterr().err.splitlines()[-1].startswith("stopped by Ctrl-C. What is done is kept")
