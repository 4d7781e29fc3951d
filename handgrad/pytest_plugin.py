"""pytest plugin: the fixture `parity`, a summary of its checks, and --parity-report. Nothing is imported until used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from handgrad.compare.report import Report

__all__ = [
    "Parity",
    "parity",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_makereport",
]

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
        "parity_strict", "WEAK fails too, as with @pytest.mark.parity(strict=True)", type="bool", default=False
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, and collect what the tests report where the session is led, not in xdist's workers."""
    try:
        config.getini("parity_strict")
    except ValueError as error:
        raise pytest.UsageError(f"parity_strict must be true or false: {error}") from None
    config.addinivalue_line("markers", "parity(strict=False): whether WEAK, a right formula that loses digits, fails")
    if not hasattr(config, "workerinput"):
        collected = _Collected(_report_file(config), only_collects=config.option.collectonly)
        config.pluginmanager.register(collected, "handgrad-collected")


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """The checks of handgrad as methods that raise ParityError, with the report as its message."""
    strict = bool(request.config.getini("parity_strict"))
    marker = request.node.get_closest_marker("parity")
    if marker is not None:
        strict = marker.kwargs.get("strict", strict)
        if marker.args or not set(marker.kwargs) <= {"strict"} or not isinstance(strict, bool):
            pytest.fail("@pytest.mark.parity takes strict=True or strict=False and nothing else", pytrace=False)
    made = request.node.stash.setdefault(CHECKED, {"reports": [], "not_run": []})
    file = _report_file(request.config)
    whole = file is not None

    def keep(outcome: Report | str) -> None:
        if isinstance(outcome, str):
            made["not_run"].append(outcome)
        else:
            made["reports"].append(_text(outcome, whole, strict))

    return Parity(strict, keep, plots=file is not None and file.suffix.lower() == ".html")


class Parity:
    """The checks, each as in `handgrad` with the same arguments; they return the report if it is ok and raise if not.

    Raises ParityError, an AssertionError, if something differs (with `strict` also if it is WEAK), and InputError for
    arguments that cannot be used.
    """

    def __init__(self, strict: bool, keep: Callable[[Report | str], None], *, plots: bool) -> None:
        """`keep` is called with the report of every check, or with the reason why it could not run.

        `plots` adds curves to the reports that have some.
        """
        self._strict, self._keep, self._plots = strict, keep, plots

    def __repr__(self) -> str:
        """As pytest shows it above a failing test."""
        return f"Parity(strict={self._strict})"

    def check_gradients(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_gradients(derivation, reference, params, batch, *, precisions)."""
        __tracebackhide__ = True
        return self._checked("check_gradients", arguments, settings)

    def check_updates(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_updates(update, optimizer, params, *, steps, gradients, precisions)."""
        __tracebackhide__ = True
        return self._checked("check_updates", arguments, settings)

    def check_training(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_training(trainer, reference, optimizer, params, batches, *, precisions)."""
        __tracebackhide__ = True
        return self._checked("check_training", arguments, settings)

    def check_initializer(self, *arguments: Any, **settings: Any) -> Report:
        """handgrad.check_initializer(initializer, torch_initializer, shape, *, seed)."""
        __tracebackhide__ = True
        return self._checked("check_initializer", arguments, settings)

    def check_experiment(self, experiment: Any, data: Any) -> Report:
        """handgrad.Experiment.run: the notes' network on data."""
        __tracebackhide__ = True
        from handgrad.compare.errors import InputError
        from handgrad.compare.experiment.run import run

        try:
            report = run(experiment, data, plots=self._plots)
        except InputError as error:
            self._keep(str(error))
            raise error.with_traceback(None) from None
        return self._kept(report)

    def _checked(self, check: str, arguments: tuple[Any, ...], settings: Mapping[str, Any]) -> Report:
        __tracebackhide__ = True
        import handgrad

        try:
            report = getattr(handgrad, check)(*arguments, **settings)
        except handgrad.InputError as error:
            self._keep(str(error))
            raise error.with_traceback(None) from None  # the user's line is the one to look at
        return self._kept(report)

    def _kept(self, report: Report) -> Report:
        __tracebackhide__ = True
        self._keep(report)
        report.raise_if_failed(strict=self._strict)
        return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the checks made so far on the test's report, as text, which xdist carries to where the session is led."""
    outcome = yield
    made = item.stash.get(CHECKED, None)
    if made:
        outcome.handgrad = {kind: texts.copy() for kind, texts in made.items()}  # type: ignore[attr-defined]
        for texts in made.values():
            texts.clear()
    return outcome


def _text(report: Report, whole: bool, strict: bool) -> str:
    """A report as JSON; for the summary alone, of its rows only the one that came closest to being flagged."""
    from dataclasses import replace

    from handgrad.compare.report.details import Details
    from handgrad.compare.report.summary import closest

    near = closest(report)
    rows = report.rows if whole else () if near is None else (near,)
    environment = {**report.environment, **({"strict": True} if strict else {})}
    details = report.details if whole else Details()
    return replace(report, rows=rows, environment=environment, details=details).to_json()


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


class _Collected:
    """All checks of a session, by test id, as they arrive; then the report file and the summary."""

    def __init__(self, file: Path | None, *, only_collects: bool) -> None:
        self.file, self.only_collects, self.failure = file, only_collects, ""
        self.reports: dict[str, Report] = {}
        self.not_run: dict[str, str] = {}
        self.ran = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the checks off a test's report."""
        self.ran = True
        made = getattr(report, "handgrad", {})
        self.not_run |= dict.fromkeys([report.nodeid], made["not_run"][0]) if made.get("not_run") else {}
        for text in made.get("reports", ()):
            from handgrad.compare.report.json import read

            name = report.nodeid
            again = count(2)
            while name in self.reports:  # a test's second check, or its second run
                name = f"{report.nodeid} ({next(again)})"
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
        from importlib import import_module

        text = import_module(f"handgrad.compare.report.{FORMATS[self.file.suffix.lower()]}").render_all(
            self.reports, dict(sorted(self.not_run.items()))
        )
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
    from handgrad.compare.report.summary import closeness, closest, counted, deciding, outcome, place

    told = outcome(reports, not_run)
    near = [(row, name) for name, report in reports.items() if (row := closest(report)) is not None]
    row, where = max(near, key=lambda each: each[0].rho or 0.0, default=(None, ""))
    lines = [told if row is None else f"{told}; the closest to being flagged is {closeness(row)}: {row.name}, {where}"]
    found = [(name, first) for name, report in reports.items() if (first := deciding(report)) is not None]
    lines += _cut([f"{each.verdict} {name}: {place(each)}, cause {each.cause}" for name, each in found])
    lines += _cut([f"could not run {name}: {why}" for name, why in not_run.items()])
    unseen = Counter(text for report in reports.values() for text in report.blind_spots)
    return lines + _cut([f"not shown by {counted(n, 'check')}: {text}" for text, n in unseen.most_common()])


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - LINES
    return lines if more <= 0 else [*lines[:LINES], f"... and {more} more"]
