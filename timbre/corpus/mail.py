"""What one person wrote in one message: no headers, quotes, signatures, list footers or attachments, and no name."""

import contextlib
import email
import email.header
import email.message
import email.policy
import email.utils
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

_QUOTE = re.compile(r"^\s{0,3}(?:[A-Za-z]{0,4}\s?[>|]|:\s|[}#]\s).*$")
_ATTRIBUTION = re.compile(
    r"^[^\n]{0,160}(?:\n[^\n]{0,120}){0,3}?"
    r"(?:\b(?:wrote|writes|said|says|scribbled|typed|thusly|opined|spake|sez|spoke|spewed|uttered|remarked|schrieb)\b[^\n]{0,40}[:.…]+)\s*$",
    re.MULTILINE,
)
_CUT = re.compile(
    r"^(?:-- ?|--+\s*$|_{5,}.*|-{5,}\s*(?:original message|forwarded|begin pgp signature|end|next part).*|[-=~*_]{20,}\s*"
    r"|-{2,}\s*begin forwarded.*|to unsubscribe\b.*|.*yahoo! groups sponsor.*|sent via .*|do you yahoo.*|get your free .*"
    r"|this (?:sf\.net|thinkgeek).*|begin forwarded message.*|.*mailing list\s*$|-{3,} forwarded message.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_PGP_HEAD = re.compile(r"-{5}BEGIN PGP SIGNED MESSAGE-{5}\n(?:Hash:[^\n]*\n)?")
_SIGN_OFF = re.compile(
    r"(?:(?:best|kind|warm)?\s*(?:regards|wishes)|cheers|thanks(?: in advance| again| a lot)?|thank you|yours(?: truly| sincerely)?"
    r"|sincerely|bye|later|tia|ciao|slainte|hth|peace|best)[,.!]*",
    re.IGNORECASE,
)
_QUOTED_PART = re.compile(
    r"<blockquote[^>]*(?:type=.?cite|gmail_quote)[^>]*>.*?</blockquote>|<div[^>]*(?:gmail_attr|moz-cite-prefix)[^>]*>.*?</div>",
    re.IGNORECASE | re.DOTALL,
)
_NAME_WORD = re.compile(r"[A-Z][a-zà-ÿ'’-]+")


@dataclass(frozen=True)
class Mail:
    """A message. `author` is a pseudonym; `sender`, `display` and `names` serve cleaning and are stored nowhere."""

    text: str
    author: str
    date: str | None
    sender: str
    names: tuple[str, ...]
    display: str = ""

    def is_from(self, who: str) -> bool:
        """Whether `who`, a name or an address, sent it."""
        return " ".join(who.split()).casefold() in (self.sender.casefold(), " ".join(self.display.split()).casefold())


def read_mail(data: bytes, salt: str) -> Mail:
    """Parse a message in RFC 822 form, with or without an mbox line.

    The author becomes the first 10 hex digits of a hash of `salt` and the sender's address: a pseudonym that keeps one
    person's messages together, not anonymity against somebody who holds the originals.
    """
    message = email.message_from_bytes(data, policy=email.policy.compat32)
    display, address = email.utils.parseaddr(_header(message, "From"))
    pseudonym = hashlib.blake2b(f"{salt}:{address.lower()}".encode(), digest_size=5).hexdigest()
    people = [display, *(name for field in ("To", "Cc", "Reply-To") for name, _ in email.utils.getaddresses([_header(message, field)]))]
    names = tuple(dict.fromkeys(word for person in people for word in _NAME_WORD.findall(person) if len(word) > 2))
    return Mail(written_part(_body(message)), f"writer-{pseudonym}", _date(message), address.lower(), names, display)


def written_part(body: str) -> str:
    """What the sender wrote, without quoted lines, the lines that introduce them, signature, sign-off and list footer.

    Blocks that are mostly code, a patch, a table or addresses go too.
    """
    body = _PGP_HEAD.sub("", body.replace("\r\n", "\n")).replace("\t", "    ")
    if (end := _CUT.search(body, body.find("\n", len(body) - len(body.lstrip())) + 1)) is not None:
        body = body[: end.start()]
    body = "\n".join("\0" if _QUOTE.match(line) else line for line in body.split("\n"))
    body = _ATTRIBUTION.sub("", body) if "\0" in body or "wrote" in body else body
    blocks = [block.strip("\n") for block in re.split(r"\n[ \t]*\n|\n?\0\n?", body)]
    blocks = [block for block in blocks if _is_written(block)]
    while blocks and _is_sign_off(blocks[-1]):
        blocks.pop()
    if blocks:
        lines = blocks[-1].split("\n")
        while len(lines) > 1 and _is_sign_off(lines[-1]):
            lines.pop()
        blocks[-1] = "\n".join(lines)
    return "\n\n".join(blocks)


def _is_written(block: str) -> bool:
    if not block.strip():
        return False
    if re.match(r"\s*(?:diff |Index: |@@ |\+\+\+ |--- |\$ |# |URL: |Date: |From: |To: |Subject: |\[\d+\] ?http)", block):
        return False
    if re.fullmatch(r"\S+(?: \S+){0,4} ?:", block.strip()) or re.fullmatch(r"\[[^\]]*\]", block.strip()):
        return False  # who said what follows, or what a list server took out
    lines = block.split("\n")
    if len(lines) > 1 and sum(line.startswith("    ") for line in lines) > len(lines) / 2:
        return False
    without_urls = re.sub(r"\S+://\S+", "", block)
    marks = [character for character in without_urls if not character.isspace()]
    return len(marks) > 3 and sum(character.isalpha() or character in ".,'\"?!" for character in marks) >= 0.85 * len(marks)


def _is_sign_off(block: str) -> bool:
    """A last block or line that is a greeting and a name, or a name: a few words, and no sentence."""
    lines = [line.strip(" -~*/\\") for line in block.strip().split("\n")]
    return all(
        _SIGN_OFF.fullmatch(line) is not None
        or re.fullmatch(r"<\w+>", line) is not None
        or (len(line.split()) <= 3 and not re.search(r"[.?!:)]$", line))
        or (_SIGN_OFF.match(line) is not None and len(line.split()) <= 4)
        for line in lines
    )


def _body(message: email.message.Message) -> str:
    """The first plain part; of a message without one, the prose of its first part in HTML."""
    from timbre.corpus.web import read_html

    parts = [part for part in message.walk() if not part.is_multipart() and part.get_filename() is None]
    plain = next((part for part in parts if part.get_content_type() == "text/plain"), None)
    if plain is not None and (text := part_text(plain)).strip():
        return text
    page = next((part for part in parts if part.get_content_type() == "text/html"), None)
    return "" if page is None else read_html(_QUOTED_PART.sub("", part_text(page))).text


def part_text(part: email.message.Message) -> str:
    """The text of a part, in the encoding it states if that fits."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else str(payload).encode("utf-8", "replace")
    for charset in (part.get_content_charset() or "utf-8", "utf-8", "windows-1252"):
        try:
            return data.decode(charset)
        except (LookupError, UnicodeDecodeError):
            continue
    return data.decode("latin-1")


def _header(message: email.message.Message, name: str) -> str:
    raw = str(message.get(name, ""))
    try:
        return str(email.header.make_header(email.header.decode_header(raw)))
    except (LookupError, UnicodeDecodeError, email.errors.HeaderParseError):
        return raw


def _date(message: email.message.Message) -> str | None:
    """The day it was sent; where that clock was more than a month off, the day the mbox line says it arrived."""
    sent = arrived = None
    with contextlib.suppress(TypeError, ValueError):
        sent = email.utils.parsedate_to_datetime(_header(message, "Date")).date()
    with contextlib.suppress(ValueError):
        arrived = datetime.strptime(" ".join((message.get_unixfrom() or "").split()[-5:]), "%a %b %d %H:%M:%S %Y").date()
    if sent is None or (arrived is not None and abs(sent - arrived).days > 31):
        sent = arrived
    return sent.isoformat() if sent is not None and 1980 <= sent.year <= 2100 else None
