"""Opening a database: what a user sees when it is not as it should be."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg2
import pytest

from framework.db.address import describe, parse
from framework.db.database import check_room, open_database
from framework.db.embedded import Embedded
from framework.errors import DatabaseNotReady, DatabaseUnavailable


def test_a_migrated_server_opens_and_describes_itself(database, tmp_path):
    opened = open_database(database, tmp_path)
    with opened.pool.connection() as connection:
        assert connection.info.dbname.startswith("test_")
    assert opened.describe().endswith(psycopg2.extensions.parse_dsn(database)["dbname"])
    opened.close()
    assert not (tmp_path / ".engine").exists()


def test_the_embedded_server_is_started_and_upgraded():
    workspace = Path(tempfile.mkdtemp(prefix="engine-open-"))
    workspace.chmod(0o755)
    try:
        opened = open_database("embedded", workspace, pool_max=3)
        assert opened.describe() == f"embedded server in {workspace / '.engine'}"
        with opened.pool.connection() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM portfolios")
            assert cursor.fetchone() == (0,)
        opened.close()
    finally:
        Embedded(workspace).remove()
        workspace.rmdir()


def test_a_real_server_that_is_not_upgraded_is_refused_and_left_alone(new_database, tmp_path):
    url = new_database(empty=True)
    with pytest.raises(DatabaseNotReady, match="engine db upgrade"):
        open_database(url, tmp_path)
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert cursor.fetchone() == (0,)
    connection.close()


def test_a_server_that_is_down_is_named_without_the_password(tmp_path):
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1/books.*check that the server runs") as error:
        open_database("postgresql://me:hunter2@127.0.0.1:1/books", tmp_path)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://me:hunter2@h/x", "postgresql://me:hunter2@h/x?nonsense=1", "hunter2", ""])
def test_a_url_that_cannot_be_read_is_refused_unseen(url, tmp_path):
    with pytest.raises((DatabaseNotReady, DatabaseUnavailable)) as error:
        open_database(url, tmp_path)
    assert "hunter2" not in str(error.value)


def test_a_pool_that_the_server_cannot_serve_is_refused(database, pool, tmp_path):
    with pytest.raises(DatabaseNotReady, match=r"database\.pool\.max 99 needs 101 connections.*allows \d+"):
        open_database(database, tmp_path, pool_max=99)
    with pool.connection() as connection, pytest.raises(DatabaseNotReady, match=r"max_connections"):
        check_room(connection, 6, engines=20)


def test_a_role_with_a_limit_of_its_own_is_heeded(server, database, tmp_path):
    admin = psycopg2.connect(server.admin_url())
    admin.autocommit = True
    name = psycopg2.extensions.parse_dsn(database)["dbname"]
    with admin.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 7")
    admin.close()
    with pytest.raises(DatabaseNotReady, match=r"needs 8 connections.*allows 7"):
        open_database(database, tmp_path, pool_max=6)
    open_database(database, tmp_path, pool_max=5).close()


def test_descriptions_hold_no_secret():
    assert describe("postgresql://me:pw@db.example:6543/books?sslmode=require") == "db.example:6543/books"
    assert describe("postgresql:///books") == "local socket/books"
    assert parse("host=x password=y dbname=z")["dbname"] == "z"
