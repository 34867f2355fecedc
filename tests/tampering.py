"""What an attacker or a bad disk does to a target store: bytes change, size and time may stay."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from timbre.artifacts import sha256_file
from timbre.store.format import HEADER, ShardRecord, StoreHeader, shard_path

Attack = Callable[[Path], Path]
"""Changes the store in a folder and gives back the file that a refusal must name."""


def overwrite(path: Path, content: bytes) -> None:
    """New bytes in the same inode, under the old time."""
    before = path.stat()
    with path.open("r+b") as stream:
        stream.write(content)
        stream.truncate()
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flipped_byte(folder: Path) -> Path:
    """In the middle of the second shard."""
    path = shard_path(folder, 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    overwrite(path, content)
    return path


def altered_header(folder: Path) -> Path:
    """Another α, of the same length."""
    path = folder / HEADER
    content = path.read_bytes()
    assert b'"alpha": 0.5' in content
    overwrite(path, content.replace(b'"alpha": 0.5', b'"alpha": 0.9'))
    return path


def lower_top_k(folder: Path) -> Path:
    """Half as many tokens a position, in a header that is sealed again, as if that had always been so."""
    path = folder / HEADER
    header = StoreHeader.read(path)
    reseal(folder, header.model_copy(update={"top_k": header.top_k // 2}))
    return path


def swapped_shards(folder: Path) -> Path:
    """Two whole shards, each under the other's name."""
    first, second = (shard_path(folder, number) for number in (0, 1))
    one, other = first.read_bytes(), second.read_bytes()
    overwrite(first, other)
    overwrite(second, one)
    return first


def truncated_shard(folder: Path) -> Path:
    path = shard_path(folder, 0)
    overwrite(path, path.read_bytes()[:-100])
    return path


ATTACKS: tuple[Attack, ...] = (flipped_byte, altered_header, lower_top_k, swapped_shards, truncated_shard)


def reseal(folder: Path, header: StoreHeader, shards: tuple[ShardRecord, ...] | None = None) -> None:
    """Write a header that says what it is given and whose digest follows from that."""
    overwrite(folder / HEADER, header.sealed(header.shards if shards is None else shards).to_json())


def change_column(folder: Path, name: str, change: Callable[[Any], None]) -> Path:
    """Change the values of a column of the first shard, and have the header agree with the shard."""
    path = shard_path(folder, 0)
    batch = pa.ipc.open_file(pa.BufferReader(path.read_bytes())).get_batch(0)
    values = np.array(batch[name].values.to_numpy())
    change(values)
    column = pa.ListArray.from_arrays(batch[name].offsets, pa.array(values))
    changed = batch.set_column(batch.schema.get_field_index(name), name, column)
    with pa.ipc.new_file(str(path), changed.schema) as file:
        file.write_batch(changed)
    header = StoreHeader.model_validate(json.loads((folder / HEADER).read_bytes()))
    first = header.shards[0].model_copy(update={"sha256": sha256_file(path)})
    reseal(folder, header, (first, *header.shards[1:]))
    return path
