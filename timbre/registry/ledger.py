"""The ledger: who was champion when, on what evidence, and what it replaced; and every verdict that was ever reached.

Append-only tables, chained by hash (`timbre.registry.chain`). A verdict is written whatever it says, so that whoever shares the
ledger knows what did not pass, also where it was judged on another machine. A ledger from before there were verdicts or links gains
their tables when it is opened; its moves stay.

Move n+1 of a model can be written once (a unique key on model and sequence), which makes every
move a compare-and-set: two promoters that both saw move n cannot both win, on SQLite and PostgreSQL alike.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import DateTime, Engine, Select, String, UniqueConstraint, create_engine, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.exc import IntegrityError as DuplicateKeyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from timbre.artifacts import IntegrityError
from timbre.registry.chain import START, Checked, Link, check, link_of
from timbre.statistics import Verdict

TransitionKind = Literal["promote", "rollback"]


_TURNS = 100
"""How often a verdict makes way for others that are written at the same time."""


class CompareAndSetLost(Exception):
    """Somebody else moved the champion between our look and our write. Look again, then decide again."""


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
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


class _VerdictRow(_Base):
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


class _LinkRow(_Base):
    __tablename__ = "links"
    __table_args__ = (UniqueConstraint("model", "kind", "number"), UniqueConstraint("model", "kind", "row"))

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    number: Mapped[int]
    row: Mapped[str] = mapped_column(String(64))
    link: Mapped[str] = mapped_column(String(64))


_Table = type[_Row] | type[_VerdictRow]
_TABLES: tuple[_Table, ...] = (_Row, _VerdictRow)


@dataclass(frozen=True)
class Judged:
    """A verdict that was reached: digests of the verdict and of what it is about, and the policy by name and wording."""

    model: str
    verdict: str
    outcome: Verdict
    policy: str
    wording: str
    """Digest of the policy's file."""
    strictness: int
    bundle: str
    candidate: str
    """Digest of the candidate's evaluation, and `base` of what it was compared with."""
    base: str

    @property
    def evidence(self) -> tuple[str, str, str]:
        """What was judged: the same under whatever wording."""
        return self.bundle, self.candidate, self.base


@dataclass(frozen=True)
class Transition:
    """One change of champion. `sequence` counts the moves of a model from 1; `replaced_version` is now `previous`."""

    model: str
    sequence: int
    kind: TransitionKind
    version: int
    verdict: str
    policy: str
    strictness: int
    replaced_version: int | None
    reason: str
    at: datetime
    """In UTC, and says so."""
    applied: bool
    """Whether the aliases are known to have followed; if not, they are repaired at the next start."""


class Ledger:
    """The moves and the verdicts of every model, oldest first."""

    def __init__(self, url: str) -> None:
        self._engine: Engine = create_engine(url)
        try:
            _Base.metadata.create_all(self._engine)
        except DatabaseError:  # another process made the table between our look and our CREATE; if not, this raises again
            _Base.metadata.create_all(self._engine)

    def transitions(self, model: str | None = None) -> list[Transition]:
        query = select(_Row).order_by(_Row.id)
        if model is not None:
            query = query.where(_Row.model == model)
        with Session(self._engine) as session:
            return [_transition(row) for row in session.scalars(query)]

    def latest(self, model: str) -> Transition | None:
        """The move that made the present champion, or None if there never was one."""
        transitions = self.transitions(model)
        return transitions[-1] if transitions else None

    def append(
        self,
        seen: Transition | None,
        *,
        model: str,
        kind: TransitionKind,
        version: int,
        verdict: str,
        policy: str,
        strictness: int,
        reason: str,
    ) -> Transition:
        """Write the move that follows `seen`, the latest move the caller knows of.

        Raises:
            CompareAndSetLost: another move followed `seen` already.
            ValueError: a text is longer than its column; PostgreSQL would refuse it, SQLite would not.
        """
        _check_lengths(_Row, model=model, verdict=verdict, policy=policy, reason=reason)
        row = _Row(
            model=model,
            sequence=1 if seen is None else seen.sequence + 1,
            kind=kind,
            version=version,
            verdict=verdict,
            policy=policy,
            strictness=strictness,
            replaced_version=None if seen is None else seen.version,
            reason=reason,
            at=datetime.now(UTC),
        )
        row_sequence = row.sequence
        with Session(self._engine) as session:
            _seal(session, row)
            session.add(row)
            try:
                session.commit()
            except DuplicateKeyError as error:
                session.rollback()
                latest = self.latest(model)
                if (0 if latest is None else latest.sequence) < row_sequence:
                    raise IntegrityError(
                        f"the ledger has a link of a later move of {model} and not the move: `timbre doctor` says more"
                    ) from error
                raise CompareAndSetLost(
                    f"{model}: another process moved the champion first; see `timbre history`, then try again"
                ) from error
            return _transition(row)

    def mark_applied(self, transition: Transition) -> None:
        """Note that the aliases have followed `move`."""
        with Session(self._engine) as session:
            session.execute(update(_Row).where(_Row.model == transition.model, _Row.sequence == transition.sequence).values(applied=True))
            session.commit()

    def record(self, judged: Judged) -> None:
        """Write down a verdict; one that stands there already stays as it is.

        Raises:
            ValueError: a text is longer than its column.
            IntegrityError: rows were removed from the ledger.
        """
        _check_lengths(_VerdictRow, **{name: value for name, value in asdict(judged).items() if isinstance(value, str)})
        there = select(_VerdictRow.id).where(_VerdictRow.model == judged.model, _VerdictRow.verdict == judged.verdict)
        for _ in range(_TURNS):
            with Session(self._engine) as session:
                if session.scalar(there) is not None:  # written before, by this run or on another machine
                    return
                row = _VerdictRow(**asdict(judged), at=datetime.now(UTC))
                _seal(session, row)
                session.add(row)
                try:
                    session.commit()
                    return
                except DuplicateKeyError:  # this verdict or another one came in between
                    session.rollback()
        raise IntegrityError(f"the ledger has a link of verdict {judged.verdict[:12]} and not the verdict: `timbre doctor` says more")

    def verdicts(self, model: str | None = None) -> list[tuple[Judged, datetime]]:
        """Every verdict of a model, or of all, in the order in which they were written, and when that was (UTC)."""
        query = select(_VerdictRow).order_by(_VerdictRow.id)
        if model is not None:
            query = query.where(_VerdictRow.model == model)
        with Session(self._engine) as session:
            return [(_judged(row), _in_utc(row.at)) for row in session.scalars(query)]

    def check(self) -> dict[str, Checked]:
        """Whether every row is as it was written, by "moves of MODEL" and "verdicts of MODEL"; see `timbre.registry.chain`."""
        with Session(self._engine) as session:
            found: dict[str, Checked] = {}
            for table in _TABLES:
                kind = _kind_of(table)
                linked = session.scalars(select(_LinkRow.model).where(_LinkRow.kind == kind))
                for model in sorted({*session.scalars(select(table.model)), *linked}):
                    rows = {_name(row): _words(row) for row in _rows(session, table, model)}
                    links = [Link(link.number, link.row, link.link) for link in session.scalars(_links(kind, model))]
                    found[f"{kind}s of {model}"] = check(f"{kind} of {model}", rows, links)
            return found

    def close(self) -> None:
        self._engine.dispose()


def _rows(session: Session, table: _Table, model: str) -> list[_Row | _VerdictRow]:
    return list(session.scalars(select(table).where(table.model == model).order_by(table.id)))


def _seal(session: Session, row: _Row | _VerdictRow) -> None:
    """Add the link of a row that is about to be written; rows from before there were links get theirs first."""
    kind = _kind_of(type(row))
    links = list(session.scalars(_links(kind, row.model)))
    before, number = (links[-1].link, links[-1].number) if links else (START, 0)
    earlier = [] if links else _rows(session, type(row), row.model)
    for one in (*earlier, row):
        before, number = link_of(before, _words(one)), number + 1
        session.add(_LinkRow(model=row.model, kind=kind, number=number, row=_name(one), link=before))


def _links(kind: str, model: str) -> Select[tuple[_LinkRow]]:
    return select(_LinkRow).where(_LinkRow.kind == kind, _LinkRow.model == model).order_by(_LinkRow.number)


def _kind_of(table: _Table) -> str:
    return "move" if table is _Row else "verdict"


def _name(row: _Row | _VerdictRow) -> str:
    return str(row.sequence) if isinstance(row, _Row) else row.verdict


def _words(row: _Row | _VerdictRow) -> dict[str, Any]:
    """What a row says and will always say: not its id, and not whether the aliases have followed."""
    columns = [column.name for column in type(row).__table__.columns if column.name not in {"id", "applied", "at"}]
    return {name: getattr(row, name) for name in columns} | {"at": _in_utc(row.at).isoformat(timespec="microseconds")}


def _check_lengths(table: type[_Base], **texts: str) -> None:
    for name, text in texts.items():
        kind = table.__table__.columns[name].type
        assert isinstance(kind, String) and kind.length is not None
        if len(text) > kind.length:
            raise ValueError(f"the {name} has {len(text)} characters, and the ledger takes {kind.length}: shorten it")


def _transition(row: _Row) -> Transition:
    kind: TransitionKind = "rollback" if row.kind == "rollback" else "promote"
    return Transition(
        row.model,
        row.sequence,
        kind,
        row.version,
        row.verdict,
        row.policy,
        row.strictness,
        row.replaced_version,
        row.reason,
        _in_utc(row.at),
        row.applied,
    )


def _judged(row: _VerdictRow) -> Judged:
    outcome: Verdict = "PASS" if row.outcome == "PASS" else "FAIL" if row.outcome == "FAIL" else "INCONCLUSIVE"
    return Judged(
        row.model, row.verdict, outcome, row.policy, row.wording, row.strictness, row.bundle, row.candidate, row.base
    )  # fmt: skip


def _in_utc(at: datetime) -> datetime:
    """SQLite gives back what was written without its zone, PostgreSQL in the zone of the session."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
