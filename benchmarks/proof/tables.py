"""The proof as tables and sentences, and the page that holds them: made from the committed cells alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.cells import Figures
from benchmarks.hypotheses import LEAST_SEEDS
from benchmarks.pages import DOCS, Page, Row, markdown_table
from benchmarks.proof.analysis import (
    Against,
    Found,
    Setting,
    against_sft,
    claims,
    items,
    own_setting,
    primary,
    readings,
    sweep,
    value,
    whole,
)
from benchmarks.proof.arms import ABLATIONS, BASES, DFT, OTHERS, SEEDS, STYLES, Arm, Cell
from benchmarks.proof.cells import SHELF
from benchmarks.proof.design import HYPOTHESES, LEVEL, PRIMARY_STYLE, SECONDARY, SET_FIGURES, cells, large_cells
from benchmarks.readings import FAMILIES

PAGE = Page(DOCS / "explanation" / "proof.md", "python -m benchmarks.proof --page")
SHOWN = {
    "characters": ("characters", ".3f"), "words": ("words", ".3f"), "frame": ("frame", ".3f"), "covered": ("covered", ".2%"),
    "mmd_content": ("MMD² content", ".4f"), "mmd_style": ("MMD² style", ".4f"), "same_opener_rate": ("openers", ".3f"),
    "self_bleu": ("self-BLEU", ".4f"), "sentence_length_w1": ("sentences", ".2f"),
}  # fmt: skip
ONCE = {
    "nll": ("NLL", ".3f"), "gap": ("gap", ".2f"), "recited": ("recited", ".2%"), "fact_margin": ("facts", ".2f"),
    "bias_gap": ("bias", ".2f"),
}  # fmt: skip
HEAD = ("", *(short for short, _ in (*ONCE.values(), *SHOWN.values())))


def stored() -> dict[Cell, Figures]:
    """The cells whose figures are committed."""
    return SHELF.stored((*cells(), *large_cells()))


def missing(found: Found, *, large: bool = False) -> list[Cell]:
    """What of a size is not run yet, in the order in which it would be."""
    return [cell for cell in (large_cells() if large else cells()) if cell not in found]


def places(found: Found) -> list[tuple[str, str]]:
    """(style, size) of all tables: the CPU size always, the large one where it has a cell."""
    return [(style, "cpu") for style in STYLES] + [
        (style, "large") for style in STYLES if any(cell.size == "large" and cell.style == style for cell in found)
    ]


def arm_rows(found: Found, style: str, size: str) -> list[Row]:
    """A row an arm and sampler: means over the seeds that are there; human text first."""
    rows = [human] if (human := _human_row(found, style, size)) else []
    ablations = ABLATIONS if size == "large" else ()
    for arm in (*BASES, *sweep(size), *OTHERS[:-1], DFT, OTHERS[-1], *ablations):
        rows += _rows_of(found, arm, style, size)
    return rows


def _rows_of(found: Found, arm: Arm, style: str, size: str) -> list[Row]:
    blank = [""] * (len(HEAD) - 1)
    seeds = (0,) if arm.recipe is None else SEEDS
    own = {seed: found[cell] for seed in seeds if (cell := Cell(arm.name, style, size, seed)) in found}
    refused = [each["refused"] for each in own.values() if "refused" in each]
    if not own:
        return [[f"{arm.title}: not run", *blank]]
    rows = [[f"{arm.title}: {_refusal(refused)} ({len(refused)} of {len(seeds)} seeds)", *blank]] if refused else []
    if chosen := [each["chosen"] for each in own.values() if "chosen" in each]:
        rows.append(
            [f"the critic at inference, on unseen training documents: {_chosen(chosen)} ({len(chosen)} of {len(seeds)} seeds)", *blank]
        )
    reads, names = readings(found, Setting(arm), style, size), items(found, style, size)
    if not reads or names is None:
        return rows
    count = "" if arm.recipe is None else f" ({len(reads)} of {len(seeds)} seeds)"
    for place, sampler in enumerate(arm.samplers):
        first = place == 0
        once = [_mean(name, own_setting(name, arm), reads, names, form) if first else "" for name, (_, form) in ONCE.items()]
        texts = [_mean(name, Setting(arm, sampler), reads, names, form) for name, (_, form) in SHOWN.items()]
        rows.append([f"{arm.title}{count}: {sampler}" if first else f"the same: {sampler}", *once, *texts])
    return rows


def _mean(figure: str, setting: Setting, reads: Mapping[int, Figures], names: Figures, form: str) -> str:
    if figure in ("nll", "gap") and setting.how not in next(iter(reads.values()))["likelihood"]:
        return ""
    known = [each for read in reads.values() if (each := value(figure, setting, read, names)) is not None]
    return format(float(np.mean(known)), form) if known else ""


def _human_row(found: Found, style: str, size: str) -> Row | None:
    base = found.get(Cell("base", style, size, 0))
    if base is None:
        return None
    texts = next(iter(base["read"]["texts"].values()))
    cell = {name: format(texts["told_apart"][name].get("floor", np.nan), ".3f") for name in FAMILIES}
    for name in SET_FIGURES:
        if name in texts["style"]:
            human, form = texts["style"][name], SHOWN[name][1]
            cell[name] = f"{format(human['human'], form)} ± {format(1.64 * human['sigma'], form)}"
    return ["people, and what chance allows", *[""] * len(ONCE), *(cell.get(name, "") for name in SHOWN)]


def _refusal(refused: Sequence[Figures]) -> str:
    """Why a level was not entered, with its figures where it has some."""
    first = refused[0]
    if first["level"] == "token" or first.get("ess") is None:
        return f"refused: {first['why'].removeprefix('refused: ')}"
    area, ess = (float(np.mean([each[name] for each in refused])) for name in ("critic_auc", "ess"))
    told = ", ".join(f"{witness['family']} {witness['plain_auc']:.3f} → {witness['weighted_auc']:.3f}" for witness in first["witnesses"])
    return f"refused: critic's area {area:.3f}, effective sample size {ess:.2f}; {told}"


def _chosen(seeds: Sequence[Sequence[Figures]]) -> str:
    """How well completions are told apart that are any, drawn by weight, or the best of n."""
    said = []
    for place, way in enumerate(seeds[0]):
        areas = {name: float(np.mean([rows[place]["told_apart"][name]["auc"] for rows in seeds])) for name in way["told_apart"]}
        said.append(f"{way['how']} {', '.join(f'{name} {area:.3f}' for name, area in areas.items())}")
    return "; ".join(said)


def difference_rows(against: Sequence[Against]) -> list[Row]:
    """A row a hypothesis: what is asked, the goal, SFT's best setting, and what was found."""
    claimed = claims(against)
    rows = []
    for each in against:
        asked, shown = each.hypothesis, each.shown
        bar = "above 0" if asked.kind == "superior" else f"above −{asked.margin:g}"
        said = "" if asked not in SECONDARY else "claimed" if asked.name in claimed else "not claimed"
        rows.append([asked.name, bar, asked.goal, shown.rival, shown.sentence(), said])
    return rows


DIFFERENCES = ("DFT less SFT's best", "asked", "goal", "best setting of SFT", "found (lower bound: against any setting)", "by Holm")


def answer(found: Found, style: str, size: str) -> str:
    """What may be said of a style, in a sentence."""
    if not whole(found, style, size):
        return "Not all of the cells that claims are made of have been run: nothing is claimed yet."
    against = against_sft(found, style, size)
    claimed = claims(against)
    secondary = f"Secondary claims: {', '.join(claimed)}." if claimed else "No secondary claim holds."
    if style != PRIMARY_STYLE:
        return secondary
    holds = "holds" if primary(against) else "does not hold"
    return f"The primary claim {holds}: DFT is told apart less than every setting of SFT, by characters and by words. {secondary}"


def headline(found: Found) -> dict[str, Any]:
    """The table's headline rows, what is missing, and what of the large size is not run."""
    rows: dict[str, Any] = {}
    for style, size in places(found):
        against = against_sft(found, style, size)
        claimed = claims(against)
        rows[f"{style}, {size}"] = {
            "answer": answer(found, style, size), "complete": whole(found, style, size),
            "primary": primary(against) if style == PRIMARY_STYLE and whole(found, style, size) else None,
            "differences": {each.hypothesis.name: _row(each, claimed) for each in against},
        }  # fmt: skip
    absent = missing(found)
    return {
        "level": LEVEL, "seeds": len(SEEDS), "rows": rows, "cells": len(found), "missing": [cell.name for cell in absent],
        "large": dict.fromkeys(not_run(found), "not run"),
    }  # fmt: skip


def _row(against: Against, claimed: Sequence[str]) -> dict[str, Any]:
    shown = against.shown
    bounds = {name: round(value, 4) if np.isfinite(value := getattr(shown.interval, name)) else None for name in ("mean", "low", "high")}
    return bounds | {
        "against": shown.rival, "seeds": [round(each, 4) for each in shown.seeds], "verdict": shown.verdict,
        "claimed": against.hypothesis.name in claimed,
    }  # fmt: skip


def not_run(found: Found) -> list[str]:
    """What of `--large` is missing, a style each."""
    return grouped(missing(found, large=True))


def grouped(absent: Sequence[Cell]) -> list[str]:
    """Cells a style each: the arms, with the seeds that are missing."""
    arms: dict[str, dict[str, list[int]]] = {}
    for cell in absent:
        arms.setdefault(cell.style, {}).setdefault(cell.arm, []).append(cell.seed)
    return [
        f"{style}: {', '.join(' '.join([arm, *(str(n) for n in seeds if n)]) for arm, seeds in own.items())}" for style, own in arms.items()
    ]


def markdown(found: Found) -> str:
    """The generated part of the page."""
    parts = []
    for style, size in places(found):
        parts += [f"### {style}, {size} size\n", answer(found, style, size) + "\n", markdown_table(HEAD, arm_rows(found, style, size))]
        if against := against_sft(found, style, size):
            parts.append(markdown_table(DIFFERENCES, difference_rows(against)))
    absent = missing(found)
    done = len(cells()) - len(absent)
    parts.append(f"`too few seeds`: fewer than {LEAST_SEEDS}, so that nothing is claimed, whatever the bounds.\n")
    parts.append(f"Cells of the CPU size: {done} of {len(cells())}. Not run: {'; '.join(grouped(absent)) or 'none'}.\n")
    parts.append("`--large`, not run: " + "; ".join(not_run(found)) + ".\n")
    parts.append("Hypotheses: " + "; ".join(f"*{each.name}*: {each.sentence}" for each in HYPOTHESES) + ".\n")
    return "\n".join(parts)
