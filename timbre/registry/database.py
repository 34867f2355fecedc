"""The database that the ledger, requests, approvals and observations keep their tables in, each its own."""

from datetime import UTC, datetime

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase


def open_tables(url: str, base: type[DeclarativeBase]) -> Engine:
    """The database at `url`, with the tables of `base` made where they are missing.

    Raises:
        DatabaseError: it cannot be opened, or takes no tables.
    """
    engine = create_engine(url)
    try:
        base.metadata.create_all(engine)
    except DatabaseError:  # another process made the table between our look and our CREATE; if not, this raises again
        base.metadata.create_all(engine)
    return engine


def in_utc(at: datetime) -> datetime:
    """SQLite gives back what was written without its zone, PostgreSQL in the zone of the session."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
