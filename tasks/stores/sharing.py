"""Keeping a clone of a shared data registry and its origin together."""

from timbre.tasks.stores.git import Git, GitError
from timbre.tasks.stores.rebasing import rebase
from timbre.tasks.stores.versions import TAGS, THEIRS, pending, renumbered, update_refs
from timbre.tasks.trying import Unreachable

_ATTEMPTS = 5
_ORIGIN = "refs/remotes/origin/"


def fetch(git: Git) -> bool:
    """Take in what others pushed; our commits that are not there yet go on top, and their tags are numbered anew.

    Nothing is to be uncommitted here. All refs move at once, so a build that is cut off begins from either state.

    Returns:
        Whether anything moved. Without an origin nothing does.

    Raises:
        ValueError: origin cannot be reached.
    """
    if git.origin is None:
        return False
    try:
        git("fetch", "--quiet", "--no-tags", "--force", "origin", f"+refs/heads/*:{_ORIGIN}*", f"+{TAGS}*:{THEIRS}*")
    except GitError as error:
        raise Unreachable(f"the shared data registry cannot be reached; nothing is lost, try again when it can ({error})") from error
    branch = git.branch
    theirs = f"{_ORIGIN}{branch}"
    if not git.ok("rev-parse", "--verify", "--quiet", theirs):
        return False
    old = git("rev-parse", "HEAD") if git.has_commits else ""
    new, moved = rebase(git, theirs)
    updates = renumbered(git, pending(git), moved)
    changed = {ref: value for ref, value in updates.items() if _value(git, ref) != value}
    if new == old and not changed:
        return False
    update_refs(git, {**changed, f"refs/heads/{branch}": new})
    if new != old:
        _refresh(git, old, new)
    return True


def share(git: Git) -> None:
    """Push our commits and versions; whenever somebody was faster, rebase, renumber and try again.

    Raises:
        ValueError: origin cannot be reached, or refuses for another reason.
    """
    for _ in range(_ATTEMPTS):
        refs = [f"{TAGS}{version.tag}:{TAGS}{version.tag}" for version in pending(git)]
        try:
            git("push", "--quiet", "--atomic", "origin", f"HEAD:refs/heads/{git.branch}", *refs)
        except GitError as error:
            refusal = error
            if not fetch(git):
                break
        else:
            return
    raise Unreachable(
        f"the shared data registry {git.origin} does not take what was built ({refusal}); it is committed and tagged here, "
        "and the next run pushes it"
    )


def _value(git: Git, ref: str) -> str | None:
    return git("rev-parse", ref) if git.ok("rev-parse", "--verify", "--quiet", ref) else None


def _refresh(git: Git, old: str, new: str) -> None:
    """Bring the files that differ between two commits to the new one; other files of the user's are left alone."""
    before = old or git("hash-object", "-t", "tree", "/dev/null")
    changed = git.lines("diff", "--name-only", "--no-renames", before, new)
    git("reset", "--quiet")
    present = [path for path in changed if git.show(new, path) is not None]
    if present:
        git("checkout", "--quiet", "--force", "HEAD", "--", *present)
    for path in set(changed) - set(present):
        (git.path / path).unlink(missing_ok=True)
