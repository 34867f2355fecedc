import json
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_inputs import TrainingInputs, mean_nll, training_config

from timbre.budget import DEADLINE, BudgetSpent
from timbre.config import TrainingConfig
from timbre.models import load_model, load_tokenizer
from timbre.progress import SILENT, Progress
from timbre.training.adapters import save_adapter
from timbre.training.data import Example
from timbre.training.replay import encode_replay, read_replay
from timbre.training.trainer import DivergedError, TrainingResult, learning_rate, train

VOCABULARY = 384


@pytest.fixture(scope="module")
def answers(training_inputs: TrainingInputs) -> list[Example]:
    return encode_replay(read_replay(training_inputs.replay.path), load_tokenizer(training_inputs.model), 512)


def trained(
    inputs: TrainingInputs, scratch: Path, config: TrainingConfig, examples: list[Example], progress: Progress = SILENT, **more: Any
) -> TrainingResult:
    scratch.mkdir(parents=True, exist_ok=True)
    return train(load_model(inputs.model), examples, config, vocab_size=VOCABULARY, scratch=scratch, progress=progress, **more)


def adapter_bytes(result: TrainingResult, folder: Path) -> bytes:
    save_adapter(result.model, folder)
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("objective", ["forward_kl", "sft"])
def test_training_makes_unseen_text_of_the_same_writers_likelier(
    objective: str, training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path
) -> None:
    result = trained(training_inputs, tmp_path, training_config(objective=objective, replay_weight=0), examples, held_out=held_out)
    before, after = result.summary["held_out_nll_before"], result.summary["held_out_nll"]
    assert after < before - 0.3  # nats a token; measured about 0.9
    assert after == mean_nll(result.model, held_out, vocab_size=VOCABULARY, batch_tokens=200)
    rows = [json.loads(line) for line in result.curve.read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(result.summary["steps"] + 1))
    assert rows[0] == {"step": 0, "steps": result.summary["steps_planned"], "tokens": 0, "held_out_nll": before}, "it begins untrained"
    assert rows[-1]["tokens"] == result.summary["tokens"] == 2 * sum(example.positions for example in examples)
    assert min(row["held_out_nll"] for row in rows if "held_out_nll" in row) == after


def test_the_two_objectives_follow_different_gradients(training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path) -> None:
    kl, sft = (
        trained(training_inputs, tmp_path / name, training_config(objective=name, epochs=1), examples) for name in ("forward_kl", "sft")
    )
    assert adapter_bytes(kl, tmp_path / "a") != adapter_bytes(sft, tmp_path / "b")


def test_replay_keeps_its_answers_likely(
    training_inputs: TrainingInputs, examples: list[Example], answers: list[Example], tmp_path: Path
) -> None:
    base = mean_nll(load_model(training_inputs.model), answers, vocab_size=VOCABULARY, batch_tokens=200)
    nll = {}
    for weight in (0.0, 0.1, 1.0):
        result = trained(training_inputs, tmp_path / str(weight), training_config(replay_weight=weight), examples, replay=answers)
        nll[weight] = mean_nll(result.model, answers, vocab_size=VOCABULARY, batch_tokens=200)
        first = json.loads(result.curve.read_text().splitlines()[0])
        assert (first["replay_loss"] is None) == (weight == 0)
    assert nll[1.0] < nll[0.1] < nll[0.0]
    assert nll[1.0] < base


def test_training_stops_when_held_out_text_gets_no_better_and_keeps_the_best(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path
) -> None:
    """Two passages, again and again: what is learnt of them soon costs other text."""
    config = training_config(objective="sft", epochs=40, evaluate_every=1, patience=2, replay_weight=0)
    result = trained(training_inputs, tmp_path, config, examples[:2], held_out=held_out)
    summary = result.summary
    assert summary["stopped_early"]
    assert 2 < summary["steps"] == summary["best_step"] + 2 < summary["steps_planned"]
    assert mean_nll(result.model, held_out, vocab_size=VOCABULARY, batch_tokens=200) == summary["held_out_nll"]
    again = trained(training_inputs, tmp_path, config, examples[:2], held_out=held_out)
    assert again.summary == summary


def test_training_that_only_harms_gives_back_the_base_and_says_so(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path
) -> None:
    """The held-out text is what the model itself finds likeliest, and what is learnt is noise."""
    base = load_model(training_inputs.model)
    tokens = [held_out[0].token_ids_T[0]]
    with torch.no_grad():
        for _ in range(40):
            tokens.append(int(base(torch.tensor([tokens])).logits[0, -1, :VOCABULARY].argmax()))
    own = [Example(np.array(tokens, np.int32))]
    noise = [Example(np.random.default_rng(n).integers(0, VOCABULARY, 48).astype(np.int32)) for n in range(12)]
    config = training_config(objective="sft", epochs=20, evaluate_every=1, patience=2, replay_weight=0)
    with pytest.warns(UserWarning, match=r"given back as it was: lower training\.learning_rate"):
        result = trained(training_inputs, tmp_path / "harm", config, noise, held_out=own)
    summary = result.summary
    assert (summary["kept_untrained"], summary["best_step"], summary["steps"], summary["stopped_early"]) == (True, 0, 2, True)
    assert summary["held_out_nll"] == summary["held_out_nll_before"]
    ids = torch.tensor(own[0].token_ids_T[None, :]).long()
    with torch.no_grad():
        assert torch.equal(result.model(ids).logits, base(ids).logits)
    with pytest.raises(KeyboardInterrupt):
        trained(
            training_inputs, tmp_path / "killed", config.model_copy(update={"checkpoint_every": 1}), noise, Interrupted(1), held_out=own
        )
    with pytest.warns(UserWarning, match="given back as it was"):
        resumed = trained(training_inputs, tmp_path / "killed", config.model_copy(update={"checkpoint_every": 1}), noise, held_out=own)
    assert resumed.summary == summary
    helped = trained(training_inputs, tmp_path / "help", training_config(replay_weight=0), examples, held_out=held_out)
    assert not helped.summary["kept_untrained"] and helped.summary["best_step"] > 0


def test_no_epochs_leave_the_model_as_it_is(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path
) -> None:
    result = trained(training_inputs, tmp_path, training_config(epochs=0), examples, held_out=held_out)
    assert result.summary["held_out_nll"] == result.summary["held_out_nll_before"]
    ids = torch.tensor(held_out[0].token_ids_T[None, :]).long()
    with torch.no_grad():
        assert torch.equal(result.model(ids).logits, load_model(training_inputs.model)(ids).logits)


def test_a_loss_that_is_not_a_number_is_refused_with_step_and_remedy(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path
) -> None:
    config = training_config(learning_rate=1e30, warmup_share=0.0, clip_norm=1e30, replay_weight=0)
    with pytest.raises(DivergedError, match=r"step \d+: .* is (nan|inf); lower training.learning_rate"):
        trained(training_inputs, tmp_path, config, examples, held_out=held_out)


def test_forward_kl_refuses_plain_passages(training_inputs: TrainingInputs, held_out: list[Example], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="use sft for plain text"):
        trained(training_inputs, tmp_path, training_config(), held_out)


class Interrupted(Progress):
    """Ends the run as Ctrl-C does, once a number of steps is done."""

    def __init__(self, after: int) -> None:
        super().__init__(self._listen, visible=False)
        self._after = after

    def _listen(self, _what: str, done: int, _total: int) -> None:
        if done == self._after:
            raise KeyboardInterrupt


@pytest.mark.parametrize("checkpoint_every", [1, 4])
def test_an_interrupted_run_ends_with_the_same_bytes(
    checkpoint_every: int,
    training_inputs: TrainingInputs,
    examples: list[Example],
    held_out: list[Example],
    answers: list[Example],
    tmp_path: Path,
) -> None:
    config = training_config(checkpoint_every=checkpoint_every)
    texts = {"held_out": held_out, "replay": answers}
    whole = trained(training_inputs, tmp_path / "whole", config, examples, **texts)
    for after in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            trained(training_inputs, tmp_path / "parts", config, examples, Interrupted(after), **texts)
    parts = trained(training_inputs, tmp_path / "parts", config, examples, **texts)
    assert adapter_bytes(parts, tmp_path / "a") == adapter_bytes(whole, tmp_path / "b")
    assert parts.curve.read_bytes() == whole.curve.read_bytes()
    assert parts.summary == whole.summary


def test_a_spent_budget_stops_behind_a_checkpoint_and_the_rest_follows_to_the_same_bytes(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = training_config(checkpoint_every=2)
    whole = trained(training_inputs, tmp_path / "whole", config, examples, held_out=held_out)
    monkeypatch.setenv(DEADLINE, "0")
    for step in (2, 4):  # each try gets as far as its first checkpoint
        with pytest.raises(BudgetSpent, match=f"behind the checkpoint of step {step}"):
            trained(training_inputs, tmp_path / "parts", config, examples, held_out=held_out)
    monkeypatch.delenv(DEADLINE)
    parts = trained(training_inputs, tmp_path / "parts", config, examples, held_out=held_out)
    assert adapter_bytes(parts, tmp_path / "a") == adapter_bytes(whole, tmp_path / "b") and parts.summary == whole.summary


def test_a_run_resumes_although_a_parameter_never_had_a_gradient(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path
) -> None:
    """As of an expert that no token was ever sent to."""

    def run(scratch: Path, progress: Progress = SILENT) -> TrainingResult:
        model = load_model(training_inputs.model)
        model.unused = torch.nn.Linear(3, 2)
        with torch.no_grad():
            model.unused.weight.fill_(0.5)
            model.unused.bias.fill_(0.25)
        scratch.mkdir(parents=True, exist_ok=True)
        config = training_config(adapter="full", learning_rate=3e-3, checkpoint_every=1, replay_weight=0)
        return train(model, examples, config, vocab_size=VOCABULARY, held_out=held_out, scratch=scratch, progress=progress)

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", Interrupted(3))
    parts = run(tmp_path / "parts")
    assert adapter_bytes(parts, tmp_path / "a") == adapter_bytes(whole, tmp_path / "b")
    assert parts.summary == whole.summary


def test_a_damaged_checkpoint_is_passed_over_and_the_one_before_used(
    training_inputs: TrainingInputs, examples: list[Example], held_out: list[Example], tmp_path: Path
) -> None:
    config, scratch = training_config(replay_weight=0), tmp_path / "scratch"
    whole = adapter_bytes(trained(training_inputs, tmp_path / "whole", config, examples, held_out=held_out), tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        trained(training_inputs, scratch, config, examples, Interrupted(6), held_out=held_out)
    older, newest = sorted((scratch / "checkpoints").iterdir())
    data = bytearray(newest.read_bytes())
    data[-7] ^= 1
    newest.write_bytes(data)
    (scratch / "checkpoints" / ".step-000007-x.safetensors.half").write_bytes(older.read_bytes()[:100])
    with pytest.warns(UserWarning, match="damaged"):
        resumed = trained(training_inputs, scratch, config, examples, held_out=held_out)
    assert adapter_bytes(resumed, tmp_path / "b") == whole
    assert not list((scratch / "checkpoints").glob(".*"))


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(
    training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path
) -> None:
    trained(training_inputs, tmp_path / "one", training_config(epochs=1), examples)
    other = training_config(epochs=1, learning_rate=5e-3)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with pytest.warns(UserWarning, match="other data or settings"):
        second = trained(training_inputs, tmp_path / "two", other, examples)
    fresh = trained(training_inputs, tmp_path / "fresh", other, examples)
    assert adapter_bytes(second, tmp_path / "a") == adapter_bytes(fresh, tmp_path / "b")


def test_the_rate_warms_up_then_falls_and_never_reaches_zero() -> None:
    config = training_config(learning_rate=1.0, warmup_share=0.2)
    rates = [learning_rate(step, 20, config) for step in range(1, 21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert all(later < earlier for earlier, later in pairwise(rates[3:]))
    assert rates[-1] > 0
