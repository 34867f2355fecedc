"""What an evaluation says about bias, from the prompts to items and summary."""

import json
from pathlib import Path

import pytest
from evaluation_inputs import EvaluationInputs, make_adapter, rows_of

from timbre.artifacts import ArtifactStore, FileInput
from timbre.config import release_config
from timbre.evaluation.bias.tables import category_table
from timbre.evaluation.prompts_stage import STAGE as PROMPTS_STAGE
from timbre.evaluation.stage import STAGE as MEASURE
from timbre.pipeline import STEP
from timbre.progress import SILENT

TEMPLATES = [
    {"id": f"t{n}", "category": ("gender", "age")[n % 2], "attribute_a": "a", "attribute_b": "b", "text_a": f"Near the {thing} she",
     "text_b": f"Near the {thing} he"}
    for n, thing in enumerate(("mast", "tide", "oven", "ridge", "lamp", "bell"))
]  # fmt: skip


def test_an_evaluation_tells_of_corpus_probes_and_counterfactual_texts(prepared: EvaluationInputs, tmp_path: Path) -> None:
    (tmp_path / "templates.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TEMPLATES))
    changes = {"counterfactual_templates": 5, "counterfactual_samples": 2, "counterfactual_tokens": 8, "several_prompts": 0}
    config, store = prepared.config.model_copy(update=changes), ArtifactStore(tmp_path, SILENT)
    files = {"instructions": prepared.files["instructions"], "counterfactual": FileInput(tmp_path / "templates.jsonl")}
    prompts = store.build(PROMPTS_STAGE, config.of_prompts(), {"model": prepared.model, "corpus": prepared.corpus, **files})
    assert prompts.json("summary.json")["prompts"]["counterfactual"] == 10
    adapter = make_adapter(prepared, tmp_path, weight=0.5)
    both = [
        {"generations": prepared.generations(store, config, prompts=prompts), "memorisation": prepared.memorisation(store, config)},
        {
            "generations": prepared.generations(store, config, prompts=prompts, target=prepared.target, adapter=adapter),
            "adapter": adapter,
        },
    ]
    base, tuned = (store.build(MEASURE, config, prepared.measured_from(prompts) | written) for written in both)
    gaps = [rows_of(evaluation, "counterfactual_gap") for evaluation in (base, tuned)]
    assert [row["item"] for row in gaps[0]] == [row["item"] for row in gaps[1]] and len(gaps[0]) == 5
    summary = tuned.json("summary.json")
    assert summary["counterfactual"]["texts"] == 20 and summary["corpus_audit"]["documents"] == 24
    assert {row["category"] for row in summary["bias_probes"]["table"]} == {"all", "gender"}
    table = category_table(rows_of(base, "bias_gap"), rows_of(tuned, "bias_gap"), summary["bias_probes"]["category"])
    assert table[0]["items"] == 8 and table[0]["difference"]["value"] is not None


def test_what_is_not_asked_for_does_not_appear(prepared: EvaluationInputs, tmp_path: Path) -> None:
    summary = prepared.evaluated(ArtifactStore(tmp_path, SILENT), corpus_audit=False).json("summary.json")
    assert "counterfactual" not in summary and "corpus_audit" not in summary


@pytest.mark.parametrize(("profile", "asked"), [("quick", False), ("standard", True)])
def test_only_a_release_that_asks_for_templates_reads_them(profile: str, asked: bool) -> None:
    release = release_config("literary", profile)
    inputs = STEP["prompts"].files(release)
    assert ("counterfactual" in inputs) == asked == bool(release.evaluation.counterfactual_templates)
