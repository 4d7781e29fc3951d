"""`python -m handgrad` is `handgrad`."""

import sys

from handgrad.compare.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
