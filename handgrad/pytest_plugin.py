"""pytest plugin: the fixture `parity`, a summary of its checks, and --parity-report. Nothing is imported until used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from importlib import import_module
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from handgrad.compare.report.report import Report


__tracebackhide__ = True  # pytest shows no frame of this file: the user's line is the one to look at

CHECKED: pytest.StashKey[dict[str, list[str]]] = pytest.StashKey()  # a test's reports as JSON, and why others failed
FORMATS = {".json": "json", ".md": "markdown", ".html": "html"}
LINES = 10  # so many findings, and so many blind spots, are listed on the terminal


def pytest_addoption(parser: pytest.Parser) -> None:
    """--parity-report on the command line; parity_report and parity_strict in pyproject.toml."""
    group = parser.getgroup("handgrad", "handgrad: hand-written gradients against torch")
    group.addoption(
        "--parity-report",
        metavar="FILE",
        help="write all checks made with the fixture `parity`, with their test ids, to FILE (.json, .md or .html)",
    )
    parser.addini("parity_report", "as --parity-report, from the root directory", type="string", default="")
    parser.addini(
        "parity_strict", "WEAK and UNTOLD fail too, as by @pytest.mark.parity(strict=True)", type="bool", default=False
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and collect what the tests report where the session is led, not in xdist's workers."""
    try:
        config.getini("parity_strict")
    except ValueError as error:
        raise pytest.UsageError(f"parity_strict must be true or false: {error}") from None
    config.addinivalue_line(
        "markers", "parity(strict=False): whether WEAK and UNTOLD fail, which are neither shown right nor wrong"
    )
    if not hasattr(config, "workerinput"):
        session = _Session(_report_file(config), only_collects=config.option.collectonly)
        config.pluginmanager.register(session, "handgrad-session")


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """The checks of handgrad as methods that raise ParityError, with the report as its message."""
    strict = bool(request.config.getini("parity_strict"))
    marker = request.node.get_closest_marker("parity")
    if marker is not None:
        strict = marker.kwargs.get("strict", strict)
        if marker.args or not set(marker.kwargs) <= {"strict"} or not isinstance(strict, bool):
            pytest.fail("@pytest.mark.parity takes strict=True or strict=False and nothing else", pytrace=False)
    checked = request.node.stash.setdefault(CHECKED, {"reports": [], "not_run": []})
    return Parity(strict, checked, _report_file(request.config))


class Parity:
    """The checks, each as in `handgrad` with the same arguments; they return the report if it is ok and raise if not.

    Raises ParityError, an AssertionError, if something differs (with `strict` also if it is WEAK or UNTOLD), and
    InputError for arguments that cannot be used.
    """

    def __init__(self, strict: bool, checked: dict[str, list[str]], file: Path | None) -> None:
        """`checked` collects every check's report as JSON, or why it could not run; `file` is where they go."""
        self._strict, self._checked, self._file = strict, checked, file

    def __repr__(self) -> str:
        """As pytest shows it above a failing test."""
        return f"Parity(strict={self._strict})"

    def check_gradients(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_gradients(derivation, reference, params, batch, *, precisions)."""
        return self._run("check_gradients", arguments, settings)

    def check_function(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_function(function, reference, inputs, *, second)."""
        return self._run("check_function", arguments, settings)

    def check_updates(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_updates(update, optimizer, params, *, steps, gradients, precisions)."""
        return self._run("check_updates", arguments, settings)

    def check_training(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_training(trainer, reference, optimizer, params, batches, *, precisions)."""
        return self._run("check_training", arguments, settings)

    def check_initializer(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_initializer(initializer, torch_initializer, shape, *, seed)."""
        return self._run("check_initializer", arguments, settings)

    def check_experiment(self, experiment: Any, data: Any) -> Report:
        """handgrad.Experiment.run: the notes' network on data."""
        settings = {"plots": self._file is not None and self._file.suffix.lower() == ".html"}
        return self._run("run", (experiment, data), settings, module="handgrad.compare.experiment.run")

    def check_file(self, file: str | Path, reference: str | Path | None = None) -> dict[str, Report]:
        """`handgrad check FILE`, with `reference` also `--reference KEY`: every check that the file defines, by name.

        The file is run in this process; what others hand in is for `handgrad grade`.
        """
        key = None if reference is None else str(reference)
        arguments = (str(file), None, None, key)
        reports: dict[str, Report] = self._called("check_file", arguments, {}, "handgrad.compare.checks.files")
        self._keep(*reports.values())
        return reports

    def _run(
        self, check: str, arguments: tuple[Any, ...], settings: Mapping[str, Any], module: str = "handgrad"
    ) -> Report:
        report: Report = self._called(check, arguments, settings, module)
        self._keep(report)
        return report

    def _called(self, check: str, arguments: tuple[Any, ...], settings: Mapping[str, Any], module: str) -> Any:
        from handgrad.compare.errors import InputError

        try:
            return getattr(import_module(module), check)(*arguments, **settings)
        except InputError as error:
            self._checked["not_run"].append(str(error))
            raise error.with_traceback(None) from None

    def _keep(self, *reports: Report) -> None:
        """Keep reports, and raise the first that fails."""
        whole = self._file is not None
        self._checked["reports"] += [_kept(report, strict=self._strict, whole=whole) for report in reports]
        for report in reports:
            report.raise_if_failed(strict=self._strict)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the checks made so far on the test's report, as text, which xdist carries to where the session is led."""
    outcome = yield
    checked = item.stash.get(CHECKED, None)
    if checked:
        outcome.handgrad = {kind: texts.copy() for kind, texts in checked.items()}  # type: ignore[attr-defined]
        for texts in checked.values():
            texts.clear()
    return outcome


def _kept(report: Report, *, strict: bool, whole: bool) -> str:
    """A report as JSON, which tells in its environment where it was judged strictly.

    Where it is not kept `whole`, it has what the summary needs: of its rows only the one that came closest to being
    flagged.
    """
    from dataclasses import replace

    from handgrad.compare.report.summary import closest, strictly
    from handgrad.compare.results import Details

    if strict:
        report = strictly(report)
    if not whole:
        row = closest(report)
        report = replace(report, rows=() if row is None else (row,), details=Details())
    return report.to_json()


def _report_file(config: pytest.Config) -> Path | None:
    """The file that the session's checks go to, or None; UsageError for one that cannot be written."""
    given: str | None = config.getoption("--parity-report")
    configured = config.getini("parity_report")
    if not isinstance(configured, str):
        raise pytest.UsageError(f"parity_report is {configured!r}; it must be the name of one file")
    if not given and not configured:
        return None
    path = config.invocation_params.dir / given if given else config.rootpath / configured
    if path.suffix.lower() not in FORMATS:
        raise pytest.UsageError(f"--parity-report {path.name} must end in {' or '.join(FORMATS)}")
    if path.suffix.lower() == ".html":
        from handgrad.compare.errors import InputError
        from handgrad.compare.report.html import ready

        try:
            ready()
        except InputError as error:
            raise pytest.UsageError(f"--parity-report {path.name}: {error}") from None
    if path.is_dir():
        raise pytest.UsageError(f"--parity-report {given or configured} is a folder; name a file")
    return path


class _Session:
    """All checks of a session, by test id, as they arrive; then the report file and the summary."""

    def __init__(self, file: Path | None, *, only_collects: bool) -> None:
        self.file, self.only_collects, self.failure = file, only_collects, ""
        self.reports: dict[str, Report] = {}
        self.not_run: dict[str, str] = {}
        self.ran = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the checks off a test's report."""
        self.ran = True
        checked = getattr(report, "handgrad", {})
        if checked.get("not_run"):
            self.not_run[report.nodeid] = checked["not_run"][0]
        for text in checked.get("reports", ()):
            from handgrad.compare.report.stored import read

            again = (f"{report.nodeid} ({number})" for number in count(2))  # a test's second check, or its second run
            name = next(name for name in chain([report.nodeid], again) if name not in self.reports)
            (self.reports[name],) = read(text, name).values()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note what could not be collected, where a file is to tell of it: an older one would tell of other checks."""
        if report.failed and self.file is not None and not self.only_collects:
            self.ran = True
            self.not_run[report.nodeid] = "it cannot be collected; see pytest's errors"

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file, the same whatever order the tests ran in."""
        self.reports = dict(sorted(self.reports.items()))
        if self.file is None or not self.ran:  # nothing was to run: what is there stays
            return
        rendering = import_module(f"handgrad.compare.report.{FORMATS[self.file.suffix.lower()]}")
        text = rendering.render_all(self.reports, dict(sorted(self.not_run.items())))
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_bytes(text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self.failure = f"{self.file} cannot be written ({error.strerror}); name another --parity-report"
            session.exitstatus = pytest.ExitCode.USAGE_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Checks run, findings, how close the others came, what they could not show; silent if no check ran."""
        if not self.reports and not self.not_run and (self.file is None or not self.ran):
            return
        terminalreporter.section("parity")
        for line in _summary(self.reports, self.not_run):
            terminalreporter.line(line)
        if self.failure:
            terminalreporter.line(self.failure, red=True)
        elif self.file is not None:
            terminalreporter.line(f"written to {self.file}")


def _summary(reports: Mapping[str, Report], not_run: Mapping[str, str]) -> list[str]:
    """The lines of the summary."""
    from handgrad.compare.facts.fact import counted
    from handgrad.compare.report.summary import closeness, closest, deciding, outcome
    from handgrad.compare.report.words import location, place

    head = outcome(reports, not_run)
    near = [(row, name) for name, report in reports.items() if (row := closest(report)) is not None]
    if near:
        row, name = max(near, key=lambda item: item[0].rho or 0.0)
        head = f"{head}; the closest to being flagged is {closeness(row)}: {row.name}, {name}"
    culprits = {name: culprit for name, report in reports.items() if (culprit := deciding(report)) is not None}
    where = {n: f"{place(c)} ({location(c)})" if location(c) else place(c) for n, c in culprits.items()}
    unseen = Counter(str(spot) for report in reports.values() for spot in report.blind_spots)
    return [
        head,
        *_cut(f"{c.verdict} {name}: {where[name]}, cause {c.cause.code}" for name, c in culprits.items()),
        *_cut(f"could not run {name}: {why}" for name, why in not_run.items()),
        *_cut(f"not shown by {counted(n, 'check')}: {spot}" for spot, n in unseen.most_common()),
    ]


def _cut(lines: Iterable[str]) -> list[str]:
    shown = [*lines]
    more = len(shown) - LINES
    return shown if more <= 0 else [*shown[:LINES], f"... and {more} more"]
