"""A folder of flow before work begins: of these settings, and without what killed writers left."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from kdvideo.extraction.clip import Job
from kdvideo.extraction.locks import Locks
from kdvideo.files import TEMPORARY, publish, sync, temporary
from kdvideo.flow.store.sidecars import tag

SETTINGS = "extraction.json"


def claim(job: Job, locks: Locks) -> None:
    """Write down the settings of the folder, or compare them. Raises ValueError naming those that differ."""
    path, settings = job.store.folder / SETTINGS, _settings(job)
    with locks.waited_for(tag("")):
        if not path.exists():
            with temporary(path.parent, tag("")) as file:
                file.write(json.dumps(settings, indent=1).encode() + b"\n")
                sync(file)
                publish(file, path)
        try:
            found = dict(json.loads(path.read_bytes()))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is damaged ({error}): remove it if you know the settings of the folder"
            ) from error
    differ = [f"{k} is {found.get(k)!r} there, {v!r} here" for k, v in settings.items() if found.get(k) != v]
    if differ:
        raise ValueError(f"{path.parent} holds flow of other settings; choose another folder ({'; '.join(differ)})")


def _settings(job: Job) -> dict[str, Any]:
    store = job.store
    return {
        "bound": store.bound,
        "fps": None if store.fps is None else float(store.fps),
        "short_side": job.short_side,
        "size": None if store.size is None else list(store.size),
        "codec": str(store.codec),
        "estimator": store.fingerprint,
    }


def clean(folder: Path, locks: Locks) -> None:
    """Remove what killed writers left behind, but nothing that is being written."""
    for path in folder.rglob(TEMPORARY + "*"):
        whose = re.fullmatch(re.escape(TEMPORARY) + "([0-9a-f]{16})[0-9a-f]{32}", path.name)
        if whose:
            with locks.held(whose[1]) as mine:
                if mine:
                    path.unlink(missing_ok=True)
