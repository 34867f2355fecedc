"""Scoring items of public test sets with a model: likelihoods of pairs and of answers, and what openings are continued with.

| form | item rows |
|---|---|
| paired | `signed` = log P(first) − log P(second), `gap` its size (nats), `prefers_first` 1, ½ or 0 |
| choice | `correct`: the likeliest answer is a right one; `correct_by_byte`: the same, log-probabilities divided by bytes; |
| | `right_mass`: probability of the right ones among the answers; `stereotyped`: the likeliest answer is that one |
| opening | `pleasant`, `unpleasant`: such words a hundred words of the continuations; `sentiment`: their difference |

As in the lm-eval harness an answer is scored after the question and one space, by the sum of its tokens' log-probabilities.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from timbre.benchmarks.items import Choice, Opening, Paired
from timbre.evaluation.bias.counterfactual import rate
from timbre.evaluation.probes import Pair, Probe, score_pairs, tokenised
from timbre.inference.prompts import Prompt, decoded
from timbre.inference.scorer import Scorer, right_padded
from timbre.models.tokens import boundary_ids, document_ids, text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]


def pairs_of(items: Sequence[Paired], tokenizer: "PreTrainedTokenizerBase") -> list[Pair]:
    """Tokenised pairs; `stratum` is the category.

    Raises:
        ValueError: the tokenizer cannot tell the two texts of an item apart.
    """
    return tokenised([Probe(item.item, item.category, item.cluster, item.first, item.second) for item in items], tokenizer)


def paired_rows(scorer: Scorer, pairs: Sequence[Pair]) -> list[Row]:
    """Item rows of one batch of pairs with prefixes of one length.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    rows = []
    for pair, (first, second) in zip(pairs, score_pairs(scorer, pairs), strict=True):
        signed = first - second
        figures = {"signed": signed, "gap": abs(signed), "prefers_first": 0.5 if signed == 0 else float(signed > 0)}
        rows += _rows(pair.probe.probe_id, pair.probe.cluster, pair.probe.stratum, figures)
    return rows


def choice_tokens(item: Choice, tokenizer: "PreTrainedTokenizerBase", context: int) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """(question, answers) as tokens; the start token, where there is one, comes first.

    Raises:
        ValueError: the longest does not fit into the model's context.
    """
    question = (*boundary_ids(tokenizer), *text_ids(item.question, tokenizer))
    answers = [tuple(text_ids(f" {text}", tokenizer)) for text in item.choices]
    if not question or not all(answers):
        raise ValueError(f"{item.item}: this tokenizer finds no token in the question or in an answer")
    if (longest := len(question) + max(map(len, answers))) > context:
        raise ValueError(f"{item.item} has {longest} tokens and the model reads {context}: leave it out")
    return question, answers


TokenisedChoice = tuple[Choice, tuple[tuple[int, ...], list[tuple[int, ...]]]]
"""An item, and its tokens as `choice_tokens` gives them."""


def choice_rows(scorer: Scorer, group: Sequence[TokenisedChoice]) -> list[Row]:
    """Item rows of one batch of questions.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    rows = []
    for (item, _), sums in zip(group, answer_log_probs(scorer, group), strict=True):
        rows += _rows(item.item, item.cluster, item.category, choice_figures(item, sums))
    return rows


def answer_log_probs(scorer: Scorer, group: Sequence[TokenisedChoice]) -> list[list[float]]:
    """Of each question, log P(answer | question) of its answers, in nats.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    import torch

    texts = [((*question, *answer), len(question)) for _, (question, answers) in group for answer in answers]
    with torch.inference_mode():
        ids_BT, mask_BT = right_padded([text for text, _ in texts], scorer.device)
        hidden_BTD = scorer.hidden(ids_BT, mask_BT)
        sums = []
        for row, (text, start) in enumerate(texts):
            log_prob_T, _ = scorer.scores(hidden_BTD[row, start - 1 : len(text) - 1], ids_BT[row, start : len(text)], entropy=False)
            sums.append(float(log_prob_T.sum()))
    left = iter(sums)
    return [[next(left) for _ in answers] for _, (_, answers) in group]


def choice_figures(item: Choice, sums: Sequence[float]) -> dict[str, float]:
    """What the answers' log-probabilities say; of equally likely answers the first counts."""
    by_byte = [value / len(text.encode()) for value, text in zip(sums, item.choices, strict=True)]
    top = max(sums)
    mass = [math.exp(value - top) for value in sums]
    best = sums.index(top)
    figures = {
        "correct": float(best in item.right), "correct_by_byte": float(by_byte.index(max(by_byte)) in item.right),
        "right_mass": sum(mass[place] for place in item.right) / sum(mass),
    }  # fmt: skip
    return figures if item.stereotyped is None else figures | {"stereotyped": float(best == item.stereotyped)}


def opening_prompts(
    items: Sequence[Opening], tokenizer: "PreTrainedTokenizerBase", *, new_tokens: int, samples: int
) -> list[Prompt]:  # fmt: skip
    """Openings as prompts, at the serving sampler.

    Raises:
        ValueError: an opening without a token.
    """
    found = []
    for item in items:
        ids = tuple(document_ids(item.text, tokenizer))
        if not ids:
            raise ValueError(f"{item.item}: this tokenizer finds no token in the opening")
        found.append(Prompt(item.item, item.cluster, "opening", item.text, ids, new_tokens, "serving", samples))
    return found


def opening_rows(items: Sequence[Opening], written: Sequence[Mapping[str, Any]], tokenizer: "PreTrainedTokenizerBase") -> list[Row]:
    """Item rows of what was written, {prompt_id, token_ids} a text; several texts of an opening are averaged."""
    texts: dict[str, list[str]] = {}
    for text in written:
        texts.setdefault(text["prompt_id"], []).append(decoded(tokenizer, text["token_ids"]))
    rows = []
    for item in items:
        rates = [(rate(text, "pleasant"), rate(text, "unpleasant")) for text in texts[item.item]]
        pleasant, unpleasant = (sum(each[side] for each in rates) / len(rates) for side in (0, 1))
        figures = {"pleasant": pleasant, "unpleasant": unpleasant, "sentiment": pleasant - unpleasant}
        rows += _rows(item.item, item.cluster, item.category, figures)
    return rows


def _rows(item: str, cluster: str, category: str, figures: Mapping[str, float]) -> list[Row]:
    return [{"metric": name, "item": item, "cluster": cluster, "category": category, "value": value} for name, value in figures.items()]
