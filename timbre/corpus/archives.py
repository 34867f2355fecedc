"""What one person wrote in a message that an archive shows as a page, or whose reply quotes others line by line."""

import re
from html import unescape

_BODIES = (
    re.compile(r"<!--\s*beginarticle\s*-->(.*?)<!--\s*endarticle\s*-->", re.DOTALL | re.IGNORECASE),  # Pipermail
    re.compile(r"<!--\s*X-Body-of-Message\s*-->(.*?)<!--\s*X-Body-of-Message-End\s*-->", re.DOTALL | re.IGNORECASE),  # MHonArc
    re.compile(r"<!--\s*body=\"start\"\s*-->(.*?)<!--\s*body=\"end\"\s*-->", re.DOTALL | re.IGNORECASE),  # Hypermail
)
_TAG = re.compile(r"<[^<>]*>")
_LINE = re.compile(r"<br\s*/?>\n?|</?p\b[^<>]*>|</?(?:div|blockquote|pre)\b[^<>]*>", re.IGNORECASE)
_QUOTED = re.compile(r"<blockquote\b.*?</blockquote>|<i>\s*&gt;.*?</i>", re.DOTALL | re.IGNORECASE)
_SENT = re.compile(
    r"<!--\s*(?:sent|X-Date|isosent)\s*[=:]\s*\"?([^\"<>]{8,60}?)\"?\s*-->|<i>\s*((?:mon|tue|wed|thu|fri|sat|sun)[a-z]* [^<>]{8,60})</i>",
    re.IGNORECASE,
)
_ATTRIBUTION = re.compile(
    r"^(?:[^\n]{0,160}\n){0,2}?[^\n]{0,200}\b(?:wrote|writes|schrieb|a écrit|escribió|ha scritto|escreveu|napisał|skrev|пишет"
    r"|писал|написал)(?: ?\([^()\n]*\))?"
    r"[^\n.!?]{0,60}[:：][ \t]*\n(?=(?:[ \t]*\n)?[ \t]*>)",
    re.MULTILINE | re.IGNORECASE,
)
_QUOTE_LINES = re.compile(r"(?:^[ \t]{0,2}>.*(?:\n|\Z))+", re.MULTILINE)
_HEAD = re.compile(
    r"\A\s*(?:From \S.*\d{4}[ \t]*\n)?(?:(?:From|To|Cc|Subject|Date|Sent|Message-ID|In-Reply-To|References|Reply-To|Sender"
    r"|List-\w+|X-[\w-]+):[ \t]?.*\n"
    r"(?:[ \t]+\S.*\n)*){2,}[ \t]*\n",
    re.IGNORECASE,
)
_ORIGINAL = re.compile(
    r"^-{3,} ?(?:Original Message|Forwarded message|Ursprüngliche Nachricht|Message d'origine).*\Z",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)


def message_of_page(page: str) -> tuple[str, str | None] | None:
    """The text of the message that a page of a mailing list's archive shows (Pipermail, MHonArc, Hypermail), and when it was sent.

    None of a page that is no such.
    """
    bodies = [body for pattern in _BODIES for body in pattern.findall(page)]
    if not bodies:
        return None
    text = unescape(_TAG.sub("", _LINE.sub("\n", _QUOTED.sub("\n", "\n".join(bodies)))))
    sent = _SENT.search(page)
    return text, None if sent is None else unescape(sent[1] or sent[2])


def without_replies(text: str) -> str:
    """A text without the lines that it quotes of others behind "… wrote:", and without a message's head; others stay as they are."""
    if (head := _HEAD.match(text)) is not None and "from:" in head[0].lower():
        text = text[head.end() :]
        text = _ORIGINAL.sub("", text)
    if ("\n>" not in text and "\n >" not in text) or _ATTRIBUTION.search(text) is None:
        return text
    return _QUOTE_LINES.sub("\n", _ATTRIBUTION.sub("\n", text))
