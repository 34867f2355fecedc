"""MLflow as Timbre uses it: one run a candidate, one registered model a style and base. Implements `ModelRegistry`.

MLflow sets aliases last-writer-wins and registers the same source twice; the ledger decides who is champion, and the
`timbre.verdict` tag decides what is registered already.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact
from timbre.registry.ports import Version
from timbre.settings import Settings
from timbre.tasks.stores.pyfunc import DATA, write_mlmodel
from timbre.tasks.stores.relocation import ARTIFACTS, relocate
from timbre.tasks.stores.run_page import KIND, RunPage, describe_experiment, show_run

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

_KEY = "timbre.adapter_key"
_OURS = ("timbre.verdict", "timbre.bundle")
"""Tags that every version has that Timbre registered."""
_BATCH = 1000
_PAGE = 100
BUNDLE, MODEL, COMPARISON = "bundle", "model", "comparison"
_going: dict[str, "MlflowStore"] = {}
"""Runs that this process has begun or gone on with, and not ended yet."""


class MlflowStore:
    """Runs, metrics, artifacts and versions on one tracking server."""

    def __init__(self, client: "MlflowClient", artifact_location: str | None) -> None:
        self._client = client
        self._location = artifact_location

    @classmethod
    def open(cls, settings: Settings) -> "MlflowStore":
        """Connect. The embedded default keeps artifacts beside its database; a server decides for itself.

        Raises:
            ValueError: the home was moved while another program uses its database.
        """
        import logging

        logging.getLogger("alembic").setLevel(logging.WARNING)
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # after the import, which sets it to INFO

        local = settings.tracking_uri.startswith("sqlite")
        client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
        if settings.mlflow_tracking_uri is None:
            database = settings.home / "mlflow.db"
            if not database.exists():
                client.search_experiments(max_results=1)  # makes it
            relocate(database, settings.home)
        location = (settings.home / ARTIFACTS).resolve().as_uri() if local else None
        return cls(client, location)

    def run_for(self, key: str, style: str, name: str, parameters: Mapping[str, Any]) -> str:
        """The id of the run of this adapter key; the same run again after a crash, so that nothing is doubled.

        MLflow has no unique key for runs. Two that search and create at once look again afterwards: the older run stays.
        Whoever asks ends it (`end_run`), or lets `fail_runs` do so when something goes wrong on the way.
        """
        run = self._run_for(key, style, name, parameters)
        _going[run] = self
        return run

    def _run_for(self, key: str, style: str, name: str, parameters: Mapping[str, Any]) -> str:
        experiment = self._experiment(f"timbre-{style}")
        if (found := self._oldest(experiment, key)) is not None:
            return found
        ours = str(self._client.create_run(experiment, run_name=name, tags={_KEY: key}).info.run_id)
        if (first := self._oldest(experiment, key)) not in (ours, None):
            self._client.delete_run(ours)
            return str(first)
        for field, value in parameters.items():
            self._client.log_param(ours, field, value)
        return ours

    def _oldest(self, experiment: str, key: str) -> str | None:
        order = ["attributes.start_time ASC", "attributes.run_id ASC"]
        found = self._client.search_runs([experiment], filter_string=f"tags.`{_KEY}` = '{key}'", order_by=order, max_results=1)
        return str(found[0].info.run_id) if found else None

    def log_curve(self, run: str, rows: Iterable[Mapping[str, float]]) -> None:
        """Training metrics; each row has a `step`, and every other number in it becomes `training/<name>`."""
        from mlflow.entities import Metric

        batch: list[Metric] = []
        for row in rows:
            figures = [(name, value) for name, value in row.items() if name != "step" and isinstance(value, int | float)]
            if len(batch) + len(figures) > _BATCH:  # a row goes whole or not at all: a killed run must not leave half of one
                self._client.log_batch(run, metrics=batch)
                batch = []
            batch += [Metric(f"training/{name}", float(value), 0, int(row["step"])) for name, value in figures]
        if batch:
            self._client.log_batch(run, metrics=batch)

    def last_step(self, run: str) -> int:
        """The last training step that was logged, −1 if none was (0 is the look before training)."""
        history = self._client.get_metric_history(run, "training/tokens")
        return max((metric.step for metric in history), default=-1)

    def tag(self, run: str, name: str) -> str | None:
        """A tag of a run, or None."""
        value: str | None = self._client.get_run(run).data.tags.get(name)
        return value

    def log_outcome(self, run: str, verdict: Artifact, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Gate figures, the report and the verdict of a finished candidate."""
        for name, value in metrics.items():
            self._client.log_metric(run, name, value)
        for name, text in tags.items():
            self._client.set_tag(run, name, text)
        for name in ("verdict.json", "report.html", "report.md"):
            self._client.log_artifact(run, str(verdict.file(name)))

    def show(self, run: str, page: RunPage) -> None:
        """Words, figures of both models, data and samples of a finished candidate."""
        show_run(self._client, run, page)

    def log_page(self, run: str, page: Path, folder: str) -> None:
        """Keep a page beside the figures of a run, unless one of that name is there."""
        if f"{folder}/{page.name}" not in {item.path for item in self._client.list_artifacts(run, folder)}:
            self._client.log_artifact(run, str(page), folder)

    def links(self, version: Version, address: str) -> dict[str, str]:
        """What a browser opens of a version at MLflow's `address`: its page, its report, and the comparison if one was kept."""
        run = version.tags["timbre.run"]
        files = f"{address}/{self._artifacts(run)}"
        found = {"version": f"{address}/#/models/{version.model}/versions/{version.number}", "report": f"{files}/report.html"}
        compared = [item.path for item in self._client.list_artifacts(run, COMPARISON)]
        return found | ({"comparison": f"{files}/{compared[-1]}"} if compared else {})

    def describe(self, version: Version, words: str) -> None:
        """What the registry's page says of a version, with a link to its report that holds at any address of this MLflow."""
        report = f"[The report]({self._artifacts(version.tags['timbre.run'])}/report.html)"
        self._client.update_model_version(version.model, str(version.number), f"{words}\n\n{report}")

    def _artifacts(self, run: str) -> str:
        """Where MLflow's page shows the files of a run, below its address."""
        return f"#/experiments/{self._client.get_run(run).info.experiment_id}/runs/{run}/artifacts"

    def end_run(self, run: str, *, ok: bool = True) -> None:
        _going.pop(run, None)
        self._client.set_terminated(run, "FINISHED" if ok else "FAILED")

    def models(self) -> list[str]:
        """The registered models of Timbre."""
        return sorted(item.name for item in _all(self._client.search_registered_models) if item.name.startswith("timbre-"))

    def versions(self, model: str) -> list[Version]:
        """Those that Timbre registered; what somebody else put under the same name is passed over (`foreign` numbers it)."""
        return [version for version in self._registered(model) if _is_ours(version)]

    def foreign(self, model: str) -> list[int]:
        """Numbers of the versions under this name that carry no tags of Timbre."""
        return [version.number for version in self._registered(model) if not _is_ours(version)]

    def _registered(self, model: str) -> list[Version]:
        aliases: dict[int, list[str]] = {}
        registered = self._client.search_registered_models(f"name = '{model}'")
        if not registered:
            return []
        for alias, number in registered[0].aliases.items():
            aliases.setdefault(int(number), []).append(alias)
        found = _all(self._client.search_model_versions, filter_string=f"name = '{model}'")
        return sorted((_version(item, aliases) for item in found), key=lambda version: version.number)

    def register(self, model: str, bundle: Path, tags: Mapping[str, str]) -> Version:
        """Also when two register one verdict at once: the lower number stays, the other is taken back."""
        if (known := self._version_of(model, tags["timbre.verdict"])) is not None:
            return known
        self._make_model(model)
        run = tags["timbre.run"]
        place = f"{MODEL}/{tags['timbre.bundle']}"  # one adapter may be exported twice: neither overwrites the other
        self._client.log_artifacts(run, str(bundle), f"{place}/{DATA}")
        with tempfile.TemporaryDirectory() as folder:
            write_mlmodel(Path(folder))
            self._client.log_artifacts(run, folder, place)
        source = f"{self._client.get_run(run).info.artifact_uri}/{place}"
        ours = self._client.create_model_version(model, source, run_id=run, tags=dict(tags))
        first = self._version_of(model, tags["timbre.verdict"])
        if first is not None and first.number < int(ours.version):
            self._client.delete_model_version(model, str(ours.version))
            return first
        return _version(ours, {})

    def _version_of(self, model: str, verdict: str) -> Version | None:
        return next((version for version in self.versions(model) if version.tags.get("timbre.verdict") == verdict), None)

    def _make_model(self, model: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(model, description=_about(model))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def set_alias(self, model: str, alias: str, number: int) -> None:
        self._client.set_registered_model_alias(model, alias, str(number))

    def delete_alias(self, model: str, alias: str) -> None:
        if alias in self._client.get_registered_model(model).aliases:
            self._client.delete_registered_model_alias(model, alias)

    def download(self, version: Version, folder: Path) -> Path:
        from mlflow.exceptions import MlflowException

        run, place = version.tags["timbre.run"], f"{MODEL}/{version.bundle}/{DATA}"
        try:
            if not self._client.list_artifacts(run, place):
                place = f"{BUNDLE}/{version.bundle}"  # as versions were kept before they had an MLmodel
            return Path(self._client.download_artifacts(run, place, str(folder)))
        except (MlflowException, OSError) as error:
            raise ValueError(f"MLflow does not give the bundle of {version.model} v{version.number}: {error}") from error

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                made = str(self._client.create_experiment(name, artifact_location=self._location and f"{self._location}/{name}"))
                describe_experiment(self._client, made, name.removeprefix("timbre-"))
                return made
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self._client.get_experiment_by_name(name)  # another run made it meanwhile
        assert found is not None
        if KIND not in found.tags:  # of a version before
            describe_experiment(self._client, str(found.experiment_id), name.removeprefix("timbre-"))
        return str(found.experiment_id)


def _about(model: str) -> str:
    style = model.removeprefix("timbre-").partition("--")[0]
    return f"Writes in the style {style!r}, learnt by Distribution Fine-Tuning. The alias champion is what is served."


def fail_runs() -> None:
    """End as FAILED what this process has begun and not ended; for whoever passes an error on, which this must not replace."""
    for run, store in list(_going.items()):
        try:
            store.end_run(run, ok=False)
        except Exception as error:
            warnings.warn(f"MLflow's run {run} could not be ended and still says RUNNING: {error}", stacklevel=2)


def _all(search: Callable[..., Any], **options: Any) -> Iterator[Any]:
    """Every result of one of MLflow's searches, page after page."""
    token: str | None = None
    while True:
        page = search(max_results=_PAGE, page_token=token, **options)
        yield from page
        if not (token := page.token):
            return


def _is_ours(version: Version) -> bool:
    return all(version.tags.get(name) for name in _OURS)


def _version(item: "ModelVersion", aliases: Mapping[int, list[str]]) -> Version:
    number = int(item.version)
    return Version(item.name, number, dict(item.tags), tuple(aliases.get(number, ())))
