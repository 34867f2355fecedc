"""The database that the ledger, requests, approvals and observations keep their tables in, each its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.orm import DeclarativeBase

_LOCK = 7_203_114
"""The number of PostgreSQL's advisory lock under which one process at a time makes or changes tables."""


def open_tables(url: str, base: type[DeclarativeBase]) -> Engine:
    """The database at `url`, with the tables of `base` made where they are missing.

    Raises:
        DatabaseError: it cannot be opened, or takes no tables.
    """
    engine = create_engine(url)
    if not base.metadata.tables.keys() <= set(inspect(engine).get_table_names()):
        with alone(engine) as connection:
            base.metadata.create_all(connection)
    return engine


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """One transaction in which no other process makes or changes tables: a look at what is there holds until the commit."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def in_utc(at: datetime) -> datetime:
    """SQLite gives back what was written without its zone, PostgreSQL in the zone of the session."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
