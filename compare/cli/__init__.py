"""The command line: `handgrad`."""

from handgrad.compare.cli.commands import main as main
