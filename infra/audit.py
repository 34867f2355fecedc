"""Ask the package index whether what `requirements.lock` pins is known to be vulnerable.

Run by `make check`. Ends with 1 where something is, and prints package, advisory and the release that mends it. An index that does
not answer is said in one line and is no failure: a check that needs the network must not stop work without one. Nothing is installed
or resolved; only names and versions leave this machine.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 120
ACCEPTED: dict[str, str] = {}
"""Advisories that do not concern us: id -> why. Each is dropped again when a release mends it."""


def audited(lock: Path) -> dict[str, Any] | None:
    """pip-audit's answer about a lock; None where none came. One package is asked about first: offline, that is all that is waited for."""
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder) / "first.txt"
        first.write_text(next(line for line in lock.read_text().splitlines() if "==" in line).removesuffix("\\").strip() + "\n")
        return asked(lock) if _known(asked(first)) else None


def asked(lock: Path) -> dict[str, Any] | None:
    """What pip-audit says of each package; None where it says nothing."""
    command = [str(Path(sys.executable).with_name("pip-audit")), "--requirement", str(lock), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "5"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False).stdout
        found: dict[str, Any] = json.loads(answer)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return found


def told(answer: dict[str, Any] | None) -> tuple[str, int]:
    """What to print, and the exit code."""
    packages, known = (answer or {}).get("dependencies", []), _known(answer)
    if not known:
        return "Not audited: the package index gave no answer about vulnerabilities.", 0
    lines = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw.get('fix_versions') or []) or 'no release yet'}"
        for one in known
        for flaw in one["vulns"]
        if not {flaw["id"], *flaw.get("aliases", [])} & set(ACCEPTED)
    ]
    if lines:
        lines.append('Take the release that mends it: make lock UPGRADE="name". If it does not concern us, say why in infra/audit.py.')
        return "\n".join(lines), 1
    unknown = len(packages) - len(known)
    return f"{len(known)} packages without a known vulnerability" + (f"; {unknown} that the index does not know." if unknown else "."), 0


def _known(answer: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [one for one in (answer or {}).get("dependencies", []) if "vulns" in one]


def main() -> None:
    """Ask, print, end."""
    said, code = told(audited(ROOT / "requirements.lock"))
    print(said)
    sys.exit(code)


if __name__ == "__main__":
    main()
