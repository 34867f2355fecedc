"""The measuring itself: from what a model wrote and scored to items and summary.

A room of its own measures each thing, `measure(rows) -> (items, summary)`, pure and without a model; here they are called
and their answers joined.
"""

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from timbre.artifacts import CRASHED, Artifact, FileInput, Input, Workspace, canonical_json, json_lines
from timbre.config import EvaluationConfig
from timbre.corpus.documents import read_documents
from timbre.evaluation import memorisation, probes, reading
from timbre.evaluation.apart import measure_told_apart
from timbre.evaluation.bias.measuring import measure_bias
from timbre.evaluation.calibrated import read_calibrated
from timbre.evaluation.factuality import closed_book, copying, topics, unknown
from timbre.evaluation.generations import FAILURE
from timbre.evaluation.likelihood import likelihood_items, likelihood_summary
from timbre.evaluation.ranks import rank_summary
from timbre.evaluation.style import HumanSide, measure_several, measure_style, measure_voice, style_score
from timbre.inference.embeddings import packaged_encoder
from timbre.metrics.encoder import Encoder
from timbre.models import load_tokenizer
from timbre.precision import precision

Row = dict[str, Any]
_UNPUBLISHED = ("token_ids", "ranks")
"""What measuring needs of a generation and nobody else."""
_CRASHES = (ArithmeticError, LookupError, TypeError, AttributeError, AssertionError, RuntimeError, np.linalg.LinAlgError)
"""A room that breaks on what a model wrote leaves evidence that says so, on which no gate passes, and which no later run finds:
that measures again. A ValueError is about the settings or the input, and is the user's to mend."""


def run_suite(config: EvaluationConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    """Measure, and write the files of the artifact.

    Raises:
        ValueError: the generations are not those of this model, adapter, corpus, prompts and settings, or there is too little text.
    """
    artifacts = {name: value for name, value in inputs.items() if isinstance(value, Artifact)}
    written = [artifacts[name] for name in ("generations", "memorisation") if name in artifacts]
    for generations in written:
        _check(config, inputs, generations)
    try:
        _refuse_failed(written)
    except FloatingPointError as error:  # the model's own, and kept with what it wrote
        _write_summary({"failed": str(error)}, work)
        return
    try:
        items, summary, rows = _measured(config, inputs, artifacts, written, work)
        scores = artifacts["generations"].json("scores.json")
        of_readers = _read(config, inputs, rows, work)
        toxic = reading.detector(config, inputs)
        of_bias = measure_bias(config, inputs, rows, scores["bias"], toxic.hits if toxic is not None else None)
        of_facts = _factuality(config, inputs, rows, scores)
        for found, about in (of_readers, of_bias, of_facts):
            items, summary = [*items, *found], summary | about
        _check_finite(items, summary)
    except FloatingPointError as error:
        _write_crash(str(error), work)
        return
    except _CRASHES as error:
        traceback.print_exception(error)
        place = traceback.extract_tb(error.__traceback__)[-1]
        _write_crash(f"the measuring crashed in {place.name}: {type(error).__name__}: {error}", work)
        return
    write_items(items, work)
    shown = ({name: value for name, value in row.items() if name not in _UNPUBLISHED} for row in rows)
    (work.output / "generations.jsonl").write_bytes(json_lines(shown))
    _write_summary(summary, work)


def _measured(
    config: EvaluationConfig, inputs: Mapping[str, Input], artifacts: Mapping[str, Artifact], written: Sequence[Artifact], work: Workspace
) -> tuple[list[Row], dict[str, Any], list[Row]]:
    """Items, summary, and the lines of generations.jsonl."""
    rows = [row for artifact in written for row in artifact.json_lines("generations.jsonl")]
    scores = artifacts["generations"].json("scores.json")
    encoder = _encoder(config)
    others = artifacts["prompts"].json_lines("human.jsonl")
    human = HumanSide(rows, others, seed=config.seed, encoder=encoder)
    train = memorisation.TrainingText(read_documents(artifacts["corpus"], "train"), load_tokenizer(artifacts["model"]))
    style_items, style_summary = measure_style(rows, human)
    surprisals = reading.measure_surprisal(config, inputs, rows, others, work)
    apart_items, apart = measure_told_apart(rows, others, encoder, surprisals, tokens=config.new_tokens, seed=config.seed)
    several_items, several = measure_several(rows, encoder)
    memorisation_items, memorised = memorisation.measure(rows, train)
    sentinel_items, sentinel = memorisation.measure_sentinels(rows, train)
    extracted_items, extraction = memorisation.measure_extraction(rows)
    voices = artifacts["prompts"].json_lines("voices.jsonl") if "voices.jsonl" in artifacts["prompts"].manifest.files else []
    style = str(artifacts["corpus"].manifest.config.get("style", ""))
    voice, no_voice = measure_voice(rows, human, style, voices)
    calibrated = read_calibrated(artifacts["calibration"], style, length=1.0) if "calibration" in artifacts else None
    items = [
        *likelihood_items(scores["likelihood"]), *scores["bias"], *scores["facts"],
        *style_items, *apart_items, *several_items, *memorisation_items, *sentinel_items, *extracted_items,
    ]  # fmt: skip
    summary = style_summary | style_score(rows, human, calibrated) | {
        "memorisation": memorised, "sentinel": sentinel, "extraction": extraction, "several": several, "voice": voice, "no_voice": no_voice,
        "likelihood": likelihood_summary(scores["likelihood"]), "told_apart": apart,
        "ranks": rank_summary([row["ranks"] for row in scores["likelihood"]], [row["ranks"] for row in rows if row["kind"] == "style"]),
        "probes": {"bias": len(scores["bias"]) // 2, "facts": len(scores["facts"]) // 2},
        "prompt_tokens": config.prompt_tokens, "new_tokens": config.new_tokens,
        "sampler": config.sampler.model_dump(mode="json"),
        "sampler_note": "base and candidate are sampled alike",
    }  # fmt: skip
    return items, {name: value for name, value in summary.items() if value is not None}, rows


def _encoder(config: EvaluationConfig) -> Encoder | None:
    encoder = packaged_encoder() if config.encoder else None
    if config.encoder and encoder is None:
        raise ValueError("evaluation.encoder asks for the sentence encoder, which is not here: run `timbre setup`, or set it to false")
    return encoder


def _read(config: EvaluationConfig, inputs: Mapping[str, Input], rows: Sequence[Row], work: Workspace) -> tuple[list[Row], dict[str, Any]]:
    """What readers say of the texts: toxic or not, and whether another model finds them as likely as human ones."""
    items: list[Row] = []
    summary: dict[str, Any] = {}
    for name, (found, figures) in {
        "toxicity": reading.measure_toxicity(config, inputs, rows),
        "coherence": reading.measure_coherence(config, inputs, rows, work),
    }.items():
        items += found
        if figures is not None:
            summary[name] = figures
    return items, summary


def _factuality(
    config: EvaluationConfig, inputs: Mapping[str, Input], rows: Sequence[Row], scores: Mapping[str, Any]
) -> tuple[list[Row], dict[str, Any]]:  # fmt: skip
    """The true/false pairs by topic, and of closed-book answers, copying and unknown facts what was asked for."""
    file = inputs["fact_probes"]
    assert isinstance(file, FileInput)
    items: list[Row] = []
    summary: dict[str, Any] = {"facts": topics.facts_by_topic(scores["facts"], probes.read_probes(file.path, "facts"), config.seed)}
    for room in (closed_book, copying):
        if own := [row for row in rows if row["kind"] == room.KIND]:
            measured, summary[room.KIND] = room.measure(own, config.seed)
            items += measured
    if "unknown" in scores:
        summary["unknown_facts"] = unknown.summarise(scores["unknown"]["rows"], scores["unknown"]["counts"], config.seed)
    return items, summary


def write_items(items: Sequence[Row], work: Workspace) -> None:
    """items.parquet, sorted by metric and item."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("metric", pa.string()), ("item", pa.string()), ("cluster", pa.string()), ("value", pa.float64())])
    rows = sorted(items, key=lambda row: (row["metric"], row["item"]))
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), work.output / "items.parquet", compression="zstd")


def _write_summary(summary: Mapping[str, Any], work: Workspace) -> None:
    text = json.dumps(summary, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    (work.output / "summary.json").write_bytes(text.encode())


def _write_crash(why: str, work: Workspace) -> None:
    """Evidence for the verdict of this run only."""
    _write_summary({"failed": why}, work)
    (work.output / CRASHED).write_bytes(canonical_json({"failed": why}))


def _check(config: EvaluationConfig, inputs: Mapping[str, Input], generations: Artifact) -> None:
    """What was written must be about what is measured: the gates know only this stage's inputs."""
    named = generations.manifest.inputs
    wrong = sorted(name for name in named.keys() & inputs.keys() if named[name] != inputs[name].digest)
    if ("adapter" in named) != ("adapter" in inputs):
        wrong.append("adapter")
    if wrong or named.keys() - inputs.keys():
        raise ValueError(f"the generations are of another {' and '.join(wrong or sorted(named.keys() - inputs.keys()))}: write them again")
    if generations.manifest.precision != precision():
        raise ValueError(
            "the generations were written in another precision than this machine reads in: write them again, or set TIMBRE_DTYPE"
        )
    if generations.manifest.config != config.of_generations().model_dump(mode="json"):
        raise ValueError("the generations were written with other settings than these: write them again")


def _refuse_failed(written: Sequence[Artifact]) -> None:
    for generations in written:
        if FAILURE in generations.manifest.files:
            raise FloatingPointError(generations.json(FAILURE)["failed"])


def _check_finite(items: Sequence[Row], summary: Mapping[str, Any]) -> None:
    if bad := [row for row in items if not math.isfinite(row["value"])]:
        raise FloatingPointError(f"{bad[0]['metric']} of {bad[0]['item']} is {bad[0]['value']}: nothing is reported")
    if path := _not_finite(summary, ""):
        raise FloatingPointError(f"{path} is not finite: nothing is reported")


def _not_finite(value: Any, path: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else path
    parts = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    return next((found for name, part in parts if (found := _not_finite(part, f"{path}.{name}".lstrip(".")))), None)
