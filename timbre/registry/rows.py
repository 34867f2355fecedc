"""The ledger's tables: moves, verdicts and trials, and the links that chain the rows of each by hash (`timbre.registry.chain`)."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Float, Select, String, Text, UniqueConstraint, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from timbre.registry.chain import START, link_of
from timbre.registry.database import in_utc


class Base(DeclarativeBase):
    """Of every table here."""


class MoveRow(Base):
    """A change of champion."""

    __tablename__ = "moves"
    __table_args__ = (UniqueConstraint("model", "sequence"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    sequence: Mapped[int]
    kind: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    verdict: Mapped[str] = mapped_column(String(64))
    policy: Mapped[str] = mapped_column(String(100))
    strictness: Mapped[int]
    replaced_version: Mapped[int | None]
    reason: Mapped[str] = mapped_column(String(500))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    applied: Mapped[bool] = mapped_column(default=False)


class VerdictRow(Base):
    """A verdict that was reached."""

    __tablename__ = "verdicts"
    __table_args__ = (UniqueConstraint("model", "verdict"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    verdict: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    policy: Mapped[str] = mapped_column(String(100))
    wording: Mapped[str] = mapped_column(String(64))
    strictness: Mapped[int]
    bundle: Mapped[str] = mapped_column(String(64), index=True)
    candidate: Mapped[str] = mapped_column(String(64))
    base: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class LinkRow(Base):
    """A link of a chain."""

    __tablename__ = "links"
    __table_args__ = (UniqueConstraint("model", "kind", "number"), UniqueConstraint("model", "kind", "row"))

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    row: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))


class TrialRow(Base):
    """A row of a trial in serving."""

    __tablename__ = "trials"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    number: Mapped[int]
    event: Mapped[str] = mapped_column(String(16))
    version: Mapped[int]
    bundle: Mapped[str] = mapped_column(String(64))
    move: Mapped[int]
    share: Mapped[float] = mapped_column(Float)
    shadow: Mapped[bool] = mapped_column(Boolean)
    seed: Mapped[int] = mapped_column(BigInteger)
    reason: Mapped[str] = mapped_column(String(500))
    evidence: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


Row = MoveRow | VerdictRow | TrialRow
Table = type[MoveRow] | type[VerdictRow] | type[TrialRow]
TABLES: tuple[Table, ...] = (MoveRow, VerdictRow, TrialRow)
_KINDS: dict[type[Base], str] = {MoveRow: "move", VerdictRow: "verdict", TrialRow: "trial"}


def rows_of(session: Session, table: Table, model: str) -> list[Row]:
    """The rows of a model, oldest first."""
    return list(session.scalars(select(table).where(table.model == model).order_by(table.id)))


def seal(session: Session, row: Row) -> None:
    """Add the link of a row that is about to be written; rows from before there were links get theirs first."""
    kind = kind_of(type(row))
    links = list(session.scalars(links_of(kind, row.model)))
    before, number = (links[-1].link, links[-1].number) if links else (START, 0)
    earlier = [] if links else rows_of(session, type(row), row.model)
    for one in (*earlier, row):
        before, number = link_of(before, words_of(one)), number + 1
        session.add(LinkRow(model=row.model, kind=kind, number=number, row=name_of(one), link=before))


def links_of(kind: str, model: str) -> Select[tuple[LinkRow]]:
    """The links of a kind of rows, in order."""
    return select(LinkRow).where(LinkRow.kind == kind, LinkRow.model == model).order_by(LinkRow.number)


def kind_of(table: Table) -> str:
    """What a row of this table is called."""
    return _KINDS[table]


def name_of(row: Row) -> str:
    """How a link names its row."""
    return row.verdict if isinstance(row, VerdictRow) else str(row.sequence if isinstance(row, MoveRow) else row.number)


def words_of(row: Row) -> dict[str, Any]:
    """What a row says and will always say: not its id, and not whether the aliases have followed."""
    columns = [column.name for column in type(row).__table__.columns if column.name not in {"id", "applied", "at"}]
    return {name: getattr(row, name) for name in columns} | {"at": in_utc(row.at).isoformat(timespec="microseconds")}


def check_lengths(table: type[Base], **texts: str) -> None:
    """Raises: ValueError: a text is longer than its column; PostgreSQL would refuse it, SQLite would not."""
    for name, text in texts.items():
        kind = table.__table__.columns[name].type
        assert isinstance(kind, String) and kind.length is not None
        if len(text) > kind.length:
            raise ValueError(f"the {name} has {len(text)} characters, and the ledger takes {kind.length}: shorten it")
