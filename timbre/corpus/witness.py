"""The rows of a large corpus for its contract, without their whole texts: a witness stands for each.

Great Expectations takes a table in memory. A corpus of gigabytes is not one; but what its contract asks of a text (that it is there, is
not empty, stands once, holds no pattern) is as true of the text's digest with the places where a pattern was found. Small corpora,
and contracts that ask something else of a text, are shown whole.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_LARGE = 8 << 20
"""Bytes of a compressed file from which witnesses stand for texts."""
_AROUND, _AT_ONCE = 20, 500
_NOT_NULL, _UNIQUE, _LENGTH, _WITHOUT = (
    "expect_column_values_to_not_be_null", "expect_column_values_to_be_unique", "expect_column_value_lengths_to_be_between",
    "expect_column_values_to_not_match_regex",
)  # fmt: skip


class _NotWitnessed(Exception):
    pass


def read_frame(documents: Path, expected: Sequence[dict[str, Any]]) -> Any:
    """The rows of documents.parquet as a data frame; of a large file, with witnesses for texts if the contract allows that."""
    import pandas as pd
    import pyarrow.parquet as pq

    patterns = _patterns(expected)
    if documents.stat().st_size < _LARGE or patterns is None:
        return pd.read_parquet(documents)
    try:
        texts = pd.Series(list(_witnesses(documents, patterns)), dtype="str")
    except _NotWitnessed:
        return pd.read_parquet(documents)
    names = list(pq.read_schema(documents).names)
    frame = pd.read_parquet(documents, columns=[name for name in names if name != "text"])
    frame.insert(names.index("text"), "text", texts)
    return frame


def _patterns(expected: Sequence[dict[str, Any]]) -> list[re.Pattern[str]] | None:
    """What no text may hold; None where the contract asks something of texts that a witness cannot tell."""
    found = []
    for entry in expected:
        kind, limits = entry["type"], entry["kwargs"]
        if limits.get("column") != "text":
            continue
        if kind == _WITHOUT:
            found.append(re.compile(limits["regex"]))
        elif not (kind in (_NOT_NULL, _UNIQUE) or (kind == _LENGTH and limits.get("min_value") == 1 and limits.get("max_value") is None)):
            return None
    return found


def _witnesses(documents: Path, patterns: Sequence[re.Pattern[str]]) -> Iterator[str | None]:
    import pyarrow.parquet as pq

    # a reader that buffers ahead holds the bytes of the whole column until it is closed
    for batch in pq.ParquetFile(documents, pre_buffer=False).iter_batches(batch_size=_AT_ONCE, columns=["text"]):
        for text in batch.column(0).to_pylist():
            yield text if not text else _witness(text, patterns)


def _witness(text: str, patterns: Sequence[re.Pattern[str]]) -> str:
    parts = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]]
    found = [pattern.search(text) for pattern in patterns]
    parts += [text[max(0, match.start() - _AROUND) : match.end() + _AROUND] for match in found if match is not None]
    witness = " ".join(parts)
    if any((pattern.search(witness) is None) != (match is None) for pattern, match in zip(patterns, found, strict=True)):
        raise _NotWitnessed
    return witness
