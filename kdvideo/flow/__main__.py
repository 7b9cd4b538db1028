"""``python -m kdvideo.flow extract VIDEOS OUT`` and ``python -m kdvideo.flow verify OUT``."""

import sys

from kdvideo.extraction.command import main

if __name__ == "__main__":
    sys.exit(main())
