"""Several workers build the target that one builds, byte for byte, and a worker that is lost costs what it held."""

import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from tiny_targets import target_config

from timbre.artifacts import Artifact, ArtifactStore
from timbre.progress import SILENT
from timbre.settings import settings
from timbre.targets import assembly, jobs, shards, workers
from timbre.targets.jobs import Job, work
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


def test_what_workers_owe_that_die_one_after_the_other_is_made_here(
    one: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process dies at once: after some tries the warning says so, and the target is the same."""
    asked(TARGET_WORKERS="2")
    monkeypatch.setattr(workers, "ProcessPoolExecutor", _Dying)
    with pytest.warns(UserWarning, match="a worker of the target was lost; what it owed is made here, with all that is left"):
        two = build_target(target_config(), target_corpus, target_model, ArtifactStore(tmp_path / "home", SILENT))
    assert two.digest == one.digest


class _Dying(ProcessPoolExecutor):
    """A pool whose process dies at once, with the real pool's error."""

    def submit(self, *_: Any) -> Any:  # type: ignore[override]
        return super().submit(os._exit, 9)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_of_a_shard_costs_that_shard(
    one: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(TARGET_WORKERS="2")
    begun, made_here = tmp_path / "begun", []
    begun.mkdir()
    monkeypatch.setenv("TESTS_BEGUN", str(begun))
    monkeypatch.setattr(shards, "write_shard", lambda *_: made_here.append(1))
    monkeypatch.setattr(workers, "work", _noted_and_once_killed)
    with pytest.warns(UserWarning, match="a worker of the target was lost; what it owed is made by another") as told:
        two = build_target(target_config(), target_corpus, target_model, ArtifactStore(tmp_path / "home", SILENT))
    assert two.digest == one.digest and not made_here and len([one for one in told if "was lost" in str(one.message)]) == 1
    names = sorted(path.name.partition(" ")[0] for path in begun.iterdir())
    assert len(names) > 4 and [name for name in names if names.count(name) > 1] == ["shard-1"] * 2, "every other shard was made once"


def _noted_and_once_killed(job: Job) -> None:
    """A job; the first try at the second shard is killed when its rows are written and its file is not in place."""
    begun = Path(os.environ["TESTS_BEGUN"])
    first = not list(begun.glob("shard-1 *"))
    (begun / f"{job.kind}-{job.number}{job.style} {uuid.uuid4().hex}").touch()
    if (job.kind, job.number) == ("shard", 1) and first:
        plain = jobs.write_shard

        def killed(*given: Any) -> None:
            plain(*given)
            os.kill(os.getpid(), signal.SIGKILL)

        jobs.write_shard = killed
    work(job)


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
