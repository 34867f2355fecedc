"""On what ground an author's texts are used, and whether that is recorded.

A licence such as MIT says under which terms a copy may be made; it does not say that the author agreed to have their
manner learnt. The author's own word ("own work") does, and a text that belongs to everybody needs no such word.
"""

import re

NOT_RECORDED = "not recorded"
_NOTHING = frozenset({"", "none", "no", "unknown", "not asked", NOT_RECORDED, "n/a"})
_OWN = frozenset({"own work", "my own work", "our own work"})
_PUBLIC = frozenset({"cc0", "cc0-1.0", "public domain", "licenseref-public-domain", "cc-pddc", "pddl-1.0"})
_REFUSED = re.compile(
    r"\b(?:refus|withh|withdr|declin|den(?:y|ie)|revok|pending|await|unclear|unknown|object(?:s|ed)\b)"
    r"|\b(?:no|not|never|without|lacks?|missing)\b[^.;]{0,40}\b(?:consent|permission|agree\w*|asked|given|obtained|granted|recorded|answer\w*|reply|replied|yet)\b"
)
"""A ground that says there is none: a no, or an answer that has not come."""
_ONCE_WRITTEN = "added by its user, who states the licence"
"""What `timbre corpus add` wrote without --consent before it told grounds apart: no more than the licence says."""


def ground_of(licence: str) -> str:
    """The consent that a licence itself stands for: the author's own word, or the public domain; else `NOT_RECORDED`."""
    match _plain(licence):
        case name if name in _OWN:
            return "The author's own work, added on the author's word."
        case name if name in _PUBLIC:
            return f"In the public domain, or given to it ({licence.strip()}), as its user states."
        case _:
            return NOT_RECORDED


def is_recorded(consent: str, licence: str) -> bool:
    """Whether a document's `consent` names a ground beyond the terms of its `licence`; a refusal is none."""
    text = _plain(consent)
    if text.startswith(_ONCE_WRITTEN):
        text = _plain(ground_of(licence))
    return text not in _NOTHING and _REFUSED.search(text) is None


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".").strip()
