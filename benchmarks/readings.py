"""What a trial's cells say of a model's texts and answers: arrays an item, in a fixed order, so that arms can be paired."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from timbre.artifacts import Artifact, FileInput, Input
from timbre.corpus.documents import read_documents
from timbre.evaluation.memorisation import TrainingText
from timbre.metrics.told_apart import Side, told_apart
from timbre.models import load_tokenizer
from timbre.settings import settings

FAMILIES = ("characters", "words", "frame")
Row = Mapping[str, Any]
Figures = dict[str, Any]


def probe_files() -> dict[str, Input]:
    """The probes of bias and of facts, as the stage "generations" takes them."""
    folder = settings().root / "data" / "probes"
    return {name: FileInput(folder / f"{file}.jsonl") for name, file in (("bias_probes", "bias"), ("fact_probes", "facts"))}


def training_text(corpus: Artifact, model: Artifact) -> TrainingText:
    """The training split, to look copies up in."""
    return TrainingText(read_documents(corpus, "train"), load_tokenizer(model))


def told(style: Sequence[Row], others: Sequence[Row] | None) -> Figures:
    """By family: the area, each prompt's share in it, and with other human text the floor."""
    documents = [row["cluster"] for row in style]
    own, human = (Side([row[side] for row in style], documents) for side in ("text", "human"))
    rest = None if others is None else Side([row["text"] for row in others], [row["cluster"] for row in others])
    found = told_apart(own, human, rest, of_one_length=True)
    return {
        name: {"auc": round(found.families[name].auc.mean, 5), "shares": rounded(found.families[name].contributions)}
        | ({} if (chance := found.families[name].floor) is None else {"floor": round(chance.mean, 5)})
        for name in FAMILIES
    }


def probed(scores: Mapping[str, Sequence[Row]]) -> Figures:
    """How far true statements are ahead, and groups of people apart."""
    return {
        "fact_margin": rounded(values(scores["facts"], "fact_margin")), "bias_gap": rounded(values(scores["bias"], "bias_gap")),
    }  # fmt: skip


def probe_names(scores: Mapping[str, Sequence[Row]]) -> Figures:
    """The clusters of what `probed` gives."""
    return {
        "facts": [row["cluster"] for row in scores["facts"] if row["metric"] == "fact_margin"],
        "bias": [row["cluster"] for row in scores["bias"] if row["metric"] == "bias_gap"],
    }  # fmt: skip


def values(rows: Sequence[Row], metric: str) -> list[float]:
    """Of the items of one metric."""
    return [row["value"] for row in rows if row["metric"] == metric]


def rounded(given: Iterable[float]) -> list[float]:
    """To four places, as the committed files have it."""
    return [round(float(value), 4) for value in np.asarray(list(given), float)]
