"""Cells: what is measured of an arm, and the configuration by whose digest its JSON is found again."""

from collections.abc import Mapping
from typing import Any

from benchmarks.cells import RESULTS as ALL_RESULTS
from benchmarks.cells import Shelf
from benchmarks.little_text.arms import Cell, size
from benchmarks.little_text.design import DFT, STOPPED, STUDENTS
from benchmarks.readings import Figures, probe_files, probe_names, probed, rounded, told, training_text
from benchmarks.recipes import Recipe
from benchmarks.students import State, best_look, curve, state_of, student
from benchmarks.trial import Trial
from timbre.artifacts import Artifact, Input
from timbre.config import SERVING, GenerationConfig, PromptConfig
from timbre.evaluation.generations_stage import STAGE as GENERATIONS
from timbre.evaluation.likelihood import likelihood_summary
from timbre.evaluation.prompts_stage import STAGE as PROMPTS
from timbre.precision import precision

RESULTS = ALL_RESULTS / "little-text"
PROMPTED = PromptConfig(prompts=128, plain=False, prompt_tokens=24, new_tokens=96)
READ = GenerationConfig(
    prompt_tokens=24, new_tokens=96, memorisation_prompts=16, likelihood_tokens=6_144, bias_items=90, fact_items=90, sampler=SERVING
)
VERSION = 1
"""Raised when a cell's figures would come out otherwise."""


def students_of(cell: Cell) -> tuple[Recipe, ...]:
    """Of which students the best by validation is measured."""
    return STUDENTS[cell.arm]


def state_read(cell: Cell) -> State:
    """SFT is stopped early, as whoever uses it would; DFT takes its epochs, and what is over-trained its ten."""
    return "best" if cell.arm in STOPPED else "last"


def configuration(cell: Cell, folds: int = 2) -> dict[str, Any]:
    """Everything that decides a cell's figures, but the machine."""
    trained = {
        recipe.name: {
            "target": size(cell.tokens).target(recipe, cell.seed).model_dump(mode="json"),
            "training": size(cell.tokens).training(recipe, cell.seed, folds).model_dump(mode="json"),
        }
        for recipe in students_of(cell)
    }
    read = {"prompts": PROMPTED.model_dump(mode="json"), "read": READ.model_dump(mode="json"), "state": state_read(cell)}
    return {"arm": cell.arm, "style": cell.style, "tokens": cell.tokens, "seed": cell.seed, "version": VERSION, **trained, **read}


SHELF = Shelf(RESULTS, configuration)


def run(cell: Cell, place: Trial) -> Mapping[str, Any]:
    """Found, or trained and measured."""
    made = {"precision": precision().sentence(), "corpus": place.corpus.digest, "model": place.model.digest}
    return SHELF.keep(cell, lambda: _measured(cell, place), made)


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
    train = training_text(place.corpus, place.model)
    copied = {kind: [train.figures(row) for row in rows if row["kind"] == kind] for kind in ("style", "memorisation")}
    return {
        "nll": rounded(row["nll"] for row in scores["likelihood"]), "entropy": rounded(row["entropy"] for row in scores["likelihood"]),
        "summary": {name: round(value, 5) for name, value in likelihood_summary(scores["likelihood"]).items()},
        "told_apart": told(style, prompts.json_lines("human.jsonl") if floor else None),
        "covered": rounded(share for _, _, share in copied["style"]), "recited": rounded(share for _, _, share in copied["memorisation"]),
        "longest": max((length for length, _, _ in (*copied["style"], *copied["memorisation"])), default=0),
    } | probed(scores)  # fmt: skip


def _names(place: Trial) -> Figures:
    """What the arrays of every cell are about: documents of passages and prompts, tokens of passages, facts, templates."""
    written = _written(place, None)
    scores = written.json("scores.json")
    return {
        "passages": [row["cluster"] for row in scores["likelihood"]], "tokens": [row["tokens"] for row in scores["likelihood"]],
        "prompts": [row["cluster"] for row in written.json_lines("generations.jsonl") if row["kind"] == "style"],
    } | probe_names(scores)  # fmt: skip


def _prompts(place: Trial) -> Artifact:
    return place.store.build(PROMPTS, PROMPTED, {"corpus": place.corpus, "model": place.model})


def _written(place: Trial, adapter: Artifact | None) -> Artifact:
    inputs: dict[str, Input] = {"model": place.model, "corpus": place.corpus, "prompts": _prompts(place)} | probe_files()
    if adapter is not None:
        inputs |= {"adapter": adapter, "target": place.target(DFT)}
    return place.store.build(GENERATIONS, READ, inputs)
