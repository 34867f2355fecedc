"""Does it read as human text does, to an independent model: the share of outputs inside the human range of per-token NLL.

Word salad is less likely to a language model than anything people write; a text that repeats itself is far more likely.
So the range is two-sided. It is made of human continuations of the same prompts at the same length, and scored as the
outputs are: the text after its prompt, both as text, under the scorer's own tokenizer. The scorer is a model that the user
names, else the base model, which is not independent of a candidate made from it. So the figure is named after its reader
(`name`), and under the base it is called what it is: within the human range of likelihood under the base, no coherence.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from timbre.inference.scorer import Scorer, batches, right_padded
from timbre.models.tokens import boundary_ids, start_ids, text_ids
from timbre.statistics import rate_bound

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerBase

    Floats = NDArray[np.float64]

COVERAGE = 0.98
"""The human range leaves out 1% of human texts at each end."""
ENOUGH = 100
"""Human texts from which the quantiles themselves are used."""
ITSELF = "the base model itself"
"""What the reader is called where it is no independent one."""
_NOT_SENSE = ", which finds gibberish of its own kind likely: this tells salad and loops from prose, not sense from nonsense"
NAME = "within the human range of likelihood under {}"
"""What the figure is called."""
LEAST = 3
"""Fewer human texts make no range. That of so few is valid and very wide: the bounds of the share tell no less than they do."""


def human_range(nll: "Sequence[float] | Floats") -> tuple[float, float]:
    """The range of per-token NLL into which 98 of 100 fresh human texts fall.

    From 100 texts on, their 1% and 99% quantiles. Below that the extremes of a sample are too near (of 32 texts, 6 in 100 fresh
    ones lie beyond them), and the prediction interval of Student's t is used: mean ± t·s·√(1 + 1/n) (Whitmore 1986).

    Raises:
        ValueError: fewer than 3 texts, or an NLL that is not finite.
    """
    import numpy as np
    from scipy import stats

    values = np.asarray(nll, np.float64)
    if len(values) < LEAST:
        raise ValueError(f"{len(values)} human texts make no range of likelihood: {LEAST} are the least")
    if not np.isfinite(values).all():
        raise ValueError("the likelihood of a human text is not a number")
    tail = (1 - COVERAGE) / 2
    if len(values) >= ENOUGH:
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)
    reach = float(stats.t.ppf(1 - tail, len(values) - 1)) * float(values.std(ddof=1)) * math.sqrt(1 + 1 / len(values))
    return float(values.mean()) - reach, float(values.mean()) + reach


def measure(
    rows: Sequence[Mapping[str, Any]], own: "Sequence[float | None] | Floats", human: "Sequence[float] | Floats", scorer: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The share of outputs inside the human range, with one-sided 95% bounds.

    Args:
        rows: lines of generations.jsonl, for the names of items and clusters.
        own: per-token NLL of each row's text, nats; None for one without a token, which is outside any range.
        human: of each human text.
        scorer: who scored, as people call it.

    Returns:
        Items `coherent` (0 or 1 a text) and `text_nll`, and the summary: scorer, name, texts, inside, below, above, empty, share,
        low, high, human_low, human_high, human_texts, human_nll, nll, sentence. Without outputs, or with too few human texts,
        there are no items, the share is None, so that no gate can pass on it, and the sentence says why.

    Raises:
        FloatingPointError: a NLL is NaN or infinite.
    """
    values = [None if value is None else float(value) for value in own]
    assert len(values) == len(rows)
    if any(value is not None and not math.isfinite(value) for value in values):
        raise FloatingPointError(f"{scorer} gave a likelihood that is not a number: no coherence can be reported")
    nothing = dict.fromkeys(("share", "low", "high", "inside", "below", "above", "human_low", "human_high", "human_nll", "nll"))
    summary: dict[str, Any] = {
        "scorer": scorer, "name": NAME.format("the base" if scorer == ITSELF else scorer), "texts": len(rows), "human_texts": len(human),
        "empty": values.count(None), **nothing,
    }  # fmt: skip
    if not rows:
        return [], summary | {"sentence": "No output was scored."}
    try:
        low, high = human_range(human)
    except ValueError as error:
        return [], summary | {"sentence": f"No human range: {error}."}
    known = [value for value in values if value is not None]
    items = [
        {"metric": metric, "item": f"{row['kind']}/{row['prompt_id']}/{row['sample']}", "cluster": row["cluster"], "value": figure}
        for row, value in zip(rows, values, strict=True)
        for metric, figure in (("coherent", float(inside(value, low, high))), ("text_nll", value))
        if figure is not None
    ]
    bound = rate_bound([item["value"] for item in items if item["metric"] == "coherent"], [row["cluster"] for row in rows])
    below, above = sum(value < low for value in known), sum(value > high for value in known)
    return items, summary | {
        "share": bound.mean, "low": bound.low, "high": bound.high, "inside": len(known) - below - above, "below": below, "above": above,
        "human_low": low, "human_high": high, "human_nll": math.fsum(human) / len(human),
        "nll": math.fsum(known) / len(known) if known else None,
        "sentence": (
            f"Scored by {scorer}{_NOT_SENSE if scorer == ITSELF else ''}: "
            f"{below} below and {above} above the human {low:.2f} to {high:.2f} nats a token"
            f" ({len(human)} texts); 95% bounds of the share {bound.low:.0%} and {bound.high:.0%}."
        ),
    }  # fmt: skip


def inside(nll: float | None, low: float, high: float) -> bool:
    """Whether an output reads like human text; one without a token does not."""
    return nll is not None and low <= nll <= high


def score_texts(
    scorer: Scorer, tokenizer: "PreTrainedTokenizerBase", pairs: Sequence[tuple[str, str]], batch_tokens: int
) -> list[float | None]:
    """Per-token NLL (nats) of each text after its prompt; None for a text without a token. See `score_tokens`."""
    return [None if found is None else float(found.mean()) for found in score_tokens(scorer, tokenizer, pairs, batch_tokens)]


def score_tokens(
    scorer: Scorer, tokenizer: "PreTrainedTokenizerBase", pairs: Sequence[tuple[str, str]], batch_tokens: int
) -> "list[Floats | None]":
    """NLL (nats) of every token of each text after its prompt, given as (prompt, text); None for a text without a token.

    The tokenizer's own start, where it has one, stands before the prompt. Prompt and text are tokenised apart, human and
    generated alike, so that no token reaches across their border.
    What does not fit into the scorer's context is cut from the front of the prompt, then from the end of the text.

    Raises:
        FloatingPointError: the scorer gave NaN or infinite logits.
    """
    import torch

    context = int(getattr(scorer.model.config, "max_position_embeddings", None) or 1 << 20)
    begin = list(start_ids(tokenizer))
    rows: list[tuple[int, list[int], int]] = []
    for number, (prompt, text) in enumerate(pairs):
        written = text_ids(text, tokenizer)[: context - max(len(begin), 1)]
        room = context - len(written) - len(begin)
        given = [*begin, *(text_ids(prompt, tokenizer)[-room:] if room else [])] or list(boundary_ids(tokenizer))
        if written and (given or len(written) > 1):
            rows.append((number, [*given, *written], max(len(given), 1)))
    result: list[Floats | None] = [None] * len(pairs)
    with torch.inference_mode():
        for group in batches(rows, lambda row: len(row[1]), batch_tokens):
            ids_BT, mask_BT = right_padded([ids for _, ids, _ in group], scorer.device)
            hidden_BTD = scorer.hidden(ids_BT, mask_BT)
            for row, (number, ids, start) in enumerate(group):
                log_prob_T, _ = scorer.scores(hidden_BTD[row, start - 1 : len(ids) - 1], ids_BT[row, start : len(ids)], entropy=False)
                result[number] = -log_prob_T.numpy()
    return result
