"""Comments that Google Docs writes into what it exports: marks such as [a] in the text, and what they say at its end."""

import re

_MARK = re.compile(r"\[([a-z]{1,2})\](?!\()")
_SAID = re.compile(r"^\[([a-z]{1,2})\](?=\S|[ \t]+\S)", re.MULTILINE)


def without_remarks(text: str) -> str:
    """The text without such comments, where its last paragraphs are made of them and each one's mark stands in the text above."""
    said = list(_SAID.finditer(text))
    while said and not _is_last(said, text):
        said.pop(0)
    if not said:
        return text
    body, names = text[: said[0].start()], {found[1] for found in said}
    if not names <= {found[1] for found in _MARK.finditer(body)}:
        return text
    return _MARK.sub(lambda found: "" if found[1] in names else found[0], body).rstrip() + "\n"


def _is_last(said: list[re.Match[str]], text: str) -> bool:
    """Whether letters count up from a to the end, and no long text follows the last."""
    names = [found[1] for found in said]
    return names[0] == "a" and names == sorted(names, key=lambda name: (len(name), name)) and len(set(names)) == len(names)
