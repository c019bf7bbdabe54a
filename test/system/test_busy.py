"""Two runs at once, locks of the dead, and databases that somebody has open."""

import os
import signal
import time

import pytest
from conftest import BUSY, DONE, FAILED

HOLD = """
con = duckdb.connect(args[0], read_only=len(args) > 1)
con.execute("SELECT 1").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def held(cb, tmp_path, history):
    """A session of `db` that lives: a backup stopped (SIGSTOP) after its first writes."""
    db = history.place("two", tmp_path / "db.duckdb")
    cb("backup", db)
    history.place("three", db)
    process = stop_in_session(cb, db)
    yield db, process
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.kill()
    process.wait()


def stop_in_session(cb, db, *options):
    """Start backups until one is caught between the opening of its session and its end."""
    def sessions():
        return {
            os.path.join(folder, name)
            for folder, _, names in os.walk(cb.repo)
            for name in names
            if "session" in os.path.relpath(folder, cb.repo)
        }

    for _ in range(60):
        before = sessions()
        labels = cb.labels("db")
        process = cb.start("backup", db, "--full", "--jobs", 1, *options)
        while process.poll() is None and sessions() == before:
            pass
        process.send_signal(signal.SIGSTOP)  # of no effect when it has ended
        time.sleep(0.05)
        if process.poll() is None and cb.labels("db") == labels and sessions() != before:
            return process
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        process.wait()
    raise AssertionError("no backup could be caught at work")


def test_two_of_one_name(cb, held):
    db, process = held
    began = time.monotonic()
    error = cb("backup", db, "--lock-wait", 1, code=BUSY).error
    assert time.monotonic() - began < 10
    assert error["code"] == "busy"
    assert str(process.pid) in error["message"] and os.uname().nodename in error["message"]

    result = cb.run("backup", db, "--lock-wait", 1)
    assert result.code == BUSY and str(process.pid) in result.err

    result = cb("backup", db, "--skip-if-busy")
    assert "skip" in result.err.lower()
    assert len(cb.labels("db")) == 1

    # Other names are not held up.
    cb("backup", db, "--name", "other", "--lock-wait", 0)

    # It waits for the other, and then goes on.
    waiting = cb.start("backup", db, "--lock-wait", 60, "--json")
    time.sleep(0.7)
    assert waiting.poll() is None
    process.send_signal(signal.SIGCONT)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == DONE, err
    assert str(process.pid) in err  # said at once for whom it waits
    assert process.wait(30) == DONE
    assert len(cb.labels("db")) == 3
    assert cb("verify").json["damaged"] == []


def test_lock_of_a_killed_run(cb, held, history, tmp_path):
    db, process = held
    process.kill()
    process.wait()
    cb("backup", db, "--lock-wait", 0)
    cb("expire", "--keep-last", 1, "--lock-wait", 0)
    assert cb("verify").json["damaged"] == []
    cb("restore", "db", tmp_path / "back.duckdb")
    assert history.samples.content(tmp_path / "back.duckdb") == history.content["three"]


def test_expire_beside_a_backup(cb, held, history, tmp_path):
    """A reclaim never takes what a backup at work relies on; it says what it waits for."""
    db, process = held
    cb("backup", db, "--name", "other")
    cb("backup", db, "--name", "other", "--full")
    cb("expire", "other", "--keep-last", 1, "--lock-wait", 1)
    process.send_signal(signal.SIGCONT)
    assert process.wait(30) == DONE
    cb("expire", "other", "--keep-last", 1)
    assert cb("verify").json["damaged"] == []
    cb("restore", "db", tmp_path / "back.duckdb")
    assert history.samples.content(tmp_path / "back.duckdb") == history.content["three"]


def test_many_at_once(cb, tmp_path, history):
    """Backups of several names and expires, all at the same time."""
    databases = [history.place("three", tmp_path / f"n{i}.duckdb") for i in range(4)]
    running = [cb.start("backup", db, "--json") for db in databases for _ in range(2)]
    running += [cb.start("expire", "--keep-last", 1, "--json", "--lock-wait", 20)]
    for process in running:
        out, err = process.communicate(timeout=100)
        # The repository may not have been there yet for the expire.
        assert process.returncode == DONE or (process is running[-1] and process.returncode == 5), err
    assert {label["name"] for label in cb("list").json} == {"n0", "n1", "n2", "n3"}
    assert cb("verify").json["damaged"] == []
    for i in range(4):
        cb("restore", f"n{i}", tmp_path / f"back{i}.duckdb")
    back = history.samples.contents(*[tmp_path / f"back{i}.duckdb" for i in range(4)])
    assert back == [history.content["three"]] * 4


@pytest.mark.parametrize("how", ["rw", "ro"])
@pytest.mark.parametrize("option", ["--force", "--delta"])
def test_target_is_open(cb, tmp_path, history, writer, how, option):
    db = history.place("two", tmp_path / "db.duckdb")
    cb("backup", db)
    history.place("three", db)
    before = db.read_bytes()
    holder = writer("1.5.6", HOLD, db, *(["ro"] if how == "ro" else []))
    before = db.read_bytes()
    error = cb("restore", "db", db, option, code=BUSY).error
    assert error["code"] == "busy" and str(holder.pid) in error["message"] and error["hint"]
    assert db.read_bytes() == before
    assert cb("copy", "db", db, "--force", code=BUSY).error["code"] == "busy"
    holder.kill()
    cb("restore", "db", db, option)
    assert history.samples.content(db) == history.content["two"]


def test_attach_of_an_open_database(cb, tmp_path, history, writer):
    db = history.place("two", tmp_path / "db.duckdb")
    holder = writer("1.5.6", HOLD, db)
    error = cb("copy", db, tmp_path / "c.duckdb", "--method", "attach", code=(BUSY, FAILED)).error
    if error["code"] == "unsupported":
        pytest.skip("no libduckdb beside the program")
    assert error["code"] == "busy" and str(holder.pid) in error["message"]
    assert cb("check", db).json["open_by"] == holder.pid
    holder.kill()
    assert cb("check", db).json["open_by"] is None


def test_a_restore_holds_the_engines_lock(cb, tmp_path, history):
    """While an old database is being replaced, DuckDB cannot open it."""
    db = history.place("two", tmp_path / "db.duckdb")
    cb("backup", db)
    history.place("one", db)
    # Stop a --delta restore in the middle of its writes.
    for _ in range(40):
        history.place("one", db)
        first = db.read_bytes()[:4096]
        process = cb.start("restore", "db", db, "--delta", "--jobs", 1)
        while process.poll() is None and db.read_bytes()[:4096] == first:
            pass
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            break
        process.wait()
    else:
        pytest.skip("the restore was too fast to be caught")
    time.sleep(0.05)
    content = history.samples.content(db)
    process.send_signal(signal.SIGCONT)
    assert process.wait(30) == DONE
    assert isinstance(content, str) or content == history.content["two"], content
    assert history.samples.content(db) == history.content["two"]


def test_interrupted_by_a_signal(cb, tmp_path, history):
    """Ctrl-C ends it soon; the name is free at once."""
    db = history.place("two", tmp_path / "db.duckdb")
    cb("backup", db)
    process = stop_in_session(cb, db)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    code = process.wait(20)
    assert code in (DONE, FAILED, 128 + signal.SIGINT, -signal.SIGINT)
    cb("backup", db, "--lock-wait", 0)
    assert cb("verify").json["damaged"] == []
