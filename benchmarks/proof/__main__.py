"""The proof: DFT at one fixed setting against the best that SFT does in any setting, on unseen documents, losing rows included.

    python -m benchmarks.proof                    runs what is missing, cell by cell, and prints the tables
    python -m benchmarks.proof --minutes 5        begins no cell after five minutes
    python -m benchmarks.proof --table --json     prints what stands, runs nothing
    python -m benchmarks.proof --large            the large size instead: more text, SFT's whole sweep, ablations; for a GPU
    python -m benchmarks.proof --page             writes docs/explanation/proof.md

Arms, hypotheses, margins and analysis were committed before the first cell was run (benchmarks/proof/arms.py and design.py). A finished
cell is one JSON in benchmarks/results/proof, named by the digest of its configuration: found ones are skipped, on any machine. Students and
texts are kept under `<home>/benchmarks/proof`, so that a cell that was cut short goes on. A cell takes two to four minutes on two idle
cores with bf16.
"""

import argparse
import json

from benchmarks.cells import run_in_turn
from benchmarks.measuring import show_table
from benchmarks.proof import tables
from benchmarks.proof.arms import Cell


def main() -> None:
    """Run, then show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="run nothing")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell after so many")
    parser.add_argument("--large", action="store_true", help="the large size and the ablations instead: days on a CPU")
    parser.add_argument("--page", action="store_true", help="run nothing; write the page")
    parser.add_argument("--json", action="store_true", help="the headline rows as one JSON object on the last line")
    given = parser.parse_args()
    if not (given.table or given.page):
        run_in_turn(tables.missing(tables.stored(), large=given.large), _run, given.minutes)
    found = tables.stored()
    if given.page:
        tables.PAGE.write(tables.markdown(found))
    for style, size in tables.places(found):
        print(f"\n{style}, {size} size. {tables.answer(found, style, size)}")
        show_table(tables.HEAD, tables.arm_rows(found, style, size))
        for name, bar, goal, rival, sentence, claimed in tables.difference_rows(tables.against_sft(found, style, size)):
            print(f"  {name} ({bar}, goal {goal}) against {rival}: {sentence} {claimed}")
    absent = tables.missing(found)
    print(f"\nnot run: {'; '.join(tables.grouped(absent)) or 'none'}\n--large, not run: {'; '.join(tables.not_run(found))}")
    if given.json:
        print(json.dumps(tables.headline(found)))


def _run(cell: Cell) -> str:
    from benchmarks.proof.cells import run

    found = run(cell)
    return f"{found['refused']['level']} level refused" if "refused" in found else "read"


if __name__ == "__main__":
    main()
