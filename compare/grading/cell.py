"""What runs a submission in its own process, and the form in which values come and go: nothing in it is ever executed.

A message is 8 bytes of length, a JSON text of that length, and the bytes of its arrays. It needs Python and NumPy alone
and imports nothing of handgrad: confinement.py runs it by its path.
"""

import copy
import json
import re
import runpy
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORM = re.compile(r"[<>|=][biufc]\d{1,2}")  # the numbers that may come: no objects
DEEP, LONG = 8, 200  # lists inside each other; characters of a name or message
MOST_TEXT, MOST_BYTES, MOST_PARTS = 2**22, 2**28, 10_000  # of a message: its JSON, its arrays, and its values


class Unreadable(Exception):
    """A message that is none."""


class Value:
    """A value on its way: a tree that JSON can hold, and its arrays, each once."""

    def __init__(self, keep: Callable[[Any], int]) -> None:
        """`keep` gives a number to an object that stays where it is."""
        self.arrays: list[np.ndarray] = []
        self._at: dict[Any, int] = {}
        self._keep, self._parts = keep, 0

    def tree(self, value: Any, depth: int = 0) -> list[Any]:
        """A value as a tree: arrays by their place, mappings, lists and tuples of such, plain values, objects kept."""
        self._parts += 1
        if self._parts > MOST_PARTS or depth > DEEP:
            raise Unreadable(f"more than {MOST_PARTS} values, or more than {DEEP} lists inside each other")
        if value is None or isinstance(value, (bool, int, float)):
            return ["plain", value] if not isinstance(value, int) or abs(value) < 2**63 else ["plain", float(value)]
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
            return ["array", self.place(value)]
        if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
            return ["array", self.place(_of_torch(value))]
        if isinstance(value, str):
            return ["plain", value[:LONG]]
        if isinstance(value, Mapping):
            items = [[str(name)[:LONG], self.tree(item, depth + 1)] for name, item in value.items()]
            return ["items", items, self.tree(getattr(value, "values_of", None), depth + 1)]
        if isinstance(value, (list, tuple)):
            if depth and value and _holds_numbers(value) and (flat := _as_numbers(value)) is not None:
                return ["array", self.place(flat)]
            return [type(value).__name__, [self.tree(item, depth + 1) for item in value]]
        return ["kept", self._keep(value), type(value).__name__[:LONG], isinstance(value, Iterator)]

    def place(self, array: Any) -> int:
        """The place of an array; what shares memory, shape and strides has one."""
        array = np.asarray(array)
        interface = array.__array_interface__
        key = (interface["data"], interface["strides"], array.shape, array.dtype.str)
        if key not in self._at or not array.size:
            self._at[key] = len(self.arrays)
            self.arrays.append(array)
        return self._at[key]


class Items(dict[str, Any]):
    """A mapping that says of some of its names which values they stand for if they are no gradients."""

    values_of: Any = None


def _holds_numbers(value: Any) -> bool:
    """Whether a list holds numbers, or lists of them, and nothing else."""
    return all(isinstance(v, (int, float)) or (isinstance(v, (list, tuple)) and _holds_numbers(v)) for v in value)


def _as_numbers(value: Any) -> Any:
    """A list of numbers as an array; None for any other list."""
    try:
        array = np.array(value)
    except (ValueError, TypeError, RuntimeError):
        return None
    return array if array.dtype.kind in "biufc" else None


def _of_torch(tensor: Any) -> Any:
    """The values of a tensor; what NumPy has no format for is in float32, which holds it."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if str(tensor.dtype) in ("torch.bfloat16", "torch.float8_e4m3fn") else tensor).numpy()


def built(tree: Any, arrays: list[np.ndarray], kept: Callable[[int, str, bool], Any]) -> Any:
    """The value that a tree stands for; `kept` gives what stands for an object of the other side."""
    try:
        kind, content, *more = tree
        if kind == "array":
            return arrays[content]
        if kind == "items":
            items = Items({str(name): built(item, arrays, kept) for name, item in content})
            items.values_of = built(more[0], arrays, kept)
            return items
        if kind in ("list", "tuple"):
            several = [built(item, arrays, kept) for item in content]
            return several if kind == "list" else tuple(several)
        if kind == "kept":
            return kept(int(content), str(more[0]), bool(more[1]))
    except (TypeError, ValueError, IndexError, KeyError, RecursionError):
        raise Unreadable("a value of no known form") from None
    if kind != "plain" or not (content is None or isinstance(content, (bool, int, float, str))):
        raise Unreadable("a value of no known form")
    return content


def send(to: socket.socket, content: Mapping[str, Any], arrays: list[np.ndarray]) -> None:
    """Send a message."""
    plain = [array.astype(array.dtype.newbyteorder("="), copy=False) for array in arrays]
    text = json.dumps({**content, "arrays": [[array.dtype.str, array.shape] for array in plain]}).encode()
    to.sendall(struct.pack("<Q", len(text)) + text)
    for array in plain:
        to.sendall(array.tobytes())


def receive(of: socket.socket) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The next message, its arrays free to be written in; Unreadable for what is none or too long."""
    (length,) = struct.unpack("<Q", _exactly(of, 8))
    if length > MOST_TEXT:
        raise Unreadable(f"{length} bytes of text")
    try:
        content = json.loads(_exactly(of, length))
        forms = [(np.dtype(form), tuple(map(int, shape))) for form, shape in content["arrays"] if FORM.fullmatch(form)]
        sizes = [form.itemsize * int(np.prod(shape, dtype=object)) for form, shape in forms]
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        raise Unreadable("no message") from None
    if len(forms) != len(content["arrays"]) or min(sizes, default=0) < 0 or sum(sizes) > MOST_BYTES:
        raise Unreadable("arrays of no known form, or too large")
    if any(n < 0 for _, shape in forms for n in shape):
        raise Unreadable("arrays of no known form")
    parts = (bytearray(_exactly(of, size)) for size in sizes)
    pairs = zip(parts, forms, strict=True)
    return content, [np.frombuffer(part, form).reshape(shape) for part, (form, shape) in pairs]


def _exactly(of: socket.socket, count: int) -> bytes:
    parts, left = [], count
    while left:
        part = of.recv(min(left, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


# --- the submission


class Cell:
    """A submission that has been run: the objects that stay here, by number, and what generators were handed."""

    def __init__(self) -> None:
        """Nothing is kept yet; it is run in the folder that it has."""
        self.here = str(Path.cwd())
        self.kept: list[Any] = []
        self.handed: dict[int, list[np.ndarray]] = {}

    def keep(self, thing: Any) -> int:
        """The number of an object that stays here."""
        self.kept.append(thing)
        return len(self.kept) - 1

    def load(self, request: Mapping[str, Any], _: list[np.ndarray]) -> Any:
        """Run the file; the object of a name, None where there is none."""
        sys.path.insert(0, self.here)
        defined = runpy.run_path(f"{self.here}/{request['file']}", run_name="handgrad_check")
        return Kept(defined.get(request["name"]))

    def copy(self, request: Mapping[str, Any], _: list[np.ndarray]) -> Any:
        """A copy of an object, so that what it keeps does not reach the next run; itself where it has none."""
        thing = self.kept[request["thing"]]
        try:
            return Kept(copy.deepcopy(thing))
        except Exception:  # a lock, a file, or its own __deepcopy__
            return Kept(thing)

    def call(self, request: Mapping[str, Any], arrays: list[np.ndarray]) -> Any:
        """What an object returns."""
        arguments = [built(tree, arrays, lambda number, *_: self.kept[number]) for tree in request["arguments"]]
        with np.errstate(all="ignore"):
            returned = self.kept[request["thing"]](*arguments)
        if isinstance(returned, Iterator):
            self.handed[len(self.kept)] = arrays
        return returned

    def next(self, request: Mapping[str, Any], _: list[np.ndarray]) -> Any:
        """What a generator yields next: in a list, which is empty after its end."""
        with np.errstate(all="ignore"):
            value = next(self.kept[request["thing"]], Kept)
        return [] if value is Kept else [{"": value}]


class Kept:
    """Marks what is to stay here, callable or not."""

    def __init__(self, thing: Any) -> None:
        """The thing."""
        self.thing = thing


def serve(to: socket.socket, confined: list[str]) -> None:
    """Answer requests until there are no more."""
    cell = Cell()
    send(to, {"confined": confined}, [])
    while True:
        try:
            request, arrays = receive(to)
        except EOFError:
            return
        _answer(to, cell, request, arrays)


def _answer(to: socket.socket, cell: Cell, request: dict[str, Any], arrays: list[np.ndarray]) -> None:
    """Do what one request asks, and send what came of it, with those of the arrays handed over that it changed."""
    arrays = cell.handed.get(request.get("thing", -1), arrays)
    before = [array.tobytes() for array in arrays]
    try:
        returned = getattr(cell, request["do"])(request, arrays)
        value = Value(cell.keep)
        if isinstance(returned, Kept):
            thing = returned.thing
            tree: list[Any] = ["kept", cell.keep(thing), type(thing).__name__[:LONG], callable(thing)]
        else:
            tree = value.tree(returned)
        changed = [i for i, array in enumerate(arrays) if array.tobytes() != before[i]]
        content: dict[str, Any] = {"value": tree, "changed": [[i, value.place(arrays[i])] for i in changed]}
        sent = value.arrays
    except BaseException as error:  # whatever the submission raises is an answer
        content, sent = {"raised": _raised(error, cell.here)}, []
    send(to, content, sent)


def _raised(error: BaseException, here: str) -> dict[str, Any]:
    """An exception with the submission's own file and line, and whether it is a plain one."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(here)]
    file, line = (frames[-1].filename, frames[-1].lineno) if frames else ("", 0)
    message: Any = error
    if isinstance(error, SyntaxError) and error.filename:
        message, file, line = error.msg, error.filename, error.lineno
    try:
        message = str(message)
    except Exception:  # its __str__ is the submission's
        message = ""
    return {
        "exception": type(error).__name__[:LONG],
        "message": " ".join(message.split())[:LONG],
        "file": file.removeprefix(here).lstrip("/") if file.startswith(here) else "",
        "line": line or 0,
    }
