"""The ledger: who was champion when, on what evidence, and what it replaced; and every verdict that was ever reached.

Append-only tables, chained by hash (`timbre.registry.chain`). A verdict is written whatever it says, so that whoever shares the
ledger knows what did not pass, also where it was judged on another machine. So are the trials of challengers in serving
(`timbre.registry.trials`). A ledger of an older version is migrated when it is opened (`timbre.registry.migrations`); its rows stay.

Move n+1 of a model can be written once (a unique key on model and sequence), which makes every
move a compare-and-set: two promoters that both saw move n cannot both win, on SQLite and PostgreSQL alike.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Engine, create_engine, inspect, select, update
from sqlalchemy.exc import IntegrityError as DuplicateKeyError
from sqlalchemy.orm import Session

from timbre.artifacts import IntegrityError
from timbre.registry.chain import Checked, Link, check
from timbre.registry.database import in_utc
from timbre.registry.migrations import bring_up_to_date
from timbre.registry.rows import (
    TABLES,
    Base,
    LinkRow,
    MoveRow,
    TrialRow,
    VerdictRow,
    check_lengths,
    kind_of,
    links_of,
    name_of,
    rows_of,
    seal,
    words_of,
)  # fmt: skip
from timbre.registry.trials import Trial, TrialEvent
from timbre.statistics import Verdict

TransitionKind = Literal["promote", "rollback"]


_TURNS = 100
"""How often a verdict makes way for others that are written at the same time."""


class CompareAndSetLost(Exception):
    """Somebody else moved the champion between our look and our write. Look again, then decide again."""


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
        bring_up_to_date(self._engine, Base)

    def transitions(self, model: str | None = None) -> list[Transition]:
        query = select(MoveRow).order_by(MoveRow.id)
        if model is not None:
            query = query.where(MoveRow.model == model)
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
        check_lengths(MoveRow, model=model, verdict=verdict, policy=policy, reason=reason)
        row = MoveRow(
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
            seal(session, row)
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
            session.execute(
                update(MoveRow).where(MoveRow.model == transition.model, MoveRow.sequence == transition.sequence).values(applied=True)
            )
            session.commit()

    def record(self, judged: Judged) -> None:
        """Write down a verdict; one that stands there already stays as it is.

        Raises:
            ValueError: a text is longer than its column.
            IntegrityError: rows were removed from the ledger.
        """
        check_lengths(VerdictRow, **{name: value for name, value in asdict(judged).items() if isinstance(value, str)})
        there = select(VerdictRow.id).where(VerdictRow.model == judged.model, VerdictRow.verdict == judged.verdict)
        for _ in range(_TURNS):
            with Session(self._engine) as session:
                if session.scalar(there) is not None:  # written before, by this run or on another machine
                    return
                row = VerdictRow(**asdict(judged), at=datetime.now(UTC))
                seal(session, row)
                session.add(row)
                try:
                    session.commit()
                    return
                except DuplicateKeyError:  # this verdict or another one came in between
                    session.rollback()
        raise IntegrityError(f"the ledger has a link of verdict {judged.verdict[:12]} and not the verdict: `timbre doctor` says more")

    def verdicts(self, model: str | None = None) -> list[tuple[Judged, datetime]]:
        """Every verdict of a model, or of all, in the order in which they were written, and when that was (UTC)."""
        query = select(VerdictRow).order_by(VerdictRow.id)
        if model is not None:
            query = query.where(VerdictRow.model == model)
        with Session(self._engine) as session:
            return [(_judged(row), in_utc(row.at)) for row in session.scalars(query)]

    def trials(self, model: str) -> list[Trial]:
        """Every row of a model's trials in serving, oldest first."""
        with Session(self._engine) as session:
            rows = session.scalars(select(TrialRow).where(TrialRow.model == model).order_by(TrialRow.number))
            return [_trial(row) for row in rows]

    def add_trial(
        self,
        seen: Trial | None,
        *,
        model: str,
        event: TrialEvent,
        version: int,
        bundle: str,
        move: int,
        reason: str,
        share: float = 0.0,
        shadow: bool = False,
        seed: int = 0,
        evidence: Mapping[str, Any] | None = None,
    ) -> Trial:
        """Write the row that follows `seen`, the latest row of the model's trials that the caller knows of.

        Raises:
            CompareAndSetLost: another row followed `seen` already.
            ValueError: a text is longer than its column.
        """
        check_lengths(TrialRow, model=model, bundle=bundle, reason=reason)
        row = TrialRow(
            model=model, number=1 if seen is None else seen.number + 1, event=event, version=version, bundle=bundle, move=move, share=share,
            shadow=shadow, seed=seed, reason=reason, evidence=json.dumps(dict(evidence or {}), sort_keys=True), at=datetime.now(UTC),
        )  # fmt: skip
        with Session(self._engine) as session:
            seal(session, row)
            session.add(row)
            try:
                session.commit()
            except DuplicateKeyError as error:
                raise CompareAndSetLost(f"{model}: another process decided on the trial first; see `timbre canary show`") from error
            return _trial(row)

    def lacking(self) -> list[str]:
        """Columns, as table.column, that this version writes and the database does not have: it was made by an older one."""
        found = inspect(self._engine)
        return [
            f"{table.name}.{column.name}"
            for table in Base.metadata.sorted_tables
            for there in [{one["name"] for one in found.get_columns(table.name)}]
            for column in table.columns
            if column.name not in there
        ]

    def check(self) -> dict[str, Checked]:
        """Whether every row is as it was written, by "moves of MODEL", "verdicts of …" and "trials of …"; see `timbre.registry.chain`."""
        with Session(self._engine) as session:
            found: dict[str, Checked] = {}
            for table in TABLES:
                kind = kind_of(table)
                linked = session.scalars(select(LinkRow.model).where(LinkRow.kind == kind))
                for model in sorted({*session.scalars(select(table.model)), *linked}):
                    rows = {name_of(row): words_of(row) for row in rows_of(session, table, model)}
                    links = [Link(link.number, link.row, link.link) for link in session.scalars(links_of(kind, model))]
                    found[f"{kind}s of {model}"] = check(f"{kind} of {model}", rows, links)
            return found

    def close(self) -> None:
        self._engine.dispose()


def _transition(row: MoveRow) -> Transition:
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
        in_utc(row.at),
        row.applied,
    )


def _judged(row: VerdictRow) -> Judged:
    outcome: Verdict = "PASS" if row.outcome == "PASS" else "FAIL" if row.outcome == "FAIL" else "INCONCLUSIVE"
    return Judged(
        row.model, row.verdict, outcome, row.policy, row.wording, row.strictness, row.bundle, row.candidate, row.base
    )  # fmt: skip


def _trial(row: TrialRow) -> Trial:
    event: TrialEvent = (
        "begin" if row.event == "begin" else "promote" if row.event == "promote" else "return" if row.event == "return" else "end"
    )
    return Trial(
        row.model, row.number, event, row.version, row.bundle, row.move, row.share, row.shadow, row.seed, row.reason,
        json.loads(row.evidence), in_utc(row.at),
    )  # fmt: skip
