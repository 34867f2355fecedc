"""What a page or a comment points at is there: links between pages, their anchors, and every file that is named."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)")
_MODULE = re.compile(r"`(timbre(?:\.[a-z_]+){2,})`")
_FENCE = re.compile(r"^```.*?^```", re.M | re.S)
_NAMED = re.compile(
    r"(?<![\w./{<*-])((?:docs|timbre|tasks|cli|flows|data|mlflow|infra|tests|benchmarks)/[\w./*-]*\.(?:md|py|toml|yaml|jsonl|sql|sh|lock|ini|txt))(?![\w*])"
)
_INVENTED = ("tests/", "requirements.lock")
"""Tests name files that they make themselves."""
_ELSEWHERE = {"data/data.txt", "data/moby-dick.txt", "timbre/corpus/lengths.py"}
"""Files inside packages that others publish, and the worked example of CONTRIBUTING.md, which a test writes."""


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.splitlines() if (path := ROOT / name).is_file() and not path.is_symlink()]


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return set(re.findall(r'<a id="([^"]+)">', text)) | {
        re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles
    }


def _name(page: Path) -> Path:
    return page.relative_to(ROOT) if page.is_relative_to(ROOT) else page


def _pages() -> list[Path]:
    return [path for path in _tracked() if path.suffix == ".md"]


def _broken_links(page: Path) -> Iterator[str]:
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        if not there.exists():
            yield f"{_name(page)}: {target}"
        elif anchor and there.suffix == ".md" and anchor not in _anchors(there):
            yield f"{_name(page)}: {target} (no such heading)"


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = _pages()
    assert len(pages) > 12
    assert [broken for page in pages for broken in _broken_links(page)] == []


def test_every_file_that_is_named_is_in_the_repository() -> None:
    missing = []
    for path in _tracked():
        if path.relative_to(ROOT).as_posix().startswith(_INVENTED):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for name in _NAMED.findall(text):
            if name not in _ELSEWHERE and not (any(ROOT.glob(name)) if "*" in name else (ROOT / name).exists()):
                missing.append(f"{path.relative_to(ROOT)}: {name}")
    assert missing == []


def test_no_document_of_somebody_elses_is_cited() -> None:
    """Papers are cited by number or author, our own pages by path; a title in capitals is neither, and lies nowhere here."""
    cited = re.compile(r"\b[A-Z]{5,}\b(?: §|\.md\b|'s contract)")
    known = {path.name for path in _tracked()}
    texts = {path: path.read_text(encoding="utf-8") for path in _tracked() if path.suffix in (".py", ".md", ".toml", ".yaml", ".j2")}
    found = {str(_name(path)): one for path, text in texts.items() for one in cited.findall(text) if one not in known}
    assert len(texts) > 300 and found == {}


def test_every_module_that_is_named_can_be_imported() -> None:
    """`timbre.room.file`, in a page or a docstring, is a module, or a name of one; or what the code says in quotes: an event, a log."""
    code = [path.read_text(encoding="utf-8") for path in _tracked() if path.suffix in (".py", ".yaml")]
    quoted = {name for text in code for name in re.findall(r"[\"'](timbre(?:\.[a-z_]+){2,})[\"']", text)}
    missing = []
    for path in _tracked():
        if path.suffix not in (".py", ".md") or path.name == "CHANGELOG.md" or path.relative_to(ROOT).as_posix().startswith("tests/"):
            continue
        for name in sorted(set(_MODULE.findall(path.read_text(encoding="utf-8")))):
            parts = name.split(".")
            places = [ROOT.joinpath(*parts[:upto]) for upto in (len(parts), len(parts) - 1) if upto > 1]
            if name not in quoted and not any(place.with_suffix(".py").is_file() or place.is_dir() for place in places):
                missing.append(f"{_name(path)}: {name}")
    assert missing == []


def test_a_link_to_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](gone.md) [b](#here) [c](#there)\n\n# Here\n")
    assert list(_broken_links(page)) == [f"{page}: gone.md", f"{page}: #there (no such heading)"]
