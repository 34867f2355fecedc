"""Cells of a trial: what is measured once, left behind as a committed JSON, and found again by the digest of its configuration.

A cell has a name and a configuration that says everything that decides its figures, but the machine. Its file is `<name>-<digest>.json`:
one that was made under another configuration is not found, and the cell counts as missing until it is run anew.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from timbre.artifacts import digest_json, write_atomically

RESULTS = Path(__file__).resolve().parent / "results"
Figures = Mapping[str, Any]


class Named(Protocol):
    """What a cell is called; unique within a trial."""

    @property
    def name(self) -> str: ...


CellT = TypeVar("CellT", bound=Named)


@dataclass(frozen=True)
class Shelf(Generic[CellT]):
    """Where the cells of one trial lie."""

    folder: Path
    configuration: Callable[[CellT], Mapping[str, Any]]
    """Everything that decides a cell's figures."""

    def path(self, cell: CellT) -> Path:
        """Where its figures lie, or will."""
        return self.folder / f"{cell.name}-{digest_json(self.configuration(cell))[:12]}.json"

    def stored(self, cells: Sequence[CellT]) -> dict[CellT, Figures]:
        """Those whose figures are there, in the order given."""
        return {cell: json.loads(path.read_bytes()) for cell in cells if (path := self.path(cell)).exists()}

    def keep(self, cell: CellT, measured: Callable[[], Figures], made: Mapping[str, str]) -> Figures:
        """Found, or measured and written; `made` says on what (precision, digests) and decides nothing."""
        path = self.path(cell)
        if path.exists():
            found: Figures = json.loads(path.read_bytes())
            return found
        figures = {"cell": cell.name, "configuration": self.configuration(cell), "made": dict(made)} | dict(measured())
        write_atomically(path, _compact(figures))
        return figures


def run_in_turn(cells: Sequence[CellT], run: Callable[[CellT], str], minutes: float) -> None:
    """One cell after the other, with a line about each; none is begun after so many minutes."""
    started = time.monotonic()
    for cell in cells:
        if time.monotonic() - started >= 60 * minutes:
            return
        began = time.monotonic()
        print(f"{cell.name}: {run(cell)} ({(time.monotonic() - began) / 60:.1f} minutes)", flush=True)


def _compact(figures: Figures) -> bytes:
    """A line a key of the first floor: arrays stay on one."""
    parts = [f' "{name}": {json.dumps(value, sort_keys=True)}' for name, value in figures.items()]
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()
