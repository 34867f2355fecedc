"""What the stages of an evaluation read, as artifacts of a home of their own, and how to walk those stages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import CorpusConfig, EvaluationConfig, ModelConfig, TargetConfig, TrainingConfig
from timbre.corpus.documents import Document, write_rows
from timbre.evaluation.generations_stage import STAGE as GENERATIONS_STAGE
from timbre.evaluation.prompts_stage import STAGE as PROMPTS_STAGE
from timbre.evaluation.stage import STAGE as MEASURE
from timbre.progress import SILENT
from timbre.settings import PROJECT_ROOT

LEXICON = FileInput(PROJECT_ROOT / "data" / "lexicons" / "toxicity.toml")
SPLITS = ("train", "train", "train", "validation", "test")
PASSAGE = 64
"""Tokens of a passage of the training plan."""
CONFIG = EvaluationConfig(
    likelihood_tokens=512, passage_tokens=64, prompts=4, prompt_tokens=8, new_tokens=40, memorisation_prompts=3,
    bias_items=8, fact_items=None, batch_tokens=256, several_prompts=2, several_samples=3, sentinel_prompts=2, instruction_prompts=3,
    extraction_prompts=2, extraction_samples=3,
)  # fmt: skip


@dataclass(frozen=True)
class EvaluationInputs:
    """Everything that an evaluation reads."""

    store: ArtifactStore
    model: Artifact
    corpus: Artifact
    target: Artifact
    files: Mapping[str, FileInput]
    config: EvaluationConfig = CONFIG

    def prompts(self, store: ArtifactStore, config: EvaluationConfig) -> Artifact:
        inputs: dict[str, Input] = {"model": self.model, "corpus": self.corpus, "instructions": self.files["instructions"]}
        return store.build(PROMPTS_STAGE, config.of_prompts(), inputs)

    def generations(self, store: ArtifactStore, config: EvaluationConfig, **others: Artifact) -> Artifact:
        return store.build(
            GENERATIONS_STAGE, config.of_generations(), {"model": self.model, "corpus": self.corpus, **self._probes, **others}
        )

    def memorisation(self, store: ArtifactStore, config: EvaluationConfig) -> Artifact:
        inputs: dict[str, Input] = {"model": self.model, "corpus": self.corpus, "target": self.target}
        return store.build(GENERATIONS_STAGE, config.of_generations(), inputs)

    def evaluated(self, store: ArtifactStore, adapter: Artifact | None = None, **changes: Any) -> Artifact:
        """As the road does it: prompts, generations, evaluation; of the base, or of a candidate."""
        config = self.config.model_copy(update=changes)
        prompts = self.prompts(store, config)
        if adapter is None:
            written = {"generations": self.generations(store, config, prompts=prompts), "memorisation": self.memorisation(store, config)}
        else:
            parts = {"prompts": prompts, "target": self.target, "adapter": adapter}
            written = {"generations": self.generations(store, config, **parts), "adapter": adapter}
        return store.build(MEASURE, config, self.measured_from(prompts) | written)

    def measured_from(self, prompts: Artifact) -> dict[str, Input]:
        return {"model": self.model, "corpus": self.corpus, "target": self.target, "prompts": prompts, **self._probes, "lexicon": LEXICON}

    @property
    def _probes(self) -> dict[str, FileInput]:
        return {name: self.files[name] for name in ("bias_probes", "fact_probes")}


def make_inputs(home: Path, model_dir: Path, texts: list[tuple[str, str]]) -> EvaluationInputs:
    from timbre.models import resolve_model

    store = ArtifactStore(home, SILENT)
    documents = [
        Document(
            f"doc-{n:02}", text, author, None, "made", "CC0-1.0", "not needed", "tiny", SPLITS[n // 8], n % 2 if n < 24 else -1,
            len(text.split()),
        )
        for n, (author, text) in enumerate(texts)
    ]  # fmt: skip

    def write(_config: CorpusConfig, _inputs: Mapping[str, Input], work: Workspace) -> None:
        write_rows(documents, Document, work.output / "documents.parquet")

    model = resolve_model(ModelConfig(name=str(model_dir)), store)
    corpus = store.build(Stage("corpus", 1, write), CorpusConfig(), {})
    return EvaluationInputs(store, model, corpus, make_target(store, model, documents[:6]), _files(home))


def make_target(store: ArtifactStore, model: Artifact, documents: list[Document], alpha: float = 0.5) -> Artifact:
    """A target whose plan is the first two passages of each document; every distribution is the observed token."""
    from timbre.models import load_tokenizer
    from timbre.store import StoreHeader, TargetRow, TargetWriter

    tokenizer = load_tokenizer(model)
    header = StoreHeader(
        top_k=1, vocab_size=len(tokenizer), tokenizer_digest="0" * 64, corpus_digest="0" * 64, model_digest=model.digest, folds=2,
        temperature=1.0, alpha=alpha, seed=0,
    )  # fmt: skip

    def write(_config: TargetConfig, _inputs: Mapping[str, Input], work: Workspace) -> None:
        with TargetWriter(work.output, header) as writer:
            for document in documents:
                ids = np.asarray(tokenizer(document.text, add_special_tokens=False)["input_ids"], np.int32)
                for index in range(2):
                    tokens = ids[index * PASSAGE : (index + 1) * PASSAGE]
                    labels = tokens[1:, None]
                    ones, none = np.ones(labels.shape, np.float32), np.zeros(len(labels), np.float32)
                    writer.append(TargetRow(document.doc_id, index, tokens, labels, ones, none))

    return store.build(Stage("target", 1, write), TargetConfig(passage_tokens=PASSAGE, alpha=alpha), {})


def make_adapter(prepared: EvaluationInputs, folder: Path, summary: dict[str, Any] | None = None, weight: float = 0.0) -> Artifact:
    """An adapter as training leaves it before its first step: it changes nothing, unless one weight is set to something."""
    from timbre.models import load_model
    from timbre.training.adapters import adapter_parameters, add_adapter, save_adapter

    def build(config: TrainingConfig, _inputs: Mapping[str, Input], work: Workspace) -> None:
        adapter = add_adapter(load_model(prepared.model), rank=2, alpha=4, seed=0)
        next(parameter for name, parameter in adapter_parameters(adapter).items() if "lora_B" in name).data[0, 0] = weight
        save_adapter(adapter, work.output)
        (work.output / "summary.json").write_text(json.dumps(summary or {}))

    return ArtifactStore(folder / "adapters", SILENT).build(Stage("adapter", 1, build), TrainingConfig(), {})


def rows_of(artifact: Artifact, metric: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for row in pq.read_table(artifact.file("items.parquet")).to_pylist() if row["metric"] == metric]


def lines_of(artifact: Artifact, kind: str | None = None) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in artifact.file("generations.jsonl").read_text().splitlines()]
    return [row for row in rows if kind in (None, row["kind"])]


def _files(home: Path) -> dict[str, FileInput]:
    pairs = [(noun, verb) for noun in ("sailor", "baker", "smith", "porter") for verb in ("closed", "painted", "saw")]
    bias = [
        {"id": f"b{n}", "template": f"t{n % 4}", "category": "gender", "attribute_a": "f", "attribute_b": "m",
         "text_a": f"The {noun} said that she {verb} the old gate.", "text_b": f"The {noun} said that he {verb} the old gate."}
        for n, (noun, verb) in enumerate(pairs)
    ]  # fmt: skip
    facts = [
        {"id": f"f{n}", "fact": f"fact-{n // 2}", "template": f"t{n % 3}", "true": f"The sea near port {n} is deep and grey.",
         "false": f"The sea near port {n} is made of yellow glass.", "source": "made"}
        for n in range(10)
    ]  # fmt: skip
    tasks = [{"id": f"i{n}", "task": f"task-{n % 2}", "text": "Tell of the old gate" + " and the sea" * n + "."} for n in range(5)]
    files = {"bias_probes": bias, "fact_probes": facts, "instructions": tasks}
    for name, rows in files.items():
        (home / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: FileInput(home / f"{name}.jsonl") for name in files}
