"""Commands of the recipe whose reader is gone."""

import subprocess
import sys
from pathlib import Path

LINES = """
from examples.d3d.config import plain_errors

@plain_errors
def main():
    for _ in range(100_000):
        print("a line of a report")

main()
"""


def test_a_reader_that_is_gone_ends_it_quietly() -> None:
    """Fails when `plain_errors` takes a broken pipe for an error of the disk."""
    command = [sys.executable, "-c", LINES]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        assert job.stdout.readline() == "a line of a report\n"
        job.stdout.close()
        said = job.stderr.read()
    assert (job.returncode, said) == (1, "")
