import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from training_inputs import TrainingInputs, mean_nll, replay_items, training_passages

from timbre.models import load_model, load_tokenizer
from timbre.training.data import Example, collate, draw_replay, plan_steps
from timbre.training.replay import ReplayItem, encode_replay, read_replay


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 4), st.integers(16, 64), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_every_passage_is_seen_once_an_epoch_and_no_step_is_too_large(positions: list[int], epochs: int, budget: int, seed: int) -> None:
    steps = plan_steps(positions, epochs=epochs, batch_tokens=budget, seed=seed)
    assert sorted(index for step in steps for index in step) == sorted(list(range(len(positions))) * epochs)
    assert all(sum(positions[index] for index in step) <= budget or len(step) == 1 for step in steps)
    assert steps == plan_steps(positions, epochs=epochs, batch_tokens=budget, seed=seed)


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    positions = [16] * 32
    plan = plan_steps(positions, epochs=2, batch_tokens=16, seed=1)
    assert plan[:32] != plan[32:] != plan_steps(positions, epochs=2, batch_tokens=16, seed=2)[32:]


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_replay_uses_every_item_before_any_comes_again(items: int, count: int, seed: int) -> None:
    drawn = [index for step in range(1, 2 * items + 1) for index in draw_replay(items, count, step, seed)]
    assert all(sorted(drawn[start : start + items]) == list(range(items)) for start in range(0, len(drawn) - items + 1, items))


def test_a_position_predicts_the_token_after_it_and_padding_never_counts() -> None:
    batch = collate([Example(np.array([5, 2, 7, 2])), Example(np.array([9, 2]))])
    assert batch.input_ids_BT.tolist() == [[5, 2, 7], [9, 0, 0]]
    assert batch.attention_mask_BT.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch.labels_N.tolist() == [2, 7, 2, 2]
    assert batch.positions == int(batch.counted_BT.sum()) == 4
    assert batch.ids_NK is None


def test_loss_is_the_same_however_passages_are_batched_and_padded(training_inputs: TrainingInputs) -> None:
    model = load_model(training_inputs.model)
    passages = training_passages(training_inputs.model, training_inputs.corpus)[:6]
    examples = [Example(passage.token_ids[: 12 + 6 * number]) for number, passage in enumerate(passages)]
    together, alone = (mean_nll(model, examples, vocab_size=384, batch_tokens=size) for size in (10_000, 1))
    assert together == pytest.approx(alone, abs=1e-5)
    with torch.no_grad():
        whole = [torch.log_softmax(model(torch.tensor(e.token_ids_T[None, :]).long()).logits[0, :-1], -1) for e in examples]
    picked = [-rows[range(len(rows)), torch.tensor(e.token_ids_T[1:]).long()] for rows, e in zip(whole, examples, strict=True)]
    assert together == pytest.approx(float(torch.cat(picked).mean()), abs=1e-5)


@pytest.mark.parametrize("chat", [True, False])
def test_replay_loss_is_on_the_answer_only(training_inputs: TrainingInputs, chat: bool) -> None:
    tokenizer = load_tokenizer(training_inputs.model)
    if not chat:
        tokenizer.chat_template = None
    [example] = encode_replay([ReplayItem("a", "fact", "Which paint is red?", "It is red.")], tokenizer, 512)
    counted = tokenizer.decode(collate([example]).labels_N)
    assert counted.strip() == "It is red.<|im_end|>"
    assert "Which paint is red?" in tokenizer.decode(example.token_ids_T[: example.first_label])
    assert tokenizer.decode(example.token_ids_T).startswith("<|im_start|>user" if chat else "Which")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: not a JSON object"),
        ('{"id": "x", "kind": "fact", "prompt": "p"}', "line 2: not a JSON object with id"),
        ('{"id": "x", "kind": "joke", "prompt": "p", "answer": "a"}', "line 2: kind must be"),
        ('{"id": "x", "kind": "fact", "prompt": " ", "answer": "a"}', "line 2: kind must be fact, instruction or refusal, and prompt"),
        (json.dumps(replay_items()[0]), "line 2: the id 'fact-red' was used before"),
    ],
)
def test_a_wrong_replay_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "replay.jsonl"
    path.write_text(json.dumps(replay_items()[0]) + "\n" + line + "\n")
    with pytest.raises(ValueError, match=complaint):
        read_replay(path)
