"""The public API has types that a user's strict mypy sees."""

import subprocess
import sys

from tests.repository import ROOT

USE = ROOT / "tests" / "handgrad" / "use.py"


def test_a_users_file_is_right_under_strict_mypy_but_for_its_last_line(tmp_path):
    package = tmp_path / "handgrad"
    package.mkdir()
    for path in (*(ROOT / "handgrad").glob("*.py*"), ROOT / "manual", ROOT / "torchref", ROOT / "compare"):
        (package / path.name).symlink_to(path)  # as it is installed
    config = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(ROOT / ".mypy_cache")]
    command = [sys.executable, "-m", "mypy", *config, "--strict", str(USE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    last = USE.read_text(encoding="utf-8").count("\n")
    assert [error.split("use.py:")[1].split(":")[0] for error in errors] == [str(last)], done.stdout + done.stderr
