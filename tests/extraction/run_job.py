"""An extraction as a process of its own: `python -m tests.extraction.run_job VIDEOS OUT options-as-json`."""

import json
import sys
from pathlib import Path

from kdvideo.extraction import clips_of, extract
from tests.extraction.fakes import Fake, store

if __name__ == "__main__":
    videos, out, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    bad = {int(number): how for number, how in options.pop("bad", {}).items()}
    estimator = Fake(bad, options.pop("log", None), options.pop("pause", 0.0))
    print(extract(clips_of(videos), store(out, estimator=estimator), short_side=48, **options))
