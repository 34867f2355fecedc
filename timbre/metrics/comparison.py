"""Any texts against any human texts: no model needed. What `timbre evaluate TEXTS --against HUMAN` computes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from timbre.corpus.raw import Unread
from timbre.metrics import samples
from timbre.metrics.catalogue import GROUPS, METRIC
from timbre.metrics.comparison_verdict import (
    ENOUGH,
    ODD,
    SHARED_MOST,
    by_dealing,
    chance_and_telling,
    same_words,
    shared,
    too_few,
    verdict_of,
)
from timbre.metrics.encoder import Encoder
from timbre.metrics.measuring import LEAST, Figure, Reference, dealt_anew, figure_row, measure
from timbre.metrics.overuse import ListRate, Overused, list_rate, overused, read_phrases
from timbre.metrics.sheet import Sheet, cleaned, differences, reset, sheet_of
from timbre.metrics.sides import Telltale, telltale
from timbre.metrics.style_diversity import Definition, StyleScore, score_and_gaps
from timbre.metrics.texts import Passages, Text, passages, read_texts
from timbre.metrics.voice import LEAST as VOICE_LEAST
from timbre.metrics.voice import VoiceReport, voice_consistency
from timbre.metrics.wrong_script import wrong_script_rates
from timbre.words import words

_RUN = 8
"""Words in a row that two writers hardly ever choose alike."""
_GROUP_MOST = 16
_TOLD_MOST = 2000
"""Texts a side that are told apart at most; more would take minutes."""


@dataclass(frozen=True)
class Request:
    """What is compared, and how."""

    texts: Path | Sequence[Text]
    human: Path | Sequence[Text]
    words: int = 150
    most: int = 400
    slop: tuple[Path, ...] = ()
    others: Mapping[str, Path] = field(default_factory=dict)
    """Human texts of other styles, by name, for voice consistency."""
    seed: int = 0
    raw: bool = False
    """Measure texts as they stand, with their line ends and kinds of quotes, instead of cleaned and set alike."""


@dataclass(frozen=True)
class Calibrated:
    """What an earlier calibration left: texts of the untuned base, and the definition under which the score passed."""

    style: str
    definition: Definition
    anchors: Mapping[str, Sequence[str]]
    base: Sequence[str]
    failures: Sequence[str] = ()
    count: int | None = None
    """Texts of a set in that calibration."""

    def warning(self, count: int) -> str | None:
        """What to say of a score of so many texts: the checks were passed with more, and smaller sets are noisier."""
        if self.count is None or 2 * count >= self.count:
            return None
        return (
            f"The score was calibrated with sets of {self.count} texts and is used with {count} here, fewer than half of them: whether it "
            "passes its checks with so few was not asked."
        )


@dataclass(frozen=True)
class Comparison:
    """Everything the page and the table show."""

    verdict: str
    """"not told apart", "told apart" or "INCONCLUSIVE"."""
    why: str
    count: int
    """Passages of a set: what is measured at once, so that candidate and human halves are alike in number."""
    words: int
    read: dict[str, dict[str, int]]
    copied: int
    """Passages that stand, mostly or wholly, on the human side too."""
    figures: dict[str, Figure]
    missing: dict[str, str]
    chance: float | None
    telling: float | None
    """Largest deviation, in σ, that one human half of a hundred reaches over all scored metrics: less cannot be told."""
    score: StyleScore | None
    no_score: str | None
    gaps: dict[str, float | None]
    overused: list[Overused]
    lists: list[ListRate]
    voice: VoiceReport | None
    no_voice: str | None
    several: dict[str, float | int | None] | None
    wrong_script: tuple[float, float] | None
    lengths: tuple[list[int], list[int]]
    """Sentence lengths in words: human, candidate."""
    pairs: list[tuple[str, str]]
    """Passages side by side: human, candidate."""
    reason: str = ""
    """Of INCONCLUSIVE, in a word: "few", "short", "documents", "empty" or "shared"; of "not told apart", "same" where both sides
    are the same texts in another layout."""
    score_warning: str | None = None
    told: Telltale = field(default_factory=lambda: Telltale(None, "not measured"))
    """How well a classifier tells the texts from human ones."""

    dealt: float | None = None
    """Share of the ways to deal the documents of both sides anew in which they are as far apart; measured where human halves are not."""
    sheets: tuple[Sheet, Sheet] | None = None
    """How these texts and the human ones are set."""
    layout: tuple[str, ...] = ()
    """What is set differently on the two sides, in sentences."""
    raw: bool = False
    unread: Mapping[str, Sequence[Unread]] = field(default_factory=dict)
    """By side: files and rows that could not be read, with the reason."""

    def summary(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "verdict": self.verdict, "why": self.why, "reason": self.reason, "count": self.count, "words": self.words, "read": self.read,
            "unread": {side: [{"name": each.name, "reason": each.reason} for each in bad] for side, bad in self.unread.items()},
            "copied_passages": self.copied,
            "chance": self.chance, "dealt": self.dealt, "telling_sigmas": self.telling,
            "metrics": {name: figure_row(each) for name, each in self.figures.items()},
            "not_measured": self.missing, "score": asdict(self.score) if self.score else None, "no_score": self.no_score,
            "score_warning": self.score_warning,
            "gap_closed": self.gaps, "overused": [asdict(row) for row in self.overused], "lists": [asdict(row) for row in self.lists],
            "voice": asdict(self.voice) if self.voice else None, "no_voice": self.no_voice, "several_samples": self.several,
            "wrong_script": self.wrong_script, "told_apart": self.told.summary(),
            "layout": {
                "differences": list(self.layout), "measured": self.raw,
                "sheets": dict(zip(("texts", "human"), map(asdict, self.sheets), strict=True)) if self.sheets else None,
            },
        }  # fmt: skip


def compare_texts(request: Request, *, encoder: Encoder | None = None, calibrated: Calibrated | None = None) -> Comparison:
    """Read, clean, cut, measure and judge; what differs in layout only is told and not measured, unless the request says raw.

    Raises:
        ValueError: a path cannot be read, or a side holds no text at all.
    """
    lists = [(path.stem, read_phrases(path)) for path in request.slop]  # a path that is wrong is told before the work
    read_other = read_texts if request.raw else _read_cleaned
    others = {name: read_other(path) for name, path in request.others.items()}
    unread: dict[str, list[Unread]] = {"texts": [], "human": []}
    sides = {"texts": _side(request.texts, unread["texts"]), "human": _side(request.human, unread["human"])}
    given = (sides["texts"], sides["human"])
    sheets = (sheet_of(given[0]), sheet_of(given[1]))
    if not request.raw:
        paths, beside = {"texts": request.texts, "human": request.human}, {"texts": sides["human"], "human": sides["texts"]}
        sides = {side: cleaned(texts, beside[side]) if isinstance(paths[side], Path) else texts for side, texts in sides.items()}
    found = _compare(request, lists, others, sides, encoder, calibrated)
    told = tuple(differences(*sheets))
    if not request.raw and reset(given, (sides["texts"], sides["human"])):
        found = replace(found, verdict="not told apart", why=same_words(told), reason="same")
    return replace(found, sheets=sheets, layout=told, raw=request.raw, unread=unread)


def _compare(
    request: Request,
    lists: Sequence[tuple[str, Sequence[str]]],
    others: Mapping[str, Sequence[Text]],
    sides: Mapping[str, Sequence[Text]],
    encoder: Encoder | None,
    calibrated: Calibrated | None,
) -> Comparison:
    """Cut, measure and judge.

    Both sides are cut into passages of `words` words, and as many are used of either as the smaller side allows (the human
    side gives two halves). Too few of them, or of documents, is an answer of its own, never a good one.
    """
    given, human_given = sides["texts"], sides["human"]
    own, human = passages(given, request.words, request.most), passages(human_given, request.words, 2 * request.most)
    read = {
        side: {
            "read": each.read, "empty": each.empty, "too_short": each.too_short, "passages": len(each),
            "documents": len(set(each.documents)),
        }
        for side, each in (("texts", own), ("human", human))
    }  # fmt: skip
    count, same = min(len(own), len(human) // 2), copied(own.texts, human.texts)
    told = telltale(given, human_given, (own, human), request.words, _TOLD_MOST, encoder, request.seed)
    if count < LEAST:
        return replace(_nothing(request, own, human, count, read, same), told=told)
    texts = own.texts[: max(count, min(len(own), request.most))]
    documents = own.documents[: len(texts)]
    reference = Reference.of(human.texts, count, clusters=human.documents, seed=request.seed, encoder=encoder)
    figures = measure(texts, reference, documents)
    scored = [name for name in figures if METRIC[name].group in GROUPS]
    chance, telling = chance_and_telling(figures, scored, reference)
    verdict, why, reason = verdict_of(own, human, count, request.words, chance, telling, figures)
    dealt = None
    if verdict == "told apart":
        dealt = dealt_anew(texts, human.texts, (documents, human.documents), scored, seed=request.seed, encoder=encoder)
        if dealt > ODD:
            verdict, why = "not told apart", by_dealing(chance, dealt)
    why += told.otherwise(verdict)
    if reason == "few" and request.most < ENOUGH:
        why += f" No more than {request.most} a side were asked for (--most): a verdict needs {ENOUGH}."
    if same > SHARED_MOST * len(texts):
        verdict, why, reason = "INCONCLUSIVE", shared(same, len(own)), "shared"
    score, no_score, gaps = _score(figures, reference, request, calibrated)
    if score is not None and len(set(documents)) < 2:
        score = replace(score, low=None, high=None)  # no interval of any figure, and so none of the score
    warning = calibrated.warning(reference.count) if calibrated is not None and score is not None else None
    voice, no_voice = _voice(texts, documents, human, request, others)
    features = reference.features
    return Comparison(
        verdict, why, count, request.words, read, same, figures, reference.missing(), chance, telling, score, no_score, gaps,
        overused(texts, human.texts, reference.halves),
        [list_rate(name, phrases, texts, human.texts) for name, phrases in lists],
        voice, no_voice, _several(given, encoder), wrong_script_rates(texts, human.texts),
        (np.concatenate(features.sentence_lengths).tolist(), measured_lengths(texts)), list(zip(human.texts, texts, strict=False))[:6],
        reason, warning, told, dealt=dealt,
    )  # fmt: skip


def _side(given: Path | Sequence[Text], unread: list[Unread]) -> Sequence[Text]:
    """The texts of a path; those that are at hand already are taken as they are, and never cleaned."""
    return read_texts(given, unread) if isinstance(given, Path) else given


def _read_cleaned(path: Path) -> list[Text]:
    return cleaned(read_texts(path))


def copied(own: Sequence[str], human: Sequence[str]) -> int:
    """How many of `own` are copies: over half of their runs of eight words stand among `human`, whatever case and punctuation.

    Runs and not whole passages, since one word more at the beginning of a text moves every cut.
    """
    known = {run for text in human for run in _runs(text)}
    return sum(2 * sum(run in known for run in runs) > len(runs) for text in own if (runs := _runs(text)))


def _runs(text: str) -> list[tuple[str, ...]]:
    sequence = words(text)
    return [tuple(sequence[start : start + _RUN]) for start in range(len(sequence) - _RUN + 1)]


def measured_lengths(texts: Sequence[str]) -> list[int]:
    """Words in every sentence of the texts."""
    from timbre.metrics.distribution import sentence_lengths

    return [int(length) for text in texts for length in sentence_lengths(text)]


def _nothing(
    request: Request, own: Passages, human: Passages, count: int, read: dict[str, dict[str, int]], same: int
) -> Comparison:  # fmt: skip
    why = too_few(own, human, count, request.words)
    return Comparison(
        "INCONCLUSIVE", why, count, request.words, read, same, {}, {}, None, None, None, "nothing was measured", {}, [], [], None,
        "nothing was measured", None, None, ([], []), [], "few",
    )  # fmt: skip


def _score(
    figures: Mapping[str, Figure], reference: Reference, request: Request, calibrated: Calibrated | None
) -> tuple[StyleScore | None, str | None, dict[str, float | None]]:
    """Score and gap closed, where a passed calibration has texts of the untuned base that are long enough."""
    if calibrated is None:
        return None, "a score needs texts of the untuned base: `make calibration` writes them once, then --calibration STYLE", {}
    if calibrated.failures:
        return None, f"the calibration of {calibrated.style} fails ({'; '.join(calibrated.failures)})", {}
    cut = {name: _cut(texts, request, reference.count) for name, texts in {**calibrated.anchors, "base": calibrated.base}.items()}
    if short := [name for name, texts in cut.items() if len(texts) < reference.count]:
        return (
            None,
            f"the calibration holds only {len(cut[short[0]])} {short[0]} texts of {request.words} words; lower --words or --most",
            {},
        )
    score, gaps = score_and_gaps(figures, reference, cut, calibrated.definition)
    return score, None if score.value is not None else "a whole group of metrics was dropped", gaps


def _cut(texts: Sequence[str], request: Request, count: int) -> list[str]:
    return passages([Text(text, str(index)) for index, text in enumerate(texts)], request.words, count).texts


def _voice(
    texts: Sequence[str], own: Sequence[str], human: Passages, request: Request, others: Mapping[str, Sequence[Text]]
) -> tuple[VoiceReport | None, str | None]:  # fmt: skip
    if not others:
        return None, "needs human text of other styles: --other NAME=PATH"
    sides = {"this style": human} | {name: passages(given, request.words, 2 * request.most) for name, given in others.items()}
    if small := [name for name, side in sides.items() if len(side) < 2 * VOICE_LEAST]:
        return None, f"{small[0]} has {len(sides[small[0]])} passages of {request.words} words; {2 * VOICE_LEAST} are the least"
    report = voice_consistency(
        texts, "this style", {name: side.texts for name, side in sides.items()},
        {name: side.documents for name, side in sides.items()}, own,
    )  # fmt: skip
    return report, None if report.trusted else "the classifier does not tell unseen human texts of these styles apart"


def _several(given: Sequence[Text], encoder: Encoder | None) -> dict[str, float | int | None] | None:
    """Diversity among texts for one prompt: mean over prompts that have two or more; None where there are none."""
    groups: dict[str, list[str]] = {}
    for text in given:
        if text.prompt is not None:
            groups.setdefault(text.prompt, []).append(text.text)
    several = [texts[:_GROUP_MOST] for texts in groups.values() if len(texts) > 1]
    if not several:
        return None
    found = [samples.diversity(texts, encoder) for texts in several]
    means = {name: float(np.mean([each[name] for each in found])) for name in ("distinct_k", "vendi")}
    return {"prompts": len(several), "samples_each": float(np.mean([len(texts) for texts in several])), **means}
