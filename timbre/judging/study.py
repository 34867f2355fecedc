"""A blind test for people: pages that work offline and know nothing of the sides, and the key to them in a file apart."""

import base64
import hashlib
import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from timbre.artifacts import canonical_json, digest_json, write_atomically
from timbre.judging.pairs import Pair, spread

Kind = Literal["pairs", "form"]
Ask = Literal["better", "author"]
QUESTIONS: dict[Ask, str] = {"better": "Which text is better written?", "author": "Which is the author's?"}
SCALES = ("fluency", "creativity")
PAGES: dict[Kind, str] = {"pairs": "pairs.html", "form": "form.html"}
KEY = "key.json"
_TEMPLATES = Path(__file__).parent / "templates"
_SAID = {
    "fluency": {"question": "How fluent is it?", "low": "hard to read", "high": "reads with ease"},
    "creativity": {"question": "How creative is it?", "low": "seen many times", "high": "new and apt"},
}


@dataclass(frozen=True)
class Study:
    """What was written: the pages by kind, their digests, and the key."""

    pages: dict[Kind, Path]
    studies: dict[Kind, str]
    key: Path
    items: dict[Kind, int]


def export_study(
    pairs: Sequence[Pair],
    folder: Path,
    *,
    names: tuple[str, str],
    count: int = 40,
    texts: int = 40,
    question: str | None = None,
    ask: Ask = "better",
    seed: int | None = None,
    release: Mapping[str, Any] | None = None,
) -> Study:
    """Write pairs.html, form.html and key.json.

    Pairs and sides are drawn by `seed`, one pair of every cluster before the second of any; as many pairs show A first as
    B. The form shows single texts, as many of A as of B. The pages hold hashes for names; which side is which stands in
    key.json alone, so that goes to nobody who rates. The same arguments give the same bytes.

    Args:
        names: what sides A and B are called in the key and the results, never on a page.
        ask: "better", or "author": which of the two a person wrote; the page says so, and the key and the results keep it.
        question: what stands above a pair; None takes that of `ask`.
        count, texts: pairs of the test, and texts of the form; 0 leaves a page out.
        seed: None draws one that nobody can guess, and keeps it in the key.
        release: the registered version that side A is (style, model, version, bundle), so that ratings can stand as evidence of it.

    Raises:
        ValueError: nothing to show, or the folder holds a study already.
    """
    if not pairs or (count < 1 and texts < 2):
        raise ValueError("a study needs a pair at least: raise --pairs or --texts")
    if (folder / KEY).exists():
        raise ValueError(f"{folder} holds a study already, whose answers need its key: choose another folder")
    question = QUESTIONS[ask] if question is None else question
    seed = secrets.randbits(64) if seed is None else seed
    salt = digest_json([seed, [[pair.pair_id, pair.prompt, pair.a, pair.b] for pair in pairs]])
    chance = random.Random(salt)
    order = spread(pairs, chance)
    pages: dict[Kind, tuple[list[dict[str, str]], dict[str, dict[str, str]]]] = {}
    if count > 0:
        pages["pairs"] = _pair_items(order[:count], salt, chance)
    if texts > 1:
        pages["form"] = _form_items(_unalike(order)[: texts // 2], salt, chance)
    key: dict[str, Any] = {"format": 1, "seed": seed, "names": list(names), "studies": {}}
    if release is not None:
        key["release"] = dict(release)
    written: dict[Kind, Path] = {}
    for kind, (items, sides) in pages.items():
        payload = {"kind": kind, "ask": ask, "question": question, "items": items}
        if kind == "form":
            payload |= {"question": "Read the text, then rate it.", "scales": [{"name": name} | _SAID[name] for name in SCALES]}
        digest = digest_json(payload)
        key["studies"][digest] = {"kind": kind, "ask": ask, "items": sides}
        written[kind] = folder / PAGES[kind]
        write_atomically(written[kind], study_page(payload | {"study": digest}).encode())
    key["check"] = digest_json(key)
    write_atomically(folder / KEY, json.dumps(key, indent=1, ensure_ascii=False).encode() + b"\n")
    digests = {entry["kind"]: digest for digest, entry in key["studies"].items()}
    return Study(written, digests, folder / KEY, {kind: len(items) for kind, (items, _) in pages.items()})


def study_page(payload: dict[str, Any]) -> str:
    """The page of a study: one file with its data and its script, which the browser lets run by their hashes alone."""
    from markupsafe import Markup

    from timbre.page.render import render

    script = (_TEMPLATES / "study.js").read_text(encoding="utf-8")
    data = canonical_json(payload).decode().replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    context = {
        "kind": payload["kind"],
        "ask": payload.get("ask", "better"),
        "script": Markup(script),  # nosec B704: a file of ours
        "data": Markup(data),  # nosec B704: JSON without <
        "fingerprint": fingerprint,
    }
    return render(_TEMPLATES, "study.html", context | {"count": len(payload["items"])})


def _pair_items(pairs: Sequence[Pair], salt: str, chance: random.Random) -> tuple[list[dict[str, str]], dict[str, dict[str, str]]]:
    a_first = [index % 2 == 0 for index in range(len(pairs))]
    if len(pairs) % 2 and chance.random() < 0.5:
        a_first = [not first for first in a_first]
    chance.shuffle(a_first)
    items, sides = [], {}
    for pair, first in zip(pairs, a_first, strict=True):
        name = _hashed(salt, "pair", pair.pair_id)
        one, other = (pair.a, pair.b) if first else (pair.b, pair.a)
        items.append({"id": name, "prompt": pair.prompt, "first": one, "second": other})
        sides[name] = {"pair": pair.pair_id, "cluster": pair.cluster, "first": "A" if first else "B"}
    return items, dict(sorted(sides.items()))


def _form_items(pairs: Sequence[Pair], salt: str, chance: random.Random) -> tuple[list[dict[str, str]], dict[str, dict[str, str]]]:
    shown = [(pair, side) for pair in pairs for side in ("A", "B")]
    chance.shuffle(shown)
    items, sides = [], {}
    for pair, side in shown:
        name = _hashed(salt, side, pair.pair_id)
        items.append({"id": name, "prompt": pair.prompt, "text": pair.a if side == "A" else pair.b})
        sides[name] = {"pair": pair.pair_id, "cluster": pair.cluster, "side": side}
    return items, dict(sorted(sides.items()))


def _unalike(pairs: Sequence[Pair]) -> list[Pair]:
    """Without pairs that hold a text of an earlier one: nobody is to rate a text twice."""
    seen: set[str] = set()
    fresh = []
    for pair in pairs:
        if not seen & {pair.a, pair.b}:
            fresh.append(pair)
            seen |= {pair.a, pair.b}
    return fresh


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
