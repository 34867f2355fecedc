"""What operations cost here, and what they survive.

    python -m benchmarks.operations --faults [--kinds raise,exit]      the table of faults, cell by cell
    python -m benchmarks.operations --json [--measure faults,…]        the figures; what was not measured is null, and says why

`faults_survived` and `faults_tried` are of the table (`benchmarks/faults.py`), `restore_minutes` is of a home of so many megabytes as
`restore_megabytes` says: saved, destroyed and restored by `timbre backup` and `timbre restore`. Nothing is measured that was not asked for
with --measure, for each takes minutes; without it everything is null.
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
    "flow_overhead_s": "needs a quick release on an idle machine; no measurement is written yet",
    "cached_rerun_s": "needs a quick release on an idle machine; no measurement is written yet",
    "cold_start_s": "needs a server and a worker on an idle machine; no measurement is written yet",
    "targets_scaling_2_workers": "targets are not built by several workers yet",
    "plan_error_time": "needs a release beside its plan on an idle machine; no measurement is written yet",
    "plan_error_memory": "the plan names no measured peak to hold it to yet",
}
_ASKED = "not asked for: --measure {}"


def main() -> None:
    """Measure what is asked for, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--faults", action="store_true", help="the table of faults only; ends with 1 where one is not survived")
    parser.add_argument("--kinds", default="", help="with --faults: these kinds only, separated by commas")
    parser.add_argument("--measure", default="", help="faults, restore")
    parser.add_argument("--home", type=Path, help="of restore: the home to save and restore elsewhere; that of the settings if not given")
    given = parser.parse_args()
    if given.faults:
        sys.exit(_faults(tuple(filter(None, given.kinds.split(",")))))
    found = figures(set(filter(None, given.measure.split(","))), given.home)
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


def figures(measured: set[str], home: Path | None = None) -> dict[str, Any]:
    """Every figure by name, null where it was not measured, with `why_null`."""
    found: dict[str, Any] = dict.fromkeys(KEYS)
    why = dict(_UNMEASURED)
    if "faults" in measured:
        from benchmarks.faults import table

        cells = list(table())
        found["faults_tried"], found["faults_survived"] = len(cells), sum(not cell.problems for cell in cells)
    else:
        why |= dict.fromkeys(("faults_survived", "faults_tried"), _ASKED.format("faults"))
    if "restore" in measured:
        found |= _restore(home)
    else:
        why["restore_minutes"] = _ASKED.format("restore")
    return found | {"why_null": why}


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
