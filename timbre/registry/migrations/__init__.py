"""The versions of the ledger's tables (Alembic): a ledger of an older Timbre is brought up to this one's when it is opened.

A change of `timbre.registry.rows` is a new file in `versions/`, and `HEAD` its number; a test compares what the migrations make with what
the rows say. A ledger made before there were versions has some of the tables: each migration makes only what is missing.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase

from timbre.registry.database import alone

HEAD = "0004"
"""The newest version."""
VERSIONS = "ledger_version"
"""The table that says which version a database has; Alembic's own form, under a name of ours."""


def version_of(engine: Engine) -> str | None:
    """The version that a database says it has; None where it says nothing."""
    try:
        with engine.connect() as connection:
            return _version(connection)
    except DatabaseError:  # there is no such table
        return None


def bring_up_to_date(engine: Engine, base: type[DeclarativeBase]) -> None:
    """Make the tables of `base` in an empty database, or migrate those that an older version made; rows stay as they are.

    Raises:
        ValueError: a newer version of Timbre made them.
        DatabaseError: the database cannot be opened, or takes no tables.
    """
    found = version_of(engine)
    if found == HEAD:
        return
    if found is not None and found not in known():
        raise ValueError(
            f"the ledger has version {found} and this Timbre knows versions up to {HEAD}: install the Timbre that wrote it, or restore a "
            "backup from before (`timbre restore`)"
        )
    with alone(engine) as connection:
        if inspect(connection).has_table("moves"):
            _migrate(connection)
        else:
            _make(connection, base)


def known() -> list[str]:
    """The versions that this Timbre can migrate from, oldest first."""
    return [f"{number:04}" for number in range(1, int(HEAD) + 1)]


def _make(connection: Connection, base: type[DeclarativeBase]) -> None:
    """All tables as they are now, and their version."""
    base.metadata.create_all(connection)
    connection.execute(text(f"CREATE TABLE IF NOT EXISTS {VERSIONS} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {VERSIONS} VALUES (:head)"), {"head": HEAD})  # nosec B608: our own name


def _migrate(connection: Connection) -> None:
    """Every migration that is missing."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _version(connection: Connection) -> str | None:
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalar()  # nosec B608: our own name
    return found
