"""The line of what is running: on a terminal, after two seconds, and gone at the end."""

import io
import sys
import time
from traceback import extract_stack

import pytest

from handgrad.compare.cli import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def slow(seconds):
    time.sleep(seconds)


def terminal(monkeypatch):
    """Standard error as a terminal; set in the test itself, since pytest sets its own before."""
    stderr = Terminal()
    monkeypatch.setattr(sys, "stderr", stderr)
    return stderr


def test_what_runs_long_is_shown_and_removed(monkeypatch):
    stderr = terminal(monkeypatch)
    with progress.shown(0.05, 0.05):
        slow(0.3)
    lines = stderr.getvalue().split("\r")
    assert lines[0] == "" == lines[-1]
    assert lines[1].startswith("handgrad: 0 s in slow, test_progress.py line ")
    assert lines[-2].strip() == ""
    assert len(lines[-2]) == max(map(len, lines[1:-2]))


def test_what_is_short_shows_nothing(monkeypatch):
    stderr = terminal(monkeypatch)
    with progress.shown():
        pass
    assert stderr.getvalue() == ""


def test_it_is_removed_where_something_is_raised(monkeypatch):
    stderr = terminal(monkeypatch)

    def stopped():
        slow(0.2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress.shown(0.05, 0.05):
        stopped()
    assert stderr.getvalue().endswith(" \r")


def test_a_pipe_gets_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress.shown(0.0):
        slow(0.1)
    assert sys.stderr.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    with progress.shown():
        pass


def test_the_place_is_the_innermost_of_the_users():
    assert progress.place_of(extract_stack()).startswith(" in test_the_place_is_the_innermost_of_the_users, ")
    assert progress.place_of([]) == ""
