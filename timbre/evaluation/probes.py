"""Paired likelihood probes: two texts that differ in one thing, and which of them the model finds likelier.

Bias: a counterfactual pair, the same sentence about two groups; signed = log P(text_a) − log P(text_b), gap = its size.
Facts: a true and a false sentence; margin = log P(true) − log P(false), correct if above 0. Log-probabilities are sums over
the text's tokens and are not divided by their number: the two texts share all but the words under test, and dividing by two
different lengths would let the shared words weigh in. A text is scored after the tokenizer's start token, so that its first
token has a condition too; without such a token the first token is not scored.

What two texts share at the beginning has the same probability in both and cancels, so it is run through the model once, for
all texts that begin alike, and only what follows is scored, on the kept keys and values.
"""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from timbre.inference.scorer import Scorer, right_padded
from timbre.models.tokens import boundary_ids, text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ProbeKind = Literal["bias", "facts"]
_FIELDS: dict[ProbeKind, tuple[str, str, str]] = {"bias": ("text_a", "text_b", "template"), "facts": ("true", "false", "fact")}


@dataclass(frozen=True)
class Probe:
    """One pair. `stratum` is its template; `cluster` what its result depends on together with others'."""

    probe_id: str
    stratum: str
    cluster: str
    first: str
    second: str


@dataclass(frozen=True)
class Pair:
    """A tokenised probe: what both texts begin with, and how each goes on (at least one token each)."""

    probe: Probe
    prefix: tuple[int, ...]
    first: tuple[int, ...]
    second: tuple[int, ...]

    @property
    def cost(self) -> int:
        return 2 * max(len(self.first), len(self.second))


def read_probes(path: Path, kind: ProbeKind) -> list[Probe]:
    """Read a JSON-lines file of probes.

    Raises:
        ValueError: a line is not JSON, lacks a field, repeats an id, or its two texts are the same; the sentence names the line.
    """
    first, second, cluster = _FIELDS[kind]
    probes: dict[str, Probe] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            probe = Probe(str(row["id"]), str(row["template"]), str(row[cluster]), row[first], row[second])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name}, line {number}: not a {kind} probe ({error!r})") from error
        if probe.probe_id in probes:
            raise ValueError(f"{path.name}, line {number}: the id {probe.probe_id!r} is there twice")
        if probe.first == probe.second:
            raise ValueError(f"{path.name}, line {number}: the two texts of {probe.probe_id!r} are the same")
        probes[probe.probe_id] = probe
    if not probes:
        raise ValueError(f"{path.name} holds no probes")
    return list(probes.values())


def same_share(probes: Sequence[Probe], count: int | None, seed: int) -> list[Probe]:
    """`count` probes with the same share of every template (largest remainders; ties and members drawn by `seed`)."""
    if count is None or count >= len(probes):
        return list(probes)
    drawn = random.Random(seed)
    strata: dict[str, list[Probe]] = {}
    for probe in sorted(probes, key=lambda probe: probe.probe_id):
        strata.setdefault(probe.stratum, []).append(probe)
    quota = quotas({name: len(members) for name, members in sorted(strata.items())}, count, tie=drawn.random)
    return [probe for name, members in sorted(strata.items()) for probe in drawn.sample(members, quota[name])]


def quotas(sizes: Mapping[str, int], count: int, *, tie: Callable[[], float] = lambda: 0.0) -> dict[str, int]:
    """How many of each stratum make `count` with the same share of every one, by largest remainders; `tie` decides between equals."""
    share = {name: size * count / sum(sizes.values()) for name, size in sizes.items()}
    quota = {name: int(value) for name, value in share.items()}
    by_remainder = sorted(share, key=lambda name: (quota[name] - share[name], tie()))
    for name in by_remainder[: count - sum(quota.values())]:
        quota[name] += 1
    return quota


def tokenised(probes: Sequence[Probe], tokenizer: "PreTrainedTokenizerBase") -> list[Pair]:
    """Pairs with their common prefix split off. The start token, where there is one, is part of the prefix.

    Raises:
        ValueError: a text has no token, or the two have the same ones.
    """
    start = boundary_ids(tokenizer)
    pairs = []
    for probe in probes:
        first, second = ((*start, *text_ids(text, tokenizer)) for text in (probe.first, probe.second))
        if min(len(first), len(second)) <= len(start) or first == second:
            raise ValueError(f"probe {probe.probe_id!r}: this tokenizer cannot tell its two texts apart")
        shared = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second)))
        shared = min(shared, len(first) - 1, len(second) - 1)
        pairs.append(Pair(probe, first[:shared], first[shared:], second[shared:]))
    return pairs


def batches_of_pairs(pairs: Sequence[Pair], limit: int) -> list[list[Pair]]:
    """Batches of one prefix length each, equal prefixes side by side, with at most `limit` padded tokens after the prefix."""
    result: list[list[Pair]] = []
    widest = 0
    for pair in sorted(pairs, key=lambda pair: (len(pair.prefix), pair.cost, pair.prefix, pair.probe.probe_id)):
        fits = result and len(result[-1][0].prefix) == len(pair.prefix) and (len(result[-1]) + 1) * max(widest, pair.cost) <= limit
        if fits:
            result[-1].append(pair)
            widest = max(widest, pair.cost)
        else:
            result.append([pair])
            widest = pair.cost
    return result


def score_pairs(scorer: Scorer, pairs: Sequence[Pair]) -> list[tuple[float, float]]:
    """Per pair the log-probabilities, in nats, of how its two texts go on after what they share; all prefixes equally long.

    Raises:
        FloatingPointError: the model gave NaN or infinite logits.
    """
    import torch

    with torch.inference_mode():
        cache, kept = _prefix_cache(scorer, pairs)
        # The last shared token is fed again with each text, so that the first token that differs is predicted there.
        texts = [(*pair.prefix[-1:], *side) for pair in pairs for side in (pair.first, pair.second)]
        ids_BT, mask_BT = right_padded(texts, scorer.device)
        mask_BS = torch.cat([mask_BT.new_ones(len(texts), kept), mask_BT], dim=1)
        hidden_BTD = scorer.hidden(ids_BT[:, :-1], mask_BS[:, :-1], cache)
        scored_BT = mask_BT[:, 1:].bool()
        log_prob_N, _ = scorer.scores(hidden_BTD[scored_BT], ids_BT[:, 1:][scored_BT], entropy=False)
        sums = [float(part.sum()) for part in torch.split(log_prob_N, [len(text) - 1 for text in texts])]
    return list(zip(sums[::2], sums[1::2], strict=True))


def probe_rows(kind: ProbeKind, pairs: Sequence[Pair], scores: Sequence[tuple[float, float]]) -> list[dict[str, Any]]:
    """Item rows (metric, item, cluster, value) of scored pairs."""
    rows = []
    for pair, (first, second) in zip(pairs, scores, strict=True):
        difference = first - second
        figures: Mapping[str, float] = (
            {"bias_signed": difference, "bias_gap": abs(difference)}
            if kind == "bias"
            else {"fact_margin": difference, "fact_correct": float(difference > 0)}
        )
        rows += [
            {"metric": name, "item": pair.probe.probe_id, "cluster": pair.probe.cluster, "value": value} for name, value in figures.items()
        ]
    return rows


def _prefix_cache(scorer: Scorer, pairs: Sequence[Pair]) -> tuple[Any, int]:
    """Keys and values of each pair's prefix but its last token, twice a pair; each distinct prefix is computed once."""
    import torch
    from transformers import DynamicCache

    kept = max(len(pairs[0].prefix) - 1, 0)
    assert all(len(pair.prefix) == len(pairs[0].prefix) for pair in pairs)
    if not kept:
        return None, 0
    distinct = sorted({pair.prefix[:-1] for pair in pairs})
    row = {prefix: index for index, prefix in enumerate(distinct)}
    ids_PT = torch.tensor(distinct, dtype=torch.long, device=scorer.device)
    cache = DynamicCache()
    scorer.hidden(ids_PT, torch.ones_like(ids_PT), cache)
    rows = torch.tensor([row[pair.prefix[:-1]] for pair in pairs for _ in range(2)], device=scorer.device)
    cache.batch_select_indices(rows)
    return cache, kept
