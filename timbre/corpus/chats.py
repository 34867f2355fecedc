"""Chats as messengers export them (WhatsApp, Telegram, Slack, Discord, IRC): the words of one person, without names and times.

Messages are short, so one document is a person's messages of some days in a row, in their order, a paragraph each.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from timbre.corpus.raw import RawDocument, Unread
from timbre.corpus.rows import loose_date
from timbre.corpus.sources import Source
from timbre.words import size

DOCUMENT_WORDS = 300
"""A document ends with the day on which it has so many words."""
_TIME = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:[ \u00a0\u202f]?[APap]\.?[ \u00a0\u202f]?[Mm]\.?)?"
_DAY = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_WHATSAPP = re.compile(
    rf"^[\u200e\u200f\u202a-\u202e]*(?:\[(?P<day>{_DAY})[,.]?[ \u00a0](?P<time>{_TIME})\][ ]?"
    rf"|(?P<day2>{_DAY})[,.]?[ \u00a0](?P<time2>{_TIME})[ ][-–][ ])"
    r"[\u200e\u200f]*(?:[~\u202f \u00a0]*(?P<who>[^:\n]{1,60}):(?:[ \u00a0]|$)(?P<text>.*)|(?P<system>.*))$"
)
_DISCORD = re.compile(rf"^\[(?P<day>\d{{1,4}}[./-](?:\d{{1,2}}|\w{{3}})[./-]\d{{1,4}})[ ,]+(?P<time>{_TIME})\][ ](?P<who>[^:\n]{{1,40}})$")
_IRC = re.compile(
    r"^(?:\[?(?:\d{4}-\d{2}-\d{2}[T ])?\d{1,2}:\d{2}(?::\d{2})?\]?[ \t]+)?<[@+~&% ]?(?P<who>[^<>\s]{1,30})>[ \t]+(?P<text>.*)$"
)
_IRC_SYSTEM = re.compile(r"^(?:\[?(?:\d{4}-\d{2}-\d{2}[T ])?\d{1,2}:\d{2}(?::\d{2})?\]?[ \t]+)?(?:\*|-!-|---|-->|<--)(?:[ \t].*)?$")
_OMITTED = re.compile(
    r"[\u200e\u200f]*(?:<[^<>]{3,40}>|(?:image|video|audio|sticker|gif|document|contact card|media|voice message)s? omitted"
    r"|(?:you|this message was) deleted(?: this message)?\.?|null|\{attachments\}|\{embed\}|(?:location|standort): https?://\S+"
    r"|\S+\.(?:jpe?g|png|opus|mp[34]|webp|pdf|vcf) \([^()]*\)|https?://\S+)",
    re.IGNORECASE,
)
_EDITED = re.compile(r"[ \u00a0]*[\u200e]?<(?:this message was edited|diese nachricht wurde bearbeitet\.?)>$", re.IGNORECASE)
_SLACK_MARK = re.compile(r"<(?:[@#!][^<>|]*(?:\|[^<>]*)?|(?:https?|mailto)[^<>|]*(?:\|([^<>]*))?)>")
_EMOJI_NAME = re.compile(r"(?<![\w:]):[a-z][\w+-]{1,40}:(?![\w:])")
_DISCORD_END = re.compile(r"^(?:=+|Guild: .*|Channel: .*|Topic: .*|Exported \d+ message.*|\{(?:Attachments|Embed|Reactions|Stickers)\})$")
_FEWEST, _SHARE = 3, 0.1
_DAY_FILE = re.compile(r"(?:^|/)\d{4}-\d{2}-\d{2}\.json$")
"""One day of a channel, as Slack writes it: who alone writes on a day need not be who is meant."""
_UNNAMED = ("this is one day of a chat", "this is a chat of several people")


@dataclass(frozen=True)
class Message:
    """What somebody said: the names they go by, the day as it stands in the file, and the words."""

    who: tuple[str, ...]
    day: str | None
    text: str


def is_chat(text: str) -> bool:
    """Whether a text is an exported chat: several of its first lines are heads of messages, of one form."""
    lines = [line for line in text.split("\n")[:60] if line.strip()]
    return _form(lines) is not None


def _form(lines: Sequence[str]) -> re.Pattern[str] | None:
    for form, share in ((_WHATSAPP, _SHARE), (_DISCORD, _SHARE), (_IRC, 0.6)):
        heads = sum(form.match(line.strip("\r")) is not None for line in lines)
        said = sum((found := form.match(line.strip("\r"))) is not None and bool(found["who"]) for line in lines)
        if heads >= _FEWEST and said >= 2 and heads >= share * len(lines):
            return form
    return None


def messages_of_text(text: str) -> list[Message]:
    """The messages of a chat that was exported as text; what a program said stays out."""
    lines = text.replace("\r\n", "\n").split("\n")
    form = _form([line for line in lines[:60] if line.strip()])
    assert form is not None
    order = form is not _WHATSAPP or _day_first([found for line in lines if (found := form.match(line))])
    found_: list[tuple[str, str | None, list[str]]] = []
    open_ = False
    for line in lines:
        if (head := form.match(line)) is not None:
            open_ = bool(head["who"])
            if open_:
                groups = head.groupdict()
                day = groups.get("day") or groups.get("day2")
                found_.append((head["who"].strip(), _day(day, order), [groups.get("text") or ""]))
        elif form is _IRC and _IRC_SYSTEM.match(line):
            open_ = False
        elif open_ and not (form is _DISCORD and _DISCORD_END.match(line.strip())):
            found_[-1][2].append(line)
    return [Message((who,), day, _said("\n".join(said))) for who, day, said in found_]


def _day_first(heads: Sequence[re.Match[str]]) -> bool:
    """Whether 3/4/2021 is the third of April in this file: as time does not run backwards; and else by how its hours are counted."""
    parts = [[int(part) for part in re.split(r"[./-]", head["day"] or head["day2"])] for head in heads]

    def backwards(order: tuple[int, int, int]) -> int:
        days = [tuple(day[place] for place in order) for day in parts]
        return sum(month > 12 for _, month, _ in days) + sum(later < earlier for earlier, later in pairwise(days))

    day_first, month_first = backwards((2, 1, 0)), backwards((2, 0, 1))
    american = all("/" in head[0][:12] and re.search(r"[AP]M", head["time"] or head["time2"]) for head in heads)
    return day_first < month_first or (day_first == month_first and not american)


def _day(day: str | None, day_first: bool) -> str | None:
    if day is None:
        return None
    parts = re.split(r"[./-]", day)
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        return loose_date(day)
    if len(parts[0]) == 4:
        year, month, date = parts
    else:
        date, month, year = parts if day_first else (parts[1], parts[0], parts[2])
    year = f"20{year}" if len(year) == 2 else year
    return loose_date(f"{year}-{int(month):02d}-{int(date):02d}") if 1 <= int(month) <= 12 and 1 <= int(date) <= 31 else year


def messages_of_json(value: Any) -> list[Message] | None:
    """The messages of a chat that Telegram, Slack or Discord wrote as JSON; None of any other JSON."""
    if isinstance(value, Mapping) and isinstance(chats := value.get("chats"), Mapping) and isinstance(chats.get("list"), list):
        parts = [found for chat in chats["list"] if (found := messages_of_json(chat)) is not None]
        return [message for part in parts for message in part] if parts else None
    rows = value.get("messages") if isinstance(value, Mapping) else value
    if not isinstance(rows, list):
        return None
    said = [row for row in rows if isinstance(row, Mapping)]
    for fits, read in ((_is_telegram, _telegram), (_is_slack, _slack), (_is_discord, _discord)):
        if said and sum(fits(row) for row in said) > 0.5 * len(said):
            return [message for row in said if (message := read(row)) is not None]
    return None


def _is_telegram(row: Mapping[str, Any]) -> bool:
    return row.get("type") in ("message", "service") and "date" in row and ("from_id" in row or "actor_id" in row or "date_unixtime" in row)


def _telegram(row: Mapping[str, Any]) -> Message | None:
    if row.get("type") != "message" or row.get("forwarded_from") or row.get("via_bot") or not row.get("from"):
        return None
    text = row.get("text")
    parts = text if isinstance(text, list) else [text]
    said = "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts if isinstance(part, str | Mapping))
    return Message(_names(row.get("from"), row.get("from_id")), loose_date(row.get("date")), _said(said))


def _is_slack(row: Mapping[str, Any]) -> bool:
    return row.get("type") == "message" and "ts" in row and "text" in row


def _slack(row: Mapping[str, Any]) -> Message | None:
    from html import unescape

    if row.get("subtype") not in (None, "thread_broadcast", "me_message") or row.get("bot_id") or not row.get("user"):
        return None
    profile = row.get("user_profile") if isinstance(row.get("user_profile"), Mapping) else {}
    assert isinstance(profile, Mapping)
    names = _names(profile.get("real_name"), profile.get("display_name"), profile.get("name"), profile.get("first_name"), row["user"])
    said = _EMOJI_NAME.sub("", _SLACK_MARK.sub(lambda found: found[1] or "", str(row["text"])))
    return Message(names, loose_date(row["ts"]), _said(unescape(said)))


def _is_discord(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("author"), Mapping) and "content" in row and "timestamp" in row


def _discord(row: Mapping[str, Any]) -> Message | None:
    author = row["author"]
    if row.get("type") not in (None, "Default", "Reply", 0, 19) or author.get("isBot") or author.get("bot"):
        return None
    names = _names(author.get("nickname"), author.get("global_name"), author.get("name"), author.get("username"), author.get("id"))
    return Message(names, loose_date(row["timestamp"]), _said(re.sub(r"<(?:@[!&]?|#|a?:\w+:)\d+>", "", str(row["content"]))))


def _names(*names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(name).strip() for name in names if name)) or ("unknown",)


def _said(text: str) -> str:
    lines = [_EDITED.sub("", line).strip("\u200e\u200f\r ") for line in text.split("\n")]
    return "\n".join(line for line in lines if line and _OMITTED.fullmatch(line) is None).strip()


def chat_documents(messages: Sequence[Message], name: str, source: Source) -> Iterator[RawDocument | Unread]:
    """The words of the person that the source's `role` names, or else its author if they take part, or whoever alone writes.

    Nobody fits: one `Unread` that lists who writes, so that one can be named.
    """
    people = _people(messages)
    chosen = _chosen(people, source, alone=_DAY_FILE.search(name) is None)
    if chosen is None:
        said: Counter[str] = Counter(message.who[-1] for message in messages)
        who = ", ".join(f"{people[person][0]} ({count})" for person, count in said.most_common(6))
        asked = f"nobody called {source.role!r} writes in this chat" if source.role != "assistant" else _UNNAMED[len(people) > 1]
        yield Unread(name, f"{asked}; its writers, with their messages: {who or 'none'}; say whose words are the texts with --role")
        return
    part: list[Message] = []
    number = filled = 0
    for message in messages:
        if message.who[-1] != chosen or not message.text:
            continue
        if (part and filled >= DOCUMENT_WORDS and message.day != part[-1].day) or filled >= 4 * DOCUMENT_WORDS:
            number += 1
            yield _document(part, f"{name}:{number}", people[chosen][0], source)
            part, filled = [], 0
        part.append(message)
        filled += size(message.text)
    if part:
        yield _document(part, f"{name}:{number + 1}", people[chosen][0], source)
    elif not number:
        yield Unread(name, f"{people[chosen][0]} wrote no words in this chat")


def _document(part: Sequence[Message], name: str, chosen: str, source: Source) -> RawDocument:
    return RawDocument(name, "\n\n".join(message.text for message in part), source.author or chosen, part[0].day or loose_date(source.date))


def _people(messages: Sequence[Message]) -> dict[str, tuple[str, ...]]:
    """Whoever writes, by the last of their names (an id, where the messenger gives one), with all names that their messages give."""
    found: dict[str, tuple[str, ...]] = {}
    for message in messages:
        found[message.who[-1]] = tuple(dict.fromkeys((*found.get(message.who[-1], ())[:-1], *message.who)))
    return found


def _chosen(people: Mapping[str, Sequence[str]], source: Source, *, alone: bool) -> str | None:
    """Whoever is meant: by a whole name, in any case, or by the beginning that only one has; or who writes alone, where that counts."""
    wanted = source.role if source.role != "assistant" else source.author
    whole, first = wanted.casefold(), wanted.casefold().split()[:1]
    exactly = [person for person, names in people.items() if any(called.casefold() == whole for called in names)]
    nearly = [person for person, names in people.items() if any(called.casefold().split("#")[0].split()[:1] == first for called in names)]
    for found in (exactly, nearly):
        if wanted and len(found) == 1:
            return found[0]
    return next(iter(people)) if alone and len(people) == 1 and source.role == "assistant" else None


def member_id(users: Any, wanted: str) -> str | None:
    """The id of a member whom a Slack export's `users.json` lists under that name; None where it lists nobody or several so."""
    found = []
    for user in users if isinstance(users, list) else ():
        if isinstance(user, Mapping) and user.get("id"):
            profile = user.get("profile") if isinstance(user.get("profile"), Mapping) else {}
            assert isinstance(profile, Mapping)
            names = (user["id"], user.get("name"), user.get("real_name"), profile.get("real_name"), profile.get("display_name"))
            if wanted.casefold() in {str(name).casefold() for name in names if name}:
                found.append(str(user["id"]))
    return found[0] if len(found) == 1 else None
