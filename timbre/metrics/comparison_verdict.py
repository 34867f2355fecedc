"""What the figures of a comparison come to: told apart, not told apart, or too little to tell, and why in a sentence."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from timbre.metrics.catalogue import GROUPS, METRIC
from timbre.metrics.measuring import Figure, Reference
from timbre.metrics.texts import Passages
from timbre.metrics.titles import title_of

ENOUGH = 50
"""Passages below which nothing is certified; the human side needs twice as many."""
DOCUMENTS = 6
"""Documents of one size that are the least on either side: passages of one are not independent, and the human ones are dealt to
halves by whole documents. Six can be dealt in 20 ways, so of so few a verdict goes wrong one time in twenty; of nine, one in a hundred."""
DROPPED_MOST = 0.2
EMPTY_MOST = 0.01
"""How much larger the share of empty texts may be than on the human side."""
SHARED_MOST = 0.05
"""Share of passages that may be copies of human ones: a quotation, a letterhead. More is a mistake."""
ODD = 0.01
"""Share of human halves, and of deals of both sides' documents, that may be as odd as texts that are told apart: of a hundred honest
comparisons one goes wrong."""


def in_sets(count: int, own: int, human: int) -> str:
    """How many passages there are, and, where they are measured in smaller sets, how small and why."""
    return f"{own} passages" + ("" if count == own else f" in sets of {count} (the {human} human ones give two halves of {human // 2})")


def chance_and_telling(figures: Mapping[str, Figure], scored: Sequence[str], reference: Reference) -> tuple[float, float]:
    """How often a human half is as odd as the candidate in its oddest metric, and the oddness that one half in a hundred reaches."""
    odd = reference.oddness(scored)
    worst = max((oddness(figures[name]) for name in scored), default=math.inf)
    return float((1 + np.sum(odd >= worst)) / (1 + len(odd))), float(np.quantile(odd, 1 - ODD))


def verdict_of(
    own: Passages, human: Passages, count: int, length: int, chance: float, telling: float, figures: Mapping[str, Figure]
) -> tuple[str, str, str]:
    """Verdict, why, and for INCONCLUSIVE the reason in a word.

    "told apart" is as much in need of documents as "not told apart": passages of one share a subject and a day, and halves of
    one human document are nearer to each other than any other text can be to them.
    """
    if count < ENOUGH:
        return "INCONCLUSIVE", too_few(own, human, count, length), "few"
    if (left_out := own.too_short + own.empty) > DROPPED_MOST * own.read:
        none = f" ({own.empty} of them none at all)" if own.empty else ""
        return "INCONCLUSIVE", (
            f"{left_out} of {own.read} texts hold fewer than {length} words{none} and were left out: those that remain need not be like "
            "them. Give longer texts, or compare at fewer words (--words)."
        ), "short"  # fmt: skip
    if few := _few_documents(own, human):
        return "INCONCLUSIVE", few, "documents"
    empty = _too_empty(own, human)
    if chance <= ODD:
        return "told apart", _told(chance, figures) + (f" {empty}" if empty else ""), ""
    if empty:
        return "INCONCLUSIVE", f"{empty} Those that remain are not told apart from human text, but empty ones were not measured.", "empty"
    return "not told apart", (
        f"No scored metric is further from human text than chance alone would have it ({chance:.0%} of human halves are as odd). "
        f"{in_sets(count, len(own), len(human))} can tell deviations above {telling:.1f}σ."
    ), ""  # fmt: skip


def _told(chance: float, figures: Mapping[str, Figure]) -> str:
    far = sorted((name for name in figures if METRIC[name].group in GROUPS), key=lambda name: -oddness(figures[name]))[:3]
    return (
        f"Fewer than {max(chance, 0.005):.1%} of human halves are as odd. Furthest away: "
        + ", ".join(f"{title_of(name)} ({_sigmas(figures[name])})" for name in far) + "."
    )  # fmt: skip


def by_dealing(chance: float, dealt: float) -> str:
    """Why texts that are odder than human halves are not told apart all the same."""
    return (
        f"Only {chance:.1%} of human halves are as odd, but documents differ among themselves on either side: where all of them are dealt "
        f"to two sides anew, {dealt:.0%} of the deals are as far apart. More documents would tell."
    )


def _few_documents(own: Passages, human: Passages) -> str:
    """A sentence where a side has fewer documents than a verdict needs, or one that outweighs the others; else nothing."""
    few = []
    for side, name in ((own, "these texts"), (human, "the human side")):
        if side.documents_like >= DOCUMENTS - 1e-9:
            continue
        named = len(set(side.documents))
        like = "one document" if named == 1 else f"{named} documents"
        if named >= DOCUMENTS:
            like += f", so unequal that they tell no more than {max(side.documents_like, 1):.1f} of one size would"
        few.append(f"the {len(side)} passages of {name} come from {like}")
    if not few:
        return ""
    sentence = " and ".join(few)
    return (
        f"{sentence[0].upper()}{sentence[1:]}: passages of one document are alike for reasons of their own, whoever wrote them. "
        f"{DOCUMENTS} documents of about one size on either side would do, more are better (a line of JSONL, or a file, is one; name them "
        "with doc_id)."
    )


def _too_empty(own: Passages, human: Passages) -> str:
    """A sentence where more of the texts are empty than the human side explains; else nothing."""
    if own.empty_share <= human.empty_share + EMPTY_MOST:
        return ""
    return f"{own.empty} of {own.read} texts are empty ({own.empty_share:.1%}; on the human side {human.empty_share:.1%})."


def oddness(figure: Figure) -> float:
    """How far from the human mean in σ, either way; without a value, as far as can be."""
    return math.inf if figure.sigmas is None else abs(figure.sigmas)


def _sigmas(figure: Figure) -> str:
    return "no value" if figure.sigmas is None else f"{figure.sigmas:+.1f}σ".replace("-", "−")


def too_few(own: Passages, human: Passages, count: int, length: int) -> str:
    """How many passages there are, and how many would do."""
    sets = "" if count == len(own) else f", {in_sets(count, len(own), len(human)).partition(' passages ')[2]},"
    return (
        f"{len(own)} passages of {length} words{sets} against {len(human)} human ones are too few to tell: {ENOUGH} and {2 * ENOUGH} would "
        f"do (about {ENOUGH * length:,} and {2 * ENOUGH * length:,} words). {own.too_short + own.empty} of {own.read} texts and "
        f"{human.too_short + human.empty} of {human.read} human ones were too short."
    )


def shared(same: int, passages_: int) -> str:
    """That texts were compared with themselves."""
    return (
        f"{same} of {passages_} passages stand on the human side too, word for word: texts that are compared with themselves say nothing. "
        "Name human texts that these were not taken from."
    )


def same_words(differences: Sequence[str]) -> str:
    """That both sides are the same texts, set otherwise."""
    how = f" ({'; '.join(each.partition(':')[0] for each in differences)})" if differences else ""
    return (
        f"Both sides hold the same texts, word for word, and differ only in how they are set{how}. Layout is no difference in writing; nor "
        "do texts that are compared with themselves say who wrote them."
    )
