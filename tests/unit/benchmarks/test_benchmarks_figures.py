"""The figures that benchmarks print: goals and misses, gradient errors, and the costs that step adds up."""

import math
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import ngram, objective, step, store
from benchmarks.measuring import against_goals, on_the_cpu
from timbre.config import TargetConfig
from timbre.models import device
from timbre.settings import settings
from timbre.store import TargetReader
from timbre.training.data import Batch


def test_a_miss_is_said_with_its_reason_and_what_was_not_measured_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"cost": 1.2, "rate": 50.0, "bad": math.nan}
    goals = {"cost": 1.0, "rate": 40.0, "bad": 1.0, "absent": 1.0}
    shares, missed = against_goals(found, goals, at_least=["rate"], reasons={"cost": "half of it is waiting"})
    assert shares["cost"] == 1.2 and shares["rate"] == 0.8
    assert missed == {"cost": "half of it is waiting", "bad": "no reason is known", "absent": "no reason is known"}
    printed = capsys.readouterr().out
    assert printed.count("MISSED") == 3 and "cost missed: half of it is waiting" in printed


@pytest.mark.parametrize("module", [objective, step, store, ngram])
def test_every_goal_has_a_reason_to_be_missed_with(module: object) -> None:
    assert set(module.GOALS) == set(module.REASONS)  # type: ignore[attr-defined]


def test_gradient_errors_are_plain_numbers_over_several_chunks() -> None:
    """float32 products of 24 and sums over 300 terms: errors of a few roundings of 6e-8; float64 far below."""
    size = objective.Size(vocabulary=300, width=24, timed=8, compared=8, short=8, long=8, exact=600, top_k=16)
    assert objective.FULL.exact > 2 * 256, "more than two chunks"
    rough, fine = objective.errors(size, torch.float32), objective.errors(size, torch.float64)
    assert set(rough) == {"", "_worst_row", "_plain_worst_row", "_worst_row_unclamped"} and all(
        isinstance(value, float) for value in rough.values()
    )
    assert 1e-9 < rough[""] < 1e-5 and rough[""] < rough["_worst_row"] <= rough["_worst_row_unclamped"]
    assert fine["_worst_row"] < 1e-12


def test_the_whole_cost_is_added_up_from_its_steps() -> None:
    seconds = {"timbre": 0.9, "timbre, chunked SFT": 1.1, "transformers' loss": 1.0, "resident teacher": 1.6, "score": 0.5, "read": 0.01}
    lora = {name: [value] * 3 for name, value in seconds.items()}
    found = step.figures(lora, lora)
    assert found["second_student_ratio"] == pytest.approx(0.91)
    crossfit = TargetConfig().reference_epochs * (step.FOLDS - 1) * 1.1
    assert found["total_cost_ratio"] == pytest.approx((crossfit + 0.5 + 5 * 0.91) / 5)
    share = TargetConfig().admission_tokens / TargetConfig().train_tokens
    assert found["admission_share"] == pytest.approx(share * (1 + step.FOLDS) * 0.5 / 5), "base and every fold score its tokens"
    assert found["read_share_of_step"] == pytest.approx(0.01 / 0.9)


def test_scoring_is_the_releases_own_path(tmp_path: Path) -> None:
    """Timed is what makes a target: the rows lie in a store afterwards, mixed with the observed token."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=200, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=64
    )
    step_data = step.StepData(LlamaForCausalLM(config).eval(), 200, step.Size(3, 20), tmp_path / "target")
    actions = step.steps(step_data, "lora")
    for _ in range(2):  # as in alternation
        actions["score"]()
    rows = list(TargetReader(tmp_path / "scored"))
    assert [row.doc_id for row in rows] == ["passage-0", "passage-1", "passage-2"]
    for row in rows:
        own = row.probs_TK[row.ids_TK == row.observed[:, None]]
        assert len(own) == 20 and (own > 0.49).all(), "α = .5, one byte a probability"
    batch = actions["read"]()
    assert isinstance(batch, Batch) and batch.positions == 60
    assert set(step.steps(step_data, "full")) == set(actions) - {"score", "read"}


def test_a_step_is_timed_on_the_cpu_whatever_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBRE_DEVICE", "cuda")
    monkeypatch.setenv("TIMBRE_DTYPE", "bfloat16")
    settings.cache_clear()
    on_the_cpu()
    assert device().type == "cpu" and settings().dtype == "float32"
    monkeypatch.undo()
    settings.cache_clear()
