"""Files that few people have, and somebody has: saved pages, outlines, LaTeX, FictionBooks, subtitles, archives of posts."""

import json
from collections.abc import Iterator
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

from tests.intake.case import Case, prose

_VERSE = "Over the hill\nA lantern swings\nAnd somebody sings\nOf harbour things"


def others() -> Iterator[Case]:
    """Each with the marks of its kind, which stay out."""
    parts = prose(720)
    whole = " ".join(parts)
    for kind, name, text, said in (
        ("org", "o.org", _org(parts), f"Of harbours {whole} {_VERSE}"),
        ("asciidoc", "a.adoc", _asciidoc(parts), f"Of harbours The first day {whole} {_VERSE}"),
        ("latex", "t.tex", _tex(parts), f"Of harbours {whole} {_VERSE}"),
        ("fictionbook", "b.fb2", _fb2(parts), f"Of harbours {whole} {_VERSE}"),
    ):
        yield Case(
            "others",
            kind,
            {name: text.encode()},
            text=said,
            contains=(_VERSE,),
            absent=("Left out", "*", "\\", "{", "[", "1]", "|", "/quiet/", "=="),
        )
    page = MIMEMultipart("related")
    page["Subject"], page["Date"] = "Of harbours", "Tue, 02 Mar 2021 10:00:00 +0000"
    page.attach(
        MIMEText(
            "<html><body><nav>Left out</nav><h1>Of harbours</h1>" + "".join(f"<p>{part}</p>" for part in parts) + "</body></html>",
            "html",
            "utf-8",
        )
    )
    page.attach(MIMEText("body { color: red }", "css"))
    yield Case("others", "a saved page", {"p.mht": page.as_bytes()}, text=f"Of harbours {whole}", absent=("Left out", "color"))
    sentences = [f"{sentence.rstrip('.')}." for part in parts for sentence in part.split(". ")]
    yield Case("others", "subtitles", {"s.srt": _srt(sentences).encode()}, text=whole, absent=("-->", "ANNA", "<i>", "howling"))
    yield Case("others", "captions", {"s.vtt": _vtt(sentences).encode()}, text=whole, absent=("-->", "WEBVTT", "<c>", "align"))
    posts = [
        {"tweet": {"id": "1", "full_text": f"{part} https://t.co/x{number}", "created_at": "Tue Mar 02 10:00:00 +0000 2021"}}
        for number, part in enumerate(parts)
    ]
    posts.append({"tweet": {"id": "2", "full_text": f"RT @berta: {parts[0]}", "created_at": "Tue Mar 02 10:00:00 +0000 2021"}})
    archive = "window.YTD.tweets.part0 = " + json.dumps(posts)
    yield Case(
        "others",
        "an archive of posts",
        {"tweets.js": archive.encode()},
        kept=3,
        rejected={"unreadable": 1},
        date="2021-03-02",
        absent=("RT",),
    )


def _org(parts: list[str]) -> str:
    return (
        "#+TITLE: Left out\n#+DATE: <2021-03-02 Tue>\n\n* TODO Of harbours :tag:\n:PROPERTIES:\n:ID: Left out\n:END:\n"
        f"SCHEDULED: <2021-03-02 Tue>\n\n{parts[0]}[fn:1]\n\n#+BEGIN_SRC python\nprint('Left out')\n#+END_SRC\n\n# Left out\n"
        f"#+BEGIN_QUOTE\n{parts[1].replace('captain', '/captain/').replace('fog', '[[http://x.org][fog]]')}\n#+END_QUOTE\n\n"
        f"| Left out | 2 |\n\n{parts[2]}\n\n#+BEGIN_VERSE\n{_VERSE}\n#+END_VERSE\n"
    )


def _asciidoc(parts: list[str]) -> str:
    return (
        "= Of harbours\nAnn Writer <left@example.org>\n:toc:\n:note: Left out\n\n// Left out\n////\nLeft out\n////\n== The first day\n\n"
        f"{parts[0].replace('captain', '*captain*')}\n\n----\nLeft out\n----\n\n.A title\n[source,python]\n----\nLeft out\n----\n\n"
        f"{parts[1].replace('fog', 'https://example.org[fog]')}\n\n|===\n|Left out |2\n|===\n\nimage::harbour.png[Left out]\n\n"
        f"{parts[2].replace('train', '_train_')}\n\n[verse, Ann]\n____\n{_VERSE}\n____\n"
    )


def _tex(parts: list[str]) -> str:
    verse, slash = _VERSE.replace("\n", "\\\\\n"), "\\"
    return (
        "\\documentclass[12pt]{book}\n\\usepackage{verse}\n\\title{Left out}\n\\begin{document}\n\\maketitle\n% Left out\n"
        f"\\chapter*{{Of harbours}}\\label{{Left out}}\n\n{parts[0].replace('captain', slash + 'emph{captain}')}"
        f"\\footnote{{Left out \\emph{{too}}.}}\n\n"
        f"{parts[1].replace('fog', slash + 'textbf{fog}~')}\n\\begin{{equation}}\nLeft = out\n\\end{{equation}}\n\n"
        f"{parts[2]} % Left out\n\n\\begin{{verse}}\n{verse}\n\\end{{verse}}\n"
        "\\includegraphics[width=3cm]{Left out}\n\\end{document}\nLeft out\n"
    )


def _fb2(parts: list[str]) -> str:
    first = f"<p>{parts[0]}<a l:href='#n1' type='note'>[1]</a></p>"
    lines = "".join(f"<v>{line}</v>" for line in _VERSE.split("\n"))
    return (
        "<?xml version='1.0' encoding='UTF-8'?>\n<FictionBook xmlns='http://www.gribuser.ru/xml/fictionbook/2.0' "
        "xmlns:l='http://www.w3.org/1999/xlink'><description><title-info>"
        "<annotation><p>Left out</p></annotation></title-info></description>"
        f"<body><section><title><p>Of harbours</p></title>{first}<p>{parts[1]}</p><empty-line/><p>{parts[2]}</p>"
        f"<poem><stanza>{lines}</stanza></poem></section></body><body name='notes'><section id='n1'><p>Left out</p></section></body>"
        "<binary id='c.jpg'>Left out</binary></FictionBook>"
    )


def _srt(sentences: list[str]) -> str:
    cues = []
    for number, sentence in enumerate(sentences, start=1):
        half = sentence.find(" ", len(sentence) // 2)
        speaker = "ANNA: " if number == 3 else ""
        cues.append(
            f"{number}\n00:00:{2 * number:02d},000 --> 00:00:{2 * number + 1:02d},900\n"
            f"<i>{speaker}{sentence[:half]}</i>\n{sentence[half + 1 :]}\n"
        )
    cues.insert(2, "90\n00:00:05,950 --> 00:00:05,990\n[wind howling]\n")
    return "\r\n".join("\n".join(cues).split("\n"))


def _vtt(sentences: list[str]) -> str:
    """As programs caption: each cue repeats the line before while it rolls."""
    cues, before = [], ""
    for number, sentence in enumerate(sentences, start=1):
        cues.append(
            f"00:{2 * number:02d}.000 --> 00:{2 * number + 1:02d}.900 align:start position:0%\n{before}\n<c>{sentence}</c>\n".replace(
                "\n\n", "\n"
            )
        )
        before = sentence
    return "WEBVTT\nKind: captions\n\n" + "\n".join(cues)
