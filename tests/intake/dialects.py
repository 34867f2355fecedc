"""Pages as blogs, forums and programs write them, and the dialects of Markdown and reStructuredText."""

from collections.abc import Iterator
from itertools import count

from tests.intake.case import Case, prose

_NUMBERS = count(400)
_VERSE = "over the hill\na lantern swings\nand somebody sings\nof harbour things"


def _case(kind: str, name: str, file: str, make: str, *, before: str = "", behind: str = "", **asked: object) -> Case:
    """A file from a form with {0}, {1} and {2} for its paragraphs; `before` and `behind` are the other words that a reader sees."""
    parts = prose(next(_NUMBERS))
    for place, part in enumerate(parts):
        make = make.replace(f"{{{place}}}", part)
    wanted: dict[str, object] = {"text": " ".join(filter(None, [before, *parts, behind])), "kept": 1} | asked
    return Case(kind, name, {file: make.encode()}, **wanted)  # type: ignore[arg-type]


def pages() -> Iterator[Case]:
    """What stands around a text on the web, and what only looks as if it did."""
    body = "<p>{0}</p><p>{1}</p><p>{2}</p>"
    comments = "".join(
        f"<p>Reader {number} thinks that this is a lovely piece and thanks the writer for it, truly.</p>" for number in range(40)
    )
    for name, make, before in (
        ("elements of a program's own", "<x-app><x-line>{0}</x-line><x-line>{1}</x-line><x-line>{2}</x-line></x-app>", ""),
        ("blocks by style", "<b style='display:block'>{0}</b><b style='display: block'>{1}</b><i style='display:block'>{2}</i>", "",),
        ("a quotation in a figure", "<p>{0}</p><figure class=pullquote><blockquote><p>{1}</p></blockquote></figure><p>{2}</p>", ""),
        ("text in labels", "<form><label>{0}</label><fieldset><legend>{1}</legend>{2}</fieldset><textarea>typed</textarea></form>", ""),
        (
            "more comments than text",
            f"<div class='site has-sidebar'><article><h1>The sea</h1>{body}</article></div><div id=comments>{comments}</div>", "The sea",
        ),
        (
            "columns named for what they lack",
            "<div class='col no-sidebar'><p>{0}</p></div><div class='col sidebar'><p>About me.</p></div><p>{1}</p><p>{2}</p>", "",
        ),
        ("tags, time and category", f"{body}<p>Tags: <a href=x>sea</a></p><p>Posted by Ann at <a href=z>9 PM</a></p>", ""),
        ("what is only heard", f"<span class='sr-only'>Skip to content</span><div class='visually-hidden'>never seen</div>{body}", ""),
        ("page numbers of a printed book", "<p><span class=pagenum>[Pg 3]</span>{0}</p><p>{1}</p><p>{2}<i class=pageno>4</i></p>", ""),
        ("marks of notes in an e-book", "<p>{0}<a epub:type='noteref' href='#n'>1</a></p><p>{1}</p><p>{2}</p>", ""),
        (
            "a home page of 1997",
            "<center><h1>Welcome!</h1></center><font size=+1>{0}<p>{1}<p>{2}</font><center>[<a href=a>Home</a>] [<a href=b>Next</a>]<br>"
            "You are visitor number 00123<br>&copy; 1997 Ann</center>", "Welcome",
        ),
        ("a deleted part", "<p>{0} <del>struck out words</del></p><p>{1}</p><p>{2}</p>", ""),
    ):  # fmt: skip
        yield _case("html", name, "page.html", make, before=before, paragraphs=3 + bool(before))
    yield _case("html", "a piece of a page named as text", "page.txt", "<p>{0}</p>\n<p>{1}</p>\n<p>{2}</p>", paragraphs=3)
    yield _case("structure", "a text that tells of tags", "a.txt", "{0} You write <p> for that, and a < b.\n\n{1}\n\n{2}", text=None,
                contains=("You write <p> for that, and a < b.",))  # fmt: skip


def notes() -> Iterator[Case]:
    """Markdown as note and site programs extend it."""
    body = "{0}\n\n{1}\n\n{2}\n"
    for name, make, asked in (
        ("yaml below empty lines", f"\n\n---\ntitle: x\ndate: 2020-01-02\n---\n{body}", {"date": "2020-01-02"}),
        ("yaml that is broken", f'---\ntitle: "unclosed\ndate: 2020: 3\n---\n{body}', {}),
        ("header lines", f"Title: My post\nAuthor: Ann\nDate: 2020-01-02\n\n{body}", {"date": "2020-01-02"}),
        ("a title of three lines", f"% The harbour\n% Ann\n% 2 May 2019\n\n{body}", {}),
        ("grid table", "{0}\n\n+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+\n\n{1}\n\n{2}\n", {}),
        ("properties", "- {0}\n  id:: 64f-abc\n  collapsed:: true\n\t- {1}\n- {2} ((abcDEF123))\n", {}),
        ("code between marks of a site", "{% highlight ruby %}\nputs 1\n{% endhighlight %}\n\n{0} {{ site }}\n\n{1}\n\n{2}\n{: .x}\n", {}),
        ("modules", f"import X from './x'\n\nexport const a = 1\n\n{body}", {}),
        ("edits", "{0} {--gone words--}{>>a remark<<}\n\n{1}\n\n{2}\n", {}),
        ("formulas in brackets", "{0}\n\n\\[ z = y \\]\n\n\\begin{align}\na&=b\n\\end{align}\n\n{1}\n\n{2}\n", {}),
        ("abbreviations", "{0}\n\n*[HTML]: Hyper Text\n\n{1}\n\n{2}\n", {}),
        ("indented as novels are", "    {0}\n\n    {1}\n\n    {2}\n", {}),
    ):  # fmt: skip
        yield _case("markdown", name, "note.mdx" if name == "modules" else "note.md", make, paragraphs=3, **asked)  # type: ignore[arg-type]
    yield _case("markdown", "definitions", "note.md", "Sea\n: {0}\n\nFog\n: {1}\n\n{2}\n", before="Sea Fog", paragraphs=5)
    yield _case(
        "markdown",
        "per cents are no comment",
        "note.md",
        "{0} from 50%% to 60%% here\n\n{1}\n\n{2}\n",
        text=None,
        contains=("to 60%% here",),
    )
    for name, verse in (("in small letters", _VERSE), ("of two lines", "Over the hill,\nA lantern swings.")):
        yield _case("markdown", f"verse {name}", "note.md", f"{verse}\n\n{body}", text=None, contains=(verse,))


def marked_up() -> Iterator[Case]:
    """reStructuredText keeps its headings and verse, and nothing of its code."""
    yield _case(
        "rst", "headings, notes and a replacement", "a.rst",
        ".. a comment\n\nThe harbour\n===========\n:Author: Ann\n\n{0}\n\nAt dawn\n-------\n\n{1} [1]_\n\n.. [1] A note.\n\n"
        "Empty\n-----\n\n::\n\n   code words\n\nAt dusk\n-------\n\n{2} |sea|\n\n.. |sea| replace:: waves\n",
        before="The harbour At dawn At dusk", behind="waves", contains=("The harbour\n\n", "\n\nAt dusk\n\n"), absent=("Empty",),
    )  # fmt: skip
    lines = "".join(f"| {line}\n" for line in _VERSE.split("\n"))
    yield _case("rst", "verse", "a.rst", f"{{0}}\n\n{lines}\n{{1}}\n\n{{2}}\n", text=None, contains=(_VERSE,))
    yield _case(
        "rst", "quotations and lists", "a.rst", "{0}\n\n.. epigraph::\n\n   {1}\n\n   -- Ann\n\n- {2}\n\n.. figure:: x.png\n\n   Cap\n",
        behind="Ann", paragraphs=4,
    )  # fmt: skip
