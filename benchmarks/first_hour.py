"""Follow the page of the first hour in a fresh clone, command by command, and time every command.

    python -m benchmarks.first_hour

It stops at the first command that fails. What the commands print goes to the terminal. The caches of pip and uv are the
user's own: where they are filled, the installation takes less time than on a new machine.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import markdown, record

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guides" / "first_hour.md"
COMMANDS = re.compile(r"^    (\S.*)$", re.M)


def script(page: str, address: str, times: Path) -> str:
    """Return the commands of a page as one bash script that writes seconds and exit status of each to a file."""
    lines = []
    for command in COMMANDS.findall(page):
        lines += [
            "begin=$EPOCHREALTIME",
            f"echo {shlex.quote('$ ' + command)}",
            command.replace("ADDRESS", shlex.quote(address)),
            f'status=$?; echo "$begin $EPOCHREALTIME $status" >> {shlex.quote(str(times))}',
            "[ $status = 0 ] || exit $status",
        ]
    return "\n".join(lines)


def walk(page: str, address: str) -> list[dict[str, Any]]:
    """Run the commands of a page in an empty folder; return command, seconds and exit status of each that ran."""
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder, "times")
        home = Path(folder, "home")
        home.mkdir()
        plain = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
        path = [part for part in plain["PATH"].split(os.pathsep) if Path(part) != Path(sys.executable).parent]
        plain["PATH"] = os.pathsep.join(path)
        subprocess.run(["bash", "-c", script(page, address, times)], cwd=home, env=plain, check=False)
        measured = [line.split() for line in times.read_text().splitlines()]
    return [
        {"command": command, "seconds": round(float(end) - float(begin), 1), "status": int(status)}
        for command, (begin, end, status) in zip(COMMANDS.findall(page), measured, strict=False)
    ]


def render(result: dict[str, Any]) -> str:
    """Render the table, and say it if a command failed."""
    steps = result["steps"]
    rows = [[f"`{step['command']}`", _time(step["seconds"])] for step in steps]
    rows.append(["all of it, without the reading", _time(sum(step["seconds"] for step in steps))])
    failed = [f"**`{step['command']}` failed.**" for step in steps if step["status"]]
    return "\n".join([*markdown.table(["command", "time"], rows), "", *failed, markdown.where(result), ""])


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    walked = walk(PAGE.read_text(encoding="utf-8"), str(ROOT))
    environment = record.environment("python -m benchmarks.first_hour", len(os.sched_getaffinity(0)))
    record.write("first_hour", {"steps": walked, **environment}, render)
    sys.exit(max(step["status"] for step in walked))
