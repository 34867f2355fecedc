"""Personal data out of text: e-mail and IP addresses, phone, card and account numbers, URLs that carry user data, names.

Each find becomes a typed placeholder and is counted. Patterns that a checksum can confirm (cards: Luhn, accounts: IBAN
mod 97) or a numbering plan (phones) are replaced only if it does, so that years and page numbers stay.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection

_EMAIL = re.compile(r"(?:mailto:)?(?<![\w.+-])[\w.+-]{1,64}\s?(?:@|\[at\]| \(at\) )\s?(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b")
_LEFT_OVER = re.compile(r"[\w.+-]+@[\w-]+\.[A-Za-z]{2,}")
"""What the data contract takes for an address, whatever its length."""
_DIGITS = re.compile(r"\d|::")
_NO_PATH = r"(?:[^\W\d_]+/[^\W\d_]+|\d+[./]\d+|(?:[^\W\d_]\.){2,})[.,;:!?]*(?:\s|\Z)"
"""Words and numbers of a sentence that look like more of an address: and/or, 3.5, e.g."""
_URL = re.compile(rf"\b(?:https?|ftp)://[^\s<>\"')\]]+(?:(?<=[-/])\r?\n[ \t]*(?!{_NO_PATH})[\w~%+-]+[./]\w[^\s<>\"')\]]*)*", re.IGNORECASE)
"""With what a margin cut off at a hyphen or a slash, if that looks like more of it."""
_USER_URL = re.compile(r"://[^/\s]*@|[?&=]|/~|/(?:users?|members?|people|profile|home)/|\b[0-9a-f]{16,}\b", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{1,4}:){4,7}[0-9A-Fa-f]{1,4}(?![\w:])")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_PHONE_LIKE = re.compile(r"\+?\(?\d(?:[\s().-]{0,3}\d){6,}")
_CAPITALISED = re.compile(r"\b[A-Z][\w'’-]+")


def scrub(text: str, counts: Counter[str], names: Collection[str] = (), region: str = "US") -> str:
    """`text` with personal data replaced by <EMAIL>, <URL>, <IP>, <CARD>, <IBAN>, <PHONE>, <NAME>; `counts` gains what was found.

    Args:
        names: names of private persons, whole or in parts; replaced where they stand capitalised.
        region: numbering plan that phone numbers without a country code are read in (ISO 3166).
    """

    def put(kind: str) -> str:
        counts[kind.lower()] += 1
        return f"<{kind}>"

    if "@" in text or "(at)" in text or "[at]" in text:
        text = _EMAIL.sub(lambda match: put("EMAIL"), text)
        text = _LEFT_OVER.sub(lambda match: put("EMAIL"), text)
    if "://" in text:
        text = _URL.sub(lambda match: put("URL") if _USER_URL.search(match[0]) else match[0], text)
    if _DIGITS.search(text):
        text = _numbers(text, region, counts, put)
    if names:
        known = frozenset(names)
        text = _CAPITALISED.sub(lambda match: put("NAME") if _bare(match[0]) in known else match[0], text)
        text = re.sub(r"<NAME>(?:\s+(?:[A-Z]\.\s+)?<NAME>)+", "<NAME>", text)
    return text


def _numbers(text: str, region: str, counts: Counter[str], put: Callable[[str], str]) -> str:
    """Accounts, cards, addresses of machines and phones: nothing of that has fewer than two digits in a row or near each other."""
    text = _IBAN.sub(lambda match: put("IBAN") if _is_iban(match[0]) else match[0], text)
    text = _CARD.sub(lambda match: put("CARD") if _is_card(match[0]) else match[0], text)
    for pattern in (_IPV4, _IPV6):
        text = pattern.sub(lambda match: put("IP") if _is_ip(match[0]) else match[0], text)
    if _PHONE_LIKE.search(text):
        text = _scrub_phones(text, region, counts)
    return text


def _bare(word: str) -> str:
    return re.sub(r"['’]s$|['’]$", "", word)


def _is_ip(candidate: str) -> bool:
    """An address of some machine: not loopback, unspecified or a network's mask."""
    try:
        address = ipaddress.ip_address(candidate)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified or address.is_reserved)


def _is_card(candidate: str) -> bool:
    """Luhn's checksum, on digits that are not all the same."""
    digits = [int(character) for character in candidate if character.isdigit()]
    doubled = [digit if place % 2 == 0 else sum(divmod(2 * digit, 10)) for place, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and digits[0] in (2, 3, 4, 5, 6) and sum(doubled) % 10 == 0


def _is_iban(candidate: str) -> bool:
    """ISO 13616: the number with its first four characters moved to the end, letters as 10–35, is 1 modulo 97."""
    compact = candidate.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _scrub_phones(text: str, region: str, counts: Counter[str]) -> str:
    import phonenumbers

    pieces, done = [], 0
    for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID):
        if not re.search(r"[+().-]", match.raw_string) or re.match(r"[,.]\d", text[match.end :]):
            continue  # digits and spaces alone, or digits that go on, are a table or a sum rather than a phone
        counts["phone"] += 1
        pieces += [text[done : match.start], "<PHONE>"]
        done = match.end
    return "".join([*pieces, text[done:]])
