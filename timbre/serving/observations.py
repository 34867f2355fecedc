"""What was seen of served texts: whether they were written to their end, how fast, and their style as numbers. No word of them.

Rows of the ledger's database, so that several servers of one home add to the same figures and a restart loses none. They are no
evidence by themselves and are thrown away as newer ones come; a decision that rests on them keeps its figures in the ledger.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import DateTime, LargeBinary, String, delete, func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from timbre.registry.database import open_tables
from timbre.serving.style import Features


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
    __tablename__ = "observations"

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    version: Mapped[int]
    client: Mapped[str] = mapped_column(String(16))
    ok: Mapped[bool]
    tokens: Mapped[int]
    first_ms: Mapped[float | None]
    token_ms: Mapped[float | None]
    ruler: Mapped[str] = mapped_column(String(16))
    style: Mapped[bytes | None] = mapped_column(LargeBinary)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


@dataclass(frozen=True)
class Seen:
    """One text. `client` is a salted hash; `ruler` names the human texts that `style` is measured by."""

    client: str
    ok: bool
    tokens: int
    first_ms: float | None
    token_ms: float | None
    ruler: str = ""
    style: Features | None = None


class Observations:
    """The table."""

    def __init__(self, url: str, keep: int = 2000) -> None:
        """Open it, or make it.

        Args:
            keep: newest texts of a version that stay.
        """
        self._engine, self._keep = open_tables(url, _Base), keep

    def add(self, model: str, version: int, seen: Iterable[Seen], at: datetime | None = None) -> None:
        """Add texts of a version, and forget the oldest beyond `keep`."""
        now = at or datetime.now(UTC)
        rows = [
            {
                "model": model, "version": version, "client": one.client, "ok": one.ok, "tokens": one.tokens, "first_ms": one.first_ms,
                "token_ms": one.token_ms, "ruler": one.ruler, "style": None if one.style is None else one.style.tobytes(), "at": now,
            }
            for one in seen
        ]  # fmt: skip
        if not rows:
            return
        mine = (_Row.model == model, _Row.version == version)
        with Session(self._engine) as session:
            session.execute(insert(_Row), rows)
            if (count := session.scalar(select(func.count()).where(*mine)) or 0) > self._keep:
                oldest = select(_Row.id).where(*mine).order_by(_Row.id).limit(count - self._keep)
                session.execute(delete(_Row).where(_Row.id.in_(oldest.scalar_subquery())))
            session.commit()

    def newest(self, model: str, version: int, since: datetime | None = None, most: int = 1000) -> list[Seen]:
        """The newest texts of a version, oldest first."""
        columns = (_Row.client, _Row.ok, _Row.tokens, _Row.first_ms, _Row.token_ms, _Row.ruler, _Row.style)
        query = select(*columns).where(_Row.model == model, _Row.version == version).order_by(_Row.id.desc()).limit(most)
        if since is not None:
            query = query.where(_Row.at >= since)
        with Session(self._engine) as session:
            found = [
                Seen(client, ok, tokens, first, token, ruler, None if style is None else np.frombuffer(style, np.float16))
                for client, ok, tokens, first, token, ruler, style in session.execute(query)
            ]
        return found[::-1]

    def close(self) -> None:
        """Let the database go."""
        self._engine.dispose()
