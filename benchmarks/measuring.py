"""How the benchmarks measure: CPU time in alternation, peak allocations, and how they show it."""

import argparse
import gc
import json
import math
import os
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from timbre.settings import settings

Times = dict[str, list[float]]
LEAST_ROUNDS = 5


def arguments(doc: str | None, more: Callable[[argparse.ArgumentParser], None] | None = None) -> argparse.Namespace:
    """The options that these benchmarks share, and what `more` adds."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="something tiny and made up: seconds, and no figure worth quoting")
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help="alternations (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    parser.add_argument("--plot", type=Path, help="where the picture goes (default: <home>/benchmarks/)")
    if more is not None:
        more(parser)
    given = parser.parse_args()
    if given.rounds < (1 if given.small else LEAST_ROUNDS):
        parser.error(f"--rounds must be at least {LEAST_ROUNDS}, or 1 with --small: a median of fewer says little")
    torch.set_num_threads(settings().threads)
    return given


def alternate(actions: Mapping[str, Callable[[], object]], rounds: int) -> Times:
    """CPU seconds of each action, in turn, `rounds` times after one turn that does not count."""
    times: Times = {name: [] for name in actions}
    for turn in range(rounds + 1):
        for name, action in actions.items():
            gc.collect()
            started = time.process_time()
            action()
            if turn:
                times[name].append(time.process_time() - started)
    return times


def ratio(times: Times, name: str, against: str) -> float:
    """Median over the alternations of one action's time over another's."""
    return median(mine / other for mine, other in zip(times[name], times[against], strict=True))


def peak_bytes(action: Callable[[], object]) -> int:
    """The most that `action` had allocated at once on the CPU, beyond what stood before, as torch's profiler saw it."""
    from torch.profiler import ProfilerActivity, profile

    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        action()
    results = profiler.profiler.kineto_results  # type: ignore[union-attr]
    changes = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    held = most = 0
    for _, size in changes:
        held += size
        most = max(most, held)
    return most


def show_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns that fit a terminal."""
    cells = [[f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        first, *others = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join([first.strip().ljust(widths[0]), *others]))


def against_goals(
    found: Mapping[str, float], goals: Mapping[str, float], *, at_least: Sequence[str] = (), reasons: Mapping[str, str] | None = None
) -> tuple[dict[str, float], dict[str, str]]:
    """Print each figure beside its goal, and under the table why any was missed.

    Args:
        at_least: those that must reach their goal; the others must not exceed it.
        reasons: what a figure consists of, or why it cannot be met here; said where it is missed.

    Returns:
        Each figure over its goal (those of `at_least`: the goal over it), so that 1 or less is met; and the reason of each miss.
        A figure that is not a number, or was not measured, is a miss.
    """
    shares, missed = {}, {}
    for name, goal in goals.items():
        value = found.get(name, math.nan)
        ratios = (goal, value) if name in at_least else (value, goal)
        shares[name] = ratios[0] / ratios[1] if ratios[1] else math.inf
        if not shares[name] <= 1:
            missed[name] = (reasons or {}).get(name, "no reason is known")
    rows = [
        [name, f"{found.get(name, math.nan):,.6g}", f"{'≥' if name in at_least else '≤'} {goal:,g}", "MISSED" if name in missed else "met"]
        for name, goal in goals.items()
    ]
    show_table(["", "found", "goal", ""], rows)
    for name, reason in missed.items():
        print(textwrap.fill(f"{name} missed: {reason}", 100, subsequent_indent="  "))
    return shares, missed


def on_the_cpu() -> None:
    """This process computes in float32 on the CPU, whatever the machine has and the environment asks for."""
    os.environ |= {"TIMBRE_DEVICE": "cpu", "TIMBRE_DTYPE": "float32"}
    settings.cache_clear()


def plot_bars(values: Mapping[str, float], title: str, label: str, path: Path) -> None:
    """A bar a name, with a line at 1."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.5 * len(values) + 1.2))
    axes.barh(list(values), list(values.values()), color=["#b5542b" if "timbre" in name else "#8aa0b0" for name in values])
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle="--")
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.set_title(title, loc="left")
    for place, value in enumerate(values.values()):
        axes.text(value, place, f" {value:.2f}", va="center")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def plot_points(points: Mapping[str, tuple[float, float, bool]], title: str, labels: tuple[str, str], path: Path) -> None:
    """A named dot each at (x, y), accented where the third value says so."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6))
    for name, (x, y, accented) in points.items():
        axes.plot(x, y, "o", color="#b5542b" if accented else "#8aa0b0")
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(6, 3), fontsize=8)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_title(title, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def finish(
    figures: Mapping[str, object], given: argparse.Namespace, values: Mapping[str, float], title: str, label: str, name: str
) -> None:
    """Picture, and the figures where asked for."""
    path = given.plot or settings().home / "benchmarks" / f"{name}.png"
    plot_bars(values, title, label, path)
    print(f"\npicture: {path}")
    if given.small:
        print("tiny and made up: these figures say only that the benchmark runs")
    if given.json:
        print(json.dumps({"small": given.small, "rounds": given.rounds, "threads": settings().threads, **figures}))
