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

PACKAGED = Path(__file__).resolve().parent / "_data"
"""Data files and configuration as they ship: in the wheel files, in a checkout links to where they are kept."""
PROJECT_ROOT = Path(__file__).resolve().parents[1]
"""The checkout, where this is one; else whatever folder packages are installed in."""


def project() -> Path | None:
    """The project in force: the working folder or the nearest above it that `timbre init` wrote (a checkout is one as well).

    Outside of any, the checkout that this code runs from, or None if it was installed as a package.
    """
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents, PROJECT_ROOT) if _is_project(folder)), None)


def _is_project(folder: Path) -> bool:
    return (folder / "params.yaml").is_file() and (folder / "mlflow" / "policies").is_dir()


def _home() -> Path:
    return (project() or Path.cwd()) / ".timbre"


class Settings(BaseSettings):
    """The environment of one command. Each field is read from `TIMBRE_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="TIMBRE_", frozen=True, extra="ignore", hide_input_in_errors=True)

    root: Path = Field(
        default_factory=lambda: project() or PACKAGED,
        description="data/, mlflow/policies/, dvc.yaml and params.yaml are read from here, or as they ship where it has none; "
        "default the project around the working folder, else the checkout that runs.",
    )
    home: Path = Field(
        default_factory=_home,
        description="Everything Timbre writes: artifacts, work in progress, local databases; default .timbre in the project, "
        "or in the working folder where there is none.",
    )
    start: Path | None = Field(None, description="Where relative model folders begin; default the working folder. Set for child processes.")
    data_registry: str | None = Field(
        None, description="Git + DVC repository of corpora and targets: folder or URL; default <home>/registry."
    )
    data_remote: str | None = Field(None, description="URL of the DVC remote; default <home>/remote.")
    artifact_store: str | None = Field(
        None,
        description="Folder or URL (s3://…, any that fsspec knows) of artifacts that machines share: what is there is fetched, not built.",
    )
    mlflow_tracking_uri: str | None = Field(None, description="MLflow server; default a SQLite file in <home>.")
    mlflow_page: str | None = Field(None, description="MLflow in a browser, where that address is not the one above; links go there.")
    ledger_url: str | None = Field(None, description="SQLAlchemy URL of the promotion ledger; default a SQLite file in <home>.")
    device: str = Field("auto", description="auto, cpu or cuda.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Numbers in which models run; auto: bfloat16 where it is faster (CUDA, CPUs with units for it), else float32."
    )
    threads: int = Field(2, ge=1, description="CPU threads for torch and ONNX Runtime; part of what makes results repeatable.")
    target_workers: int = Field(1, ge=1, description="Processes that build a target together; of Ray, how many a local cluster starts.")
    ray_address: str | None = Field(
        None, description="Ray cluster that builds targets: auto, ray://HOST:PORT, or local for one of TIMBRE_TARGET_WORKERS here."
    )
    budget_minutes: float | None = Field(
        None, gt=0, description="What a release may take: then it stops, before a stage or behind a checkpoint, and goes on when told to."
    )
    when_busy: Literal["refuse", "wait"] = Field(
        "refuse", description="A release while another run of this home goes on is refused by name, or waits until that has ended."
    )
    hour_price: float | None = Field(
        None,
        ge=0,
        description="Price of an hour of this machine, in the money you count in; plan and report then say what a release costs.",
    )

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

    @field_validator("artifact_store")
    @classmethod
    def _one_place(cls, url: str | None) -> str | None:
        """A folder by its whole path: child processes, which may work elsewhere, are told the same one."""
        if url is None or "://" not in url:
            return None if not url else str(Path(url).expanduser().absolute())
        if urlsplit(url).password is not None:
            raise ValueError("holds a password, which would be printed: give it by the environment (AWS_SECRET_ACCESS_KEY, for example)")
        return url

    def file(self, name: str) -> Path:
        """A file or folder by its name from the root (`data/contract/corpus.toml`): the project's own, else the one that ships."""
        own, shipped = self.root / name, PACKAGED / name
        return own if own.exists() or not shipped.exists() else shipped

    def files(self, folder: str, ending: str = ".toml") -> dict[str, Path]:
        """The files of a folder by name without ending, sorted: those that ship, and the project's own instead or beside them."""
        found = {path.stem: path for place in (PACKAGED, self.root) for path in (place / folder).glob(f"*{ending}")}
        return dict(sorted(found.items()))

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
    def mlflow_pages(self) -> str | None:
        """Where a browser finds MLflow; None without a server."""
        address = self.mlflow_page or (self.tracking_uri if self.tracking_uri.startswith("http") else None)
        return address and address.rstrip("/")

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
