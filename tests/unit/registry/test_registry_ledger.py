"""What the ledger takes and gives back, in the same way on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from timbre.registry.ledger import Ledger

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
    assert ledger.moves() == []
    assert ledger.append(None, reason="r" * 500, **FACTS).sequence == 1
    ledger.close()


def test_times_say_that_they_are_utc(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger.append(None, reason="r", **FACTS)
    (move,) = ledger.moves()
    assert move.at.utcoffset() == timedelta(0) and abs(move.at - datetime.now(UTC)) < timedelta(minutes=5)
    ledger.close()


def test_processes_that_open_a_new_ledger_at_once_all_get_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"

    def opened(_: int) -> int:
        ledger = Ledger(url)
        try:
            return len(ledger.moves())
        finally:
            ledger.close()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(opened, range(16))) == [0] * 16
