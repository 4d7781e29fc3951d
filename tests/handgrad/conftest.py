"""The project that the tests of the plugin run in."""

from contextlib import suppress

import pytest

from tests.handgrad.projects import MINE


@pytest.fixture(scope="session")
def _imported():
    """Import all that checks import: pytester forgets what its sessions import, and torch bears being imported once."""
    from handgrad import Experiment, InputError, check_gradients, check_updates
    from handgrad.compare.checks.files import CHECKS

    names = {}
    exec(MINE, names)
    Experiment(steps=1).run("synthetic").to_html()
    for check in CHECKS.values():
        given = [names.get(need, (4, 6) if need == "shape" else None) for need in check.needs]
        with suppress(InputError):  # what the module does not define
            check.function(*given)
    check_gradients(names["wrong"], names["reference"], names["params"], names["batch"])
    check_updates(names["ascent"], names["sgd"], names["params"])


@pytest.fixture
def project(_imported, pytester):
    """A project with the module `mine`."""
    pytester.makepyfile(mine=MINE)
    return pytester
