"""What a model is asked, and what it answers: the stages before the measuring."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from evaluation_inputs import PASSAGE, EvaluationInputs, lines_of, make_adapter, make_target

from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import SamplerConfig
from timbre.corpus.documents import read_documents
from timbre.evaluation.generations_stage import STAGE as GENERATIONS_STAGE
from timbre.inference import session as session_module
from timbre.inference.prompts import read_prompts
from timbre.progress import SILENT
from timbre.settings import PROJECT_ROOT


@pytest.fixture(scope="module")
def prompts(prepared: EvaluationInputs) -> Artifact:
    return prepared.prompts(prepared.store, prepared.config)


def test_every_prompt_set_has_its_count_and_its_kind(prompts: Artifact) -> None:
    found = read_prompts(prompts.file("prompts.jsonl"))
    counts = {"style": 4, "style_plain": 4, "several": 2, "sentinel": 2, "instruction": 3}
    assert Counter(prompt.kind for prompt in found) == counts == prompts.json("summary.json")["prompts"]
    assert len({(prompt.kind, prompt.prompt_id) for prompt in found}) == len(found)
    assert {prompt.sampler for prompt in found if prompt.kind == "sentinel"} == {"greedy"}
    assert all(prompt.human for prompt in found if prompt.kind != "instruction")


def test_style_and_sentinel_prompts_are_of_documents_that_nothing_was_trained_on(prepared: EvaluationInputs, prompts: Artifact) -> None:
    split = {document.doc_id: document.split for document in read_documents(prepared.corpus)}
    found = read_prompts(prompts.file("prompts.jsonl"))
    assert {split[prompt.cluster] for prompt in found if prompt.kind == "style"} == {"test"}
    assert {split[prompt.cluster] for prompt in found if prompt.kind == "sentinel"} == {"validation"}
    human = [json.loads(line) for line in prompts.file("human.jsonl").read_text().splitlines()]
    assert len(human) == 4 and not {row["text"] for row in human} & {prompt.human for prompt in found}


def test_where_test_documents_are_few_validation_documents_join_the_human_side(prepared: EvaluationInputs, tmp_path: Path) -> None:
    prompts = prepared.prompts(ArtifactStore(tmp_path, SILENT), prepared.config.model_copy(update={"prompts": 500}))
    split = {document.doc_id: document.split for document in read_documents(prepared.corpus)}
    asked = [prompt for prompt in read_prompts(prompts.file("prompts.jsonl")) if prompt.kind == "style"]
    human = [json.loads(line) for line in prompts.file("human.jsonl").read_text().splitlines()]
    assert {split[prompt.cluster] for prompt in asked} == {"test"}
    assert {split[row["cluster"]] for row in human} == {"validation"}, "every test passage is gone on from"
    assert len(human) >= len(asked) > 8


def test_where_every_unseen_passage_is_asked_for_sentinels_are_of_them_and_of_many_documents(
    prepared: EvaluationInputs, tmp_path: Path
) -> None:
    """Without them the gates on what was never trained on have no evidence, and no release of a single book could pass."""
    prompts = prepared.prompts(ArtifactStore(tmp_path, SILENT), prepared.config.model_copy(update={"prompts": 500}))
    found = read_prompts(prompts.file("prompts.jsonl"))
    sentinels = [prompt for prompt in found if prompt.kind == "sentinel"]
    assert len(sentinels) == 2 == prompts.json("summary.json")["prompts"]["sentinel"]
    assert len({prompt.cluster for prompt in sentinels}) == 2, "a gate counts documents"


def test_a_set_with_count_0_is_not_there(prepared: EvaluationInputs, tmp_path: Path) -> None:
    config = prepared.config.model_copy(update={"several_prompts": 0, "sentinel_prompts": 0, "instruction_prompts": 0})
    prompts = prepared.prompts(ArtifactStore(tmp_path, SILENT), config)
    assert set(prompts.json("summary.json")["prompts"]) == {"style", "style_plain"}


def test_every_text_has_the_asked_length_and_no_special_token(base: Artifact) -> None:
    rows = lines_of(base)
    assert Counter(row["kind"] for row in rows) == {
        "style": 4,
        "style_plain": 4,
        "memorisation": 3,
        "several": 6,
        "sentinel": 2,
        "instruction": 3,
        "extraction": 6,
    }
    assert all(row["n_tokens"] == 40 and row["prompt"] for row in rows)
    assert all("<|" not in row["text"] for row in rows)


def test_samples_of_one_prompt_differ(base: Artifact) -> None:
    texts: dict[str, set[str]] = {}
    for row in lines_of(base, "several"):
        texts.setdefault(row["prompt_id"], set()).add(row["text"])
    assert [len(each) for each in texts.values()] == [3, 3]


def test_plain_texts_are_written_apart_where_serving_is_not_plain(prepared: EvaluationInputs, base: Artifact) -> None:
    serving = SamplerConfig(temperature=0.5)
    config = prepared.config.model_copy(update={"sampler": serving, "memorisation_prompts": 0})
    prompts = prepared.prompts(prepared.store, config)
    rows = lines_of(prepared.generations(prepared.store, config, prompts=prompts))
    plain = {row["prompt_id"]: row["text"] for row in rows if row["kind"] == "style_plain"}
    cool = {row["prompt_id"]: row["text"] for row in rows if row["kind"] == "style"}
    assert len(plain) == 4 and plain.keys() == cool.keys()
    assert all(plain[name] != cool[name] for name in plain)


def test_memorisation_prompts_are_openings_of_the_training_plan_for_base_and_candidate(
    prepared: EvaluationInputs, base: Artifact, tmp_path: Path
) -> None:
    plan = {f"doc-{document:02}@{index * PASSAGE}" for document in range(6) for index in range(2)}
    trained = {row["prompt_id"] for row in lines_of(base, "memorisation")}
    assert len(trained) == 3 and trained <= plan
    adapter = make_adapter(prepared, tmp_path, {"trained_passages": [["doc-00", 0], ["doc-03", 64]]})
    assert {row["prompt_id"] for row in lines_of(prepared.evaluated(prepared.store, adapter), "memorisation")} == trained


def test_an_adapter_that_read_what_its_target_does_not_hold_is_refused(prepared: EvaluationInputs, tmp_path: Path) -> None:
    adapter = make_adapter(prepared, tmp_path, {"trained_passages": [["doc-00", 0], ["doc-20", 0]]})
    with pytest.raises(ValueError, match="doc-20@0"):
        prepared.evaluated(ArtifactStore(tmp_path / "home", SILENT), adapter)


def test_another_target_asks_the_base_nothing_but_its_own_passages(prepared: EvaluationInputs, base: Artifact, prompts: Artifact) -> None:
    documents = read_documents(prepared.corpus, "train")[6:9]
    other = make_target(prepared.store, prepared.model, documents, alpha=0.25)
    again = EvaluationInputs(prepared.store, prepared.model, prepared.corpus, other, prepared.files)
    evaluated = again.evaluated(prepared.store)
    assert evaluated.manifest.inputs["generations"] == base.manifest.inputs["generations"]
    assert evaluated.manifest.inputs["memorisation"] != base.manifest.inputs["memorisation"]
    assert {row["cluster"] for row in lines_of(evaluated, "memorisation")} <= {document.doc_id for document in documents}


def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    prepared: EvaluationInputs, base: Artifact, prompts: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tmp_path, SILENT)
    calls = {"all": 0}
    real = session_module.write_atomically

    def dies_at_the_sixth(path: Path, data: bytes) -> None:
        calls["all"] += 1
        if calls["all"] == 6:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(session_module, "write_atomically", dies_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        prepared.generations(store, prepared.config, prompts=prompts)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.json")}
    assert len(kept) == 5
    again: list[Path] = []
    monkeypatch.setattr(session_module, "write_atomically", lambda path, data: (again.append(path), real(path, data))[1])
    resumed = prepared.generations(store, prepared.config, prompts=prompts)
    assert not set(again) & set(kept)
    assert resumed.digest == base.manifest.inputs["generations"]


def test_too_small_a_test_split_is_refused_with_what_to_do(prepared: EvaluationInputs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="new_tokens"):
        prepared.prompts(ArtifactStore(tmp_path, SILENT), prepared.config.model_copy(update={"new_tokens": 5000}))


def test_what_only_measuring_reads_writes_nothing_anew(prepared: EvaluationInputs) -> None:
    for change in ({"several_prompts": 0}, {"prompts": 3}):
        changed = prepared.config.model_copy(update=change)
        assert GENERATIONS_STAGE.key(changed.of_generations(), {}) == GENERATIONS_STAGE.key(prepared.config.of_generations(), {})


TASKS = [path for path in sorted((PROJECT_ROOT / "data" / "prompts").glob("*.jsonl")) if '"task"' in path.read_text().split("\n", 1)[0]]


@pytest.mark.parametrize("path", TASKS, ids=lambda path: path.stem)
def test_the_tasks_of_the_project_are_whole_and_told_once(path: Path) -> None:
    rows: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len({row["text"] for row in rows}) == len(rows) >= 16
    assert all(set(row) == {"id", "task", "text"} for row in rows)
