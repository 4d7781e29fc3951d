"""The command line: `handgrad`."""

from handgrad.compare.cli.commands import main

__all__ = ["main"]
