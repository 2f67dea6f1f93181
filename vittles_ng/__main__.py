"""``python -m vittles_ng`` is the command ``vittles-ng``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
