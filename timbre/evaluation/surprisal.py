"""How surprised an independent language model is by a text: mean, slope and spread of its NLL a token.

Machine text drifts along its way (entropy a step grows along a roll-out, 2511.11966) and is evener than human text. Each text is
read by itself, without its prompt, so that further human passages, which have none, are read alike.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from timbre.evaluation.coherence import score_tokens
from timbre.inference.scorer import Scorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FEATURES = ("mean", "slope", "spread")


def surprisal_features(nll_T: np.ndarray | None) -> list[float]:
    """Mean (nats a token), least-squares slope (nats a token from the first to the last) and standard deviation (nats); the
    slope of fewer than two tokens is 0, and all are 0 for a text without a token (None)."""
    if nll_T is None or not len(nll_T):
        return [0.0] * len(FEATURES)
    values = np.asarray(nll_T, np.float64)
    at = np.linspace(-0.5, 0.5, len(values)) if len(values) > 1 else np.zeros(1)
    slope = float(at @ values / (at @ at)) if len(values) > 1 else 0.0
    return [float(values.mean()), slope, float(values.std())]


def read_texts(scorer: Scorer, tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], batch_tokens: int) -> list[list[float]]:
    """The features of each text.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    found = score_tokens(scorer, tokenizer, [("", text) for text in texts], batch_tokens)
    return [surprisal_features(nll_T) for nll_T in found]
