"""What the house itself costs: to import, to ask for help, to install, and to add something to.

    python -m benchmarks.house --json           the figures
    python -m benchmarks.house --digests        what a tiny release stores, step by step: whether a change moved code only

`import_seconds` and `help_seconds` are the smaller half's median of ten fresh processes, since other work on the machine only ever
adds; `load` is printed beside them. `places_to_add_…` are the files that the worked examples of CONTRIBUTING.md touch, which a test
runs as they stand there. `evaluate_extra_packages` are the packages that the wheel without extras brings.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from timbre.settings import PROJECT_ROOT

_IMPORT = "import time; start = time.perf_counter(); import timbre; print(time.perf_counter() - start)"
_RUNS = 10
_FILE = re.compile(r"`(timbre/[\w/]+)(?:\.py)?`")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--digests", action="store_true", help="digests of a tiny release instead")
    given = parser.parse_args()
    found: dict[str, object] = dict(digests()) if given.digests else dict(figures())
    if given.json:
        print(json.dumps(found))
    else:
        print("\n".join(f"{name:28} {value}" for name, value in found.items()))


def figures() -> dict[str, object]:
    """All figures by name."""
    room, share = biggest_room()
    size, packages = wheel()
    return {
        "import_seconds": round(_quick([_printed_seconds([sys.executable, "-c", _IMPORT]) for _ in range(_RUNS)]), 4),
        "help_seconds": round(_quick([_seconds([sys.executable, "-m", "timbre.cli", "--help"]) for _ in range(_RUNS)]), 3),
        "biggest_room": room,
        "biggest_room_share": round(share, 3),
        "places_to_add_an_objective": len(places("Adding an objective")),
        "places_to_add_a_step": len(places("Adding a step")),
        "wheel_mb": round(size / 1e6, 3),
        "evaluate_extra_packages": len(packages),
        "load": round(os.getloadavg()[0], 1),
    }


def biggest_room() -> tuple[str, float]:
    """The package under timbre with most lines, and its share in all lines of timbre (command, flows and tasks included)."""
    lines = {path.relative_to(PROJECT_ROOT / "timbre"): _lines(path) for path in (PROJECT_ROOT / "timbre").rglob("*.py")}
    for name in ("cli", "flows", "tasks"):
        lines |= {path.relative_to(PROJECT_ROOT): _lines(path) for path in (PROJECT_ROOT / name).rglob("*.py")}
    rooms: dict[str, int] = {}
    for path, count in lines.items():
        rooms[path.parts[0]] = rooms.get(path.parts[0], 0) + count
    room = max((name for name in rooms if not name.endswith(".py")), key=lambda name: rooms[name])
    return room, rooms[room] / sum(lines.values())


def places(heading: str) -> set[str]:
    """The files that a worked example of CONTRIBUTING.md names before its code."""
    section = (PROJECT_ROOT / "CONTRIBUTING.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(_FILE.findall(section.partition("```")[0]))


def wheel() -> tuple[int, tuple[str, ...]]:
    """Bytes of the wheel, and the packages that come with it where no extra is asked for."""
    from tests.package.installed import build_wheel, install

    with tempfile.TemporaryDirectory() as folder:
        built = build_wheel(Path(folder))
        return built.stat().st_size, install(built, Path(folder) / "venv").packages


def digests() -> dict[str, str]:
    """Step -> sha256 of what a tiny release stores there, without what depends on time and place (`tests.golden_walk`)."""
    from tests.conftest import corpus_texts, write_llama, write_tokenizer
    from tests.golden_walk import walk
    from timbre.artifacts import digest_json

    with tempfile.TemporaryDirectory() as folder:
        model, texts = Path(folder) / "model", corpus_texts()
        model.mkdir()
        write_tokenizer(model, [text for _, text in texts])
        write_llama(model, seed=0)
        left = walk(Path(folder) / "walk", model, texts)
        return {name: digest_json([each.version, each.layout, each.values]) for name, each in left.items()}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _quick(seconds: Sequence[float]) -> float:
    return statistics.median(sorted(seconds)[: len(seconds) // 2])


def _printed_seconds(command: Sequence[str]) -> float:
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
