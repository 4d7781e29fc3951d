"""Where the repository lies and which files git tracks in it."""

import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["ROOT", "clean_copy", "tracked"]

ROOT = Path(__file__).resolve().parent.parent


def tracked(*folders: str) -> set[str]:
    """The paths, from the root, of the tracked files in some folders, or of all; without git, the test is skipped."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("the tracked files are known only in a clone, with git")
    done = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, check=True, capture_output=True, text=True)
    return {path for path in done.stdout.split("\0") if (ROOT / path).is_file()}


def clean_copy(folder: Path) -> Path:
    """A copy of the tracked files alone, as they are now: what lies beside them cannot slip in."""
    for path in tracked():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, folder / path)
    return folder
