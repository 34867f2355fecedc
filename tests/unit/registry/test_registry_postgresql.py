"""The ledger on a PostgreSQL that is started here: many that open it at once, and ledgers of older versions."""

import multiprocessing
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.pool import NullPool

from tests.unit.registry.test_registry_ledger import FACTS
from tests.unit.registry.test_registry_migrations import TABLES
from timbre.registry.ledger import CompareAndSetLost, Ledger
from timbre.registry.migrations import HEAD, VERSIONS, version_of
from timbre.registry.rows import Base

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
pytestmark = pytest.mark.skipif(not PROGRAMS, reason="needs Debian's postgresql")
OPENERS = 6


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """The folder of the socket of a server that listens on no port and does not run as root."""
    folder = Path(tempfile.mkdtemp(prefix="timbre-pg-"))
    user = [] if os.geteuid() else ["setpriv", "--reuid", _owner(), "--clear-groups", "--regid", str(pwd.getpwnam(_owner()).pw_gid)]
    if user:
        shutil.chown(folder, _owner())
    data, log = folder / "data", folder / "log"
    make = [PROGRAMS[-1] / "initdb", "--pgdata", data, "--username=timbre", "--auth=trust", "--locale=C", "--encoding=UTF8", "--no-sync"]
    subprocess.run([*user, *make], check=True, capture_output=True, cwd="/")
    command = [*user, PROGRAMS[-1] / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
    with log.open("wb") as lines, subprocess.Popen(command, stdout=lines, stderr=lines, cwd="/") as process:
        try:
            for _ in range(300):
                if subprocess.run([PROGRAMS[-1] / "pg_isready", "-q", "-t", "1", "-h", folder], check=False).returncode == 0:
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            assert os.geteuid() or Path(f"/proc/{process.pid}").stat().st_uid, "PostgreSQL runs as root"
            yield folder
        finally:
            process.terminate()
            process.wait(60)
            shutil.rmtree(folder, ignore_errors=True)


def _owner() -> str:
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@pytest.fixture
def url(server: Path, request: pytest.FixtureRequest) -> str:
    """An empty database of this test's own."""
    name = f"of_{abs(hash(request.node.name))}"
    admin = create_engine(f"postgresql+psycopg2://timbre@/postgres?host={server}", isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return f"postgresql+psycopg2://timbre@/{name}?host={server}"


def _open(url: str) -> int:
    with closing(Ledger(url)) as ledger:
        return len(ledger.transitions())


def test_processes_that_open_a_new_ledger_at_once_all_get_it(url: str) -> None:
    with multiprocessing.get_context("fork").Pool(OPENERS) as pool:
        assert pool.map(_open, [url] * 2 * OPENERS) == [0] * 2 * OPENERS
    engine = create_engine(url, poolclass=NullPool)
    assert version_of(engine) == HEAD and {*Base.metadata.tables} <= {*inspect(engine).get_table_names()}


@pytest.mark.parametrize("version", range(1, int(HEAD) + 1))
def test_processes_that_open_an_old_ledger_at_once_migrate_it_once_and_keep_its_moves(url: str, version: int) -> None:
    engine = create_engine(url, poolclass=NullPool)
    Base.metadata.create_all(engine, tables=[Base.metadata.tables[name] for name in TABLES[:version]])
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO moves (model, sequence, kind, version, verdict, policy, strictness, reason, at, applied) "
                "VALUES ('timbre-literary', 1, 'promote', 7, 'v', 'quick', 1, 'an old one', '2026-11-23 12:00:00', true)"
            )
        )
    with multiprocessing.get_context("fork").Pool(OPENERS) as pool:
        assert pool.map(_open, [url] * OPENERS) == [1] * OPENERS
    with closing(Ledger(url)) as ledger:
        (move,) = ledger.transitions()
        assert (move.version, move.reason, move.applied) == (7, "an old one", True)
        assert ledger.append(move, reason="a new one", **{**FACTS, "version": 8}).replaced_version == 7
        with pytest.raises(CompareAndSetLost):
            ledger.append(move, reason="too late", **{**FACTS, "version": 9})
        assert ledger.lacking() == [] and len(ledger.check()) == 1
    assert version_of(engine) == HEAD and _differences(url) == []


def _differences(url: str) -> list[object]:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with create_engine(url, poolclass=NullPool).connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts={"version_table": VERSIONS}), Base.metadata))
