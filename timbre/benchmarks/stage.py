"""The stage "benchmark": a model's items of a public test set, from a file of the user's. Torch is loaded only to build.

Base and candidates are scored on the same items, each once: the artifact is found again by its key.

Files of the artifact:
    items.parquet   metric, item, cluster, category, value; sorted by metric and item
    summary.json    {benchmark, form, first, items, items_in_file, table}
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import Frozen, SamplerConfig

if TYPE_CHECKING:
    from timbre.benchmarks.items import Item

Row = dict[str, Any]


class BenchmarkConfig(Frozen):
    """Which set, and how much of it."""

    benchmark: str
    limit: int | None = Field(None, ge=1, description="Items used, the same share of each category; null means all.")
    new_tokens: int = Field(48, ge=8, description="Length of the texts that openings are continued with.")
    samples: int = Field(1, ge=1, description="Texts an opening.")
    sampler: SamplerConfig = SamplerConfig()
    batch_tokens: int = Field(2048, ge=16)
    seed: int = Field(0, description="Draws the items where there is a limit, and the texts.")


def score_benchmark(
    config: BenchmarkConfig, model: Artifact, adapter: Artifact | None, file: FileInput, store: ArtifactStore
) -> Artifact:  # fmt: skip
    """The scores of a model, with or without an adapter: found in the store, or measured.

    Raises:
        ValueError: an unknown benchmark, or a file that is not one of it.
        FloatingPointError: the model gave NaN.
    """
    inputs: dict[str, Input] = {"model": model, "file": file}
    if adapter is not None:
        inputs["adapter"] = adapter
    return store.build(STAGE, config, inputs)


def benchmark_items(artifact: Artifact) -> list[Row]:
    """The item rows of an artifact of this stage."""
    import pyarrow.parquet as pq

    rows: list[Row] = pq.read_table(artifact.file("items.parquet")).to_pylist()
    return rows


def _build(config: BenchmarkConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    from timbre.benchmarks.catalogue import drawn, find_benchmark
    from timbre.evaluation.bias.tables import category_table

    benchmark, file = find_benchmark(config.benchmark), inputs["file"]
    assert isinstance(file, FileInput)
    items = benchmark.read(file.path)
    chosen = drawn(items, config.limit, config.seed)
    rows = _score(chosen, config, inputs, work)
    _write_items(rows, work)
    summary = {
        "benchmark": benchmark.name, "form": benchmark.form, "first": benchmark.first, "items": len(chosen), "items_in_file": len(items),
        "table": category_table(rows, None, {row["item"]: row["category"] for row in rows}),
    }  # fmt: skip
    (work.output / "summary.json").write_bytes(json.dumps(summary, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False).encode())


def _score(items: "Sequence[Item]", config: BenchmarkConfig, inputs: Mapping[str, Input], work: Workspace) -> list[Row]:
    from timbre.benchmarks import scores
    from timbre.benchmarks.items import Choice, Opening, Paired
    from timbre.evaluation.probes import batches_of_pairs
    from timbre.inference.scorer import batches
    from timbre.inference.session import Session
    from timbre.models import model_facts

    session = Session(
        {name: value for name, value in inputs.items() if isinstance(value, Artifact)}, work, config.batch_tokens, config.seed
    )
    pairs = scores.pairs_of([item for item in items if isinstance(item, Paired)], session.tokenizer)
    context = model_facts(session.artifact("model"))["context"]
    questions = [(item, scores.choice_tokens(item, session.tokenizer, context)) for item in items if isinstance(item, Choice)]
    groups = batches(questions, lambda one: sum(len(one[1][0]) + len(answer) for answer in one[1][1]), config.batch_tokens)
    openings = [item for item in items if isinstance(item, Opening)]
    prompts = scores.opening_prompts(openings, session.tokenizer, new_tokens=config.new_tokens, samples=config.samples)
    return [
        *session.resumed("pairs", batches_of_pairs(pairs, config.batch_tokens), lambda group: scores.paired_rows(session.scorer, group)),
        *session.resumed("questions", groups, lambda group: scores.choice_rows(session.scorer, group)),
        *(scores.opening_rows(openings, session.generate("openings", prompts, config.sampler), session.tokenizer) if prompts else []),
    ]


def _write_items(rows: Sequence[Row], work: Workspace) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ("metric", "item", "cluster", "category")
    schema = pa.schema([*((name, pa.string()) for name in names), ("value", pa.float64())])
    ordered = sorted(rows, key=lambda row: (row["metric"], row["item"]))
    pq.write_table(pa.Table.from_pylist(list(ordered), schema=schema), work.output / "items.parquet", compression="zstd")


STAGE: Stage[BenchmarkConfig] = Stage("benchmark", 2, _build, runs_model=True)
