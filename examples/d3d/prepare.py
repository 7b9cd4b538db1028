"""Write the synthetic videos, where no clips are given, and the flow of all clips.

python -m examples.d3d.prepare pocket
"""

from __future__ import annotations

from examples.d3d.config import parse, plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

from examples.d3d.data import open_clips, prepare
from examples.d3d.training import make_accelerator


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Prepare everything that a training would prepare, and say where it is."""
    config = parse(arguments)
    accelerator, clips = make_accelerator(config), open_clips(config)
    for name, manifest in (("training", clips.train), ("test", clips.test)):
        prepare(clips, manifest, accelerator)
        place = clips.store(manifest).folder if clips.stores_flow else "computed when it is asked for"
        accelerator.print(f"{len(manifest)} {name} clips of {len(clips.classes)} classes; flow: {place}")


if __name__ == "__main__":
    main()
