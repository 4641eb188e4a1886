"""Migrations run once, in order, all or nothing, and never after their file was changed."""

from __future__ import annotations

import threading
from dataclasses import replace

import psycopg2
import pytest

from framework.db import migrate
from framework.db.database import upgrade
from framework.db.migrate import Migration, check_ready, migrations, status
from framework.db.pool import Pool
from framework.errors import DatabaseNotReady, MigrationError


@pytest.fixture
def empty(new_database):
    return new_database(empty=True)


@pytest.fixture
def connection(empty):
    pool = Pool(empty)
    with pool.connection() as connection:
        yield connection
    pool.close()


def fetch(connection, statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def test_an_empty_database_gets_every_migration_once(connection):
    names = tuple(migration.name for migration in migrations())
    assert status(connection).pending == names
    assert migrate.upgrade(connection) == names
    assert migrate.upgrade(connection) == ()
    assert status(connection).ready
    check_ready(connection)
    assert fetch(connection, "SELECT name, length(checksum) FROM schema_migrations ORDER BY name") == [
        (name, 64) for name in names
    ]


def test_the_specifications_tables_have_its_columns(connection):
    migrate.upgrade(connection)
    spec = {
        "market_data": "id ticker timestamp open_price high_price low_price close_price volume",
        "cash_equity_book": "id timestamp date portfolio_id currency notional",
        "positions_book": "position_id portfolio_id ticker quantity updated_at",
        "trade_execution_logs": "id portfolio_id ticker exec_timestamp side quantity arrival_price exec_price "
        "slippage_bps notional notional_local currency fx_rate",
        "pnl_book": "id portfolio_id timestamp notional",
    }
    kinds = {"id": "bigint", "position_id": "bigint", "date": "date", "volume": "bigint"}
    text = ("ticker", "portfolio_id", "currency", "side")
    times = ("timestamp", "updated_at", "exec_timestamp")
    for table, columns in spec.items():
        found = dict(
            fetch(
                connection,
                f"SELECT column_name, data_type FROM information_schema.columns WHERE table_name = '{table}'",
            )
        )
        for column in columns.split():
            expected = kinds.get(column, "numeric")
            expected = "character varying" if column in text else expected
            expected = "timestamp with time zone" if column in times else expected
            assert found[column] == expected, (table, column)


def test_every_text_key_sorts_by_bytes(connection):
    migrate.upgrade(connection)
    wrong = fetch(
        connection,
        "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "JOIN pg_collation k ON k.oid = a.attcollation "
        "JOIN pg_index i ON i.indrelid = c.oid AND a.attnum = ANY (i.indkey) "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND k.collname <> 'C'",
    )
    assert wrong == []


def test_files_loaded_before_findings_were_kept_are_read_again(connection):
    migrate.upgrade(connection, migrations()[:4])
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO market_data_coverage (source, ticker, bar_interval, start_date, end_date, content_hash) "
            "VALUES ('csv:x', 'A', '1d', '2020-01-01', '2020-12-31', 'abc')"
        )
    assert migrate.upgrade(connection)[0] == "0005_findings"
    assert fetch(connection, "SELECT ticker, end_date::text, content_hash, findings FROM market_data_coverage") == [
        ("A", "2020-12-31", None, {})
    ]


def test_two_at_once_run_each_migration_once(empty):
    ran, barrier = [], threading.Barrier(4)

    def work():
        barrier.wait()
        ran.extend(upgrade(empty))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ran == [migration.name for migration in migrations()]


def test_a_failing_migration_changes_nothing_and_is_named(connection):
    good = Migration(1, "0001_good", "a", "CREATE TABLE good (x int)")
    bad = Migration(2, "0002_bad", "b", "CREATE TABLE half (x int); SELECT no_such_function()")
    with pytest.raises(MigrationError, match=r"0002_bad failed.*no_such_function.*nothing was changed"):
        migrate.upgrade(connection, (good, bad))
    assert fetch(connection, "SELECT to_regclass('good'), to_regclass('half'), to_regclass('schema_migrations')") == [
        (None, None, None)
    ]
    assert migrate.upgrade(connection, (good,)) == ("0001_good",)


def test_a_changed_file_is_refused(connection):
    one = Migration(1, "0001_one", "a", "CREATE TABLE one (x int)")
    migrate.upgrade(connection, (one,))
    changed = replace(one, checksum="other")
    assert status(connection, (changed,)).changed == ("0001_one",)
    with pytest.raises(MigrationError, match=r"0001_one was changed after it ran"):
        migrate.upgrade(connection, (changed,))


def test_a_database_of_a_newer_version_is_refused(connection):
    migrate.upgrade(connection)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO schema_migrations VALUES ('9999_future', 'x')")
    for work in (check_ready, migrate.upgrade):
        with pytest.raises(DatabaseNotReady, match=r"newer version.*9999_future"):
            work(connection)


def test_a_database_that_is_not_upgraded_is_refused_with_the_command(connection):
    with pytest.raises(DatabaseNotReady, match=r"not upgraded.*0001_market_data.*engine db upgrade"):
        check_ready(connection)


def test_a_read_only_database_is_refused(connection, server, empty):
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    for work in (check_ready, migrate.upgrade):
        with pytest.raises(DatabaseNotReady, match="read-only"):
            work(connection)


def test_a_server_that_is_too_old_is_refused():
    class Old:
        server_version = 140011

    with pytest.raises(DatabaseNotReady, match="PostgreSQL 14; at least 15"):
        migrate.check_server(Old())  # type: ignore[arg-type]


def test_a_role_that_may_not_create_tables_learns_what_to_grant(server, new_database):
    url = new_database(empty=True)
    name = psycopg2.extensions.parse_dsn(url)["dbname"]
    admin = psycopg2.connect(server.admin_url(name))
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("ALTER SCHEMA public OWNER TO engine_admin")
        cursor.execute("REVOKE ALL ON SCHEMA public FROM public")
        cursor.execute("GRANT USAGE ON SCHEMA public TO engine_app")
    admin.close()
    with pytest.raises(MigrationError, match='GRANT CREATE ON SCHEMA public TO "engine_app"'):
        upgrade(url)


def test_files_are_numbered_without_gaps_and_say_what_they_do():
    numbers = [migration.number for migration in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    for migration in migrations():
        assert migration.sql.startswith("-- Purpose:"), migration.name
        assert "-- Locks:" in migration.sql, migration.name
