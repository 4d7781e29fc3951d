"""The command line: `handgrad`. Help and argument errors import neither torch nor NumPy."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from handgrad.compare.cli.flags import DIFFERENT, EQUAL, UNUSABLE, parser
from handgrad.compare.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from handgrad.compare.experiment.data import Data
    from handgrad.compare.experiment.settings import Experiment
    from handgrad.compare.report import Report

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns 0 if all is equal, 1 if something differs, 2 if arguments or input are unusable."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what the terminal cannot show
    try:
        words = sys.argv[1:] if argv is None else argv
        arguments = parser(COMMANDS, words).parse_args(words)
        return int(arguments.command(arguments))
    except InputError as error:
        return _unusable(str(error))
    except SyntaxError as error:  # in a file of manual/ that was edited
        return _unusable(f"{_located(error)}; mend that line")
    except BrokenPipeError:  # the reader has seen enough, as in `handgrad check | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNUSABLE
    except MemoryError:
        return _unusable("this run does not fit into memory; use narrower --layers or a smaller --batch-size")
    except OSError as error:
        return _unusable(f"the report cannot be written ({error.strerror}); free some space or name another --output")
    except KeyboardInterrupt:
        return 130


def _unusable(message: str) -> int:
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    print(f"handgrad: {message}".encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)
    return UNUSABLE


def _check(arguments: argparse.Namespace) -> int:
    """`handgrad check`: the checks of a file, or the notes' network on data, both sides."""
    return _check_network(arguments) if arguments.file is None else _check_file(arguments)


FOR_FILES = ("steps", "seed", "dtype")  # of the experiment's flags, those that a file's checks take too


def _settings_of_file(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the flags say to the checks of a file; InputError for flags that set up the notes' network."""
    from dataclasses import fields

    from handgrad.compare.experiment.settings import Experiment, printed_first

    flags = [*(item.name for item in fields(Experiment)), "data"]
    foreign = [name for name in flags if hasattr(arguments, name) and name not in FOR_FILES]
    if foreign:
        raise InputError(
            f"--{foreign[0].replace('_', '-')} sets up the notes' network and says nothing about {arguments.file}; "
            "leave it out, or leave the file out"
        )
    given = ((name, getattr(arguments, name, None)) for name in ("steps", "seed"))
    settings: dict[str, Any] = {name: value for name, value in given if value is not None}
    if hasattr(arguments, "dtype"):
        Experiment(dtype=arguments.dtype)  # raises for an unknown one
        settings["precisions"] = printed_first(arguments.dtype)
    _check_output(arguments.output, arguments.file, getattr(arguments, "format", "text"))
    return settings


def _check_file(arguments: argparse.Namespace) -> int:
    """The checks that a file defines."""
    settings = _settings_of_file(arguments)
    from handgrad.compare.checks.files import check_file
    from handgrad.compare.report import ALONE

    reports = check_file(arguments.file, arguments.only, settings)
    status = _written(reports if len(reports) > 1 else {ALONE: next(iter(reports.values()))}, arguments)
    if len(reports) > 1 and (arguments.output is not None or arguments.format == "text"):
        outcomes = (f"{name} {'OK' if report.ok else 'differs'}" for name, report in reports.items())
        print(f"\n{len(reports)} checks of {arguments.file}: {', '.join(outcomes)}.")
    return status


def _show(arguments: argparse.Namespace) -> int:
    """`handgrad show`: a stored report, in any format."""
    from handgrad.compare.report.json import load_reports

    reports = load_reports(arguments.file)
    _check_output(arguments.output, arguments.file, arguments.format)
    return _written(reports, arguments)


def _diff(arguments: argparse.Namespace) -> int:
    """`handgrad diff`: two stored reports against each other."""
    from handgrad.compare.report.diff import difference, render
    from handgrad.compare.report.json import load_reports

    found = difference(
        load_reports(arguments.first), load_reports(arguments.second), (arguments.first, arguments.second)
    )
    for file in (arguments.first, arguments.second):
        _check_output(arguments.output, file)
    _emit(render(found, arguments.format), arguments.output)
    return EQUAL if found.equal else DIFFERENT


def _init(arguments: argparse.Namespace) -> int:
    """`handgrad init`: a short runnable file."""
    from handgrad.compare.cli.template import write_template

    write_template(arguments.file, broken=arguments.broken)
    print(f"wrote {arguments.file}; next: handgrad check {arguments.file}")
    return EQUAL


def _audit(arguments: argparse.Namespace) -> int:
    """`handgrad audit`: what a fixture could not reveal."""
    if arguments.file is not None:
        return _audit_file(arguments)
    experiment, data = _fixture(arguments)
    from handgrad.compare.faults.audit import audit, render

    _emit(render(audit(experiment, data, _progress)), arguments.output)
    return EQUAL


def _audit_file(arguments: argparse.Namespace) -> int:
    """What the checks of a file could not reveal."""
    settings = _settings_of_file(arguments)
    from handgrad.compare.checks.files import audit_file

    _emit(audit_file(arguments.file, arguments.only, settings), arguments.output)
    return EQUAL


def _progress(entries: tuple[Any, ...]) -> Iterable[Any]:
    """The entries with a bar on a terminal, as they are in a pipe."""
    if not sys.stderr.isatty():
        return entries
    try:
        from tqdm import tqdm
    except ImportError:  # it comes with the extra `report`
        return entries
    bar: Iterable[Any] = tqdm(entries, unit="mistake", leave=False)
    return bar


def _emit(text: str, output: str | None) -> None:
    if output is None:
        print(text, end="", flush=True)
    else:
        _save(text, output)


def _notes(arguments: argparse.Namespace) -> int:
    """`handgrad notes`: every statement of the lecture notes, or one of them."""
    from handgrad.compare.errors import did_you_mean

    _check_output(arguments.output, "", arguments.format)
    from handgrad.compare.notes import show
    from handgrad.compare.notes.statements import STATEMENTS

    chosen = [statement for statement in STATEMENTS if arguments.id in (None, statement.id)]
    if not chosen:
        hint = did_you_mean(arguments.id, [statement.id for statement in STATEMENTS])
        raise InputError(f"--id {arguments.id} is no statement of the notes; {hint}")
    if arguments.format == "text":
        _emit(show.as_table(chosen) if arguments.id is None else show.story(chosen[0]), arguments.output)
    else:
        render = {"json": show.as_json, "markdown": show.as_markdown, "html": show.as_page}[arguments.format]
        _emit(render(chosen), arguments.output)
    return EQUAL


def _faults(arguments: argparse.Namespace) -> int:
    """`handgrad faults`: the catalogue, or one entry of it."""
    from handgrad.compare.errors import did_you_mean
    from handgrad.compare.faults.catalogue import catalogue

    entries = catalogue()
    if arguments.name is not None and arguments.name not in entries:
        close = did_you_mean(arguments.name, entries).partition("known are")[0]
        raise InputError(f"{arguments.name!r} is not in the catalogue; {close}handgrad faults lists all")
    _check_output(arguments.output, "", arguments.format)
    from handgrad.compare.faults import lesson

    if arguments.name is None:
        whole = {"text": lesson.listed, "json": lesson.listed_as_json, "markdown": lesson.listed_as_markdown}
        _emit(whole.get(arguments.format, lesson.listed_as_page)(), arguments.output)
    else:
        one = {"text": lesson.as_text, "json": lesson.as_json, "markdown": lesson.as_markdown}
        found = lesson.prepared(entries[arguments.name], arguments.seed)
        _emit(one.get(arguments.format, lesson.as_page)(found), arguments.output)
    return EQUAL


def _check_network(arguments: argparse.Namespace) -> int:
    """The notes' network on data, both sides."""
    experiment, data = _fixture(arguments)
    from contextlib import redirect_stdout

    from handgrad.compare.experiment import run as lockstep
    from handgrad.compare.report import ALONE

    with redirect_stdout(sys.stderr):  # what manual/ prints is not the report
        report = lockstep.run(experiment, data, plots=arguments.format in ("html", "json"))
    return _written({ALONE: report}, arguments)


def _fixture(arguments: argparse.Namespace) -> tuple[Experiment, Data]:
    """The notes' network and its data as the flags describe them, the layers fitted to the data unless given."""
    if arguments.only is not None:
        raise InputError(
            f"--only {arguments.only} picks a check of a file; name the file, as in handgrad check FILE.py"
        )
    from dataclasses import fields, replace

    from handgrad.compare.experiment.settings import Experiment

    source = getattr(arguments, "data", "breast-cancer")
    given = {item.name: getattr(arguments, item.name) for item in fields(Experiment) if hasattr(arguments, item.name)}
    experiment = Experiment(**_completed(given))
    _check_output(arguments.output, source, getattr(arguments, "format", "text"))

    try:
        from handgrad.compare.experiment import run as lockstep  # noqa: F401  # the first import of manual/
        from handgrad.compare.experiment.data import load
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError) as error:
        raise InputError(f"the code in manual/ cannot be imported: {_located(error)}; mend that line") from None

    data = load(source)
    if "layers" not in given:
        layers = (data.X.shape[0], *experiment.layers[1:-1], data.Y.shape[0])
        experiment = replace(experiment, layers=layers)
    return experiment, data


def _completed(given: dict[str, Any]) -> dict[str, Any]:
    """Fill in layers or activations from each other: hidden layers of 16 units, tanh inside and sigmoid at the end."""
    depth = len(given["activations"]) if "activations" in given else len(given.get("layers", (30, 16, 1))) - 1
    layers = (30, *(16,) * (depth - 1), 1)
    activations = ("tanh",) * (depth - 1) + ("sigmoid",)
    return {"layers": layers, "activations": activations, **given}


def _located(error: Exception) -> str:
    """An error on import with the file and line of the user's that it comes from."""
    from pathlib import Path

    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__} in {Path(error.filename).name} line {error.lineno}: {error.msg}"
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" in {Path(frame.tb_frame.f_code.co_filename).name} line {frame.tb_lineno}" if frame else ""
    return f"{type(error).__name__}{place}: {error}"


def _check_output(output: str | None, data: str, form: str = "text") -> None:
    """Refuse a format that needs what is not installed, and an output that cannot be written or that would destroy the
    input, before any work is done.
    """
    if form == "html":
        from handgrad.compare.report.html import ready

        ready()
    if output is None:
        return
    from pathlib import Path

    path = Path(output)
    try:
        folder = path.is_dir() or output.endswith("/") or not path.parent.is_dir()
        same = path.exists() and Path(data).exists() and path.samefile(data)
        fifo = path.is_fifo()
    except (OSError, ValueError):
        raise InputError(f"--output {output} is no name that a file can have; name another file") from None
    if folder:
        raise InputError(
            f"--output {output!r} is a folder or lies in one that does not exist; name a file in an existing one"
        )
    if same:
        raise InputError(f"--output {output} is the input file itself and would be overwritten; name another file")
    if path.suffix == ".py":
        raise InputError(f"--output {output} is the name of a program and would replace it; name a .txt or .json file")
    if fifo:
        raise InputError(f"--output {output} is a pipe and would wait for a reader; name a file")


def _written(reports: Mapping[str, Report], arguments: argparse.Namespace) -> int:
    """Print the reports, or write them to --output and print the two closing lines of each; the exit status."""
    from dataclasses import replace

    from handgrad.compare.report.summary import closing, differing

    if arguments.strict:  # kept with a report, so that `show` exits as the check did
        reports = {
            name: replace(report, environment={**report.environment, "strict": True})
            for name, report in reports.items()
        }
    if arguments.output is None:
        print(_rendered(reports, arguments.format, _colour()), end="", flush=True)
    else:
        _save(_rendered(reports, arguments.format, colour=False), arguments.output)
        print("\n".join(line for report in reports.values() for line in closing(report)), flush=True)
    return DIFFERENT if differing(reports) or not reports else EQUAL


def _save(text: str, output: str) -> None:
    from pathlib import Path

    try:
        _replace(Path(output), text.encode("utf-8", "backslashreplace"))
    except (OSError, RuntimeError) as error:  # pathlib has the latter for links that lead round
        why = getattr(error, "strerror", None) or "its links lead round"
        raise InputError(f"--output {output} cannot be written ({why}); name another file") from None


def _replace(path: Path, content: bytes) -> None:
    """Write a whole file or nothing: beside it first, then in its place; devices are written to as they are."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    path = path.resolve()
    draft = path.with_name(f".{path.name[:100]}.{os.getpid()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _rendered(reports: Mapping[str, Report], form: str, colour: bool) -> str:
    """One report, or several by name, in a format."""
    from handgrad.compare.report import ALONE

    if form == "text":
        from handgrad.compare.report.text import render, render_all

        return render(reports[ALONE], colour=colour) if [*reports] == [ALONE] else render_all(reports, colour=colour)
    renderer = import_module(f"handgrad.compare.report.{form}")
    return str(renderer.render(reports[ALONE]) if [*reports] == [ALONE] else renderer.render_all(reports))


def _colour() -> bool:
    return sys.stdout is not None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "check": _check,
    "init": _init,
    "show": _show,
    "notes": _notes,
    "faults": _faults,
    "diff": _diff,
    "audit": _audit,
}
