"""The files of a place that a reader takes, those that cannot be taken, and those that are no texts."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from timbre.corpus.exports import lists_of_an_export
from timbre.corpus.kinds import SUFFIXES, kind_of, known_suffix, way_out
from timbre.corpus.office import needs_package
from timbre.corpus.sources import Refused


def skipped_endings(path: Path) -> dict[str, int]:
    """Endings that no reader knows, with the number of files below `path` that are passed over for it; hidden ones are not counted."""
    if not path.is_dir():
        return {}
    visible = (entry for entry in path.rglob("*") if entry.is_file() and not is_hidden(entry.relative_to(path)))
    unknown = Counter(entry.suffix.lower() or "none" for entry in visible if not known_suffix(entry.name) and way_out(entry.name) is None)
    return dict(sorted(unknown.items()))


def is_hidden(name: Path) -> bool:
    """Whether a path within a folder, or a folder on the way, is hidden, or is a word processor's lock."""
    return any(part.startswith((".", "~$")) for part in name.parts)


@dataclass(frozen=True)
class Found:
    """What stands at a place: name → file of the texts, what cannot be taken with its reason, and an export's own lists."""

    files: dict[str, Path]
    refused: tuple[Refused, ...]
    lists: dict[str, Path]


def find_files(path: Path) -> Found:
    """A file, or every file below a folder whose ending a reader knows. Hidden ones are passed over.

    Raises:
        ValueError: nothing there can be read, or a package that reads a file is not installed.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder")
    if not path.is_dir():
        if (reason := no_file(path)) is not None:
            raise ValueError(f"{path}: {reason}")
        if not known_suffix(path.name) and way_out(path.name) is None:
            raise ValueError(f"{path}: unknown format; known are {', '.join(SUFFIXES)}")
        found = [path]
    else:
        found = [
            entry
            for entry in sorted(path.rglob("*"), key=os.fsencode)
            if (known_suffix(entry.name) or way_out(entry.name)) and not is_hidden(entry.relative_to(path))
        ]
        found = [entry for entry in found if not entry.is_dir()]
    if not found:
        raise ValueError(f"{path}: holds no file that can be read; known endings are {', '.join(SUFFIXES)}")
    files: dict[str, Path] = {}
    refused: list[Refused] = []
    named = {entry.name if path.is_file() else entry.relative_to(path).as_posix(): entry for entry in found}
    lists = lists_of_an_export({name: entry for name, entry in named.items() if entry.is_file()})
    for name, entry in named.items():
        if name in lists:
            continue
        if (reason := no_file(entry) or _not_taken(entry, name)) is not None:
            refused.append(Refused(name=printable(name), reason=reason))
        else:
            files[name] = entry
    if not files and not refused:
        raise ValueError(f"{path}: holds only the lists of an export ({', '.join(lists)}), and no texts")
    if not files:
        raise ValueError(f"{refused[0].name}: {refused[0].reason}; nothing was added")
    return Found(files, tuple(refused), lists)


def no_file(entry: Path) -> str | None:
    """Why an entry of a folder is nothing that can be read to its end; None of a file."""
    if entry.is_file():
        return None
    return "a link to a file that is not there" if not entry.exists() else "a pipe, a socket or a device, not a file"


def _not_taken(entry: Path, name: str) -> str | None:
    """Why a file cannot be copied into a source; a reader that is not installed is for the user to install, and raised."""
    if printable(name) != name:
        return "its name is not valid UTF-8: rename it"
    try:
        kind = kind_of(entry, name) if not name.lower().endswith(".gz") else ""
    except OSError as error:
        return (error.strerror or "cannot be opened").lower()
    except ValueError:
        return way_out(name)  # of others, their reader tells
    if (missing := needs_package(kind)) is not None:
        raise ValueError(f"{name}: {missing}")
    return None


def printable(name: str) -> str:
    """A file's name as text, whatever its bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
