"""Putting our commits on top of those that others pushed first.

A textual rebase would stop at `params.yaml` and `dvc.lock` whenever two builds touched neighbouring lines. Here both
are merged by what they mean, style by style and stage by stage; nothing in the working tree is touched until all
commits are made, and dates are kept, so that a rebase that is cut off and done again gives the same commits.
"""

import tempfile
from pathlib import Path
from typing import Any

from timbre.tasks.stages import dump_yaml, load_yaml
from timbre.tasks.stores.git import Git

_BY_MEANING = ("params.yaml", "dvc.lock")
_OF_THE_FIRST = (".dvc/config", ".dvcignore", "README.md")
_DEPTH = 2
_ABSENT = object()


def rebase(git: Git, onto: str) -> tuple[str, dict[str, str]]:
    """Our commits that `onto` lacks, made again on top of it.

    Returns:
        The new tip, and old commit -> new commit. No ref and no file is changed.
    """
    tip = git("rev-parse", f"{onto}^{{commit}}")
    moved: dict[str, str] = {}
    if not git.has_commits:
        return tip, moved
    for commit in git.lines("rev-list", "--reverse", "--topo-order", "--no-merges", f"{tip}..HEAD"):
        tip = moved[commit] = _again(git, commit, tip)
    return tip, moved


def merge_values(base: Any, ours: Any, theirs: Any, depth: int = _DEPTH) -> Any:
    """Three-way merge of nested mappings down to `depth`: what we changed is ours, everything else theirs."""
    if ours == base:
        return theirs
    if depth == 0 or not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return ours
    before = base if isinstance(base, dict) else {}
    merged = {
        key: merge_values(before.get(key, _ABSENT), ours.get(key, _ABSENT), theirs.get(key, _ABSENT), depth - 1)
        for key in [*theirs, *(key for key in ours if key not in theirs)]
    }
    return {key: value for key, value in merged.items() if value is not _ABSENT}


def _again(git: Git, commit: str, tip: str) -> str:
    parent = f"{commit}^" if git.ok("rev-parse", "--verify", "--quiet", f"{commit}^") else None
    with tempfile.TemporaryDirectory(prefix="timbre-index-") as folder:
        index = Path(folder) / "index"
        git("read-tree", tip, index=index)
        for path in git.lines("diff-tree", "--root", "-r", "--name-only", "--no-commit-id", commit):
            blob = _merged(git, path, parent, commit, tip)
            if blob is None:
                git("update-index", "--force-remove", "--", path, index=index)
            else:
                git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", index=index)
        tree = git("write-tree", index=index)
    if tree == git("rev-parse", f"{tip}^{{tree}}"):
        return tip
    when = git("show", "-s", "--format=%at", commit)
    dates = {"GIT_AUTHOR_DATE": f"{when} +0000", "GIT_COMMITTER_DATE": f"{when} +0000"}
    return git("commit-tree", tree, "-p", tip, "-F", "-", text=git("show", "-s", "--format=%B", commit), dates=dates)


def _merged(git: Git, path: str, parent: str | None, commit: str, tip: str) -> str | None:
    """The blob of a file after the rebase, or None where it goes."""
    ours, theirs = git.show(commit, path), git.show(tip, path)
    base = git.show(parent, path) if parent else None
    if ours is not None and theirs is not None:
        if path in _BY_MEANING:
            value = merge_values(load_yaml(base or "") or {}, load_yaml(ours) or {}, load_yaml(theirs) or {})
            comment = "".join(line for line in ours.splitlines(keepends=True) if line.startswith("#"))
            return git("hash-object", "-w", "--stdin", text=comment + dump_yaml(value))
        if path.rpartition("/")[2] == ".gitignore":
            lines = dict.fromkeys([*theirs.splitlines(), *ours.splitlines()])
            return git("hash-object", "-w", "--stdin", text="".join(f"{line}\n" for line in lines))
        if parent is None and path in _OF_THE_FIRST:
            return git("rev-parse", f"{tip}:{path}")
    return git("rev-parse", f"{commit}:{path}") if ours is not None else None
