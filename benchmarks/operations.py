"""What operations cost here, and what they survive.

    python -m benchmarks.operations --faults [--kinds raise,exit]      the table of faults, cell by cell
    python -m benchmarks.operations --json [--measure faults,…]        the figures; what was not measured is null, and says why

`faults_survived` and `faults_tried` are of the table (`benchmarks/faults.py`), `restore_minutes` is of a home of so many megabytes as
`restore_megabytes` says: saved, destroyed and restored by `timbre backup` and `timbre restore`. Those of a release and of a target are of
`benchmarks/release_costs.py`: `release` needs an empty --home and takes as long as a release, `targets` two targets; what was measured is
kept there and not measured twice. Nothing is measured that was not asked for with --measure; without it everything is null.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

KEYS = (
    "flow_overhead_s", "cached_rerun_s", "cold_start_s", "targets_scaling_2_workers", "faults_survived", "faults_tried", "plan_error_time",
    "plan_error_memory", "restore_minutes",
)  # fmt: skip
_UNMEASURED = {
    "cold_start_s": "needs a server and a worker on an idle machine; no measurement is written yet",
}
_OF = {
    "faults": ("faults_survived", "faults_tried"),
    "restore": ("restore_minutes",),
    "release": ("flow_overhead_s", "cached_rerun_s", "plan_error_time", "plan_error_memory"),
    "targets": ("targets_scaling_2_workers",),
}
"""What is asked for -> the figures that it gives."""
_ASKED = "not asked for: --measure {}"


def main() -> None:
    """Measure what is asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--faults", action="store_true", help="the table of faults only; ends with 1 where one is not survived")
    parser.add_argument("--kinds", default="", help="with --faults: these kinds only, separated by commas")
    parser.add_argument("--measure", default="", help=", ".join(_OF))
    parser.add_argument("--home", type=Path, help="where to save, release and build targets; that of the settings if not given")
    parser.add_argument("--style", default="literary", help="of release and targets")
    parser.add_argument("--profile", default="quick", help="of release and targets")
    given = parser.parse_args()
    if given.faults:
        sys.exit(_faults(tuple(filter(None, given.kinds.split(",")))))
    found = figures(set(filter(None, given.measure.split(","))), given.home, given.style, given.profile)
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


def figures(measured: set[str], home: Path | None = None, style: str = "literary", profile: str = "quick") -> dict[str, Any]:
    """Every figure by name, null where it was not measured, with `why_null`."""
    if unknown := measured - set(_OF):
        raise SystemExit(f"unknown measurement {min(unknown)!r}: known are {', '.join(_OF)}")
    found: dict[str, Any] = dict.fromkeys(KEYS)
    why = _UNMEASURED | {name: _ASKED.format(what) for what, names in _OF.items() if what not in measured for name in names}
    if "faults" in measured:
        from benchmarks.faults import table

        cells = list(table())
        found["faults_tried"], found["faults_survived"] = len(cells), sum(not cell.problems for cell in cells)
    if "restore" in measured:
        found |= _restore(home)
    if measured & {"release", "targets"}:
        found |= _of_a_home(measured, home, style, profile)
    return found | {"why_null": why}


def _of_a_home(measured: set[str], home: Path | None, style: str, profile: str) -> dict[str, Any]:
    import os

    from benchmarks.release_costs import release_costs, target_scaling
    from timbre.settings import settings

    if home is not None:
        os.environ["TIMBRE_HOME"] = str(home.absolute())
        settings.cache_clear()
    found: dict[str, Any] = {}
    if "release" in measured:
        found |= release_costs(style, profile)
    if "targets" in measured:
        found |= target_scaling(style, profile)
    return {name: value for name, value in found.items() if name not in ("what", "asked", "commit")}


def _restore(home: Path | None) -> dict[str, float]:
    import os
    import tempfile

    from timbre.settings import settings
    from timbre.tasks.backup import back_up, restore

    with tempfile.TemporaryDirectory(prefix="timbre-restore-") as folder:
        if home is not None:
            os.environ["TIMBRE_HOME"] = str(home)
            settings.cache_clear()
        saved = Path(folder) / "backup.tar"
        back_up(saved)
        os.environ["TIMBRE_HOME"] = str(Path(folder) / "home")
        settings.cache_clear()
        started = time.monotonic()
        restore(saved)
        return {
            "restore_minutes": round((time.monotonic() - started) / 60, 3),
            "restore_megabytes": round(saved.stat().st_size / 2**20, 1),
        }


if __name__ == "__main__":
    main()
