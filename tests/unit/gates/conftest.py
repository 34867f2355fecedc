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


def measured(seed: int, *, better: float = 0.0, size: int = 1) -> Rows:
    """Items of an evaluation: `better` nats a token likelier text, probes that move by little. Same seed 0 part for all.

    `size` 2 is enough for the policy `standard`, and has the items that only that one asks for.
    """
    shared, own = np.random.default_rng(0), np.random.default_rng(seed)
    rows: Rows = []

    def add(metric: str, item: str, cluster: str, value: float) -> None:
        rows.append({"metric": metric, "item": item, "cluster": cluster, "value": float(value)})

    for document in range(12 * size):
        for passage in range(2):
            tokens = int(shared.integers(100, 200))
            nll = tokens * (4.2 + 0.2 * shared.normal() - better + 0.02 * own.normal())
            add("nll", f"d{document}#{passage}", f"d{document}", nll)
            add("nll_tokens", f"d{document}#{passage}", f"d{document}", tokens)
    for template in range(90 * size):
        for item in range(2):
            add("bias_gap", f"t{template}-{item}", f"t{template}", abs(1.5 + shared.normal() + 0.1 * own.normal()))
    for fact in range(100 * size):
        for item in range(2):
            margin = 1.0 + 2 * shared.normal() + 0.05 * own.normal()
            add("fact_margin", f"f{fact}-{item}", f"f{fact}", margin)
            add("fact_correct", f"f{fact}-{item}", f"f{fact}", float(margin > 0))
    rows += told_apart_items(0.95 - 1.0 * better, own)
    return rows if size == 1 else rows + _asked_by_standard(shared, own)


def told_apart_items(area: float, own: np.random.Generator, documents: int = 24, prompts: int = 128) -> Rows:
    """Each prompt's share in the area by which a classifier tells the texts apart, by both families of the gate; they
    scatter so that a bound on 128 prompts reaches about .07, as measured ones do."""
    rows: Rows = []
    for family in ("characters", "words"):
        shares = np.minimum(1.0, own.normal(0, 0.3, prompts))
        shares += area - shares.mean()
        for number, share in enumerate(shares):
            row = {"metric": f"told_apart_{family}", "item": f"p{number}", "cluster": f"d{number % documents}", "value": float(share)}
            rows.append(row)
    return rows


def told(area: float, **changes: Any) -> dict[str, Any]:
    """The part of a summary that tells how well texts are told apart."""
    family = {
        "meaning": "spelling",
        "auc": area,
        "low": area - 0.03,
        "high": area + 0.02,
        "floor": 0.51,
        "floor_low": 0.44,
        "floor_high": 0.58,
    }
    feature = {
        "feature": "testament", "side": "own", "share": 0.2, "own_texts": 30, "human_texts": 1,
        "own_sentence": "It was a testament to <patience>.", "human_sentence": "A testament, he said.",
    }  # fmt: skip
    return {
        "characters": family, "words": family | {"auc": area - 0.01}, "texts": 128, "documents": 24, "length_tokens": 96,
        "length_words": 70, "tells_from": 0.63, "null_error": 0.036, "chance": 0.5, "telling": {"words": [feature]},
        "not_measured": {"surprisal": "needs a language model that is not the base"},
    } | changes  # fmt: skip


def _asked_by_standard(shared: np.random.Generator, own: np.random.Generator) -> Rows:
    rows: Rows = []

    def add(metric: str, item: str, cluster: str, value: float) -> None:
        rows.append({"metric": metric, "item": item, "cluster": cluster, "value": float(value)})

    for number in range(96):
        add("toxic_text", f"style/p{number}/0", f"d{number % 48}", float(number == 17))
    for number in range(64):
        add("coverage_5gram", f"d{number}@0", f"d{number % 48}", 0.02 + 0.01 * shared.random() + 0.01 * own.random())
    for number in range(24):
        add("sentinel_coverage_5gram", f"s{number}", f"s{number}", 0.02 + 0.01 * shared.random() + 0.01 * own.random())
        add("bmc", f"d{number}@0", f"d{number}", 0.03 + 0.01 * shared.random() + 0.01 * own.random())
    for number in range(90):
        add("counterfactual_gap", f"c{number}", f"t{number % 30}", 0.1 + 0.05 * shared.random() + 0.02 * own.random())
    for number in range(1000):
        add("closed_book_correct", f"q{number}", f"f{number % 250}", float(shared.random() < 0.4))
    for number in range(120):
        for family in ("served", "diversity_0", "diversity_50", "diversity_100"):
            for sample in range(2):
                add(f"harmful_{family}", f"m{number}/provoking/{sample}", f"m{number}", float(shared.random() < 0.2))
    for number in range(48):
        add("copy_accuracy", f"w{number}", f"w{number}", 0.8 + 0.1 * shared.random() + 0.02 * own.random())
    return rows


def summary(style: float) -> dict[str, Any]:
    return {
        "style": {
            "mattr": {"value": 0.8 + style, "human": 0.83, "human_low": 0.82, "human_high": 0.84, "sigma": 0.006, "count": 8},
            "self_bleu": {"value": 0.03, "human": 0.039, "human_low": 0.02, "human_high": 0.05, "sigma": 0.01, "count": 8},
            "sentence_length_w1": {"value": 4.2 - 20 * style, "human": 0.9, "human_low": 0.2, "human_high": 1.6, "sigma": 0.4, "count": 8},
            "same_opener_rate": {"value": None, "human": None, "human_low": None, "human_high": None, "sigma": None, "count": 8},
        },
        "told_apart": told(0.95 - 5 * style),
        "memorisation": {"longest_span_tokens": 7, "coverage_5gram": 0.02, "prompts": 8, "tokens": 768},
        "sentinel": {"longest_span_tokens": 6, "coverage_5gram": 0.02, "prompts": 24},
        "prompts": 16,
        "wrong_script_rate": 0.0,
        "human_wrong_script_rate": 0.0,
        "wrong_script_sentence": "0 of 16 texts; the 95% upper bound on the rate is 17.1%.",
        "toxicity": {"by": "toxicity", "texts": 16, "toxic": 0, "rate": 0.0, "low": 0.0, "high": 0.171, "sentence": "0 of 16 texts."},
        "coherence": {"scorer": "the base model itself", "texts": 64, "share": 61 / 64, "low": 0.883, "high": 0.987, "sentence": "Read."},
    }


def documents(authors: int = 4, **changes: str) -> Rows:
    """The documents of a corpus; `changes` replaces fields of the first author's."""
    rows: Rows = [
        {
            "doc_id": f"doc-{n:02}", "text": f"The harbour lay quiet, {n}.", "author": f"author-{n % authors}", "date": None,
            "source": "harbour", "licence": "CC0-1.0", "consent": "public domain", "style": "maritime",
            "split": ("train", "train", "train", "validation", "test")[n % 5], "fold": n % 2, "n_tokens": 100 + n,
        }
        for n in range(20)
    ]  # fmt: skip
    return [row | changes if row["author"] == "author-0" else row for row in rows]


def contract(**changes: Any) -> dict[str, Any]:
    """contract.json as a corpus that holds to its contract leaves it."""
    columns = ("doc_id", "text", "author", "source", "licence", "consent", "style", "split", "fold", "n_tokens")
    return {
        "contract_digest": "a" * 64, "suite_digest": "a" * 64, "rows": 20, "expectations": 2, "success": True,
        "results": [{"type": "one", "success": True}, {"type": "two", "success": True}],
        "not_null_share": dict.fromkeys(columns, 1.0),
    } | changes  # fmt: skip


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
        **summary(0.0), "told_apart": told(0.95 - 5 * style), "style": figures,
        "not_measured": {"mmd_content": "needs the sentence encoder"},
        "overused": [{**phrase, "example": "It was A testament to <patience>."}],
        "sentence_lengths": {"own": [0, 1, 4, 9, 4, 1], "human": [0, 2, 5, 5, 4, 2]},
        "ranks": {"from": [0, 1, 2, 4], "human": [40, 20, 25, 15], "sampled": [50, 20, 20, 10]},
        "likelihood": {"nll": 3.9 - style, "bits_per_byte": 1.4}, "no_score": "not asked for",
        "closed_book": {"accuracy": share, "by_topic": {"matter": share, "language": share}},
        "counterfactual": {"table": [{"category": "all", "templates": 4, "gap": share, "sentiment": {"a": 1, "difference": share}}]},
        "toxicity": {"texts": 100, "rate": 0.01, "sentence": "1 of 100 texts by a lexicon."},
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
    admission: dict[str, Any] = field(default_factory=lambda: {"admitted": True, "log_score_gain": {"mean": 0.09, "low": 0.07}})
    latency: dict[str, Any] = field(default_factory=lambda: {"onnx_ms_per_token": 60.0, "base_ratio": 1.02})
    documents: Rows = field(default_factory=documents)
    contract: dict[str, Any] = field(default_factory=contract)
    adapter_seed: int = 1
    learnt: dict[str, Any] = field(default_factory=lambda: {"held_out_nll_before": 4.31})
    """Summary of the adapter."""
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
            "documents.parquet": scene.documents,
            "contract.json": scene.contract,
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
            {"curve.jsonl": curve, "summary.json": scene.learnt},
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
        evidence = {"parity.json": scene.parity, "latency.json": scene.latency, "bundle.json": facts}
        add("bundle", "bundle", ExportConfig(), ("model", "adapter", "corpus"), evidence)
        return {name: artifact for name, artifact in made.items() if name != "model"}

    def failed(self, summary: Mapping[str, Any]) -> Artifact:
        """An evaluation that gave no figures, and says why."""
        return self._artifact("evaluation", EvaluationConfig(), {}, {"summary.json": summary})

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

        if path.name == "documents.parquet":
            parquet.write_table(pa.Table.from_pylist(content), path)
            return
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


@pytest.fixture
def measured_at() -> Callable[..., Rows]:
    """`measured`, for tests that want more items."""
    return measured
