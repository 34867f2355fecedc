"""The wheel of this checkout, and environments that hold it and what it declares: nothing else, and no checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of what is under version control, as a release would."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "source" / name, follow_symlinks=False)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--wheel-dir",
        str(folder),
    ]
    subprocess.run([*command, str(folder / "source")], check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob("*.whl")
    shutil.rmtree(folder / "source")
    return wheel


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and what it declares under some extras."""

    folder: Path
    packages: tuple[str, ...]

    def python(self, *arguments: str, cwd: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return self._run("python", arguments, cwd, timeout)

    def timbre(self, *arguments: str, cwd: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        return self._run("timbre", arguments, cwd, timeout)

    def _run(self, program: str, arguments: tuple[str, ...], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        ours = ("TIMBRE_ROOT", "TIMBRE_HOME", "TIMBRE_START", "PYTHONPATH", "VIRTUAL_ENV")
        environment = {name: value for name, value in os.environ.items() if name not in ours} | {"COLUMNS": "80"}
        environment["PATH"] = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        command = [str(self.folder / "bin" / program), *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False)


def install(wheel: Path, folder: Path, *extras: str) -> Installed:
    """A fresh environment: the wheel is installed into it, and links to the packages that it asks for, and to those they ask for.

    Nothing is fetched: versions are those of the environment that runs the tests.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=120)
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--offline", "--no-deps", "--no-cache"]
    subprocess.run([*uv, "--python", str(folder / "bin" / "python"), str(wheel)], check=True, timeout=120)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (own,) = (Distribution.at(path) for path in site.glob("timbre-*.dist-info"))
    found: dict[str, Distribution] = {}
    _add(own, frozenset(extras), found, set())
    for package in found.values():
        for top in _tops(package):
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(package.locate_file(top))))
    return Installed(folder, tuple(sorted(found)))


def _add(asking: Distribution, extras: frozenset[str], found: dict[str, Distribution], seen: set[tuple[str, frozenset[str]]]) -> None:
    for text in asking.requires or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not any(wanted.marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        name = canonicalize_name(wanted.name)
        if (name, frozenset(wanted.extras)) in seen:
            continue
        seen.add((name, frozenset(wanted.extras)))
        package = asking if name == "timbre" else _there(name)
        if package is None:
            continue
        if name != "timbre":
            found[name] = package
        _add(package, frozenset(wanted.extras) | (frozenset() if wanted.extras else frozenset({""})), found, seen)


def _there(name: str) -> Distribution | None:
    """What this environment has; CUDA libraries are declared by some builds of torch and not always here."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        assert name.startswith(("nvidia-", "cuda-", "triton")), f"{name} is declared and not installed: `make install`"
        return None


def _tops(package: Distribution) -> Iterator[str]:
    tops = {file.parts[0] for file in package.files or []}
    yield from sorted(top for top in tops if top not in ("..", "__pycache__", "bin") and not top.startswith("__editable__"))
