"""Versions of corpora and targets: annotated git tags `corpus/<style>/vN`, `target/<style>/vN` and `sequence/<style>/vN` that carry the
digest.

A tag that has reached the remotes is marked by a ref of the same object under refs/timbre/pushed/, so that a build that
was cut off between tag and push is seen without asking any server.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from timbre.tasks.stores.git import Git

DataStage = Literal["corpus", "target", "sequence"]
PUSHED, THEIRS, TAGS = "refs/timbre/pushed/", "refs/timbre/theirs/", "refs/tags/"
_NAME = re.compile(rf"({'|'.join(get_args(DataStage))})/([a-z0-9][a-z0-9-]*)/v([1-9][0-9]*)")
_TAGGER = "Timbre data registry <data-registry@timbre.invalid>"
_FORMAT = "%(refname)%00%(objectname)%00%(*objectname)%00%(taggerdate:unix)%00%(contents)%1e"


@dataclass(frozen=True, order=True)
class Version:
    """One version of a style's corpus, target or sequence-level target."""

    stage: str
    style: str
    number: int
    digest: str
    commit: str
    seconds: int
    """When it was tagged, Unix time."""
    tag_object: str

    @property
    def tag(self) -> str:
        return f"{self.stage}/{self.style}/v{self.number}"

    @property
    def date(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)


def read_versions(git: Git, *, under: str = TAGS, stage: str = "", style: str = "") -> list[Version]:
    """The versions known under a ref prefix, by stage, style and number. Tags that are not ours are passed over."""
    pattern = under + "/".join(part for part in (stage, style if stage else "") if part)
    found = []
    for record in git("for-each-ref", f"--format={_FORMAT}", pattern.rstrip("/")).split("\x1e"):
        if not record.strip():
            continue
        name, tag_object, commit, seconds, text = record.lstrip("\n").split("\0")
        match = _NAME.fullmatch(name.removeprefix(under))
        digest = re.search(r"^digest: ([0-9a-f]{64})$", text, re.MULTILINE)
        if match and digest and commit and style in ("", match[2]):
            found.append(Version(match[1], match[2], int(match[3]), digest[1], commit, int(seconds), tag_object))
    return sorted(found)


def pushed(git: Git) -> dict[str, str]:
    """Tag -> tag object, of those that have reached the remotes."""
    lines = git.lines("for-each-ref", "--format=%(refname)%00%(objectname)", PUSHED.rstrip("/"))
    return {name.removeprefix(PUSHED): sha for name, sha in (line.split("\0") for line in lines)}


def pending(git: Git) -> list[Version]:
    """Versions that have not reached the remotes yet, oldest number first."""
    marks = pushed(git)
    return [version for version in read_versions(git) if marks.get(version.tag) != version.tag_object]


def add_version(git: Git, stage: str, style: str, digest: str) -> Version | None:
    """Tag HEAD with the next number, unless some version has this digest already."""
    known = read_versions(git, stage=stage, style=style)
    if any(version.digest == digest for version in known):
        return None
    number = max(_numbers(git, TAGS).get((stage, style), [0])) + 1
    return _written(git, Version(stage, style, number, digest, git("rev-parse", "HEAD"), int(time.time()), ""))


def mark_pushed(git: Git, versions: Iterable[Version]) -> None:
    """Remember that these have reached the remotes."""
    update_refs(git, {PUSHED + version.tag: version.tag_object for version in versions})


def renumbered(git: Git, ours: Sequence[Version], moved: Mapping[str, str]) -> dict[str, str | None]:
    """Ref updates that take in the versions fetched from origin and renumber ours that are not there yet.

    Args:
        ours: versions that have not reached origin.
        moved: old commit -> commit after the rebase.

    Returns:
        ref -> new object, or None to delete it; for one transaction.
    """
    theirs = read_versions(git, under=THEIRS)
    updates: dict[str, str | None] = {TAGS + version.tag: None for version in ours}
    for version in theirs:
        updates[TAGS + version.tag] = updates[PUSHED + version.tag] = version.tag_object
    known = {(version.stage, version.style, version.digest) for version in theirs}
    last: dict[tuple[str, str], int] = {}
    for name, numbers in _numbers(git, THEIRS).items():
        last[name] = max(numbers)
    for version in ours:
        if (version.stage, version.style, version.digest) in known:
            continue
        number = last[version.stage, version.style] = last.get((version.stage, version.style), 0) + 1
        commit = moved.get(version.commit, version.commit)
        fresh = Version(version.stage, version.style, number, version.digest, commit, version.seconds, "")
        updates[TAGS + fresh.tag] = _object(git, fresh)
    return updates


def update_refs(git: Git, updates: Mapping[str, str | None]) -> None:
    """Change refs, all or none."""
    lines = [f"update {ref} {new}" if new else f"delete {ref}" for ref, new in updates.items()]
    if lines:
        git("update-ref", "--stdin", text="\n".join(["start", *lines, "prepare", "commit", ""]))


def _numbers(git: Git, under: str) -> dict[tuple[str, str], list[int]]:
    """Numbers that are taken: also by a tag that only looks like ours, which is no version and must not be written over."""
    found: dict[tuple[str, str], list[int]] = {}
    for name in git.lines("for-each-ref", "--format=%(refname)", under.rstrip("/")):
        if match := _NAME.fullmatch(name.removeprefix(under)):
            found.setdefault((match[1], match[2]), []).append(int(match[3]))
    return found


def _written(git: Git, version: Version) -> Version:
    tag_object = _object(git, version)
    update_refs(git, {TAGS + version.tag: tag_object})
    return Version(version.stage, version.style, version.number, version.digest, version.commit, version.seconds, tag_object)


def _object(git: Git, version: Version) -> str:
    header = f"object {version.commit}\ntype commit\ntag {version.tag}\ntagger {_TAGGER} {version.seconds} +0000\n"
    return git("mktag", text=f"{header}\n{version.tag}\n\ndigest: {version.digest}\n")
