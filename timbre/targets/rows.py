"""From scores to the rows that are stored: the observed token mixed in, draws counted, counterfactuals mirrored."""

import numpy as np

from timbre.corpus.passages import Passage
from timbre.store import TargetRow
from timbre.store.coding import spread, tally
from timbre.targets.continuations import Continuations, single
from timbre.targets.debias import Swap
from timbre.targets.mixture import SparseDistributions, draws_of_target, mix_observed, mix_pooled
from timbre.targets.scoring import Array, Draws, PassageScores


def target_row(
    passage: Passage, scores: PassageScores, alpha: float, continuations: Continuations | None, draws: Draws | None, vocab_size: int,
    eta_N: Array | None,
) -> TargetRow:  # fmt: skip
    """The stored row of a passage.

    Args:
        continuations: where others wrote on from the same contexts; their log-probabilities are in `scores.also_NM`.
        draws: of the coding 'sampled'; None stores the likeliest tokens.
        eta_N: weights of the n-gram component, to be kept for looking at.
    """
    if draws is not None:
        mixed = _drawn(passage, scores, alpha, continuations, draws, vocab_size)
    elif continuations is not None:
        assert scores.also_NM is not None, "their probabilities were asked for"
        probs_NM = np.exp(scores.also_NM[:, : continuations.ids_NM.shape[1]].astype(np.float64))
        mixed = mix_pooled(scores.distributions, continuations.ids_NM, continuations.shares_NM, probs_NM, alpha)
    else:
        mixed = mix_observed(scores.distributions, scores.observed_N, np.exp(scores.log_probs_N.astype(np.float64)), alpha)
    return TargetRow(
        passage.doc_id, passage.index, passage.token_ids, mixed.ids_NK, mixed.probs_NK, mixed.tail_N, passage.first_label, eta_N
    )


def counterfactual_row(row: TargetRow, swap: Swap) -> TargetRow:
    """The row of the swapped passage: the same masses on swapped tokens, since the reference distribution is symmetric under the swap."""
    ids = swap.targets(row.ids_TK, row.token_ids_T, row.first_label)
    order = np.argsort(ids, axis=1)
    return TargetRow(
        row.doc_id, row.index, swap.ids(row.token_ids_T), np.take_along_axis(ids, order, axis=1),
        np.take_along_axis(row.probs_TK, order, axis=1), row.tail_T, row.first_label, row.eta_T,
    )  # fmt: skip


def _drawn(
    passage: Passage, scores: PassageScores, alpha: float, continuations: Continuations | None, draws: Draws, vocab_size: int
) -> SparseDistributions:
    assert scores.drawn_ND is not None, "draws were asked for"
    written, positions = continuations or single(passage), len(scores)
    uniforms = draws.uniforms(passage, positions, "observed"), draws.uniforms(passage, positions, "which")
    drawn_ND = draws_of_target(scores.drawn_ND, written.ids_NM, written.shares_NM, alpha, *uniforms)
    ids_NK, probs_NK = spread(*tally(drawn_ND), draws=draws.count, vocab_size=vocab_size)
    return SparseDistributions(ids_NK, probs_NK, np.zeros(positions, np.float32))
