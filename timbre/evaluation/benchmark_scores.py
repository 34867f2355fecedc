"""Scoring items of public test sets with a model: likelihoods of pairs, and of the answers to a question.

| form | item rows |
|---|---|
| paired | `signed` = log P(first) − log P(second), `gap` its size (nats), `prefers_first` 1, ½ or 0 |
| choice | `correct`: the likeliest answer is a right one; `correct_by_byte`: the same, log-probabilities divided by bytes; |
| | `right_mass`: probability of the right ones among the answers; `stereotyped`: the likeliest answer is that one |

As in the lm-eval harness an answer is scored after the question and one space, by the sum of its tokens' log-probabilities.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from timbre.evaluation.benchmark_items import Choice, Paired
from timbre.evaluation.probes import Pair, Probe, score_pairs, tokenised
from timbre.evaluation.scorer import Scorer, right_padded

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
    start = [] if tokenizer.bos_token_id is None else [int(tokenizer.bos_token_id)]
    question = (*start, *tokenizer(item.question, add_special_tokens=False, verbose=False)["input_ids"])
    answers = [tuple(tokenizer(f" {text}", add_special_tokens=False, verbose=False)["input_ids"]) for text in item.choices]
    if not question or not all(answers):
        raise ValueError(f"{item.item}: this tokenizer finds no token in the question or in an answer")
    if (longest := len(question) + max(map(len, answers))) > context:
        raise ValueError(f"{item.item} has {longest} tokens and the model reads {context}: leave it out")
    return question, answers


def choice_rows(
    scorer: Scorer, group: Sequence[tuple[Choice, tuple[tuple[int, ...], list[tuple[int, ...]]]]]
) -> list[Row]:  # fmt: skip
    """Item rows of one batch of questions.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    import torch

    texts = [(*question, *answer) for _, (question, answers) in group for answer in answers]
    first = [len(question) for _, (question, answers) in group for _ in answers]
    with torch.inference_mode():
        ids_BT, mask_BT = right_padded(texts, scorer.device)
        hidden_BTD = scorer.hidden(ids_BT, mask_BT)
        sums = []
        for row, (text, start) in enumerate(zip(texts, first, strict=True)):
            log_prob_T, _ = scorer.scores(hidden_BTD[row, start - 1 : len(text) - 1], ids_BT[row, start : len(text)], entropy=False)
            sums.append(float(log_prob_T.sum()))
    rows, done = [], 0
    for item, (_, answers) in group:
        rows += _rows(item.item, item.cluster, item.category, choice_figures(item, sums[done : done + len(answers)]))
        done += len(answers)
    return rows


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


def _rows(item: str, cluster: str, category: str, figures: Mapping[str, float]) -> list[Row]:
    return [{"metric": name, "item": item, "cluster": cluster, "category": category, "value": value} for name, value in figures.items()]
