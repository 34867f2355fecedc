"""A ledger of an older version of Timbre is brought up to this one's when it is opened, and keeps its rows."""

import multiprocessing
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine

from tests.unit.registry.test_registry_ledger import FACTS
from timbre.registry.ledger import Ledger
from timbre.registry.migrations import HEAD, VERSIONS, known, version_of
from timbre.registry.rows import Base

TABLES = ("moves", "verdicts", "links", "trials")
"""In the order in which versions brought them."""


def _differences(engine: Engine) -> list[object]:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"version_table": VERSIONS}), Base.metadata))


def _made_by(version: int, path: Path, *, says: bool) -> Engine:
    """A ledger as version 1, 2, … left it, with a move in it; `says`: whether it has a table of versions."""
    engine: Engine = create_engine(f"sqlite:///{path}")
    Base.metadata.create_all(engine, tables=[Base.metadata.tables[name] for name in TABLES[:version]])
    with closing(sqlite3.connect(path)) as base:
        base.execute(
            "INSERT INTO moves (model, sequence, kind, version, verdict, policy, strictness, reason, at, applied) "
            "VALUES ('timbre-literary', 1, 'promote', 7, 'v', 'quick', 1, 'an old one', '2026-11-23 12:00:00', 1)"
        )
        if says:
            base.execute(f"CREATE TABLE {VERSIONS} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
            base.execute(f"INSERT INTO {VERSIONS} VALUES ('{version:04}')")
        base.commit()
    return engine


@pytest.mark.parametrize("version", range(1, int(HEAD) + 1))
@pytest.mark.parametrize("says", [False, True])
def test_a_ledger_of_every_version_before_is_migrated_and_keeps_its_moves(tmp_path: Path, version: int, says: bool) -> None:
    engine = _made_by(version, tmp_path / "ledger.db", says=says)
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger:
        (move,) = ledger.transitions()
        assert (move.version, move.reason, move.applied) == (7, "an old one", True)
        assert ledger.append(move, reason="a new one", **{**FACTS, "model": "timbre-literary", "version": 8}).replaced_version == 7
        assert ledger.lacking() == [] and len(ledger.check()) == 1
    assert version_of(engine) == HEAD and _differences(engine) == []


def test_the_migrations_make_what_the_rows_say(tmp_path: Path) -> None:
    """Who changes a row's columns adds a migration, or this fails."""
    migrated = _made_by(1, tmp_path / "old.db", says=False)
    Ledger(f"sqlite:///{tmp_path / 'old.db'}").close()
    Ledger(f"sqlite:///{tmp_path / 'new.db'}").close()
    made = create_engine(f"sqlite:///{tmp_path / 'new.db'}")
    assert _differences(migrated) == _differences(made) == [] and version_of(made) == HEAD == known()[-1]


def test_a_ledger_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    _made_by(4, tmp_path / "ledger.db", says=True)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as base:
        base.execute(f"UPDATE {VERSIONS} SET version_num = '0099'")
        base.commit()
    before = (tmp_path / "ledger.db").read_bytes()
    with pytest.raises(ValueError, match="has version 0099 and this Timbre knows versions up to"):
        Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    assert (tmp_path / "ledger.db").read_bytes() == before


def test_processes_that_open_an_old_ledger_at_once_all_get_it(tmp_path: Path) -> None:
    engine = _made_by(1, tmp_path / "ledger.db", says=False)
    context = multiprocessing.get_context("fork")
    with context.Pool(4) as pool:
        assert pool.map(_open, [f"sqlite:///{tmp_path / 'ledger.db'}"] * 8) == [1] * 8
    assert version_of(engine) == HEAD and _differences(engine) == []


def _open(url: str) -> int:
    with closing(Ledger(url)) as ledger:
        return len(ledger.transitions())
