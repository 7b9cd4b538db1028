"""Preparing an output folder: its settings are recorded, and files of killed writers removed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from kdvideo.extraction.job import Job
from kdvideo.extraction.locks import Locks
from kdvideo.files import TEMPORARY, publish, sync, temporary
from kdvideo.flow.store.sidecars import tag


def record_settings(job: Job, locks: Locks) -> None:
    """Record the settings of a job in its output folder, or compare them with those recorded there.

    Raises:
        ValueError: the settings there are damaged, or differ; each difference is named.
    """
    settings, path = job.settings, job.folder / job.settings_file
    with locks.lock(tag("")):
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
        raise ValueError(
            f"{path.parent} holds {job.noun} of other settings; choose another folder ({'; '.join(differ)})"
        )


def remove_leftovers(folder: Path, locks: Locks) -> None:
    """Remove the temporary files of killed writers, but none that is being written."""
    for path in folder.rglob(TEMPORARY + "*"):
        owner = re.fullmatch(re.escape(TEMPORARY) + "([0-9a-f]{16})[0-9a-f]{32}", path.name)
        if owner:
            with locks.try_lock(owner[1]) as acquired:
                if acquired:
                    path.unlink(missing_ok=True)
