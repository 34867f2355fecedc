"""Prose out of reStructuredText: headings, paragraphs, list items and verse, without code and tables."""

import re
from functools import lru_cache
from typing import Any

from timbre.corpus.raw import Prose

_ROLE = re.compile(r":([a-zA-Z][\w:.+-]*):`")
_DIRECTIVE = re.compile(r"^\s*\.\. ([a-zA-Z][\w:.+-]*)::", re.MULTILINE)
_STANDARD_ROLES = ("emphasis", "strong", "literal", "code", "math", "sub", "subscript", "sup", "superscript", "title-reference", "raw")
_KEPT_DIRECTIVES = ("note", "warning", "tip", "hint", "important", "caution", "danger", "attention", "seealso", "admonition", "topic")
_STANDARD_DIRECTIVES = (
    "epigraph",
    "highlights",
    "pull-quote",
    "compound",
    "container",
    "rubric",
    "class",
    "line-block",
    "replace",
    "unicode",
)


def read_rst(text: str) -> Prose:
    """The prose of a file with its headings, lines of line blocks as lines, and roles that Sphinx adds read as their text.

    Left out are code, tables, footnotes, comments, fields and directives that are no admonition. A heading under which nothing is
    kept goes too.
    """
    from docutils import nodes
    from docutils.core import publish_doctree

    _know(frozenset(_ROLE.findall(text)), frozenset(_DIRECTIVE.findall(text)))
    settings = {
        "report_level": 5, "halt_level": 5, "file_insertion_enabled": False, "raw_enabled": False, "_disable_config": True,
        "syntax_highlight": "none",
    }  # fmt: skip
    tree = publish_doctree(text, settings_overrides=settings)
    unseen = (nodes.system_message, nodes.docinfo, nodes.comment, nodes.substitution_definition)
    dropped = (nodes.table, nodes.footnote, nodes.citation, nodes.field_list, nodes.option_list, *unseen)
    shown, texts, headings = 0, [], []
    waiting: list[tuple[int, str]] = []
    for node in tree.findall(lambda node: isinstance(node, nodes.TextElement) or _is_stanza(node)):
        above = _parents(node)
        if any(isinstance(parent, (*unseen, nodes.TextElement)) or _is_stanza(parent) for parent in above):
            continue
        piece = _shown(node)
        shown += len(piece)
        if any(isinstance(parent, dropped) for parent in above) or not piece:
            continue
        if isinstance(node, nodes.title | nodes.subtitle | nodes.rubric):
            level = sum(isinstance(parent, nodes.section) for parent in above) + isinstance(node, nodes.subtitle)
            waiting = [before for before in waiting if before[0] < level] + [(level, piece)]
        elif isinstance(node, nodes.paragraph | nodes.line_block | nodes.term | nodes.attribution):
            headings += [heading for _, heading in waiting]
            texts += [*(heading for _, heading in waiting), piece]
            waiting = []
    return Prose("\n\n".join(texts), shown, tuple(headings))


def _is_stanza(node: Any) -> bool:
    """A line block that stands in no other."""
    from docutils import nodes

    return isinstance(node, nodes.line_block)


def _shown(node: Any) -> str:
    """A node's text without marks of footnotes; the lines of a line block stay lines."""
    from docutils import nodes

    if isinstance(node, nodes.line_block):
        return "\n".join(re.sub(r"\s+", " ", line.astext()).strip() for line in node.findall(nodes.line)).strip()
    marks = (nodes.footnote_reference, nodes.citation_reference)
    pieces = [text.astext() for text in node.findall(nodes.Text) if not any(isinstance(parent, marks) for parent in _parents(text))]
    return re.sub(r"\s+", " ", "".join(pieces)).strip()


def _parents(node: Any) -> list[Any]:
    parents = []
    while (node := node.parent) is not None:
        parents.append(node)
    return parents


@lru_cache
def _know(role_names: frozenset[str], directive_names: frozenset[str]) -> None:
    """Teach docutils the roles and directives of a file that it does not know: a role gives its text, a directive its
    paragraphs if it is an admonition and nothing otherwise."""
    from docutils.parsers.rst import directives, roles

    for name in role_names:
        if name.lower() not in _STANDARD_ROLES:
            roles.register_local_role(name, _text_role)
    for name in directive_names:
        if name not in (*_KEPT_DIRECTIVES[:-4], *_STANDARD_DIRECTIVES):
            directives.register_directive(name, _directive(name))


def _text_role(name: str, rawtext: str, text: str, lineno: int, inliner: Any, options: Any = None, content: Any = None) -> Any:
    from docutils import nodes

    shown = re.sub(r"\s*<[^<>]*>$", "", text.replace("\0", "")).lstrip("!")
    if shown.startswith("~"):
        shown = shown.rsplit(".", 1)[-1]
    return [nodes.inline(rawtext, shown)], []


@lru_cache
def _directive(name: str) -> type[Any]:
    from docutils import nodes
    from docutils.parsers.rst import Directive

    class Told(Directive):
        has_content = True
        optional_arguments = 100
        final_argument_whitespace = True

        def run(self) -> list[Any]:
            if name not in _KEPT_DIRECTIVES and not name.startswith(("version", "deprecated")):
                return []
            container = nodes.container()
            self.state.nested_parse(self.content, self.content_offset, container)
            return [container]

    Told.option_spec = _AnyOption()
    return Told


class _AnyOption(dict[str, Any]):
    """Accepts every option of a directive, as text."""

    def __missing__(self, key: str) -> Any:
        return lambda argument: argument

    def __bool__(self) -> bool:
        return True
