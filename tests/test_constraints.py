"""The lock names everything that an installation with all extras brings, but for what torch chooses by the machine."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from itertools import chain

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository import ROOT

EXTRAS = ("data", "notes", "report", "grading")
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]


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
    of_groups = map(Requirement, chain.from_iterable(GROUPS.values()))
    here = [requirement for requirement in of_groups if requirement.marker is None or requirement.marker.evaluate()]
    waiting, needed = [*brought("handgrad", EXTRAS), *here], set()
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
