"""Files of word processors, tables, chats and mail."""

import csv
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

from tests.intake.case import Case, prose

_TEXTS = [" ".join(prose(number)) for number in range(60, 72)]


def _docx(paragraphs: list[str]) -> bytes:
    import docx

    document, out = docx.Document(), io.BytesIO()
    document.add_heading("Of harbours", 0)
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    document.save(out)
    return out.getvalue()


def _odt(paragraphs: list[str]) -> bytes:
    from odfdo import Document, Header, Paragraph

    document: Any = Document("text")
    document.body.clear()
    document.body.append(Header(1, "Of harbours"))
    for paragraph in paragraphs:
        document.body.append(Paragraph(paragraph))
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def _rtf(paragraphs: list[str]) -> bytes:
    body = "\\par\n".join(["\\b Of harbours\\b0", *paragraphs]).replace("é", "\\'e9")
    return ("{\\rtf1\\ansi\\ansicpg1252\\deff0{\\fonttbl{\\f0 Times New Roman;}}\n" + body + "\\par}").encode("latin-1")


def _epub(chapters: list[str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr(
            "META-INF/container.xml",
            "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles><rootfile full-path='OEBPS/book.opf'/>"
            "</rootfiles></container>",
        )
        items = "".join(
            f"<item id='c{n}' href='z{len(chapters) - n}.xhtml' media-type='application/xhtml+xml'/>" for n in range(len(chapters))
        )
        spine = "".join(f"<itemref idref='c{n}'/>" for n in range(len(chapters)))
        archive.writestr(
            "OEBPS/book.opf", f"<package xmlns='http://www.idpf.org/2007/opf'><manifest>{items}</manifest><spine>{spine}</spine></package>"
        )
        for number, chapter in enumerate(chapters):
            title = "" if number else "<h1>Of harbours</h1>"
            page = f"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head><title/></head><body>{title}<p>{chapter}</p></body></html>"
            archive.writestr(f"OEBPS/z{len(chapters) - number}.xhtml", page)
    return out.getvalue()


def _pdf(lines: list[str]) -> bytes:
    """One page in Courier, a line each; written by hand so that no writer of PDF is needed."""
    shown = "".join(f"({line}) Tj T*\n" for line in lines)
    stream = f"BT /F1 10 Tf 12 TL 40 780 Td\n{shown}ET".encode("latin-1")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream), b"<< /Type /Font /Subtype /Type1 /BaseFont /Courier >>",
    ]  # fmt: skip
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    return bytes(out)


def _csv(rows: list[dict[str, str]], delimiter: str = ",") -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _parquet(texts: list[str | None]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), out)
    return bytes(out.getvalue())


def office() -> Iterator[Case]:
    """What a writer really has."""
    parts = prose(50)
    whole = " ".join(["Of harbours", *parts])
    for kind, data in (("docx", _docx(parts)), ("odt", _odt(parts)), ("rtf", _rtf(parts)), ("epub", _epub(parts))):
        yield Case("formats", kind, {f"essay.{kind}": data}, text=whole, contains=("Of harbours\n\n",), paragraphs=4, kept=1)
        yield Case("formats", f"{kind} named as text", {"essay.txt": data}, text=whole, kept=1)
    from textwrap import wrap

    yield from _manuscripts()
    whole = " ".join(parts)
    lines = [line for part in parts for line in wrap(part, 80)]
    yield Case("formats", "pdf", {"essay.pdf": _pdf(lines)}, text=whole, kept=1)
    bad = {"scan.pdf": b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF", "cut.docx": _docx(parts)[:400], "cut.epub": _epub(parts)[:200]}
    yield Case("formats", "damaged ones beside a good one", {**bad, "good.txt": whole.encode()}, kept=1, rejected={"unreadable": 3})
    yield Case(
        "formats",
        "an old word file",
        {"a.txt": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "g.txt": whole.encode()},
        kept=1,
        rejected={"unreadable": 1},
    )


def _manuscripts() -> Iterator[Case]:
    """What hides from a library's idea of a paragraph: tracked changes, content controls, text boxes, tables that lay out."""
    import docx
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls
    from odfdo import Document, Element, Paragraph

    parts, others = prose(51), prose(52)
    document, out = docx.Document(), io.BytesIO()
    for paragraph in parts:
        document.add_paragraph(paragraph)
    names = nsdecls("w", "wp", "a") + (
        ' xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
        ' xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" xmlns:v="urn:schemas-microsoft-com:vml"'
    )
    box = f"<w:txbxContent><w:p><w:r><w:t>{others[0]}</w:t></w:r></w:p></w:txbxContent>"
    for xml in (
        '<w:ins w:id="1" w:author="A"><w:r><w:t xml:space="preserve"> Inserted words stand.</w:t></w:r></w:ins>',
        '<w:del w:id="2" w:author="A"><w:r><w:delText> Deleted words.</w:delText></w:r></w:del>',
        '<w:smartTag w:element="place"><w:r><w:t xml:space="preserve"> In Lisbon.</w:t></w:r></w:smartTag>',
        '<w:r><w:footnoteReference w:id="1"/></w:r>',
        f"<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:txbx>{box}</wps:txbx></w:drawing></mc:Choice>"
        f"<mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>",
    ):
        document.paragraphs[0]._p.append(
            parse_xml(xml.replace(">", f" {names}>", 1) if "/>" not in xml[:60] else xml.replace("<w:r>", f"<w:r {names}>"))
        )
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = others[1], "12"
    document.save(out)
    whole = f"{parts[0]} Inserted words stand. In Lisbon. {others[0]} {parts[1]} {parts[2]} {others[1]}"
    yield Case("formats", "docx with changes, a box and a table", {"a.docx": out.getvalue()}, text=whole, paragraphs=5, absent=("Deleted",))

    written: Any = Document("text")
    written.body.clear()
    table_row = f"<table:table-row><table:table-cell><text:p>{others[1]}</text:p></table:table-cell></table:table-row>"
    for xml in (
        "<text:tracked-changes><text:changed-region text:id='c'><text:deletion><text:p>Deleted words stand here.</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes>",
        f"<table:table table:name='t'>{table_row}</table:table>",
        f"<text:p>An anchor.<draw:frame><draw:text-box><text:p>{others[0]}</text:p></draw:text-box></draw:frame></text:p>",
        "<text:p>A line<text:note text:id='n' text:note-class='footnote'><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>A note.</text:p></text:note-body></text:note> goes<text:s/>on.</text:p>",
    ):
        written.body.append(Element.from_tag(xml))
    for paragraph in parts:
        written.body.append(Paragraph(paragraph))
    out = io.BytesIO()
    written.save(out)
    whole = " ".join([others[1], "An anchor.", others[0], "A line goes on.", *parts])
    yield Case(
        "formats", "odt with changes, a box and a table", {"a.odt": out.getvalue()}, text=whole, paragraphs=7, absent=("Deleted", "note")
    )


def rows() -> Iterator[Case]:
    """Tables and lists of texts; one bad row refuses nothing."""
    lines = [json.dumps({"text": text}) for text in _TEXTS]

    def jsonl(name: str, text: str, **asked: Any) -> Case:
        return Case("rows", name, {"rows.jsonl": text.encode()}, **asked)

    yield jsonl("jsonl", "\n".join(lines), kept=12)
    yield jsonl("content for text", "\n".join(json.dumps({"id": n, "content": text}) for n, text in enumerate(_TEXTS)), kept=12)
    yield jsonl(
        "a column by name", "\n".join(json.dumps({"x": text, "text": "no"}) for text in _TEXTS), kept=12, reading={"text_column": "x"}
    )
    yield jsonl(
        "null, a blank line and a comma",
        "\n".join([*lines[:5], '{"text": null}', "", lines[5] + ",", *lines[6:]]),
        kept=12,
        rejected={"unreadable": 1},
    )
    yield jsonl("a row that is no json", "\n".join([*lines, "not json", "[1]"]), kept=12, rejected={"unreadable": 2})
    yield jsonl(
        "half an emoji",
        "\n".join([*lines, '{"text": "half an emoji \\ud83d stands in this row of text"}']),
        kept=12,
        rejected={"unreadable": 1},
    )
    turns = [{"messages": [{"role": "user", "content": "Write."}, {"role": "assistant", "content": text}]} for text in _TEXTS]
    yield jsonl("chats", "\n".join(map(json.dumps, turns)), kept=12, absent=("Write.",))
    asked = [{"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "Thanks."}]} for text in _TEXTS]
    yield jsonl("chats by role", "\n".join(map(json.dumps, asked)), kept=12, reading={"role": "user"}, absent=("Thanks.",))
    shared = [{"conversations": [{"from": "human", "value": "Write."}, {"from": "gpt", "value": text}]} for text in _TEXTS]
    yield jsonl("chats of another form", "\n".join(map(json.dumps, shared)), kept=12, absent=("Write.",))
    parts = [{"messages": [{"role": "assistant", "content": [{"type": "text", "text": text}]}]} for text in _TEXTS]
    yield jsonl("chats in parts", "\n".join(map(json.dumps, parts)), kept=12)
    bare = [[{"role": "user", "content": "Write."}, {"role": "assistant", "content": text}] for text in _TEXTS]
    yield Case("rows", "chats without a key", {"rows.json": json.dumps(bare).encode()}, kept=12, absent=("Write.",))
    yield Case("rows", "one chat", {"rows.json": json.dumps(bare[0]).encode()}, kept=1, absent=("Write.",))
    trees = [
        {
            "mapping": {
                "a": {"message": None, "parent": None},
                "b": {"message": {"author": {"role": "user"}, "content": {"parts": ["Write."]}}, "parent": "a"},
                "c": {"message": {"author": {"role": "assistant"}, "content": {"parts": [text]}}, "parent": "b"},
            }
        }
        for text in _TEXTS
    ]
    yield Case("rows", "exported chats in trees", {"conversations.json": json.dumps(trees).encode()}, kept=12, absent=("Write.",))
    yield jsonl("the first column is empty", "\n".join(json.dumps({"text": "", "content": text}) for text in _TEXTS), kept=12)
    yield jsonl("an inner column", "\n".join(json.dumps({"a": {"b": text}}) for text in _TEXTS), kept=12, reading={"text_column": "a.b"})
    yield Case("rows", "csv of one column", {"rows.csv": _csv([{"essays": text} for text in _TEXTS])}, kept=12)
    dates: dict[str, Any] = {
        "iso": "2021-03-04", "seconds": 1614816000, "milliseconds": "1614816000000", "of mail": "Thu, 04 Mar 2021 10:00:00 +0000",
        "with a space": "2021-03-04 10:00:00", "american": "March 4, 2021",
    }  # fmt: skip
    for name, date in dates.items():
        yield jsonl(f"date {name}", json.dumps({"text": _TEXTS[0], "date": date}), kept=1, date="2021-03-04")
    yield jsonl("date of a month", json.dumps({"text": _TEXTS[0], "date": "2021-03"}), kept=1, date="2021-03")
    yield jsonl("no date", json.dumps({"text": _TEXTS[0], "date": "N/A"}), kept=1, also=lambda result: result.dates == [None])
    yield Case("rows", "ndjson", {"rows.ndjson": "\r\n".join(lines).encode()}, kept=12)
    yield Case("rows", "json list", {"rows.json": json.dumps([{"body": text} for text in _TEXTS]).encode()}, kept=12)
    yield Case(
        "rows",
        "json list under a key",
        {"rows.json": json.dumps({"version": 1, "data": [{"text": text} for text in _TEXTS]}).encode()},
        kept=12,
    )
    yield Case(
        "rows",
        "csv",
        {"rows.csv": _csv([{"id": str(n), "text": text, "day": "2021-03-04"} for n, text in enumerate(_TEXTS)])},
        kept=12,
        date="2021-03-04",
        reading={"date_column": "day"},
    )
    yield Case("rows", "csv with semicolons", {"rows.csv": _csv([{"id": "1", "content": text} for text in _TEXTS], ";")}, kept=12)
    yield Case(
        "rows",
        "csv in windows-1252",
        {"rows.csv": _csv([{"text": f"{text} Café – “naïve”."} for text in _TEXTS]).decode().encode("cp1252")},
        kept=12,
        contains=("Café – “naïve”",),
    )
    yield Case("rows", "tsv", {"rows.tsv": _csv([{"id": "1", "text": text} for text in _TEXTS], "\t")}, kept=12)
    yield Case("rows", "parquet with a null", {"rows.parquet": _parquet([*_TEXTS, None])}, kept=12, rejected={"unreadable": 1})
    mails = "".join(
        "From ann@example.org Mon Mar  1 10:00:00 2021\nFrom: Ann <ann@example.org>\nDate: Mon, 01 Mar 2021 10:00:00 +0000\n"
        f"Subject: s\n\n{text}\n\n"
        for text in _TEXTS
    )  # fmt: skip
    yield Case("rows", "mbox", {"mail.mbox": mails.encode()}, kept=12, date="2021-03-01")
    two = mails + "".join(
        "From bob@example.org Tue Mar  2 10:00:00 2021\nFrom: Bob Reed <bob@example.org>\nDate: Tue, 02 Mar 2021 10:00:00 +0000\n"
        f"Subject: s\n\n{text.upper()}\n\n"
        for text in _TEXTS[:4]
    )  # fmt: skip
    for role in ("Ann", "ANN@example.org"):
        yield Case(
            "rows", f"mbox of two, by {role}", {"mail.mbox": two.encode()}, kept=12, rejected={"unreadable": 4}, reading={"role": role}
        )
    yield Case("rows", "mbox of two, by nobody", {"mail.mbox": mails.encode()}, kept=12, reading={"role": "user"})
    yield from _mail()


def _mail() -> Iterator[Case]:
    """Messages as programs send them: coded parts, HTML alone, a first word that an mbox has to hide."""
    from email.message import EmailMessage

    def box(name: str, put: Callable[[EmailMessage, str], None], **asked: Any) -> Case:
        out = b""
        for text in _TEXTS:
            message = EmailMessage()
            message["From"], message["Date"] = "Ann <ann@example.org>", "Mon, 01 Mar 2021 10:00:00 +0000"
            put(message, text)
            out += b"From ann@example.org Mon Mar  1 10:00:00 2021\n" + message.as_bytes().replace(b"\nFrom ", b"\n>From ") + b"\n\n"
        return Case("rows", name, {"mail.mbox": out}, kept=12, date="2021-03-01", **asked)

    yield box("mbox in base64", lambda message, text: message.set_content(f"{text} Café.", cte="base64"), contains=("Café.",))
    yield box(
        "mbox in quoted-printable latin-1",
        lambda message, text: message.set_content(f"{text} Café.", charset="iso-8859-1", cte="quoted-printable"),
        contains=("Café.",),
    )
    yield box(
        "mbox of html only",
        lambda message, text: message.set_content(
            f"<p>{text}</p><blockquote type=cite><p>Never seen here.</p></blockquote>", subtype="html", cte="quoted-printable"
        ),
        absent=("Never",),
    )
    yield box("mbox with From", lambda message, text: message.set_content(f"From here we walked on. {text}"), contains=("From here we",))
