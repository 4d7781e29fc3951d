"""The command line's flags: reading them imports neither torch nor NumPy."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from handgrad import __version__

if TYPE_CHECKING:
    from dataclasses import Field


EQUAL, DIFFERENT, UNUSABLE = 0, 1, 2  # what a command exits with
FORMATS = ("text", "json", "markdown", "html")
EXAMPLES = """examples:
  handgrad init mine.py    write a short derivation, to be changed into yours
  handgrad check mine.py   check every tensor of it against torch
  handgrad check           check the lecture notes' network on real data
"""


class Flag(NamedTuple):
    """A flag or an argument of a command: its names, and what argparse takes beside them."""

    names: tuple[str, ...]
    options: Mapping[str, Any]


class Command(NamedTuple):
    """A command: a line of help, what it does and exits with, its flags, and whether it takes an experiment's too."""

    help: str
    description: str
    flags: tuple[Flag, ...]
    takes_settings: bool = False


def _flag(*names: str, **options: Any) -> Flag:
    return Flag(names, options)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0; write for example 4")
    return int(text)


SUBJECT = (
    _flag("file", nargs="?", metavar="FILE.py", help="a file of yours; handgrad init FILE.py writes one"),
    _flag(
        "--only", metavar="NAME", help="of a file's checks only this one: gradients, updates, training or initializer"
    ),
    _flag(
        "--data",
        default=argparse.SUPPRESS,
        metavar="NAME|FILE",
        help="breast-cancer (default), digits, synthetic, or a .npz or .csv file with X and y",
    ),
)
FORMAT = _flag("--format", choices=FORMATS, default="text", help="how to show it (default text)")
OUTPUT = _flag("--output", metavar="FILE", help="write it to FILE, replacing that")
REPORT = (
    FORMAT,
    _flag("--output", metavar="FILE", help="write it to FILE, replacing that, and print the outcome only"),
    _flag("--table", action="store_true", help="as text: a row per tensor also where one differs"),
    _flag("--strict", action="store_true", help="exit 1 also where a right formula loses digits"),
)

COMMANDS = {
    "check": Command(
        "check a file of yours, or the notes' network by hand and in torch.nn, side by side",
        "Check a file that defines derivation, reference, params and batch (or update, optimizer, params; or trainer, "
        "reference, optimizer, params, batches; or initializer, torch_initializer, shape). Without a file: train the "
        "lecture notes' network by hand and in torch.nn on the same weights and batches, and compare every "
        "intermediate, gradient, velocity and updated weight. Exit 0: all equal, 1: a difference, 2: unusable input.",
        (*SUBJECT, *REPORT),
        takes_settings=True,
    ),
    "init": Command(
        "write a short runnable file to start from",
        "Write a short derivation with its torch reference, to be changed into yours. A file that exists is left as it "
        "is.",
        (
            _flag("file", metavar="FILE.py", help="the new file"),
            _flag("--broken", action="store_true", help="with one mistake, to see what a check says"),
        ),
    ),
    "show": Command(
        "show a report that was stored as JSON, in any format",
        "Show what handgrad check --format json or pytest --parity-report=FILE.json has stored. Exit 0: all equal, "
        "1: a difference, 2: no report.",
        (_flag("file", metavar="FILE.json", help="a stored report"), *REPORT),
    ),
    "notes": Command(
        "show the lecture notes statement by statement: as written, corrected, proved in numbers",
        "Every statement of the lecture notes: as written, corrected, the verdict (holds, corrected, convention, "
        "supplied) and the evidence, computed by both sides now. With --id the whole story of one.",
        (_flag("--id", metavar="ID", help="one statement, such as L2"), FORMAT, OUTPUT),
    ),
    "faults": Command(
        "list known mistakes, or show one: its equation, its code, its numbers and what to learn from it",
        "The catalogue of known mistakes. With NAME: the equation wrong and right, the difference in code, what a "
        "check says of it in numbers, and the lesson. Always exits 0, unless NAME is unknown (2).",
        (
            _flag("name", nargs="?", metavar="NAME", help="an entry of the catalogue"),
            _flag("--seed", type=_natural, default=0, metavar="N", help="draws the sizes and data (default 0)"),
            FORMAT,
            OUTPUT,
        ),
    ),
    "diff": Command(
        "compare two reports that were stored as JSON",
        "Say which tensors changed verdict or rho from one stored run to another, and in what their environments "
        "differ. Exit 0: every tensor has the same verdict and rho, 1: one has not, 2: no report.",
        (
            _flag("first", metavar="A.json", help="a stored report"),
            _flag("second", metavar="B.json", help="another of the same check"),
            Flag(FORMAT.names, {**FORMAT.options, "choices": FORMATS[:3]}),
            OUTPUT,
        ),
    ),
    "audit": Command(
        "say which known mistakes a fixture could not reveal",
        "Without a file: plant every known mistake of the notes' network in a run with these settings, and list those "
        "that it does not reveal, with the smallest change that would. With a file: say what its data, sizes and "
        "records hide. Always exits 0, unless something is unusable (2).",
        (*SUBJECT, OUTPUT),
        takes_settings=True,
    ),
}


def parser(
    functions: Mapping[str, Callable[[argparse.Namespace], int]], words: Sequence[str]
) -> argparse.ArgumentParser:
    """The parser of the words given; `functions` run the commands.

    The flags of an experiment are added only where a command takes them: looking them up delays every other one.
    """
    whole = _Parser(
        prog="handgrad",
        description="Check a backward pass derived by hand in NumPy against PyTorch.",
        epilog=EXAMPLES,
    )
    version = f"handgrad {__version__}"
    whole.add_argument("--version", action="version", version=version, help="show the version and exit")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", prog=whole.prog)
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(name, help=command.help, description=command.description)
        subparser.set_defaults(function=functions[name])
        for flag in command.flags:
            subparser.add_argument(*flag.names, **flag.options)
        if command.takes_settings and name in words:
            _add_settings(subparser)
    return whole


class _Formatter(argparse.HelpFormatter):
    """argparse's own, which imports shutil to learn the width of the terminal; that would delay every command."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text == EXAMPLES else super()._fill_text(text, width, indent)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size().columns or 80
    except OSError:  # no terminal
        return 80


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        return _Formatter(self.prog)

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


# --- the flags of an experiment


def _add_settings(subparser: argparse.ArgumentParser) -> None:
    """One flag per field; absent unless given, so that the field's default stands in one place."""
    from dataclasses import fields

    from handgrad.compare.experiment.settings import Settings

    group = subparser.add_argument_group("the experiment (a file takes --steps, --seed and --dtype)")
    for item in fields(Settings):
        flag = _of_field(item)
        group.add_argument(*flag.names, default=argparse.SUPPRESS, **flag.options)


def _of_field(item: Field[Any]) -> Flag:
    name, text = f"--{item.name.replace('_', '-')}", item.metadata["help"]
    if item.type == "bool":
        return _flag(name, action="store_true", help=text)
    default = "fitted to the data" if item.name == "layers" else _shown(item.default)
    parse, metavar = _TYPES[str(item.type)]
    return _flag(name, type=parse, metavar=metavar, help=f"{text} (default {default})".replace("%", "%%"))


def _shown(default: Any) -> str:
    if default is None:
        return "as many as the epochs have"
    return ",".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number; write for example 4") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number; write for example 0.1") from None


def _integer_or_full(text: str) -> int | None:
    return None if text == "full" else _integer(text)


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of whole numbers; write for example 30,16,1") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


_TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (_integer, "N"),
    "int | None": (_integer_or_full, "N"),
    "float": (_number, "X"),
    "str": (str, "NAME"),
    "tuple[int, ...]": (_integers, "N,N,..."),
    "tuple[str, ...]": (_words, "NAME,NAME,..."),
}
