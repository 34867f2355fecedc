"""DVC as the data registry runs it: from the command line, as a process group, its stages' errors given back as ours."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbre.artifacts import IntegrityError
from timbre.settings import Settings
from timbre.tasks.stages import load_yaml
from timbre.tasks.stores.git import clean_environment
from timbre.tasks.stores.processes import Finished, run_group
from timbre.tasks.trying import Unreachable

_ADVICE = re.compile(r"\s*$|To (track|enable)|\tgit add|\tdvc config|Use `dvc|(Updating|Generating) lock|[0-9a-f]{64}$")
"""What DVC tells people who work by hand, and the digest that a stage prints."""
_ALL = re.compile("")


class DvcError(RuntimeError):
    """DVC ended badly; the text is what it said."""


@dataclass(frozen=True)
class Dvc:
    """DVC in one repository."""

    path: Path
    settings: Settings
    token_file: Path
    timeout: float | None = None

    def repro(self, target: str) -> None:
        """Bring a stage up to date, and those before it.

        Raises:
            ValueError, IntegrityError, TargetRefused: what the stage raised.
            DvcError: DVC itself failed.
            TimeoutError: it took too long; all of it was ended.
        """
        finished = self._run("repro", target)
        if finished.code == 0:
            return
        text = "\n".join(finished.lines)
        codes = re.findall(r"exited with (-?\d+)", text)
        said = [line.removeprefix("timbre: ") for line in finished.lines if line.startswith("timbre: ")]
        match int(codes[-1]) if codes else None:  # the exit codes of `timbre`
            case 2 if said:
                raise ValueError(said[-1])
            case 3 if said:
                from timbre.targets.admission import TargetRefused

                raise TargetRefused(said[-1])
            case 6 if said:
                raise IntegrityError(said[-1])
            case _:
                raise DvcError(f"dvc repro {target} failed:\n{text}")

    def add(self, path: str) -> None:
        """Track a folder that no stage makes."""
        self._checked("add", "--quiet", path)

    def commit(self, target: str) -> None:
        """Take what lies in the working tree into the cache again."""
        self._checked("commit", "--quiet", "--force", target)

    def pull(self, target: str) -> bool:
        """Try to fetch what others have built; False if that is not possible."""
        return self._run("pull", "--quiet", "--with-deps", target).code == 0

    def push(self, targets: list[str], *, all_tags: bool = False) -> None:
        """Send data to the remote.

        Raises:
            Unreachable: it cannot be sent.
        """
        finished = self._run("push", "--quiet", "--with-deps", *(["--all-tags"] if all_tags else []), *targets)
        if finished.code != 0:
            raise Unreachable(
                f"the data could not be sent to {self.remote_url()}: {_last(finished)}. It is committed and tagged here; "
                "the next run sends it. Check TIMBRE_DATA_REMOTE and the disk or network behind it"
            )

    def remote_url(self) -> str:
        """Where the data goes."""
        texts = [path.read_text() for name in ("config", "config.local") if (path := self.path / ".dvc" / name).exists()]
        return str(re.findall(r'url = "?(.*?)"?$', "\n".join(texts), re.MULTILINE)[-1])

    def locked(self, target: str) -> dict[str, Any]:
        """What `dvc.lock` says of a stage; empty if it was never run."""
        lock = self.path / "dvc.lock"
        stages = (load_yaml(lock.read_text()) or {}).get("stages", {}) if lock.exists() else {}
        entry: dict[str, Any] = stages.get(target, {})
        return entry

    def forget_damaged(self, target: str) -> bool:
        """Remove cache objects of a stage's output that are not what their name says; DVC would check them out and push them.

        Returns:
            Whether the cache lacks anything of this output now.
        """
        incomplete = False
        for digest, path in self._objects(target):
            if path.exists() and _md5(path) != digest:
                print(f"the cache object {path} was damaged and is made again", file=sys.stderr)
                path.unlink()
            incomplete |= not path.exists()
        return incomplete

    def _objects(self, target: str) -> Iterator[tuple[str, Path]]:
        for out in self.locked(target).get("outs", []):
            listing = self._object(out["md5"])
            yield out["md5"].removesuffix(".dir"), listing
            if out["md5"].endswith(".dir") and listing.exists():
                for entry in json.loads(listing.read_bytes()):
                    yield entry["md5"], self._object(entry["md5"])

    def _object(self, digest: str) -> Path:
        return self.path / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]

    def _checked(self, *arguments: str) -> None:
        finished = self._run(*arguments)
        if finished.code != 0:
            raise DvcError(f"dvc {arguments[0]} failed: {_last(finished)}")

    def _run(self, *arguments: str) -> Finished:
        command = [sys.executable, "-m", "dvc", *arguments]
        return run_group(
            command,
            cwd=self.path,
            environment=self._environment(),
            token_file=self.token_file,
            timeout=self.timeout,
            hide=_ADVICE if arguments[0] == "repro" else _ALL,
        )

    def _environment(self) -> dict[str, str]:
        settings, here = self.settings, clean_environment()
        return (
            here
            | {
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{here.get('PATH', os.defpath)}",
                "DVC_NO_ANALYTICS": "1",
                "DVC_SITE_CACHE_DIR": here.get("DVC_SITE_CACHE_DIR", str((settings.home / "dvc").absolute())),
                "TIMBRE_ROOT": str(settings.root.absolute()),
                "TIMBRE_HOME": str(settings.home.absolute()),
                "TIMBRE_START": str((settings.start or Path()).absolute()),
                "TIMBRE_DEVICE": settings.device,
                "TIMBRE_DTYPE": settings.dtype,
                "TIMBRE_THREADS": str(settings.threads),
            }
            | ({"TIMBRE_ARTIFACT_STORE": settings.artifact_store} if settings.artifact_store else {})
        )


def _last(finished: Finished) -> str:
    said = [line for line in finished.lines if line.startswith("ERROR")] or [line for line in finished.lines if line.strip()]
    return said[-1].removeprefix("ERROR: ").rstrip(".") if said else f"exit code {finished.code}"


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
