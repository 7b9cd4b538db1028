"""The command line as `python -m kdvideo`."""

import sys

from kdvideo.cli import main

if __name__ == "__main__":
    sys.exit(main())
