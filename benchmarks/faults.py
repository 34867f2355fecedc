"""A table of faults: at each named boundary of a small release something goes wrong, then the same command is given again.

    python -m benchmarks.operations --faults

The release is small and its stores are real: artifacts through `ArtifactStore`, a run and a version in MLflow on SQLite, verdict and
transition in the ledger. The command runs in a process of its own, which the fault ends or hinders; a second process gives the
same command undisturbed. A cell is survived if the second ends well and what stands then is what an undisturbed release leaves: the same
artifacts, one version, one transition that was applied, the same aliases, nothing half-built, every lock free and no process left.
"""

import errno
import importlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.pieces import environment
from timbre.artifacts import ArtifactStore, Input, Stage, Workspace, sha256_file
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.registry import promotion
from timbre.registry.ledger import Ledger
from timbre.settings import settings
from timbre.tasks.runs import only_run
from timbre.tasks.stores.mlflow import MlflowStore

MODEL = "timbre-faults"
KINDS = ("raise", "exit", "SIGKILL", "writes fail", "store down", "slow store", "clock back")
_SLOW_SECONDS = 2.0
_DAY = 86_400.0
_WAIT_SECONDS = 240.0
_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Cell:
    """One fault: where, of which kind, and what came of it."""

    boundary: str
    kind: str
    first: str
    """How the disturbed command ended."""
    problems: tuple[str, ...]
    """What is not as an undisturbed release leaves it; empty: survived."""
    seconds: float = field(compare=False, default=0.0)


class _Say(Frozen):
    name: str
    text: str


Reached = Callable[[str], None]
BOUNDARIES = (
    "run lock held", "corpus written", "corpus stored", "bundle written", "bundle stored", "verdict written", "verdict stored",
    "run begun", "verdict in the ledger", "version registered", "challenger named", "transition in the ledger", "champion named",
    "challenger removed", "transition applied",
)  # fmt: skip


def release(home: Path, reached: Reached) -> None:
    """The command: three artifacts, then register and promote, as `timbre run` does; `reached` is told each boundary."""
    with only_run(home):
        reached("run lock held")
        store = ArtifactStore(home, SILENT)
        corpus = store.build(_stage("corpus", reached), _Say(name="documents.txt", text="The sea was calm."), {})
        reached("corpus stored")
        bundle = store.build(_stage("bundle", reached), _Say(name="model.onnx", text="weights"), {"corpus": corpus})
        reached("bundle stored")
        digest = sha256_file(settings().file("mlflow/policies/quick.toml"))
        gate = {"name": "held_out_nll", "kind": "superiority", "metric": "nll", "verdict": "PASS"}
        judged = {
            "verdict": "PASS", "policy": {"name": "quick", "strictness": 1, "digest": digest}, "gates": [gate],
            "subject": {"bundle": bundle.digest, "candidate": "c", "base": "b", "corpus": corpus.digest},
        }  # fmt: skip
        verdict = store.build(_stage("verdict", reached), _Say(name="verdict.json", text=json.dumps(judged)), {"bundle": bundle})
        reached("verdict stored")
        registry = _Told(MlflowStore.open(settings()), reached)
        with closing(_ToldLedger(settings().ledger, reached)) as ledger:
            run = registry.run_for(bundle.digest, "faults", "faults", {})
            reached("run begun")
            lineage = {"timbre.run": run, "timbre.corpus": corpus.digest}
            promotion.publish(MODEL, bundle, verdict, lineage, registry, ledger, store, promotion="auto", reason="faults")
            registry.end_run(run)


def _stage(name: str, reached: Reached) -> Stage[_Say]:
    def build(config: _Say, _: Mapping[str, Input], work: Workspace) -> None:
        (work.output / config.name).write_text(config.text)
        reached(f"{name} written")

    return Stage(name, 1, build)


class _Told(MlflowStore):
    """MLflow's store that says what it has done."""

    def __init__(self, store: MlflowStore, reached: Reached) -> None:
        self.__dict__.update(store.__dict__)
        self._reached = reached

    def register(self, model: str, bundle: Path, tags: Mapping[str, str]) -> Any:
        version = super().register(model, bundle, tags)
        self._reached("version registered")
        return version

    def set_alias(self, model: str, alias: str, number: int) -> None:
        super().set_alias(model, alias, number)
        self._reached(f"{alias} named")

    def delete_alias(self, model: str, alias: str) -> None:
        super().delete_alias(model, alias)
        self._reached(f"{alias} removed")


class _ToldLedger(Ledger):
    """The ledger that says what it has written."""

    def __init__(self, url: str, reached: Reached) -> None:
        super().__init__(url)
        self._reached = reached

    def record(self, judged: Any) -> None:
        super().record(judged)
        self._reached("verdict in the ledger")

    def append(self, *arguments: Any, **words: Any) -> Any:
        transition = super().append(*arguments, **words)
        self._reached("transition in the ledger")
        return transition

    def mark_applied(self, transition: Any) -> None:
        super().mark_applied(transition)
        self._reached("transition applied")


def table(kinds: tuple[str, ...] = KINDS, boundaries: tuple[str, ...] = BOUNDARIES) -> Iterator[Cell]:
    """Every cell, one after the other; each has a home of its own.

    The commands are forked from a process that is started anew and has no threads: from one with threads a child can get a lock that
    somebody else held at that moment, and waits for ever.
    """
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_import_what_takes_long) as clean,
        tempfile.TemporaryDirectory(prefix="timbre-faults-") as folder,
    ):

        def command(home: Path, boundary: str | None = None, kind: str = "") -> tuple[str, dict[str, Any]]:
            return clean.submit(_command, home, boundary, kind).result()

        fresh = Path(folder) / "fresh"
        fresh.mkdir()
        clean.submit(_apart, _make_schema, fresh).result()  # it takes MLflow seconds; every home begins with it made
        whole = Path(folder) / "whole"
        shutil.copytree(fresh, whole)
        ended, wanted = command(whole)
        assert ended == "done", f"an undisturbed release does not end well: {ended}"
        for boundary in boundaries:
            for kind in kinds:
                home = Path(folder) / f"{boundary} {kind}".replace(" ", "-")
                shutil.copytree(fresh, home)
                started = time.monotonic()
                first, _ = command(home, boundary, kind)
                second, found = command(home)
                problems = [] if second == "done" else [f"the second command: {second}"]
                differs = [name for name in wanted if found.get(name) != wanted[name]]
                problems += [f"{name}: {found.get(name)!r} instead of {wanted[name]!r}" for name in differs]
                if first == "not reached":
                    problems.append("the boundary was never reached")
                yield Cell(boundary, kind, first, tuple(problems), round(time.monotonic() - started, 1))
                shutil.rmtree(home)


def _import_what_takes_long() -> None:
    """Once, for every process to come."""
    for heavy in ("mlflow.pyfunc", "mlflow.models.signature", "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking"):
        importlib.import_module(heavy)


@contextmanager
def _home(home: Path) -> Iterator[None]:
    home.mkdir(parents=True, exist_ok=True)
    with environment(TIMBRE_HOME=str(home), MLFLOW_DISABLE_TELEMETRY="true"):
        yield


def _command(home: Path, boundary: str | None, kind: str) -> tuple[str, dict[str, Any]]:
    """Give the command in a process of its own; how it ended, and what stands then where nothing was done to it."""
    receiving, sending = _fork.Pipe(duplex=False)
    child = _fork.Process(target=_child, args=(home, boundary, kind, sending))
    child.start()
    sending.close()
    said, state = "", dict[str, Any]()
    with suppress(EOFError):
        if receiving.poll(_WAIT_SECONDS):
            said, state = receiving.recv()
    child.join(_WAIT_SECONDS)
    left = _group(child)
    for process in left:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    _mended(home)
    if left:
        return f"left {len(left)} processes", {}
    return said or (f"signal {signal.Signals(-child.exitcode).name}" if (child.exitcode or 0) < 0 else f"exit code {child.exitcode}"), state


def _group(child: multiprocessing.process.BaseProcess) -> list[int]:
    """Processes that the command left, its own children or those that no parent has any more: they share its process group."""
    left = []
    for process in psutil.process_iter(["status"]):
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == child.pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                left.append(process.pid)
    return left


def _child(home: Path, boundary: str | None, kind: str, sending: Any) -> None:
    hit = []

    def reached(name: str) -> None:
        if name == boundary and not hit:
            hit.append(name)
            _hurt(kind, home)

    os.setpgid(0, 0)  # what it starts and leaves is known by this group
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    with _home(home):
        try:
            release(home, reached)
            ended = "done" if boundary is None or hit else "not reached"
        except BaseException as error:
            ended = f"{type(error).__name__}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sending.send((ended, _state(home) if ended == "done" and boundary is None else {}))
    sending.close()
    os._exit(0)


def _hurt(kind: str, home: Path) -> None:
    match kind:
        case "raise":
            raise RuntimeError("a fault of the table")
        case "exit":
            os._exit(9)
        case "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        case "writes fail":  # the kernel refuses every further byte, as on a full disk
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        case "store down":
            importlib.import_module("mlflow.store.db.utils").MAX_RETRY_COUNT = 2  # or it waits for minutes
            for path in (home / "mlflow.db", home / "ledger.db"):
                if path.exists():
                    path.rename(path.with_suffix(".away"))
                    path.mkdir()  # nothing can be opened, nor made anew, under its name
        case "slow store":
            _lock_for(home / "mlflow.db")
        case "clock back":
            plain = time.time
            time.time = lambda: plain() - _DAY
        case _:
            raise OSError(errno.EINVAL, f"unknown kind of fault {kind!r}")


def _lock_for(database: Path) -> None:
    """Another writer holds the database for two seconds, from a thread that began before the command goes on."""
    import threading

    held = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(database, timeout=30, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            held.set()
            time.sleep(_SLOW_SECONDS)
            connection.execute("ROLLBACK")

    threading.Thread(target=hold, daemon=True).start()
    held.wait(30)


def _mended(home: Path) -> None:
    """The store is up again."""
    for away in home.glob("*.away"):
        place = away.with_suffix(".db")
        if place.is_dir():
            place.rmdir()
        away.rename(place)


def _apart(function: Callable[[Path], Any], home: Path) -> Any:
    """A function in a process of its own: MLflow keeps a database open for as long as its process lives."""
    with _fork.Pool(1) as pool:
        return pool.apply(function, (home,))


def _make_schema(home: Path) -> None:
    with _home(home):
        MlflowStore.open(settings()).models()


def _state(home: Path) -> dict[str, Any]:
    """What stands in a home, as far as it must not depend on what went wrong on the way."""
    from filelock import FileLock, Timeout

    def free(lock: Path) -> bool:
        try:
            with FileLock(lock, timeout=0):
                return True
        except Timeout:
            return False

    with _home(home):
        store = ArtifactStore(home, SILENT)
        versions = MlflowStore.open(settings()).versions(MODEL)
        with closing(Ledger(settings().ledger)) as ledger:
            transitions, verdicts = ledger.transitions(MODEL), ledger.verdicts(MODEL)
        return {
            "artifacts": sorted(f"{path.parent.name}/{path.name}" for path in store.all()),
            "versions": [(version.number, version.aliases) for version in versions],
            "transitions": [(row.sequence, row.kind, row.version, row.applied) for row in transitions],
            "verdicts": [judged.outcome for judged, _ in verdicts],
            "half-built": sorted(path.name for path in [*home.glob("artifacts/*/.*"), *home.glob("work/.building-*")]),
            "locks are free": all(free(path) for path in [home / "run.lock", *home.glob("work/*.lock")]),
        }


def print_table(cells: list[Cell]) -> None:
    """Boundaries down, kinds across: how the disturbed command ended, and whether the same command made it good."""
    width = max(len(cell.boundary) for cell in cells)
    for cell in cells:
        came = "survived" if not cell.problems else "NOT SURVIVED: " + "; ".join(cell.problems)
        print(f"{cell.boundary:{width}}  {cell.kind:11}  {cell.first:28}  {came}", flush=True)
    survived = sum(not cell.problems for cell in cells)
    print(f"{survived} of {len(cells)} faults survived", file=sys.stderr)
