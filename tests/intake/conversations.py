"""Conversations with a model and answers of servers, tables that other programs write, pages of forums, notes of more dialects."""

import io
import json
from collections.abc import Iterator
from typing import Any

from tests.intake.case import Case, prose


def _line(number: int, make: Any) -> tuple[str, bytes]:
    """A paragraph of prose and one row of JSONL that holds it."""
    text = prose(number)[0]
    return text, json.dumps(make(text)).encode()


def conversations() -> Iterator[Case]:
    """What is said by a model, whatever stands around it: tools, thoughts, other answers, trees of replies."""
    asked = {"role": "user", "content": "Tell me of the sea."}
    forms: dict[str, Any] = {
        "tools": lambda text: {"messages": [
            asked, {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "search", "arguments": "{}"}}]},
            {"role": "tool", "content": "what the tool returned"}, {"role": "assistant", "content": text}]},
        "parts": lambda text: {"messages": [asked, {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "a thought"}, {"type": "reasoning", "text": "more of a thought"},
            {"type": "text", "text": text},
            {"type": "tool_use", "name": "search", "input": {"text": "a query"}}, {"type": "tool_result", "text": "a result"}]}]},
        "thought aloud": lambda text: {"messages": [asked, {"role": "assistant", "content": f"<think>\nso they ask\n</think>\n\n{text}"}]},
        "thought without its begin": lambda text: {"messages": [
            asked, {"role": "assistant", "content": f"so they ask\n</think>\n\n{text}"}]},
        "thought in a column": lambda text: {"prompt": "The sea?", "response": f"<think>so they ask</think>{text}"},
        "output of a server": lambda text: {"id": "r", "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}]},
        "a line of a batch": lambda text: {"custom_id": "1", "response": {"status_code": 200, "body": {
            "choices": [{"message": {"role": "assistant", "content": text}}]}}},
        "choices": lambda text: {"choices": [{"index": 0, "text": text}]},
        "completion of turns": lambda text: {"prompt": [asked], "completion": [{"role": "assistant", "content": text}]},
        "a tree of replies": lambda text: {"prompt": {"role": "prompter", "text": "", "replies": [{"role": "assistant", "text": text}]}},
        "parts of contents": lambda text: {"contents": [
            {"role": "user", "parts": [{"text": "The sea?"}]}, {"role": "model", "parts": [{"text": text}]}]},
    }  # fmt: skip
    for place, (name, make) in enumerate(forms.items()):
        text, row = _line(700 + place, make)
        yield Case("chats", name, {"a.jsonl": row}, text=text, kept=1)
    for place, write in enumerate((json.dumps, repr)):
        text = prose(720 + place)[0]
        cell = write([asked, {"role": "assistant", "content": text}]).replace('"', '""')
        yield Case("chats", f"turns in a cell, {write.__name__}", {"a.csv": f'id,messages\n1,"{cell}"\n'.encode()}, text=text, kept=1)


def named() -> Iterator[Case]:
    """What looks like a program's mark, and is what somebody wrote."""
    parts = prose(830)
    answer = f"{parts[0]} The tag </think> ends what such a model thinks. {parts[1]}"
    row = json.dumps({"messages": [{"role": "user", "content": "How?"}, {"role": "assistant", "content": answer}]}).encode()
    yield Case("chats", "an answer that names a tag", {"a.jsonl": row}, contains=(answer,))
    for said in ("We shall [meet me @noon tomorrow] there.", "Of 2^3^4 and a~b~c, 2^3^4^5.", "So [@anna said it] was."):
        text = f"# Fog\n\n{parts[0]}\n\n{said} {parts[1]}\n"
        yield Case("markdown", f"kept: {said}", {"a.md": text.encode()}, contains=(said,))
    told = "It [see @a; @b] is [cf. @c p. 3] so [text; @d, 4] and [see also @e99, pp. 33-35; also @f04, chap. 1] C~6~H~12~O~6~ of log~2~ n."
    yield Case("markdown", "citations of all forms", {"a.md": f"# Fog\n\n{parts[0]}\n\n{told} {parts[1]}\n".encode()},
               contains=("It is so and C6H12O6 of log2 n.",))  # fmt: skip


def beside() -> Iterator[Case]:
    """Texts beside which a list stands whose name or form is that of a conversation too: answers of a quiz, contents, comments."""
    forms: dict[str, dict[str, Any]] = {
        "answers of a quiz": {"choices": [{"text": "Yes"}, {"text": "No"}]},
        "answers of a quiz, counted": {"choices": [{"index": 0, "text": "Yes"}]},
        "a table of contents": {"title": "Sea", "contents": [{"title": "I", "page": 1}]},
        "a thread": {"thread": [{"id": 1}]}, "comments": {"thread": [{"author": "Bob", "text": "A fine piece."}]},
        "links to answers": {"response": [{"id": 3}]}, "messages of others": {"messages": [{"author": "Bob", "text": "Well said."}]},
        "numbers of messages": {"messages": [{"id": 7}]},
        "a map": {"mapping": {"harbour": "Old Harbour"}}, "an output": {"output": [{"path": "a.png"}]},
    }  # fmt: skip
    for place, (name, other) in enumerate(forms.items()):
        for column in ("body", "content"):
            text, row = _line(800 + place, lambda text, column=column, other=other: other | {column: text})
            yield Case("rows", f"{name} beside {column}", {"a.jsonl": row}, text=text, kept=1)
    for place, shape in enumerate((lambda text: {"rendered": text}, lambda text: [text])):
        text, row = _line(830 + place, lambda text, shape=shape: {"content": shape(text), "messages": [{"id": 7}], "thread": [{"id": 1}]})
        yield Case("rows", f"numbers of messages beside a text of another shape, {place}", {"a.jsonl": row}, text=text, kept=1)
    text, row = _line(820, lambda text: {
        "description": "Ten turns of a conversation about the harbour and its ferries.",
        "messages": [{"role": "user", "content": "The sea?"}, {"role": "assistant", "content": text}]})  # fmt: skip
    yield Case("chats", "a conversation with a description", {"a.jsonl": row}, text=text, kept=1)
    text, row = _line(821, lambda text: {"completion": json.dumps([{"role": "assistant", "content": text}])})
    yield Case("chats", "turns in a text's column", {"a.jsonl": row}, text=text, kept=1)


def tables() -> Iterator[Case]:
    """Rows whose texts stand in objects, lists, bytes, or behind a quote that nothing closes."""
    parts = prose(730)
    rendered = {"id": 1, "title": {"rendered": "Sea"}, "content": {"rendered": "".join(f"<p>{part}</p>" for part in parts)}}
    yield Case("rows", "rendered", {"a.json": json.dumps([rendered | {"date": "2019-05-03T10:00:00"}]).encode()}, text="\n\n".join(parts),
               date="2019-05-03")  # fmt: skip
    book = {"title": "Sea", "chapters": [{"title": str(number), "paragraphs": prose(number)} for number in (731, 732)]}
    yield Case("rows", "paragraphs of chapters", {"a.json": json.dumps(book).encode()}, kept=2, contains=(prose(732)[2],))
    verse = ["The gulls went out at morning,", "The gulls came home at night,", "And nobody on the harbour wall", "Could tell us which."]
    poem = json.dumps([{"title": "Gulls", "author": "Ann", "lines": verse}]).encode()
    yield Case("rows", "lines of a poem", {"a.json": poem}, contains=("\n".join(verse),))
    quoted = "".join(f"{number}\t{chr(34) * (number == 2)}{prose(740 + number)[0]}\n" for number in range(1, 6))
    yield Case("rows", "a quote in TSV", {"a.tsv": f"id\ttext\n{quoted}".encode()}, kept=5)
    yield Case("rows", "bytes in Parquet", {"a.parquet": _parquet([part.encode() for part in prose(750)])}, kept=3)
    yield Case("encodings", "padded with NUL", {"a.txt": "\n\n".join(prose(751)).encode() + b"\0" * 200}, text="\n\n".join(prose(751)))


def _parquet(texts: list[bytes]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": pa.array(texts, pa.binary())}), buffer)
    return buffer.getvalue()


def pages() -> Iterator[Case]:
    """Pages of forums and encyclopedias, banners, and marks that lead back from notes."""
    posts = "".join(
        "<div class='post'><div class='postprofile'><a href='/u'>user</a><br>Posts: 120</div>"
        f"<div class='postbody'>{'<br><br>'.join(prose(n))}</div>"
        "<div class='signature'>Better a quiet harbour than a loud one.</div></div>" for n in (760, 761, 762)
    )  # fmt: skip
    yield Case("html", "a forum", {"a.html": f"<html><body>{posts}</body></html>".encode()}, absent=("Posts: 120", "quiet harbour"),
               text="\n\n".join(part for n in (760, 761, 762) for part in prose(n)))  # fmt: skip
    first, second, third = prose(763)
    article = (
        "<div id='siteNotice'>Donate now, please.</div><h1>Fog</h1><div id='siteSub'>From an encyclopedia</div>"
        f"<div class='mw-parser-output'><p>{first}</p><h2>History<span class='mw-editsection'>[edit]</span></h2>"
        f"<p>{second}<sup class='reference'>[1]</sup></p><div "
        "class='reflist'><ol class='references'><li><span>^</span> Smith, J. (2001). Fogs of the north. Sea Press.</li></ol></div></div>"
    )
    yield Case("html", "an encyclopedia", {"a.html": f"<html><body>{article}</body></html>".encode()}, text=f"Fog History {first} {second}")
    notes = f"<p>{first}<sup><a href='#f'>1</a></sup></p><ol><li id='f'>{third} <a href='#r'>↩︎</a></li></ol>"
    yield Case("html", "a way back from a note", {"a.html": f"<html><body>{notes}</body></html>".encode()}, text=f"{first} {third}",
               absent=("↩",))  # fmt: skip
    banner = "<div id='onetrust-banner-sdk'><h2>Your privacy</h2><p>We and our partners use cookies to show advertising.</p></div>"
    yield Case("html", "a banner by name", {"a.html": f"<html><body>{banner}<p>{first}</p><p>{second}</p></body></html>".encode()},
               text=f"{first} {second}")  # fmt: skip


def notes() -> Iterator[Case]:
    """Citations and spans of Pandoc, fields under a title, contents."""
    first, second, third = prose(770)
    pandoc = (
        f"# Fog\n\n{first} As said [@smith2000, p. 3], so it ended [-@doe].\n\n[Small words]{{.smallcaps}} of H~2~O and x^2^.\n\n{second}\n"
    )
    yield Case("markdown", "Pandoc", {"a.md": pandoc.encode()}, contains=(first, "As said, so it ended.", "Small words of H2O and x2."),
               absent=("@", "{", "~"))  # fmt: skip
    exported = f"# Fog\n\nCreated: March 3, 2021 10:11 AM\nTags: sea, fog\nStatus: Done\n\n{first}\n\n{second}\n"
    yield Case("markdown", "fields under a title", {"a.md": exported.encode()}, text=f"Fog {first} {second}")
    play = f"# Fog\n\nAnna: {first}\nBerta: {second}\n\n{third}\n"
    yield Case("markdown", "speakers under a title", {"a.md": play.encode()}, contains=(first, second))
    contents = f"[TOC]\n\n[[_TOC_]]\n\n## One\n\n{first}\n\n## Two\n\n{second}\n"
    yield Case("markdown", "contents", {"a.md": contents.encode()}, text=f"One {first} Two {second}")


def sheets() -> Iterator[Case]:
    """Addresses in wrapped letters, sentences over a form feed, letters as typesetters leave them."""
    from textwrap import fill

    parts = prose(780)
    letter = "14 High Street,\nOld Harbour,\n3 May 1890.\n\nMy dear Anna,\n\n" + "\n\n".join(fill(part, 70) for part in parts)
    yield Case("structure", "an address above wrapped lines", {"a.txt": letter.encode()}, contains=("Street,\nOld Harbour,\n3 May", *parts))
    words = " ".join(part for number in range(781, 784) for part in prose(number))
    lines = fill(words, 64).split("\n")
    paged = "\f".join("\n".join(lines[at : at + 12]) + f"\n\nPage {at // 12 + 1} of 9\n" for at in range(0, len(lines), 12))
    yield Case("boilerplate", "a sentence over a form feed", {"a.txt": paged.encode()}, text=words, paragraphs=1, absent=("Page 2",))
    typeset = f"{parts[0]}\n\n\uf0b7 The ﬁrst ﬂoor of the oﬃce\n\uf0b7 The second one\n\n{parts[1]}"
    chapters = "\f".join((lines[0], "Chapter 2", " ".join(lines[1:3]), "", " ".join(lines[3:5])))
    yield Case("boilerplate", "a heading that has its page", {"a.txt": chapters.encode()},
               contains=(lines[0], " ".join(" ".join(lines[1:5]).split())), paragraphs=3)  # fmt: skip
    yield Case(
        "scripts", "ligatures and a symbol font's bullets", {"a.txt": typeset.encode()}, contains=("• The first floor of the office",)
    )
