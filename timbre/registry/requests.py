"""Retrain requests: what a monitor asks a person to decide, with its reason and its evidence; parked until somebody does.

A model has one open request at most: what is found again while it waits is the same question.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import DateTime, String, Text, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from timbre.registry.database import in_utc, open_tables

State = Literal["open", "approved", "dismissed"]


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
    __tablename__ = "retrain_requests"

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    style: Mapped[str] = mapped_column(String(48))
    version: Mapped[int]
    reason: Mapped[str] = mapped_column(Text)
    evidence: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(String(16), index=True)
    by: Mapped[str] = mapped_column(String(200), default="")
    why: Mapped[str] = mapped_column(Text, default="")


@dataclass(frozen=True)
class RetrainRequest:
    """One request: which champion, why, on what evidence, and what was decided by whom."""

    id: int
    model: str
    style: str
    version: int
    reason: str
    evidence: Mapping[str, Any]
    at: datetime
    state: State
    by: str
    why: str

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "at": self.at.isoformat(timespec="seconds"), "evidence": dict(self.evidence)}


class RetrainRequests:
    """The requests in the ledger's database, oldest first."""

    def __init__(self, url: str) -> None:
        self._engine = open_tables(url, _Base)

    def file(self, model: str, style: str, version: int, reason: str, evidence: Mapping[str, Any]) -> tuple[RetrainRequest, bool]:
        """The model's open request, and whether it is new: one that waits already stays as it is."""
        with Session(self._engine) as session:
            waiting = session.scalars(select(_Row).where(_Row.model == model, _Row.state == "open")).first()
            if waiting is not None:
                return _request(waiting), False
            row = _Row(
                model=model, style=style, version=version, reason=reason, evidence=json.dumps(dict(evidence)), at=datetime.now(UTC),
                state="open",
            )  # fmt: skip
            session.add(row)
            session.commit()
            return _request(row), True

    def all(self, *, waiting: bool = False) -> list[RetrainRequest]:
        """Every request, or those that wait."""
        query = select(_Row).order_by(_Row.id)
        with Session(self._engine) as session:
            return [_request(row) for row in session.scalars(query.where(_Row.state == "open") if waiting else query)]

    def decide(self, number: int, state: Literal["approved", "dismissed"], by: str, why: str) -> RetrainRequest:
        """Approve or dismiss a request that waits.

        Raises:
            ValueError: no such request, or it was decided already.
        """
        with Session(self._engine) as session:
            values = {"state": state, "by": by, "why": why}
            done = session.execute(update(_Row).where(_Row.id == number, _Row.state == "open").values(**values))
            session.commit()
            row = session.get(_Row, number)
            if row is None:
                known = ", ".join(str(request.id) for request in self.all(waiting=True)) or "none"
                raise ValueError(f"there is no retrain request {number}: those that wait are {known}")
            if not done.rowcount:  # type: ignore[attr-defined]
                raise ValueError(f"retrain request {number} was {row.state} already, by {row.by or 'nobody named'}")
            return _request(row)

    def close(self) -> None:
        self._engine.dispose()


def _request(row: _Row) -> RetrainRequest:
    state: State = "open" if row.state == "open" else "approved" if row.state == "approved" else "dismissed"
    return RetrainRequest(
        row.id, row.model, row.style, row.version, row.reason, json.loads(row.evidence), in_utc(row.at), state, row.by, row.why
    )  # fmt: skip
