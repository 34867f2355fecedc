"""Files from package registries and URLs, by sha256: fetched once, verified always, unpacked with suspicion.

Each registry is asked through its own client (`pip download`, `npm pack`, `apt-get download`), so that proxies,
mirrors and credentials a person has configured are respected; no host is named here. What was fetched lies in
`<home>/downloads/<sha256>/` and is not asked for again.
"""

import fnmatch
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal

from filelock import FileLock

from timbre.artifacts import IntegrityError, sha256_file

Kind = Literal["pypi", "npm", "deb", "url"]
MAX_UNPACKED_BYTES = 4 * 1024**3
_CHUNK = 1 << 20
_CLIENT_SECONDS = 1800
_DAMAGED = re.compile(r"DO NOT MATCH THE HASHES|EINTEGRITY|Hash Sum mismatch")
"""What pip, npm and apt say when the bytes that came are not those that were announced."""


def fetch(kind: Kind, name: str, version: str, sha256: str, downloads: Path) -> Path:
    """The verified archive of a package (or the file behind an fsspec URL, given as `name`), fetched if it is not here.

    Returns:
        `<downloads>/<sha256>/<filename>`.

    Raises:
        ValueError: the client is missing, or the package is not here and cannot be fetched.
        IntegrityError: what arrived has another sha256 than the declared one.
    """
    folder = downloads / sha256
    if (present := _present(folder, sha256)) is not None:
        return present
    downloads.mkdir(parents=True, exist_ok=True)
    with FileLock(downloads / f"{sha256}.lock"):
        if (present := _present(folder, sha256)) is not None:
            return present
        for leftover in downloads.glob(f".fetching-{sha256}-*"):  # of a killed one: the lock is ours
            shutil.rmtree(leftover, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=f".fetching-{sha256}-", dir=downloads))
        try:
            archive = _CLIENTS[kind](name, version, sha256, staging, downloads)
            found = sha256_file(archive)
            if found != sha256:
                raise _mismatch(f"{kind} {name} {version}".rstrip(), sha256, found)
            folder.mkdir(exist_ok=True)
            archive.replace(folder / archive.name)
            return folder / archive.name
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _present(folder: Path, sha256: str) -> Path | None:
    """The file that was fetched earlier, re-hashed; a damaged one is removed, so that it is fetched again."""
    for path in sorted(folder.glob("*")) if folder.is_dir() else []:
        if path.is_file():
            if sha256_file(path) == sha256:
                return path
            path.unlink()
    return None


def _mismatch(what: str, expected: str, found: str) -> IntegrityError:
    return IntegrityError(f"{what}: expected sha256 {expected}, received {found}; nothing was kept")


def _run_client(command: Sequence[str], folder: Path, what: str, sha256: str) -> None:
    try:
        result = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=_CLIENT_SECONDS, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise ValueError(f"{command[0]} is not installed, and {what} is not in downloads: install {command[0]}, then try again") from error
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{command[0]} did not deliver {what} within {_CLIENT_SECONDS} seconds: try again") from error
    if result.returncode != 0:
        said = (result.stderr.strip() or result.stdout.strip()).splitlines()
        if _DAMAGED.search(text := f"{result.stdout}\n{result.stderr}"):
            received = re.search(r"Got\s+([0-9a-f]{64})", text)
            raise _mismatch(what, sha256, received[1] if received else f"something else ({said[-1].strip()})")
        raise ValueError(
            f"{what} is not in downloads and {Path(command[0]).name} could not fetch it; without a network, run `make setup` online once"
            f" (it said: {said[-1].strip() if said else 'nothing'})"
        )


def _only_file(folder: Path, what: str) -> Path:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(("requirements", "."))]
    if len(files) != 1:
        raise ValueError(f"the client left {len(files)} files for {what} where one was expected")
    return files[0]


def _fetch_pypi(name: str, version: str, sha256: str, staging: Path, downloads: Path) -> Path:
    """Hash-checking mode: pip picks the one file with this hash and refuses others before it runs any of their code."""
    if find_spec("pip") is None:
        raise ValueError(f"pip is not in this environment and {name} {version} is not in downloads: run `make setup` once")
    requirements = staging / "requirements.txt"
    requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--no-build-isolation",
        "--disable-pip-version-check",
        "--no-input",
        "--dest",
        str(staging),
        "--requirement",
        str(requirements),
    ]
    _run_client(command, staging, f"pypi {name} {version}", sha256)
    return _only_file(staging, f"{name} {version}")


def _fetch_npm(name: str, version: str, sha256: str, staging: Path, downloads: Path) -> Path:
    _run_client(
        ["npm", "pack", f"{name}@{version}", "--silent", "--ignore-scripts", "--pack-destination", str(staging)],
        staging,
        f"npm {name} {version}",
        sha256,
    )
    return _only_file(staging, name)


def _fetch_deb(name: str, version: str, sha256: str, staging: Path, downloads: Path) -> Path:
    # apt drops its privileges to a user who must be able to write here.
    staging.chmod(0o777)
    _run_client(["apt-get", "download", f"{name}={version}" if version else name], staging, f"deb {name} {version}".rstrip(), sha256)
    return _only_file(staging, name)


def _fetch_url(name: str, version: str, sha256: str, staging: Path, downloads: Path) -> Path:
    """Any URL fsspec knows. What an interrupted transfer left is continued where it stopped."""
    import fsspec

    partial = downloads / f"{sha256}.partial"
    try:
        filesystem, path = fsspec.url_to_fs(name)
        size = filesystem.size(path)
        done = partial.stat().st_size if partial.exists() and size is not None else 0
        _transfer(filesystem, path, partial, done if size is not None and done <= size else 0)
    except Exception as error:  # every filesystem has errors of its own: HTTP, S3, a library that is not installed
        raise ValueError(
            f"{name} is not in downloads and could not be read ({type(error).__name__}: {error}); run `make setup` online once"
        ) from error
    archive = staging / (PurePosixPath(path).name or "file")
    partial.replace(archive)
    return archive


def _transfer(filesystem: Any, path: str, partial: Path, done: int) -> None:
    """Copy a file to `partial` from byte `done` on; all of it where the server sends files from their beginning only."""
    with filesystem.open(path, "rb") as source, partial.open("ab" if done else "wb") as target:
        try:
            if done:
                source.seek(done)
            shutil.copyfileobj(source, target, _CHUNK)
            return
        except ValueError:  # how fsspec says that a server knows no ranges
            if not done:
                raise
    _transfer(filesystem, path, partial, 0)


_CLIENTS: dict[str, Callable[[str, str, str, Path, Path], Path]] = {
    "pypi": _fetch_pypi,
    "npm": _fetch_npm,
    "deb": _fetch_deb,
    "url": _fetch_url,
}


def unpack(archive: Path, folder: Path, members: Sequence[str] = ("*",), max_bytes: int = MAX_UNPACKED_BYTES) -> list[Path]:
    """Write the regular files of an archive (zip, whl, tar, deb) that match a glob of `members` under `folder`, in name order.

    Globs match the whole name inside the archive, `*` also across `/`.

    Raises:
        IntegrityError: a name is absolute or climbs out, a wanted member is a link or device, a name comes twice, or the
            files are larger than `max_bytes` together. Nothing of a refused member is written.
        ValueError: not an archive of a known kind.
    """
    written: dict[str, Path] = {}
    left = max_bytes
    for name, special, stream in _members(archive):
        safe = _safe_name(archive, name)
        if safe is None or not any(fnmatch.fnmatchcase(safe, pattern) for pattern in members):
            continue
        if special:
            raise IntegrityError(f"{archive.name}: {name!r} is a {special}; only regular files are unpacked")
        if safe in written:
            raise IntegrityError(f"{archive.name}: {name!r} comes twice")
        target = folder / safe
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.resolve().is_relative_to(folder.resolve()):
            raise IntegrityError(f"{archive.name}: {name!r} leads out of the folder")
        assert stream is not None
        with stream, target.open("wb") as output:
            while chunk := stream.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    output.close()
                    target.unlink()
                    raise IntegrityError(f"{archive.name}: more than {max_bytes} bytes when unpacked; {name!r} was refused")
                output.write(chunk)
        written[safe] = target
    return [written[name] for name in sorted(written)]


def _safe_name(archive: Path, name: str) -> str | None:
    """The name in posix form; None for a folder.

    Raises:
        IntegrityError: absolute, with a drive or backslash, or with `..`.
    """
    path = PurePosixPath(name)
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in path.parts or (len(name) > 1 and name[1] == ":"):
        raise IntegrityError(f"{archive.name}: the member name {name!r} leads out of the folder; the archive is refused")
    return None if name.endswith("/") or not path.parts else str(path)


_Member = tuple[str, str, IO[bytes] | None]


def _members(archive: Path) -> Iterator[_Member]:
    """(name, '' or what kind of special file, stream) of each member that is not a folder."""
    name = archive.name.lower()
    try:
        if name.endswith(".deb"):
            with _deb_data(archive) as package:
                yield from _tar_members(package)
        elif zipfile.is_zipfile(archive):
            yield from _zip_members(archive)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as package:
                yield from _tar_members(package)
        else:
            raise ValueError(f"{archive.name}: not a zip, wheel, tar or deb archive")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise IntegrityError(f"{archive.name}: damaged archive ({error})") from error


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as package:
        for info in package.infolist():
            kind = (info.external_attr >> 16) & 0o170000
            if info.is_dir():
                _safe_name(archive, info.filename)
            elif kind not in (0, 0o100000):
                yield info.filename, "link or special file", None
            else:
                yield info.filename, "", package.open(info)


def _tar_members(package: tarfile.TarFile) -> Iterator[_Member]:
    for info in package:
        if info.isfile():
            yield info.name, "", package.extractfile(info)
        elif info.issym() or info.islnk():
            yield info.name, "link", None
        elif info.isdir():
            yield info.name + "/", "", None
        else:
            yield info.name, "device or special file", None


def _deb_data(archive: Path) -> tarfile.TarFile:
    """The data.tar.* member of a Debian package, which is an `ar` archive of 60-byte headers."""
    with archive.open("rb") as stream:
        if stream.read(8) != b"!<arch>\n":
            raise IntegrityError(f"{archive.name}: not a Debian package")
        while len(header := stream.read(60)) == 60:
            member, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), int(header[48:58])
            if not member.startswith("data.tar"):
                stream.seek(size + size % 2, os.SEEK_CUR)
            elif member.endswith(".zst"):
                raise ValueError(f"{archive.name}: packed with zstd, which this Python cannot read; repack it with xz or gz")
            else:
                return tarfile.open(fileobj=io.BytesIO(stream.read(size)))
    raise IntegrityError(f"{archive.name}: has no data.tar member")
