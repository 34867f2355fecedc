"""What the model thinks of unseen human text: negative log-likelihood, entropy of its predictions, bits a byte.

Passages are scored as they are trained on, with the tokenizer's own start where it has one: a token that nothing conditions,
or that the cut of a passage chose, is not scored (`timbre.models.tokens`). NLL above entropy is over-confidence (the
calibration gap); ECE says how far the likeliest token can be believed.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from timbre.corpus.passages import Passage
from timbre.evaluation.ranks import calibration_error, confidence_counts, rank_counts
from timbre.inference.prompts import decoded
from timbre.inference.scorer import Scorer, right_padded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def score_passages(scorer: Scorer, passages: Sequence[Passage], tokenizer: "PreTrainedTokenizerBase") -> list[dict[str, Any]]:
    """One batch of passages: per passage item, cluster, sums of NLL and entropy in nats, tokens scored and their UTF-8 bytes,
    and the counts that `timbre.evaluation.ranks` makes of ranks and confidences.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    import torch

    with torch.inference_mode():
        ids_BT, mask_BT = right_padded([passage.token_ids.tolist() for passage in passages], scorer.device)
        hidden_BTD = scorer.hidden(ids_BT, mask_BT)
        rows = []
        for row, passage in enumerate(passages):
            n, first = len(passage.token_ids), passage.first_label
            found = scorer.predictions(hidden_BTD[row, first - 1 : n - 1], ids_BT[row, first:n])
            rows.append(
                {
                    "item": f"{passage.doc_id}#{passage.index}", "cluster": passage.doc_id,
                    "nll": -float(found.log_probs_N.sum()), "entropy": float(found.entropies_N.sum()), "tokens": n - first,
                    "bytes": len(decoded(tokenizer, passage.token_ids[first:].tolist()).encode()),
                    "ranks": rank_counts(found.ranks_N.tolist()),
                    "confidence": confidence_counts(found.confidences_N.numpy(), found.ranks_N.numpy() == 0),
                }
            )  # fmt: skip
        return rows


def likelihood_items(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items of every passage: sums of NLL and entropy in nats, and the tokens to weigh them by."""
    return [
        {"metric": name, "item": row["item"], "cluster": row["cluster"], "value": float(row[source])}
        for row in rows
        for name, source in (("nll", "nll"), ("nll_tokens", "tokens"), ("entropy", "entropy"))
    ]


def likelihood_summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over all scored tokens, in nats a token; bits a byte compare models with different tokenizers.

    Raises:
        ValueError: no token was scored.
    """
    tokens, size = sum(row["tokens"] for row in rows), sum(row["bytes"] for row in rows)
    if not tokens or not size:
        raise ValueError("no token of the test split could be scored: its documents are too short; add longer ones")
    nll, entropy = (math.fsum(row[name] for row in rows) for name in ("nll", "entropy"))
    return {
        "nll": nll / tokens, "entropy": entropy / tokens, "calibration_gap": (nll - entropy) / tokens,
        "bits_per_byte": nll / math.log(2) / size, "perplexity": math.exp(nll / tokens), "ece": calibration_error(rows),
        "tokens": tokens, "bytes": size, "passages": len(rows), "documents": len({row["cluster"] for row in rows}),
    }  # fmt: skip
