"""A public test set, asked of a registered version and of the base model that it was tuned from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, FileInput
from timbre.config import ModelConfig
from timbre.settings import settings
from timbre.tasks.bundles import artifact_of, find_version
from timbre.tasks.context import latest_transition, open_store, registered_name
from timbre.tasks.environment import prepare


@dataclass(frozen=True)
class Benched:
    """What came out."""

    benchmark: str
    form: str
    first: str
    file: Path
    items: int
    items_in_file: int
    version: int | None
    """None where the base model was asked alone."""
    table: list[dict[str, Any]]
    """See `timbre.evaluation.bias.tables.category_table`."""


@dataclass(frozen=True)
class Request:
    """Which set, how much of it, and of whom."""

    benchmark: str
    path: Path | None
    """None: the file that a package carries."""
    style: str
    model: ModelConfig
    version: int | None = None
    """None: the champion."""
    base_only: bool = False
    limit: int | None = None


def run_benchmark(request: Request) -> Benched:
    """Score base and version on the same items; what was scored before is found again.

    Raises:
        ValueError: an unknown benchmark or version, a file that is not one of it, or evidence that is not on this machine.
        IntegrityError: a package or an artifact is damaged.
    """
    from timbre.benchmarks.catalogue import fetch_items, find_benchmark
    from timbre.benchmarks.stage import BenchmarkConfig, benchmark_items, score_benchmark
    from timbre.evaluation.bias.tables import category_table

    benchmark = find_benchmark(request.benchmark)
    if request.path is not None and request.path.is_dir():
        raise ValueError(f"{request.path} is a folder: name one file of it ({benchmark.file})")
    prepare(settings())
    file = FileInput(request.path.resolve() if request.path is not None else fetch_items(benchmark))
    benchmark.read(file.path)  # what is wrong with a file is said before any model is looked for
    store, config = open_store(), BenchmarkConfig(benchmark=benchmark.name, limit=request.limit)
    if request.base_only:
        from timbre.models import resolve_model

        number, model, adapter = None, resolve_model(request.model, store), None
    else:
        number, model, adapter = _version(request)
    base = score_benchmark(config, model, None, file, store)
    rows = benchmark_items(base)
    moved = benchmark_items(score_benchmark(config, model, adapter, file, store)) if adapter is not None else None
    summary = base.json("summary.json")
    table = category_table(rows, moved, {row["item"]: row["category"] for row in rows})
    return Benched(
        benchmark.name, benchmark.form, benchmark.first, file.path, summary["items"], summary["items_in_file"], number, table
    )  # fmt: skip


def _version(request: Request) -> tuple[int, Artifact, Artifact]:
    """Number, base model and adapter of the version, from the artifacts that its tags name."""
    name, number = registered_name(request.style, request.model), request.version
    if number is None:
        if (champion := latest_transition(name)) is None:
            raise ValueError(f"{name} has no champion yet: `timbre run --style {request.style}` makes one, or ask the base with --base")
        number = champion.version
    version = find_version(name, number)
    return number, artifact_of(version, "model"), artifact_of(version, "adapter")
