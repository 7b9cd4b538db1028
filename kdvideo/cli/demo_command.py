"""The command `kdvideo demo`: a local page on which clips are dropped and networks answer."""

from __future__ import annotations

import argparse

from kdvideo.cli.parsing import SUCCESS, USAGE, Commands, complain, new_command


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = new_command(
        commands,
        "demo",
        run,
        summary="show on a local page what networks see in a clip",
        details="Serve a page on this machine alone: drop a clip, and see frames, flow, the most probable classes of "
        'each network side by side, where it sees them, and how long it took. Needs pip install "kdvideo[demo]".',
        example="kdvideo demo runs/demo/seed0/rgb/model.safetensors runs/demo/seed0/d3d/model.safetensors",
    )
    parser.add_argument("weights", nargs="*", metavar="STUDENT", help="files of weights, on RGB or on flow")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="of the page; 0: a free one (default 7860)")
    parser.add_argument(
        "--deadline", type=float, default=60.0, metavar="SECONDS", help="that a clip may take (default 60)"
    )


def run(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    if not options.weights:
        complain(
            "name at least one network, such as kdvideo demo runs/demo/student.safetensors: "
            "make demo trains one, kdvideo convert writes others' weights as such a file"
        )
        return USAGE
    import tempfile
    from pathlib import Path

    from kdvideo._extras import check_installed

    check_installed("kdvideo demo", "gradio", extra="demo")
    from kdvideo import models
    from kdvideo.demo import answering, page
    from kdvideo.demo.worker import Worker

    weights = answering.named(options.weights)
    try:
        classes = models.checkpoints.load(options.weights[0])[1]["classes"] or []
        worker = Worker(weights, options.deadline)
    except (ValueError, OSError) as error:
        return complain(error)
    with tempfile.TemporaryDirectory(prefix="kdvideo-demo-") as folder:
        samples = answering.sample_clips(Path(folder), classes)
        try:
            page.serve(page.build(worker, samples, list(weights)), options.port, _announce)
        except OSError as error:
            return complain(f"port {options.port}: {error}; choose another with --port, or 0 for a free one")
        finally:
            worker.close()
    return SUCCESS


def _announce(address: str) -> None:
    print(f"the page is at {address}, for this machine alone; Ctrl-C ends it", flush=True)
