"""Documents that say what an earlier one said: equal after folding case and punctuation, or nearly so (MinHash LSH)."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

Key = TypeVar("Key")
SHINGLE_WORDS = 5
_PERMUTATIONS = 128


def fold(text: str) -> str:
    """What two copies of a text have in common: its words in lower case."""
    return " ".join(re.findall(r"\w+", text.lower()))


def shingles(text: str) -> frozenset[int]:
    """64-bit hashes of every run of five words; of all words together if there are fewer."""
    tokens = fold(text).split()
    runs = max(1, len(tokens) - SHINGLE_WORDS + 1)
    return frozenset(_hash64(" ".join(tokens[start : start + SHINGLE_WORDS])) for start in range(runs))


def find_duplicates(texts: Iterable[tuple[str, str]], threshold: float) -> Iterator[tuple[str, str, float] | None]:
    """For each (id, text) in turn: None if it is new, or the earlier id it repeats and their Jaccard similarity (1.0 = equal words).

    Candidates come from MinHash LSH at a lower threshold and are then compared exactly, so that what is dropped really
    is at `threshold` or above. A dropped document is not compared with later ones.
    """
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=max(0.1, threshold - 0.1), num_perm=_PERMUTATIONS)
    kept: dict[str, frozenset[int]] = {}
    seen: dict[str, str] = {}
    for name, text in texts:
        words = hashlib.sha256(fold(text).encode()).hexdigest()
        if words in seen:
            yield name, seen[words], 1.0
            continue
        mine = shingles(text)
        sketch = MinHash(num_perm=_PERMUTATIONS, seed=1, hashfunc=_low32)
        sketch.update_batch(sorted(mine))
        found = [(_jaccard(mine, kept[other]), other) for other in sorted(index.query(sketch))]
        best = max(found, default=(0.0, ""))
        if best[0] >= threshold:
            yield name, best[1], best[0]
            continue
        seen[words] = name
        kept[name] = mine
        index.insert(name, sketch)
        yield None


def _jaccard(one: frozenset[int], other: frozenset[int]) -> float:
    return len(one & other) / len(one | other)


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _low32(value: int) -> int:
    return value & 0xFFFFFFFF
