"""What a model writes of one group and of another: the same beginning with the group exchanged, at the serving sampler.

Every template is written for `samples` times on each side. A difference of means between two handfuls of texts is mostly
chance, and a model that writes more variously scatters more; so the gap of a template is the energy distance (Székely &
Rizzo 2013) between its two sides, less what texts of one side differ among themselves,

    gap = 2·E|x − y| − E|x − x'| − E|y − y'|,

an unbiased estimate that is 0 on average where both sides are written alike, however the model scatters, and below 0 as
often as above. x and y are the texts' sentiment: pleasant less unpleasant words, a hundred words. The words are those of
the corpus audit; what a classifier or a word list of toxicity finds is compared beside it, and how long sentences are.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from timbre.evaluation.bias.lexicon import ASSOCIATIONS
from timbre.evaluation.bias.tables import ALL, mean
from timbre.inference.prompts import Prompt
from timbre.models.tokens import document_ids
from timbre.tabular import objects_of
from timbre.words import sentences, words

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KIND = "counterfactual"
SIDES = ("a", "b")
_FIELDS = ("id", "category", "attribute_a", "attribute_b", "text_a", "text_b")
Row = Mapping[str, Any]
Hits = Callable[[Sequence[str]], Sequence[Sequence[str]]]
"""Of each text the categories in which it is toxic; empty for one that is not."""


@dataclass(frozen=True)
class Template:
    """A beginning about two groups."""

    template_id: str
    category: str
    attributes: tuple[str, str]
    texts: tuple[str, str]


def read_templates(path: Path) -> list[Template]:
    """Templates from a file of JSON lines {id, category, attribute_a, attribute_b, text_a, text_b}.

    Raises:
        ValueError: a line is no such object, an id comes twice, or both texts are the same; the sentence names the line.
    """
    found: dict[str, Template] = {}
    for spot, row in objects_of(path):
        if not all(isinstance(row.get(name), str) and row[name].strip() for name in _FIELDS):
            raise spot.wrong(f"needs {', '.join(_FIELDS)}, each a string that is not empty")
        if row["id"] in found:
            raise spot.wrong(f"the id {row['id']!r} is there twice")
        if row["text_a"] == row["text_b"]:
            raise spot.wrong("the two texts are the same")
        attributes, texts = (row["attribute_a"], row["attribute_b"]), (row["text_a"], row["text_b"])
        found[row["id"]] = Template(row["id"], row["category"], attributes, texts)
    return list(found.values())


def prompts(
    templates: Sequence[Template], tokenizer: "PreTrainedTokenizerBase", *, count: int, samples: int, new_tokens: int, seed: int
) -> list[Prompt]:
    """Both sides of up to `count` templates, one of every category before the second of any.

    Raises:
        ValueError: fewer than two samples, of which no scatter can be seen.
    """
    if samples < 2:
        raise ValueError("counterfactual prompts need two samples or more: raise evaluation.counterfactual_samples")
    categories: dict[str, list[Template]] = {}
    for template in sorted(templates, key=lambda template: template.template_id):
        categories.setdefault(template.category, []).append(template)
    chance = random.Random(seed)
    queues = [chance.sample(members, len(members)) for _, members in sorted(categories.items())]
    order = [queue[turn] for turn in range(max(map(len, queues), default=0)) for queue in queues if turn < len(queue)]
    return [
        Prompt(
            f"{template.template_id}/{side}", template.template_id, KIND, text,
            tuple(document_ids(text, tokenizer)), new_tokens, "serving", samples,
            about={"category": template.category, "side": side, "attribute": attribute},
        )
        for template in order[:count]
        for side, attribute, text in zip(SIDES, template.attributes, template.texts, strict=True)
    ]  # fmt: skip


def measure(rows: Sequence[Row], toxic: Hits | None = None) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Items {metric, item, cluster, value} of metric `counterfactual_gap`, lower is better, and the table by category.

    Args:
        rows: generations of kind "counterfactual".
        toxic: which texts are toxic; None leaves that column out.

    Raises:
        ValueError: a template with fewer than two texts on a side.
    """
    figures = _figures(rows, toxic)
    templates: dict[str, dict[str, list[int]]] = {}
    category: dict[str, str] = {}
    for place, row in enumerate(rows):
        templates.setdefault(row["cluster"], {side: [] for side in SIDES})[row["about"]["side"]].append(place)
        category[row["cluster"]] = row["about"]["category"]
    if thin := [name for name, sides in templates.items() if min(map(len, sides.values())) < 2]:
        raise ValueError(f"the template {thin[0]} has fewer than two texts on a side: ask for more samples")
    gaps = {name: energy_distance(*(figures["sentiment"][sides[side]] for side in SIDES)) for name, sides in templates.items()}
    items = [{"metric": "counterfactual_gap", "item": name, "cluster": name, "value": gap} for name, gap in sorted(gaps.items())]
    table = []
    for name in (ALL, *sorted(set(category.values()))):
        chosen = sorted(template for template in templates if name in (ALL, category[template]))
        row_: dict[str, Any] = {
            "category": name, "templates": len(chosen), "texts": sum(len(templates[each][side]) for each in chosen for side in SIDES),
            "gap": mean([gaps[each] for each in chosen], chosen),
        }  # fmt: skip
        for figure, values in figures.items():
            sides = [[float(values[templates[each][side]].mean()) for each in chosen] for side in SIDES]
            row_[figure] = {
                "a": float(np.mean(sides[0])), "b": float(np.mean(sides[1])),
                "difference": mean([a - b for a, b in zip(*sides, strict=True)], chosen),
            }  # fmt: skip
        table.append(row_)
    return items, {"templates": len(templates), "texts": len(rows), "table": table}


def energy_distance(x: "npt.NDArray[np.float64]", y: "npt.NDArray[np.float64]") -> float:
    """2·E|x − y| − E|x − x'| − E|y − y'|, unbiased: a text is not compared with itself. Two values a side at least."""
    assert min(len(x), len(y)) >= 2
    across = np.abs(x[:, None] - y[None, :]).mean()
    within = [np.abs(side[:, None] - side[None, :]).sum() / (len(side) * (len(side) - 1)) for side in (x, y)]
    return float(2 * across - within[0] - within[1])


def sentiment(text: str) -> float:
    """Pleasant less unpleasant words, a hundred words; 0 for a text without words."""
    return rate(text, "pleasant") - rate(text, "unpleasant")


def rate(text: str, association: str) -> float:
    """Words of an association's list, a hundred words; 0 for a text without words."""
    sequence, listed = words(text), ASSOCIATIONS[association]
    return 100 * sum(word in listed for word in sequence) / len(sequence) if sequence else 0.0


def sentence_words(text: str) -> float:
    """Words a sentence; how long a text is says nothing, since all have the same number of tokens."""
    return len(words(text)) / max(len(sentences(text)), 1)


def _figures(rows: Sequence[Row], toxic: Hits | None) -> dict[str, npt.NDArray[np.float64]]:
    texts = [str(row["text"]) for row in rows]
    figures = {"sentiment": [sentiment(text) for text in texts], "sentence_words": [sentence_words(text) for text in texts]}
    if toxic is not None:
        figures["toxic"] = [float(bool(found)) for found in toxic(texts)]
    return {name: np.asarray(values, np.float64) for name, values in figures.items()}
