"""What the ledger takes and gives back, in the same way on SQLite and PostgreSQL."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

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
    url = f"sqlite:///{tmp_path / 'ledger.db'}"

    def opened(_: int) -> int:
        ledger = Ledger(url)
        try:
            return len(ledger.transitions())
        finally:
            ledger.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened, range(16))) == [0] * 16
