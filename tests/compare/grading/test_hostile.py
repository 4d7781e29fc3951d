"""Submissions that do harm, or look for the solution: they cost their own points, and find nothing."""

import sys
import time
from pathlib import Path

import pytest

from handgrad.compare.errors import InputError
from handgrad.compare.grading.grade import grades
from handgrad.compare.grading.key import load_key
from handgrad.compare.grading.submissions import Submission
from handgrad.compare.grading.worker import Limits
from tests.compare.grading.course import KEY, RIGHT

QUICK = Limits(2.0, 2**31)
HARMFUL = {
    "an endless loop": ("while True:\n    pass\n" + RIGHT, "too-long"),
    "an endless call": (RIGHT.replace("    n = X", "    while True: pass\n    n = X"), "too-long"),
    "os._exit": ("import os\nos._exit(0)\n", "no-answer"),
    "os._exit in the call": (RIGHT.replace("    n = X", "    import os; os._exit(3)\n    n = X"), "no-answer"),
    "sys.exit": ("raise SystemExit\n", "unread"),
    "a crash": ("import ctypes\nctypes.string_at(0)\n", "no-answer"),
    "a syntax error": (RIGHT.replace("def derivation(", "def derivation(("), "unread"),
    "nothing of the name": ("x = 1\n", "not-defined"),
    "no function": ("derivation = 3\n", "not-defined"),
    "garbage where answers go": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'garbage' * 1000)\n    except OSError: pass\n"
        + RIGHT,
        "no-answer",
    ),
    "too much memory": (
        RIGHT.replace("    n = X", "    big = np.ones(2**30)\n    n = X"),
        "exception",
    ),
    "arrays that are too large": (
        RIGHT.replace("    n = X", "    return {'dW1': np.zeros(2**27)}\n    n = X"),
        "no-answer",
    ),
    "a forged pickle": (
        "import numpy as np\n\nclass Evil:\n    def __reduce__(self):\n        import os\n"
        "        return os.system, ('touch /tmp/handgrad-was-here',)\n\n"
        "def derivation(params, X, Y):\n    return {'dW1': Evil(), 'J': np.array([Evil()], dtype=object)}\n",
        "missing",
    ),
    "a flood of output": ("while True:\n    print('garbage' * 1000)\n" + RIGHT, "too-long"),
    "deep lists": (
        "def derivation(params, X, Y):\n    deep = []\n    for _ in range(10**5):\n        deep = [deep, 1.0]\n"
        "    return {'dW1': deep}\n",
        "exception",
    ),
}


@pytest.mark.parametrize(("text", "code"), HARMFUL.values(), ids=HARMFUL)
def test_harm_costs_its_own_points_in_time(text, code, graded):
    start = time.monotonic()
    grade = graded(text, limits=QUICK)
    assert time.monotonic() - start < 60
    assert grade.score == 0
    codes = {grade.ended.code} if grade.ended else {mark.cause.code for mark in grade.marks if mark.cause}
    assert code in codes
    assert not Path("/tmp/handgrad-was-here").exists()


HARMLESS = {
    "printing": "print('noise ' * 3)\nimport sys\nsys.stderr.write('more')\nsys.stdout.close()\n",
    "closing what is open": "import os\nfor fd in range(3):\n    os.close(fd)\n",
    "deleting its own folder": "import os, shutil\nshutil.rmtree(os.getcwd(), ignore_errors=True)\n",
    "another folder": "import os\nos.chdir('/usr/lib')\n",
    "reading from the keyboard": "try:\n    input()\nexcept EOFError:\n    pass\n",
    "settings of NumPy": "import numpy as np\nnp.seterr(all='raise')\n",
    "new processes": "import os\ntry:\n    os.fork() or os._exit(0)\nexcept OSError:\n    pass\n",
}


@pytest.mark.parametrize("text", HARMLESS.values(), ids=HARMLESS)
def test_what_does_no_harm_costs_nothing(text, graded):
    grade = graded(text + RIGHT)
    assert grade.score == pytest.approx(100), grade.ended


def test_what_it_prints_is_kept_in_part(graded):
    grade = graded("print('noise')\nprint('x' * 10**6)\n" + RIGHT)
    assert grade.printed.startswith("noise\nxxx")
    assert len(grade.printed) == 2000


SEARCHING = """
import contextlib
import gc
import os
import sys
from pathlib import Path

import numpy as np

found = []


def look(where, text):
    if any("".join(reversed(word)) in text for word in ("ltaoclazteuq", "eno_neddih_edis")):
        found.append(where)


def search():
    frame = sys._getframe()
    while frame is not None:
        look("frames", repr(frame.f_locals) + repr(frame.f_globals))
        frame = frame.f_back
    for thing in gc.get_objects():
        if isinstance(thing, (dict, list, tuple)):
            with contextlib.suppress(Exception):
                look("gc", repr(thing))
    for thing in gc.get_objects():
        with contextlib.suppress(Exception):
            look("code", repr(thing.__code__.co_names) + repr(thing.__code__.co_consts))
    look("modules", repr(sys.modules.keys()))
    look("arguments", repr(sys.argv) + repr(sys.orig_argv))
    look("environment", repr(dict(os.environ)))
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ", "maps", "mem", "cwd/key.py"):
            with contextlib.suppress(OSError):
                look(f"{file} of a process", (process / file).read_bytes()[:10**6].decode("latin-1"))
        for fd in (process / "fd").glob("*") if os.access(process / "fd", os.R_OK) else ():
            with contextlib.suppress(OSError):
                look("an open file", os.readlink(fd))
    for path in PATHS:
        with contextlib.suppress(OSError):
            look("the key's file", Path(path).read_text())
        with contextlib.suppress(OSError):
            look("the key's folder", repr(os.listdir(Path(path).parent)))
        with contextlib.suppress(OSError):
            Path(path).write_text("overwritten")
        with contextlib.suppress(OSError):
            (Path(path).parent / "planted.py").write_text("planted")
    for number in (os.getppid(),):
        with contextlib.suppress(OSError):
            os.kill(number, 0)
            found.append("may signal its parent")
    import socket
    with contextlib.suppress(OSError):
        with socket.create_connection(("127.0.0.1", PORT), timeout=2):
            found.append("the network")


"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems forbid less, as docs/grading.md says")
def test_a_submission_finds_nothing_of_the_key(graded, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = SEARCHING + RIGHT.replace("    n = X", "    search()\n    n = X")
        text = text.replace("    return dict(", "    print('found:', sorted({*found}))\n    return dict(")
        constants = f"PATHS, PORT = [{str(tmp_path / 'key.py')!r}], {port}\n"
        grade = graded(constants + text)
    if {"files", "signals"} - {*grade.confined} or not {"network", "tcp"} & {*grade.confined}:
        pytest.skip(f"this system forbids only {grade.confined}")
    assert grade.score == pytest.approx(100), grade.ended
    assert {*grade.printed.splitlines()} == {"found: []"}
    assert (tmp_path / "key.py").read_text() == KEY
    assert sorted(path.name for path in tmp_path.iterdir()) == ["handed_in", "key.py"]


def test_nothing_of_a_submission_is_left(graded, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    text = "import os\nfor i in range(5):\n    open(f'{i}.txt', 'w').write('x')\nos.mkdir('sub')\nos.chmod('sub', 0)\n"
    assert graded(text + RIGHT).score == pytest.approx(100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["handed_in", "key.py"]


def test_the_search_does_find_what_is_there(graded):
    text = SEARCHING + RIGHT.replace("    n = X", "    search()\n    print('found:', sorted({*found}))\n    n = X")
    bait = f"PATHS, PORT = [], 9\nbait = {{'here': {KEY!r}}}\n"
    assert "'frames'" in graded(bait + text).printed


def test_a_judging_process_that_is_ended_is_told_in_a_sentence(tmp_path):
    (tmp_path / "key.py").write_text(KEY)
    key = load_key(str(tmp_path / "key.py"))
    (tmp_path / "key.py").write_text("import os\nos._exit(1)\n")  # what the processes then read
    one = Submission("ada", "ada.py", {"ada.py": RIGHT.encode()}, "ada.py")
    with pytest.raises(InputError, match="--jobs"):
        grades([one, one], key, QUICK, 2)
