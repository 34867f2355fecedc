"""The evaluation as it is run: likelihood, probes, generation, then everything that is counted from them.

What the model computes is kept batch by batch in the scratch folder, so that a killed run repeats one batch at most; the
model itself is loaded only if some batch is missing.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from timbre.artifacts import Artifact, FileInput, Input, Workspace, canonical_json, write_atomically
from timbre.config import EvaluationConfig
from timbre.corpus.documents import read_documents
from timbre.corpus.passages import select_passages
from timbre.evaluation import generation, probes
from timbre.evaluation.likelihood import likelihood_summary, score_passages
from timbre.evaluation.prompts import Prompt, openings, trained_openings
from timbre.evaluation.report import build_report
from timbre.evaluation.scorer import Scorer, batches

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Item = TypeVar("Item")
Row = dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """One evaluation in progress."""

    config: EvaluationConfig
    inputs: Mapping[str, Input]
    work: Workspace

    @cached_property
    def tokenizer(self) -> "PreTrainedTokenizerBase":
        from timbre.models import load_tokenizer

        return load_tokenizer(self.artifact("model"))

    @cached_property
    def scorer(self) -> Scorer:
        """The model with the adapter, if any, merged into it."""
        import torch

        from timbre.models import load_model
        from timbre.settings import settings

        torch.set_num_threads(settings().threads)
        adapter = self.artifact("adapter") if "adapter" in self.inputs else None
        return Scorer(load_model(self.artifact("model"), adapter=adapter), len(self.tokenizer))

    def artifact(self, name: str) -> Artifact:
        value = self.inputs[name]
        assert isinstance(value, Artifact)
        return value

    def resumed(self, part: str, groups: Sequence[Sequence[Item]], compute: Callable[[Sequence[Item]], list[Any]]) -> list[Any]:
        """The results of every batch in order; those that an earlier, interrupted run has kept are read back."""
        files = [self.work.scratch / part / f"{number:05}.json" for number in range(len(groups))]
        done = sum(file.exists() for file in files)
        missing = [pair for pair in zip(groups, files, strict=True) if not pair[1].exists()]
        for group, file in self.work.progress.track(missing, f"evaluation: {part}", total=len(groups), initial=done):
            write_atomically(file, canonical_json(compute(group)))
        return [row for file in files for row in json.loads(file.read_bytes())]

    def likelihood(self) -> list[Row]:
        config = self.config
        passages = select_passages(
            read_documents(self.artifact("corpus"), "test"), self.tokenizer,
            budget_tokens=config.likelihood_tokens, passage_tokens=config.passage_tokens, seed=config.seed,
        )  # fmt: skip
        scored = [passage for passage in passages if len(passage.token_ids) > 1]
        groups = batches(scored, lambda passage: len(passage.token_ids), self.config.batch_tokens)
        return self.resumed("likelihood", groups, lambda group: score_passages(self.scorer, group, self.tokenizer))

    def probe(self, kind: probes.ProbeKind, name: str, count: int | None) -> list[Row]:
        file = self.inputs[name]
        assert isinstance(file, FileInput)
        chosen = probes.same_share(probes.read_probes(file.path, kind), count, self.config.seed)
        groups = probes.batches_of_pairs(probes.tokenised(chosen, self.tokenizer), self.config.batch_tokens)
        return self.resumed(f"{kind} probes", groups, lambda group: probes.probe_rows(kind, group, probes.score_pairs(self.scorer, group)))

    def prompts(self) -> tuple[list[Prompt], list[Prompt]]:
        """Prompts to continue, and as many further windows of test documents: the other half of the human texts."""
        config, size = (
            self.config,
            {"prompt_tokens": self.config.prompt_tokens, "new_tokens": self.config.new_tokens, "seed": self.config.seed},
        )
        test = openings(read_documents(self.artifact("corpus"), "test"), self.tokenizer, kind="style", count=2 * config.prompts, **size)
        if len(test) < 4:
            raise ValueError(
                f"the test split holds {len(test)} passages of {config.prompt_tokens + config.new_tokens} tokens and 4 are the least: "
                "add documents, or lower evaluation.new_tokens"
            )
        asked = min(config.prompts, len(test) // 2)
        train = read_documents(self.artifact("corpus"), "train")
        trained = self._trained_passages()
        if trained is not None:
            recited = trained_openings(trained, train, self.tokenizer, count=config.memorisation_prompts, **size)
        else:
            recited = openings(train, self.tokenizer, kind="memorisation", count=config.memorisation_prompts, **size)
        return [*test[:asked], *recited], test[asked:]

    def write(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of every prompt's continuation, in the order of `prompts`."""
        config = self.config
        size = max(1, config.batch_tokens // (config.prompt_tokens + config.new_tokens))
        groups = [prompts[start : start + size] for start in range(0, len(prompts), size)]

        def compute(group: Sequence[Prompt]) -> list[Any]:
            forbidden = generation.forbidden_tokens(self.tokenizer, getattr(self.scorer.model, "generation_config", None))
            written = generation.continue_prompts(
                self.scorer, group, new_tokens=config.new_tokens, sampler=config.sampler, forbidden=forbidden, seed=config.seed
            )
            return list(written.tolist())

        return self.resumed("generation", groups, compute)

    def _trained_passages(self) -> list[tuple[str, int]] | None:
        if "adapter" not in self.inputs or "summary.json" not in self.artifact("adapter").manifest.files:
            return None
        passages = self.artifact("adapter").json("summary.json").get("trained_passages")
        return [(str(doc_id), int(start)) for doc_id, start in passages] if passages else None


def run_suite(config: EvaluationConfig, inputs: Mapping[str, Input], work: Workspace) -> None:
    """Measure, and write the files of the artifact."""
    suite = Suite(config, inputs, work)
    prompts, others = suite.prompts()
    likelihood = suite.likelihood()
    bias = suite.probe("bias", "bias_probes", config.bias_items)
    facts = suite.probe("facts", "fact_probes", config.fact_items)
    written = suite.write(prompts)
    train = read_documents(suite.artifact("corpus"), "train")
    report = build_report(config, suite.tokenizer, prompts, others, written, train)
    items = [
        *({"metric": name, "item": row["item"], "cluster": row["cluster"], "value": float(row[source])}
          for row in likelihood for name, source in (("nll", "nll"), ("nll_tokens", "tokens"), ("entropy", "entropy"))),
        *bias, *facts, *report.items,
    ]  # fmt: skip
    summary = report.summary | {
        "likelihood": likelihood_summary(likelihood),
        "probes": {"bias": len(bias) // 2, "facts": len(facts) // 2},
        "sampler": config.sampler.model_dump(mode="json"),
        "sampler_note": "base and candidate are sampled alike",
    }
    write_items(items, work)
    lines = b"".join(canonical_json(row) + b"\n" for row in report.generations)
    (work.output / "generations.jsonl").write_bytes(lines)
    (work.output / "summary.json").write_bytes(json.dumps(summary, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False).encode())


def write_items(items: Sequence[Row], work: Workspace) -> None:
    """items.parquet, sorted by metric and item.

    Raises:
        FloatingPointError: a value is not finite.
    """
    import math

    import pyarrow as pa
    import pyarrow.parquet as pq

    if bad := [row for row in items if not math.isfinite(row["value"])]:
        raise FloatingPointError(f"{bad[0]['metric']} of {bad[0]['item']} is {bad[0]['value']}: nothing is reported")
    schema = pa.schema([("metric", pa.string()), ("item", pa.string()), ("cluster", pa.string()), ("value", pa.float64())])
    rows = sorted(items, key=lambda row: (row["metric"], row["item"]))
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), work.output / "items.parquet", compression="zstd")
