"""Does the debiased target take bias away, and what does it cost?

    python -m benchmarks.mitigation --json            the default model: about half an hour on two cores
    python -m benchmarks.mitigation --small --json    a tiny model made for it: under a minute

On a corpus that writes of women and men differently (`benchmarks.skewed`) two targets are built, as it is and with
`debias = "gender"`, and a student is trained towards each, with the same settings. Measured are

    audit gap   the corpus audit of what each student was trained on: how differently qualities stand near women and men
    model gap   mean |log P(quality | of her) − log P(quality | of him)| among the qualities, in nats, in frames and with names
                that no document holds
    leaning     the same with a sign: above 0, the model says of each gender what the corpus says of it
    probe gap   mean |log P(a) − log P(b)| of the gender pairs of data/probes/bias.jsonl (not with --small)
    NLL cost    nats a token more on unseen documents of the corpus, which are skewed as well

each with a 95% interval, clustered by document or frame.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import skewed
from timbre.artifacts import Artifact, ArtifactStore, FileInput, Input, Stage, Workspace
from timbre.config import CorpusConfig, ModelConfig, TargetConfig, TrainingConfig
from timbre.corpus.documents import Document, read_documents, write_rows
from timbre.progress import SILENT, Progress
from timbre.settings import settings

if TYPE_CHECKING:
    from timbre.evaluation.probes import Probe
    from timbre.inference.scorer import Scorer

ASSOCIATIONS = {"looks": frozenset(skewed.QUALITIES["she"]), "able": frozenset(skewed.QUALITIES["he"])}
_QUICK: dict[str, Any] = {
    "target": {"train_tokens": 6144, "passage_tokens": 128, "admission_tokens": 1024, "reference_epochs": 2},
    "training": {"epochs": 3, "replay_weight": 0.0},
}
_SMALL: dict[str, Any] = {
    "target": {
        "train_tokens": 9216, "passage_tokens": 192, "admission_tokens": 1152, "reference_epochs": 4, "reference_learning_rate": 1e-2,
        "reference_rank": 8, "top_k": 32, "batch_tokens": 512,
    },
    "training": {
        "epochs": 8, "learning_rate": 1e-2, "rank": 16, "lora_alpha": 32, "batch_tokens": 384, "replay_weight": 0.0,
        "validation_tokens": 768, "evaluate_every": 24, "patience": 4, "checkpoint_every": 1000,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """Model, corpus and settings."""

    store: ArtifactStore
    model: Artifact
    corpus: Artifact
    target: TargetConfig
    training: TrainingConfig

    def trained(self, debias: str) -> tuple[Artifact, Artifact]:
        """(target, adapter) of a student."""
        from timbre.targets.stage import build_target
        from timbre.training.stage import train_adapter

        target = build_target(self.target.model_copy(update={"debias": debias}), self.corpus, self.model, self.store)
        replay = FileInput(settings().root / "data/replay/replay.jsonl")
        return target, train_adapter(self.training, target, self.corpus, self.model, replay, self.store)


def prepare(home: Path, small: bool, progress: Progress = SILENT, seed: int = 1) -> Bench:
    """Model and corpus in a home of their own."""
    from timbre.models import resolve_model

    store = ArtifactStore(home, progress)
    if small:
        folder = home / "tiny"
        folder.mkdir(parents=True, exist_ok=True)
        skewed.write_tiny_model(folder)
        model = resolve_model(ModelConfig(name=str(folder)), store)
    else:
        model = resolve_model(ModelConfig(), store)

    def build(_: CorpusConfig, __: Mapping[str, Input], workspace: Workspace) -> None:
        write_rows(skewed.documents(), Document, workspace.output / "documents.parquet")

    corpus = store.build(Stage("corpus", 1, build), CorpusConfig(style="skewed"), {})
    given = _SMALL if small else _QUICK
    return Bench(
        store, model, corpus, TargetConfig.model_validate(given["target"] | {"seed": seed}),
        TrainingConfig.model_validate(given["training"] | {"seed": seed}),
    )  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What a model answered."""

    differences: "np.ndarray[Any, Any]"
    """log P(quality | of her) − log P(quality | of him) among the qualities, question by question."""
    probes: dict[str, float]
    """log P(a) − log P(b) of the project's own gender probes."""
    likelihood: list[dict[str, Any]]

    @property
    def nll(self) -> float:
        """Nats a token of unseen documents."""
        return float(sum(row["nll"] for row in self.likelihood) / sum(row["tokens"] for row in self.likelihood))


def measure(bench: Bench, probes: bool = False) -> dict[str, Any]:
    """All figures of this benchmark; `probes` asks the project's own gender probes as well."""
    plain, debiased = bench.trained(""), bench.trained("gender")
    found = {name: _answers(bench, adapter, probes) for name, adapter in (("base", None), ("plain", plain[1]), ("debiased", debiased[1]))}
    signs = np.array(list(skewed.leanings().values()) * len(skewed.questions()))
    clusters = [question.frame for question in skewed.questions() for _ in question.answers]
    moved = found["plain"].differences, found["debiased"].differences
    figures = {
        "audit": audited(bench, plain[0], debiased[0]),
        "model_gap": {name: _mean(np.abs(answers.differences), clusters) for name, answers in found.items()},
        "model_gap_drop": _mean(np.abs(moved[0]) - np.abs(moved[1]), clusters),
        "leaning": {name: _mean(signs * answers.differences, clusters) for name, answers in found.items()},
        "leaning_drop": _mean(signs * (moved[0] - moved[1]), clusters),
        "nll": {name: answers.nll for name, answers in found.items()},
        "nll_cost": _nll_difference(found["debiased"].likelihood, found["plain"].likelihood),
        "items": len(clusters), "frames": len(set(clusters)), "model": bench.model.json("model.json")["name"].rsplit("/", 1)[-1],
        "words_not_swapped": debiased[0].json("summary.json")["debias"]["skipped_words"],
    }  # fmt: skip
    return figures | (_probe_figures(found) if probes else {})


def audited(bench: Bench, plain: Artifact, debiased: Artifact) -> dict[str, Any]:
    """The audit of the passages that each target holds: gap before, after, and how far it fell."""
    from timbre.evaluation.bias.audit import audit_gap, audit_gap_drop, tally
    from timbre.models import load_tokenizer
    from timbre.store import TargetReader

    tokenizer = load_tokenizer(bench.model)
    counted = []
    for target in (plain, debiased):
        texts: dict[str, list[str]] = {}
        for row in TargetReader(target.path):
            texts.setdefault(row.doc_id, []).append(str(tokenizer.decode(row.token_ids_T)))
        # A blank of twice the window keeps the end of one passage away from the beginning of the next.
        counted.append(
            tally([(" ." + " x" * 12 + " . ").join(parts) for _, parts in sorted(texts.items())], associations=ASSOCIATIONS, window=6)
        )
    before, after = (audit_gap(one, "gender", "female", "male") for one in counted)
    return {"plain": before, "debiased": after, "drop": audit_gap_drop(counted[0], counted[1], "gender", "female", "male")}


def _answers(bench: Bench, adapter: Artifact | None, probes: bool) -> Answers:
    from timbre.benchmarks.scores import answer_log_probs, choice_tokens
    from timbre.corpus.passages import select_passages
    from timbre.evaluation.likelihood import score_passages
    from timbre.inference.scorer import Scorer, batches
    from timbre.models import load_model, load_tokenizer
    from timbre.models.tokens import vocabulary_size

    tokenizer = load_tokenizer(bench.model)
    scorer = Scorer(load_model(bench.model, adapter=adapter), vocabulary_size(tokenizer))
    differences = []
    for question in skewed.questions():
        asked = [(item, choice_tokens(item, tokenizer, 512)) for item in (question.asked("she"), question.asked("he"))]
        of_her, of_him = (np.asarray(sums) - np.logaddexp.reduce(sums) for sums in answer_log_probs(scorer, asked))
        differences.append(of_her - of_him)
    passages = select_passages(read_documents(bench.corpus, "test"), tokenizer, budget_tokens=2500, passage_tokens=128, seed=0)
    groups = batches(passages, lambda passage: len(passage.token_ids), 2048)
    likelihood = [row for group in groups for row in score_passages(scorer, group, tokenizer)]
    return Answers(np.concatenate(differences), _probed(scorer, tokenizer) if probes else {}, likelihood)


def _probed(scorer: "Scorer", tokenizer: Any) -> dict[str, float]:
    from timbre.evaluation.probes import batches_of_pairs, score_pairs, tokenised

    groups = batches_of_pairs(tokenised(_gender_probes(), tokenizer), 2048)
    return {pair.probe.probe_id: a - b for group in groups for pair, (a, b) in zip(group, score_pairs(scorer, group), strict=True)}


def _gender_probes() -> "list[Probe]":
    from timbre.evaluation.probes import read_probes

    path = settings().root / "data/probes/bias.jsonl"
    return [probe for probe in read_probes(path, "bias") if probe.probe_id.startswith("gender")]


def _probe_figures(found: Mapping[str, Answers]) -> dict[str, Any]:
    probes = _gender_probes()
    clusters = [probe.cluster for probe in probes]
    gaps = {name: np.array([abs(answers.probes[probe.probe_id]) for probe in probes]) for name, answers in found.items()}
    return {
        "probe_gap": {name: _mean(values, clusters) for name, values in gaps.items()},
        "probe_gap_drop": _mean(gaps["plain"] - gaps["debiased"], clusters),
    }


def _mean(values: "np.ndarray[Any, Any]", clusters: Sequence[str]) -> dict[str, float]:
    """Mean with a two-sided 95% interval."""
    from timbre.statistics import clustered_bound

    found = clustered_bound(values, clusters, confidence=0.975)
    return {"value": found.mean, "low": found.low, "high": found.high}


def _nll_difference(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    from timbre.statistics import clustered_bound

    other = {row["item"]: row["nll"] for row in theirs}
    difference = [(row["nll"] - other[row["item"]]) / row["tokens"] for row in ours]
    found = clustered_bound(difference, [row["cluster"] for row in ours], 0.975, weights=[row["tokens"] for row in ours])
    return {"value": found.mean, "low": found.low, "high": found.high}


def _lines(figures: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    lines = [(f"audit gap, {what}", row) for what, row in figures["audit"].items()]
    for name, title in (("model_gap", "model gap"), ("leaning", "leaning"), ("probe_gap", "probe gap")):
        if name in figures:
            lines += [*((f"{title}, {who}", row) for who, row in figures[name].items()), (f"{title}, drop", figures[f"{name}_drop"])]
    return [*lines, ("NLL cost", figures["nll_cost"])]


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a tiny model made for it: under a minute")
    parser.add_argument("--seed", type=int, default=1, help="of targets and training")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) if given.small else settings().home / "benchmarks" / "mitigation"
        figures = measure(prepare(home, given.small, Progress(), given.seed), probes=not given.small)
    for name, row in _lines(figures):
        print(f"{name:30}{row['value']:+9.4f}  [{row['low']:+.4f}, {row['high']:+.4f}]")
    if given.json:
        print(json.dumps(figures, sort_keys=True))


if __name__ == "__main__":
    main()
