import pytest

from handgrad.compare.grading.grade import grade
from handgrad.compare.grading.key import load_key
from handgrad.compare.grading.submissions import submissions
from handgrad.compare.grading.worker import Limits
from tests.compare.grading.course import KEY

PATIENT = Limits(20.0)


@pytest.fixture
def graded(tmp_path):
    """The grade of a text, as a file that is handed in, by a key."""

    def of(text, key=KEY, limits=PATIENT, name="ada.py"):
        (tmp_path / "key.py").write_text(key)
        path = tmp_path / "handed_in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        loaded = load_key(str(tmp_path / "key.py"))
        (one,) = submissions([str(path)], loaded.due)
        return grade(one, loaded, limits)

    return of


def states(grade):
    """How every equation came out."""
    return {mark.name: mark.state for mark in grade.marks}
