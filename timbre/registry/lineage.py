"""What a version was made of, back to sources; and what was made of a corpus, forward to every version it touched. A picture of either.

Artifacts name the digests of their inputs in their manifests, so that the whole ancestry can be walked from any of them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from timbre.artifacts import MANIFEST

_WIDTH, _HEIGHT, _GAP, _STEP = 220, 52, 16, 275
_STYLE = (
    "svg{background:#fbfaf7;font:12px system-ui,sans-serif;fill:#63615b}.title{font-size:18px;fill:#1d1d1b}"
    ".name{font-size:14px;fill:#1d1d1b}rect{fill:#ece8de;stroke:#dedbd2}.away rect{fill:#fbfaf7;stroke-dasharray:4 3}"
    "path{fill:none;stroke:#0b6e69;stroke-opacity:.55}@media(prefers-color-scheme:dark){svg{background:#161715;fill:#a5a196}"
    ".title,.name{fill:#e9e6de}rect{fill:#262722;stroke:#34342f}.away rect{fill:#161715}path{stroke:#5cc2b6}}"
)


@dataclass(frozen=True)
class Node:
    """One artifact, or an input that is none (a file under version control, or an artifact that is not in this home).

    Attributes:
        depth: how many steps of making lie between it and what was asked about.
        inputs: name of the input -> digest.
        role: whose it is where a release has several of a kind: the candidate's, the base's.
    """

    stage: str
    digest: str
    depth: int
    inputs: Mapping[str, str]
    here: bool
    commit: str | None = None
    at: str | None = None
    role: str | None = None

    @property
    def title(self) -> str:
        return self.stage if self.role is None else f"{self.stage} ({self.role})"

    def told(self) -> dict[str, Any]:
        return asdict(self) | {"inputs": dict(self.inputs)}


def manifests(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Digest -> manifest of artifact folders; one that cannot be read is left for `timbre doctor`."""
    found = {}
    for path in paths:
        try:
            manifest = json.loads((path / MANIFEST).read_bytes())
            found[str(manifest["digest"])] = manifest
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def ancestry(root: str, known: Mapping[str, Mapping[str, Any]], name: str = "verdict") -> list[Node]:
    """The artifact `root` and all that it was made of, each once, at the depth of its longest way to the root.

    Args:
        known: see `manifests`.
        name: what the root is called if it is not among them.
    """
    depths: dict[str, int] = {}
    names = {root: name}

    def walk(digest: str, depth: int) -> None:
        if depth <= depths.get(digest, -1):
            return
        depths[digest] = depth
        for label, other in known.get(digest, {}).get("inputs", {}).items():
            names.setdefault(other, label)
            walk(other, depth + 1)

    walk(root, 0)
    nodes = [_node(digest, depth, names[digest], known) for digest, depth in depths.items()]
    return sorted(_with_roles(nodes), key=lambda node: (node.depth, node.stage, node.role or "", node.digest))


def _with_roles(nodes: Sequence[Node]) -> list[Node]:
    """Each artifact with the name that all that used it have for it, or with the role of those where that is only its stage."""
    uses: dict[str, set[str | None]] = {}
    stages = {node.digest: node.stage for node in nodes}
    found = []
    for node in sorted(nodes, key=lambda node: node.depth):  # what used it stands before it
        roles = uses.get(node.digest, set())
        role = next(iter(roles)) if len(roles) == 1 and node.here else None
        found.append(replace(node, role=role))
        for label, other in node.inputs.items():
            uses.setdefault(other, set()).add(role if label == stages[other] else label)
    return found


def touched(digest: str, roots: Mapping[str, str], known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The names in `roots` (name -> digest) whose ancestry holds `digest`.

    Raises:
        ValueError: `digest` is the beginning of no digest, or of several.
    """
    whole = full_digest(digest, known)
    return [name for name, root in roots.items() if any(node.digest == whole for node in ancestry(root, known))]


def full_digest(beginning: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """The digest of an artifact or an input that begins so.

    Raises:
        ValueError: none does, or several do.
    """
    inputs = {str(other) for manifest in known.values() for other in manifest.get("inputs", {}).values()}
    found = sorted(digest for digest in {*known, *inputs} if digest.startswith(beginning))
    if len(found) != 1 or not beginning:
        raise ValueError(f"{len(found)} artifacts begin with {beginning!r}: give more of the digest, as `timbre status --json` has it")
    return found[0]


def picture(nodes: Sequence[Node], title: str) -> str:
    """A drawing of the ancestry as SVG: what was made stands left, what it was made of right of it, sources last."""
    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(node.depth, []).append(node)
    tallest = max((len(column) for column in columns.values()), default=1)
    width, height = 40 + _STEP * len(columns), 90 + tallest * (_HEIGHT + _GAP)
    places: dict[str, tuple[int, int]] = {}
    for depth, column in columns.items():
        for row, node in enumerate(column):
            places[node.digest] = (20 + _STEP * depth, 60 + row * (_HEIGHT + _GAP))
    arrows = [_arrow(places[node.digest], places[other]) for node in nodes for other in node.inputs.values()]
    boxes = [_box(node, *places[node.digest]) for node in nodes]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'style="max-width: 100%; height: auto; min-width: 48rem" role="img">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f'<text class="title" x="20" y="34">{escape(title)}</text>{"".join(arrows)}{"".join(boxes)}</svg>\n'
    )


def _arrow(made: tuple[int, int], of: tuple[int, int]) -> str:
    begin, end = made[0] + _WIDTH, of[0]
    y, to_y, middle = made[1] + _HEIGHT // 2, of[1] + _HEIGHT // 2, (made[0] + _WIDTH + of[0]) // 2
    return f'<path d="M{begin} {y}C{middle} {y} {middle} {to_y} {end} {to_y}"/>'


def _box(node: Node, x: int, y: int) -> str:
    about = node.digest[:12] + (f" · {node.at[:10]}" if node.at else "" if node.here else " · no artifact here")
    return (
        f'<g class="{"here" if node.here else "away"}"><title>{escape(node.stage)} {node.digest}</title>'
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>'
        f'<text x="{x + 12}" y="{y + 22}" class="name">{escape(node.title)}</text>'
        f'<text x="{x + 12}" y="{y + 41}">{escape(about)}</text></g>'
    )


def _node(digest: str, depth: int, label: str, known: Mapping[str, Mapping[str, Any]]) -> Node:
    manifest = known.get(digest)
    if manifest is None:
        return Node(label, digest, depth, {}, here=False)
    built = manifest.get("built", {})
    return Node(manifest["stage"], digest, depth, manifest["inputs"], True, built.get("commit"), built.get("at"))
