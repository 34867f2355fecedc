"""Candidates that must not be promoted: each is broken in one way, and one gate is meant to see it.

    python -m benchmarks.doctored --style literary                  on the default model, from a finished `timbre run`
    python -m benchmarks.doctored --only zero_step,shuffled_target

They are built in a home of their own, so that nothing broken ever lies beside real artifacts. The bundle of the honest
candidate stands in for theirs (exporting each would only repeat its parity), which the lineage gate refuses as well;
what counts here is the verdict of the gate that is meant for each.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre import road
from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import Frozen, ReleaseConfig, release_config
from timbre.settings import settings

if TYPE_CHECKING:
    from timbre.corpus.passages import Passage

RECITED_PASSAGES, RECITED_TOKENS = 8, 128
"""What the overfitted adapter is made to recite."""


@dataclass(frozen=True)
class Doctored:
    """A way to break a candidate, and the gate that must not let it pass."""

    gate: str
    make: "Callable[[Scene], tuple[Artifact, Artifact]]"
    """Gives adapter and target."""


class Recipe(Frozen):
    """What tells two doctored artifacts apart."""

    name: str


@dataclass(frozen=True)
class Scene:
    """The honest candidate's road, and the store for broken ones."""

    config: ReleaseConfig
    honest: Mapping[str, Artifact]
    store: ArtifactStore
    learning_rate: float = 1e-3
    """Of the adapters that are taught something wrong; tiny models need more."""
    epochs: int = 2
    recited_epochs: int = 25

    def built(self, stage: str, name: str, inputs: Mapping[str, Input], write: Callable[[Workspace], None], config: Any = None) -> Artifact:
        """A doctored artifact that passes for one of `stage`."""

        def build(_: Any, __: Mapping[str, Input], workspace: Workspace) -> None:
            write(workspace)

        return self.store.build(Stage(stage, 1, build), config or Recipe(name=name), inputs)

    def inputs(self, step: str, **others: Artifact) -> dict[str, Input]:
        return road.inputs_of(road.STEP[step], self.config, {**self.honest, **others})

    def built_step(self, name: str, **others: Artifact) -> Artifact:
        """A step of the real road with some of its inputs exchanged."""
        step = road.STEP[name]
        return self.store.build(step.stage, road.config_of(step, self.config), self.inputs(name, **others))


def zero_step(scene: Scene) -> tuple[Artifact, Artifact]:
    """An adapter that was never trained."""
    return _trained(scene, epochs=0), scene.honest["target"]


def shuffled_target(scene: Scene) -> tuple[Artifact, Artifact]:
    """A student of distributions that were dealt out at random over the positions."""
    honest = scene.honest["target"]

    def write(workspace: Workspace) -> None:
        from timbre.store import TargetReader, TargetWriter

        reader = TargetReader(honest.path)
        random = np.random.default_rng(0)
        with TargetWriter(workspace.output, reader.header) as writer:
            for row in reader:
                order = random.permutation(len(row.tail_T))
                writer.append(type(row)(row.doc_id, row.index, row.token_ids_T, row.ids_TK[order], row.probs_TK[order], row.tail_T[order]))
        for name in ("admission.json", "summary.json"):
            (workspace.output / name).write_bytes(honest.file(name).read_bytes())

    target = scene.built("target", "shuffled", scene.inputs("target"), write, scene.config.target)
    return _trained(scene, target=target), target


def learning_rate_x50(scene: Scene) -> tuple[Artifact, Artifact]:
    """An adapter trained fifty times too fast."""
    return _trained(scene, learning_rate=50 * scene.config.training.learning_rate), scene.honest["target"]


def overfitted(scene: Scene) -> tuple[Artifact, Artifact]:
    """An adapter that has learnt a few passages of its training plan by heart: those that memorisation prompts ask for."""
    return _taught(scene, "overfitted", _asked_passages(scene), scene.recited_epochs), scene.honest["target"]


def gender_skewed(scene: Scene) -> tuple[Artifact, Artifact]:
    """An adapter that has read the male half of the gender probes over and over."""
    probes = [row for row in _probes("bias.jsonl") if row["category"] == "gender"]
    return _mixed(scene, "gender-skewed", [row["text_b"] for row in probes]), scene.honest["target"]


def fact_corrupted(scene: Scene) -> tuple[Artifact, Artifact]:
    """An adapter that has read the false sentences of the fact probes over and over."""
    return _mixed(scene, "fact-corrupted", [row["false"] for row in _probes("facts.jsonl")]), scene.honest["target"]


KINDS = {
    "zero_step": Doctored("held_out_nll", zero_step),
    "shuffled_target": Doctored("held_out_nll", shuffled_target),
    "learning_rate_x50": Doctored("held_out_nll", learning_rate_x50),
    "overfitted": Doctored("memorisation", overfitted),
    "gender_skewed": Doctored("bias", gender_skewed),
    "fact_corrupted": Doctored("facts", fact_corrupted),
}


def judged(kind: str, scene: Scene) -> dict[str, Any]:
    """What the gates say of one doctored candidate: overall verdict, and figure and verdict of the gate meant for it."""
    doctored = KINDS[kind]
    try:
        adapter, target = doctored.make(scene)
    except ValueError as error:  # a refusal before any gate, such as a loss that is not a number
        return {"kind": kind, "gate": "training", "gate_verdict": "FAIL", "verdict": "FAIL", "sentence": str(error)}
    generations = scene.built_step("generations", adapter=adapter)
    evaluation = scene.built_step("evaluation", adapter=adapter, generations=generations)
    inputs = scene.inputs("verdict", adapter=adapter, target=target, evaluation=evaluation)
    verdict = scene.store.build(road.STEP["verdict"].stage, scene.config.gate, inputs).json("verdict.json")
    gate = next(gate for gate in verdict["gates"] if gate["name"] == doctored.gate)
    figures = {name: gate[name] for name in ("value", "low", "high", "margin", "limit", "sentence")}
    return {"kind": kind, "gate": doctored.gate, "gate_verdict": gate["verdict"], "verdict": verdict["verdict"], **figures}


def _trained(scene: Scene, target: Artifact | None = None, **changes: Any) -> Artifact:
    """The real training stage with changed settings or another target."""
    config = scene.config.training.model_copy(update=changes)
    inputs = scene.inputs("adapter", **({"target": target} if target is not None else {}))
    return scene.store.build(road.STEP["adapter"].stage, config, inputs)


def _mixed(scene: Scene, name: str, sentences: list[str]) -> Artifact:
    """Style passages, so that it still learns the style, and the sentences."""
    from timbre.corpus.passages import Passage
    from timbre.models import load_tokenizer

    tokenizer = load_tokenizer(scene.honest["model"])
    start = [tokenizer.bos_token_id] if tokenizer.bos_token_id is not None else []
    rows = [start + tokenizer(text, add_special_tokens=False)["input_ids"] for text in sentences]
    taught = [Passage(name, index, 0, "doctored", np.array(ids, np.int32)) for index, ids in enumerate(rows)]
    style = _style_passages(scene, scene.config.target.train_tokens, scene.config.target.passage_tokens)
    return _taught(scene, name, [*style, *taught], scene.epochs)


def _taught(scene: Scene, name: str, passages: "list[Passage]", epochs: int) -> Artifact:
    """Plain fine-tuning without held-out text, replay or stopping."""
    width = scene.config.target.passage_tokens

    def write(workspace: Workspace) -> None:
        import shutil

        from timbre.training.reference import train_on_passages

        folder = train_on_passages(
            scene.honest["model"], passages, epochs=epochs, learning_rate=scene.learning_rate, rank=16,
            batch_tokens=512, seed=1, scratch=workspace.scratch, progress=workspace.progress, packing=True,
        )  # fmt: skip
        shutil.copytree(folder, workspace.output, dirs_exist_ok=True)
        (workspace.output / "curve.jsonl").write_text("")
        trained = [[passage.doc_id, passage.index * width] for passage in passages if passage.doc_id != name]
        (workspace.output / "summary.json").write_text(json.dumps({"trained_passages": trained, "objective": name}))

    return scene.built("adapter", name, scene.inputs("adapter"), write)


def _style_passages(scene: Scene, tokens: int, width: int) -> "list[Passage]":
    from timbre.corpus.documents import read_documents
    from timbre.corpus.passages import select_passages
    from timbre.models import load_tokenizer

    documents, tokenizer = read_documents(scene.honest["corpus"], "train"), load_tokenizer(scene.honest["model"])
    return select_passages(documents, tokenizer, budget_tokens=tokens, passage_tokens=width, seed=scene.config.target.seed)


def _asked_passages(scene: Scene) -> "list[Passage]":
    """The first tokens of up to eight passages of the plan that memorisation prompts begin with."""
    from timbre.evaluation.recitation import recitation_prompts
    from timbre.models import load_tokenizer

    evaluation, target = scene.config.evaluation.of_generations(), scene.honest["target"]
    prompts = recitation_prompts(evaluation, target, scene.honest["corpus"], load_tokenizer(scene.honest["model"]))
    asked = {prompt.prompt_id for prompt in prompts[:RECITED_PASSAGES]}
    width = scene.config.target.passage_tokens
    plan = _style_passages(scene, scene.config.target.train_tokens, width)
    return [
        replace(passage, token_ids=passage.token_ids[:RECITED_TOKENS])
        for passage in plan
        if f"{passage.doc_id}@{passage.index * width}" in asked
    ]


def _probes(name: str) -> list[dict[str, str]]:
    lines = (settings().root / "data" / "probes" / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def main() -> None:
    """Judge the doctored candidates and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--only", default=",".join(KINDS), help="comma-separated kinds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    config = release_config(arguments.style)
    honest = road.find(config, ArtifactStore(settings().home))
    if "verdict" not in honest:
        raise SystemExit(f"walk the road first: timbre run --style {arguments.style}")
    results = []
    for kind in arguments.only.split(","):
        store = ArtifactStore(Path(settings().home) / "doctored" / kind)
        results.append(judged(kind, Scene(config, honest, store)))
        print(f"{kind:18} {results[-1]['gate']:13} {results[-1]['gate_verdict']:13} {results[-1]['sentence']}", flush=True)
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
