"""Approvals: a candidate that passed and waits for a person, bound to its bundle and its verdict; decided once, in time, or not at all.

A new candidate of a model takes the place of the one that waits: nobody approves what was overtaken.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import DateTime, String, Text, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from timbre.registry.database import in_utc, open_tables

Decision = Literal["approved", "refused"]
State = Literal["waiting", "approved", "refused", "overtaken", "expired"]


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
    __tablename__ = "approvals"

    verdict: Mapped[str] = mapped_column(String(64), primary_key=True)
    bundle: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(200), index=True)
    style: Mapped[str] = mapped_column(String(48))
    version: Mapped[int]
    run: Mapped[str] = mapped_column(String(200), default="")
    run_name: Mapped[str] = mapped_column(String(200), default="")
    asked: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    until: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    state: Mapped[str] = mapped_column(String(16), index=True)
    by: Mapped[str] = mapped_column(String(200), default="")
    why: Mapped[str] = mapped_column(Text, default="")


@dataclass(frozen=True)
class Approval:
    """What waits, for how long, and what was decided by whom."""

    verdict: str
    bundle: str
    model: str
    style: str
    version: int
    run: str
    """Id of the flow run that asks; empty where no server was named."""
    run_name: str
    asked: datetime
    until: datetime
    state: State
    by: str = ""
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "asked": self.asked.isoformat(timespec="seconds"), "until": self.until.isoformat(timespec="seconds")}


class Approvals:
    """The approvals in the ledger's database."""

    def __init__(self, url: str) -> None:
        self._engine = open_tables(url, _Base)

    def ask(
        self, verdict: str, bundle: str, model: str, style: str, version: int, *, hours: float, run: str = "", run_name: str = ""
    ) -> Approval:
        """The approval of a verdict: the one that was asked for before, or a new one in place of any that waits for this model."""
        now = datetime.now(UTC)
        with Session(self._engine) as session:
            row = session.get(_Row, verdict)
            if row is not None:
                if run and row.state == "waiting":  # asked again by another run: that one is resumed
                    row.run, row.run_name = run, run_name
                    session.commit()
                return _approval(row, now)
            session.execute(update(_Row).where(_Row.model == model, _Row.state == "waiting").values(state="overtaken"))
            row = _Row(
                verdict=verdict, bundle=bundle, model=model, style=style, version=version, run=run, run_name=run_name, asked=now,
                until=now + timedelta(hours=hours), state="waiting",
            )  # fmt: skip
            session.add(row)
            session.commit()
            return _approval(row, now)

    def all(self, *, waiting: bool = False) -> list[Approval]:
        """Every approval, oldest first, or those that wait still."""
        now = datetime.now(UTC)
        with Session(self._engine) as session:
            found = [_approval(row, now) for row in session.scalars(select(_Row).order_by(_Row.asked))]
        return [one for one in found if one.state == "waiting"] if waiting else found

    def find(self, run: str) -> Approval:
        """By the flow run's id or name, or the first digits of the verdict or of the run's id; of several, the one that waits.

        Raises:
            ValueError: none, or several; the sentence lists those that wait.
        """
        every = self.all()
        exact = [one for one in every if run in (one.run, one.run_name, one.verdict)]
        found = exact or [one for one in every if len(run) >= 4 and (one.verdict.startswith(run) or one.run.startswith(run))]
        waiting = [one for one in found if one.state == "waiting"]
        if len(waiting) == 1 or (not waiting and found):
            return (waiting or found)[-1]
        names = ", ".join(f"{one.verdict[:12]} ({one.model} v{one.version})" for one in every if one.state == "waiting") or "none"
        raise ValueError(f"{'several approvals match' if waiting else 'no approval is asked for by'} {run!r}: those that wait are {names}")

    def decide(self, asked: Approval, decision: Decision, by: str, why: str, *, bundle: str, verdict: str) -> Approval:
        """Approve or refuse, once.

        Args:
            bundle, verdict: digests of what the person saw.

        Raises:
            ValueError: it is about something else, came too late, or was decided already.
        """
        who = f"{asked.model} v{asked.version}"
        if (bundle, verdict) != (asked.bundle, asked.verdict):
            raise ValueError(
                f"{who}: decided is model {bundle[:12]} with verdict {verdict[:12]}, what waits is model {asked.bundle[:12]} with "
                f"verdict {asked.verdict[:12]}: look at the table again"
            )
        now = datetime.now(UTC)
        with Session(self._engine) as session:
            done = session.execute(
                update(_Row)
                .where(_Row.verdict == verdict, _Row.state == "waiting", _Row.until > now)
                .values(state=decision, by=by, why=why)
            )
            session.commit()
            row = session.get(_Row, verdict)
            assert row is not None, "it was asked for"
            found = _approval(row, now)
        if not done.rowcount:  # type: ignore[attr-defined]
            raise ValueError(_too_late(found))
        return found

    def close(self) -> None:
        self._engine.dispose()


def _too_late(found: Approval) -> str:
    who = f"{found.model} v{found.version}"
    match found.state:
        case "expired":
            return f"{who}: the time to decide was over at {found.until:%Y-%m-%d %H:%M} UTC: `timbre promote {found.version}` by hand"
        case "overtaken":
            return f"{who}: a newer candidate has taken its place; see `timbre status`"
        case _:
            return f"{who} was {found.state} already, by {found.by or 'nobody named'}: a decision counts once"


def _approval(row: _Row, now: datetime) -> Approval:
    until, asked = in_utc(row.until), in_utc(row.asked)
    state: Any = "expired" if row.state == "waiting" and until <= now else row.state
    return Approval(
        row.verdict, row.bundle, row.model, row.style, row.version, row.run, row.run_name, asked, until, state, row.by, row.why
    )  # fmt: skip
