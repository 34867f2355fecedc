"""API keys: made here, kept as hashes, compared in constant time.

A file of lines `NAME SHA256`; `#` begins a comment. A key is 256 random bits, so that its plain SHA-256 gives nothing away
and no slow hash is needed. The key itself is shown once, when it is made.
"""

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

PREFIX = "timbre-"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Keys:
    """The keys that are good here, by name."""

    def __init__(self, digests: dict[str, str]) -> None:
        self._digests = {name: bytes.fromhex(digest) for name, digest in digests.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """The keys of a file; none if there is no such file.

        Raises:
            ValueError: a line is not `NAME SHA256`, or a name comes twice; the sentence names the line.
        """
        digests: dict[str, str] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if len(words) != 2 or not _NAME.fullmatch(words[0]) or not _DIGEST.fullmatch(words[1]) or words[0] in digests:
                raise ValueError(f"{path}, line {number}: write `NAME SHA256`, each name once; `timbre serve --new-key NAME` does")
            digests[words[0]] = words[1]
        return cls(digests)

    def owner(self, key: str) -> str | None:
        """The name that a key was given, or None. Takes as long for a wrong key as for a right one, wherever it stands."""
        digest, found = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest(), None
        for name, known in self._digests.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found


def new_key(path: Path, name: str) -> str:
    """Make a key, add its hash to the file (readable by its owner alone), and return the key.

    Raises:
        ValueError: the name is taken, or is no name.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a key: use up to 64 letters, digits, dots, dashes and underscores")
    if name in Keys.read(path)._digests:
        raise ValueError(f"{path} has a key named {name!r} already: remove its line to withdraw it, or choose another name")
    key = PREFIX + secrets.token_urlsafe(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as stream:
        stream.write(f"{name} {hashlib.sha256(key.encode()).hexdigest()}\n")
    return key
