"""Where the ancestry of a version begins: its verdict, by the ledger or by the tags of the registry."""

from contextlib import suppress

from timbre.config import ModelConfig
from timbre.tasks.bundles import find_version
from timbre.tasks.context import latest_transition, registered_name

_SHOWN = ("timbre.data.", "timbre.commit")


def root_of(style: str, model: str, number: int | None) -> tuple[str, int, str, dict[str, str]]:
    """Registered name, version, digest of its verdict, and what the registry says of its data's versions and its commit.

    Raises:
        ValueError: there is no champion, or no such version.
    """
    name = registered_name(style, ModelConfig(name=model))
    champion = latest_transition(name)
    if number is None and champion is None:
        raise ValueError(f"{name} has no champion yet: `timbre run --style {style}` makes one, `timbre status` shows what there is")
    if champion is not None and number in (None, champion.version):
        tags: dict[str, str] = {}
        with suppress(ValueError):  # a registry that lost the version; the ledger knows its verdict
            tags = _shown(dict(find_version(name, champion.version).tags))
        return name, champion.version, champion.verdict, tags
    version = find_version(name, number)
    return name, version.number, version.verdict, _shown(dict(version.tags))


def _shown(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in sorted(tags.items()) if key.startswith(_SHOWN)}
