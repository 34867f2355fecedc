"""The catalogue: where texts come from, under which licence, and which of them make a style.

Shipped entries are `data/sources/*.toml` and `data/styles/*.toml`; a user's own lie under `<home>/sources/` and
`<home>/styles/` in the same form. Reading the catalogue downloads nothing: an entry carries the sha256 of what it
names, so that its digest stands for the bytes.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from timbre.artifacts import FileInput, digest_json
from timbre.config import CorpusConfig, Frozen, read_toml
from timbre.settings import settings

SourceKind = Literal["local", "pypi", "npm", "deb", "huggingface", "url"]
Format = Literal[
    "auto", "text", "markdown", "html", "rst", "jsonl", "json", "csv", "parquet", "mail", "mbox", "brown", "docx", "odt", "rtf",
    "pdf", "epub", "fb2", "mht", "org", "tex", "asciidoc", "subtitles", "chat",
]  # fmt: skip
_USERS_OWN: tuple[SourceKind, ...] = ("local", "huggingface", "url")
READING = 3
"""Raised when files that users bring are read otherwise than before, while what ships reads the same: their corpora are made anew."""
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")


class SourceFile(Frozen):
    """One file of a local source: its name as the user had it, and its bytes by hash."""

    name: str
    sha256: str
    size: int


class Refused(Frozen):
    """A file that could not be taken into a local source, and why."""

    name: str
    reason: str


class Source(Frozen):
    """Where texts come from and how they become documents."""

    name: str = Field(pattern=NAME.pattern)
    kind: SourceKind
    description: str = Field(min_length=1)
    licence: str = Field(min_length=1, description="SPDX expression, or the terms in words.")
    consent: str = Field(min_length=1, description="On what ground the authors' texts may be used.")
    package: str = Field("", description="Package, data set or URL.")
    version: str = Field("", description="Exact version; a commit for huggingface.")
    sha256: str = Field("", pattern=r"[0-9a-f]{64}|")
    include: tuple[str, ...] = Field(("*",), description="Globs of the names inside the package; * also crosses /.")
    exclude: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = Field((), description="Of a local source.")
    refused: tuple[Refused, ...] = Field((), description="Files that stood beside them and could not be taken.")
    origin: str = Field("", description="Hash of the place they were added from, so that adding it again is an update.")
    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes of the languages it is written in; empty means `language`.")
    format: Format = "auto"
    cut: Literal["file", "chapter"] = "file"
    chapter_pattern: str = Field(r"^(?:CHAPTER|Chapter|BOOK|PART)\b.*$", description="Lines at which cut = 'chapter' begins a document.")
    heading_pattern: str = Field("", description="A first line that matches is dropped.")
    author: str = Field("", description="Of every document, unless the file, the path or a column says otherwise.")
    author_pattern: str = Field("", description="Regular expression on the file name with a group 'author'.")
    date: str | None = Field(None, description="ISO date, or its year.")
    date_pattern: str = Field("", description="Regular expression on the file name with a group 'date'.")
    text_column: str = "text"
    author_column: str = "author"
    date_column: str = "date"
    role: str = Field("assistant", description="Whose turns of a chat are the texts.")
    encoding: str = Field("", description="Of every text file; found out for each by default.")
    subset: str = Field("", description="Configuration of a huggingface data set.")
    split: str = "train"
    skip_senders: tuple[str, ...] = Field((), description="Mail whose sender contains one of these is announcement, not conversation.")
    scrub_names: bool = Field(False, description="Also replace the names of private persons that occur in headers.")
    not_names: tuple[str, ...] = Field((), description="Words that stand in headers like names and are none.")
    language: str = "en"
    research_only: bool = False

    @model_validator(mode="after")
    def _complete(self) -> "Source":
        if self.kind in ("pypi", "npm", "deb", "url") and not (self.package and self.sha256):
            raise ValueError(f"a {self.kind} source needs package and sha256")
        if self.kind in ("pypi", "npm", "huggingface") and not (self.package and self.version):
            raise ValueError(f"a {self.kind} source needs package and an exact version")
        if self.kind == "local" and not self.files:
            raise ValueError("a local source lists its files; `timbre corpus add` does that")
        if not (
            self.author
            or self.author_pattern
            or self.format in ("mail", "mbox", "jsonl", "json", "csv", "parquet", "chat")
            or self.kind == "huggingface"
        ):
            raise ValueError("author is missing: give author or author_pattern")
        return self


class Style(Frozen):
    """A preset: which sources make a style and how they are split."""

    name: str = Field(pattern=NAME.pattern)
    description: str
    sources: tuple[str, ...] = Field(min_length=1)
    split_by_date: bool = Field(False, description="Oldest documents train, newest test; all must be dated.")
    prompts: tuple[str, ...] = Field((), description="Openings that show the style off.")


@dataclass(frozen=True)
class SourceInput(FileInput):
    """A source as a stage input: its digest is that of the checked entry, which carries the sha256 of its files."""

    source: Source

    @cached_property
    def digest(self) -> str:
        reading = {"reading": READING} if self.source.kind in _USERS_OWN else {}
        return digest_json(self.source.model_dump(mode="json", exclude={"origin"}) | reading)


@dataclass(frozen=True)
class StyleInput(FileInput):
    """A style preset as a stage input; description and prompts build nothing and stay out of the digest."""

    style: Style

    @cached_property
    def digest(self) -> str:
        return digest_json({"name": self.style.name, "split_by_date": self.style.split_by_date})


def corpus_inputs(config: CorpusConfig) -> dict[str, FileInput]:
    """The inputs of the corpus stage: 'style', 'contract', and 'source:<name>' for each source. Downloads nothing.

    Raises:
        ValueError: unknown style or source (the sentence lists the known ones), or an entry that is not well formed.
    """
    style_path, style = find_style(config.style)
    inputs: dict[str, FileInput] = {
        "style": StyleInput(style_path, style),
        "contract": FileInput(settings().file("data/contract/corpus.toml")),
    }
    for name in config.sources or style.sources:
        path, source = find_source(name)
        inputs[f"source:{name}"] = SourceInput(path, source)
    return inputs


def find_style(name: str, home: Path | None = None) -> tuple[Path, Style]:
    """The preset file and preset of a style.

    Raises:
        ValueError: unknown or malformed.
    """
    path = _find(name, style_paths(home), "style")
    return path, read_toml(path, Style)


def find_source(name: str, home: Path | None = None) -> tuple[Path, Source]:
    """The entry file and entry of a source.

    Raises:
        ValueError: unknown or malformed.
    """
    path = _find(name, source_paths(home), "source")
    return path, read_toml(path, Source)


def style_paths(home: Path | None = None) -> dict[str, Path]:
    """Every known style: shipped ones and the user's own."""
    own = {path.stem: path for path in sorted(((home or settings().home) / "styles").glob("*.toml"))}
    return {**own, **settings().files("data/styles")}


def source_paths(home: Path | None = None) -> dict[str, Path]:
    """Every known source: shipped ones, then the user's own, `<home>/sources/<name>/source.toml`."""
    plain = {path.stem: path for path in sorted(((home or settings().home) / "sources").glob("*.toml"))}
    added = {path.parent.name: path for path in sorted(((home or settings().home) / "sources").glob("[!.]*/source.toml"))}
    return {**plain, **added, **settings().files("data/sources")}


def _find(name: str, known: dict[str, Path], what: str) -> Path:
    if name not in known:
        near = get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}? Known" if near else "known"
        raise ValueError(
            f"unknown {what} {name!r}: {meant} are {', '.join(sorted(known)) or 'none'}; bring your own with `timbre corpus add`"
        )
    return known[name]
