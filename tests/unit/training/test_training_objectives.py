"""Every objective trains; packing, micro-batches and bf16 change how a step is computed, not what it is."""

import json
import math
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training_inputs import TrainingInputs, training_config

from timbre.config import Frozen, TargetConfig, TrainingConfig, objective_names
from timbre.models import load_model, load_tokenizer
from timbre.progress import SILENT
from timbre.training.adapters import adapter_parameters, prepare
from timbre.training.data import Example, collate
from timbre.training.gradients import Gradients, Means
from timbre.training.parallel import World
from timbre.training.preferences import preference_pairs
from timbre.training.reading import Examples, Groups
from timbre.training.replay import encode_replay, read_replay
from timbre.training.student import Student
from timbre.training.trainer import TrainingResult, train

VOCABULARY = 384


@pytest.fixture(scope="module")
def uneven(examples: list[Example]) -> list[Example]:
    """Passages of unequal length, so that padding and packing have something to do."""
    return [
        Example(one.token_ids_T[:n], one.ids_TK[: n - 1], one.probs_TK[: n - 1], one.tail_T[: n - 1])
        for n, one in zip((48, 9, 20, 31, 5, 12), examples, strict=False)
        if one.ids_TK is not None and one.probs_TK is not None and one.tail_T is not None
    ]


@pytest.fixture(scope="module")
def answers(training_inputs: TrainingInputs) -> list[Example]:
    return encode_replay(read_replay(training_inputs.replay.path), load_tokenizer(training_inputs.model), 512)


def trained(inputs: TrainingInputs, scratch: Path, examples: list[Example], **changes: Any) -> TrainingResult:
    scratch.mkdir(parents=True, exist_ok=True)
    replay = changes.pop("replay", ())
    config = training_config(**{"replay_weight": 0, "rank": 4, **changes})
    return train(load_model(inputs.model), examples, config, vocab_size=VOCABULARY, replay=replay, scratch=scratch, progress=SILENT)


def stepped(inputs: TrainingInputs, examples: list[Example], replay: list[Example], **changes: Any) -> tuple[Means, dict[str, Tensor]]:
    """The means and gradients of one step over all `examples`, of an adapter that is no longer without effect."""
    config = training_config(rank=4, replay_items=3, **changes)
    network = prepare(load_model(inputs.model), config)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(5)
        for name, parameter in sorted(network.named_parameters()):
            if "lora_B" in name:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    groups: list[tuple[Example, ...]] = [(example,) for example in examples]
    if config.objective == "dpo":  # against the same text backwards
        groups = [(one, Example(one.token_ids_T[::-1].copy())) for one in examples]
    means = Gradients(Student(network, config, VOCABULARY), config, World(), Groups.listed(groups), replay).add(1, range(len(groups)))
    return means, {name: value.grad for name, value in network.named_parameters() if value.grad is not None}


def error(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    assert found.keys() == wanted.keys() and found
    gap = sum(float((found[name] - wanted[name]).square().sum()) for name in wanted)
    return float((gap / sum(float(value.square().sum()) for value in wanted.values())) ** 0.5)


@pytest.mark.parametrize("name", objective_names())
def test_every_objective_lowers_its_own_loss(name: str, training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path) -> None:
    changes = {"dpo_prompt_tokens": 36} if name == "dpo" else {}  # a short sample: what is tested is the loop
    result = trained(training_inputs, tmp_path, examples[:8], objective=name, epochs=3, batch_tokens=100, **changes)
    losses = [json.loads(line)["loss"] for line in result.curve.read_text().splitlines()]
    third = len(losses) // 3
    assert sum(losses[-third:]) < sum(losses[:third])
    assert result.summary["objective"] == name


@pytest.mark.parametrize("changes", [{"packing": True}, {"micro_tokens": 30}, {"packing": True, "micro_tokens": 60}])
def test_packing_and_micro_batches_leave_the_step_what_it_is(
    changes: dict[str, Any], training_inputs: TrainingInputs, uneven: list[Example], answers: list[Example]
) -> None:
    """Only the order of float32 sums differs: 1e-5 of the gradient's norm is some hundred roundings of 6e-8."""
    wanted, gradients = stepped(training_inputs, uneven, answers, base_kl_weight=0.5)
    means, found = stepped(training_inputs, uneven, answers, base_kl_weight=0.5, **changes)
    assert means.positions == wanted.positions == sum(example.positions for example in uneven)
    for part in ("loss", "replay_loss", "base_kl"):
        assert getattr(means, part) == pytest.approx(getattr(wanted, part), rel=1e-5)
    assert error(found, gradients) < 1e-5


@pytest.mark.parametrize("name", objective_names())
def test_packing_leaves_every_objective_what_it_is(name: str, training_inputs: TrainingInputs, uneven: list[Example]) -> None:
    """Only the order of float32 sums differs, as above; dpo weighs whole passages, so that their sums' roundings count in each position."""
    wanted, gradients = stepped(training_inputs, uneven, [], objective=name, replay_weight=0)
    means, found = stepped(training_inputs, uneven, [], objective=name, replay_weight=0, packing=True)
    assert means.loss == pytest.approx(wanted.loss, rel=1e-5) and wanted.loss != 0
    assert error(found, gradients) < 1e-5


def test_losses_are_read_back_once_a_step_however_many_micro_batches_it_has(
    training_inputs: TrainingInputs, uneven: list[Example], answers: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    for name in ("item", "tolist", "__float__", "__bool__"):
        own = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda tensor, own=own, name=name: (reads.append(name), own(tensor))[1])
    for name in ("check_ids", "check_mass"):  # as on another device
        monkeypatch.setattr(f"timbre.objectives.sparse_kl.{name}", lambda *_: None)
    means, _ = stepped(training_inputs, uneven, answers, base_kl_weight=0.5, micro_tokens=16)
    assert means.loss > 0 and [name for name in reads if name != "__bool__"] == ["tolist"]


def test_a_wrong_target_is_refused_before_it_leaves_the_cpu(
    training_inputs: TrainingInputs, uneven: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = Student(load_model(training_inputs.model), training_config(tail="renorm"), VOCABULARY)
    monkeypatch.setattr(Student, "device", torch.device("meta"))
    batch = collate(uneven)
    assert batch.probs_NK is not None and batch.tail_N is not None
    for mass, tail, sentence in ((-1, 0, "negative mass"), (0.5, 1, "must sum to 1"), (0, None, "use the tail mode bucket")):
        wrong = replace(
            batch, probs_NK=mass * batch.probs_NK, tail_N=torch.ones_like(batch.tail_N) if tail is None else tail * batch.tail_N
        )
        with pytest.raises(ValueError, match=sentence):
            student.total(wrong)


def test_training_makes_the_products_of_cublas_repeatable(
    training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    trained(training_inputs, tmp_path, examples[:2], epochs=0)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_packed_passages_share_rows_and_do_not_see_each_other(uneven: list[Example]) -> None:
    batch = collate(uneven, packed=True)
    fed = sum(len(example.token_ids_T) - 1 for example in uneven)
    assert batch.input_ids_BT.shape == (3, 47) and batch.positions == fed  # 47; 30 + 11 + 4; 19 + 8
    assert batch.position_ids_BT is not None
    sees = batch.attention_mask_BT[:, 0]
    for row in range(3):
        starts = [place for place in range(47) if batch.position_ids_BT[row, place] == 0]
        for place in range(47):
            seen = sees[row, place].nonzero().flatten().tolist()
            begin = max(start for start in starts if start <= place)
            if batch.counted_BT[row, place]:
                assert seen == list(range(begin, place + 1))
            assert place in seen
    order = batch.sequence_N.unique_consecutive().tolist()
    assert sorted(order) == list(range(6))
    assert batch.labels_N.tolist() == [int(token) for number in order for token in uneven[number].token_ids_T[1:]]


def test_packing_refuses_sliding_windows(training_inputs: TrainingInputs) -> None:
    model = load_model(training_inputs.model)
    model.config.layer_types = ["sliding_attention", "full_attention"]
    with pytest.raises(ValueError, match=r"set training\.packing to false"):
        Student(model, training_config(packing=True), VOCABULARY)


@pytest.mark.parametrize("kind", ["Lfm2", "Bloom", "Mamba"])
def test_packing_refuses_what_lets_texts_in_one_row_see_each_other(kind: str) -> None:
    """Convolutions, positions by distance alone, and recurrent states: named, whatever the library would say."""
    import transformers

    sizes: dict[str, Any] = {
        "Lfm2": {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},
        "Bloom": {"n_layer": 2, "n_head": 2}, "Mamba": {"num_hidden_layers": 2, "state_size": 4},
    }  # fmt: skip
    config = getattr(transformers, f"{kind}Config")(vocab_size=64, hidden_size=16, **sizes[kind])
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    with pytest.raises(ValueError, match=r"do not go together: set training\.packing to false"):
        Student(model, training_config(packing=True), 64)


@pytest.mark.parametrize("kind", ["Llama", "Qwen2", "Mistral", "GPT2"])
def test_packing_takes_models_whose_attention_can_be_masked(kind: str) -> None:
    import transformers

    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2}
    sizes |= {"sliding_window": None} if kind == "Mistral" else {}
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=64, **({"n_embd": 16, "n_layer": 2, "n_head": 2} if kind == "GPT2" else sizes)
    )
    model = getattr(transformers, "GPT2LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM")(config)
    assert Student(model, training_config(packing=True), 64).packing


@pytest.mark.parametrize("packing", [False, True])
def test_bf16_autocast_computes_the_step_within_its_precision_and_keeps_weights_in_float32(
    packing: bool, training_inputs: TrainingInputs, uneven: list[Example], answers: list[Example]
) -> None:
    """bf16 keeps 8 bits (relative error 4e-3 a product) through two blocks and the head: 2 % of the loss, 10 % of the gradient."""
    wanted, gradients = stepped(training_inputs, uneven, answers)
    means, found = stepped(training_inputs, uneven, answers, autocast="bf16", packing=packing)
    assert means.loss != wanted.loss and means.loss == pytest.approx(wanted.loss, rel=2e-2)
    assert all(gradient.dtype == torch.float32 for gradient in found.values())
    assert error(found, gradients) < 0.1


def test_kl_to_base_keeps_the_model_near_the_base_on_neutral_prompts(
    training_inputs: TrainingInputs, examples: list[Example], answers: list[Example], tmp_path: Path
) -> None:
    last = {}
    for weight in (0.001, 1.0):
        result = trained(training_inputs, tmp_path / str(weight), examples, replay=answers, base_kl_weight=weight, replay_items=6)
        rows = [json.loads(line) for line in result.curve.read_text().splitlines()]
        assert rows[0]["base_kl"] == pytest.approx(0, abs=1e-6), "a fresh adapter is the base"
        last[weight] = rows[-1]["base_kl"]
    assert 0 < last[1.0] < last[0.001] / 2


def test_kl_to_base_without_prompts_is_refused(training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs neutral prompts"):
        trained(training_inputs, tmp_path, examples, base_kl_weight=0.1)


@pytest.mark.parametrize("adapter", ["lora", "correction", "full"])
def test_the_base_stays_the_base_while_the_adapter_learns(
    adapter: str, training_inputs: TrainingInputs, examples: list[Example], answers: list[Example], tmp_path: Path
) -> None:
    """KL to base of the trained model, had by two roads: the student's own base, and the base loaded anew."""
    result = trained(training_inputs, tmp_path, examples[:6], adapter=adapter, epochs=1)
    config = training_config(base_kl_weight=1.0)
    student = Student(result.model, config, VOCABULARY)
    if adapter == "full":  # the copy is of what it was given: that of training was taken before
        student._copy[0].load_state_dict(load_model(training_inputs.model).state_dict())
    batch = collate(answers[:4])
    with torch.no_grad():
        ours = float(student.base_kl(batch))
        base = load_model(training_inputs.model)
        ids, mask = batch.input_ids_BT, batch.attention_mask_BT
        log_p, log_q = (model(ids, attention_mask=mask).logits[batch.counted_BT].log_softmax(-1) for model in (base, result.model))
    assert ours > 1e-3
    assert ours == pytest.approx(float((log_p.exp() * (log_p - log_q)).sum()), rel=1e-4)


def test_dpo_compares_with_the_same_samples_after_a_restart_and_draws_real_tokens(
    training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"prompt_tokens": 40, "vocab_size": VOCABULARY - 40, "seed": 3, "scratch": tmp_path, "progress": SILENT}
    model = load_model(training_inputs.model)
    first = preference_pairs(model, Examples.listed(examples[:5]), world=World(), **options)
    again = preference_pairs(None, Examples.listed(examples[:5]), world=World(), **options)
    for (human, sample), (_, kept) in zip(first, again, strict=True):
        assert (sample.token_ids_T == kept.token_ids_T).all()
        assert (sample.token_ids_T[:40] == human.token_ids_T[:40]).all() and len(sample.token_ids_T) == len(human.token_ids_T)
        assert sample.token_ids_T[40:].max() < VOCABULARY - 40 and sample.first_label == human.first_label == 40
    assert len({tuple(sample.token_ids_T[40:]) for _, sample in first}) == 5
    with pytest.raises(ValueError, match=r"lower training\.dpo_prompt_tokens"):
        preference_pairs(model, Examples.listed(examples[:5]), world=World(), **{**options, "prompt_tokens": 400})


def test_dpo_leaves_a_prompt_as_it_is_and_counts_the_answer_only(
    training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path
) -> None:
    rows = [replace(example, first_label=first) for example, first in zip(examples[:4], (1, 30, 1, 30), strict=True)]
    model = load_model(training_inputs.model)
    options: dict[str, Any] = {"vocab_size": VOCABULARY, "seed": 3, "scratch": tmp_path, "progress": SILENT}
    pairs = preference_pairs(model, Examples.listed(rows), prompt_tokens=16, world=World(), **options)
    for row, opening, (human, sample) in zip(rows, (16, 30, 16, 30), pairs, strict=True):
        assert human.first_label == sample.first_label == opening
        assert (human.token_ids_T == row.token_ids_T).all() and len(sample.token_ids_T) == len(row.token_ids_T)
        assert (sample.token_ids_T[:opening] == row.token_ids_T[:opening]).all()
        assert (sample.token_ids_T[opening:] != row.token_ids_T[opening:]).any()


def test_checkpoints_of_another_target_are_not_gone_on_from(
    training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path
) -> None:
    def end(scratch: Path, given: list[Example]) -> dict[str, torch.Tensor]:
        return adapter_parameters(trained(training_inputs, scratch, given, epochs=1).model)

    def moved(example: Example) -> Example:
        assert example.probs_TK is not None and example.tail_T is not None
        return replace(example, probs_TK=example.probs_TK * 0.5, tail_T=1 - (1 - example.tail_T) * 0.5)

    other = [moved(example) for example in examples[:4]]
    end(tmp_path / "one", examples[:4])
    with pytest.warns(UserWarning, match="other data or settings"):
        again = end(tmp_path / "one", other)
    fresh = end(tmp_path / "two", other)
    assert all(torch.equal(again[name], fresh[name]) for name in fresh)


def test_a_setting_of_another_objective_is_said_to_be_ignored(
    training_inputs: TrainingInputs, examples: list[Example], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=r"training\.tail is a setting of forward_kl and is ignored by jsd"):
        trained(training_inputs, tmp_path / "a", examples[:2], objective="jsd", tail="drop", epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        trained(training_inputs, tmp_path / "b", examples[:2], tail="drop", epochs=1)


@pytest.mark.parametrize(
    ("field", "value"),
    [("objective", "kl"), ("adapter", "dora"), ("tail", "cut"), ("jsd_beta", 1.0), ("smoothing", 1.0), ("base_kl_weight", -1),
     ("replay_weight", -0.1), ("gem_beta", 0), ("dpo_beta", 0), ("teacher_alpha", 2), ("processes", 0)],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        training_config(**{field: value})


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("kind", [TrainingConfig, TargetConfig])
def test_no_setting_of_target_or_training_is_infinite(kind: type[Frozen], value: float) -> None:
    fields = [name for name, field in kind.model_fields.items() if field.annotation is float]
    assert len(fields) >= 5
    for name in fields:
        with pytest.raises(ValueError, match=name):
            kind.model_validate({name: value})
