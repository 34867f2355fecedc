"""What freely written texts are like beside human ones: every metric two-sided, with its human band and an interval.

Human text is the human continuations of the same prompts and further unseen passages of the same length. It is measured in
halves of as many texts as were written (`timbre.metrics.measuring`), so that a figure, its human value and the noise of
that value are of the same count and the same length.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from timbre.metrics import samples
from timbre.metrics.catalogue import TextFeatures
from timbre.metrics.comparison import Calibrated
from timbre.metrics.encoder import Encoder
from timbre.metrics.measuring import Figure, Reference, figure_row, measure
from timbre.metrics.overuse import overused
from timbre.metrics.style_diversity import score_and_gaps
from timbre.metrics.voice import LEAST as VOICE_LEAST
from timbre.metrics.voice import voice_consistency
from timbre.metrics.wrong_script import wrong_script_rates
from timbre.statistics import upper_bound_rate
from timbre.words import words

Row = dict[str, Any]
LONGEST_SENTENCE = 80
_BESIDE = {"style_plain": "style_plain", "instruction": "style_instruction"}
"""Kinds of text that get figures of their own, and their names in the summary."""


class HumanSide:
    """The human texts that a model's texts are compared with.

    Args:
        rows: lines of generations.jsonl; the human continuations of the kind "style" count.
        others: further human passages, {cluster, text}.

    Raises:
        ValueError: fewer than two texts, or fewer than four human ones.
    """

    def __init__(self, rows: Sequence[Row], others: Sequence[Row], *, seed: int, encoder: Encoder | None) -> None:
        own = [row for row in rows if row["kind"] == "style"]
        self.texts = [row["human"] for row in own] + [row["text"] for row in others]
        self.documents = [row["cluster"] for row in (*own, *others)]
        self._seed, self._encoder = seed, encoder
        self.reference = self._of_count(min(len(own), len(self.texts) // 2))

    def for_as_many_as(self, texts: int) -> Reference:
        """The human side at the count of the style texts, or at a smaller one where there are fewer texts."""
        return self.reference if texts >= self.reference.count else self._of_count(texts)

    def _of_count(self, count: int) -> Reference:
        return Reference.of(self.texts, count, clusters=self.documents, seed=self._seed, encoder=self._encoder)


def measure_style(rows: Sequence[Row], human: HumanSide) -> tuple[list[Row], dict[str, Any]]:
    """Texts of the kind "style": items of what each text gives by itself, and the parts of the summary that are about them."""
    own = [row for row in rows if row["kind"] == "style"]
    texts, reference = [row["text"] for row in own], human.reference
    features = TextFeatures.of(texts, reference.ruler)
    rate, human_rate = wrong_script_rates(texts, human.texts)
    bound = upper_bound_rate(round(rate * len(texts)), len(texts))
    summary: dict[str, Any] = {
        "style": _rows(_measured(own, reference)),
        "not_measured": reference.missing(),
        "overused": [asdict(row) for row in overused(texts, human.texts, reference.halves)],
        "sentence_lengths": {
            "own": _length_counts(features.sentence_lengths), "human": _length_counts(reference.features.sentence_lengths)
        },
        "wrong_script_rate": rate, "human_wrong_script_rate": human_rate, "empty_texts": sum(not words(text) for text in texts),
        "wrong_script_sentence": f"{round(rate * len(texts))} of {len(texts)} texts; the 95% upper bound on the rate is {bound:.1%}.",
        "prompts": len(own), "human_texts": len(human.texts),
    }  # fmt: skip
    for kind, name in _BESIDE.items():
        if len(beside := [row for row in rows if row["kind"] == kind]) > 1:
            summary[name] = _rows(_measured(beside, human.for_as_many_as(len(beside))))
    return _items(own, features), summary


def measure_several(rows: Sequence[Row], encoder: Encoder | None) -> tuple[list[Row], dict[str, Any] | None]:
    """Several texts a prompt: how many of them are really different, items a prompt and the mean; None where there are none."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["kind"] == "several":
            groups.setdefault(row["prompt_id"], []).append(row)
    if not groups:
        return [], None
    items: list[Row] = []
    for name, group in groups.items():
        texts = [row["text"] for row in group]
        figures = samples.diversity(texts, encoder)
        items += [{"metric": metric, "item": name, "cluster": group[0]["cluster"], "value": value} for metric, value in figures.items()]
    means = {name: float(np.mean([row["value"] for row in items if row["metric"] == name])) for name in ("distinct_k", "vendi")}
    sizes = [len(group) for group in groups.values()]
    return items, {"prompts": len(groups), "samples_each": float(np.mean(sizes)), "vectors": _vectors(encoder), **means}


def measure_voice(rows: Sequence[Row], human: HumanSide, style: str, voices: Sequence[Row]) -> tuple[dict[str, Any] | None, str | None]:
    """Whether the texts sound most like their own style among human texts of others, and why there is no answer.

    Args:
        voices: {style, cluster, text} of human passages of the other styles, as long as the texts.
    """
    if not voices:
        return None, "needs human text of other styles: evaluation.voice_against names them"
    texts, documents = {style: human.texts}, {style: human.documents}
    for row in voices:
        texts.setdefault(row["style"], []).append(row["text"])
        documents.setdefault(row["style"], []).append(row["cluster"])
    if small := [name for name in texts if len(texts[name]) < 2 * VOICE_LEAST]:
        return None, f"{small[0]} has {len(texts[small[0]])} human passages of this length; {2 * VOICE_LEAST} are the least"
    own = [row for row in rows if row["kind"] == "style"]
    report = voice_consistency([row["text"] for row in own], style, texts, documents, [row["cluster"] for row in own])
    why = None if report.trusted else "the classifier does not tell unseen human texts of these styles apart"
    return bounded(asdict(report)), why


def style_score(rows: Sequence[Row], human: HumanSide, calibrated: Calibrated | None) -> dict[str, Any]:
    """The summary's "diversity_score" and "gap_closed", where a calibration of this base passed; else "no_score" says why."""
    reference = human.reference
    if calibrated is None:
        return {"no_score": "not asked for: set evaluation.score, which writes texts of the untuned base once to calibrate it"}
    if calibrated.failures:
        return {"no_score": f"its calibration fails ({'; '.join(calibrated.failures)})"}
    sets = {**calibrated.anchors, "base": calibrated.base}
    if short := [name for name, texts in sets.items() if len(texts) < reference.count]:
        return {"no_score": f"the calibration holds {len(sets[short[0]])} {short[0]} texts and {reference.count} are needed"}
    own = _measured([row for row in rows if row["kind"] == "style"], reference)
    score, gaps = score_and_gaps(own, reference, sets, calibrated.definition)
    if all(np.isnan(figure.replicates).all() for figure in own.values()):
        score = replace(score, low=None, high=None)  # no figure has an interval: a single prompt, or no value at all
    found = bounded(asdict(score)) | {"definition": calibrated.definition, "calibrated_count": calibrated.count}
    if (warning := calibrated.warning(reference.count)) is not None:
        found["sentence"] = warning
    return {"diversity_score": found, "gap_closed": gaps, "gap_closed_base": "at temperature 1, nothing cut off"}


def bounded(value: Any) -> Any:
    """The same for JSON, which has no infinity: an end of an interval that is not bounded is None."""
    if isinstance(value, dict):
        return {name: bounded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [bounded(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _measured(rows: Sequence[Row], reference: Reference) -> dict[str, Figure]:
    return measure([row["text"] for row in rows], reference, [row["cluster"] for row in rows])


def _rows(figures: Mapping[str, Figure]) -> dict[str, dict[str, Any]]:
    return {name: figure_row(figure) for name, figure in figures.items()}


def _items(rows: Sequence[Row], features: TextFeatures) -> list[Row]:
    return [
        {"metric": name, "item": row["prompt_id"], "cluster": row["cluster"], "value": float(value)}
        for name, values in features.figures.items()
        for row, value in zip(rows, values, strict=True)
        if not np.isnan(value)
    ]


def _length_counts(lengths: Sequence[np.ndarray]) -> list[int]:
    """Sentences of 0, 1, 2, … words; the last count is of 80 words or more."""
    every = np.concatenate([np.zeros(0, np.int64), *(np.asarray(each, np.int64) for each in lengths)])
    counts: list[int] = np.bincount(np.minimum(every, LONGEST_SENTENCE), minlength=LONGEST_SENTENCE + 1).tolist()
    return counts


def _vectors(encoder: Encoder | None) -> str:
    return encoder.name if encoder is not None else "word counts"
