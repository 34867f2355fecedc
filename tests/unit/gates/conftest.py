"""The artifacts of one release, written in the form of their stages, with figures that each test doctors."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import CorpusConfig, EvaluationConfig, ExportConfig, Frozen, ModelConfig, TargetConfig, TrainingConfig
from timbre.progress import SILENT

Rows = list[dict[str, Any]]
POLICIES = Path(__file__).resolve().parents[3] / "mlflow" / "policies"
METRICS = ("nll", "nll_tokens", "bias_gap", "fact_correct", "fact_margin")


def measured(seed: int, *, better: float = 0.0) -> Rows:
    """Items of an evaluation: `better` nats a token likelier text, probes that move by little. Same seed 0 part for all."""
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    rows: Rows = []

    def add(metric: str, item: str, cluster: str, value: float) -> None:
        rows.append({"metric": metric, "item": item, "cluster": cluster, "value": float(value)})

    for document in range(12):
        for passage in range(2):
            tokens = int(shared.integers(100, 200))
            nll = tokens * (4.2 + 0.2 * shared.normal() - better + 0.02 * own.normal())
            add("nll", f"d{document}#{passage}", f"d{document}", nll)
            add("nll_tokens", f"d{document}#{passage}", f"d{document}", tokens)
    for template in range(90):
        for item in range(2):
            add("bias_gap", f"t{template}-{item}", f"t{template}", abs(1.5 + shared.normal() + 0.1 * own.normal()))
    for fact in range(100):
        for item in range(2):
            margin = 1.0 + 2 * shared.normal() + 0.05 * own.normal()
            add("fact_margin", f"f{fact}-{item}", f"f{fact}", margin)
            add("fact_correct", f"f{fact}-{item}", f"f{fact}", float(margin > 0))
    return rows


def summary(style: float) -> dict[str, Any]:
    return {
        "style": {
            "mattr": {"value": 0.8 + style, "human": 0.83, "human_low": 0.82, "human_high": 0.84, "sigma": 0.006, "count": 8},
            "self_bleu": {"value": 0.03, "human": 0.039, "human_low": 0.02, "human_high": 0.05, "sigma": 0.01, "count": 8},
            "sentence_length_w1": {"value": 4.2 - 20 * style, "human": 0.9, "human_low": 0.2, "human_high": 1.6, "sigma": 0.4, "count": 8},
            "same_opener_rate": {"value": None, "human": None, "human_low": None, "human_high": None, "sigma": None, "count": 8},
        },
        "memorisation": {"longest_span_tokens": 7, "coverage_5gram": 0.02, "prompts": 8, "tokens": 768},
        "wrong_script_rate": 0.0,
    }


def rich(style: float) -> dict[str, Any]:
    """A summary with everything that the evaluation's rooms may leave."""
    names = ("mattr", "distinct_2", "self_bleu", "gzip_ratio", "unigram_jsd", "sentence_length_w1")
    figures = {
        name: {
            "group": "lexical", "value": 0.8 + 0.01 * place + style, "low": 0.7, "high": 0.9, "human": 0.8, "sigma": 0.01,
            "human_low": 0.7836, "human_high": 0.8164, "sigmas": place + 100 * style, "place": "inside",
        }
        for place, name in enumerate(names)
    }  # fmt: skip
    figures["reading_level"] = {**figures["mattr"], "group": "beside", "value": 40.0}
    share = {"value": 0.6 + style, "low": 0.4, "high": 0.8, "items": 12, "clusters": 6}
    phrase = {"phrase": "a testament to", "rate": 2.1, "human_rate": 0.1, "ratio": 21.0, "limit": 3.0, "texts": 5}
    return {
        **summary(0.0), "style": figures, "not_measured": {"mmd_content": "needs the sentence encoder"},
        "overused": [{**phrase, "example": "It was A testament to <patience>."}],
        "sentence_lengths": {"own": [0, 1, 4, 9, 4, 1], "human": [0, 2, 5, 5, 4, 2]},
        "ranks": {"from": [0, 1, 2, 4], "human": [40, 20, 25, 15], "sampled": [50, 20, 20, 10]},
        "likelihood": {"nll": 3.9 - style, "bits_per_byte": 1.4}, "no_score": "not asked for",
        "closed_book": {"accuracy": share, "by_topic": {"matter": share, "language": share}},
        "counterfactual": {"table": [{"category": "all", "templates": 4, "gap": share, "sentiment": {"a": 1, "difference": share}}]},
        "toxicity": {"rate": 0.01, "sentence": "1 of 100 texts by a lexicon."},
    }  # fmt: skip


def written(text: str) -> Rows:
    human = "and nobody spoke of it again, for the light was going and the boats were in."
    return [
        {
            "prompt_id": f"p{number}", "doc_id": f"d{number}", "kind": "style", "n_tokens": 20,
            "prompt": f"The harbour lay <still> {number}", "human": human, "text": f"{text} {number}.",
        }
        for number in range(7)
    ]  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """What a release's artifacts say. Tests replace parts of it."""

    candidate: Rows = field(default_factory=lambda: measured(2, better=0.15))
    base: Rows = field(default_factory=lambda: measured(1))
    candidate_summary: dict[str, Any] = field(default_factory=lambda: summary(0.02))
    base_summary: dict[str, Any] = field(default_factory=lambda: summary(0.0))
    parity: dict[str, Any] = field(default_factory=lambda: {"max_abs_logit_difference": 2e-5, "greedy_agreed": 20, "greedy_total": 20})
    admission: dict[str, Any] = field(default_factory=lambda: {"admitted": True})
    adapter_seed: int = 1
    lineage: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """artifact -> input -> another stage's artifact to name instead, for stale evidence."""
    base_config: EvaluationConfig = field(default_factory=EvaluationConfig)
    baseline_summary: dict[str, Any] | None = None
    """With one, a baseline stands beside the candidate."""


class Studio:
    """Builds the artifacts of a scene."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.other = self._artifact("other", ModelConfig(name="other"), {}, {"x.json": {}})

    def artifacts(self, scene: Scene) -> dict[str, Artifact]:
        made: dict[str, Artifact] = {"model": self._artifact("model", ModelConfig(), {}, {"model.json": {}})}
        corpus_files = {
            "counts.json": {"read": 20, "kept": 17, "rejected": {"too_short": 2, "near_duplicate": 1, "binary": 0}},
            "datasheet.json": {
                "documents": 17, "tokens": 9000, "licences": ["CC0-1.0"], "research_only": False,
                "sources": {"harbour": {"licence": "CC0-1.0", "consent": "public domain"}},
            },
        }  # fmt: skip

        def add(name: str, stage: str, config: Frozen, needs: tuple[str, ...], files: Mapping[str, Any]) -> None:
            swapped = scene.lineage.get(name, {})
            inputs: dict[str, Input] = {need: self.other if need in swapped else made[need] for need in needs}
            made[name] = self._artifact(stage, config, inputs, files)

        add("corpus", "corpus", CorpusConfig(style="maritime"), (), corpus_files)
        add("target", "target", TargetConfig(), ("corpus", "model"), {"admission.json": scene.admission, "summary.json": {}})
        curve: Rows = [{"step": step, "steps": 9, "loss": 1.2 - 0.05 * step, "replay_loss": 2.0 - 0.02 * step} for step in range(1, 10)]
        for row in curve[::3]:
            row["held_out_nll"] = 4.2 - 0.02 * row["step"]
        add(
            "adapter",
            "adapter",
            TrainingConfig(seed=scene.adapter_seed),
            ("target", "corpus", "model"),
            {"curve.jsonl": curve, "summary.json": {"held_out_nll_before": 4.31}},
        )
        candidate = {
            "items.parquet": scene.candidate,
            "summary.json": scene.candidate_summary,
            "generations.jsonl": written("The tide drew out"),
        }
        base = {"items.parquet": scene.base, "summary.json": scene.base_summary, "generations.jsonl": written("The harbour is a place")}
        add("candidate", "evaluation", EvaluationConfig(), ("model", "corpus", "adapter"), candidate)
        add("base", "evaluation", scene.base_config, ("model", "corpus"), base)
        if scene.baseline_summary is not None:
            add("baseline_adapter", "adapter", TrainingConfig(objective="sft"), ("target", "corpus", "model"), {"summary.json": {}})
            baseline = {"summary.json": scene.baseline_summary, "generations.jsonl": written("The sea, the sea")}
            add("baseline", "evaluation", EvaluationConfig(), ("model", "corpus", "baseline_adapter"), baseline)
        facts = {"base_model": "tiny", "architecture": "LlamaForCausalLM", "licence": "Apache-2.0"}
        add("bundle", "bundle", ExportConfig(), ("model", "adapter", "corpus"), {"parity.json": scene.parity, "bundle.json": facts})
        return {name: artifact for name, artifact in made.items() if name != "model"}

    def _artifact(self, stage: str, config: Frozen, inputs: Mapping[str, Input], files: Mapping[str, Any]) -> Artifact:
        def build(_: Frozen, __: Mapping[str, Input], workspace: Workspace) -> None:
            for name, content in files.items():
                write(workspace.output / name, content)

        # A key says nothing about the figures that a test doctors, so each set of files has a home of its own.
        home = self._home / sha256(repr(sorted(files.items())).encode()).hexdigest()[:12]
        return ArtifactStore(home, SILENT).build(Stage(stage, 1, build), config, inputs)


def write(path: Path, content: Any) -> None:
    if path.suffix == ".parquet":
        import pyarrow as pa
        from pyarrow import parquet

        schema = pa.schema([("metric", pa.string()), ("item", pa.string()), ("cluster", pa.string()), ("value", pa.float64())])
        parquet.write_table(pa.Table.from_pylist(content, schema=schema), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
    else:
        path.write_text(json.dumps(content))


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


@pytest.fixture
def quick() -> FileInput:
    return FileInput(POLICIES / "quick.toml")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def doctor() -> Callable[..., Rows]:
    """A copy of rows with the values of one metric changed by a function of (position, value); None drops the row."""

    def change(rows: Rows, metric: str, to: Callable[[int, float], float | None]) -> Rows:
        kept, position = [], 0
        for row in rows:
            if row["metric"] == metric:
                value = to(position, row["value"])
                position += 1
                if value is not None:
                    kept.append({**row, "value": value})
            else:
                kept.append(row)
        return kept

    return change
