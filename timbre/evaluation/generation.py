"""Continuations: batched, with a key/value cache, and each prompt's text independent of the batch it was written in.

All prompts of a batch are equally long, so nothing is padded. Each prompt has a random stream of its own, one number a
token, drawn before anything is generated. Every continuation has exactly the same number of tokens: tokens that end or
structure a conversation (eos and all special ones) are taken out of the distribution, on every model alike.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.config import SamplerConfig
from timbre.evaluation.prompts import Prompt
from timbre.evaluation.scorer import Scorer
from timbre.sampling.processors import sample

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

GREEDY = SamplerConfig(temperature=0)


def forbidden_tokens(tokenizer: "PreTrainedTokenizerBase", generation_config: Any = None) -> list[int]:
    """Ids that are never written: special tokens, and what the model's own generation settings call the end."""
    ends = getattr(generation_config, "eos_token_id", None)
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    return sorted({int(token) for token in (*tokenizer.all_special_ids, *ends) if token < len(tokenizer)})


def continue_prompts(
    scorer: Scorer, prompts: Sequence[Prompt], *, new_tokens: int, sampler: SamplerConfig, forbidden: Sequence[int], seed: int
) -> np.ndarray:
    """`new_tokens` token ids for each prompt, shape (B, new_tokens); style prompts by `sampler`, memorisation ones greedily.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    import torch
    from transformers import DynamicCache

    uniform_BT = torch.tensor(np.stack([_stream(prompt, seed, new_tokens) for prompt in prompts]), device=scorer.device)
    ids_BT = torch.tensor([prompt.token_ids for prompt in prompts], dtype=torch.long, device=scorer.device)
    sampled = torch.tensor(
        [index for index, prompt in enumerate(prompts) if prompt.kind == "style"], dtype=torch.long, device=scorer.device
    )
    certain = torch.tensor(
        [index for index, prompt in enumerate(prompts) if prompt.kind != "style"], dtype=torch.long, device=scorer.device
    )
    banned = torch.tensor(forbidden, dtype=torch.long, device=scorer.device)
    written_BT = torch.empty(len(prompts), new_tokens, dtype=torch.long, device=scorer.device)
    cache = DynamicCache()
    mask_BS = ids_BT.new_ones(len(prompts), ids_BT.shape[1] + new_tokens)
    with torch.inference_mode():
        for step in range(new_tokens):
            seen = mask_BS.shape[1] - new_tokens + step
            hidden_BTD = scorer.hidden(ids_BT, mask_BS[:, :seen], cache)
            logits_BV = _without(scorer.logits(hidden_BTD[:, -1]), banned)
            for rows, rule in ((sampled, sampler), (certain, GREEDY)):
                if len(rows):
                    written_BT[rows, step] = sample(logits_BV[rows], uniform_BT[rows, step], rule)
            ids_BT = written_BT[:, step : step + 1]
    return written_BT.cpu().numpy()


def _without(logits_BV: "torch.Tensor", banned: "torch.Tensor") -> "torch.Tensor":
    import torch

    if not bool(torch.isfinite(logits_BV).all()):
        raise FloatingPointError("the model gave NaN or infinite logits while writing: its texts cannot be measured")
    return logits_BV.index_fill(-1, banned, float("-inf"))


def _stream(prompt: Prompt, seed: int, length: int) -> np.ndarray:
    """The prompt's own uniform numbers in [0, 1), float64."""
    digest = hashlib.sha256(f"{seed}/{prompt.kind}/{prompt.prompt_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big")).random(length)
