"""A test that imports a second copy of our packages fails, and no other does."""

from tests.repository import ROOT

pytest_plugins = ["pytester"]

TESTS = """
def test_ours():
    from handgrad.compare.names import Key

def test_second_copy():
    from compare.names import Key
"""


def test_a_second_copy_of_our_packages_is_seen(pytester):
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-o", f"pythonpath={ROOT}")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_second_copy*", "E *imported compare * write handgrad.compare"]
    )
