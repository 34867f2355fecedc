"""git as the data registry uses it: an author of its own, no signing, no hooks, no questions, nothing assumed of the user.

The user's own configuration still decides how servers are reached (credentials, proxies, ssh).
"""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_AUTHOR = {"NAME": "Timbre data registry", "EMAIL": "data-registry@timbre.invalid"}
_OPTIONS = {
    "commit.gpgSign": "false", "tag.gpgSign": "false", "push.gpgSign": "false", "tag.forceSignAnnotated": "false",
    "core.hooksPath": os.devnull, "core.autocrlf": "false", "core.quotePath": "false", "core.fsmonitor": "false",
    "gc.autoDetach": "false", "fetch.prune": "false", "push.followTags": "false", "core.excludesFile": os.devnull,
    "advice.detachedHead": "false", "protocol.version": "2",
}  # fmt: skip
_OF_ANOTHER_REPOSITORY = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR",
    "GIT_NAMESPACE", "GIT_PREFIX", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE",
)  # fmt: skip


class GitError(RuntimeError):
    """git ended badly; the text is what it said."""


def clean_environment() -> dict[str, str]:
    """This process's environment without what a surrounding git command (a hook, a rebase) left in it."""
    return {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}


@dataclass(frozen=True)
class Git:
    """One repository."""

    path: Path

    def __call__(self, *arguments: str, text: str | None = None, index: Path | None = None, dates: Mapping[str, str] | None = None) -> str:
        """Run git here and give what it prints, without the final newline.

        Args:
            text: its standard input.
            index: another index file than the repository's.
            dates: author date of a commit, as environment variables.

        Raises:
            GitError: it failed.
        """
        result = self._run(arguments, text, {**(dates or {}), **({"GIT_INDEX_FILE": str(index)} if index else {})})
        if result.returncode != 0:
            said = (result.stderr.strip() or result.stdout.strip()).replace("\n", "; ")
            raise GitError(f"git {arguments[0]} in {self.path}: {said or f'exit code {result.returncode}'}")
        return result.stdout.removesuffix("\n")

    def ok(self, *arguments: str) -> bool:
        """Whether this git command succeeds."""
        return self._run(arguments, None, {}).returncode == 0

    def show(self, commit: str, path: str) -> str | None:
        """A file as it was in a commit, or None."""
        result = self._run(("show", f"{commit}:{path}"), None, {})
        return result.stdout if result.returncode == 0 else None

    def lines(self, *arguments: str) -> list[str]:
        """What git prints, by line."""
        return [line for line in self(*arguments).split("\n") if line]

    @property
    def branch(self) -> str:
        return self("symbolic-ref", "--short", "HEAD")

    @property
    def has_commits(self) -> bool:
        return self.ok("rev-parse", "--verify", "--quiet", "HEAD")

    @property
    def origin(self) -> str | None:
        """URL of the remote `origin`, if there is one."""
        result = self._run(("config", "--get", "remote.origin.url"), None, {})
        return result.stdout.strip() or None

    def _run(self, arguments: Sequence[str], text: str | None, extra: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        options = [part for name, value in _OPTIONS.items() for part in ("-c", f"{name}={value}")]
        environment = clean_environment() | {
            **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _AUTHOR.items()},
            "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true", "LC_ALL": "C.UTF-8",
            "GIT_CEILING_DIRECTORIES": str(self.path.absolute().parent),
        } | dict(extra)  # fmt: skip
        try:
            return subprocess.run(
                ["git", *options, *arguments], cwd=self.path, env=environment, input=text or "", capture_output=True, text=True,
                encoding="utf-8", errors="surrogateescape", check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ValueError("git is not installed: install it, then try again") from error
