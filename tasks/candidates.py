"""What is said of a candidate in MLflow: its figures beside the base's, the data it was made of, and samples."""

from collections.abc import Mapping
from typing import Any

from timbre.artifacts import IntegrityError
from timbre.config import ReleaseConfig
from timbre.gates.report import samples
from timbre.tasks.context import base_of
from timbre.tasks.stage import Built
from timbre.tasks.stores.run_page import DataInput, RunPage

_FIGURES = {
    "nll": "likelihood.nll", "bits_per_byte": "likelihood.bits_per_byte", "calibration_error": "likelihood.ece",
    "told_apart_by_characters": "told_apart.characters.auc", "told_apart_by_words": "told_apart.words.auc",
    "facts_told_right": "facts.correct.value", "questions_answered": "closed_book.accuracy.value",
    "style_diversity_score": "diversity_score.value", "longest_verbatim_span": "memorisation.longest_span_tokens",
    "toxic_texts": "toxicity.rate", "wrong_script": "wrong_script_rate", "coherent_texts": "coherence.share",
}  # fmt: skip
_SHORT = ("corpus", "target", "adapter", "bundle", "verdict")
_SAMPLES = 12


def run_page(config: ReleaseConfig, steps: Mapping[str, Built]) -> RunPage:
    """The page of a candidate's run, from the artifacts of its release."""
    outcome = steps["verdict"].open().json("verdict.json")
    passed = sum(gate["verdict"] == "PASS" for gate in outcome["gates"])
    words = f"**{outcome['verdict']}** under the policy `{config.gate.policy}`: {passed} of {len(outcome['gates'])} gates passed."
    return RunPage(
        note=f"{base_of(config.model)} in the style **{config.style}**. {words}",
        parameters={"style": config.style, "seed": config.seed, "policy": config.gate.policy},
        metrics=_figures(steps),
        tags={"style": config.style, "policy": config.gate.policy, "outcome": str(outcome["verdict"])} | short_tags(steps),
        inputs=_inputs(config, steps),
        samples=_samples(steps),
    )


def short_tags(steps: Mapping[str, Built]) -> dict[str, str]:
    """The first twelve digits of what people look for, beside the full digests in the tags `timbre.…`."""
    return {name: steps[name].digest[:12] for name in _SHORT if name in steps}


def _figures(steps: Mapping[str, Built]) -> dict[str, float]:
    """`base/<figure>` and `candidate/<figure>`, of all that both evaluations measured."""
    found: dict[str, float] = {}
    for side, step in (("base", "base_evaluation"), ("candidate", "evaluation")):
        summary = _json(steps, step, "summary.json")
        for name, path in _FIGURES.items():
            value: Any = summary
            for part in path.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[f"{side}/{name}"] = float(value)
    return found


def _inputs(config: ReleaseConfig, steps: Mapping[str, Built]) -> tuple[DataInput, ...]:
    counts, target = _json(steps, "corpus", "counts.json"), _json(steps, "target", "summary.json")
    holds = {name: counts[name] for name in ("read", "kept", "splits") if name in counts}
    stored = {name: target[name] for name in ("documents", "passages", "tokens") if name in target}
    return (
        DataInput(f"corpus/{config.style}", steps["corpus"].digest, "evaluation", holds),
        DataInput(f"target/{config.style}", steps["target"].digest, "training", stored),
    )


def _samples(steps: Mapping[str, Built]) -> list[dict[str, str]]:
    """The openings of the report: prompt, base, candidate and the author's own continuation."""
    written = [steps[name].open() for name in ("base_evaluation", "evaluation") if name in steps]
    if len(written) < 2 or any("generations.jsonl" not in artifact.manifest.files for artifact in written):
        return []
    rows = samples(written)[:_SAMPLES]
    return [{"prompt": row["prompt"], "base": row["texts"][0], "candidate": row["texts"][-1], "human": row["human"]} for row in rows]


def _json(steps: Mapping[str, Built], step: str, name: str) -> Mapping[str, Any]:
    if step not in steps:
        return {}
    try:
        found = steps[step].open().json(name)
    except (IntegrityError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}
