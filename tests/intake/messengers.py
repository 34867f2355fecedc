"""Chats of messengers: one person's words come out, and nobody's names and times."""

import json
from collections.abc import Iterator
from typing import Any

from tests.intake.case import Case, prose

_OWN = [sentence for number in (700, 701, 702) for part in prose(number, 9) for sentence in part.split(". ")]
_OTHER = "Nothing of what Berta says belongs in here, not a single syllable."


def chats() -> Iterator[Case]:
    """WhatsApp, Telegram, Slack, Discord and IRC, with what programs put between."""
    whole = " ".join(_OWN)
    asked = {"role": "Anna Lind"}
    out = (_OTHER, "Berta", "Anna", "omitted", "10:1", "2021", "joined", "encrypted", "deleted")
    forms = {
        "whatsapp of an iPhone": ("chat.txt", _whatsapp("[{d:02d}/03/2021, 10:{m:02d}:33] {who}: {text}")),
        "whatsapp of Android": ("chat.txt", _whatsapp("{d:02d}/03/21, 10:{m:02d} - {who}: {text}")),
        "whatsapp of Germany": ("chat.txt", _whatsapp("{d:02d}.03.21, 10:{m:02d} - {who}: {text}")),
        "whatsapp of America": ("chat.txt", _whatsapp("3/{d}/21, 10:{m:02d} AM - {who}: {text}")),
        "discord as text": ("chat.txt", _whatsapp("[{d:02d}-Mar-21 10:{m:02d} PM] {who}\n{text}\n", system=False)),
        "irc": ("log.txt", _whatsapp("[10:{m:02d}] <{who}> {text}").replace("Anna Lind", "anna").replace("Berta", "berta")),
        "telegram": ("result.json", json.dumps(_telegram())),
        "slack": ("2021-03-02.json", json.dumps(_slack())),
        "discord": ("general.json", json.dumps(_discord())),
    }
    for name, (file, text) in forms.items():
        reading = {"role": "anna"} if name == "irc" else asked
        date = None if name == "irc" else "2021-03-02"
        yield Case("chats", name, {file: text.encode()}, text=whole, reading=reading, absent=out, date=date)
    crowd = _whatsapp("{d:02d}/03/21, 10:{m:02d} - {who}: {text}")
    yield Case("chats", "nobody is named", {"chat.txt": crowd.encode()}, kept=0, rejected={"unreadable": 1})
    yield Case("chats", "by the author's first name", {"chat.txt": crowd.replace("Anna Lind", "Ann").encode()}, text=whole)


def _turns() -> Iterator[tuple[int, int, str, str]]:
    for number, sentence in enumerate(_OWN):
        yield 2 + number // 20, 10 + number % 40, "Anna Lind", sentence
        if number % 3 == 0:
            yield 2 + number // 20, 10 + number % 40, "Berta", _OTHER


def _whatsapp(form: str, *, system: bool = True) -> str:
    lines = []
    for number, (day, minute, who, text) in enumerate(_turns()):
        if system and number == 0:
            head = form.format(d=day, m=minute, who="\0", text="")
            lines.append(head.partition("\0")[0].replace("<", "* ") + "Messages and calls are end-to-end encrypted.")
        said = text if number % 5 or "<" in form else text.replace(" ", "\n", 1)
        lines.append(form.format(d=day, m=minute, who=who, text=said))
        if system and number % 7 == 0 and "<" not in form:
            lines.append(form.format(d=day, m=minute, who=who, text="<Media omitted>"))
            lines.append(form.format(d=day, m=minute, who=who, text="This message was deleted"))
    return "\n".join(lines) + "\n"


def _telegram() -> dict[str, Any]:
    rows: list[dict[str, Any]] = [{"id": 0, "type": "service", "date": "2021-03-02T09:00:00", "actor": "Berta", "action": "create_group"}]
    for day, minute, who, text in _turns():
        start, _, rest = text.partition(" ")
        rows.append({
            "id": len(rows), "type": "message", "date": f"2021-03-{day:02d}T10:{minute:02d}:00", "from": who, "from_id": f"user{len(who)}",
            "text": [{"type": "bold", "text": start}, f" {rest}"],
        })  # fmt: skip
    rows.append({
        "id": 999, "type": "message", "date": "2021-03-09T10:00:00", "from": "Anna Lind", "from_id": "user9", "forwarded_from": "Berta",
        "text": _OTHER,
    })  # fmt: skip
    return {"name": "Berta", "type": "personal_chat", "id": 1, "messages": rows}


def _slack() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"type": "message", "subtype": "channel_join", "user": "U1", "ts": "1614670000.1", "text": "<@U1> has joined"}
    ]
    for day, minute, who, text in _turns():
        profile = {"real_name": who, "display_name": who.lower().split()[0], "first_name": who.split()[0]}
        rows.append({
            "type": "message", "user": f"U{len(who)}", "ts": f"{1614650400 + 86400 * (day - 2) + 60 * minute}.0002",
            "user_profile": profile,
            "text": f"<@U77> {text} :smile:",
        })  # fmt: skip
    return rows


def _discord() -> dict[str, Any]:
    rows = [
        {
            "id": str(number), "type": "Default", "timestamp": f"2021-03-{day:02d}T10:{minute:02d}:00+00:00",
            "content": f"{text} <:wave:12345>",
            "author": {"id": str(len(who)), "name": who.lower().split()[0], "nickname": who, "isBot": False},
        }
        for number, (day, minute, who, text) in enumerate(_turns())
    ]  # fmt: skip
    return {"guild": {"name": "Harbour"}, "channel": {"name": "general"}, "messages": rows, "messageCount": len(rows)}
