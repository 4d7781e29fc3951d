"""What the tests of several commands start from."""

from pathlib import Path

import pytest

from tests.compare.cli.runs import LINEAR


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(LINEAR)
    return tmp_path
