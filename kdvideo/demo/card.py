"""The answers as HTML: every text is escaped, every picture is inside, nothing is asked of another machine."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from torch import Tensor

from kdvideo._escaping import printable
from kdvideo.demo.answering import Answer

STREAMS = {"rgb": "sees RGB", "flow": "sees optical flow"}
SIDE = 240  # pixels that small frames are enlarged to

CSS = """
.kd-cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); gap: 1rem; }
.kd-card { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: .8rem; min-width: 0; }
.kd-card h3 { margin: 0 0 .5rem; overflow-wrap: anywhere; }
.kd-card h3 small { font-weight: normal; }
.kd-card figure { margin: 0; } .kd-card figcaption { font-size: .85rem; }
.kd-pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
.kd-card img { width: 100%; border-radius: 4px; }
.kd-row { display: grid; grid-template-columns: minmax(0, 7rem) 1fr 4.2rem; gap: .5rem; align-items: center; }
.kd-row span:first-child { overflow-wrap: anywhere; }
.kd-row span:last-child { text-align: right; white-space: nowrap; }
.kd-bar { height: .8rem; border-radius: 2px; background: #0072B2; min-width: 1px; }
.kd-error { border-left: 4px solid #D55E00; padding: .6rem 1rem; overflow-wrap: anywhere; }
"""


def cards(clip: str, answers: Sequence[Answer]) -> str:
    """Return the answers on a clip side by side."""
    return f'<h2>{escape(printable(clip))}</h2><div class="kd-cards">{"".join(map(_card, answers))}</div>'


def problem(text: str) -> str:
    """Return a message that says what is wrong with a clip."""
    return f'<div class="kd-error" role="alert">{escape(printable(text))}</div>'


def _card(one: Answer) -> str:
    name, top = escape(printable(one.name)), escape(printable(one.top[0][0]))
    sees = "what it sees" if one.stream == "rgb" else "what it sees; hue: direction"
    pictures = _figure(one.seen, sees, f"frames that {name} sees")
    if one.marked is not None:
        pictures += _figure(one.marked, f"orange: where it sees “{top}”", f"where {name} sees {top}")
    rows = "".join(
        f'<div class="kd-row"><span>{escape(printable(label))}</span>'
        f'<span class="kd-bar" style="width:{100 * share:.1f}%"></span><span>{100 * share:.1f} %</span></div>'
        for label, share in one.top
    )
    times = ", ".join(f"{what} {1000 * seconds:.0f} ms" for what, seconds in one.seconds.items())
    return (
        f'<section class="kd-card"><h3>{name} <small>{STREAMS[one.stream]}</small></h3>'
        f'<div class="kd-pair">{pictures}</div>{rows}<p><small>{times}</small></p></section>'
    )


def _figure(frames: Tensor, caption: str, alternative: str) -> str:
    """Return moving frames, and a single one for those who asked their system for no motion."""
    still = f'<source srcset="{_data(frames[len(frames) // 2][None])}" media="(prefers-reduced-motion: reduce)">'
    image = f'<img src="{_data(frames)}" alt="{alternative}">'
    return f"<figure><picture>{still}{image}</picture><figcaption>{caption}</figcaption></figure>"


def _data(frames: Tensor) -> str:
    from PIL import Image

    factor = max(1, SIDE // min(frames.shape[2:]))
    images = [Image.fromarray(one.permute(1, 2, 0).numpy()) for one in frames]
    images = [one.resize((one.width * factor, one.height * factor), Image.Resampling.NEAREST) for one in images]
    file = io.BytesIO()
    images[0].save(file, "WEBP", save_all=True, append_images=images[1:], duration=100, loop=0, quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
