"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_atomic(path: Path, data: bytes) -> None:
    """Write beside `path`, flush to the disk, then rename: a crash leaves the old file, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".writing-{uuid.uuid4().hex}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
