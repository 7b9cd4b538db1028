"""The result of a job, and the progress bar while it grows."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from kdvideo._escaping import printable
from kdvideo.extraction.job import ClipRow, Outcome


@dataclass
class JobResult:
    """Counts of a job, and the reason of each failure by clip id; printed, a summary.

    Attributes:
        unit: of `amount`.
        done: clips whose file is there.
        new: clips that this call worked on, failed ones among them.
        amount: what was made of the clips that are done, before this call too.
        failed: clip id -> reason.

    Examples:
        >>> print(JobResult("MB", done=2, new=3, amount=5, failed={"b.mp4": "the file is empty"}))
        2 clips done (5 MB), 1 failed
          1 x the file is empty: b.mp4
    """

    unit: str
    done: int = 0
    new: int = 0
    amount: float = 0
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, clip_id: str, outcome: Outcome) -> None:
        """Count a clip that is done or failed.

        Args:
            clip_id: the clip.
            outcome: its status, amount and reason.
        """
        self.new += outcome.new
        if outcome.status == "failed":
            self.failed[clip_id] = outcome.reason
            return
        self.done, self.amount = self.done + 1, self.amount + outcome.amount

    def __str__(self) -> str:
        lines = [f"{self.done} clips done ({self.amount:.0f} {self.unit}), {len(self.failed)} failed"]
        for reason, count in sorted(Counter(self.failed.values()).items(), key=lambda item: (-item[1], item[0])):
            names = sorted(printable(clip) for clip, why in self.failed.items() if why == reason)
            more = f" and {count - 3} more" if count > 3 else ""
            lines.append(f"  {count} x {printable(reason)}: {', '.join(names[:3])}{more}")
        return "\n".join(lines)


@dataclass
class ExtractionResult(JobResult):
    """The result of an extraction of flow.

    Attributes:
        unit: as in `JobResult`.
        done: as in `JobResult`.
        new: as in `JobResult`.
        amount: flows of the clips that are done.
        failed: as in `JobResult`.

    Examples:
        >>> result = ExtractionResult(done=2, amount=10)
        >>> result.flows, result.frames
        (10, 12)
    """

    unit: str = "flows"

    @property
    def flows(self) -> int:
        """Flows of the clips that are done."""
        return int(self.amount)

    @property
    def frames(self) -> int:
        """Frames of the clips that are done."""
        return self.flows + self.done


class Progress:
    """The result so far and, if `shown`, a bar with rate and remaining time on the terminal."""

    def __init__(self, result: JobResult, total: int, shown: bool) -> None:
        from tqdm import tqdm

        self.result, self.computed, self.began = result, 0.0, time.monotonic()
        seen = sys.stderr.isatty()
        often = (
            {"dynamic_ncols": True} if seen else {"mininterval": 60.0, "maxinterval": 60.0}
        )  # a log file grows little
        self.bar: Any = tqdm(total=total, unit="clip", disable=not shown, smoothing=0.05, **often)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def count(self, row: ClipRow, outcome: Outcome) -> None:
        """Count a clip."""
        self.result.add(row["clip"], outcome)
        self.computed += outcome.amount if outcome.new else 0
        rate = self.computed / max(time.monotonic() - self.began, 1e-9)
        text = f"{self.result.done} done, {len(self.result.failed)} failed, {rate:.1f} {self.result.unit}/s"
        self.bar.set_postfix_str(text, refresh=False)
        if not (outcome.new or self.bar.disable):  # no work: it must not count for the remaining time
            self.bar.initial += 1
        self.bar.update()
