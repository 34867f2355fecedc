"""What the freely written texts are like beside human ones: the summary's style figures, and items a text."""

from collections.abc import Sequence
from typing import Any

from timbre.config import EvaluationConfig
from timbre.evaluation import style
from timbre.evaluation.words import words

Row = dict[str, Any]


def style_report(config: EvaluationConfig, rows: Sequence[Row], others: Sequence[Row]) -> tuple[list[Row], dict[str, Any]]:
    """Measure the texts of kind "style".

    Args:
        rows: lines of generations.jsonl.
        others: further human passages, {cluster, text}, which join the human continuations.

    Returns:
        items, and a part of the summary.
    """
    own = [row for row in rows if row["kind"] == "style"]
    texts = [row["text"] for row in own]
    human = [row["human"] for row in own] + [row["text"] for row in others]
    rate, human_rate = style.wrong_script_rates(texts, human)
    summary = {
        "style": style.compare(texts, human, seed=config.seed), "wrong_script_rate": rate, "human_wrong_script_rate": human_rate,
        "empty_texts": sum(not words(text) for text in texts), "prompts": len(own), "human_texts": len(human),
        "prompt_tokens": config.prompt_tokens, "new_tokens": config.new_tokens,
    }  # fmt: skip
    return _style_items(own, texts), summary


def _style_items(rows: Sequence[Row], texts: Sequence[str]) -> list[Row]:
    return [
        {"metric": name, "item": row["prompt_id"], "cluster": row["cluster"], "value": value}
        for name, values in style.per_text(texts).items()
        for row, value in zip(rows, values, strict=True)
        if value is not None
    ]
