"""Broken candidates are not promoted, each by the gate that is meant for it: the quick policy on a tiny model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.doctored import KINDS, Scene, judged
from tests.building import add_source
from timbre import pipeline
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import release_config
from timbre.progress import SILENT
from timbre.settings import PROJECT_ROOT

PROBES = PROJECT_ROOT / "data" / "probes"
WINDOW, SCHOOL_STEPS = 96, 500
SETTINGS = {
    "target.train_tokens": 12288, "target.passage_tokens": 128, "target.top_k": 16, "target.admission_tokens": 2048,
    "target.reference_learning_rate": 0.005, "target.reference_epochs": 3, "target.batch_tokens": 512,
    "target.formats": ["continuation"], "training.replay_items": 2, "training.evaluate_every": 4,
    "training.learning_rate": 0.0005, "training.epochs": 2, "training.batch_tokens": 512, "training.validation_tokens": 1024,
    "evaluation.likelihood_tokens": 4096, "evaluation.passage_tokens": 128, "evaluation.prompts": 8, "evaluation.new_tokens": 64,
    "evaluation.bias_items": None, "evaluation.fact_items": None, "evaluation.encoder": False,
    "export.parity_prompts": 8, "export.parity_tokens": 4, "export.latency_tokens": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def schooled_model_dir(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Path:
    """The tiny model after some schooling: it knows the words of the style but not their order, both readings of the bias
    probes, and the true facts. Without that there is nothing for a broken adapter to lose."""
    import random

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("schooled")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32)
    chance = random.Random(0)
    texts = [" ".join(chance.sample(words, len(words))) for _, text in tiny_corpus_texts for words in [text.split()]]
    probes = [json.loads(line) for name in ("bias", "facts") for line in (PROBES / f"{name}.jsonl").read_text().splitlines()]
    texts += [row[name] for row in probes for name in ("text_a", "text_b", "true") if name in row]
    chance.shuffle(texts)
    ids = [token for text in texts for token in (tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False)["input_ids"])]
    rows = torch.tensor(ids[: len(ids) // WINDOW * WINDOW]).view(-1, WINDOW)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(SCHOOL_STEPS):
        batch = rows[[chance.randrange(len(rows)) for _ in range(16)]]
        for group in optimizer.param_groups:
            group["lr"] = 5e-3 * (1 - step / SCHOOL_STEPS)
        model(input_ids=batch, labels=batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, schooled_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Scene:
    """An honest candidate of the tiny model, and a store for broken ones."""
    from timbre.settings import settings

    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIMBRE_HOME", str(home))
        settings.cache_clear()
        texts = home / "texts.jsonl"
        texts.write_text("".join(json.dumps({"text": text}) + "\n" for _, text in tiny_corpus_texts))
        add_source(texts, "tiny", "various", "CC0-1.0")
        config = release_config("tiny", overrides={"model.name": str(schooled_model_dir), **SETTINGS})
        store, built = ArtifactStore(home, SILENT), dict[str, Artifact]()
        for step in pipeline.steps_of(config):
            built[step.name] = pipeline.build(step.name, config, store, built)
    settings.cache_clear()
    # The honest candidate is trained gently, so that it loses nothing of the little it knows: too fast for it is ten times more.
    return Scene(config, built, ArtifactStore(home / "doctored", SILENT), learning_rate=2e-2, epochs=4, memorised_epochs=300, too_fast=500)


def test_the_honest_candidate_passes_every_gate_that_eight_texts_can_answer(scene: Scene) -> None:
    verdict = scene.honest["verdict"].json("verdict.json")
    others = {gate["name"]: gate["sentence"] for gate in verdict["gates"] if gate["verdict"] != "PASS"}
    assert set(others) == {"voice"} and "8 texts a side are too few to ask a classifier" in others["voice"], others
    assert verdict["verdict"] == "INCONCLUSIVE", "eight short texts tell nothing of voice; test_gates_voice.py has enough"
    assert all(gate["value"] is not None for gate in verdict["gates"] if gate["kind"] != "equality" and gate["name"] != "voice")


@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_candidate_is_stopped_by_the_gate_meant_for_it(scene: Scene, kind: str) -> None:
    """By a figure that was measured on it, not by missing evidence: its lineage is as sound as that of the honest one."""
    result = judged(kind, scene)
    assert result["gate"] == KINDS[kind].gate, result
    assert result["gate_verdict"] == result["verdict"] == "FAIL", result
    assert result["value"] is not None and "valid evidence" not in result["sentence"], result
    assert result["gates"]["lineage"] == "PASS"
    of_the_corpus = ("contract", "declared", "consent", "narrowness", "target", "target_gain", "latency", "parity", "memorisation_coverage")
    assert {result["gates"][name] for name in of_the_corpus} == {"PASS"}, "what was not broken passes"


def test_a_refusal_for_another_reason_is_no_bite(scene: Scene) -> None:
    """A recipe that cannot even be trained proves nothing about a gate."""
    broken = replace(scene, honest={name: value for name, value in scene.honest.items() if name != "corpus"})
    with pytest.raises(ValueError, match="corpus"):
        judged("zero_step", broken)
