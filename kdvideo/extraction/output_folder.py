"""The settings of an output folder, recorded in it."""

from __future__ import annotations

import json

from kdvideo.extraction.job import Job
from kdvideo.files import write_atomic


def record_settings(job: Job) -> None:
    """Record the settings of a job in its output folder, or compare them with those recorded there.

    Raises:
        ValueError: the settings there are damaged, or differ; each difference is named.
    """
    settings, path = job.settings, job.folder / job.settings_file
    if not path.exists():
        write_atomic(path, json.dumps(settings, indent=1).encode() + b"\n")
    try:
        found = dict(json.loads(path.read_bytes()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): remove it if you know the settings of the folder") from error
    differ = [f"{k} is {found.get(k)!r} there, {v!r} here" for k, v in settings.items() if found.get(k) != v]
    if differ:
        raise ValueError(
            f"{path.parent} holds {job.noun} of other settings; choose another folder ({'; '.join(differ)})"
        )
