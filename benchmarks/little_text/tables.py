"""The trial as tables and sentences, and the page that holds them: made from the committed cells alone."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Figures
from benchmarks.hypotheses import LEAST_SEEDS, Difference
from benchmarks.little_text.analysis import differences, pays
from benchmarks.little_text.arms import SECOND_SIZE, SECOND_STYLE, SEEDS, SIZES, STYLE, Cell
from benchmarks.little_text.cells import RESULTS, SHELF
from benchmarks.little_text.design import LARGE, LARGE_BASELINES, LARGE_SIZES, LONG, RIVALS, cells, large_cells
from benchmarks.pages import DOCS, Page, Row, markdown_table
from benchmarks.readings import FAMILIES

PAGE = Page(DOCS / "explanation" / "little-text.md", "python -m benchmarks.little_text --page")
EVIDENCE = Path(__file__).resolve().parents[2] / "data" / "evidence" / "little-text.json"
HEAD = ("", "best epoch", "NLL", "gap", "ECE", "characters", "words", "frame", "covered", "recited", "facts", "bias")
PLACES = (*tuple((tokens, STYLE) for tokens in sorted(SIZES)), (SECOND_SIZE, SECOND_STYLE))
TITLES = {
    "sft": "SFT, stopped early", "regularised": "SFT with a regulariser", "dft": "DFT",
    "dft-over-trained": "DFT, ten epochs", "sft-over-trained": "SFT, ten epochs",
}  # fmt: skip


def stored() -> dict[Cell, Figures]:
    """The cells whose figures are committed, by what they are."""
    return SHELF.stored((*cells(), *large_cells()))


def missing(found: Mapping[Cell, Figures], *, large: bool = False) -> list[Cell]:
    """What is not run yet, in the order in which it would be."""
    return [cell for cell in (*cells(), *(large_cells() if large else ())) if cell not in found]


def arm_rows(found: Mapping[Cell, Figures], tokens: int, style: str) -> list[Row]:
    """A row an arm: means over the seeds that are there."""
    rows = []
    base = found.get(Cell("base", 0, 0, style))
    if base is not None:
        rows.append(["the base", "", *_read_cells([base])])
    for arm in (*RIVALS, "dft", *(LONG if style == STYLE else ())):
        own = [found[cell] for seed in SEEDS if (cell := Cell(arm, tokens, seed, style)) in found]
        if own:
            best = ", ".join(f"{each['best'][0]:.0f}" for each in own)
            rows.append([f"{TITLES[arm]} ({len(own)} of {len(SEEDS)} seeds)", best, *_read_cells(own)])
        else:
            rows.append([TITLES[arm], "not run", *[""] * (len(HEAD) - 2)])
    return rows


def _read_cells(own: Sequence[Figures]) -> Row:
    reads = [each["read"] for each in own]

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    recited = [np.mean(read["recited"]) for read in reads if read["recited"]]
    return [
        f"{mean([read['summary']['nll'] for read in reads]):.3f}",
        f"{mean([read['summary']['calibration_gap'] for read in reads]):+.2f}", f"{mean([read['summary']['ece'] for read in reads]):.3f}",
        *(f"{mean([read['told_apart'][name]['auc'] for read in reads]):.3f}" for name in FAMILIES),
        f"{mean([np.mean(read['covered']) for read in reads]):.2%}", f"{mean(recited):.2%}" if recited else "",
        *(f"{mean([np.mean(read[name]) for read in reads]):.2f}" for name in ("fact_margin", "bias_gap")),
    ]  # fmt: skip


def difference_rows(found: Sequence[Difference]) -> list[Row]:
    """A row a hypothesis, a rival beside the other."""
    rows = []
    for name in dict.fromkeys(each.hypothesis.name for each in found):
        own = {each.rival: each for each in found if each.hypothesis.name == name}
        asked = next(iter(own.values())).hypothesis
        bar = "above 0" if asked.kind == "superior" else f"above −{asked.margin:g}"
        rows.append([name, bar, *("" if asked.long and rival != "sft" else _cell(own.get(rival)) for rival in RIVALS)])
    return rows


def _cell(found: Difference | None) -> str:
    return "not run" if found is None else found.sentence()


def judged(found: Mapping[Cell, Figures], tokens: int, style: str) -> list[Difference]:
    """The differences of a size and style; none before the base stands there, which names the items."""
    base = found.get(Cell("base", 0, 0, style))
    return [] if base is None else differences(found, base["items"], tokens, style)


def answer(found: Mapping[Cell, Figures], tokens: int, style: str) -> str:
    """What the rule says, in a sentence."""
    says = pays(judged(found, tokens, style))
    if says is None:
        return "Not all of its cells have been run: the rule says nothing yet."
    return (
        "By the rule a soft target pays here."
        if says
        else "By the rule a soft target does not pay here: SFT with early stopping is proposed."
    )


def pilot() -> str:
    """What was tried on validation documents, at 2,048 tokens with the seed of the pilot."""
    rows = []
    for name, found in json.loads((RESULTS / "pilot.json").read_bytes()).items():
        state = "best" if name.startswith(("sft", "smoothing", "decay")) else "last"
        heard = next((found[each]["told_apart"] for each in ("best", "last") if "told_apart" in found[each]), {})
        epoch = min(found["curve"], key=lambda look: look[1])[0]
        rows.append([
            name, found["why"], f"{epoch:.0f}",
            *(f"{found[each]['nll']:.3f}" for each in ("best", "last")), f"{found[state]['gap']:+.2f}",
            *(f"{heard[family]:.3f}" if heard else "" for family in FAMILIES),
        ])  # fmt: skip
    return markdown_table(("", "what", "best epoch", "NLL there", "after the last", "gap", *FAMILIES), rows)


def markdown(found: Mapping[Cell, Figures]) -> str:
    """The generated part of the page."""
    few = f"`too few seeds`: fewer than {LEAST_SEEDS}, so that nothing is claimed, whatever the bounds.\n"
    parts = [few, "### The pilot: validation documents, 2,048 tokens, one seed\n", pilot()]
    for tokens, style in PLACES:
        parts += [
            f"### {tokens:,} tokens, {style}\n",
            answer(found, tokens, style) + "\n",
            markdown_table(HEAD, arm_rows(found, tokens, style)),
        ]
        if own := judged(found, tokens, style):
            parts.append(markdown_table(("DFT less …", "asked", *RIVALS), difference_rows(own)))
    if (floor := _floors(found)) is not None:
        parts.append(floor + "\n")
    absent = missing(found)
    parts.append(f"Cells not run: {', '.join(cell.name for cell in absent) or 'none'}.\n")
    parts.append("`--large`, not run: " + "; ".join(not_run(found)) + ".\n")
    return "\n".join(parts)


def _groups(found: Mapping[Cell, Figures]) -> list[str]:
    """Large cells that are missing, a size or arm each."""
    absent = [cell for cell in large_cells() if cell not in found]
    sizes = dict.fromkeys(f"{cell.tokens:,} tokens" for cell in absent if cell.tokens in LARGE_SIZES)
    return [*sizes, *dict.fromkeys(f"the baseline {cell.arm}" for cell in absent if cell.arm in LARGE_BASELINES)]


def not_run(found: Mapping[Cell, Figures]) -> list[str]:
    """What of `--large` is not run."""
    return [*_groups(found), *LARGE]


def _floors(found: Mapping[Cell, Figures]) -> str | None:
    base = found.get(Cell("base", 0, 0))
    if base is None:
        return None
    told = base["read"]["told_apart"]
    chance = ", ".join(f"{told[name]['floor']:.3f} by {name}" for name in FAMILIES if "floor" in told[name])
    return f"Human text is told from other human text of the same documents, by the same protocol at the same count: {chance}."


def evidence(found: Mapping[Cell, Figures]) -> dict[str, Any]:
    """What the plan reads: by size, whether a soft target pays, and the figures behind it."""
    sizes: dict[str, Any] = {}
    for tokens in sorted(SIZES):
        own = judged(found, tokens, STYLE)
        if (says := pays(own)) is None:
            continue
        against = [each for each in own if each.rival == "sft"]
        sizes[str(tokens)] = {
            "pays": says,
            "figures": {
                each.hypothesis.name: [round(value, 4) for value in (each.interval.mean, each.interval.low, each.interval.high)]
                for each in against if each.hypothesis.name in ("likelier", "voice, characters", "voice, words")
            },
        }  # fmt: skip
    return {"page": "docs/explanation/little-text.md", "style": STYLE, "seeds": len(SEEDS), "sizes": sizes}


def evidence_bytes(found: Mapping[Cell, Figures]) -> bytes:
    """The file that the plan reads."""
    return json.dumps(evidence(found), indent=1, ensure_ascii=False).encode() + b"\n"


def write_page(found: Mapping[Cell, Figures]) -> None:
    """Put the tables between the marks of the page, and what the plan reads into its file."""
    PAGE.write(markdown(found))
    EVIDENCE.parent.mkdir(exist_ok=True)
    EVIDENCE.write_bytes(evidence_bytes(found))
