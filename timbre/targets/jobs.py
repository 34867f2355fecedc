"""A job, one piece of a target that any process can do: the reference of one fold, or one shard."""

import tempfile
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Literal

from timbre.artifacts import Artifact, Workspace
from timbre.config import TargetConfig
from timbre.progress import SILENT
from timbre.store import TargetWriter
from timbre.store.format import shard_path
from timbre.targets.preparation import Build, Parts, prepared, read_mixture, trained_adapters, with_reference
from timbre.targets.shards import ROWS_PER_SHARD, part_of, shard_plan, write_shard


@dataclass(frozen=True)
class Job:
    """One piece of a target; small, since what it reads lies on disk."""

    config: str
    """The target's configuration as JSON."""
    corpus: Path
    model: Path
    scratch: Path
    files: tuple[tuple[str, Path], ...]
    """Files of the principles."""
    kind: Literal["reference", "shard"]
    number: int
    """Of the fold, or of the shard."""
    style: str = ""

    def settings(self) -> TargetConfig:
        """The configuration that it carries."""
        return TargetConfig.model_validate_json(self.config)


def work(job: Job) -> None:
    """Do one job, in whatever process: train the reference of a fold, or make a shard.

    Raises:
        RuntimeError: a shard is asked for before the target was admitted.
    """
    config = job.settings()
    parts, _, workspace = _opened(job.config, job.corpus, job.model, job.scratch, job.files)
    if job.kind == "reference":
        trained_adapters(config, parts, workspace, (job.style, job.number))
        return
    build = _built(job.config, job.corpus, job.model, job.scratch, job.files)
    mixture = read_mixture(workspace.scratch / "mixture.json", config)
    first, fold, places = next(islice(shard_plan(build), job.number, None))
    part = part_of(build, mixture, job.number, (first, fold, places))
    with tempfile.TemporaryDirectory(dir=workspace.scratch, prefix=".shard-") as folder:
        header = build.header.model_copy(update={"temperature": mixture.temperature})
        with TargetWriter(Path(folder), header, ROWS_PER_SHARD) as writer:
            write_shard(build, mixture, fold, places, writer)
        part.parent.mkdir(exist_ok=True)
        shard_path(Path(folder), 0).replace(part)


@lru_cache(maxsize=1)
def _opened(
    config: str, corpus: Path, model: Path, scratch: Path, files: tuple[tuple[str, Path], ...]
) -> tuple[Parts, Artifact, Workspace]:  # fmt: skip
    """The inputs of a job, opened once a process."""
    workspace, opened = Workspace(scratch / "nothing", scratch, SILENT), Artifact.open(corpus)
    parts = prepared(TargetConfig.model_validate_json(config), opened, Artifact.open(model), workspace, dict(files))
    return parts, opened, workspace


@lru_cache(maxsize=1)
def _built(config: str, corpus: Path, model: Path, scratch: Path, files: tuple[tuple[str, Path], ...]) -> Build:
    parts, opened, workspace = _opened(config, corpus, model, scratch, files)
    settled = TargetConfig.model_validate_json(config)
    return with_reference(settled, opened, parts, trained_adapters(settled, parts, workspace), workspace)
