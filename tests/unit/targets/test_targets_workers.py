"""Several workers build the target that one builds, byte for byte, and a worker that is lost costs what it held."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_targets import target_config

from timbre.artifacts import Artifact, ArtifactStore
from timbre.progress import SILENT
from timbre.settings import settings
from timbre.targets import assembly, shards, workers
from timbre.targets.jobs import Job
from timbre.targets.stage import build_target


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Settings of this test and of the processes that it starts."""

    def ask(**given: str) -> None:
        for name, value in given.items():
            monkeypatch.setenv(f"TIMBRE_{name}", value)
        settings.cache_clear()

    yield ask
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def one(target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact) -> Artifact:
    """What a single process builds, in shards of eight rows."""
    return build_target(target_config(), target_corpus, target_model, target_store)


@pytest.mark.slow
def test_two_processes_build_the_same_bytes(
    one: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(TARGET_WORKERS="2")
    made_here: list[int] = []
    monkeypatch.setattr(shards, "write_shard", lambda *_: made_here.append(1))
    two = build_target(target_config(), target_corpus, target_model, ArtifactStore(tmp_path / "home", SILENT))
    assert two.digest == one.digest and not made_here, "every shard was a worker's"


def test_what_a_lost_worker_owes_is_made_here(
    one: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool breaks at the first job: the warning says so, and the target is the same."""
    asked(TARGET_WORKERS="2")
    monkeypatch.setattr(workers, "work", os._exit)  # a job is no exit code: what the pool runs in its processes is ours
    monkeypatch.setattr(workers, "ProcessPoolExecutor", _Dying)
    with pytest.warns(UserWarning, match="a worker of the target was lost"):
        two = build_target(target_config(), target_corpus, target_model, ArtifactStore(tmp_path / "home", SILENT))
    assert two.digest == one.digest


class _Dying:
    """A pool whose processes die at once, with the real pool's error."""

    def __init__(self, count: int, mp_context: Any) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(count, mp_context=mp_context)

    def __enter__(self) -> "_Dying":
        return self

    def __exit__(self, *_: Any) -> None:
        self._pool.shutdown()

    def submit(self, _work: Any, _job: Job) -> Any:
        from concurrent.futures.process import BrokenProcessPool

        try:
            return self._pool.submit(os._exit, 9)
        except BrokenProcessPool as error:
            from concurrent.futures import Future

            broken: Future[None] = Future()
            broken.set_exception(error)
            return broken


def test_ray_that_is_asked_for_and_not_there_is_a_sentence(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(RAY_ADDRESS="auto")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    job = Job(target_config().model_dump_json(), Path(), Path(), Path(), (), "shard", 0)
    with pytest.raises(ValueError, match=r"pip install 'timbre\[ray\]'"):
        workers.do_all([job], SILENT, "shards", ExitStack())


@pytest.mark.slow
def test_a_ray_cluster_of_two_workers_builds_the_same_bytes(
    one: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cluster for references and shards; a worker that is killed costs its job alone, which another does."""
    ray: Any = pytest.importorskip("ray", reason="needs pip install -e '.[ray]'")
    begun, made_here, starts = [], [], ray.init
    monkeypatch.setattr(ray, "init", lambda **given: (begun.append(1), starts(**given)))
    monkeypatch.setattr(shards, "write_shard", lambda *_: made_here.append(1))
    monkeypatch.setattr(assembly, "with_reference", _killing_a_worker(assembly.with_reference))
    asked(TARGET_WORKERS="2", RAY_ADDRESS="local", THREADS="1")
    two = build_target(target_config(), target_corpus, target_model, ArtifactStore(tmp_path / "home", SILENT))
    assert two.digest == one.digest and len(begun) == 1 and not made_here
    assert not ray.is_initialized(), "the cluster has ended"


def _killing_a_worker(opened: Any) -> Any:
    """Between references and shards, as when a machine of the cluster loses power."""

    def open_and_kill(*given: Any) -> Any:
        names = ("ray::IDLE", "ray::_work_as")  # the agents of the cluster's node are named so as well, and the node dies with one
        found = [process for process in psutil.Process().children(recursive=True) if " ".join(process.cmdline()).startswith(names)]
        assert found, "no worker of Ray is there to be killed"
        found[0].kill()
        return opened(*given)

    return open_and_kill
