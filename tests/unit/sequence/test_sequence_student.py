"""The student on the toy language: weighted completions bring it to p*, the same completions unweighted and SFT on human text do not."""

from pathlib import Path

import numpy as np
import pytest
from toy_language import SEQUENCES_SL, features, humans, kl, model

from timbre.artifacts import ArtifactStore
from timbre.config import ModelConfig, TrainingConfig
from timbre.models import load_model, resolve_model
from timbre.progress import SILENT
from timbre.sequence.weights import tilt, uniform
from timbre.training.completions import planned
from timbre.training.data import Example
from timbre.training.trainer import train

FIRST, VOCABULARY = 40, 384  # letters are tokens 40, 41, 42; the beginning is token 1
DRAWN, HUMAN = 1500, 40


def taught(place: Path, model_dir: Path, sequences_NL: np.ndarray, counts: list[int], steps: int) -> np.ndarray:
    """What a student learns from sequences, each as often as `counts` says: its distribution over all sequences."""
    import torch

    rows = [Example(np.r_[1, FIRST + row].astype(np.int32)) for row, count in zip(sequences_NL, counts, strict=True) for _ in range(count)]
    batch = 100 * 5
    config = TrainingConfig(
        objective="sft", adapter="full", epochs=max(1, round(steps * batch / (5 * len(rows)))), learning_rate=5e-3, batch_tokens=batch,
        replay_weight=0, replay_items=0, checkpoint_every=10**6, seed=2,
    )  # fmt: skip
    network = load_model(resolve_model(ModelConfig(name=str(model_dir)), ArtifactStore(place / "home", SILENT)))
    student = train(network, rows, config, vocab_size=VOCABULARY, scratch=place, progress=SILENT).model
    ids = torch.tensor(np.c_[np.ones(len(SEQUENCES_SL), int), FIRST + SEQUENCES_SL])
    with torch.no_grad():
        log_q = student(ids[:, :-1]).logits[:, :, :VOCABULARY].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].sum(1)
    q_S: np.ndarray = log_q.double().exp().numpy()
    return q_S


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Completions drawn from p₀, and human texts drawn from p*."""
    rng = np.random.default_rng(0)
    return (SEQUENCES_SL[rng.choice(len(SEQUENCES_SL), DRAWN, p=model())], SEQUENCES_SL[rng.choice(len(SEQUENCES_SL), HUMAN, p=humans())])


def test_the_student_reaches_p_star_and_sft_on_the_same_data_does_not(
    drawn: tuple[np.ndarray, np.ndarray], tiny_model_dir: Path, tmp_path: Path
) -> None:
    completions_NL, human_NL = drawn
    phi_NF, moments_F = features(completions_NL), humans() @ features(SEQUENCES_SL)
    weights_N = np.exp(phi_NF @ tilt(phi_NF[None], moments_F[None]))
    arms = {
        "weighted": (completions_NL, planned(weights_N.tolist(), 0.0, 1)),
        "uniform": (completions_NL, planned(uniform(1, DRAWN)[0].tolist(), 0.0, 1)),
        "human": (human_NL, [8] * HUMAN),
    }
    apart = {name: kl(humans(), taught(tmp_path / name, tiny_model_dir, *data, steps=150)) for name, data in arms.items()}
    start = kl(humans(), model())
    assert start > 0.25
    assert apart["weighted"] < 0.06  # the scatter of 1,500 draws with an effective size of about half: 242/(2·750) = .16 if learnt by heart
    assert apart["uniform"] > 0.8 * start  # it learns p₀
    assert apart["human"] > 3 * apart["weighted"]  # forty texts


def test_the_leash_stands_for_the_start_in_proportion() -> None:
    """κ of KL(p₀‖student) on p₀'s own samples: counts are those of a mixture of p* and p₀."""
    weights = [0.7, 0.1, 0.1, 0.1]
    free, tied = planned(weights, 0.0, 0), planned(weights, 1.0, 0)
    assert sum(free) == sum(tied) == 32
    assert np.abs(np.array(free) - [22.4, 3.2, 3.2, 3.2]).max() < 1 and np.abs(np.array(tied) - [15.2, 5.6, 5.6, 5.6]).max() < 1
