"""The lock names everything that an installation with all extras brings, but for what torch chooses by the machine."""

import re
from importlib.metadata import PackageNotFoundError, requires

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository import ROOT

EXTRAS = ("data", "notes", "report", "grading", "benchmarks", "test")


def brought(name, extras=()):
    """The requirements of an installed distribution that hold here, with some of its extras."""
    for text in requires(name) or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def test_the_lock_is_complete():
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    locked = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lock, flags=re.MULTILINE)}
    waiting, needed = [*brought("handgrad", EXTRAS)], set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in needed and name != "handgrad":
            needed.add(name)
            try:
                waiting += [] if name == "torch" else brought(name, requirement.extras)
            except PackageNotFoundError:
                continue  # not installed here, and named all the same
    assert needed <= locked, f"constraints.txt lacks {', '.join(sorted(needed - locked))}"
