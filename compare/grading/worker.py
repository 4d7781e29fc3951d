"""A submission in a process of its own, seen from this side: started, asked, and ended; it sends values alone."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from handgrad.compare.errors import InputError
from handgrad.compare.facts.failures import Raised
from handgrad.compare.grading import cell
from handgrad.compare.grading.facts import Ended, NoAnswer, NotDefined, TooLong, Unread
from handgrad.compare.per_example import OfExamples
from handgrad.compare.sandbox import Remote

PROGRAM = Path(__file__).with_name("confinement.py")
KEPT = 2000  # characters of what a submission prints
WRITTEN = 2**24  # bytes of each file that it writes
START_UP = 60.0  # seconds: NumPy's import, on a machine that is busy
CALLS = 6  # times the limit of one call: what all calls of a submission may take
PASSED_ON = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # of the environment: where Python's own libraries lie
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Limits:
    """What a submission may take: seconds of each call, the first of which reads its file, and bytes of memory."""

    seconds: float = 10.0
    memory: int = 4 * 2**30


class Stopped(BaseException):
    """A submission that is over, which no code between here and grading may take for an answer; `why` is a fact."""

    def __init__(self, why: Ended) -> None:
        """As said."""
        super().__init__(str(why))
        self.why = why


class Worker:
    """A process that has the files of one submission and answers questions about it, one at a time.

    It is started with a folder of its own, without this process's environment, and knows no name of a key. Used as a
    context, at whose end it is killed and its folder is gone.
    """

    def __init__(self, files: Mapping[str, bytes], limits: Limits) -> None:
        """Nothing is started yet; `files` are what the submission has, by their paths in it."""
        self.limits, self.left = limits, CALLS * limits.seconds
        self._files = files
        self._printed, self.confined = bytearray(), tuple[str, ...]()

    def __enter__(self) -> Self:
        """Start it; Stopped if it does not answer."""
        try:
            return self._started()
        except BaseException:
            self.__exit__()
            raise

    def _started(self) -> Self:
        self._folder = tempfile.mkdtemp(prefix="handgrad-")
        if sys.platform == "win32":
            raise InputError("handgrad grade starts processes as Linux and macOS have them; on Windows run it in WSL")
        for name, content in self._files.items():
            path = Path(self._folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._socket, theirs = socket.socketpair()
        limits = {"memory": self.limits.memory, "seconds": int(self.left) + 1, "written": WRITTEN}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-u", str(PROGRAM), str(theirs.fileno()), json.dumps(limits)],
                cwd=self._folder,
                env=_environment(self._folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        finally:
            theirs.close()
        self._drain = threading.Thread(target=self._read_on, daemon=True)
        self._drain.start()
        self.confined = tuple(map(str, self._exchange(None)[0].get("confined", ())))
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it and what it has started, and remove its folder."""
        if not hasattr(self, "_process"):
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._socket.close()
        self._drain.join(1.0)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def printed(self) -> str:
        """The first of what it has printed."""
        return self._printed.decode(errors="replace")

    def _read_on(self) -> None:
        """Read what it prints to the end, so that it never waits, and keep the beginning."""
        assert self._process.stdout is not None
        with self._process.stdout as printed:
            while part := os.read(printed.fileno(), 2**16):
                self._printed += part[: max(0, KEPT - len(self._printed))]

    def load(self, file: str, name: str) -> Distant:
        """The object of a name that a file of it defines, when it is run."""
        try:
            value = self.ask({"do": "load", "file": file, "name": name}, [])
        except Remote as remote:
            raise Stopped(Unread(remote.raised)) from None
        if not isinstance(value, Distant):
            raise Stopped(NotDefined(name))
        return value

    def ask(self, request: Mapping[str, Any], arrays: list[np.ndarray]) -> Any:
        """What it answers, arrays that it has changed being changed; Remote if it raised, Stopped if it is over."""
        answer, theirs = self._exchange(request, arrays)
        if "raised" in answer:
            raise _remote(answer["raised"])
        try:
            for index, place in answer["changed"]:
                np.copyto(arrays[index], theirs[place])
            return cell.built(answer["value"], theirs, self._standing_for)
        except (KeyError, TypeError, ValueError, IndexError, cell.Unreadable):
            raise Stopped(NoAnswer()) from None

    def _standing_for(self, number: int, kind: str, is_able: bool) -> Any:
        """What stands here for an object that stays there: of a type of that name."""
        if not is_able:
            return type(kind, (), {"number": number})()
        return Distant(self, number)

    def _exchange(
        self, request: Mapping[str, Any] | None, arrays: Sequence[np.ndarray] = ()
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Send a request, if there is one, and receive the answer, within what time is left."""
        allowed = START_UP if request is None else min(self.limits.seconds, self.left)
        start = time.monotonic()
        try:
            with _within(allowed, self._process):
                if request is not None:
                    cell.send(self._socket, request, [*arrays])
                return cell.receive(self._socket)
        except (EOFError, OSError):
            if time.monotonic() - start >= allowed:
                raise Stopped(TooLong(allowed)) from None
            raise Stopped(NoAnswer(self._end())) from None
        except cell.Unreadable:
            raise Stopped(NoAnswer()) from None
        finally:
            self.left -= 0.0 if request is None else min(self.left, time.monotonic() - start)

    def _end(self) -> int:
        """The status with which it ended, a signal as a negative number."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(1.0)
        return 0


class Distant:
    """An object of a submission that stays in its process: called, copied and iterated there.

    What is handed over is copied there, and what it changes in place is changed here as well.
    """

    def __init__(self, worker: Worker, number: int) -> None:
        """`number` is what it goes by there."""
        self.worker, self.number = worker, number

    def __call__(self, *arguments: Any) -> Any:
        """What it returns there."""
        values = cell.Value(_number_of)
        request = {"do": "call", "thing": self.number, "arguments": [*map(values.tree, arguments)]}
        returned = self.worker.ask(request, values.arrays)
        if isinstance(returned, Distant):
            return returned._yields(values.arrays)
        if isinstance(returned, cell.Items) and isinstance(returned.values_of, dict):
            found = OfExamples(returned)
            found.values_of = returned.values_of
            return found
        return returned

    def _yields(self, handed: list[np.ndarray]) -> Iterator[Any]:
        """What a generator there yields."""
        while values := self.worker.ask({"do": "next", "thing": self.number}, handed):
            yield values[0][""]

    def __deepcopy__(self, _: Any) -> Distant:
        """A copy there."""
        copied = self.worker.ask({"do": "copy", "thing": self.number}, [])
        return copied if isinstance(copied, Distant) else self


def _number_of(thing: Any) -> int:
    """The number of what stands here for an object there."""
    return int(getattr(thing, "number", -1))


def _remote(raised: Mapping[str, Any]) -> Remote:
    """The exception that an answer tells of."""
    try:
        exception, message, file = (str(raised[name])[: cell.LONG] for name in ("exception", "message", "file"))
        return Remote(Raised(exception, message, file, int(raised["line"])))
    except (KeyError, TypeError, ValueError):
        return Remote(Raised("Exception", ""))


@contextlib.contextmanager
def _within(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Kill a process that is not done in time: whoever waits for it then reads the end."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _environment(folder: str) -> dict[str, str]:
    """All that a submission sees of the environment."""
    own = {"HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "MPLBACKEND": "Agg", **dict.fromkeys(THREADS, "1")}
    return own | {name: os.environ[name] for name in PASSED_ON if name in os.environ}
