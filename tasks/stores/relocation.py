"""A home that was moved or copied: MLflow's database names its artifact folder by absolute paths, which are brought along.

Without this a copied home would write into the folder that it was copied from.
"""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlflow-artifacts"
"""Folder of MLflow's artifacts in a home."""
_COLUMNS = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
    "logged_models": ("artifact_location",),
}
"""Where MLflow's schema keeps places of artifacts; tables and columns that a version of it lacks are passed over."""


def relocate(database: Path, home: Path) -> str | None:
    """Bring the artifact places of an embedded MLflow along to `home`, all of them or none.

    Returns:
        The old place of the home, if it had another one.

    Raises:
        ValueError: the database is in use by another program; the sentence says what to do.
    """
    if not database.is_file():
        return None
    here = (home / ARTIFACTS).resolve().as_uri()
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        try:
            old = {place for place in _experiments(connection) if place != here}
            for place in old:
                _move(connection, place, here)
            _house_default(connection, here)
            connection.commit()
        except sqlite3.OperationalError as error:
            connection.rollback()
            raise ValueError(
                f"{home} was moved, and {database.name} cannot be updated ({error}): stop what uses it and try again"
            ) from error
    if not old:
        return None
    return str(Path(unquote(urlsplit(min(old)).path)).parent)


def _experiments(connection: sqlite3.Connection) -> set[str]:
    """The artifact folders that our experiments lie in; an experiment that another program put elsewhere is none of ours."""
    rows: list[tuple[str]] = []
    with suppress(sqlite3.OperationalError):  # no such table: nothing was ever logged here
        rows = connection.execute("SELECT artifact_location FROM experiments WHERE name LIKE 'timbre-%'").fetchall()
    return {location.rpartition("/")[0] for (location,) in rows if location.startswith("file:") and f"/{ARTIFACTS}/" in location}


def _house_default(connection: sqlite3.Connection, here: str) -> None:
    """MLflow's own experiment "Default" belongs to the home as well: MLflow puts it into whatever folder it was first started in."""
    with suppress(sqlite3.OperationalError):
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = 0 AND name = 'Default' "
            "AND artifact_location LIKE '%/mlruns/0' AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.experiment_id = 0)",
            (f"{here}/Default",),
        )


def _move(connection: sqlite3.Connection, old: str, new: str) -> None:
    for table, columns in _COLUMNS.items():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for column in known.intersection(columns):
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",  # nosec B608: names of our own table
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )
