"""The archive form of a target store: the same shards, packed for a data registry; unpacking gives the same bytes.

    pack(target.path, archive)       archive/header.json, archive/shards/NNNNN.tza
    unpack(archive, folder)          folder/header.json, folder/shards/NNNNN.arrow

What else lies beside them (manifest, admission, pictures) is copied as it is, so that a target that was packed and
unpacked is the same artifact.

Mapped shards are made to be read at once; what is kept for years is better small. Each column becomes planes of bytes that
look alike: ids ascend at each position, so that their differences are stored, one place in the ranking after another over
all positions (transposed), low bytes and high bytes apart; codes the same way. Each plane is compressed by zstd. Nothing is
lost; `unpack` compares the header with its digest, every shard with the sha256 in the header, and the rest with the manifest.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from timbre.artifacts import MANIFEST, Artifact, canonical_json, write_atomically
from timbre.store.format import HEADER, PACKED_SUFFIX, SHARDS, DamagedStoreError, StoreHeader, shard_path
from timbre.store.reader import TargetReader
from timbre.store.writer import arrow_bytes, list_column

MAGIC = b"TIMBREZ1"
_LEVEL = 19
_SUM = 32
Array = npt.NDArray[Any]


def is_packed(folder: Path) -> bool:
    """Whether `folder` holds a target in its archive form."""
    return any((folder / SHARDS).glob(f"*{PACKED_SUFFIX}"))


def pack(folder: Path, archive: Path) -> StoreHeader:
    """Pack the store in `folder` into the new or empty folder `archive`; all other files are the same.

    Raises:
        DamagedStoreError: the store is.
        ValueError: `archive` holds something already.
    """
    if archive.exists() and (not archive.is_dir() or any(archive.iterdir())):
        raise ValueError(f"{archive} exists already: remove it, or pack somewhere else")
    header = TargetReader(folder).header
    for index in range(len(header.shards)):
        batch = pa.ipc.open_file(pa.memory_map(str(shard_path(folder, index)))).get_batch(0)
        write_atomically(_packed_path(archive, index), _pack_shard(batch, header.top_k if header.coding == "topk" else 1))
    _copy_others(folder, archive)
    write_atomically(archive / HEADER, (folder / HEADER).read_bytes())
    return header


def unpack(archive: Path, folder: Path) -> StoreHeader:
    """Unpack into the folder `folder`, which must not hold a store; every shard is what it was, byte by byte.

    Raises:
        IntegrityError: a file of the archive is missing, cut or altered (a shard or the header: DamagedStoreError); nothing is
            left in `folder` then.
        ValueError: `folder` holds a store already.
    """
    if (folder / SHARDS).exists() or (folder / HEADER).exists():
        raise ValueError(f"{folder} already holds a target: unpack somewhere else")
    header = StoreHeader.read(archive / HEADER)
    copied: list[Path] = []
    try:
        for index in range(len(header.shards)):
            write_atomically(shard_path(folder, index), _unpack_shard(_packed_path(archive, index)))
        copied = _copy_others(archive, folder)
        write_atomically(folder / HEADER, (archive / HEADER).read_bytes())
        TargetReader(folder)
        if (folder / MANIFEST).exists():
            Artifact.open(folder)
    except BaseException:
        shutil.rmtree(folder / SHARDS, ignore_errors=True)
        for path in [folder / HEADER, *copied]:
            path.unlink(missing_ok=True)
        raise
    return header


def _copy_others(source: Path, folder: Path) -> list[Path]:
    """Copy what is neither header nor shard; returns the copies."""
    names = [path.relative_to(source) for path in sorted(source.rglob("*")) if path.is_file()]
    others = [name for name in names if name.parts[0] not in (HEADER, SHARDS)]
    for name in others:
        write_atomically(folder / name, (source / name).read_bytes())
    return [folder / name for name in others]


def _packed_path(archive: Path, index: int) -> Path:
    return archive / SHARDS / f"{index:05d}{PACKED_SUFFIX}"


def _pack_shard(batch: Any, width: int) -> bytes:
    """Magic, length of the directory, directory (JSON), planes, sha256 of all that."""
    directory: list[dict[str, Any]] = []
    planes: list[bytes] = []
    codec = pa.Codec("zstd", compression_level=_LEVEL)
    for name in batch.schema.names:
        column = batch[name]
        entry: dict[str, Any] = {"name": name}
        if pa.types.is_list(column.type):
            offsets, values = column.offsets.to_numpy(), column.values.to_numpy()
            entry |= {"kind": "list", "lengths": np.diff(offsets).tolist(), "dtype": values.dtype.str}
            entry["width"] = width if name in ("ids", "codes") else 1
            entry["ascending"] = name == "ids" and width > 1
            parts = list(_planes(values, entry["width"], ascending=entry["ascending"]))
        elif pa.types.is_string(column.type):
            entry |= {"kind": "string"}
            parts = [json.dumps(column.to_pylist(), ensure_ascii=False).encode()]
        else:
            values = column.to_numpy()
            entry |= {"kind": "plain", "dtype": values.dtype.str}
            parts = list(_planes(values, 1, ascending=False))
        packed = [codec.compress(part, asbytes=True) for part in parts]
        entry["planes"] = [[len(part), len(compressed)] for part, compressed in zip(parts, packed, strict=True)]
        directory.append(entry)
        planes += packed
    listing = codec.compress(canonical_json(directory), asbytes=True)
    sizes = np.array([len(canonical_json(directory)), len(listing)], dtype="<u4").tobytes()
    body = b"".join([MAGIC, sizes, listing, *planes])
    return body + hashlib.sha256(body).digest()


def _planes(values: Array, width: int, *, ascending: bool) -> Iterator[bytes]:
    """The bytes of an array, those of equal weight together; T·K values as K×T, ascending ones as differences."""
    whole = values.view(np.dtype(f"u{values.dtype.itemsize}")) if values.dtype.kind == "f" else values
    table = np.ascontiguousarray(whole.reshape(-1, width).T)
    if ascending:
        table = np.concatenate([table[:1], np.diff(table, axis=0) - np.ones((), table.dtype)])
    raw = table.astype(table.dtype.newbyteorder("<")).reshape(-1, 1).view(np.uint8)
    for place in range(raw.shape[1]):
        yield np.ascontiguousarray(raw[:, place]).tobytes()


def _array(planes: list[bytes], dtype: str, width: int, *, ascending: bool) -> Array:
    """What `_planes` was given."""
    kind = np.dtype(dtype)
    whole = np.dtype(f"<u{kind.itemsize}") if kind.kind == "f" else kind.newbyteorder("<")
    raw = np.stack([np.frombuffer(plane, np.uint8) for plane in planes], axis=1)
    table = np.ascontiguousarray(raw).view(whole).reshape(width, -1)
    if ascending:
        steps = table.copy()
        steps[1:] += np.ones((), whole)
        table = np.cumsum(steps, axis=0, dtype=whole)
    return np.ascontiguousarray(table.T).reshape(-1).view(kind)


def _unpack_shard(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        if data[: len(MAGIC)] != MAGIC:
            raise ValueError("it does not begin as one")
        if hashlib.sha256(data[:-_SUM]).digest() != data[-_SUM:]:
            raise ValueError("it is cut or altered")
        codec, start = pa.Codec("zstd"), len(MAGIC) + 8
        raw, packed = (int(size) for size in np.frombuffer(data[len(MAGIC) : start], "<u4"))
        directory = json.loads(codec.decompress(data[start : start + packed], decompressed_size=raw, asbytes=True))
        start += packed
        columns: dict[str, pa.Array] = {}
        for entry in directory:
            planes = []
            for raw, packed in entry["planes"]:
                planes.append(codec.decompress(data[start : start + packed], decompressed_size=raw, asbytes=True) if raw else b"")
                start += packed
            columns[entry["name"]] = _column(entry, planes)
        return arrow_bytes(columns)
    except (OSError, ValueError, KeyError, TypeError, IndexError, pa.ArrowException) as error:
        raise DamagedStoreError(f"{path}: not a readable packed shard ({error}); fetch it again") from error


def _column(entry: dict[str, Any], planes: list[bytes]) -> pa.Array:
    if entry["kind"] == "string":
        return pa.array(json.loads(planes[0]), pa.string())
    values = _array(planes, entry["dtype"], entry.get("width", 1), ascending=entry.get("ascending", False))
    return list_column(entry["lengths"], values) if entry["kind"] == "list" else pa.array(values)
