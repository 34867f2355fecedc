"""Cells: what is measured of an arm, and the JSON that each leaves behind, found again by the digest of its configuration."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.little_text.arms import Cell, State
from benchmarks.little_text.design import DFT, STOPPED, STUDENTS
from benchmarks.little_text.students import best_look, curve, state_of, student
from benchmarks.recipes import Recipe
from benchmarks.trial import Trial
from timbre.artifacts import Artifact, FileInput, Input, digest_json, write_atomically
from timbre.config import SERVING, GenerationConfig, PromptConfig
from timbre.corpus.documents import read_documents
from timbre.evaluation.generations_stage import STAGE as GENERATIONS
from timbre.evaluation.likelihood import likelihood_summary
from timbre.evaluation.memorisation import TrainingText
from timbre.evaluation.prompts_stage import STAGE as PROMPTS
from timbre.metrics.told_apart import Side, told_apart
from timbre.models import load_tokenizer
from timbre.precision import precision
from timbre.settings import settings

RESULTS = Path(__file__).resolve().parents[1] / "results" / "little-text"
FAMILIES = ("characters", "words", "frame")
PROMPTED = PromptConfig(prompts=128, plain=False, prompt_tokens=24, new_tokens=96)
READ = GenerationConfig(
    prompt_tokens=24, new_tokens=96, memorisation_prompts=16, likelihood_tokens=6_144, bias_items=90, fact_items=90, sampler=SERVING
)
VERSION = 1
"""Raised when a cell's figures would come out otherwise."""

Figures = dict[str, Any]


def students_of(cell: Cell) -> tuple[Recipe, ...]:
    """Of which students the best by validation is measured."""
    return STUDENTS[cell.arm]


def state_read(cell: Cell) -> State:
    """SFT is stopped early, as whoever uses it would; DFT takes its epochs, and what is over-trained its ten."""
    return "best" if cell.arm in STOPPED else "last"


def configuration(cell: Cell, place: Trial, folds: int = 2) -> dict[str, Any]:
    """Everything that decides a cell's figures, but the machine."""
    trained = {
        recipe.name: {
            "target": place.size.target(recipe, cell.seed).model_dump(mode="json"),
            "training": place.size.training(recipe, cell.seed, folds).model_dump(mode="json"),
        }
        for recipe in students_of(cell)
    }
    read = {"prompts": PROMPTED.model_dump(mode="json"), "read": READ.model_dump(mode="json"), "state": state_read(cell)}
    return {"arm": cell.arm, "style": cell.style, "tokens": cell.tokens, "seed": cell.seed, "version": VERSION, **trained, **read}


def path_of(cell: Cell, config: Mapping[str, Any]) -> Path:
    """Where a cell's figures lie, or will."""
    return RESULTS / f"{cell.name}-{digest_json(config)[:12]}.json"


def run(cell: Cell, place: Trial) -> Figures:
    """Found, or trained and measured."""
    config = configuration(cell, place)
    path = path_of(cell, config)
    if path.exists():
        found: Figures = json.loads(path.read_bytes())
        return found
    made = {"precision": precision().sentence(), "corpus": place.corpus.digest, "model": place.model.digest}
    figures = {"cell": cell.name, "configuration": config, "made": made} | _measured(cell, place)
    write_atomically(path, _compact(figures))
    return figures


def _measured(cell: Cell, place: Trial) -> Figures:
    trained = {recipe.name: student(place, recipe) for recipe in students_of(cell)}
    if not trained:
        return {"items": _names(place), "read": read(place, None, floor=True)}
    chosen = min(trained, key=lambda name: best_look(trained[name])[1])
    curves = {"curves": {name: curve(one) for name, one in trained.items()}, "chosen": chosen, "best": best_look(trained[chosen])}
    return curves | {"read": read(place, state_of(place, trained[chosen], state_read(cell)))}


def read(place: Trial, adapter: Artifact | None, *, floor: bool = False) -> Figures:
    """All figures of one model on test documents, item by item in a fixed order, so that arms can be paired."""
    written, prompts = _written(place, adapter), _prompts(place)
    rows = written.json_lines("generations.jsonl")
    scores = written.json("scores.json")
    style = [row for row in rows if row["kind"] == "style"]
    train = TrainingText(read_documents(place.corpus, "train"), load_tokenizer(place.model))
    copied = {kind: [train.figures(row) for row in rows if row["kind"] == kind] for kind in ("style", "memorisation")}
    others = prompts.json_lines("human.jsonl") if floor else None
    return {
        "nll": _rounded(row["nll"] for row in scores["likelihood"]), "entropy": _rounded(row["entropy"] for row in scores["likelihood"]),
        "summary": {name: round(value, 5) for name, value in likelihood_summary(scores["likelihood"]).items()},
        "told_apart": _told(style, others),
        "covered": _rounded(share for _, _, share in copied["style"]), "recited": _rounded(share for _, _, share in copied["memorisation"]),
        "longest": max((length for length, _, _ in (*copied["style"], *copied["memorisation"])), default=0),
        "fact_margin": _rounded(_values(scores["facts"], "fact_margin")), "bias_gap": _rounded(_values(scores["bias"], "bias_gap")),
    }  # fmt: skip


def _told(style: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]] | None) -> Figures:
    documents = [row["cluster"] for row in style]
    own, human = (Side([row[side] for row in style], documents) for side in ("text", "human"))
    rest = None if others is None else Side([row["text"] for row in others], [row["cluster"] for row in others])
    found = told_apart(own, human, rest, of_one_length=True)
    return {
        name: {"auc": round(found.families[name].auc.mean, 5), "shares": _rounded(found.families[name].contributions)}
        | ({} if (chance := found.families[name].floor) is None else {"floor": round(chance.mean, 5)})
        for name in FAMILIES
    }


def _names(place: Trial) -> Figures:
    """What the arrays of every cell are about: documents of passages and prompts, tokens of passages, facts, templates."""
    written = _written(place, None)
    scores = written.json("scores.json")
    return {
        "passages": [row["cluster"] for row in scores["likelihood"]], "tokens": [row["tokens"] for row in scores["likelihood"]],
        "prompts": [row["cluster"] for row in written.json_lines("generations.jsonl") if row["kind"] == "style"],
        "facts": [row["cluster"] for row in scores["facts"] if row["metric"] == "fact_margin"],
        "bias": [row["cluster"] for row in scores["bias"] if row["metric"] == "bias_gap"],
    }  # fmt: skip


def _prompts(place: Trial) -> Artifact:
    return place.store.build(PROMPTS, PROMPTED, {"corpus": place.corpus, "model": place.model})


def _written(place: Trial, adapter: Artifact | None) -> Artifact:
    probes = {
        name: settings().root / "data" / "probes" / f"{file}.jsonl" for name, file in (("bias_probes", "bias"), ("fact_probes", "facts"))
    }
    inputs: dict[str, Input] = {"model": place.model, "corpus": place.corpus, "prompts": _prompts(place)}
    inputs |= {name: FileInput(path) for name, path in probes.items()}
    if adapter is not None:
        inputs |= {"adapter": adapter, "target": place.target(DFT)}
    return place.store.build(GENERATIONS, READ, inputs)


def _values(rows: Sequence[Mapping[str, Any]], metric: str) -> list[float]:
    return [row["value"] for row in rows if row["metric"] == metric]


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(float(value), 4) for value in np.asarray(list(values), float)]


def _compact(figures: Figures) -> bytes:
    """A line a key of the first two floors: arrays stay on one."""
    parts = [f' "{name}": {json.dumps(value, sort_keys=True)}' for name, value in figures.items()]
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()
