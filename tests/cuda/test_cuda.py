"""What only a GPU can prove: the same objective, training, scoring and writing there as on a CPU.

    python -m pytest -m cuda

Skipped where torch finds no CUDA device.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training_inputs import TrainingInputs, make_training_inputs, training_config, training_passages
from timbre.artifacts import Artifact
from timbre.config import Objective, SamplerConfig
from timbre.inference.generation import TextRequest, continue_prompts, samplers
from timbre.inference.prompts import Prompt
from timbre.inference.scorer import Scorer
from timbre.models import load_model, load_tokenizer, logits, model_facts
from timbre.objectives import divergences
from timbre.objectives.sparse_kl import cross_entropy_sum, sparse_forward_kl
from timbre.settings import settings
from timbre.targets.scoring import score_passages
from timbre.training.stage import train_adapter

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

On = Callable[[str, str], None]
V, D, K = 49_152, 576, 32


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Iterator[On]:
    """Sets device and dtype for what is loaded from then on."""

    def choose(device: str, dtype: str = "float32") -> None:
        monkeypatch.setenv("TIMBRE_DEVICE", device)
        monkeypatch.setenv("TIMBRE_DTYPE", dtype)
        settings.cache_clear()

    yield choose
    settings.cache_clear()


@pytest.fixture
def inputs(tmp_path: Path, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> TrainingInputs:
    return make_training_inputs(tmp_path / "inputs", tiny_model_dir, tiny_corpus_texts)


def problem(positions: int, device: str) -> tuple[Tensor, ...]:
    """Hidden states, head, target ids, probabilities and tail of the default model's size."""
    generator = torch.Generator().manual_seed(positions)
    hidden = torch.randn(positions, D, generator=generator)
    weight = 2.5 * D**-0.5 * torch.randn(V, D, generator=generator)
    ids = torch.stack([torch.randperm(V, generator=generator)[:K].sort().values for _ in range(positions)])
    probs = torch.rand(positions, K, generator=generator)
    tail = 0.05 + 0.5 * torch.rand(positions, generator=generator)
    probs = probs / probs.sum(-1, keepdim=True) * (1 - tail)[:, None]
    return tuple(part.to(device) for part in (hidden, weight, ids, probs, tail))


def test_fused_gradient_is_that_of_dense_float64() -> None:
    hidden, weight, ids, probs, tail = problem(96, "cuda")
    hidden, weight = hidden.requires_grad_(), weight.requires_grad_()
    sparse_forward_kl(hidden, weight, ids, probs, tail).backward()
    exact = [part.detach().double().requires_grad_() for part in (hidden, weight)]
    log_p = torch.cat([probs.double(), tail.double()[:, None]], -1).log()
    divergences.forward_kl(log_p, divergences.bucketed((exact[0] @ exact[1].T).log_softmax(-1), ids)).sum().backward()
    for found, wanted in ((hidden.grad, exact[0].grad), (weight.grad, exact[1].grad)):
        assert found is not None and wanted is not None
        assert float((found.double() - wanted).norm() / wanted.norm()) <= 1e-5


@pytest.mark.parametrize("name", ["forward_kl", "sft"])
def test_logits_of_bf16_weights_are_not_rounded_to_bf16(name: str) -> None:
    """The value, against float64 from the same bf16 numbers: float32 sums of 576 exact products lose 1e-5 at most; bf16 logits 1e-3."""
    hidden, weight, ids, probs, tail = problem(96, "cuda")
    hidden, weight = hidden.bfloat16(), weight.bfloat16()
    log_q = (hidden.double() @ weight.double().T).log_softmax(-1)
    if name == "sft":
        found = cross_entropy_sum(hidden, weight, ids[:, 0])
        wanted = -log_q.gather(-1, ids[:, :1]).sum()
    else:
        found = sparse_forward_kl(hidden, weight, ids, probs, tail)
        log_p = torch.cat([probs.double(), tail.double()[:, None]], -1).log()
        wanted = divergences.forward_kl(log_p, divergences.bucketed(log_q, ids)).sum()
    rows = logits(hidden, weight)
    assert rows.dtype == torch.float32
    assert float((rows - hidden.double() @ weight.double().T).abs().max()) < 1e-4
    assert float((found - wanted).abs() / wanted.abs()) < 1e-5


def peak(positions: int, loss: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> int:
    """Bytes above what the inputs take, the head frozen."""
    hidden, weight, ids, probs, tail = problem(positions, "cuda")
    hidden.requires_grad_()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss(hidden, weight, ids, probs, tail).backward()
    return torch.cuda.max_memory_allocated() - before


def test_no_positions_times_vocabulary_lives_on_the_device() -> None:
    """By arithmetic: 256·V·4 = 50 MB of a chunk's logits and 2·N·D·4 = 9 MB of gradients, against at least two N·V·4 = 403 MB
    (logits and their log-softmax; three on the way back): .05 to .075.
    """
    long, short = (peak(n, sparse_forward_kl) - n * D * 4 for n in (8_192, 512))
    assert long <= 1.05 * short, "but for the hidden states' gradient the peak does not grow with the positions"
    plain = peak(2_048, lambda h, w, ids, *_: torch.nn.functional.cross_entropy(h @ w.T, ids[:, 0], reduction="sum"))
    assert peak(2_048, sparse_forward_kl) <= 0.1 * plain


def trained(inputs: TrainingInputs, **changes: object) -> Artifact:
    return train_adapter(training_config(**changes), inputs.target, inputs.corpus, inputs.model, inputs.replay, inputs.store)


def losses(adapter: Artifact) -> np.ndarray:
    return np.array([row["loss"] for row in adapter.json_lines("curve.jsonl") if "loss" in row])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-3), ("bfloat16", 0.1)])
def test_training_follows_the_curve_of_the_cpu(
    on: On, dtype: str, tolerance: float, tmp_path: Path, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    """Sums in another order, or 8 bits of mantissa, and twelve steps of a high learning rate."""
    curves = {}
    for device, kind in (("cpu", "float32"), ("cuda", dtype)):
        on(device, kind)
        curves[device] = losses(trained(make_training_inputs(tmp_path / device, tiny_model_dir, tiny_corpus_texts)))
    np.testing.assert_allclose(curves["cuda"], curves["cpu"], rtol=tolerance)
    assert curves["cuda"][-1] < 0.9 * curves["cuda"][0]


@pytest.mark.parametrize("name", get_args(Objective))
def test_every_objective_learns(on: On, inputs: TrainingInputs, name: str) -> None:
    on("cuda", "float32")
    summary = trained(inputs, objective=name, base_kl_weight=0.1).json("summary.json")
    assert summary["held_out_nll"] < summary["held_out_nll_before"]


@pytest.mark.parametrize(
    "changes", [{"packing": True, "autocast": "bf16"}, {"adapter": "correction"}, {"adapter": "full", "learning_rate": 1e-3}]
)
def test_every_adapter_packing_and_autocast_learn(on: On, inputs: TrainingInputs, changes: dict[str, object]) -> None:
    on("cuda", "float32")
    summary = trained(inputs, **changes).json("summary.json")
    assert summary["held_out_nll"] < summary["held_out_nll_before"]


def test_the_same_run_gives_the_same_bytes(on: On, tmp_path: Path, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    """On one device with one version of its libraries; CONTRIBUTING promises equal bytes on a CPU only."""
    on("cuda", "float32")
    first, second = (trained(make_training_inputs(tmp_path / name, tiny_model_dir, tiny_corpus_texts)) for name in ("one", "two"))
    assert first.digest == second.digest


def test_scores_of_the_reference_are_those_of_the_cpu(on: On, inputs: TrainingInputs) -> None:
    passages = training_passages(inputs.model, inputs.corpus)
    vocabulary = model_facts(inputs.model)["vocab_size"]
    found = {}
    for device in ("cpu", "cuda"):
        on(device, "float32")
        scored = score_passages(load_model(inputs.model), passages, top_k=16, temperature=1.0, batch_tokens=512, vocab_size=vocabulary)
        found[device] = dict(scored)
    for place, one in found["cpu"].items():
        other = found["cuda"][place]
        np.testing.assert_allclose(one.log_probs_N, other.log_probs_N, atol=1e-4)
        np.testing.assert_allclose(one.distributions.tail_N, other.distributions.tail_N, atol=1e-4)


def test_texts_are_those_of_the_cpu(on: On, inputs: TrainingInputs) -> None:
    """Greedy and drawn, prompts of unequal length in one batch."""
    tokenizer = load_tokenizer(inputs.model)
    texts = ("The old gull", "Under the black roof, the quiet iron", "Every")
    ids = [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
    kinds = ("greedy", "plain", "serving")
    requests = [
        TextRequest(Prompt(f"p{n}", f"c{n}", kind, text, tokens, 24, sampler=kind))
        for n, (kind, text, tokens) in enumerate(zip(kinds, texts, ids, strict=True))
    ]
    written = {}
    for device in ("cpu", "cuda"):
        on(device, "float32")
        scorer = Scorer(load_model(inputs.model), len(tokenizer))
        rules = samplers(SamplerConfig(temperature=0.8, top_p=0.9))
        written[device] = continue_prompts(scorer, requests, rules=rules, forbidden=[0, 1, 2], seed=3)
    assert written["cpu"].ids_BT.tolist() == written["cuda"].ids_BT.tolist()


def test_the_curve_is_complete(on: On, inputs: TrainingInputs) -> None:
    on("cuda", "bfloat16")
    adapter = trained(inputs)
    steps = [json.loads(line)["step"] for line in adapter.file("curve.jsonl").read_text().splitlines()]
    assert steps == list(range(len(steps))) and len(steps) > 2
