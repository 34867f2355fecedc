"""What of a home's artifacts may go: a pure decision, so that it can be read before anything is removed.

Kept is whatever a root was made from, all the way back: the verdicts behind champions and those before them, versions that
wait for promotion, the rounded weights in which those are served, and the newest few of every stage. Nothing that a promotion or a
rollback would open is ever given up.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from timbre.artifacts import MANIFEST

_FORMS = ("quantised", "served")
"""Stages of what was made of a bundle and is served in its place; no verdict names them."""


@dataclass(frozen=True)
class Stored:
    """An artifact as retention sees it; a folder whose manifest cannot be read is left for `timbre doctor`."""

    path: Path
    stage: str
    digest: str
    inputs: tuple[str, ...]
    at: datetime
    size: int
    """Bytes."""


@dataclass(frozen=True)
class Retention:
    """How much is kept beside what the ledger needs."""

    newest: int = 3
    """Artifacts a stage, by when they were built."""
    days: float = 30.0
    """Whatever is younger stays."""


def stored(paths: Iterable[Path]) -> Iterator[Stored]:
    """The artifacts of a home, by their manifests; no file is hashed."""
    for path in paths:
        try:
            manifest = json.loads((path / MANIFEST).read_bytes())
            at = datetime.fromisoformat(manifest["built"]["at"])
            size = sum(int(record["size"]) for record in manifest["files"].values())
            yield Stored(path, manifest["stage"], manifest["digest"], tuple(manifest["inputs"].values()), at, size)
        except (OSError, ValueError, KeyError, TypeError):
            continue


def removable(items: Sequence[Stored], roots: Iterable[str], policy: Retention, now: datetime | None = None) -> list[Stored]:
    """What may go under this policy, oldest first.

    Args:
        roots: digests that the ledger and the registry need.

    Raises:
        ValueError: a policy that keeps less than nothing.
    """
    if policy.newest < 0 or policy.days < 0:
        raise ValueError("a retention keeps 0 or more artifacts a stage and 0 or more days: raise what is below 0")
    since = (now or datetime.now(UTC)) - timedelta(days=policy.days)
    by_digest: Mapping[str, Stored] = {item.digest: item for item in items}
    bundles = {digest for digest in _behind(roots, by_digest) if by_digest[digest].stage == "bundle"}
    beside = [item.digest for item in items if item.stage in _FORMS and bundles & set(item.inputs)]
    kept = _behind([*roots, *beside, *(item.digest for item in items if item.at >= since), *_newest(items, policy.newest)], by_digest)
    return sorted((item for item in items if item.digest not in kept), key=lambda item: (item.at, item.digest))


def _behind(digests: Iterable[str], by_digest: Mapping[str, Stored]) -> set[str]:
    """These artifacts, as far as they are here, and all that they were made from."""
    found: set[str] = set()
    waiting = [*digests]
    while waiting:
        digest = waiting.pop()
        if digest in by_digest and digest not in found:
            found.add(digest)
            waiting += by_digest[digest].inputs
    return found


def _newest(items: Sequence[Stored], count: int) -> Iterator[str]:
    for stage in {item.stage for item in items}:
        mine = sorted((item for item in items if item.stage == stage), key=lambda item: (item.at, item.digest), reverse=True)
        yield from (item.digest for item in mine[:count])
