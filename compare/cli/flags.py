"""The command line's flags: reading them imports neither torch nor NumPy."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from handgrad import __version__

EQUAL, DIFFERENT, UNUSABLE, STOPPED = 0, 1, 2, 130  # what a command exits with
FORMATS = ("text", "json", "markdown", "html")
DESCRIPTION = "Check a backward pass derived by hand in NumPy against PyTorch."
EXAMPLES = """examples:
  handgrad init mine.py    write a short derivation, to be changed into yours
  handgrad check mine.py   check every tensor of it against torch
  handgrad check           check the lecture notes' network on real data
"""


class Flag:
    """A flag or an argument of a command: its names, and what argparse takes beside them."""

    def __init__(self, *names: str, **options: Any) -> None:
        """As ArgumentParser.add_argument takes them."""
        self.names, self.options = names, options


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0; write for example 4")
    return int(text)


def _counting(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1; write for example 4")
    return int(text)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 10**6:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number; write for example 4")
    return value


SUBJECT = (
    Flag("file", nargs="?", metavar="FILE.py", help="a file of yours; handgrad init FILE.py writes one"),
    Flag(
        "--only",
        metavar="NAME",
        help="of a file's checks only this one: gradients, updates, training, initializer or function",
    ),
    Flag(
        "--data",
        default=argparse.SUPPRESS,
        metavar="NAME|FILE",
        help="breast-cancer (default), digits, synthetic, or a .npz or .csv file with X and y",
    ),
)
FORMAT = Flag("--format", choices=FORMATS, default="text", help="how to show it (default text)")
OUTPUT = Flag("--output", metavar="FILE", help="write it to FILE, replacing that")
TABLE, BRIEF = "table", "brief"  # how much of a report is shown as text, if not the usual
REPORT = (
    Flag(*FORMAT.names, **{**FORMAT.options, "choices": (*FORMATS, "github")}),
    Flag("--output", metavar="FILE", help="write it to FILE, replacing that, and print the outcome only"),
    Flag("--brief", dest="extent", action="store_const", const=BRIEF, help="as text: findings only"),
    Flag(
        "--table",
        dest="extent",
        action="store_const",
        const=TABLE,
        help="as text: a row per tensor also where one differs",
    ),
    Flag("--strict", action="store_true", help="exit 1 also for what is neither shown right nor wrong (WEAK, UNTOLD)"),
)

COMMANDS = {
    "check": "check a file of yours, or the notes' network by hand and in torch.nn, side by side",
    "init": "write a short runnable file to start from",
    "show": "show a report that was stored as JSON, in any format",
    "notes": "show the lecture notes statement by statement: as written, corrected, proved in numbers",
    "faults": "list known mistakes, or show one: its equation, its code, its numbers and what to learn from it",
    "explain": "list the causes that a finding may have, or explain one: wrong and right code, its neighbours",
    "diff": "compare two reports that were stored as JSON",
    "audit": "say which known mistakes a fixture could not reveal",
    "grade": "grade what others derived by hand: points per equation, feedback that keeps the solution",
    "exercise": "write a known mistake as an exercise, and its key",
}
FLAGS: dict[str, tuple[Flag, ...]] = {
    "check": (
        *SUBJECT,
        Flag("--reference", metavar="KEY.py", help="all but what is derived by hand comes from this file"),
        *REPORT,
        Flag("--show", metavar="NAME", help="of a file's check, also both sides of this tensor, such as dA1"),
    ),
    "init": (
        Flag("file", metavar="FILE.py", help="the new file"),
        Flag("--broken", action="store_true", help="with one mistake, to see what a check says"),
    ),
    "show": (Flag("file", metavar="FILE.json", help="a stored report"), *REPORT),
    "notes": (
        Flag("--id", metavar="ID", help="one statement, such as L2"),
        Flag("--language", metavar="CODE", default="en", help="of what is said: en (default) or ko"),
        FORMAT,
        OUTPUT,
    ),
    "faults": (
        Flag("name", nargs="?", metavar="NAME", help="an entry of the catalogue"),
        Flag("--seed", type=_natural, default=0, metavar="N", help="draws the sizes and data (default 0)"),
        FORMAT,
        OUTPUT,
    ),
    "explain": (Flag("cause", nargs="?", metavar="CAUSE", help="the code of a cause, such as scale"), FORMAT, OUTPUT),
    "diff": (
        Flag("first", metavar="A.json", help="a stored report"),
        Flag("second", metavar="B.json", help="another of the same check"),
        Flag(*FORMAT.names, **{**FORMAT.options, "choices": FORMATS[:3]}),
        OUTPUT,
    ),
    "audit": (*SUBJECT, OUTPUT),
    "grade": (
        Flag("key", metavar="KEY.py", help="the reference, params and batch, and the points if it gives any"),
        Flag("submission", nargs="+", metavar="SUBMISSION", help="a .py or .ipynb file, or a folder of them"),
        Flag(
            "--level",
            choices=("where", "kind", "hint", "full"),
            default="hint",
            help="what is told: where it is wrong, its kind too, a question too, or all (default hint)",
        ),
        Flag("--format", choices=("text", "csv", "json", "gradescope"), default="text", help="default text"),
        OUTPUT,
        Flag("--pages", metavar="FOLDER", help="also write a page for each student, and class.html"),
        Flag("--jobs", type=_counting, metavar="N", help="so many at a time (default: as many as there are cores)"),
        Flag("--seconds", type=_positive, default=10.0, metavar="S", help="that each call may take (default 10)"),
        Flag("--memory", type=_positive, default=4.0, metavar="GIB", help="that each may use (default 4)"),
    ),
    "exercise": (
        Flag("name", nargs="?", metavar="NAME", help="a known mistake in code of one file"),
        Flag("--output", metavar="FILE.py", required=True, help="the exercise; the key is FILE_key.py"),
        Flag("--seed", type=_natural, default=0, metavar="N", help="draws the data, and the mistake without NAME"),
        Flag(
            "--level",
            choices=("told", "find", "fill"),
            default="find",
            help="the wrong tensor told, the mistake to find (default), or blanks to fill in",
        ),
    ),
}


def parser(
    functions: Mapping[str, Callable[[argparse.Namespace], int]], words: Sequence[str]
) -> argparse.ArgumentParser:
    """The parser of the words given; `functions` run the commands, and their docstrings describe them.

    A command on a subject takes an experiment's flags too, which are added there alone: to look them up takes time.
    """
    whole = _Parser(prog="handgrad", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=_Formatter)
    version = f"handgrad {__version__}"
    whole.add_argument("--version", action="version", version=version, help="show the version and exit")
    commands = whole.add_subparsers(title="commands", required=True, metavar="COMMAND", prog=whole.prog)
    for name, line in COMMANDS.items():
        subparser = commands.add_parser(name, help=line, description=functions[name].__doc__)
        for flag in FLAGS[name]:
            subparser.add_argument(*flag.names, **flag.options)
        if name in words and SUBJECT[0] in FLAGS[name]:
            _add_settings(subparser)
    return whole


class _Formatter(argparse.HelpFormatter):
    """argparse's own, which leaves the lines of the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text == EXAMPLES else super()._fill_text(text, width, indent)


class _Parser(argparse.ArgumentParser):
    """Argument errors in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


# --- the flags of an experiment


def _add_settings(subparser: argparse.ArgumentParser) -> None:
    """One flag per field; absent unless given, so that the field's default stands in one place."""
    from dataclasses import fields

    from handgrad.compare.experiment.settings import Settings

    group = subparser.add_argument_group("the experiment (a file takes --steps, --seed and --dtype)")
    for item in fields(Settings):
        name, text = f"--{item.name.replace('_', '-')}", item.metadata["help"]
        if item.type == "bool":
            group.add_argument(name, action="store_true", default=argparse.SUPPRESS, help=text)
            continue
        read, metavar = _TYPES[str(item.type)]
        default = _DEFAULTS.get(item.name, item.default)
        default = ",".join(map(str, default)) if isinstance(default, tuple) else default
        help = f"{text} (default {default})".replace("%", "%%")
        group.add_argument(name, type=read, metavar=metavar, default=argparse.SUPPRESS, help=help)


def _reader(convert: Callable[[str], Any], wrong: str) -> Callable[[str], Any]:
    """What reads a flag's text; `wrong` says of one that is none what it is, and what to write."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is {wrong}") from None

    return read


_integer = _reader(int, "not a whole number; write for example 4")
_integers = _reader(
    lambda text: tuple(map(int, text.split(","))), "no list of whole numbers; write for example 30,16,1"
)
_DEFAULTS = {"layers": "fitted to the data", "steps": "as many as the epochs have"}
_TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "int": (_integer, "N"),
    "int | None": (lambda text: None if text == "full" else _integer(text), "N"),
    "float": (_reader(float, "not a number; write for example 0.1"), "X"),
    "str": (str, "NAME"),
    "tuple[int, ...]": (_integers, "N,N,..."),
    "tuple[str, ...]": (lambda text: tuple(map(str.strip, text.split(","))), "NAME,NAME,..."),
}
