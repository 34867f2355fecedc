"""Which document trains, validates and tests, and which fold it belongs to: whole authors where there are enough of them.

Groups are ordered by a hash of seed and name, so that a document that is added or removed moves few others.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIN_AUTHORS = 5
TEST_GROUPS = 5
"""What a paired test by document rests on: no fewer in the test split where there are four times as many."""


@dataclass(frozen=True, slots=True)
class Item:
    """What splitting looks at."""

    doc_id: str
    author: str
    date: str | None
    n_tokens: int


def assign_splits(
    items: Sequence[Item], *, validation_share: float, test_share: float, folds: int, seed: int, by_date: bool
) -> tuple[dict[str, str], str]:
    """doc_id → split, and the rule that was used: 'date', 'author' or 'document'.

    Test and validation get about their share of the tokens, at least one document each; train keeps at least `folds`.
    Splitting by author falls back to documents, with a warning, where a few authors wrote nearly everything.

    Raises:
        ValueError: fewer documents than folds + 2.
    """
    if len(items) < folds + 2:
        raise ValueError(
            f"too few to split: usable documents here {len(items)}, at least {folds + 2} are needed, {folds} of them for training, "
            "one for validation and one for test; add text"
        )
    shares = {"test": test_share, "validation": validation_share}
    if by_date:
        if undated := [item.doc_id for item in items if item.date is None]:
            warnings.warn(f"split_by_date is ignored: {len(undated)} documents have no date, such as {undated[0]}", stacklevel=2)
        else:
            return _by_date(items, shares, folds), "date"
    if len({item.author for item in items}) >= MIN_AUTHORS:
        if (split := _by_group(items, {item.doc_id: item.author for item in items}, shares, folds, seed)) is not None:
            return split, "author"
        warnings.warn("a few authors wrote nearly everything, so documents are split one by one, not by author", stacklevel=2)
    split = _by_group(items, {item.doc_id: item.doc_id for item in items}, shares, folds, seed)
    assert split is not None
    return split, "document"


def assign_folds(items: Sequence[Item], folds: int, seed: int) -> dict[str, int]:
    """doc_id → fold 0…K−1 of the training documents: balanced by tokens, whole authors where there are five or more.

    Every fold gets at least one document.
    """
    authors = {item.author for item in items}
    by_author = len(authors) >= max(MIN_AUTHORS, folds)
    group_of = {item.doc_id: item.author if by_author else item.doc_id for item in items}
    sizes = _sizes(items, group_of)
    load = [0] * folds
    placed: dict[str, int] = {}
    # Largest first keeps folds even; the hash decides between equals.
    for name in sorted(sizes, key=lambda name: (-sizes[name], _order(seed, name))):
        fold = min(range(folds), key=lambda index: (load[index], index))
        placed[name] = fold
        load[fold] += max(1, sizes[name])
    return {doc_id: placed[name] for doc_id, name in group_of.items()}


def draw(items: Sequence[Item], count: int, seed: int) -> set[str]:
    """The ids of `count` documents, drawn by seed."""
    return {item.doc_id for item in sorted(items, key=lambda item: _order(seed, f"draw:{item.doc_id}"))[:count]}


def _by_date(items: Sequence[Item], shares: Mapping[str, float], folds: int) -> dict[str, str]:
    newest_first = sorted(items, key=lambda item: (item.date or "", item.doc_id), reverse=True)
    total = sum(item.n_tokens for item in items)
    split: dict[str, str] = {}
    waiting = list(newest_first)
    for spared, (name, share) in zip((1 + folds, folds), shares.items(), strict=True):
        size = 0
        while len(waiting) > spared and (size == 0 or size < share * total):
            item = waiting.pop(0)
            split[item.doc_id] = name
            size += max(1, item.n_tokens)
    return split | {item.doc_id: "train" for item in waiting}


def _by_group(
    items: Sequence[Item], group_of: Mapping[str, str], shares: Mapping[str, float], folds: int, seed: int
) -> dict[str, str] | None:
    """Groups in hash order fill test, then validation; one that would overshoot the share by half is passed over."""
    sizes = _sizes(items, group_of)
    documents = Counter(group_of.values()) if len(sizes) < len(items) else None
    total = sum(sizes.values())
    left = len(items)
    waiting = sorted(sizes, key=lambda name: (_order(seed, name), name))
    placed: dict[str, str] = {}
    for spared, (split, share) in zip((1 + folds, folds), shares.items(), strict=True):
        size = 0
        for name in list(waiting):
            count = documents[name] if documents else 1
            if size >= share * total or size + sizes[name] > 1.5 * share * total or left - count < spared:
                continue
            waiting.remove(name)
            placed[name] = split
            size += sizes[name]
            left -= count
        if size == 0:
            smallest = min(waiting, key=lambda name: (sizes[name], name))
            count = documents[smallest] if documents else 1
            if left - count < spared or (sizes[smallest] > 3 * share * total and documents):
                return None
            waiting.remove(smallest)
            placed[smallest] = split
            size += sizes[smallest]
            left -= count
        wanted = min(TEST_GROUPS, len(sizes) // 4) if split == "test" else 0
        for name in list(waiting):
            count = documents[name] if documents else 1
            if len(placed) < wanted and size + sizes[name] <= 2 * share * total and left - count >= spared:
                waiting.remove(name)
                placed[name] = split
                size += sizes[name]
                left -= count
    return {doc_id: placed.get(name, "train") for doc_id, name in group_of.items()}


def _sizes(items: Sequence[Item], group_of: Mapping[str, str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for item in items:
        sizes[group_of[item.doc_id]] = sizes.get(group_of[item.doc_id], 0) + item.n_tokens
    return sizes


def _order(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode()).hexdigest()
