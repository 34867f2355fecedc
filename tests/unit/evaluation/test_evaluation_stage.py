import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import CorpusConfig, EvaluationConfig, ModelConfig, TrainingConfig
from timbre.corpus.documents import Document, write_rows
from timbre.evaluation import suite as suite_module
from timbre.evaluation.stage import STAGE, evaluate
from timbre.evaluation.style import REQUIRED
from timbre.progress import SILENT

SPLITS = ("train", "train", "train", "validation", "test")


@dataclass(frozen=True)
class Materials:
    """Everything an evaluation reads."""

    store: ArtifactStore
    model: Artifact
    corpus: Artifact
    bias: FileInput
    facts: FileInput
    config: EvaluationConfig


@pytest.fixture(scope="module")
def documents(tiny_corpus_texts: list[tuple[str, str]]) -> list[Document]:
    return [
        Document(
            f"doc-{n:02}",
            text,
            author,
            None,
            "made",
            "CC0-1.0",
            "not needed",
            "tiny",
            SPLITS[n // 8],
            n % 2 if n < 24 else -1,
            len(text.split()),
        )
        for n, (author, text) in enumerate(tiny_corpus_texts)
    ]


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, documents: list[Document]) -> Materials:
    from timbre.models import resolve_model

    home = tmp_path_factory.mktemp("evaluation-home")
    store = ArtifactStore(home, SILENT)

    def write(_config: CorpusConfig, _inputs: Mapping[str, Input], work: Workspace) -> None:
        write_rows(documents, Document, work.output / "documents.parquet")

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
    paths = {name: home / f"{name}.jsonl" for name in ("bias", "facts")}
    for name, rows in (("bias", bias), ("facts", facts)):
        paths[name].write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Materials(
        store,
        resolve_model(ModelConfig(name=str(tiny_model_dir)), store),
        store.build(Stage("corpus", 1, write), CorpusConfig(), {}),
        FileInput(paths["bias"]),
        FileInput(paths["facts"]),
        EvaluationConfig(
            likelihood_tokens=512, passage_tokens=64, prompts=4, prompt_tokens=8, new_tokens=40, memorisation_prompts=3,
            bias_items=8, fact_items=None, batch_tokens=256,
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(materials: Materials) -> Artifact:
    return run(materials, materials.store)


def run(materials: Materials, store: ArtifactStore, adapter: Artifact | None = None, **changes: Any) -> Artifact:
    config = materials.config.model_copy(update=changes)
    return evaluate(config, materials.model, materials.corpus, materials.bias, materials.facts, adapter, store)


def rows(artifact: Artifact, metric: str) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for row in pq.read_table(artifact.file("items.parquet")).to_pylist() if row["metric"] == metric]


def test_every_figure_that_the_gates_read_is_there(base: Artifact) -> None:
    summary = base.json("summary.json")
    for name in REQUIRED:
        figure = summary["style"][name]
        assert figure["human_low"] <= figure["human"] <= figure["human_high"]
        assert math.isfinite(figure["value"])
    likelihood = summary["likelihood"]
    assert likelihood["nll"] == pytest.approx(
        sum(r["value"] for r in rows(base, "nll")) / sum(r["value"] for r in rows(base, "nll_tokens"))
    )
    assert likelihood["calibration_gap"] == pytest.approx(likelihood["nll"] - likelihood["entropy"])
    assert likelihood["documents"] == 8
    assert summary["probes"] == {"bias": 8, "facts": 10}
    assert summary["memorisation"]["prompts"] == 3
    assert summary["memorisation"]["tokens"] == 3 * 40
    assert {r["cluster"] for r in rows(base, "bias_signed")} == {"t0", "t1", "t2", "t3"}
    assert {r["value"] for r in rows(base, "fact_correct")} <= {0.0, 1.0}


def test_items_are_sorted_and_each_is_there_once(base: Artifact) -> None:
    import pyarrow.parquet as pq

    names = [(row["metric"], row["item"]) for row in pq.read_table(base.file("items.parquet")).to_pylist()]
    assert names == sorted(set(names))


def test_every_continuation_has_the_asked_length_and_a_human_partner(base: Artifact) -> None:
    lines = [json.loads(line) for line in base.file("generations.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["style"] * 4 + ["memorisation"] * 3
    assert all(line["n_tokens"] == 40 and line["human"] and line["prompt"] for line in lines)
    assert all("<|" not in line["text"] for line in lines)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    materials: Materials, base: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tmp_path, SILENT)
    calls = {"all": 0}
    real = suite_module.write_atomically

    def dies_at_the_sixth(path: Path, data: bytes) -> None:
        calls["all"] += 1
        if calls["all"] == 6:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(suite_module, "write_atomically", dies_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        run(materials, store)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.json")}
    assert len(kept) == 5
    again: list[Path] = []
    monkeypatch.setattr(suite_module, "write_atomically", lambda path, data: (again.append(path), real(path, data))[1])
    resumed = run(materials, store)
    assert not set(again) & set(kept)
    assert resumed.digest == base.digest


def test_nan_from_the_model_is_an_error_and_never_a_number(materials: Materials, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "home", SILENT)
    with pytest.raises(FloatingPointError, match="NaN"):
        run(materials, store, zero_step_adapter(materials, tmp_path, weight=math.nan))
    assert not list((tmp_path / "home" / "artifacts").glob("evaluation/*/manifest.json"))


def test_too_small_a_test_split_is_refused_with_what_to_do(materials: Materials, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="new_tokens"):
        run(materials, ArtifactStore(tmp_path, SILENT), new_tokens=5000)


def test_key_and_cached_artifact_need_no_torch(materials: Materials, base: Artifact) -> None:
    code = (
        "import sys, pathlib\n"
        "from timbre.artifacts import ArtifactStore, FileInput\n"
        "from timbre.config import EvaluationConfig\n"
        "from timbre.evaluation.stage import STAGE, evaluate\n"
        "from timbre.progress import SILENT\n"
        "store = ArtifactStore(pathlib.Path(sys.argv[1]), SILENT)\n"
        "model, corpus = store.open('model', sys.argv[2]), store.open('corpus', sys.argv[3])\n"
        "config = EvaluationConfig.model_validate_json(sys.argv[6])\n"
        "found = evaluate(config, model, corpus, FileInput(pathlib.Path(sys.argv[4])), FileInput(pathlib.Path(sys.argv[5])), None, store)\n"
        "assert found.cached and found.digest == sys.argv[7]\n"
        "assert not {'torch', 'transformers', 'numpy', 'scipy', 'pandas'} & set(sys.modules), sorted(sys.modules)\n"
    )
    arguments = [
        str(materials.store.home), materials.model.digest, materials.corpus.digest, str(materials.bias.path), str(materials.facts.path),
        materials.config.model_dump_json(), base.digest,
    ]  # fmt: skip
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


def test_another_probe_file_is_another_key(materials: Materials, tmp_path: Path) -> None:
    changed = tmp_path / "bias.jsonl"
    changed.write_text(materials.bias.path.read_text() + "\n")
    inputs = {"model": materials.model, "corpus": materials.corpus, "bias_probes": materials.bias, "fact_probes": materials.facts}
    assert STAGE.key(materials.config, inputs) != STAGE.key(materials.config, inputs | {"bias_probes": FileInput(changed)})


def test_an_adapter_is_measured_on_the_same_items(materials: Materials, base: Artifact, tmp_path: Path) -> None:
    candidate = run(materials, materials.store, zero_step_adapter(materials, tmp_path))
    for metric in ("nll", "entropy", "bias_signed", "fact_margin"):
        ours, theirs = rows(candidate, metric), rows(base, metric)
        assert [row["item"] for row in ours] == [row["item"] for row in theirs]
        assert [row["value"] for row in ours] == pytest.approx([row["value"] for row in theirs], abs=1e-4)
    assert candidate.file("generations.jsonl").read_bytes() == base.file("generations.jsonl").read_bytes()


def test_recitation_prompts_come_from_what_the_adapter_was_trained_on(materials: Materials, tmp_path: Path) -> None:
    adapter = zero_step_adapter(materials, tmp_path, {"trained_passages": [["doc-05", 32], ["doc-07", 0]]})
    lines = run(materials, materials.store, adapter).file("generations.jsonl").read_text().splitlines()
    assert {json.loads(line)["prompt_id"] for line in lines if '"memorisation"' in line} == {"doc-05@32", "doc-07@0"}


def zero_step_adapter(materials: Materials, folder: Path, summary: dict[str, Any] | None = None, weight: float = 0.0) -> Artifact:
    """An adapter as training leaves it before its first step: it changes nothing, unless one weight is set to something."""
    from timbre.models import load_model
    from timbre.training.adapters import adapter_parameters, add_adapter, save_adapter

    def build(config: TrainingConfig, _inputs: Mapping[str, Input], work: Workspace) -> None:
        adapter = add_adapter(load_model(materials.model), rank=2, alpha=4, seed=0)
        next(parameter for name, parameter in adapter_parameters(adapter).items() if "lora_B" in name).data[0, 0] = weight
        save_adapter(adapter, work.output)
        (work.output / "summary.json").write_text(json.dumps(summary or {}))

    return ArtifactStore(folder / "adapters", SILENT).build(Stage("adapter", 1, build), TrainingConfig(), {})
