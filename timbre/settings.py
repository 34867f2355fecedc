"""Where Timbre keeps and finds things on this machine: every `TIMBRE_*` variable, in one place.

Nothing here changes what is built, only where it lies and which servers are asked; what is built is in `timbre.config`.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """The environment of one command. Each field is read from `TIMBRE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="TIMBRE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    root: Path = Field(PROJECT_ROOT, description="The checkout: data/, dvc.yaml, params.yaml and mlflow/policies/ are read from here.")
    home: Path = Field(PROJECT_ROOT / ".timbre", description="Everything Timbre writes: artifacts, work in progress, local databases.")
    start: Path | None = Field(None, description="Where relative model folders begin; default the working folder. Set for child processes.")
    data_registry: str | None = Field(
        None, description="Git + DVC repository of corpora and targets: folder or URL; default <home>/registry."
    )
    data_remote: str | None = Field(None, description="URL of the DVC remote; default <home>/remote.")
    mlflow_tracking_uri: str | None = Field(None, description="MLflow server; default a SQLite file in <home>.")
    ledger_url: str | None = Field(None, description="SQLAlchemy URL of the promotion ledger; default a SQLite file in <home>.")
    device: str = Field("auto", description="auto, cpu or cuda.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Weights of models that run; auto: bfloat16 on CUDA, else float32."
    )
    threads: int = Field(2, ge=1, description="CPU threads for torch and ONNX Runtime; part of what makes results repeatable.")

    @field_validator("root", "home")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @field_validator("data_registry", "data_remote")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        if url is not None and "://" in url and urlsplit(url).password is not None:
            raise ValueError("holds a password, which would be committed and printed: use a git credential helper, or DVC's config.local")
        return url

    @property
    def registry_path(self) -> Path:
        """The data registry on this machine; a shared one is cloned to its default place."""
        return Path(self.data_registry).expanduser() if self.data_registry and not self.registry_url else self.home / "registry"

    @property
    def registry_url(self) -> str | None:
        """Where a shared data registry is pushed: `TIMBRE_DATA_REGISTRY` if it is a URL, or git's short form HOST:PATH."""
        given = self.data_registry or ""
        return given if "://" in given or re.match(r"[^/.~][^/]*:", given) else None

    @property
    def remote_url(self) -> str:
        return self.data_remote or str(self.home / "remote")

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def ledger(self) -> str:
        return self.ledger_url or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def downloads(self) -> Path:
        """Package files fetched at set-up, by sha256; safe to delete, then fetched again."""
        return self.home / "downloads"


@lru_cache
def settings() -> Settings:
    """The settings of this process, read once. Tests clear it with `settings.cache_clear()`."""
    return Settings()
