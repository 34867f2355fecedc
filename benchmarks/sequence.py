"""The critic of a sequence-level target at inference: one completion drawn by weight, and the best of n, against a plain one.

    python -m benchmarks.sequence --style literary --json       from the completions that stand in the home; no model runs
    python -m benchmarks.sequence --style literary --foretold   before any are drawn, from one text a prompt of a plain release

Each prompt has N completions and a critic that never saw its document. Three ways to choose one of n: any; one drawn in proportion to its
weight among the n (importance resampling); the one with the highest weight (best of n). Each is set against the human continuation by
fresh classifiers of the families that the critic's features do not contain. The gain over any is a paired mean by document, with a
one-sided 95% bound; the effective size is of the weights, and 1/n for the best of n.

What is foretold: how well a critic of the text features (all but surprisal, for which a model would have to run) tells a release's texts
from the human continuations, out of fold by document, and the effective size exp(−d′²) that its area lets expect.
"""

import argparse
import json
from typing import Any

import numpy as np

from timbre.artifacts import Artifact
from timbre.sequence.admission import ROUNDS, WITNESSES, contributions
from timbre.sequence.features import Text
from timbre.sequence.features import measured as measured_features
from timbre.sequence.pool import FILE
from timbre.sequence.weights import by_ratio, effective_share, expected_share, folds_by_document, resampled
from timbre.statistics import clustered_bound
from timbre.statistics.roc import clustered_auc

_RIDGE = 0.02


def main() -> None:
    """Find the artifacts of a release at the sequence level, measure, print a table, and with `--json` one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--profile", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="as `timbre run --set` has it")
    parser.add_argument("--foretold", action="store_true", help="what a critic lets expect, from the texts of base and candidate")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    given = parser.parse_args()
    if given.foretold:
        built = _built(given.style, given.profile, given.set, ("base_generations", "generations"))
        areas = {name: foretold(artifact.json_lines("generations.jsonl")) for name, artifact in built.items()}
        for name, one in areas.items():
            print(f"{name:16} critic {one['auc']:.3f} [{one['low']:.3f}, {one['high']:.3f}], leaves {one['expected_ess']:.2f}")
        if given.json:
            print(json.dumps(areas))
        return
    built = _built(given.style, given.profile, ["target.level=sequence", *given.set], ("completions", "sequence"))
    completions, sequence = built["completions"], built["sequence"]
    found = measured(completions, sequence)
    for row in found["rows"]:
        told = "  ".join(
            f"{name} {one['auc']:.3f}" + ("" if row["how"] == "any" else f" (gain {one['gain']:+.3f}, low {one['low']:+.3f})")
            for name, one in row["told_apart"].items()
        )
        print(f"{row['how']:16} effective size {row['ess']:.2f}  {told}")
    print(f"critic {found['critic_auc']:.3f}, which lets expect an effective size of {found['expected_ess']:.2f}; {found['why']}")
    if given.json:
        print(json.dumps(found))


def measured(completions: Artifact, sequence: Artifact, seed: int = 0) -> dict[str, Any]:
    """The three ways of choosing.

    Raises:
        ValueError: no completions were drawn.
    """
    rows, scores, admission = completions.json_lines(FILE), sequence.json("scores.json"), sequence.json("admission.json")
    if not rows:
        raise ValueError(f"there are no completions to choose from: {admission['why']}")
    texts = [[one["text"] for one in row["completions"]] for row in rows]
    human, documents = [row["human"] for row in rows], [row["document"] for row in rows]
    log_CN = np.array([scores[row["prompt_id"]] for row in rows])
    weights_CN = np.exp(log_CN - log_CN.max(1, keepdims=True))
    weights_CN /= weights_CN.sum(1, keepdims=True)
    size, rounds = log_CN.shape[1], min(ROUNDS, log_CN.shape[1])
    any_CR = np.random.default_rng(seed).permuted(np.tile(np.arange(size), (len(rows), 1)), axis=1)[:, :rounds]
    ways = {
        "any": (any_CR, 1.0),
        "drawn by weight": (resampled(weights_CN, rounds, seed), effective_share(weights_CN)),
        f"best of {size}": (log_CN.argmax(1)[:, None], 1 / size),
    }
    shares = {
        how: {name: contributions(name, texts, human, documents, places, seed) for name in WITNESSES} for how, (places, _) in ways.items()
    }
    table = [
        {
            "how": how, "ess": ess,
            "told_apart": {name: _row(shares["any"][name], shares[how][name], documents) for name in WITNESSES},
        }
        for how, (_, ess) in ways.items()
    ]  # fmt: skip
    return {
        "rows": table, "prompts": len(rows), "documents": len(set(documents)), "completions": size, "critic_auc": admission["critic_auc"],
        "expected_ess": expected_share(admission["critic_auc"]), "admitted": admission["admitted"], "why": admission["why"],
    }  # fmt: skip


def _row(plain_C: np.ndarray, chosen_C: np.ndarray, documents: list[str]) -> dict[str, float]:
    bound = clustered_bound(plain_C - chosen_C, documents)
    return {"auc": float(chosen_C.mean()), "gain": bound.mean, "low": bound.low, "high": bound.high}


def foretold(rows: list[dict[str, Any]], folds: int = 5, seed: int = 0) -> dict[str, float]:
    """From lines of `generations.jsonl`: the critic's area with a 95% interval by document, and the effective size that it foretells."""
    rows = [row for row in rows if row["kind"] == "style"]
    found = measured_features([[Text(row["text"], ())] for row in rows], [Text(row["human"], ()) for row in rows])
    documents = [row["cluster"] for row in rows]
    fold_C, own_C, human_C = folds_by_document(documents, folds, seed), np.zeros(len(rows)), np.zeros(len(rows))
    for fold in range(folds):
        out = fold_C == fold
        score = by_ratio(_RIDGE)(found.completions_CNF[~out], found.human_CF[~out])
        own_C[out], human_C[out] = score(found.completions_CNF[out])[:, 0], score(found.human_CF[out])
    area = clustered_auc(human_C, own_C, documents, documents, seed=seed)
    return {
        "auc": area.mean, "low": area.low, "high": area.high, "expected_ess": expected_share(area.mean),
        "expected_ess_low": expected_share(max(area.high, 0.5)), "expected_ess_high": expected_share(max(area.low, 0.5)),
        "prompts": len(rows), "documents": len(set(documents)),
    }  # fmt: skip


def _built(style: str, profile: str, settings: list[str], names: tuple[str, ...]) -> dict[str, Artifact]:
    from timbre import pipeline
    from timbre.artifacts import ArtifactStore
    from timbre.cli.options import resolve
    from timbre.settings import settings as environment

    config = resolve(style, profile, 1, "smollm2-135m-instruct", settings)
    built = pipeline.find(config, ArtifactStore(environment().home))
    if missing := [name for name in names if name not in built]:
        said = " ".join(f"--set {each}" for each in settings)
        raise SystemExit(f"no {missing[0]} yet: `timbre run --style {style} --profile {profile} {said}` makes them")
    return {name: built[name] for name in names}


if __name__ == "__main__":
    main()
