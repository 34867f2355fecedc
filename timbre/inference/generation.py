"""Texts for prompts: batched, with a key/value cache, and each text independent of the batch it was written in.

Every text has a random stream of its own, one number a token, drawn before anything is generated. It has exactly the
number of tokens that its prompt asks for: tokens that end or structure a conversation (eos and all special ones) are taken
out of the distribution, on every model alike. Prompts of unequal length share a batch through padding on the left, which
no position attends to and no position number counts; a model that takes no position numbers gets batches of equal length.
"""

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.config import SamplerConfig
from timbre.inference.prompts import Prompt, SamplerName
from timbre.inference.sampling import draw, process, sample
from timbre.inference.scorer import Scorer
from timbre.inference.steering import Steering, steer
from timbre.inference.watermark import Marking, Watermark, keys_of
from timbre.models.tokens import unused_ids, vocabulary_size

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

PLAIN, GREEDY = SamplerConfig(), SamplerConfig(temperature=0)
MEASURED = Watermark(keys_of(b"timbre evaluation"))
"""The mark in texts that a release is measured on. Its key is no secret: what a mark does to texts is the same under every key."""


@dataclass(frozen=True)
class TextRequest:
    """One text that is to be written: the prompt, and which of its samples."""

    prompt: Prompt
    sample: int = 0


@dataclass(frozen=True)
class Written:
    """Token ids (B, T) in the order of what was asked, and the rank of each among the tokens that could have come, from 0."""

    ids_BT: np.ndarray
    ranks_BT: np.ndarray
    log_probs_BT: np.ndarray | None = None
    """Of each token at T = 1 among the tokens that could have come, in nats; only where asked for."""


def samplers(serving: SamplerConfig) -> dict[SamplerName, SamplerConfig]:
    """What the names of samplers in prompts mean."""
    return {"serving": serving, "plain": PLAIN, "greedy": GREEDY}


def every_text(prompts: Sequence[Prompt]) -> list[TextRequest]:
    """All samples of all prompts, in order."""
    return [TextRequest(prompt, number) for prompt in prompts for number in range(prompt.samples)]


def batched(requests: Sequence[TextRequest], batch_tokens: int, *, padded: bool) -> list[list[TextRequest]]:
    """Batches of texts of one length, at most `batch_tokens` tokens with padding; the shorter prompts first, else in order.

    Args:
        padded: whether prompts of unequal length may share a batch.
    """
    groups: list[list[TextRequest]] = []
    for each in sorted(requests, key=lambda one: (one.prompt.new_tokens, len(one.prompt.token_ids))):
        length, new = len(each.prompt.token_ids), each.prompt.new_tokens
        last = groups[-1][0].prompt if groups else None
        fits = last is not None and last.new_tokens == new and (padded or len(last.token_ids) == length)
        if fits and (len(groups[-1]) + 1) * (length + new) <= batch_tokens:
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def takes_positions(model: Any) -> bool:
    """Whether the decoder can be told the positions of its input, which padding on the left needs."""
    return "position_ids" in inspect.signature(model.base_model.forward).parameters


def forbidden_tokens(tokenizer: "PreTrainedTokenizerBase", generation_config: Any = None) -> list[int]:
    """Ids that are never written: special tokens, what the model's own generation settings call the end, and ids of no token."""
    ends = getattr(generation_config, "eos_token_id", None)
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    control = (*tokenizer.all_special_ids, *ends, *unused_ids(tokenizer))
    return sorted({int(token) for token in control if token < vocabulary_size(tokenizer)})


def continue_prompts(
    scorer: Scorer, requests: Sequence[TextRequest], *, rules: Mapping[SamplerName, SamplerConfig], forbidden: Sequence[int], seed: int,
    scored: bool = False, base: Scorer | None = None, steering: Steering | None = None, mark: Watermark | None = None,
) -> Written:  # fmt: skip
    """A batch of texts of one length, each by the sampler that its prompt names; with log-probabilities where they are to be `scored`.

    With a `base` model, tokens are drawn from its mixture with the scorer's as `steering` says, which is how a server writes. With a
    `mark`, texts at the serving sampler carry it, as a server's do; greedy ones cannot.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    import torch
    from transformers import DynamicCache

    (new_tokens,) = {each.prompt.new_tokens for each in requests}
    device = scorer.device
    uniform_BT = torch.tensor(np.stack([_stream(each, seed, new_tokens) for each in requests]), device=device)
    ids_BT, mask_BS = _left_padded([each.prompt.token_ids for each in requests], new_tokens, device)
    positions_BS = (mask_BS.cumsum(-1) - 1).clamp(min=0) if not bool(mask_BS.all()) else None
    rows = {
        name: torch.tensor([index for index, each in enumerate(requests) if each.prompt.sampler == name], dtype=torch.long, device=device)
        for name in sorted({each.prompt.sampler for each in requests})
    }
    banned = torch.tensor(forbidden, dtype=torch.long, device=device)
    written_BT = torch.empty(len(requests), new_tokens, dtype=torch.long, device=device)
    ranks_BT = torch.empty_like(written_BT)
    markings = [mark.begin() if mark is not None and each.prompt.sampler == "serving" else None for each in requests]
    log_probs_BT = torch.empty(written_BT.shape, dtype=torch.float64, device=device) if scored else None
    cache, base_cache, width = DynamicCache(), DynamicCache(), ids_BT.shape[1]
    with torch.inference_mode():
        for step in range(new_tokens):
            seen = width + step
            at_BT = None if positions_BS is None else positions_BS[:, seen - ids_BT.shape[1] : seen]
            hidden_BTD = scorer.hidden(ids_BT, mask_BS[:, :seen], cache, at_BT)
            logits_BV = _without(scorer.logits(hidden_BTD[:, -1]), banned)
            if base is not None and steering is not None:
                hidden_BTD = base.hidden(ids_BT, mask_BS[:, :seen], base_cache, at_BT)
                logits_BV = steer(logits_BV, _without(base.logits(hidden_BTD[:, -1]), banned), steering)
            for name, chosen in rows.items():
                marked = [markings[row] for row in chosen.tolist()]
                drawn = _marked if marked[0] is not None and rules[name].temperature > 0 else _plain
                written_BT[chosen, step] = drawn(logits_BV[chosen], uniform_BT[chosen, step], rules[name], marked)
            ids_BT = written_BT[:, step : step + 1]
            ranks_BT[:, step] = (logits_BV > logits_BV.gather(-1, ids_BT)).sum(-1)
            if log_probs_BT is not None:
                log_probs_BT[:, step] = (logits_BV.gather(-1, ids_BT)[:, 0] - logits_BV.logsumexp(-1)).double()
    log_probs = None if log_probs_BT is None else log_probs_BT.cpu().numpy()
    return Written(written_BT.cpu().numpy(), ranks_BT.cpu().numpy(), log_probs)


def _plain(logits_BV: "torch.Tensor", uniform_B: "torch.Tensor", rule: SamplerConfig, _: "list[Marking | None]") -> "torch.Tensor":
    tokens: torch.Tensor = sample(logits_BV, uniform_B, rule)
    return tokens


def _marked(logits_BV: "torch.Tensor", uniform_B: "torch.Tensor", rule: SamplerConfig, markings: "list[Marking | None]") -> "torch.Tensor":
    """Tokens drawn from what the mark leaves of the processed distribution: the server's arithmetic, in numpy."""
    import torch

    processed_BV = process(logits_BV.cpu().numpy(), rule)
    rows = [marking.marked(row_V) for marking, row_V in zip(markings, processed_BV, strict=True) if marking is not None]
    tokens_B = draw(np.stack(rows), uniform_B.cpu().numpy())
    for marking, token in zip(markings, tokens_B.tolist(), strict=True):
        if marking is not None:
            marking.push(token)
    return torch.from_numpy(tokens_B).to(logits_BV.device)


def _left_padded(prompts: Sequence[Sequence[int]], new_tokens: int, device: "torch.device") -> "tuple[torch.Tensor, torch.Tensor]":
    """Ids (B, P) that end together, and a 0/1 mask (B, P + T) that covers what will be written as well."""
    import torch

    width = max(map(len, prompts))
    ids = torch.tensor([[*[0] * (width - len(row)), *row] for row in prompts], dtype=torch.long, device=device)
    mask = [[*[0] * (width - len(row)), *[1] * (len(row) + new_tokens)] for row in prompts]
    return ids, torch.tensor(mask, dtype=torch.long, device=device)


def _without(logits_BV: "torch.Tensor", banned: "torch.Tensor") -> "torch.Tensor":
    import torch

    if not bool(torch.isfinite(logits_BV).all()):
        raise FloatingPointError("the model gave NaN or infinite logits while writing: its texts cannot be measured")
    return logits_BV.index_fill(-1, banned, float("-inf"))


def _stream(requests: TextRequest, seed: int, length: int) -> np.ndarray:
    """The text's own uniform numbers in [0, 1), float64."""
    name = f"{seed}/{requests.prompt.kind}/{requests.prompt.prompt_id}" + (f"/{requests.sample}" if requests.sample else "")
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big")).random(length)
