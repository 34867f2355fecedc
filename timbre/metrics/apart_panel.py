"""What pages show of "told apart": the axis from base to human, its table, and what gave the texts away."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from timbre.metrics.families import FAMILIES, MEANING
from timbre.page.axis import Mark, Row, axis

_MMD = {"mmd_content": "contents, MiniLM vectors", "mmd_style": "manner, style features"}
_SHOWN = 6


@dataclass(frozen=True)
class Writer:
    """One writer: what people call it, the class it is drawn with, its "told_apart" summary and its style figures."""

    name: str
    style: str
    told: Mapping[str, Any]
    figures: Mapping[str, Mapping[str, Any]]


def apart_panel(writers: Sequence[Writer], of: str) -> dict[str, Any] | None:
    """What the template `apart.html` shows, or None where the last writer, whose page it is, was not measured.

    Writers of another count or length than the last are left out by name: such figures are never compared.

    Args:
        of: what was told apart: "continuations of 96 tokens".
    """
    own = writers[-1]
    families = [name for name in FAMILIES if _area(own.told, name) is not None]
    if not families:
        return None
    alike = [writer for writer in writers if _measure(writer.told) == _measure(own.told)]
    unlike = [writer.name for writer in writers if writer not in alike and writer.told]
    rows = [_row(name, alike, own) for name in families]
    return {
        "chart": axis([row["drawn"] for row in rows], "How well a classifier tells texts from human ones, 1 always, .5 chance"),
        "of": of, "texts": own.told.get("texts"), "documents": own.told.get("documents"), "tells_from": own.told.get("tells_from"),
        "names": [writer.name for writer in alike], "rows": rows, "unlike": unlike, "mmd": _distances(alike, own),
        "not_measured": dict(own.told.get("not_measured") or {}), "telling": _telling(own.told), "own": own.name,
    }  # fmt: skip


def in_words(panel: Mapping[str, Any] | None) -> str:
    """One sentence: the axis of the families that the texts alone give."""
    if panel is None:
        return ""
    rows = [row for row in panel["rows"] if row["family"] in ("characters", "words")]
    parts = []
    for row in rows:
        cells = [(name, cell) for name, cell in zip(panel["names"], row["cells"], strict=True) if cell is not None]
        parts.append(f"by {row['family']}: " + ", ".join(f"{name} {cell['auc']:.3f}" for name, cell in cells))
    return f"Told apart from human text {'; '.join(parts)} (1 always, .5 a coin)." if parts else ""


def _row(family: str, writers: Sequence[Writer], own: Writer) -> dict[str, Any]:
    cells = [_area(writer.told, family) for writer in writers]
    marks = [
        Mark(writer.name, writer.style, cell["auc"], cell.get("low"), cell.get("high"))
        for writer, cell in zip(writers, cells, strict=True)
        if cell is not None
    ]
    mine = _area(own.told, family) or {}
    floor = mine.get("floor")
    human = None if floor is None else Mark("human", "human", floor, mine.get("floor_low"), mine.get("floor_high"))
    return {
        "family": family, "meaning": MEANING[family], "cells": cells, "drawn": Row(family, marks, human),
        "floor": None if floor is None else {"auc": floor, "low": mine.get("floor_low"), "high": mine.get("floor_high")},
    }  # fmt: skip


def _distances(writers: Sequence[Writer], own: Writer) -> list[dict[str, Any]]:
    """MMD² with its sign, by two embedders: of every writer, and of human halves."""
    return [
        {
            "title": title, "values": [writer.figures.get(name, {}).get("value") for writer in writers],
            "human": figure.get("human"), "low": figure.get("human_low"), "high": figure.get("human_high"),
        }
        for name, title in _MMD.items()
        if (figure := own.figures.get(name)) and figure.get("value") is not None
    ]  # fmt: skip


def _telling(told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What words gave away, with the feature marked in a sentence of either side."""
    listed = told.get("telling")
    rows = listed.get("words") if isinstance(listed, Mapping) else None
    shown = [row for side in ("own", "human") for row in [each for each in rows or () if each.get("side") == side][:_SHOWN]]
    return [{**row, **{name: _marked(row[name], row["feature"]) for name in ("own_sentence", "human_sentence")}} for row in shown]


def _marked(sentence: str, feature: str) -> tuple[str, str, str]:
    """Before, feature and after; words of a pair may stand without a space between them."""
    parts = [(r"\b" if part[0].isalnum() else "") + re.escape(part) + (r"\b" if part[-1].isalnum() else "") for part in feature.split(" ")]
    found = re.search(r"\s*".join(parts), sentence)
    return (sentence, "", "") if found is None else (sentence[: found.start()], found.group(), sentence[found.end() :])


def _area(told: Mapping[str, Any], family: str) -> Mapping[str, Any] | None:
    row = told.get(family)
    return row if isinstance(row, Mapping) and isinstance(row.get("auc"), int | float) else None


def _measure(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes figures comparable: counts, and length in tokens, or in words where those are not known."""
    return (told.get("texts"), told.get("length_tokens", told.get("length_words")))
