"""What archives, word processors, scanners and libraries put around and between somebody's words."""

from collections.abc import Iterator
from itertools import pairwise
from textwrap import wrap

from tests.intake.case import SENTENCES, Case, prose


def archives() -> Iterator[Case]:
    """Messages of mailing lists as their archives show them: heads, quotations and links are out."""
    parts = prose(800, 24)
    own, quoted = " ".join(parts), "What Berta asked before stands here in many words of hers."
    body = "\n\n".join(
        [f"On Tue, 2 Mar 2021, Berta Holm wrote:\n\n> {quoted}\n> And once more.", *("\n".join(wrap(part, 70)) for part in parts)]
    )
    shown = body.replace(">", "&gt;")
    out = ("Berta", "&gt;", ">", "ann at", "Previous", "sorted", "wrote:", "10:00", "[Harbour]")
    pages = {
        "pipermail": (
            "<HTML><HEAD><TITLE>[Harbour] Lanterns</TITLE></HEAD><BODY><H1>[Harbour] Lanterns</H1><B>Ann Lind</B>"
            "<A HREF='mailto:x'>ann at example.org</A><BR><I>Tue Mar  2 10:00:00 CET 2021</I><P><UL><LI>Previous message: <A HREF='1.html'>"
            "[Harbour] Fog</A></LI><LI> <B>Messages sorted by:</B> <a href='d.html'>[ date ]</a></LI></UL><HR><!--beginarticle-->\n"
            f"<PRE>{shown}\n</PRE>\n<!--endarticle--><HR><UL><LI>Previous message: x</LI></UL></BODY></HTML>"
        ),
        "mhonarc": (
            "<!-- MHonArc v2.6.19 -->\n<!--X-Date: Tue, 2 Mar 2021 10:00:00 &#45;0000 "
            "-->\n<html><body><h1>Lanterns</h1><ul><li>From: ann at example.org"
            f"</li></ul><!--X-Body-of-Message-->\n<pre>{shown}</pre>\n<!--X-Body-of-Message-End-->\n<li>Previous by Date</li></body></html>"
        ),
        "hypermail": (
            '<!-- received="Tue Mar  2" -->\n<!-- sent="Tue, 2 Mar 2021 10:00:00 -0000" '
            "-->\n<html><body><h1>Lanterns</h1><strong>From:</strong> Ann"
            f'\n<!-- body="start" -->\n<pre>{shown}</pre>\n<!-- body="end" -->\n<li>Previous message</li></body></html>'
        ),
    }
    for name, page in pages.items():
        yield Case("archives", name, {"msg.html": page.encode()}, text=own, absent=out, date="2021-03-02")
    head = "From ann at example.org  Tue Mar  2 10:00:00 2021\nFrom: ann at example.org (Ann Lind)\nDate: Tue, 2 Mar 2021 10:00:00 +0100\n"
    head += "Subject: [Harbour] Lanterns\nMessage-ID: <1@example.org>\n\n"
    tail = "\n-------------- next part --------------\nAn HTML attachment was scrubbed...\nURL: <http://example.org/a.html>\n"
    for name, file in (("a month of messages", "2021-March.txt"), ("a month of messages in mbox", "2021-March.mbox")):
        yield Case("archives", name, {file: (head + body + tail).encode()}, text=own, absent=(*out, "scrubbed"), date="2021-03-02")
    yield Case("archives", "a reply pasted as text", {"r.txt": body.encode()}, text=own, absent=out)


def remarks() -> Iterator[Case]:
    """Google Docs' comments in what it exports."""
    parts = prose(810)
    marked = [parts[0].replace(",", "[a],", 1), parts[1], parts[2].replace(".", "[b].", 1)]
    remark = "Remark of a reader that does not belong here"
    text = "\r\n\r\n".join(marked) + f"\r\n[a]{remark}\r\n[b]{remark} either\r\n"
    for file in ("export.txt", "export.md"):
        yield Case("remarks", file, {file: text.encode("utf-8-sig")}, text=" ".join(parts), absent=("Remark", "[a]", "[b]"))
    shown = "".join(f"<p class='c1'><span class='c0'>{part}</span></p>" for part in marked)
    for letter in "ab":
        shown = shown.replace(f"[{letter}]", f"</span><sup><a href='#cmnt{letter}' id='cmnt_ref{letter}'>[{letter}]</a></sup><span>")
        shown += (
            f"<div class='c9'><p class='c1'><a href='#cmnt_ref{letter}' id='cmnt{letter}'>[{letter}]</a><span>{remark}</span></p>"
            f"<p class='c1'><span>{remark} twice</span></p></div>"
        )
    page = f"<html><head><style>.c0{{color:red}}</style></head><body class='c2'>{shown}</body></html>"
    yield Case("remarks", "export.html", {"export.html": page.encode()}, text=" ".join(parts), absent=("Remark", "[a]"))


def scans() -> Iterator[Case]:
    """Books whose pages were scanned: heads and numbers of pages stand between the lines, without a form feed."""
    parts = [paragraph for number in range(820, 840) for paragraph in prose(number, 18)]
    whole = " ".join(parts)
    lines = [line for part in parts for line in [*wrap(part, 62), ""]]
    pages = [lines[start : start + 31] for start in range(0, len(lines), 31)]
    forms = {
        "a head and a number": lambda page, n: [f"{n}   THE HARBOUR" if n % 2 else f"LANTERNS AND FOG   {n}", "", *page, ""],
        "numbers at the foot": lambda page, n: ["", *page, "", f"- {n} -", ""],
        "bare numbers without empty lines": lambda page, n: [*page, str(n)],
        "a head without number": lambda page, n: ["", "THE HARBOUR", "", *page],
        "marks in brackets": lambda page, n: [f"[Pg {n}]{page[0]}", *page[1:]],
    }  # fmt: skip
    for name, form in forms.items():
        text = "\n".join(line for n, page in enumerate(pages, start=17) for line in form(list(page), n))
        yield Case("scans", name, {"scan.txt": text.encode()}, text=whole, absent=("HARBOUR", "FOG", "Pg", " 19 ", "- 20"))
    verses = "\n\n".join(f"{number}\n\n" + "\n\n".join(prose(850 + number, 30)) for number in range(1, 8))
    yield Case(
        "scans",
        "numbers of chapters are headings",
        {"b.txt": verses.encode()},
        also=lambda result: any("7 headings" in note for note in result.notes),
    )
    refrain = "\n\n".join(
        "\n".join([*(sentence[:40].rsplit(" ", 1)[0] for sentence in SENTENCES[n : n + 5]), "AND THE LANTERNS BURN"]) for n in range(9)
    )
    yield Case(
        "scans",
        "a refrain stays",
        {"r.txt": refrain.encode()},
        also=lambda result: "".join(result.texts).count("AND THE LANTERNS BURN") == 9,
    )


def frames() -> Iterator[Case]:
    """Licences and imprints of libraries and sellers."""
    parts = prose(860)
    text = "\n\n".join("\n".join(wrap(part, 70)) for part in parts)
    around = {
        "Project Gutenberg of Australia": (
            "Project Gutenberg Australia\na treasure-trove of literature\n\nTitle: Lanterns\nAuthor: Ann Lind\n* A Project "
            "Gutenberg of Australia eBook *\n"
            "eBook No.: 0100021.txt\nLanguage: English\nDate first posted: August 2001\n\nThis eBook was produced by: A. Volunteer\n\n"
            "Project Gutenberg of Australia eBooks are created from printed editions\nwhich are in the public domain in "
            "Australia, unless a copyright\n"
            "notice is included.\n\nCopyright laws are changing all over the world. Be sure to check the\ncopyright laws for your "
            "country.\n\n"
            "This eBook is made available at no cost and with almost no restrictions\nwhatsoever.\n\n"
            "To contact Project Gutenberg of Australia go to http://gutenberg.net.au\n\n--------------------",
            "This site is full of FREE ebooks - Project Gutenberg Australia",
        ),
        "Smashwords": (
            "Published by Ann Lind at Smashwords\n\nCopyright 2012 Ann Lind\n\nSmashwords Edition, License Notes\n\n"
            "This ebook is licensed for your personal enjoyment only. This ebook may not be re-sold or given away to other people.\n\n"
            "All rights reserved. No part of this publication may be reproduced.\n\nISBN: 978-1-234-56789-7",
            "Discover other titles by Ann Lind at Smashwords.com\n\nConnect with Me Online:\n\nhttps://www.smashwords.com/profile/view/ann",
        ),
        "Standard Ebooks": (
            "Imprint\n\nThis ebook is the product of many hours of hard work by volunteers for Standard Ebooks, and builds on the "
            "hard work of others.\n\n"
            "This particular ebook is based on a transcription from Project Gutenberg and on digital scans from the Internet Archive.\n\n"
            "The source text and artwork in this ebook are believed to be in the United States public domain.",
            "Colophon\n\nLanterns was published in 1901 by Ann Lind. It was transcribed and produced for Standard Ebooks by a "
            "volunteer.\n\n"
            "The cover page is adapted from The Harbour, a painting.\n\nUncopyright\n\nMay you do good and not evil.\n\n"
            "Copyright pages exist to tell you that you can’t do something.",
        ),
        "Wikisource": (
            "Exported from Wikisource on March 2, 2021",
            "This work is in the public domain in the United States because it was published before January 1, 1929.\n\nAbout "
            "this digital edition\n\n"
            "This e-book comes from the online library Wikisource. This multilingual digital library, built by volunteers, is "
            "committed to books.\n\n"
            "We distribute our books for free, starting from works not copyrighted.\n\nThe following users contributed to this book:\n\n",
        ),
        "Google's scans": (
            "This is a digital copy of a book that was preserved for generations on library shelves before it was carefully "
            "scanned by Google.\n\n"
            "Usage guidelines\n\nGoogle is proud to partner with libraries to digitize public domain materials.\n\n"
            "We also ask that you:\n\nAbout Google Book Search\n\nGoogle's mission is to organize the world's information.",
            "Digitized by Google",
        ),
        "Feedbooks": (
            "Copyright: This work is available for countries where copyright is Life+70 and in the USA.\n\n"
            "Note: This book is brought to you by Feedbooks\nhttp://www.feedbooks.com\nStrictly for personal use, do not use this "
            "file for commercial purposes.",
            "",
        ),
    }  # fmt: skip
    out = (
        "Gutenberg",
        "Smashwords",
        "Standard",
        "Wikisource",
        "Google",
        "Feedbooks",
        "ublic domain",
        "opyright",
        "ISBN",
        "Colophon",
        "Author:",
        "---",
    )
    for name, (head, tail) in around.items():
        yield Case("frames", name, {"b.txt": f"{head}\n\n{text}\n\n{tail}\n".encode()}, text=" ".join(parts), absent=out)
    told = f"{text}\n\nShe sold her novel on Smashwords, and all rights were hers. Google knew it, and Wikisource did not.\n"
    yield Case(
        "frames", "an author's own words on libraries stay", {"b.txt": told.encode()}, contains=("She sold her novel on Smashwords",)
    )


def verse() -> Iterator[Case]:
    """Verse of long lines in Markdown keeps them; prose that was cut at a margin does not."""
    lines = [
        "I hear the harbour singing, the varied carols of the ferries I hear, those of the bakers, blithe and strong,",
        "The captain singing his as he searches for his hat, the keeper singing his as he reads to the patient gulls upon the rail,",
        "The teacher singing what belongs to her commas in the drowsy afternoon of the schoolhouse,",
        "Each singing what belongs to nobody else, at night the party of young lanterns, robust, friendly,",
        "Singing with open doors their strong melodious songs of buttons and of apples and of the old horse beneath the tree,",
    ]
    poem = "\n".join(lines)
    yield Case("verse", "long lines", {"p.md": f"# Harbour\n\n{poem}\n\n{poem.replace('harbour', 'orchard')}\n".encode()}, contains=(poem,))
    couplets = "\n\n".join(f"{first}\n{second}" for first, second in pairwise(lines))
    yield Case("verse", "couplets among long lines", {"p.md": f"{poem}\n\n{poem}\n\n{couplets}\n".encode()}, contains=(couplets,))
    parts = prose(880)
    cut = "\n\n".join("\n".join(wrap(part, 96)) for part in parts)
    yield Case("verse", "prose cut at a wide margin", {"p.md": cut.encode()}, text=" ".join(parts), paragraphs=3)
