"""Texts of two sides that answer the same prompt, side by side and cut to the same length."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timbre.artifacts import digest_json
from timbre.metrics.texts import Text
from timbre.statistics import round_robin
from timbre.words import beginning, words


@dataclass(frozen=True)
class Pair:
    """A text of side A and one of side B. Pairs of one cluster (document, or prompt) are not independent."""

    pair_id: str
    cluster: str
    prompt: str
    a: str
    b: str

    def words(self) -> tuple[int, int]:
        return len(words(self.a)), len(words(self.b))


@dataclass(frozen=True)
class Paired:
    """Pairs, and how many texts of each side found no partner or held no word."""

    pairs: list[Pair]
    alone: tuple[int, int]
    empty: int


def pair_texts(a: Sequence[Text], b: Sequence[Text], most_words: int) -> Paired:
    """The i-th text of a prompt on one side beside the i-th on the other; a side with one text a prompt lends it to all.

    Texts belong together by their prompt, or by the document they name if they have none. Both sides are cut after
    `most_words` words. The cluster is the document of A's text, or of B's where A names no more than its prompt.

    Raises:
        ValueError: no prompt occurs on both sides.
    """
    groups_a, groups_b = _grouped(a), _grouped(b)
    pairs: list[Pair] = []
    used, empty = [0, 0], 0
    for key, ours in groups_a.items():
        theirs = groups_b.get(key, [])
        count = max(len(ours), len(theirs)) if min(len(ours), len(theirs)) == 1 else min(len(ours), len(theirs))
        used = [used[0] + min(count, len(ours)), used[1] + min(count, len(theirs))]
        for number in range(count):
            one, other = ours[number % len(ours)], theirs[number % len(theirs)]
            left, right = (beginning(text.text.strip(), most_words) for text in (one, other))
            if not (words(left) and words(right)):
                empty += 1
                continue
            prompt = one.prompt or other.prompt or ""
            cluster = one.document if one.document != prompt else other.document
            name = digest_json([key, number, left, right])[:16]
            pairs.append(Pair(name, cluster, prompt, left, right))
    if not pairs:
        raise ValueError(
            "no prompt has a text with words on both sides: give the lines of both the same 'prompt' (or 'prompt_id'), "
            "or the files of both folders the same names"
        )
    return Paired(pairs, (len(a) - used[0], len(b) - used[1]), empty)


def generated_texts(rows: Sequence[Mapping[str, Any]], field: str) -> list[Text]:
    """The texts that an evaluation wrote for its style prompts (`field` "text"), or the human continuations ("human").

    Args:
        rows: the lines of generations.jsonl. Of several samples of a prompt the human text counts once.
    """
    texts: dict[tuple[str, int], Text] = {}
    for row in rows:
        if row["kind"] != "style" or (field == "human" and row.get("sample", 0)):
            continue
        document = str(row["cluster"] if "cluster" in row else row["doc_id"])
        texts[(row["prompt_id"], row.get("sample", 0))] = Text(row[field], document, row["prompt"])
    return list(texts.values())


def spread(pairs: Sequence[Pair], chance: random.Random) -> list[Pair]:
    """In random order, the first pair of every cluster before the second of any: a part of them tells most."""
    order = list(pairs)
    chance.shuffle(order)
    return [order[place] for place in round_robin([pair.cluster for pair in order])]


def _grouped(texts: Sequence[Text]) -> dict[str, list[Text]]:
    groups: dict[str, list[Text]] = defaultdict(list)
    for text in texts:
        groups[text.document if text.prompt is None else text.prompt].append(text)
    return groups
