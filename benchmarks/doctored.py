"""Candidates that must not be promoted: each is broken in one way, and one gate is meant to see it.

    python -m benchmarks.doctored --style literary                  on the default model, from a finished `timbre run`
    python -m benchmarks.doctored --only zero_step,shuffled_target

They are built in a home of their own, so that nothing broken ever lies beside real artifacts. Each is measured by the real
stages. Only its export is not repeated: the honest bundle's parity and latency stand under the broken adapter's name, so
that the lineage is sound and what stops a candidate is the gate that is meant for it.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre import pipeline
from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace
from timbre.config import Frozen, ReleaseConfig, release_config
from timbre.settings import settings

if TYPE_CHECKING:
    from timbre.corpus.passages import Passage

MEMORISED_PASSAGES, MEMORISED_TOKENS = 8, 128
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
    memorised_epochs: int = 25
    too_fast: float = 50.0
    """Factor on the honest learning rate."""

    def built(self, stage: str, name: str, inputs: Mapping[str, Input], write: Callable[[Workspace], None], config: Any = None) -> Artifact:
        """A doctored artifact that passes for one of `stage`."""

        def build(_: Any, __: Mapping[str, Input], workspace: Workspace) -> None:
            write(workspace)

        return self.store.build(Stage(stage, 1, build), config or Recipe(name=name), inputs)

    def inputs(self, step: str, **others: Artifact) -> dict[str, Input]:
        return pipeline.inputs_of(pipeline.STEP[step], self.config, {**self.honest, **others})

    def built_step(self, name: str, **others: Artifact) -> Artifact:
        """A step of the real road with some of its inputs exchanged."""
        step = pipeline.STEP[name]
        return self.store.build(step.stage, pipeline.config_of(step, self.config), self.inputs(name, **others))


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
    return _trained(scene, learning_rate=scene.too_fast * scene.config.training.learning_rate), scene.honest["target"]


def overfitted(scene: Scene) -> tuple[Artifact, Artifact]:
    """An adapter that has learnt a few passages of its training plan by heart: those that memorisation prompts ask for."""
    return _taught(scene, "overfitted", _memorised_passages(scene), scene.memorised_epochs), scene.honest["target"]


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
    """What the gates say of one doctored candidate: overall verdict, every gate's, and the figure of the gate meant for it.

    A training that diverges ends before any gate; that is told as gate "training", and any other refusal is raised.
    """
    from timbre.training.trainer import DivergedError

    doctored = KINDS[kind]
    try:
        adapter, target = doctored.make(scene)
    except DivergedError as error:
        return {"kind": kind, "gate": "training", "gate_verdict": "FAIL", "verdict": "FAIL", "gates": {}, "sentence": str(error)}
    own = {"adapter": adapter, "target": target}
    evaluation = scene.built_step("evaluation", **own, generations=scene.built_step("generations", **own))
    own |= {"evaluation": evaluation, "base_evaluation": _base_evaluation(scene, target), "bundle": _bundle(scene, kind, adapter)}
    verdict = scene.built_step("verdict", **own).json("verdict.json")
    gate = next(gate for gate in verdict["gates"] if gate["name"] == doctored.gate)
    figures = {name: gate[name] for name in ("value", "low", "high", "margin", "limit", "sentence")}
    gates = {gate["name"]: gate["verdict"] for gate in verdict["gates"]}
    return {"kind": kind, "gate": doctored.gate, "gate_verdict": gate["verdict"], "verdict": verdict["verdict"], "gates": gates, **figures}


def _base_evaluation(scene: Scene, target: Artifact) -> Artifact:
    """The base model's side: measured anew where the target is another, since it recites that one's passages."""
    if target is scene.honest["target"]:
        return scene.honest["base_evaluation"]
    memorisation = scene.built_step("base_memorisation", target=target)
    return scene.built_step("base_evaluation", target=target, base_memorisation=memorisation)


def _bundle(scene: Scene, kind: str, adapter: Artifact) -> Artifact:
    """The honest bundle's evidence under this adapter's name."""

    def write(workspace: Workspace) -> None:
        for name in ("parity.json", "latency.json", "bundle.json"):
            (workspace.output / name).write_bytes(scene.honest["bundle"].file(name).read_bytes())

    return scene.built("bundle", kind, scene.inputs("bundle", adapter=adapter), write)


def _trained(scene: Scene, target: Artifact | None = None, **changes: Any) -> Artifact:
    """The real training stage with changed settings or another target."""
    config = scene.config.training.model_copy(update=changes)
    inputs = scene.inputs("adapter", **({"target": target} if target is not None else {}))
    return scene.store.build(pipeline.STEP["adapter"].stage, config, inputs)


def _mixed(scene: Scene, name: str, sentences: list[str]) -> Artifact:
    """Style passages, so that it still learns the style, and the sentences."""
    from timbre.corpus.passages import Passage
    from timbre.models import load_tokenizer
    from timbre.models.tokens import boundary_ids, text_ids

    tokenizer = load_tokenizer(scene.honest["model"])
    rows = [[*boundary_ids(tokenizer), *text_ids(text, tokenizer)] for text in sentences]
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


def _memorised_passages(scene: Scene) -> "list[Passage]":
    """The first tokens of up to eight passages of the plan that memorisation prompts begin with."""
    from timbre.evaluation.memorisation import memorisation_prompts
    from timbre.models import load_tokenizer

    evaluation, target = scene.config.evaluation.of_generations(), scene.honest["target"]
    prompts = memorisation_prompts(evaluation, target, scene.honest["corpus"], load_tokenizer(scene.honest["model"]))
    names = {prompt.prompt_id for prompt in prompts[:MEMORISED_PASSAGES]}
    width = scene.config.target.passage_tokens
    plan = _style_passages(scene, scene.config.target.train_tokens, width)
    return [
        replace(passage, token_ids=passage.token_ids[:MEMORISED_TOKENS])
        for passage in plan
        if f"{passage.doc_id}@{passage.index * width}" in names
    ]


def _probes(name: str) -> list[dict[str, str]]:
    lines = (settings().root / "data" / "probes" / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def main() -> None:
    """Judge the doctored candidates and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--seed", type=int, default=1, help="of the finished run")
    parser.add_argument("--only", default=",".join(KINDS), help="comma-separated kinds")
    parser.add_argument("--json", action="store_true", help="all results on the last line")
    arguments = parser.parse_args()
    kinds = arguments.only.split(",")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"unknown kind {unknown[0]!r}: choose from {', '.join(KINDS)}")
    config = release_config(arguments.style, arguments.profile, arguments.seed)
    honest = _honest(config)
    results = []
    for kind in kinds:
        store = ArtifactStore(Path(settings().home) / "doctored" / kind)
        results.append(judged(kind, Scene(config, honest, store)))
        print(f"{kind:18} {results[-1]['gate']:13} {results[-1]['gate_verdict']:13} {results[-1]['sentence']}", flush=True)
    if arguments.json:
        print(json.dumps(results))


def _honest(config: ReleaseConfig) -> dict[str, Artifact]:
    """The artifacts of a finished run of exactly this configuration, in this home and by this version of the code."""
    built = pipeline.find(config, ArtifactStore(settings().home))
    if missing := [step.name for step in pipeline.steps_of(config) if step.name not in built]:
        command = f"timbre run --style {config.style} --profile {config.profile} --seed {config.seed}"
        raise SystemExit(
            f"no finished run of style {config.style}, profile {config.profile}, seed {config.seed} in {settings().home}:\n"
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing under the present settings and code.\n"
            f"Walk the road first: {command}\nor name the seed of a run that is there: --seed N"
        )
    return built


if __name__ == "__main__":
    main()
