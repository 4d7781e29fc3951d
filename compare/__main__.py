"""`python -m compare` is `handgrad`."""

import sys

from compare.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
