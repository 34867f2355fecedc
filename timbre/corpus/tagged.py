"""Prose out of tagged text: `word/TAG` as in the Brown corpus, one sentence a line, headlines tagged `-hl`."""

import re

_CLOSING = re.compile(r"\s+([.,;:!?%)\]}])")
_OPENING = re.compile(r"([(\[{$])\s+")


def detokenise(text: str) -> str:
    """Sentences joined into paragraphs, without tags and headlines, with the usual spacing.

    The corpus doubles ; ? ! at a sentence's end; one is kept.
    """
    paragraphs = []
    for block in re.split(r"\n[ \t]*\n", text):
        sentences = [_sentence(line) for line in block.split("\n")]
        paragraph = " ".join(sentence for sentence in sentences if sentence)
        if paragraph:
            paragraphs.append(_quotes(paragraph).lstrip(",.;:!? "))
    return "\n\n".join(paragraphs)


def _sentence(line: str) -> str:
    pairs = [token.rpartition("/") for token in line.split()]
    if not pairs or all(tag.endswith(("-hl", "-hl-tl")) or tag in (".", ",") for _, _, tag in pairs):
        return ""
    words = [word for word, _, tag in pairs if word and not tag.endswith("-hl")]
    words = [word for place, word in enumerate(words) if not (place and word in ";?!" and words[place - 1] == word)]
    text = " ".join(words)
    text = _OPENING.sub(r"\1", _CLOSING.sub(r"\1", text))
    return re.sub(r"\s+--\s+", "—", text)


def _quotes(paragraph: str) -> str:
    paragraph = re.sub(r"``\s*", '"', paragraph)
    paragraph = re.sub(r"\s*''", '"', paragraph)
    return re.sub(r"(?<!\w)`\s*", "'", re.sub(r"\s+'(?=[\s.,;:?!]|$)", "'", paragraph)).strip()
