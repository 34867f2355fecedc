"""Prose out of reStructuredText: paragraphs and list items, without code, tables and headings."""

import re
from functools import lru_cache
from typing import Any

_ROLE = re.compile(r":([a-zA-Z][\w:.+-]*):`")
_DIRECTIVE = re.compile(r"^\s*\.\. ([a-zA-Z][\w:.+-]*)::", re.MULTILINE)
_STANDARD_ROLES = ("emphasis", "strong", "literal", "code", "math", "sub", "subscript", "sup", "superscript", "title-reference", "raw")
_KEPT_DIRECTIVES = ("note", "warning", "tip", "hint", "important", "caution", "danger", "attention", "seealso", "admonition", "topic")


def rst_text(text: str) -> str:
    """The paragraphs and list items of a reStructuredText file, with roles that Sphinx adds read as their text."""
    from docutils import nodes
    from docutils.core import publish_doctree

    _know(frozenset(_ROLE.findall(text)), frozenset(_DIRECTIVE.findall(text)))
    settings = {
        "report_level": 5, "halt_level": 5, "file_insertion_enabled": False, "raw_enabled": False, "_disable_config": True,
        "syntax_highlight": "none",
    }  # fmt: skip
    tree = publish_doctree(text, settings_overrides=settings)
    dropped = (nodes.table, nodes.system_message, nodes.footnote, nodes.citation, nodes.docinfo, nodes.comment, nodes.field_list)
    paragraphs = []
    for paragraph in tree.findall(nodes.paragraph):
        if not any(isinstance(parent, dropped) for parent in _parents(paragraph)):
            paragraphs.append(re.sub(r"\s+", " ", paragraph.astext()).strip())
    return "\n\n".join(paragraphs)


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
        if name not in _KEPT_DIRECTIVES[:-4]:
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
