"""What the ledger takes and gives back, in the same way on SQLite and PostgreSQL."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from timbre.artifacts import IntegrityError
from timbre.registry.ledger import CompareAndSetLost, Judged, Ledger

FACTS: dict[str, Any] = {
    "model": "timbre-literary",
    "kind": "promote",
    "version": 1,
    "verdict": "v" * 64,
    "policy": "quick",
    "strictness": 1,
}


def test_a_reason_that_one_database_would_refuse_is_refused_by_all(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    with pytest.raises(ValueError, match=r"the reason has 501 characters, and the ledger takes 500: shorten it"):
        ledger.append(None, reason="r" * 501, **FACTS)
    assert ledger.transitions() == []
    assert ledger.append(None, reason="r" * 500, **FACTS).sequence == 1
    ledger.close()


def test_times_say_that_they_are_utc(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.append(None, reason="r", **FACTS)
    (transition,) = ledger.transitions()
    assert transition.at.utcoffset() == timedelta(0) and abs(transition.at - datetime.now(UTC)) < timedelta(minutes=5)
    ledger.close()


JUDGED = Judged(
    model="timbre-literary", verdict="v" * 64, outcome="FAIL", policy="quick", wording="w" * 64, strictness=1, bundle="b" * 64,
    candidate="c" * 64, base="d" * 64,
)  # fmt: skip


def test_every_verdict_is_a_row_and_stands_once(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    passed = replace(JUDGED, verdict="x" * 64, outcome="PASS")
    for judged in (JUDGED, passed, JUDGED):
        ledger.record(judged)
    ledger.record(replace(JUDGED, model="timbre-oratory"))
    assert [judged for judged, _ in ledger.verdicts("timbre-literary")] == [JUDGED, passed]
    assert len(ledger.verdicts()) == 3 and ledger.transitions() == []
    assert all(at.utcoffset() == timedelta(0) for _, at in ledger.verdicts())
    with pytest.raises(ValueError, match="the policy has 101 characters"):
        ledger.record(replace(JUDGED, policy="p" * 101))
    ledger.close()


def test_a_ledger_from_before_there_were_verdicts_keeps_its_moves_and_gains_them(tmp_path: Path) -> None:
    """The table as it was created by earlier versions, with a move in it."""
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        database.execute(
            "CREATE TABLE moves (id INTEGER NOT NULL, model VARCHAR(200) NOT NULL, sequence INTEGER NOT NULL, kind VARCHAR(16) NOT NULL, "
            "version INTEGER NOT NULL, verdict VARCHAR(64) NOT NULL, policy VARCHAR(100) NOT NULL, strictness INTEGER NOT NULL, "
            "replaced_version INTEGER, reason VARCHAR(500) NOT NULL, at DATETIME NOT NULL, applied BOOLEAN NOT NULL, "
            "PRIMARY KEY (id), UNIQUE (model, sequence))"
        )
        database.execute("INSERT INTO moves VALUES (1, 'timbre-literary', 1, 'promote', 3, 'v', 'quick', 1, NULL, 'r', '2026-01-02', 1)")
        database.commit()
    for _ in range(2):
        ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
        ledger.record(JUDGED)
        (transition,) = ledger.transitions()
        assert (transition.version, transition.policy) == (3, "quick")
        assert transition.applied and transition.at == datetime(2026, 1, 2, tzinfo=UTC)
        assert [judged for judged, _ in ledger.verdicts()] == [JUDGED]
        ledger.close()
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert ledger.append(transition, reason="r", **(FACTS | {"version": 4})).sequence == 2
    with pytest.raises(CompareAndSetLost):
        ledger.append(transition, reason="r", **(FACTS | {"version": 5}))
    ledger.close()


def test_processes_that_open_a_new_ledger_at_once_all_get_it(tmp_path: Path) -> None:
    start = Barrier(8)

    def opened(number: int) -> int:
        start.wait()
        with closing(Ledger(f"sqlite:///{tmp_path / str(number // 8)}.db")) as ledger:
            return len(ledger.transitions())

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened, range(80))) == [0] * 80  # ten ledgers, each opened eight times at once


def filled(path: Path) -> Ledger:
    """Three moves and two verdicts."""
    ledger = Ledger(f"sqlite:///{path}")
    seen = None
    for version in (1, 2, 3):
        seen = ledger.append(seen, reason=f"r{version}", **FACTS | {"version": version})
        ledger.mark_applied(seen)
    for name in "xy":
        ledger.record(replace(JUDGED, verdict=name * 64))
    return ledger


def wrong(ledger: Ledger) -> list[str]:
    return [sentence for chain in ledger.check().values() for sentence in chain.wrong]


def test_rows_as_they_were_written_are_one_unbroken_chain(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "ledger.db")) as ledger:
        before = ledger.check()
        assert {name: chain.rows for name, chain in before.items()} == {"moves of timbre-literary": 3, "verdicts of timbre-literary": 2}
        assert wrong(ledger) == [] and all(len(chain.last) == 64 and not chain.unchained for chain in before.values())
        ledger.record(replace(JUDGED, verdict="x" * 64))  # once more
        assert ledger.check() == before
        ledger.record(replace(JUDGED, verdict="z" * 64))
        assert wrong(ledger) == [] and ledger.check()["verdicts of timbre-literary"].last != before["verdicts of timbre-literary"].last


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE moves SET version = 9 WHERE sequence = 2", "move of timbre-literary 2 is not what was written"),
        ("UPDATE moves SET at = '2020-01-01 00:00:00.000000' WHERE sequence = 1", "move of timbre-literary 1 is not"),
        ("UPDATE moves SET reason = 'because' WHERE sequence = 3", "move of timbre-literary 3 is not"),
        ("DELETE FROM moves WHERE sequence = 2", "move of timbre-literary 2 was removed"),
        ("UPDATE verdicts SET outcome = 'PASS' WHERE id = 1", "verdict of timbre-literary xxxxxxxxxxxx is not what was written"),
        ("DELETE FROM verdicts WHERE id = 2", "verdict of timbre-literary yyyyyyyyyyyy was removed"),
        ("DELETE FROM links WHERE kind = 'move' AND number = 2", "the 2. link is missing: move of timbre-literary"),
        (
            "INSERT INTO moves SELECT 99, model, 4, kind, 7, verdict, policy, strictness, 3, reason, at, 1 FROM moves WHERE sequence = 3",
            "move of timbre-literary 4 was written past Timbre",
        ),
    ],
)
def test_a_row_that_was_altered_removed_or_slipped_in_is_named(tmp_path: Path, statement: str, said: str) -> None:
    with closing(filled(tmp_path / "ledger.db")) as ledger:
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
            assert database.execute(statement).rowcount == 1
            database.commit()
        assert any(said in sentence for sentence in wrong(ledger)), wrong(ledger)


def test_a_ledger_from_before_the_chain_is_chained_from_its_first_row_on_when_it_is_next_written(tmp_path: Path) -> None:
    filled(tmp_path / "ledger.db").close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        database.execute("DROP TABLE links")
        database.execute("DROP TABLE ledger_version")  # there were none either
        database.commit()
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        assert {chain.unchained for chain in ledger.check().values()} == {3, 2} and wrong(ledger) == []
        ledger.append(ledger.latest("timbre-literary"), reason="r", **FACTS)
        moves = ledger.check()["moves of timbre-literary"]
        assert (moves.rows, moves.unchained, moves.wrong) == (4, 0, ())


def test_many_processes_that_record_at_once_leave_one_chain(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    Ledger(url).close()

    def record(number: int) -> None:
        with closing(Ledger(url)) as ledger:
            ledger.record(replace(JUDGED, verdict=f"{number:064}"))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(record, range(24)))
    with closing(Ledger(url)) as ledger:
        assert ledger.check()["verdicts of timbre-literary"].rows == 24 and wrong(ledger) == []


def test_what_was_removed_cannot_be_written_again_as_if_it_had_never_been(tmp_path: Path) -> None:
    with closing(filled(tmp_path / "ledger.db")) as ledger:
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
            database.execute("DELETE FROM moves WHERE sequence = 3")
            database.execute("DELETE FROM verdicts WHERE id = 2")
            database.commit()
        with pytest.raises(IntegrityError, match="timbre doctor"):
            ledger.append(ledger.latest("timbre-literary"), reason="r", **FACTS)
        with pytest.raises(IntegrityError, match="timbre doctor"):
            ledger.record(replace(JUDGED, verdict="y" * 64))
