"""Which recipe writes like people do? Base, SFT with its temperature swept, label smoothing and DFT recipes, side by side.

    python -m benchmarks.recipe --json                     the whole trial: about an hour a recipe on two idle cores
    python -m benchmarks.recipe --quick --json             fewer tokens and prompts: at most eight minutes a recipe
    python -m benchmarks.recipe --large --json             a whole book and longer texts: for a GPU, minutes a recipe
    python -m benchmarks.recipe --small                    a tiny random model: a minute, and no figure worth quoting
    python -m benchmarks.recipe --quick --recipes cool,renorm --seed 2

Every row is trained on the same passages, with the same references, and read on the same unseen documents and prompts; SFT and
the plain recipe are always among them. Every step is kept under `<home>/benchmarks/recipe`: the same command goes on where it was
ended, and other recipes add to what is there. `results-<size>-<style>-<seed>.json` is written after each row.

NLL, H, gap       nats a token of unseen test documents at this temperature: NLL, entropy, NLL less entropy (0 = calibrated)
uniL2 … sentW1    of samples: unigram L2, MATTR, self-BLEU, sentence-length W1; the first row is human text and its noise
dist              how far the samples stand from human text over all metrics, in σ of human halves
The second table: paired with SFT at T = 1, positive is better, 95% bounds on either side. `benchmarks.recipe_verdict` says
how the recipe is chosen on validation text, and what counts as beating SFT on test text.
"""

import argparse
import json
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measuring import plot_points, show_table
from benchmarks.recipe_verdict import Setting, better_calibrated, bounds, likelier, nearer, verdict
from benchmarks.recipes import BASELINE, FULL, LARGE, PLAIN, QUICK, RECIPES, SMALL, Recipe, Size, chosen
from benchmarks.trial import Trial
from timbre.artifacts import ArtifactStore, write_atomically
from timbre.metrics.measuring import Reference, measure
from timbre.settings import settings

SHOWN = {"unigram_l2": "uniL2", "mattr": "MATTR", "self_bleu": "sBLEU", "sentence_length_w1": "sentW1"}
SPLITS = ("validation", "test")


def trial(size: Size, style: str, seed: int = 1) -> Trial:
    """Model and corpus: packaged and of the style, or tiny and made up.

    Raises:
        ValueError: model or text is not here; `make setup` fetches both.
    """
    store = ArtifactStore(settings().home / "benchmarks" / "recipe")
    replay = settings().root / "data" / "replay" / "replay.jsonl"
    if size is SMALL:
        from benchmarks.tiny import tiny_corpus, tiny_model

        return Trial(size, tiny_model(store), tiny_corpus(store), replay, store, seed)
    from timbre import pipeline
    from timbre.config import release_config

    config, ours = release_config(style), ArtifactStore(settings().home)
    built = {name: pipeline.build(name, config, ours, {}) for name in ("model", "corpus")}
    return Trial(size, built["model"], built["corpus"], replay, store, seed)


def references(place: Trial) -> dict[str, Reference]:
    """Human text of each split, for as many texts as there are prompts."""
    found = {}
    for split in SPLITS:
        texts, documents = place.human(split)
        found[split] = Reference.of(texts, min(place.size.prompts, len(texts) // 2), clusters=documents)
    return found


def settings_of(place: Trial, recipe: Recipe, split: str, human: Reference) -> list[Setting]:
    """The recipe at each of its temperatures.

    Raises:
        TargetRefused: its target is no better than the base model.
    """
    student = place.student(recipe)
    likelihood = place.likelihood(student, split, recipe.temperatures)
    found = []
    for temperature in recipe.temperatures:
        rows = place.samples(student, split, temperature, recipe.top_p)
        figures = measure([row["text"] for row in rows], human, [row["cluster"] for row in rows])
        found.append(Setting(recipe.name, temperature, recipe.distribution, recipe.rival, likelihood[temperature], figures))
    return found


def try_out(
    place: Trial, recipe: Recipe, human: Mapping[str, Reference], rows: Mapping[str, list[Setting]], refused: dict[str, str]
) -> None:
    """Add the recipe's rows to those of both splits, or why it has none to `refused`: it is compared on both or on neither.

    Raises:
        ValueError, FloatingPointError: of the baseline, without which nothing can be compared.
    """
    try:
        found = {split: settings_of(place, recipe, split, human[split]) for split in SPLITS}
    except (ValueError, FloatingPointError) as error:  # no target, or a student that gives no distribution to draw from
        if recipe.name == BASELINE:
            raise
        refused[recipe.name] = str(error)
        return
    for split, settings_found in found.items():
        rows[split].extend(settings_found)


def row_of(setting: Setting, baseline: Setting) -> dict[str, Any]:
    """A row of the results: every figure, and what is paired with SFT at T = 1."""
    metrics = {
        name: {"value": figure.value, "human": figure.human.mean, "sigma": figure.human.sigma,
               "interval": bounds(figure.interval) if figure.interval is not None else None}
        for name, figure in setting.figures.items()
    }  # fmt: skip
    return {
        "recipe": setting.recipe, "temperature": setting.temperature, "nll": setting.nll, "entropy": setting.entropy,
        "calibration_gap": setting.gap, "distance": setting.distance.value, "metrics": metrics,
        "against_sft": {
            "likelier_nats": bounds(likelier(setting, baseline)), "better_calibrated_nats": bounds(better_calibrated(setting, baseline)),
            "nearer_sigma": bounds(nearer(setting, baseline)),
        },
    }  # fmt: skip


def show(test: Sequence[Setting], refused: dict[str, str], human: Reference) -> None:
    """Both tables, in 80 columns."""
    means = [human.human[name] for name in SHOWN if name in human.human]
    names = [short for name, short in SHOWN.items() if name in human.human]
    rows: list[list[object]] = [
        ["human", "", "", "", "", *(_figure(figure.mean) for figure in means), ""],
        ["  noise", "", "", "", "", *(_figure(figure.sigma) for figure in means), ""],
    ]
    for one in test:
        cells = [_figure(one.figures[name].value) for name in SHOWN if name in human.human]
        rows.append([one.recipe[:16], f"{one.temperature:g}", f"{one.nll:.3f}", f"{one.entropy:.2f}", f"{one.gap:+.2f}", *cells,
                     f"{one.distance.value:.2f}"])  # fmt: skip
    print("\nunseen test documents and prompts")
    show_table(["", "T", "NLL", "H", "gap", *names, "dist"], rows)
    baseline = _baseline(test)
    print(f"\npaired with {BASELINE} at T = 1; positive is better [95% bounds]")
    paired = [
        [one.recipe[:16], f"{one.temperature:g}", _cell(likelier(one, baseline)), _cell(nearer(one, baseline), 2)]
        for one in test if one is not baseline
    ]  # fmt: skip
    show_table(["", "T", "likelier, nats", "nearer, σ"], paired)
    for name, why in refused.items():
        print(f"{name}: {why}")


def main() -> None:
    """Try the recipes, show them, and say which it should be."""
    given = _arguments()
    size = SMALL if given.small else QUICK if given.quick else LARGE if given.large else FULL
    place = trial(size, given.style, given.seed)
    named = f"{size.name}-{given.style}-{given.seed}"
    human = references(place)
    rows: dict[str, list[Setting]] = {split: [] for split in SPLITS}
    refused: dict[str, str] = {}
    path = place.store.home / f"results-{named}.json"
    results: dict[str, Any] = {}
    for number, recipe in enumerate(chosen(given.recipes), start=1):
        started = time.monotonic()
        try_out(place, recipe, human, rows, refused)
        print(f"{number:2} {recipe.name}: {recipe.why} ({(time.monotonic() - started) / 60:.1f} minutes)", flush=True)
        if any(one.recipe == BASELINE for one in rows["test"]):
            results = _results(rows, refused, size)
            write_atomically(path, json.dumps(results, allow_nan=False, indent=1).encode())
    show(rows["test"], refused, human["test"])
    print("\n" + textwrap.fill(results["verdict"]["sentence"], 80))
    picture = given.plot or settings().home / "benchmarks" / f"recipe-{named}.svg"
    points = {f"{one.recipe} {one.temperature:g}": (one.nll, one.distance.value, one.distribution) for one in rows["test"]}
    plot_points(
        points, "Recipes on unseen text: nearer to the lower left is better", ("NLL, nats a token", "distance to human text, σ"), picture
    )
    print(f"picture: {picture}\nall figures: {path}")
    if size is SMALL:
        print("tiny and made up: these figures say only that the benchmark runs")
    if given.json:
        print(json.dumps(results, allow_nan=False))


def _results(rows: dict[str, list[Setting]], refused: dict[str, str], size: Size) -> dict[str, Any]:
    return {
        "size": size.name, "threads": settings().threads, "rows": [row_of(one, _baseline(rows["test"])) for one in rows["test"]],
        "validation": [row_of(one, _baseline(rows["validation"])) for one in rows["validation"]], "refused": refused,
        "verdict": verdict(rows["validation"], rows["test"], PLAIN),
    }  # fmt: skip


def _baseline(rows: Sequence[Setting]) -> Setting:
    return next(one for one in rows if one.recipe == BASELINE and one.temperature == 1)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def _cell(interval: Any, digits: int = 3) -> str:
    return f"{interval.mean:+.{digits}f} [{interval.low:+.{digits}f}, {interval.high:+.{digits}f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default="", help=f"comma-separated, of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--style", default="literary", help="whose corpus (default literary)")
    sizes = parser.add_mutually_exclusive_group()
    sizes.add_argument("--small", action="store_true", help="a tiny random model and made-up text")
    sizes.add_argument("--quick", action="store_true", help="4,096 training tokens, 2 epochs, 24 prompts of 64 tokens")
    sizes.add_argument("--large", action="store_true", help="196,608 training tokens, 128 prompts of 256 tokens")
    parser.add_argument("--seed", type=int, default=1, help="of target, training and samples (default 1)")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    parser.add_argument("--plot", type=Path, help="where the picture goes (default: <home>/benchmarks/)")
    given = parser.parse_args()
    try:
        chosen(given.recipes)
    except ValueError as error:
        parser.error(str(error))
    return given


if __name__ == "__main__":
    main()
