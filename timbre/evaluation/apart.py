"""How well a model's texts are told apart from the human continuations of the same prompts (`timbre.metrics.told_apart`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from timbre.metrics.encoder import Encoder
from timbre.metrics.told_apart import Side, told_apart

Row = dict[str, Any]
METRIC = "told_apart"
"""Items are called `told_apart_<family>`: a prompt's share in the area, whose mean is the area."""
_NO_ENCODER = "needs the sentence encoder; `timbre setup` fetches it"
Surprisals = Mapping[str, Sequence[Sequence[float]]]


def measure_told_apart(
    rows: Sequence[Row], others: Sequence[Row], encoder: Encoder | None, surprisals: Surprisals | str, *, tokens: int, seed: int
) -> tuple[list[Row], Row]:
    """Items a prompt and family, and the summary.

    Args:
        rows: lines of generations.jsonl; those of kind "style" count, each beside its human continuation.
        others: further human passages as long, {cluster, text}, for the human–human floor.
        surprisals: of an independent model, as `timbre.evaluation.reading.measure_surprisal` gives them, or why there are none.
        tokens: of every text on either side.
    """
    style = [row for row in rows if row["kind"] == "style"]
    documents = [row["cluster"] for row in style]
    read = {} if isinstance(surprisals, str) else surprisals
    own, human = (
        _side([row[field] for row in style], documents, encoder, read.get(side)) for field, side in (("text", "own"), ("human", "human"))
    )
    rest = _side([row["text"] for row in others], [row["cluster"] for row in others], encoder, read.get("others"))
    missing = {"encoder": _NO_ENCODER} | ({"surprisal": surprisals} if isinstance(surprisals, str) else {})
    found = told_apart(own, human, rest, missing=missing, seed=seed, of_one_length=True)
    items = [
        {"metric": f"{METRIC}_{name}", "item": row["prompt_id"], "cluster": row["cluster"], "value": float(value)}
        for name, apart in found.families.items()
        for row, value in zip(style, apart.contributions, strict=True)
    ]
    return items, found.summary() | {"length_tokens": tokens}


def _side(texts: Sequence[str], documents: Sequence[str], encoder: Encoder | None, surprisals: Sequence[Sequence[float]] | None) -> Side:
    arrays = {"encoder": encoder(texts)} if encoder is not None and len(texts) else {}
    return Side(texts, documents, arrays | ({"surprisal": np.asarray(surprisals, np.float64)} if surprisals and len(texts) else {}))
