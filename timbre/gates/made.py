"""What was made, for the head of the page: what follows from the artifacts, and what only a release knows.

A page in the artifact store holds no time and no version, since the same evidence gives the same bytes. The page that people
are led to is that page with both written into the places that it keeps for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import quote

from timbre.artifacts import Artifact, IntegrityError
from timbre.page.render import number

_OBJECTIVES = {"forward_kl": "DFT by forward KL", "sft": "SFT by cross-entropy"}
FACTS_HERE, LINKS_HERE = "<!-- facts of the release -->", "<!-- links of the release -->"


@dataclass(frozen=True)
class Release:
    """What a release knows of a page: facts (name, words) that go first, and links (place relative to the page, words)."""

    facts: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


def made_facts(verdict: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> list[tuple[str, str]]:
    """Names and words of what the artifacts say: style, base, how it was trained, on how much, its seed and its size."""
    adapter, bundle, corpus = (artifacts[name] for name in ("adapter", "bundle", "corpus"))
    facts, learnt, sheet = _json(bundle, "bundle.json"), _json(adapter, "summary.json"), _json(corpus, "datasheet.json")
    training = adapter.manifest.config
    trained = [f"{number(training['epochs'])} epochs" if training.get("epochs") else "", _counted(learnt.get("steps"), "steps")]
    text = [_counted(sheet.get("documents"), "documents"), _counted(sheet.get("tokens"), "words and marks")]
    size = [
        f"{_megabytes(adapter)} adapter" + (f" of {_millions(learnt['trainable_parameters'])}" if "trainable_parameters" in learnt else ""),
        f"{_megabytes(bundle)} bundle",
    ]
    rows = [
        ("style", str(verdict["style"])),
        ("base model", str(facts.get("base_model", ""))),
        ("training", ", ".join(part for part in (_objective(training), *trained) if part)),
        ("seed", str(training.get("seed", ""))),
        ("text", ", ".join(part for part in text if part)),
        ("size", ", ".join(size)),
    ]
    return [(name, words) for name, words in rows if words]


def with_release(page: str, release: Release) -> str:
    """The page with the facts and links of its release in the places kept for them; further facts may follow later."""
    facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(words)}</dd></div>\n" for name, words in release.facts)
    links = "".join(f'<li><a href="{quote(place)}">{escape(words)}</a></li>\n' for place, words in release.links)
    listed = f'<ul class="links" aria-label="Pages beside this one">\n{links}</ul>\n' if links else ""
    return page.replace(FACTS_HERE, facts + FACTS_HERE, 1).replace(LINKS_HERE, listed, 1)


def _json(artifact: Artifact, name: str) -> Mapping[str, Any]:
    try:
        found = artifact.json(name)
    except (IntegrityError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}


def _objective(training: Mapping[str, Any]) -> str:
    name = str(training.get("objective", ""))
    return _OBJECTIVES.get(name, name.replace("_", " "))


def _counted(count: Any, what: str) -> str:
    return f"{number(count)} {what}" if isinstance(count, int) else ""


def _millions(count: int) -> str:
    return f"{number(count / 1e6)} million parameters"


def _megabytes(artifact: Artifact) -> str:
    size = sum(file.size for file in artifact.manifest.files.values())
    return f"{number(size / 1e6)} MB" if size >= 1e5 else f"{number(size / 1e3)} kB"
