"""Files that an export of a messenger or a chat program lays beside its texts: lists of members, channels and settings, no texts."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

_SLACK = (
    "users", "channels", "groups", "dms", "mpims", "integration_logs", "canvases", "lists", "org_users", "teams", "file_conversations",
    "huddle_transcripts",
)  # fmt: skip
_CHAT_PROGRAM = (
    "user", "users", "user_settings", "message_feedback", "model_comparisons", "shared_conversations", "group_chats", "projects",
    "memories", "shopping", "sora",
)  # fmt: skip
_DISCORD = re.compile(r"(?:.*/)?(?:messages/(?:index|c?\d+/channel)|account/user|servers/(?:index|\d+/[\w-]+)|activity/.*)\.json")
_SLACK_DAY = re.compile(r"\d{4}-\d{2}-\d{2}\.json")
_HEAD = 1 << 20
_CONVERSATIONS = re.compile(rb"\"(?:mapping|chat_messages|current_node)\"\s*:")


def lists_of_an_export(files: Mapping[str, Path]) -> dict[str, Path]:
    """Of files by name those that a known export writes about its texts: Slack, Discord, ChatGPT, Claude.

    An export is known by more than one name: Slack's by `users.json` beside folders of days, or with members in it; a chat
    program's by `conversations.json` with conversations in it; Discord's by `channel.json` beside messages.
    """
    found = [*_of_slack(files), *_of_chat_programs(files), *_of_discord(files)]
    return {name: files[name] for name in sorted(set(found))}


def _of_slack(files: Mapping[str, Path]) -> Iterable[str]:
    for name in files:
        if PurePosixPath(name).name != "users.json":
            continue
        folder = PurePosixPath(name).parent
        days = any(
            PurePosixPath(each).parent.parent == folder and each != name and _SLACK_DAY.fullmatch(PurePosixPath(each).name)
            for each in files
        )
        if days or _members(files[name]):
            yield from _beside(folder, _SLACK, files)


def _members(path: Path) -> bool:
    """Whether a file lists members of a workspace: each with an id, and a profile or a team."""
    try:
        users: Any = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return False
    return (
        isinstance(users, list)
        and bool(users)
        and all(isinstance(user, Mapping) and user.get("id") and user.keys() & {"profile", "team_id", "real_name"} for user in users)
    )


def _of_chat_programs(files: Mapping[str, Path]) -> Iterable[str]:
    for name, path in files.items():
        if PurePosixPath(name).name == "conversations.json" and _holds_conversations(path):
            yield from _beside(PurePosixPath(name).parent, _CHAT_PROGRAM, files)
            page = str(PurePosixPath(name).parent / "chat.html")  # the same conversations once more, as a page
            yield from [page] if page in files else []


def _holds_conversations(path: Path) -> bool:
    """Whether a file begins as an export of conversations does; of one that cannot be opened its reader says so."""
    try:
        with path.open("rb") as file:
            return _CONVERSATIONS.search(file.read(_HEAD)) is not None
    except OSError:
        return False


def _of_discord(files: Mapping[str, Path]) -> Iterable[str]:
    channels = [name for name in files if PurePosixPath(name).name == "channel.json"]
    if any(str(PurePosixPath(name).parent / f"messages.{ending}") in files for name in channels for ending in ("json", "csv")):
        yield from (name for name in files if _DISCORD.fullmatch(name))
        yield from channels


def _beside(folder: PurePosixPath, names: Iterable[str], files: Mapping[str, Path]) -> Iterable[str]:
    return [found for each in names if (found := str(folder / f"{each}.json")) in files]
