"""Run in a submission's own process before anything of it: what the process may do is cut down for good.

Started as a script, by the path of this file, with the number of a socket and the limits. It needs Python and NumPy
alone, imports nothing of handgrad, and goes on with cell.py, which lies beside it.
"""

import contextlib
import ctypes
import importlib.util
import json
import os
import resource
import runpy
import socket
import struct
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

NEWUSER, NEWNET = 0x1000_0000, 0x4000_0000  # of unshare(2)
NO_NEW_PRIVILEGES, KEEP_CAPABILITIES = 38, 8  # of prctl(2)
CAPABILITIES, MAY_READ = (0x2008_0522, 0), 1 << 2  # of capset(2): its version and this process; CAP_DAC_READ_SEARCH
CREATE, ADD, RESTRICT, BY_PATH = 444, 445, 446, 1  # Landlock's calls, the same on all machines; a rule for a path
READ = 1 << 2 | 1 << 3  # a file, a folder
WRITE_FILE, TRUNCATE, DEVICE = 1 << 1, 1 << 14, 1 << 15
OF_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}  # all rights, by version
TCP, SCOPES = 0b11, 0b11  # to bind and to connect; abstract sockets and signals
FIRST_UID = 1_000_000  # users that nobody has, one for each process
PROCESSES, FILES = 1, 64  # of the user, and open at a time


def confine(folder: str, memory: int, seconds: int, written: int) -> list[str]:
    """Cut down what this process may do, and say what it can no longer do, each in a word of WORDS.

    It keeps `folder` to write in, so many bytes of memory and in each file, and seconds of processor time.
    """
    readable = _readable()
    done = []
    is_root = os.geteuid() == 0
    if _without_network(is_root):
        done.append("network")
    if is_root:
        done += _as_nobody(folder, reads=_version() >= 1)
    version = _landlock([*readable, "/dev/null", "/dev/urandom", "/dev/zero"], folder)
    done += ["files"] * (version >= 1) + ["tcp"] * (version >= 4 and "network" not in done)
    done += ["signals"] * (version >= 6 and "signals" not in done)
    for limit, value in {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: written,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: FILES,
        getattr(resource, "RLIMIT_NPROC", resource.RLIMIT_CORE): PROCESSES,
    }.items():
        with contextlib.suppress(ValueError, OSError):  # below the limit that it has already, or refused as on macOS
            resource.setrlimit(limit, (value, value))
    return done


def _readable() -> list[str]:
    """Where Python, its libraries, NumPy and handgrad's own code lie."""
    import numpy

    paths = [*map(sysconfig.get_paths().get, ("stdlib", "platstdlib", "purelib", "platlib"))]
    paths += [f"{sys.prefix}/lib", f"{sys.base_prefix}/lib", "/usr/lib", "/usr/lib64", "/lib", "/lib64"]
    paths += [str(Path(numpy.__file__).parents[1]), "/etc/ld.so.cache", "/proc/cpuinfo", "/sys/devices/system/cpu"]
    for name in ("handgrad", "handgrad.compare", "handgrad.torchref"):
        with contextlib.suppress(ImportError):
            spec = importlib.util.find_spec(name)
            paths += [] if spec is None else [*(spec.submodule_search_locations or ())]
    return [path for path in dict.fromkeys(filter(None, paths)) if Path(path).exists()]


def _without_network(is_root: bool) -> bool:
    """Whether this process now has a network of its own, which leads nowhere; as no root, in its own user space."""
    libc, (uid, gid) = ctypes.CDLL(None), (os.getuid(), os.getgid())
    if not hasattr(libc, "unshare") or libc.unshare(NEWNET if is_root else NEWNET | NEWUSER) != 0:
        return False
    if not is_root:
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    return True


def _as_nobody(folder: str, *, reads: bool) -> list[str]:
    """Go on as a user that nobody has, one who still `reads` where Python may lie, as in /root; what that forbids."""
    libc, uid = ctypes.CDLL(None), FIRST_UID + os.getpid()
    with contextlib.suppress(OSError):
        for path in (folder, *map(str, Path(folder).rglob("*"))):
            os.chown(path, uid, uid, follow_symlinks=False)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        if reads:
            libc.prctl(KEEP_CAPABILITIES, 1, 0, 0, 0)
        os.setresuid(uid, uid, uid)
        if reads:
            libc.capset(struct.pack("=Ii", *CAPABILITIES), struct.pack("=6I", MAY_READ, MAY_READ, 0, 0, 0, 0))
        return ["user", "signals"]
    return []


def _version() -> int:
    """Landlock's version, 0 where there is none."""
    is_linux = sys.platform.startswith("linux")
    return max(0, int(ctypes.CDLL(None).syscall(CREATE, None, 0, 1))) if is_linux else 0


def _landlock(readable: Iterable[str], folder: str) -> int:
    """Leave these paths to read and one folder to write in, by Linux's Landlock; its version, 0 without it."""
    libc, version = ctypes.CDLL(None), _version()
    if version < 1:
        return 0
    handled = OF_FILES[max(known for known in OF_FILES if known <= version)]
    words = [handled, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0]
    rules = struct.pack("=QQQ", *words)[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = libc.syscall(CREATE, rules, len(rules), 0)
    for path, rights in (*((path, READ) for path in readable), (folder, handled & ~(1 | DEVICE))):
        with contextlib.suppress(PermissionError):  # what this user cannot read needs no leave
            opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rights |= WRITE_FILE if path == "/dev/null" else 0
            rule = struct.pack("=Qi", rights if Path(path).is_dir() else rights & ~(1 << 3), opened)
            libc.syscall(ADD, ruleset, BY_PATH, rule, 0)
            os.close(opened)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    is_held = libc.syscall(RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return version if is_held else 0


if __name__ == "__main__":
    number, text = sys.argv[1:]
    del sys.argv[1:]
    cell = runpy.run_path(str(Path(__file__).with_name("cell.py")))
    kept = confine(os.getcwd(), **json.loads(text))  # noqa: PTH109  # as the kernel has it
    cell["serve"](socket.socket(fileno=int(number)), kept)
