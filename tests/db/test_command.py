"""``engine db``, as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from framework.db.bulk import insert_rows
from framework.db.embedded import Embedded
from framework.db.pool import Pool
from framework.db.server_binaries import bin_folder


@pytest.fixture(scope="module")
def workspace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="engine-command-"))
    folder.chmod(0o755)
    yield folder
    Embedded(folder).remove()
    folder.rmdir()


def engine(*arguments, cwd, **environment):
    kept = {key: value for key, value in os.environ.items() if key != "DATABASE_URL"}
    return subprocess.run(
        [sys.executable, "-m", "framework", "db", *arguments],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_embedded_server_from_first_look_to_stop(workspace):
    looked = engine("status", cwd=workspace)
    assert (looked.returncode, "not running" in looked.stdout) == (0, True)
    assert not (workspace / ".engine").exists(), "a look leaves nothing"
    upgraded = engine("upgrade", "--json", cwd=workspace)
    assert json.loads(upgraded.stdout)["ran"][0] == "0001_market_data"
    assert "nothing to do" in engine("upgrade", cwd=workspace).stdout
    printed = engine("url", cwd=workspace).stdout.strip()
    psql = [str(bin_folder() / "psql"), "-XAt", "-c", "SELECT count(*) FROM portfolios", printed]
    assert subprocess.run(psql, capture_output=True, text=True, check=True).stdout == "0\n"
    found = json.loads(engine("status", "--json", cwd=workspace).stdout)
    assert (found["running"], found["pending"], found["clients"]) == (True, [], 0)
    assert found["database"] == f"embedded server in {workspace / '.engine'}"
    assert json.loads(engine("stop", "--json", cwd=workspace).stdout) == {"stopped": True}
    assert "not running" in engine("stop", cwd=workspace).stdout


def test_a_real_server_by_url_environment_and_option(new_database, tmp_path):
    url = new_database(empty=True)
    waiting = json.loads(engine("status", "--json", cwd=tmp_path, DATABASE_URL=url).stdout)
    assert (waiting["running"], waiting["applied"]) == (True, [])
    assert "ran 0001_market_data" in engine("upgrade", "--url", url, cwd=tmp_path).stdout
    assert "pending" not in engine("status", cwd=tmp_path, DATABASE_URL=url).stdout
    refused = engine("stop", "--url", url, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "only an embedded server" in refused.stderr
    assert not (tmp_path / ".engine").exists()


def test_a_password_is_never_printed(tmp_path):
    url = "postgresql://me:hunter2@127.0.0.1:1/books"
    printed = engine("url", "--url", url, cwd=tmp_path)
    assert printed.returncode == 0
    down = engine("upgrade", "--url", url, cwd=tmp_path)
    assert down.returncode == 1
    assert "127.0.0.1:1/books" in down.stderr
    assert "Traceback" not in down.stderr
    assert "hunter2" not in printed.stdout + down.stdout + down.stderr


def test_a_backup_restores_the_same_books_into_an_empty_database(database, new_database, tmp_path):
    pool = Pool(database)
    columns = ("portfolio_id", "mode", "broker", "account", "base_currency")
    with pool.connection() as connection:
        insert_rows(connection, "portfolios", columns, [("1", "paper", "b", "a", "USD")], ("portfolio_id",))
    pool.close()
    written = engine("backup", "books.dump", "--url", database, cwd=tmp_path)
    assert (written.returncode, written.stderr) == (0, "")
    again = engine("backup", "books.dump", "--url", database, cwd=tmp_path)
    assert (again.returncode, "never overwrites" in again.stderr) == (1, True)
    target = new_database(empty=True)
    restored = engine("restore", "books.dump", "--url", target, cwd=tmp_path)
    assert (restored.returncode, restored.stderr) == (0, "")
    assert rows(target) == rows(database)
    refused = engine("restore", "books.dump", "--url", target, cwd=tmp_path)
    assert (refused.returncode, "--replace" in refused.stderr) == (1, True)
    with psycopg2.connect(target) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM portfolios")
    connection.close()
    assert engine("restore", "books.dump", "--replace", "--url", target, cwd=tmp_path).returncode == 0
    assert rows(target) == rows(database)
    assert [path.name for path in tmp_path.iterdir()] == ["books.dump"]


def rows(url):
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM portfolios")
        portfolios = cursor.fetchall()
        cursor.execute("SELECT name, checksum FROM schema_migrations ORDER BY name")
        found = portfolios, cursor.fetchall()
    connection.close()
    return found


def test_a_restore_that_fails_changes_nothing(new_database, tmp_path):
    (tmp_path / "broken.dump").write_text("this is no backup")
    url = new_database()
    failed = engine("restore", "broken.dump", "--replace", "--url", url, cwd=tmp_path)
    assert (failed.returncode, "pg_restore" in failed.stderr) == (1, True)
    assert "applied" in engine("status", "--url", url, cwd=tmp_path).stdout
    missing = engine("restore", "none.dump", "--url", url, cwd=tmp_path)
    assert (missing.returncode, "no backup none.dump" in missing.stderr) == (1, True)
