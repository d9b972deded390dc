"""`python -m fastserve` is `fastserve`."""

import sys

from fastserve.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
