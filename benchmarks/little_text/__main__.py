"""Does a soft target pay where there is little text? SFT, regularised SFT and DFT on 2, 4 and 8 thousand tokens, on unseen documents.

    python -m benchmarks.little_text                    runs what is missing, cell by cell, and prints the table
    python -m benchmarks.little_text --minutes 60       begins no cell after an hour
    python -m benchmarks.little_text --table --json     prints what stands, runs nothing
    python -m benchmarks.little_text --large            more text and other baselines too: for a GPU
    python -m benchmarks.little_text --page             writes docs/explanation/little-text.md and what the plan reads

What was fixed beforehand (arms, hypotheses, margins, the rule) stands in benchmarks/little_text/design.py; what was tried to get
there in benchmarks/results/little-text/pilot.json. A finished cell is one JSON in that folder, named by the digest of its
configuration: found ones are skipped, on any machine. Students and texts are kept under `<home>/benchmarks/little-text`, so that
a cell that was cut short goes on. A cell takes two to six minutes on two idle cores with bf16.
"""

import argparse
import json

from benchmarks.cells import run_in_turn
from benchmarks.little_text import tables
from benchmarks.little_text.arms import Cell, size
from benchmarks.little_text.design import RIVALS
from benchmarks.measuring import show_table


def main() -> None:
    """Run, then show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so many")
    parser.add_argument("--large", action="store_true", help="also more text and other baselines: hours on a CPU")
    parser.add_argument("--page", action="store_true", help="run nothing; write the page and the evidence that the plan reads")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on the last line")
    given = parser.parse_args()
    if not (given.table or given.page):
        run_missing(given.minutes, large=given.large)
    found = tables.stored()
    if given.page:
        tables.write_page(found)
    for tokens, style in tables.PLACES:
        print(f"\n{tokens:,} tokens, {style}. {tables.answer(found, tokens, style)}")
        show_table(tables.HEAD, tables.arm_rows(found, tokens, style))
        for name, bar, *cells in tables.difference_rows(tables.judged(found, tokens, style)):
            print(f"  {name} ({bar})" + "".join(f"\n    against {rival}: {cell}" for rival, cell in zip(RIVALS, cells, strict=True)))
    absent = [cell.name for cell in tables.missing(found)]
    print(f"\nnot run: {', '.join(absent) or 'none'}\n--large, not run: {'; '.join(tables.not_run(found))}")
    if given.json:
        print(json.dumps(tables.evidence(found) | {"missing": absent, "large": dict.fromkeys(tables.not_run(found), "not run")}))


def run_missing(minutes: float, *, large: bool = False) -> None:
    """Cell by cell in the order of the design."""
    from benchmarks.little_text.cells import run
    from benchmarks.students import trial

    def one(cell: Cell) -> str:
        place = trial("little-text", cell.style, size(cell.tokens or _ANY), cell.seed)
        return f"NLL {run(cell, place)['read']['summary']['nll']:.3f}"

    run_in_turn(tables.missing(tables.stored(), large=large), one, minutes)


_ANY = 4_096
"""The base is read at no size."""

if __name__ == "__main__":
    main()
