"""What operations cost here, and what they survive.

    python -m benchmarks.operations --json                              every figure: what is missing is measured, the rest is kept
    python -m benchmarks.operations --json --measure faults,flow        these parts only
    python -m benchmarks.operations --json --measure plan --minutes 3   no new piece begins after three minutes; again goes on
    python -m benchmarks.operations --json --measure none               only what is kept
    python -m benchmarks.operations --faults [--kinds raise,exit]       the table of faults, cell by cell

Parts, their figures, and what they take on two idle cores:

    faults      faults_survived, faults_tried     two minutes; the table of benchmarks/faults.py, a piece each kind
    cold_start  cold_start_s                      a minute; a worker is started while a run is due
    flow        flow_overhead_s, cached_rerun_s   two minutes; a release of the tests' tiny model
    targets     targets_scaling_2_workers         four minutes; two targets of the default model, a piece each
    plan        plan_error_time, plan_error_memory   ten minutes; a release of the default model, and full fine-tuning of it
    restore     restore_minutes                   half a minute; the home of `plan` (of `flow` if there is none) is saved and restored

What was measured is kept under <home>/benchmarks/operations, with the load of the machine, for as long as the code stays what it was.
What is missing is null, and `why_null` says why. The homes of flow, plan and targets stay there too (some GiB): remove them when done.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pieces import Pieces, TimeOver, environment

KEYS = (
    "flow_overhead_s", "cached_rerun_s", "cold_start_s", "targets_scaling_2_workers", "faults_survived", "faults_tried", "plan_error_time",
    "plan_error_memory", "restore_minutes",
)  # fmt: skip
_OF = {
    "faults": ("faults_survived", "faults_tried"),
    "cold_start": ("cold_start_s",),
    "flow": ("flow_overhead_s", "cached_rerun_s"),
    "targets": ("targets_scaling_2_workers",),
    "plan": ("plan_error_time", "plan_error_memory"),
    "restore": ("restore_minutes",),
}
"""Part -> the figures that it gives; in the order in which they are measured."""
_INNER = ("what", "asked", "code")


def main() -> None:
    """Measure what is asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--faults", action="store_true", help="the table of faults only; ends with 1 where one is not survived")
    parser.add_argument("--kinds", default="", help="with --faults: these kinds only, separated by commas")
    parser.add_argument("--measure", default=",".join(_OF), help="parts, separated by commas, or none; default all")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no new piece begins after this")
    parser.add_argument("--home", type=Path, help="where pieces are kept; default that of the settings")
    parser.add_argument("--style", default="literary", help="of plan and targets")
    parser.add_argument("--profile", default="quick", help="of plan and targets")
    parser.add_argument("--set", action="append", default=[], help="SECTION.FIELD=VALUE of the release of plan: a smaller one, say")
    given = parser.parse_args()
    if given.faults:
        sys.exit(_faults(tuple(filter(None, given.kinds.split(",")))))
    asked = [part for part in given.measure.split(",") if part not in ("", "none")]
    variables = {"TIMBRE_HOME": str(given.home.absolute())} if given.home else {}
    with environment(**variables):
        found = figures(asked, given.minutes, given.style, given.profile, given.set)
    print(json.dumps(found) if given.json else "\n".join(f"{name:28} {value}" for name, value in found.items()))


def _faults(kinds: tuple[str, ...]) -> int:
    from benchmarks.faults import KINDS, print_table, table

    if unknown := set(kinds) - set(KINDS):
        sys.exit(f"unknown kind {min(unknown)!r}: known are {', '.join(KINDS)}")
    cells = []
    for cell in table(kinds or KINDS):
        cells.append(cell)
        print(f"{len(cells):3} {cell.boundary}, {cell.kind}: {'survived' if not cell.problems else 'NOT SURVIVED'}", file=sys.stderr)
    print_table(cells)
    return int(any(cell.problems for cell in cells))


def figures(
    asked: Iterable[str], minutes: float = float("inf"), style: str = "literary", profile: str = "quick", settled: Sequence[str] = ()
) -> dict[str, Any]:
    """Every figure by name: what is kept, and of the parts that are asked for what is missing, begun within so many minutes."""
    from timbre.settings import settings

    if unknown := set(asked) - set(_OF):
        raise SystemExit(f"unknown part {min(unknown)!r}: known are {', '.join(_OF)}")
    folder = settings().home.absolute() / "benchmarks" / "operations"
    ends = time.monotonic() + 60 * minutes
    found: dict[str, Any] = dict.fromkeys(KEYS)
    why: dict[str, str] = {}
    for part, names in _OF.items():
        pieces = Pieces(folder, ends if part in asked else 0.0)
        try:
            found |= {name: value for name, value in _measured(part, pieces, style, profile, settled).items() if name not in _INNER}
        except TimeOver as over:
            said = f"time was over before the piece {over}: give the command again" if part in asked else f"not asked for: --measure {part}"
            why |= dict.fromkeys(names, said)
    return found | {"why_null": why}


def _measured(part: str, pieces: Pieces, style: str, profile: str, settled: Sequence[str]) -> dict[str, Any]:
    from benchmarks import release_costs
    from benchmarks.cold_start import cold_start

    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "faults": lambda: _faults_of_each_kind(pieces),
        "cold_start": lambda: _with_load(part, pieces.kept(part, {}, lambda: cold_start(pieces.folder / "cold"))),
        "flow": lambda: _with_load(part, release_costs.flow_costs(pieces)),
        "targets": lambda: release_costs.target_scaling(pieces, style, profile),
        "plan": lambda: release_costs.plan_costs(pieces, style, profile, settled),
        "restore": lambda: _with_load(part, pieces.kept(part, {}, lambda: _restore(pieces.folder))),
    }
    return measures[part]()


def _with_load(part: str, found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name != "load"} | {f"{part}_load": found["load"]}


def _faults_of_each_kind(pieces: Pieces) -> dict[str, Any]:
    from benchmarks.faults import KINDS, table

    def of(kind: str) -> dict[str, int]:
        cells = list(table((kind,)))
        return {"tried": len(cells), "survived": sum(not cell.problems for cell in cells)}

    found = [pieces.kept("faults", {"kind": kind}, lambda kind=kind: of(kind)) for kind in KINDS]  # type: ignore[misc]
    return {"faults_tried": sum(one["tried"] for one in found), "faults_survived": sum(one["survived"] for one in found)}


def _restore(folder: Path) -> dict[str, Any]:
    """Save a home, and restore it into an empty one, with every file verified."""
    import tempfile

    from benchmarks.pieces import code_digest
    from benchmarks.release_costs import run_timbre

    homes = [folder / f"plan-{code_digest()[:8]}", folder / "flow" / "home"]
    home = next((one for one in homes if (one / "ledger.db").exists()), None)
    if home is None:
        raise TimeOver("restore, which saves a home of `plan` or `flow` and found none")
    with tempfile.TemporaryDirectory(prefix="restore-", dir=folder) as empty:
        saved = Path(empty) / "backup.tar"
        with environment(TIMBRE_HOME=str(home)):
            run_timbre("backup", str(saved))
        with environment(TIMBRE_HOME=str(Path(empty) / "home")):
            _, seconds, _ = run_timbre("restore", str(saved))
        return {
            "restore_minutes": round(seconds / 60, 3), "restore_megabytes": round(saved.stat().st_size / 2**20, 1), "restore_of": home.name,
        }  # fmt: skip


if __name__ == "__main__":
    main()
