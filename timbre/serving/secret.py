"""The secret of the watermark: a file of 256 random bits, readable by its owner, from which the keys are made."""

import os
import secrets
from pathlib import Path

from timbre.inference.watermark import keys_of

_LENGTH = 64


def key_file(home: Path) -> Path:
    """Where a home keeps it."""
    return home / "serving" / "watermark.key"


def read_secret(path: Path) -> tuple[int, ...]:
    """The watermark's keys.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    if not path.exists():
        raise ValueError(f"{path}: no watermark key here; `timbre serve --new-watermark-key` makes one, or name another file")
    text = path.read_text(encoding="utf-8", errors="replace").strip()
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(text) != _LENGTH or len(secret) != _LENGTH // 2:
        raise ValueError(f"{path} is no watermark key: it holds {_LENGTH} hexadecimal digits")
    return keys_of(secret)


def new_secret(path: Path) -> None:
    """Make one.

    Raises:
        ValueError: there is one already; texts that it marked could no longer be found.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ValueError(f"{path} is there already, and what it has marked is found with it alone: move it away first") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(secrets.token_hex(_LENGTH // 2) + "\n")
