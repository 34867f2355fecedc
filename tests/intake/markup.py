"""Web pages and Markdown as they come."""

from collections.abc import Iterator
from itertools import count

from tests.intake.case import Case, prose

_NUMBERS = count(1)


def _page(
    name: str, make: str, *, encoding: str = "utf-8", headings: tuple[str, ...] = (), paragraphs: int = 3, ending: str = ".html"
) -> Case:
    """A page from a form with {0}, {1} and {2} for its paragraphs; a reader sees its headings too."""
    parts = prose(next(_NUMBERS))
    page = make.format(*parts)
    text, count = " ".join([*headings, *parts]), paragraphs + len(headings)
    return Case("html", name, {f"page{ending}": page.encode(encoding)}, text=text, contains=headings, paragraphs=count, kept=1)


def html() -> Iterator[Case]:
    """Pages of 1996 to today."""
    menu = "<a href=a>Home</a> | <a href=b>Archive</a> | <a href=c>Contact me</a>"
    yield _page(
        "unclosed paragraphs",
        "<html><head><title>E</title></head><body><h1>Of <i>ferries</i></h1>\n<p>{0}\n<p>{1}\n<p>{2}</body></html>",
        headings=("Of ferries",),
    )
    yield _page("divs and breaks", "<html><body><div>{0}<br><br>{1}<br>\n<br>{2}</div></body></html>")
    yield _page("layout table", f"<table><tr><td width=120>{menu}</td><td>{{0}}<p>{{1}}<p>{{2}}</td></tr></table>")
    yield _page(
        "nested layout tables",
        "<table><tr><td><table><tr><td><font size=2>{0}<br><br>{1}<br><br>{2}</font></td></tr></table></td></tr></table>",
    )
    yield _page(
        "form page", "<body><form id=f action=x><input type=hidden name=v value=12><p>{0}</p><div>{1}</div><p>{2}</p></form></body>"
    )
    yield _page(
        "several articles",
        "<main><article><h2><a href=a>One day</a></h2><p>{0}</p></article><article><p>{1}</p></article><article>{2}</article></main>",
        headings=("One day",),
    )
    yield _page(
        "headings of what is left out",
        f"<header><h1><a href='/'>My site</a></h1></header><h2>Menu</h2><ul><li>{menu}</ul><h1>The harbour</h1><h2>At dusk</h2><p>{{0}}</p>"
        "<p>{1}</p><h2>At dawn</h2><p>{2}</p><h3>Share this</h3><div class=social>Tell friends</div>"
        "<h3>Links</h3><ul><li><a href=x>Else</a></ul>",
        headings=("The harbour", "At dusk", "At dawn"),
    )
    yield _page(
        "the title in the header of an article",
        "<article><header><h1>The harbour</h1><p>By Ann, 3 March</p></header><p>{0}</p><p>{1}</p><p>{2}</p></article>",
        headings=("The harbour",),
    )
    yield _page(
        "frames", "<html><frameset cols=20,80><frame src=m><frame src=t><noframes><body><p>{0}<p>{1}<p>{2}</body></noframes></frameset>"
    )
    yield _page("spaces for indents", "<body><br>&nbsp;&nbsp;&nbsp;{0}<br>&nbsp;&nbsp;&nbsp;{1}<br>&nbsp;&nbsp;&nbsp;{2}</body>")
    yield _page("text beside blocks", "<body>{0}<p>{1}</p>{2}</body>")
    yield _page("center and font", "<center><font face=Arial>{0}<br><br>{1}<br><br>{2}</font></center>")
    yield _page("preformatted", "<html><body><pre>{0}\n\n{1}\n\n{2}</pre></body></html>")
    yield _page("nested lists", "<ul><li>{0}<ul><li>{1}</li></ul></li><li>{2}</li></ul>")
    yield _page("definition list", "<dl><dt>{0}<dd>{1}<dd>{2}</dl>")
    yield _page("quotations", "<blockquote>{0}<blockquote>{1}</blockquote></blockquote><p>{2}</p>")
    yield _page(
        "menu and footer",
        "<nav><ul><li><a href=x>Home page</a></ul></nav><p>{0}</p><p>{1}</p><p>{2}</p><footer>All rights reserved 2019</footer>",
    )
    yield _page(
        "side bar by class",
        "<div class='side-bar'><p>About the writer of this.</p></div><div id=content><p>{0}</p><p>{1}</p><p>{2}</p></div>",
    )
    yield _page("cookie banner", "<div class='cookie-banner'>We use cookies, accept all.</div><p>{0}</p><p>{1}</p><p>{2}</p>")
    yield _page("readers' comments", "<p>{0}</p><p>{1}</p><p>{2}</p><section id=comments><p>Great post, thanks for that!</p></section>")
    yield _page(
        "scripts and styles",
        "<style>p {{{{ color: red }}}}</style><p>{0}</p><script>var words = 'never seen';</script><p>{1}</p><p>{2}</p>",
    )
    yield _page(
        "table of figures", "<p>{0}</p><table><tr><th>Year<th>Votes<tr><td>1900<td>12<tr><td>1904<td>15</table><p>{1}</p><p>{2}</p>"
    )
    yield _page("code", "<p>{0}</p><pre><code>for x in range(3): print(x)</code></pre><p>{1}</p><p>{2}</p>")
    yield _page("picture captions", "<p>{0}</p><figure><img src=a><figcaption>The old mill</figcaption></figure><p>{1}</p><p>{2}</p>")
    yield _page("footnote marks", "<p>{0}<sup><a href=#1>1</a></sup></p><p>{1}</p><p>{2}</p>")
    yield _page(
        "hidden parts", "<p>{0}</p><div style='display:none'>never shown at all</div><p>{1}</p><p hidden>nor this one</p><p>{2}</p>"
    )
    yield _page("inline markup", "<p><b>{0}</b></p><p><i>{1}</i> </p><p><span>{2}</span></p>")
    yield _page("article in main", f"<header>{menu}</header><main><article>{{0}}<p>{{1}}</p><p>{{2}}</p></article></main>")
    yield _page(
        "xhtml of a book",
        "<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><head><title/></head><body><p>{0}</p><p>{1}</p><p>{2}</p></body></html>",
        ending=".xhtml",
    )
    yield _page(
        "latin-1 by its head",
        "<html><head><meta charset=iso-8859-1></head><body><p>{0}</p><p>{1}</p><p>{2}</p></body></html>",
        encoding="latin-1",
    )
    yield _page("page named as text", "<html><body><p>{0}</p><p>{1}</p><p>{2}</p></body></html>", ending=".txt")
    yield _page("unbalanced", "<div><p>{0}</div></b></p><p>{1}</i><div>{2}")
    verse = "Over the hill<br>A lantern swings<br>And somebody sings<br>Of harbour things"
    yield Case(
        "html", "verse in a page", {"v.html": f"<p>{prose(900)[0]}</p><p>{verse}</p>".encode()}, contains=("hill\nA lantern swings\nAnd",)
    )
    parts = prose(901)
    yield Case(
        "html",
        "most of it in an aside",
        {"a.html": f"<aside><p>{parts[0]}</p><p>{parts[1]}</p></aside>".encode()},
        text=" ".join(parts[:2]),
    )


def markdown() -> Iterator[Case]:
    """Notes and posts, as programs export them."""

    def case(name: str, make: str, *, ends: str = "\n", **asked: object) -> Case:
        parts = prose(next(_NUMBERS))
        text = make.replace("{0}", parts[0]).replace("{1}", parts[1]).replace("{2}", parts[2])
        wanted = {"text": " ".join(parts), "kept": 1} | asked
        return Case("markdown", name, {"note.md": text.replace("\n", ends).encode()}, **wanted)  # type: ignore[arg-type]

    body = "{0}\n\n{1}\n\n{2}\n"
    yield case(
        "yaml front matter",
        f"---\ntitle: A post\ndate: 2021-03-04\ntags: [a, b]\n---\n\n# The harbour\n\n{body}",
        date="2021-03-04",
        contains=("The harbour\n\n",),
        paragraphs=4,
    )
    yield case(
        "yaml with windows line ends", f"---\ntitle: A post\ndate: 2021-03-04\n---\n{body}", ends="\r\n", date="2021-03-04", paragraphs=3
    )
    yield case("yaml closed by dots", f"---\ntitle: A post\n...\n{body}", paragraphs=3)
    yield case("toml front matter", f"+++\ntitle = 'A post'\ndate = 2021-03-04\n+++\n{body}", date="2021-03-04", paragraphs=3)
    yield case("toml closed by dots", f"+++\ntitle = 'A post'\n...\n{body}", paragraphs=3)
    yield case("json in a fence", f'---json\n{{"title": "A post"}}\n---\n{body}', paragraphs=3)
    yield case("json front matter", f'{{"title": "A post", "date": "2021-03-04"}}\n\n{body}', date="2021-03-04", paragraphs=3)
    yield case("a rule first is no front matter", f"---\n\n{body}\n---\n", paragraphs=3)
    yield case("nested lists", "- {0}\n  - {1}\n- {2}\n", paragraphs=3)
    yield case("numbered and tasks", "1. {0}\n2. {1}\n\n- [x] {2}\n", absent=("[x]",))
    yield case(
        "code and table", "{0}\n\n```python\nprint(1)\n```\n\n| year | votes |\n|---|---|\n| 1900 | 12 |\n\n{1}\n\n{2}\n", paragraphs=3
    )
    yield case("footnotes", "{0}[^1]\n\n{1}\n\n[^1]: {2}\n", absent=("[^1]",))
    yield case(
        "wiki links",
        "{0}\n\n{1}\n\n{2} [[Old mill|and]] [[notes/House]] ![[picture.png]]\n",
        text=None,
        absent=("[[", "picture"),
        contains=("and House",),
    )
    yield case(
        "callout and comment",
        "> [!note]\n> {0}\n\n%% never seen %%\n\n{1}\n\n<!-- nor this -->{2}\n",
        absent=("[!note]", "seen", "nor this"),
    )
    yield case("emphasis and links", "**{0}**\n\n*{1}*\n\n[{2}](http://example.org)\n", absent=("**", "example.org"))
    yield case("setext and lines that wrap", "Harbours\n========\n\n{0}\n{1}\n\n{2}\n", contains=("Harbours\n\n",), paragraphs=3)
    yield case("formula and block name", "{0}\n\n$$\nx = y\n$$\n\n{1} ^old-mill\n\n{2}\n", absent=("$$", "^old"), paragraphs=3)
    verse = "Over the hill\nA lantern swings\nAnd somebody sings\nOf harbour things"
    yield case("verse", f"{{0}}\n\n{verse}\n\n{{1}}\n\n{{2}}\n", text=None, contains=(verse,))
    yield case(
        "verse by indent",
        "{0}\n\n" + "\n".join(f"    {line}" for line in verse.split("\n")) + "\n\n{1}\n\n{2}\n",
        text=None,
        contains=(verse,),
    )
    lines = "".join(f"| {line}\n" for line in verse.split("\n"))
    yield case("line block", f"{{0}}\n\n{lines}\n{{1}}\n\n{{2}}\n", text=None, contains=(verse,), absent=("|",))
    yield case("shortcodes", "{{< figure src=a >}}\n\n{0}\n\n{% include x %}\n\n{1}\n\n{2}\n", absent=("figure", "include"))
