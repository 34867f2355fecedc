"""Conversations with a model, in the forms that programs store them: the turns of one role, in their order."""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from timbre.corpus.raw import Unread

_CHATS = ("messages", "conversations", "conversation", "turns", "chat", "chat_messages", "chosen", "output")
_PERHAPS_CHATS = ("completion", "response", "dialog", "dialogue", "thread", "contents")
"""Names that a text's comments, a table of contents or a link to an answer have too."""
_WHO, _WHAT = ("role", "from", "author", "speaker", "sender"), ("content", "value", "text", "parts")
_ROLES = {"gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant", "human": "user", "prompter": "user"}
KNOWN_ROLES = {"assistant", "user", "system", "developer", "tool", "function", *_ROLES}
_OF_A_CHOICE = {"index", "finish_reason", "logprobs"}
"""What a server gives beside the text of a choice; the answers of a quiz stand alone."""
_LONGEST_CELL = 4 << 20
_THOUGHT = re.compile(
    r"\A\s*<(think|thinking|thought|reasoning|scratchpad)>.*?</\1>\s*|\A(?:(?!</?think>).)*^[ \t]*</think>[ \t]*(?:\n\s*|\Z)",
    re.DOTALL | re.MULTILINE,
)
"""What a reasoning model wrote for itself before it answered; its end alone counts on a line of its own, since an answer may name it."""


def turns_of(row: Mapping[str, Any], role: str, *, beside_text: bool = False) -> Sequence[Any] | None:
    """The turns of a row that is a conversation, however it is stored; None of any other row.

    Args:
        role: whose turns are asked for.
        beside_text: whether the row holds a text too. It is that text then, unless turns of a model, or of `role`, stand in a column
            whose name says that it is a conversation.
    """
    tree = row.get("mapping")
    if isinstance(tree, Mapping) and (not beside_text or any(isinstance(node, Mapping) and "message" in node for node in tree.values())):
        return _of_a_tree(row)
    chats = [turns for name in _CHATS if name in row and (turns := _as_turns(row[name])) is not None]
    if beside_text:
        known = {*KNOWN_ROLES, role.lower()}
        return next((turns for turns in chats if any(_is_said(turn) and _who(turn) in known for turn in turns)), None)
    for name in _PERHAPS_CHATS:
        if name in row and (turns := _as_turns(row[name])) is not None and any(map(_is_said, turns)):
            chats.append(turns)
    if chats:
        return next((turns for turns in chats if any(map(_is_said, turns))), chats[0])
    if (answered := _completion(row)) is not None:
        return answered
    prompt = row.get("prompt")
    if isinstance(prompt, Mapping) and isinstance(prompt.get("replies"), list):
        return _of_replies(prompt)
    return None


def holds_turns(cell: Any) -> bool:
    """Whether a cell is a conversation rather than a text."""
    turns = _as_turns(cell)
    return turns is not None and any(map(_is_said, turns))


def said_by(messages: Sequence[Any], role: str) -> str | Unread:
    """What the turns of a role say, or why there is nothing: which roles there are."""
    found, roles = [], []
    for message in messages:
        if not isinstance(message, Mapping):
            continue
        who = _who(message)
        who = _ROLES.get(who, who)
        roles.append(who)
        content = next((message[name] for name in _WHAT if message.get(name) is not None), None)
        if who == role.lower() and (said := _THOUGHT.sub("", _said(content))):
            found.append(said)
    if found:
        return "\n\n".join(found)
    return Unread(
        "", f"no turn of the role {role!r} in this chat; it has {', '.join(dict.fromkeys(roles)) or 'none'}: name one with --role"
    )


def without_thought(text: str) -> str:
    """A text without what a reasoning model wrote for itself before it."""
    return _THOUGHT.sub("", text) if "</" in text[:200_000] and "<think" in text[:40].lower() else text


def is_turn(value: Any) -> bool:
    """Whether that is one turn of a chat: somebody who says something."""
    return (
        isinstance(value, Mapping) and isinstance(value.get("role") or value.get("from"), str) and bool({"content", "value"} & value.keys())
    )


def _who(turn: Mapping[str, Any]) -> str:
    """Who says a turn, in small letters, as the program that stored it names them."""
    named = next((turn[name] for name in _WHO if turn.get(name)), "")
    return str(named.get("role", "") if isinstance(named, Mapping) else named).lower()


def _is_said(value: Any) -> bool:
    """Whether that is a turn, by whatever names: who says it, and what."""
    return isinstance(value, Mapping) and bool(_who(value)) and not value.keys().isdisjoint(_WHAT)


def _as_turns(value: Any) -> Sequence[Any] | None:
    """A list of turns; also one that a table's cell holds as JSON, or as Python writes it."""
    if isinstance(value, str) and value.lstrip()[:2] == "[{" and len(value) <= _LONGEST_CELL:
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            try:
                value = ast.literal_eval(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return None
    return value if isinstance(value, list | tuple) and any(isinstance(turn, Mapping) for turn in value) else None


def _completion(row: Mapping[str, Any]) -> list[Any] | None:
    """The answer in what a model's server returned, as it stands or in a line of a batch's results."""
    inner: Any = row
    for name in ("response", "body"):
        inner = inner[name] if isinstance(inner, Mapping) and isinstance(inner.get(name), Mapping) else inner
    choices = inner.get("choices") if isinstance(inner, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, Mapping):
        return _as_list(inner.get("output")) if isinstance(inner, Mapping) and inner is not row else None
    if isinstance(first.get("message"), Mapping):
        return [{"role": "assistant", **first["message"]}] if "content" in first["message"] else None
    return [{"role": "assistant", "content": first["text"]}] if isinstance(first.get("text"), str) and _OF_A_CHOICE & first.keys() else None


def _as_list(value: Any) -> list[Any] | None:
    turns = _as_turns(value)
    return None if turns is None or not any(map(_is_said, turns)) else list(turns)


def _of_replies(turn: Mapping[str, Any]) -> list[Any]:
    """The turns of a tree of replies, along the first reply to each."""
    branch: list[Any] = []
    while isinstance(turn, Mapping):
        branch.append(turn)
        replies = turn.get("replies")
        if not isinstance(replies, list) or not replies:
            break
        turn = replies[0]
    return branch


def _of_a_tree(row: Mapping[str, Any]) -> list[Any]:
    """The turns of an exported conversation whose messages stand in a tree: those of the branch that was shown last."""
    nodes = {name: node for name, node in row["mapping"].items() if isinstance(node, Mapping)}
    parents = {node.get("parent") for node in nodes.values()}
    place = (
        row.get("current_node")
        if row.get("current_node") in nodes
        else next((name for name in reversed(nodes) if name not in parents), None)
    )
    branch: list[Any] = []
    while place in nodes and len(branch) < len(nodes):
        branch.append(nodes[place].get("message"))
        place = nodes[place].get("parent")
    return branch[::-1]


def _said(content: Any) -> str:
    """What a turn says: a string, a list of parts of which the text ones count, or an object with such parts."""
    if isinstance(content, Mapping):
        content = content.get("parts", content.get("text"))
    if isinstance(content, str):
        return content.strip()
    if isinstance(content, list | tuple):
        parts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str) or _is_text(part)]
        return "\n\n".join(part.strip() for part in parts if isinstance(part, str) and part.strip())
    return ""


def _is_text(part: Any) -> bool:
    """Whether a part of a turn is what it says: no picture, no tool's call or result, no thought."""
    kind = str(part.get("type") or "text") if isinstance(part, Mapping) else ""
    return kind in ("text", "output_text", "input_text", "refusal") and not (isinstance(part, Mapping) and part.get("thought"))
