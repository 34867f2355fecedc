"""What the registry room needs from a model registry, in its own words. `tasks/stores/mlflow.py` provides it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"


@dataclass(frozen=True)
class Version:
    """A registered version; `tags` hold the digests of its ancestry."""

    model: str
    number: int
    tags: Mapping[str, str]
    aliases: tuple[str, ...] = ()

    @property
    def bundle(self) -> str:
        return self.tags["timbre.bundle"]

    @property
    def verdict(self) -> str:
        return self.tags["timbre.verdict"]


class ModelRegistry(Protocol):
    """A registry of model versions with movable aliases."""

    def versions(self, model: str) -> list[Version]:
        """All versions of `model`, oldest first; empty if the model is not registered."""
        ...

    def register(self, model: str, bundle: Path, tags: Mapping[str, str]) -> Version:
        """Register `bundle`, or return the version that carries the same `timbre.verdict` tag already."""
        ...

    def set_alias(self, model: str, alias: str, number: int) -> None: ...

    def delete_alias(self, model: str, alias: str) -> None:
        """Remove an alias; nothing happens when there is none."""
        ...

    def download(self, version: Version, folder: Path) -> Path:
        """Fetch the version's bundle into `folder` and return where it lies.

        Raises:
            ValueError: it cannot be fetched; the sentence says why.
        """
        ...


def model_name(style: str, base: str | None) -> str:
    """`timbre-<style>` for the default base (None), `timbre-<style>--<base>` for any other: see `timbre.models.base_name`."""
    return f"timbre-{style}" if base is None else f"timbre-{style}--{base}"


def is_of_style(model: str, style: str) -> bool:
    """Whether `model_name` gives this name to the style, on some base."""
    return model == model_name(style, None) or model.startswith(model_name(style, ""))
