"""Make `requirements.lock`: one set of versions, with hashes, for Python 3.11–3.13 and for CPU and CUDA builds of torch.

Run by `make lock`. What is locked stays as it is where it still fits; `make lock UPGRADE="name name"` takes the newest fitting release
of these, `UPGRADE=all` of everything. The packages that only a CUDA build of torch needs get the marker `extra == 'cuda'`, which
installers leave out; `infra/install.sh` installs them when the torch that was found is such a build. Builds of the
same release that are not on the registry (CPU wheels) are named in comments at the top of the lock, with their sha256,
and stand among torch's hashes; wheels in the folder TORCH_WHEELS are added to them.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
EXTRAS = ("run", "server", "documents", "docs", "dev")
"""What `make install` brings: everything that runs, also in server mode, the tests and the documentation."""
CUDA = re.compile(r"^(nvidia-|cuda-|triton==)")
ELSEWHERE = re.compile(r"^# (torch-\S+\.whl) sha256:([0-9a-f]{64})$", re.MULTILINE)


def compiled(source: str, *options: str) -> list[str]:
    """The lines that uv resolves, each requirement followed by its hashes. Versions that are locked stay, where they still fit."""
    environment = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    command = [
        str(Path(sys.executable).with_name("uv")),
        "pip",
        "compile",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
        "--no-header",
        "--no-annotate",
        *upgrades(os.environ.get("UPGRADE", "")),
        *options,
        source,
    ]
    with tempfile.NamedTemporaryFile("w+", suffix=".txt") as kept:
        kept.write("\n".join(pins()))
        kept.flush()
        subprocess.run([*command, "--output-file", kept.name], cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
        return Path(kept.name).read_text().splitlines()


def upgrades(wanted: str) -> list[str]:
    """uv's options for the packages that may leave their locked release."""
    if wanted.strip() == "all":
        return ["--upgrade"]
    return [word for name in wanted.split() for word in ("--upgrade-package", name)]


def pins() -> list[str]:
    """What the lock holds now, without hashes and without the marker of the CUDA libraries."""
    lines = LOCK.read_text().splitlines() if LOCK.exists() else []
    held = [line.removesuffix("\\").strip() for line in lines if "==" in line and line[0].isalpha()]
    return [re.sub(r" ; extra == 'cuda'$| and extra == 'cuda'$", "", pin) for pin in held]


def elsewhere(version: str) -> dict[str, str]:
    """Wheel -> sha256 of this release of torch beside the registry's: those in the lock already, and those in TORCH_WHEELS."""
    known = dict(ELSEWHERE.findall(LOCK.read_text())) if LOCK.exists() else {}
    folder = os.environ.get("TORCH_WHEELS")
    for path in sorted(Path(folder).glob("torch-*.whl")) if folder else []:
        known[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return {name: digest for name, digest in sorted(known.items()) if re.match(rf"torch-{re.escape(version)}[+-]", name)}


def marked(line: str) -> str:
    """The requirement with `extra == 'cuda'` in its marker."""
    requirement, _, marker = line.removesuffix("\\").strip().partition(" ; ")
    conditions = f"({marker}) and extra == 'cuda'" if marker else "extra == 'cuda'"
    return f"{requirement} ; {conditions} \\"


def main() -> None:
    """Write the lock."""
    lines: list[str] = []
    for line in compiled("pyproject.toml", *(word for extra in EXTRAS for word in ("--extra", extra))):
        lines.append(marked(line) if CUDA.match(line) else line)
        if line.startswith("torch=="):
            others = elsewhere(line.removeprefix("torch==").split()[0])
            lines += [f"    --hash=sha256:{digest} \\" for digest in others.values()]
            lines[:0] = [f"# {name} sha256:{digest}" for name, digest in others.items()]
    LOCK.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
