"""The page itself, by gradio: local, without telemetry, and without a request to any other machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from kdvideo._extras import needed
from kdvideo.data import ClipError
from kdvideo.demo import card
from kdvideo.demo.answering import MOST_BYTES, MOST_SECONDS, Answer

HOST = "127.0.0.1"
TITLE = "kdvideo: what the networks see"
HOW = f"""# {TITLE}
Drop a clip of at most {MOST_SECONDS:g} s and {MOST_BYTES >> 20} MiB, or take a sample. It stays on this machine.
Each network is shown the middle of the clip; orange marks where it sees its first class."""
# The browser itself refuses what is not from here; gradio builds its page with inline code.
POLICY = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
Answering = Callable[[str], Sequence[Answer]]


def build(answering: Answering, samples: Mapping[str, Path], names: Sequence[str]) -> Any:
    """Build the application: a FastAPI with gradio's page at its root.

    Args:
        answering: clip -> what the networks say of it; ClipError, ValueError and TimeoutError say why not.
        samples: name -> clip, for the buttons.
        names: of the networks.

    Raises:
        ModuleNotFoundError: gradio is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    with needed("kdvideo demo", "demo"):
        import gradio
        from fastapi import FastAPI
        from starlette.middleware.trustedhost import TrustedHostMiddleware

    with gradio.Blocks(title=TITLE, analytics_enabled=False) as blocks:
        gradio.Markdown(HOW)
        gradio.Markdown(f"Networks: {', '.join(f'`{name}`' for name in names)}")
        dropped = gradio.File(label="clip", elem_id="clip", height=150)
        with gradio.Row():
            buttons = {name: gradio.Button(name, size="sm", elem_classes="sample", min_width=80) for name in samples}
        shown = gradio.HTML(elem_id="answer")
        respond = partial(reply, answering)
        shared: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": 1, "concurrency_id": "clips"}
        dropped.upload(respond, dropped, shown, **shared)
        for name, button in buttons.items():
            button.click(partial(_sample, respond, samples[name]), None, [shown, dropped], **shared)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])

    async def guard(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    app.middleware("http")(guard)
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}  # none is fetched
    return gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        theme=gradio.themes.Default(**fonts),
        css=card.CSS,
        max_file_size=MOST_BYTES,
        footer_links=[],
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
    )


def _sample(respond: Callable[[str], str], clip: Path) -> tuple[str, None]:
    return respond(str(clip)), None  # the box of dropped clips is emptied


def reply(answering: Answering, clip: str) -> str:
    """Return the answers on a clip as HTML, or what is wrong with it."""
    try:
        return card.cards(Path(clip).name, answering(clip))
    except (ClipError, ValueError, TimeoutError, OSError) as error:
        # The name of the file as it was dropped, not the folder that the server keeps it in.
        return card.problem(str(error).replace(f"{Path(clip).parent}{os.sep}", ""))


def serve(app: Any, port: int, ready: Callable[[str], None]) -> None:
    """Serve an application on the loopback until Ctrl-C.

    Args:
        app: of `build`.
        port: 0 for any free one.
        ready: called with the page's address.

    Raises:
        OSError: the port is taken.
    """
    import uvicorn

    with socket.create_server((HOST, port)) as listening:
        ready(f"http://{HOST}:{listening.getsockname()[1]}/")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
