"""From a tuned model to weighted completions and a student, on a tiny model: what is drawn, what is decided, what is trained."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from sequence_inputs import SEQUENCE_CONFIG, Level
from training_inputs import PASSAGE, training_config

from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, canonical_json
from timbre.config import SequenceConfig
from timbre.models import load_model
from timbre.progress import SILENT, Progress
from timbre.sequence.pool import STAGE as POOL
from timbre.sequence.stage import STAGE as SEQUENCE
from timbre.training.stage import STAGE as ADAPTER

LENGTH = SEQUENCE_CONFIG.prompt_tokens + SEQUENCE_CONFIG.new_tokens


def test_completions_are_samples_of_the_tuned_model_with_their_exact_log_probabilities(level: Level) -> None:
    import torch

    rows = level.completions.json_lines("completions.jsonl")
    assert len(rows) == 40 and {len(row["completions"]) for row in rows} == {3}
    model = load_model(level.inputs.model, adapter=level.start)
    row = rows[0]
    for one in row["completions"]:
        ids = torch.tensor([[*row["token_ids"], *one["token_ids"]]])
        with torch.no_grad():
            log_q = model(ids[:, :-1]).logits[0, :, :384].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
        found = log_q[len(row["token_ids"]) - 1 :].numpy()
        # Special tokens are never drawn: without them all others are likelier by their mass, which is small.
        assert np.abs(found - one["log_probs"]).max() < 0.05 and len(one["token_ids"]) == 24
    assert len({tuple(one["token_ids"]) for one in row["completions"]}) == 3


def test_prompts_come_from_text_that_nothing_was_trained_on(level: Level) -> None:
    trained = {(str(doc), int(start)) for doc, start in level.start.json("summary.json")["trained_passages"]}
    for row in level.completions.json_lines("completions.jsonl"):
        first = int(row["prompt_id"].rsplit("#", 1)[1]) * LENGTH
        assert not any(doc == row["document"] and first < start + PASSAGE and start < first + LENGTH for doc, start in trained)


def test_a_build_that_was_cut_off_goes_on_and_ends_with_the_same_bytes(level: Level, tmp_path: Path) -> None:
    drawn: list[int] = []

    def cut(what: str, done: int, _total: int) -> None:
        if what == "completions":
            drawn.append(done)
            if len(drawn) == 2:
                raise KeyboardInterrupt

    config = SEQUENCE_CONFIG.of_completions()
    with pytest.raises(KeyboardInterrupt):
        ArtifactStore(tmp_path, Progress(cut, visible=False)).build(POOL, config, level.read)
    after: list[int] = []
    listener = Progress(lambda what, done, _total: after.append(done) if what == "completions" else None, visible=False)
    again = ArtifactStore(tmp_path, listener).build(POOL, config, level.read)
    assert drawn == [1, 2] and after[0] == 3
    assert again.digest == level.completions.digest


def test_weights_of_a_prompt_sum_to_one_and_the_decision_is_kept_with_its_figures(level: Level) -> None:
    admission, rows = level.sequence.json("admission.json"), level.sequence.json_lines("weights.jsonl")
    totals: dict[str, float] = {}
    for row in rows:
        totals[row["prompt_id"]] = totals.get(row["prompt_id"], 0) + row["weight"]
    assert len(rows) == 120 and all(total == pytest.approx(1) for total in totals.values())
    assert {one["family"] for one in admission["witnesses"]} == {"characters", "words"}
    assert 1 / 3 <= admission["ess"] <= 1 and admission["prompts"] == 40 and admission["why"].startswith(("admitted", "refused"))
    moments = {row["feature"]: row for row in level.sequence.json("moments.json")}
    nearer = [abs(row["weighted"] - row["human"]) < abs(row["plain"] - row["human"]) for row in moments.values() if abs(row["apart"]) > 0.5]
    assert nearer and np.mean(nearer) > 0.5


def test_the_control_arm_keeps_the_decision_and_weighs_all_alike(level: Level) -> None:
    config = SEQUENCE_CONFIG.model_copy(update={"uniform": True})
    control = level.inputs.store.build(SEQUENCE, config, {"completions": level.completions, "judged": level.sequence})
    assert {row["weight"] for row in control.json_lines("weights.jsonl")} == {1 / 3}
    assert control.json("admission.json") == level.sequence.json("admission.json")


def test_too_little_unseen_text_is_a_refusal_with_a_reason_and_no_crash(level: Level, tmp_path: Path) -> None:
    config = SEQUENCE_CONFIG.model_copy(update={"prompts": 3})
    store = ArtifactStore(tmp_path, SILENT)
    completions = store.build(POOL, config.of_completions(), level.read)
    refused = store.build(SEQUENCE, config, {"completions": completions}).json("admission.json")
    assert not refused["admitted"] and "3 passages of 3 documents were not trained on, and 40 of 10 are the least" in refused["why"]


def decided(level: Level, admitted: bool, favoured: int, config: SequenceConfig = SEQUENCE_CONFIG) -> Artifact:
    """A sequence-level target with another decision, which gives one completion of each prompt nearly all weight."""

    def write(_: SequenceConfig, __: Mapping[str, Input], work: Workspace) -> None:
        rows = level.sequence.json_lines("weights.jsonl")
        lines = [row | {"weight": 0.9 if row["completion"] == favoured else 0.05} for row in rows]
        (work.output / "weights.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (work.output / "admission.json").write_bytes(canonical_json({"admitted": admitted, "why": f"admitted {admitted}"}))

    return level.inputs.store.build(replace(Stage("sequence", 1, write), version=100 + favoured + 10 * admitted), config, {})


def student(level: Level, sequence: Artifact) -> Artifact:
    inputs = {"target": level.inputs.target, "corpus": level.inputs.corpus, "model": level.inputs.model, "replay": level.inputs.replay}
    return level.inputs.store.build(ADAPTER, training_config(), inputs | {"start": level.start, "sequence": sequence})


def test_a_refused_target_leaves_the_token_level_student_as_it_is(level: Level) -> None:
    kept = student(level, decided(level, False, 0))
    assert kept.file("adapter_model.safetensors").read_bytes() == level.start.file("adapter_model.safetensors").read_bytes()
    summary = kept.json("summary.json")
    assert summary.pop("sequence") == {"admitted": False, "why": "admitted False", "arm": "tilt"}
    assert summary == level.start.json("summary.json")


def test_an_admitted_target_teaches_the_completions_that_weigh_more(level: Level) -> None:
    """Two students, each taught another completion of every prompt: each finds its own likelier, and human text hardly less likely."""
    import torch

    rows = level.completions.json_lines("completions.jsonl")
    config = SEQUENCE_CONFIG.model_copy(update={"epochs": 3, "learning_rate": 3e-3, "anchor": 0.0, "completions_a_step": 16})
    nll = np.zeros((2, 2))
    for favoured in (0, 1):
        adapter = student(level, decided(level, True, favoured, config))
        summary = adapter.json("summary.json")
        assert summary["held_out_nll_before"] == pytest.approx(level.start.json("summary.json")["held_out_nll"], abs=1e-4)
        assert summary["held_out_nll"] <= summary["held_out_nll_before"] + 0.01 and summary["sequence"]["admitted"]
        curve = [json.loads(line) for line in adapter.file("curve.jsonl").read_text().splitlines()]
        assert all("completions_loss" in row for row in curve[1:])
        model = load_model(level.inputs.model, adapter=adapter)
        for place in (0, 1):
            ids = torch.tensor([[*row["token_ids"], *row["completions"][place]["token_ids"]] for row in rows])
            with torch.no_grad():
                log_q = model(ids[:, :-1]).logits[..., :384].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
            nll[favoured, place] = -float(log_q[:, -24:].mean())
    assert nll[0, 0] < nll[1, 0] and nll[1, 1] < nll[0, 1]


def test_a_person_sees_which_completions_are_human_like_and_what_is_overused(level: Level) -> None:
    from rich.console import Console

    from timbre.sequence.inspect import inspect_completions, print_view, sequence_page

    view = inspect_completions(level.sequence, level.completions, level.inputs.model, 0)
    assert [one.weight for one in view.completions] == sorted((one.weight for one in view.completions), reverse=True)
    assert sum(one.weight for one in view.completions) == pytest.approx(3)
    console = Console(width=80, record=True, file=StringIO())
    print_view(view, console)
    shown = console.export_text()
    assert view.admission["why"][:40] in shown and "What the model overuses" in shown and view.moments[0]["feature"] in shown
    page = sequence_page(view)
    assert page.count('class="completion"') == 5 and "<script" not in page and "nats" in page
    assert json.loads(json.dumps(asdict(view)))["prompt_id"] == view.prompt_id
    with pytest.raises(ValueError, match=r"prompts 0\.\.39, there is no prompt 40"):
        inspect_completions(level.sequence, level.completions, level.inputs.model, 40)


def test_the_critic_at_inference_is_measured_against_a_plain_choice(level: Level) -> None:
    from benchmarks.sequence import measured

    found = measured(level.completions, level.sequence)
    rows = {row["how"]: row for row in found["rows"]}
    assert list(rows) == ["any", "drawn by weight", "best of 3"] and rows["best of 3"]["ess"] == pytest.approx(1 / 3)
    assert all(one["gain"] == 0 for one in rows["any"]["told_apart"].values())
    admitted = {one["family"]: one for one in level.sequence.json("admission.json")["witnesses"]}
    for name, one in rows["drawn by weight"]["told_apart"].items():
        assert one["gain"] == pytest.approx(admitted[name]["gain"]) and one["auc"] == pytest.approx(admitted[name]["weighted_auc"])


def test_what_a_critic_foretells_needs_no_completions() -> None:
    """Texts that are human text in another order are told apart by nothing; texts with a manner are, and little would be left of them."""
    from benchmarks.sequence import foretold

    rng = np.random.default_rng(0)

    def text(mean: float) -> str:
        return " ".join(f"{' '.join(['word'] * max(2, round(rng.normal(mean, 3))))}." for _ in range(8))

    def rows(mean: float) -> list[dict[str, object]]:
        return [{"kind": "style", "cluster": f"d{n % 20}", "text": text(mean), "human": text(12)} for n in range(100)]

    near, far = foretold(rows(12)), foretold(rows(18))
    assert near["low"] < 0.5 < near["high"] and near["expected_ess"] > 0.8
    assert far["auc"] > 0.95 and far["expected_ess"] < 0.05


def test_the_datasheet_of_a_version_says_what_was_decided_on_what(level: Level) -> None:
    from timbre.tasks.handover import _sequence_lines

    said = "\n".join(_sequence_lines(level.sequence))
    assert "120 completions of 40 prompts" in said and "weighted by tilt" in said and "text of a model" in said
    assert level.sequence.json("admission.json")["why"][1:] in said
