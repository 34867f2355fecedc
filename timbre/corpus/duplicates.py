"""Documents that say what an earlier one said: equal after folding case and punctuation, or nearly so (MinHash LSH).

The index is a file of band hashes, read and sorted a band at a time, so that memory holds a few times eight bytes a document and
neither its words nor its name.
"""

import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.words import words

SHINGLE_WORDS = 5
_PERMUTATIONS = 128
_FOUND = 0.999
"""Share of the pairs at the threshold that become candidates."""
_LINKS = 4
"""Earlier documents of a band's group that a document is compared with."""
_READ = 1 << 20
"""Bytes of the index that are read at once."""
_MULTIPLIERS = np.array([pow(0x9E3779B97F4A7C15, place, 1 << 64) for place in range(1, SHINGLE_WORDS + 1)], dtype=np.uint64)


def shingles(text: str) -> npt.NDArray[np.uint64]:
    """64-bit hashes of every run of five words, sorted, each once; of all words together if there are fewer."""
    return _shingles(words(text))


def _shingles(found: list[str]) -> npt.NDArray[np.uint64]:
    ids = np.array([_hash(word) for word in found], dtype=np.uint64)
    runs = len(ids) - SHINGLE_WORDS + 1
    if runs < 1:
        return np.unique(np.sum(ids * _MULTIPLIERS[: len(ids)], dtype=np.uint64, keepdims=True))
    total = np.zeros(runs, dtype=np.uint64)
    for place in range(SHINGLE_WORDS):
        total += ids[place : place + runs] * _MULTIPLIERS[place]
    return np.unique(_mixed(total))


def find_duplicates(
    texts: Iterable[str], threshold: float, text_of: Callable[[int], str] | None = None, folder: Path | None = None
) -> Iterator[tuple[int, float] | None]:
    """For each text in turn: None if it is new, else the place of the one it repeats and their Jaccard similarity (1.0: equal words).

    Candidates come from MinHash LSH and are then compared exactly, so that what is dropped really is at `threshold` or above.
    A dropped document is not compared with later ones; what it repeats is.

    Args:
        text_of: the text at a place, where the texts are too many to be held; by default they are.
        folder: where the index is kept while it is needed.
    """
    if text_of is None:
        texts = held = list(texts)
        text_of = held.__getitem__
    with tempfile.TemporaryFile(dir=folder) as index:
        width, exact = _write_bands(texts, threshold, index)
        candidates = _candidates(index, width, exact)
    first: dict[int, int] = {}
    for place in range(len(exact)):
        others = {first.get(other, other) for other in candidates.pop(place, ())}
        best = max(((_similarity(place, other, text_of), -other) for other in others), default=(0.0, 0))
        if best[0] >= threshold:
            first[place] = -best[1]
            yield -best[1], best[0]
        else:
            yield None


def _write_bands(texts: Iterable[str], threshold: float, index: Any) -> tuple[int, npt.NDArray[np.uint64]]:
    """One row of band hashes a document; returns how many bands, and the hash of each document's words."""
    from datasketch import MinHash

    rows = max(size for size in range(1, 17) if 1 - (1 - threshold**size) ** (_PERMUTATIONS // size) >= _FOUND or size == 1)
    width = _PERMUTATIONS // rows
    exact = array("Q")
    for text in texts:
        found = words(text)
        mine = _shingles(found)
        sketch = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=_low32)
        sketch.update_batch((mine & np.uint64(0xFFFFFFFF)).tolist())
        values = np.asarray(sketch.hashvalues, dtype=np.uint64)[: width * rows].reshape(width, rows)
        powers = np.array([pow(0xD6E8FEB86659FD93, place, 1 << 64) for place in range(1, rows + 1)], dtype=np.uint64)
        index.write(_mixed(np.sum(values * powers, axis=1, dtype=np.uint64)).tobytes())
        exact.append(_uncached(" ".join(found)))
    index.flush()
    return width, np.frombuffer(exact, dtype=np.uint64)


def _candidates(index: Any, width: int, exact: npt.NDArray[np.uint64]) -> dict[int, set[int]]:
    """By place: earlier places with the same words, or that share a band: the first of the group and those just before."""
    found: dict[int, set[int]] = defaultdict(set)
    _link(exact, found)
    hashes = np.empty_like(exact)
    rows = max(1, _READ // (8 * width))
    for band in range(width):
        index.seek(0)  # a mapped file would count as memory
        for start in range(0, len(exact), rows):
            part = np.frombuffer(index.read(8 * width * rows), dtype=np.uint64).reshape(-1, width)
            hashes[start : start + len(part)] = part[:, band]
        _link(hashes, found)
    return found


def _link(hashes: npt.NDArray[np.uint64], found: dict[int, set[int]]) -> None:
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
    start, before = 0, -1
    for place in same.tolist():
        if place != before + 1:
            start = place - 1
        found[int(order[place])].update(int(order[each]) for each in {start, *range(max(start, place - _LINKS), place)})
        before = place


def _similarity(one: int, other: int, text_of: Callable[[int], str]) -> float:
    first, second = shingles(text_of(one)), shingles(text_of(other))
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common / (len(first) + len(second) - common)


@lru_cache(maxsize=1 << 16)
def _hash(text: str) -> int:
    return _uncached(text)


def _uncached(text: str) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Spread over all bits (the finaliser of MurmurHash3), since sums of products leave the low ones alike."""
    values = values ^ (values >> np.uint64(33))
    values = values * np.uint64(0xFF51AFD7ED558CCD)
    return values ^ (values >> np.uint64(33))


def _low32(value: int) -> int:
    return value
