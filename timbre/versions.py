"""Who built an artifact: Timbre's own version and commit, and the libraries that decide results.

All of it stands in the manifest, outside key and digest: another patch release of a library shall not throw away what took
days, and rarely changes a result. When it does matter is a policy of its own (docs/adr/0012-library-versions.md):

    a release is x.y: patch releases and build tags (2.13.0+cpu) are one with it
    evidence is compared only where base and candidate were measured, and their texts written, under the same releases of what runs
    a model (`EVIDENCE`); else lineage refuses it, and says what to remove so that it is measured again
    numpy and onnxruntime do not run what is compared; parity is measured on the bundle itself. They are on record, and shown
    `timbre doctor` lists what was built under other versions than are installed, and whether their releases differ
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "onnxruntime", "numpy")
"""Those that decide results."""
EVIDENCE = ("torch", "transformers", "tokenizers", "peft")
"""Those of which evidence of base and candidate must have the same releases."""
_NAMES = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")}
_POINTERS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE", "GIT_PREFIX")


@cache
def versions() -> Mapping[str, str]:
    """The installed version of each library that decides results; one that is not installed is left out. Imports none."""
    found = {name: _version(_NAMES.get(name, (name,))) for name in LIBRARIES}
    return {name: version for name, version in found.items() if version is not None}


def built_by(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest says of who built it.

    Args:
        inputs: input name -> what the manifest of that artifact says of its own libraries.
    """
    own = sys.modules[__name__.partition(".")[0]]  # its own word: what an installer noted is older where an editable install went on
    return {"timbre": own.__version__, "commit": own_commit(), "libraries": dict(versions()), "libraries_of_inputs": dict(inputs)}


def release(version: str) -> str:
    """The x.y of a version."""
    return ".".join(version.partition("+")[0].split(".")[:2])


def other_releases(one: Mapping[str, str], other: Mapping[str, str], of: Iterable[str] = EVIDENCE) -> dict[str, tuple[str, str]]:
    """Library -> its versions in `one` and `other`, where their releases differ or one of them is not on record."""
    found = {name: (one.get(name, "unknown"), other.get(name, "unknown")) for name in of}
    return {name: pair for name, pair in found.items() if release(pair[0]) != release(pair[1])}


@cache
def own_commit() -> str | None:
    """The commit of the checkout that this very package runs from; None where it was installed from a wheel.

    A repository that merely lies around it (a project with its environment inside, a copy of the package) is another's: its root
    must be this checkout's, and hold Timbre's own pyproject.toml and this file.
    """
    package = Path(__file__).resolve().parent
    root = package.parent
    if not _is_ours(root / "pyproject.toml") or _git(root, "rev-parse", "--show-toplevel") != str(root):
        return None
    if _git(root, "ls-files", "--error-unmatch", "--", "pyproject.toml", f"{package.name}/{Path(__file__).name}") is None:
        return None
    return _git(root, "rev-parse", "HEAD")


def _version(names: Iterable[str]) -> str | None:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _is_ours(project: Path) -> bool:
    try:
        found = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}).get("name")
    except (OSError, ValueError):
        return False
    return bool(found == "timbre")


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, without what a caller's environment points it at; None where it fails or is not here."""
    environment = {name: value for name, value in os.environ.items() if name not in _POINTERS}
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False, env=environment)
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
