"""Programs that a model wrote, run where they can do no harm: no network, nothing writable, little time and memory.

Linux only, without a container and without rights of an administrator: the program runs in namespaces of its own (user,
mount, process ids, network, IPC). The network has no device; the file system is mounted read-only throughout; an empty
`/tmp` in memory is all that can be written; every capability is dropped for good before the program starts; processes that
it leaves behind end with it. Limits are on processor time, wall time, address space, size of files and output.

Files that the user may read the program may read as well: it has no way to send them anywhere, but its output says what it
prints. A kernel's own faults are out of reach.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import lru_cache

_SETUP = r"""
import ctypes, os, resource, sys
seconds, memory, scratch = map(int, sys.argv[1:4])
python = os.path.realpath(sys.executable)  # an environment below /tmp is hidden by the scratch folder; its interpreter lies elsewhere
libc = ctypes.CDLL(None, use_errno=True)

def must(result, what):
    if result != 0:
        os.write(2, ("sandbox: " + what + ": " + os.strerror(ctypes.get_errno())).encode())
        os._exit(97)

class Attributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "namespace")]

try:  # a namespace of the program's own could not undo the read-only mounts, but needs none
    with open("/proc/sys/user/max_user_namespaces", "w") as limit:
        limit.write("0")
except OSError:
    pass
MS_PRIVATE_REC, MS_NOSUID_NODEV, AT_FDCWD, AT_RECURSIVE, READ_ONLY, MOUNT_SETATTR = 0x44000, 0x6, -100, 0x8000, 0x1, 442
must(libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_PRIVATE_REC), None), "private mounts")
attributes = Attributes(READ_ONLY, 0, 0, 0)
must(libc.syscall(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes)), "read-only mounts")
must(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", ctypes.c_ulong(MS_NOSUID_NODEV), b"size=%d" % scratch), "scratch folder")
libc.mount(b"proc", b"/proc", b"proc", ctypes.c_ulong(MS_NOSUID_NODEV), None)  # containers that hide parts of /proc refuse this
os.chdir("/tmp")
PR_SET_SECUREBITS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, NO_ROOT_LOCKED = 28, 24, 38, 0x2F
must(libc.prctl(PR_SET_SECUREBITS, NO_ROOT_LOCKED, 0, 0, 0), "secure bits")
for capability in range(64):
    libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
must(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
must(libc.capset(header, none), "dropping capabilities")
for limit, value in (("CPU", seconds), ("AS", memory), ("FSIZE", scratch), ("NOFILE", 64), ("NPROC", 16), ("CORE", 0)):
    name = getattr(resource, "RLIMIT_" + limit)
    resource.setrlimit(name, (value, value))
os.execv(python, [python, "-I", "-S", "-c", sys.stdin.read()])
"""
_KEPT_OUTPUT = 2000
_SCRATCH = 16 << 20
_LONGEST = 100_000
"""Bytes of a program: it is handed over as one argument."""
_SETUP_FAILED = 97


@dataclass(frozen=True)
class Outcome:
    """What became of a program. `passed`: it was run to its last line and ended with exit code 0."""

    passed: bool
    reason: str
    """"ended", "ended early", "exit code N", "killed by signal N", "time" or "too long"."""
    output: str


def run_program(source: str, *, seconds: int = 10, memory: int = 1 << 30) -> Outcome:
    """Run Python source with this interpreter's standard library and nothing else.

    Args:
        seconds: of processor time, and by the clock.
        memory: bytes of address space.

    Raises:
        ValueError: this machine does not let such a sandbox be made; nothing was run.
    """
    if (missing := unavailable()) is not None:
        raise ValueError(missing)
    return _run(source, seconds, memory)


@lru_cache(maxsize=1)
def unavailable() -> str | None:
    """Why no sandbox can be made here, or None: tried once, with a program that must not be able to write or connect."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "model-written programs are run on Linux only, with unshare (util-linux): leave tasks that run code out"
    try:
        outcome = _run(_HARMLESS, 10, 1 << 30)
    except ValueError as error:
        return str(error)
    return (
        None if outcome.passed else f"the sandbox for model-written programs does not hold here ({outcome.output.strip()}): nothing is run"
    )


_HARMLESS = """
import os, socket
try:
    open("/var/tmp/timbre-must-not-exist", "w")
    raise SystemExit("files can be written")
except OSError:
    pass
if any(name != "lo" for _, name in socket.if_nameindex()):
    raise SystemExit("there is a network")
"""


def _run(source: str, seconds: int, memory: int) -> Outcome:
    namespaces = ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--net", "--ipc"]
    setup = [sys.executable, "-I", "-S", "-c", _SETUP, str(seconds), str(memory), str(_SCRATCH)]
    proof = secrets.token_hex(16)
    program = f"{source}\nprint({proof!r}, flush=True)\n"
    if len(program.encode()) > _LONGEST:
        return Outcome(False, "too long", "")
    with tempfile.TemporaryFile() as written:  # a file and no pipe: its size is limited, whatever the program prints
        process = subprocess.Popen(
            [str(shutil.which("unshare")), *namespaces, *setup], stdin=subprocess.PIPE, stdout=written, stderr=subprocess.STDOUT,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, start_new_session=True,
        )  # fmt: skip
        try:
            process.communicate(program.encode(), timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # unshare's child dies with it, and with that child all of its process namespace
            process.wait()
            return Outcome(False, "time", "")
        written.seek(max(0, written.tell() - _KEPT_OUTPUT))
        output = written.read().decode("utf-8", "replace")
    if process.returncode == _SETUP_FAILED or (process.returncode != 0 and output.startswith("unshare:")):
        raise ValueError(f"no sandbox for model-written programs can be made here ({output.strip()}): leave tasks that run code out")
    reached = output.rstrip().endswith(proof)
    return Outcome(process.returncode == 0 and reached, _reason(process.returncode, reached), output.replace(proof, "").rstrip())


def _reason(code: int, reached: bool) -> str:
    if code > 128 or code < 0:
        return f"killed by signal {code - 128 if code > 0 else -code}"
    if code:
        return f"exit code {code}"
    return "ended" if reached else "ended early"
