"""What a bundle must not hold before it is loaded: links out of its folder, and graphs that read files from elsewhere.

A manifest says which bytes a bundle has, and not where a loader would go from there: an ONNX graph names the files of its weights
itself, and a link shows another file's bytes under a name of the bundle. Read with no library for protobuf, so that serving
needs none.
"""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from timbre.artifacts import Artifact, IntegrityError

_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {13: "entry"},
}
"""Where, in ONNX's messages (onnx.proto3), another message lies that may lead to a tensor's `external_data`."""
_DEEPEST = 64


def check_bundle(bundle: Artifact, onnx: str) -> None:
    """Refuse a bundle whose loading would touch anything but its own files.

    Args:
        onnx: name of its graph.

    Raises:
        IntegrityError: a file or folder is a symbolic link, a file has other names (hard links), or is none; the graph keeps weights
            in a file that the manifest does not list, above the folder or at an absolute path, or is no ONNX file.
    """
    for entry in [bundle.path, *sorted(bundle.path.rglob("*"))]:
        kind = entry.lstat()
        if stat.S_ISLNK(kind.st_mode):
            raise IntegrityError(f"{entry}: a symbolic link; a bundle holds its files itself")
        if stat.S_ISREG(kind.st_mode) and kind.st_nlink > 1:
            raise IntegrityError(f"{entry}: a hard link, so that whoever has its other name can change it; copy the bundle instead")
        if not (stat.S_ISREG(kind.st_mode) or stat.S_ISDIR(kind.st_mode)):
            raise IntegrityError(f"{entry}: neither a file nor a folder")
    graph = bundle.file(onnx)
    for name in sorted(external_files(graph)):
        if name not in bundle.manifest.files:
            raise IntegrityError(f"{graph}: it reads weights from {name!r}, which is no file of this bundle")


def external_files(graph: Path) -> set[str]:
    """The names of files that an ONNX graph keeps tensors in.

    Raises:
        IntegrityError: this is no ONNX file.
    """
    try:
        return set(_locations(memoryview(graph.read_bytes()), "model", 0))
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{graph}: not a readable ONNX file") from error


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("messages within messages without an end")
    for number, value in _messages(message):
        inner = _FIELDS[kind].get(number)
        if inner == "entry":
            pair = {field: bytes(part).decode() for field, part in _messages(value)}
            if pair.get(1) == "location":
                yield pair.get(2, "")
        elif inner is not None:
            yield from _locations(value, inner, depth + 1)


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and bytes of each length-delimited field."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        match tag & 7:
            case 0:
                _, place = _varint(message, place)
            case 1:
                place += 8
            case 5:
                place += 4
            case 2:
                size, place = _varint(message, place)
                if place + size > len(message):
                    raise ValueError("a field is longer than its message")
                yield tag >> 3, message[place : place + size]
                place += size
            case _:
                raise ValueError("no such kind of field")
    if place != len(message):
        raise ValueError("a field is longer than its message")


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
    raise ValueError("a number without an end")
