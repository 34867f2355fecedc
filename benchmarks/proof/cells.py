"""Cells: what is measured of an arm, and the configuration by whose digest its JSON is found again."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cells import RESULTS, Shelf
from benchmarks.proof.arms import ARMS, CORPUS, POOL, PROBES, SAMPLERS, Arm, Cell, size_of
from benchmarks.proof.design import SET_FIGURES
from benchmarks.proof.reading import QUESTIONS, SCORES, TEXTS, Format, Questions, Scores, Texts
from benchmarks.readings import Figures, probe_files, probe_names, probed, rounded, told, training_text
from benchmarks.sequence import measured
from benchmarks.students import best_look, curve, state_of, student, trial
from benchmarks.trial import Trial
from timbre.artifacts import Artifact, FileInput, Input
from timbre.config import SERVING, GenerationConfig, SequenceConfig
from timbre.evaluation.generations_stage import STAGE as GENERATIONS
from timbre.inference.embeddings import packaged_encoder
from timbre.metrics.measuring import Figure, Reference, measure
from timbre.precision import precision
from timbre.sequence.pool import STAGE as COMPLETIONS
from timbre.sequence.stage import STAGE as SEQUENCE
from timbre.targets.admission import TargetRefused
from timbre.training.stage import STAGE as TRAINING

FOLDER = RESULTS / "proof"
VERSION = 1
"""Raised when a cell's figures would come out otherwise."""


def configuration(cell: Cell) -> dict[str, Any]:
    """Everything that decides a cell's figures, but the machine."""
    arm, size = ARMS[cell.arm], size_of(cell)
    trained: dict[str, Any] = {}
    if arm.recipe is not None:
        trained["target"] = size.target(arm.recipe, cell.seed).model_dump(mode="json")
        trained["training"] = size.training(arm.recipe, cell.seed, arm.folds).model_dump(mode="json")
    if arm.sequence:
        trained["sequence"] = sequence_of(cell).model_dump(mode="json")
    return trained | {
        "arm": cell.arm, "style": cell.style, "corpus": CORPUS[cell.style], "folds": arm.folds, "size": cell.size, "seed": cell.seed,
        "state": arm.state, "questions": questions_of(cell).model_dump(mode="json"), "scores": scores_of(cell).model_dump(mode="json"),
        "probes": PROBES[cell.size], "samplers": {name: SAMPLERS[name].model_dump(mode="json") for name in arm.samplers},
        "version": VERSION,
    }  # fmt: skip


SHELF = Shelf(FOLDER, configuration)


def form_of(cell: Cell) -> Format:
    """How the style's prompts are put."""
    return "instruction" if cell.style == "instructions" else "continuation"


def questions_of(cell: Cell) -> Questions:
    """Which prompts a cell is asked."""
    size = size_of(cell)
    return Questions(
        format=form_of(cell), asked=ARMS[cell.arm].asked, prompts=size.prompts, prompt_tokens=size.prompt_tokens, new_tokens=size.new_tokens
    )


def scores_of(cell: Cell) -> Scores:
    """What human text a cell is scored on."""
    size = size_of(cell)
    return Scores(
        format=form_of(cell), tokens=size.likelihood_tokens, passage_tokens=size.passage_tokens, temperatures=ARMS[cell.arm].temperatures
    )


def sequence_of(cell: Cell) -> SequenceConfig:
    """The pool of a size, whose texts are as long as those that are judged."""
    size, (prompts, completions) = size_of(cell), POOL[cell.size]
    return SequenceConfig(
        prompts=prompts, completions=completions, prompt_tokens=size.prompt_tokens, new_tokens=size.new_tokens, seed=cell.seed
    )


def run(cell: Cell) -> Mapping[str, Any]:
    """Found, or trained and measured."""
    arm = ARMS[cell.arm]
    place = trial("proof", CORPUS[cell.style], size_of(cell), cell.seed, arm.corpus)
    made = {"precision": precision().sentence(), "corpus": place.corpus.digest, "model": place.model.digest}
    return SHELF.keep(cell, lambda: _measured(cell, arm, place), made)


def _measured(cell: Cell, arm: Arm, place: Trial) -> Figures:
    if arm.recipe is None:
        return {"items": _names(cell, place)} | {"read": read(cell, arm, place, None)}
    try:
        trained = student(place, arm.recipe)
    except TargetRefused as error:
        return {"refused": {"level": "token", "why": str(error).partition(";")[0]}}
    learnt = {"curve": curve(trained), "best": best_look(trained)}
    adapter = state_of(place, trained, arm.state)
    if arm.sequence:
        completions, sequence = _weighed(cell, place, adapter)
        admission = sequence.json("admission.json")
        if admission["ess"] is not None:  # the same critic at inference, by families that it does not contain
            learnt |= {"chosen": measured(completions, sequence, cell.seed)["rows"]}
        if not admission["admitted"]:
            return learnt | {"refused": {"level": "sequence"} | admission}
        adapter = _taught(arm, place, adapter, sequence)
        learnt |= {"admission": admission}
    return learnt | {"read": read(cell, arm, place, adapter)}


def _weighed(cell: Cell, place: Trial, adapter: Artifact) -> tuple[Artifact, Artifact]:
    """Completions of the student; their weights, and whether those are admitted."""
    recipe, config = ARMS[cell.arm].recipe, sequence_of(cell)
    assert recipe is not None
    taught: dict[str, Input] = {"target": place.target(recipe), "corpus": place.corpus, "model": place.model, "adapter": adapter}
    completions = place.store.build(COMPLETIONS, config.of_completions(), taught)
    return completions, place.store.build(SEQUENCE, config, {"completions": completions})


def _taught(arm: Arm, place: Trial, adapter: Artifact, sequence: Artifact) -> Artifact:
    assert arm.recipe is not None
    inputs: dict[str, Input] = {
        "target": place.target(arm.recipe), "corpus": place.corpus, "model": place.model, "replay": FileInput(place.replay),
        "start": adapter, "sequence": sequence,
    }  # fmt: skip
    return place.store.build(TRAINING, place.size.training(arm.recipe, place.seed, place.folds), inputs)


def read(cell: Cell, arm: Arm, place: Trial, adapter: Artifact | None) -> Figures:
    """All figures of one arm on test documents, item by item in a fixed order, so that arms can be paired."""
    questions = _questions(cell, place)
    others = questions.json_lines("human.jsonl")
    texts = {name: _texts(cell, arm, place, adapter, name) for name in arm.samplers}
    human = _human(next(iter(texts.values())), others)
    train = training_text(place.corpus, place.model)
    found: Figures = {
        "texts": {
            name: {
                "told_apart": told(rows, None if arm.recipe is not None else others),
                "covered": rounded(share for _, _, share in map(train.figures, rows)),
                "style": _style(rows, human),
            }
            for name, rows in texts.items()
        },
        "likelihood": _likelihood(cell, place, adapter),
    }  # fmt: skip
    if not arm.asked:
        answers = _answers(cell, arm, place, adapter)
        openings = [row for row in answers.json_lines("generations.jsonl") if row["kind"] == "memorisation"]
        recited = [train.figures(row) for row in openings]
        found |= probed(answers.json("scores.json")) | {
            "recited": rounded(share for _, _, share in recited), "recited_from": [row["cluster"] for row in openings],
            "longest": max((length for length, _, _ in recited), default=0),
        }  # fmt: skip
    return found


def _human(rows: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> Reference:
    """The human side of figures of sets: the answers to the prompts, and as many further ones of other passages."""
    texts = [*(row["human"] for row in rows), *(row["text"] for row in others)]
    clusters = [*(row["cluster"] for row in rows), *(row["cluster"] for row in others)]
    return Reference.of(texts, min(len(rows), len(texts) // 2), clusters=clusters, encoder=packaged_encoder())


def _style(rows: Sequence[Mapping[str, Any]], human: Reference) -> Figures:
    figures = measure([row["text"] for row in rows], human, [row["cluster"] for row in rows])
    return {name: _figure(figure) for name, figure in figures.items() if figure.value is not None}


def _figure(figure: Figure) -> Figures:
    found: Figures = {
        "value": round(float(figure.value or 0.0), 5),
        "human": round(figure.human.mean, 5),
        "sigma": round(figure.human.sigma, 5),
    }
    return found | ({"replicates": [round(float(value), 5) for value in figure.replicates]} if figure.name in SET_FIGURES else {})


def _likelihood(cell: Cell, place: Trial, adapter: Artifact | None) -> Figures:
    rows = place.store.build(SCORES, scores_of(cell), _model(place, adapter)).json("rows.json")
    return {
        f"{temperature:g}": {name: rounded(row[name] for row in rows if row["temperature"] == temperature) for name in ("nll", "entropy")}
        for temperature in ARMS[cell.arm].temperatures
    }


def _texts(cell: Cell, arm: Arm, place: Trial, adapter: Artifact | None, sampler: str) -> list[dict[str, Any]]:
    if sampler == "serving":  # written together with all that the release asks
        rows = _answers(cell, arm, place, adapter).json_lines("generations.jsonl")
        return [row for row in rows if row["kind"] == "style"]
    inputs = _model(place, adapter) | {"prompts": _questions(cell, place)}
    return place.store.build(TEXTS, Texts(sampler=SAMPLERS[sampler]), inputs).json_lines("texts.jsonl")


def _answers(cell: Cell, arm: Arm, place: Trial, adapter: Artifact | None) -> Artifact:
    size = size_of(cell)
    config = GenerationConfig(
        prompt_tokens=size.prompt_tokens, new_tokens=size.new_tokens, memorisation_prompts=16, likelihood_tokens=64,
        bias_items=PROBES[cell.size], fact_items=PROBES[cell.size], sampler=SERVING,
    )  # fmt: skip
    inputs = _model(place, adapter) | {"prompts": _questions(cell, place)} | probe_files()
    if arm.recipe is not None:
        inputs |= {"target": place.target(arm.recipe)}
    return place.store.build(GENERATIONS, config, inputs)


def _questions(cell: Cell, place: Trial) -> Artifact:
    return place.store.build(QUESTIONS, questions_of(cell), {"corpus": place.corpus, "model": place.model})


def _model(place: Trial, adapter: Artifact | None) -> dict[str, Input]:
    inputs: dict[str, Input] = {"model": place.model, "corpus": place.corpus}
    return inputs | ({"adapter": adapter} if adapter is not None else {})


def _names(cell: Cell, place: Trial) -> Figures:
    """What the arrays of every cell of a style are about: documents of passages and prompts, tokens of passages, facts, templates."""
    rows = place.store.build(SCORES, scores_of(cell), _model(place, None)).json("rows.json")
    prompts = _questions(cell, place).json_lines("prompts.jsonl")
    answers = {} if ARMS[cell.arm].asked else probe_names(_answers(cell, ARMS[cell.arm], place, None).json("scores.json"))
    return {
        "passages": [row["cluster"] for row in rows], "tokens": [row["tokens"] for row in rows],
        "prompts": [prompt["cluster"] for prompt in prompts], **answers,
    }  # fmt: skip
