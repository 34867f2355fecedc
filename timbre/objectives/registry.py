"""Every objective by name: what it is, which way it points, what it needs. `TrainingConfig.objective` chooses here."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from timbre.objectives.baselines import Pairs, emo_sum, gem_sum, label_smoothing_sum, preference_sum, teacher_kl_sum
from timbre.objectives.head import Head
from timbre.objectives.sparse_divergences import sparse_jsd, sparse_reverse_kl, sparse_total_variation, sparse_wasserstein
from timbre.objectives.sparse_kl import Tail, cross_entropy_sum, sparse_forward_kl

Needs = Literal["targets", "labels", "base", "pairs"]


@dataclass(frozen=True)
class Options:
    """Constants of the objectives; each uses its own and no other."""

    tail: Tail = "bucket"
    jsd_beta: float = 0.5
    smoothing: float = 0.1
    gem_beta: float = 0.7
    teacher_alpha: float = 0.5
    dpo_beta: float = 0.1


@dataclass(frozen=True)
class Positions:
    """The N positions of a batch that count, and what is known of each."""

    labels_N: Tensor
    ids_NK: Tensor | None = None
    probs_NK: Tensor | None = None
    tail_N: Tensor | None = None
    base_hidden_ND: Tensor | None = None
    base: Head | None = None
    """Hidden states and head of the base model, for those that need it."""
    pairs: Pairs | None = None
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Objective:
    """One objective."""

    formula: str
    """With P the target, Q the model and y the observed token; the order of the arguments is the direction."""
    needs: Needs
    """targets: stored distributions; labels: the observed tokens; base: the base model resident too; pairs: its samples as well."""
    total: Callable[[Tensor, Head, Positions], Tensor]
    """(hidden_ND, head, positions) -> the sum over positions (over pairs for `pairs`), in nats but for wasserstein and dpo."""


def objective(name: str) -> Objective:
    """The objective of that name.

    Raises:
        ValueError: there is none; the sentence lists those there are.
    """
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}: choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]


def _target(at: Positions) -> tuple[Tensor, Tensor, Tensor]:
    assert at.ids_NK is not None and at.probs_NK is not None and at.tail_N is not None, "the objective needs targets"
    return at.ids_NK, at.probs_NK, at.tail_N


def _base(at: Positions) -> tuple[Tensor, Head]:
    assert at.base_hidden_ND is not None and at.base is not None, "the objective needs the base model"
    return at.base_hidden_ND, at.base


def _teacher(hidden: Tensor, head: Head, at: Positions) -> Tensor:
    return teacher_kl_sum(hidden, head, *_base(at), labels_N=at.labels_N, alpha=at.options.teacher_alpha)


def _dpo(hidden: Tensor, head: Head, at: Positions) -> Tensor:
    assert at.pairs is not None, "dpo needs pairs"
    return preference_sum(hidden, head, at.labels_N, *_base(at), at.pairs, beta=at.options.dpo_beta)


OBJECTIVES: dict[str, Objective] = {
    "forward_kl": Objective("KL(P‖Q)", "targets", lambda h, w, at: sparse_forward_kl(h, w, *_target(at), tail_mode=at.options.tail)),
    "reverse_kl": Objective("KL(Q‖P), K+1 events", "targets", lambda h, w, at: sparse_reverse_kl(h, w, *_target(at))),
    "jsd": Objective(
        "β·KL(P‖M) + (1−β)·KL(Q‖M), K+1 events", "targets", lambda h, w, at: sparse_jsd(h, w, *_target(at), beta=at.options.jsd_beta)
    ),
    "total_variation": Objective("½·Σ|p − q|, K+1 events", "targets", lambda h, w, at: sparse_total_variation(h, w, *_target(at))),
    "wasserstein": Objective("‖E_P u − E_Q u‖², K+1 places", "targets", lambda h, w, at: sparse_wasserstein(h, w, *_target(at))),
    "sft": Objective("−log q_y = KL(δ_y‖Q)", "labels", lambda h, w, at: cross_entropy_sum(h, w, at.labels_N)),
    "label_smoothing": Objective(
        "(1−ε)·(−log q_y) + ε·mean(−log q)", "labels",
        lambda h, w, at: label_smoothing_sum(h, w, at.labels_N, smoothing=at.options.smoothing),
    ),
    "gem": Objective(
        "Σ sg(w)·log q − log q_y, w = softmax(z/β)", "labels",
        lambda h, w, at: gem_sum(h, w, at.labels_N, beta=at.options.gem_beta),
    ),
    "emo": Objective("½·(CE + sg(CE/δᵀCQ)·δᵀCQ)", "labels", lambda h, w, at: emo_sum(h, w, at.labels_N)),
    "resident_teacher": Objective("KL(α·δ_y + (1−α)·P_base‖Q), P_base computed in the step", "base", _teacher),
    "dpo": Objective("−log σ(β·log-ratio of human text over the base's sample)", "pairs", _dpo),
}  # fmt: skip
