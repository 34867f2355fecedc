"""The proof as a step of its own: `python -m benchmarks.proof` in a process, whose tables come back as one object."""

import json
import os
import subprocess
import sys
from typing import Any

from timbre.settings import settings


def prove_for(minutes: float, *, large: bool = False) -> dict[str, Any]:
    """Run missing cells, none begun after so many minutes; the headline rows of all that are there.

    Raises:
        ValueError: the benchmarks are not here (they belong to the source checkout), or a cell went wrong; the sentence is its last line.
    """
    root = settings().root
    if not (root / "benchmarks" / "proof").is_dir():
        raise ValueError(f"{root} holds no benchmarks/proof: the proof runs from a checkout of the source, so deploy from there")
    command = [sys.executable, "-m", "benchmarks.proof", "--minutes", f"{minutes:g}", "--json", *(["--large"] if large else [])]
    environment = os.environ | {"TIMBRE_HOME": str(settings().home.absolute())}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ValueError(f"the proof stopped, what it finished stays: {said[-1] if said else 'it said nothing'}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
