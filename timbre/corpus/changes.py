"""What an update of a source changes, counted in documents."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_ALIKE = 0.5
"""Share of the old documents that must still be there, by name or content, for another place to be the same texts."""


@dataclass(frozen=True)
class Changes:
    """Documents that are new, changed, gone and unchanged since the source was last added."""

    new: int
    changed: int
    gone: int
    unchanged: int
    renamed: int = field(default=0, compare=False)
    """Of the unchanged ones those that stand under another name."""

    def as_json(self) -> dict[str, int]:
        """For `--json`: four counts that add up."""
        return {"new": self.new, "changed": self.changed, "gone": self.gone, "unchanged": self.unchanged}

    @property
    def is_update(self) -> bool:
        """Whether these are the same texts in a later state, rather than others."""
        old = self.changed + self.gone + self.unchanged
        return old == 0 or self.unchanged + self.changed >= _ALIKE * old


def compare(old: Mapping[str, str], new: Mapping[str, str]) -> Changes:
    """Documents by name and hash, before and now. One that only moved is unchanged; one that kept its name is changed, not new."""
    same = {name for name in old.keys() & new.keys() if old[name] == new[name]}
    left = {name: digest for name, digest in old.items() if name not in same}
    came = {name: digest for name, digest in new.items() if name not in same}
    waiting = Counter(left.values())
    moved_here = set()
    for name, digest in came.items():
        if waiting[digest]:
            waiting[digest] -= 1
            moved_here.add(name)
    moved = Counter(came[name] for name in moved_here)
    moved_away = set()
    for name, digest in left.items():
        if moved[digest]:
            moved[digest] -= 1
            moved_away.add(name)
    changed = (left.keys() - moved_away) & (came.keys() - moved_here)
    return Changes(
        new=len(came) - len(moved_here) - len(changed), changed=len(changed), gone=len(left) - len(moved_away) - len(changed),
        unchanged=len(same) + len(moved_here), renamed=len(moved_here),
    )  # fmt: skip
