"""One plain DuckDB file in an object store, without a repository: uploaded while it is read, taken
down again, and what stands in the way of either."""

import hashlib
import json
import signal
import time

import pytest
from conftest import DAMAGED, DONE, FAILED, USAGE, Canvasback

WRITE_ALL_THE_TIME = """
con = duckdb.connect(args[0])
con.execute("CREATE TABLE IF NOT EXISTS busy (i BIGINT, t VARCHAR)")
print("ready", flush=True)
i = 0
while True:
    i += 1
    con.execute(f"INSERT INTO busy SELECT r, md5(r::VARCHAR) FROM range({i * 2000}, {i * 2000 + 2000}) t(r)")
    con.execute("CHECKPOINT")
"""


@pytest.fixture
def program(remote, tmp_path):
    """The program with the store's credentials in its environment."""
    cb = Canvasback(tmp_path)
    cb.env.update(remote.env())
    return cb


def at(remote, key):
    return remote.bucket.address(key)


@pytest.fixture
def database(history, tmp_path):
    return history.place("two", tmp_path / "prod.duckdb")


def no_trace(path):
    """Nothing but what was asked for lies in the folder."""
    return not [one.name for one in path.parent.iterdir() if ".partial" in one.name]


def test_up_and_down(remote, program, history, database, tmp_path):
    done = program("copy", database, at(remote, "plain/mysql.db")).json
    data = remote.bucket.get("plain/mysql.db")
    assert done["bytes"] == len(data) == database.stat().st_size
    assert done["sha256"] == hashlib.sha256(data).hexdigest()
    assert done["method"] == "hot"
    assert done["target"].endswith("plain/mysql.db")
    assert "?" not in done["target"]

    back = tmp_path / "back.duckdb"
    done = program("copy", at(remote, "plain/mysql.db"), back).json
    assert done["sha256"] == hashlib.sha256(back.read_bytes()).hexdigest()
    assert history.samples.content(back) == history.content["two"]
    restored = tmp_path / "restored.duckdb"
    program("restore", at(remote, "plain/mysql.db"), restored)
    assert history.samples.content(restored) == history.content["two"]
    assert no_trace(back)


def test_no_temporary_file(remote, program, database, tmp_path):
    """With nothing in the log the copy is read once and goes straight up."""
    nowhere = tmp_path / "no-such-folder"
    program("copy", database, at(remote, "straight.db"), env={"TMPDIR": nowhere})
    assert len(remote.bucket.get("straight.db")) == database.stat().st_size


def test_commits_in_the_log_are_folded_in(remote, program, history, tmp_path):
    path = history.place("three", tmp_path / "prod.duckdb")
    program("copy", path, at(remote, "folded.db"))
    keys = [key for key in remote.bucket.list("") if "folded" in key]
    assert keys == ["folded.db"]
    plain = tmp_path / "seen.duckdb"
    plain.write_bytes(remote.bucket.get("folded.db"))
    assert history.samples.content(plain) == history.content["three"]
    assert not list(tmp_path.glob("canvasback-*"))


def test_a_log_beside_it_is_taken_along(remote, program, history, tmp_path):
    path = history.place("three", tmp_path / "prod.duckdb")
    remote.bucket.put("made/by.db", path.read_bytes())
    remote.bucket.put("made/by.db.wal", path.with_name("prod.duckdb.wal").read_bytes())
    back = tmp_path / "back.duckdb"
    program("restore", at(remote, "made/by.db"), back)
    assert history.samples.content(back) == history.content["three"]
    folded = tmp_path / "folded.duckdb"
    program("copy", at(remote, "made/by.db"), folded)
    assert not folded.with_name("folded.duckdb.wal").exists()
    assert history.samples.content(folded) == history.content["three"]


def test_what_is_there_is_kept(remote, program, history, database):
    remote.bucket.put("taken.db", b"mine")
    failed = program("copy", database, at(remote, "taken.db"), code=FAILED)
    assert failed.error["code"] == "exists"
    assert "--force" in failed.error["hint"]
    assert remote.bucket.get("taken.db") == b"mine"
    remote.bucket.put("taken.db.wal", b"of the old one")
    program("copy", database, at(remote, "taken.db"), "--force")
    assert len(remote.bucket.get("taken.db")) == database.stat().st_size
    assert [key for key in remote.bucket.list("") if "taken" in key] == ["taken.db"]


def test_timestamps(remote, program, database):
    made = []
    for _ in range(4):
        made.append(
            program("copy", database, at(remote, "daily/"), "--timestamp", "--utc", "--keep", "2")
            .json["target"]
            .rsplit("/", 1)[1]
        )
    assert made == sorted(made, key=lambda name: (name[:22], len(name), name)) and len(set(made)) == 4
    kept = sorted(key.rsplit("/", 1)[1] for key in remote.bucket.list("daily/"))
    assert kept == sorted(made[2:])
    done = program("copy", database, at(remote, "folder/")).json
    assert done["target"].endswith("/folder/prod.duckdb") and "//prod" not in done["target"]
    assert remote.bucket.list("folder/") == ["folder/prod.duckdb"]


LARGE = """
con = duckdb.connect(args[0])
con.execute("CREATE TABLE t AS SELECT hash(r) a, hash(r + 1) b, hash(r + 2) c FROM range(3000000) t(r)")
con.close()
print("ready", flush=True)
"""


def test_a_cancelled_upload_is_taken_back(minio, writer, tmp_path):
    """Parts that nobody completes are paid for and shown in no listing."""
    bucket = minio.bucket()
    program = Canvasback(tmp_path)
    program.env.update(bucket.env())
    database = tmp_path / "large.duckdb"
    writer("1.5.6", LARGE, database)

    def uploads():
        page = bucket.request("GET", "", {"uploads": "", "prefix": "large.duckdb"})[1]
        return page.count(b"<UploadId>")

    run = program.start("copy", database, bucket.address("large.duckdb"), "--limit-upload", "4MB")
    try:
        until = time.monotonic() + 30
        while uploads() == 0 and time.monotonic() < until:
            time.sleep(0.05)
        assert uploads() == 1
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=30) == FAILED
        assert run.stderr.read() == "canvasback: cancelled\n"
    finally:
        run.kill()
        run.communicate()
    assert uploads() == 0 and bucket.list() == []


def test_from_a_backup(remote, program, history, database, tmp_path):
    program("backup", database)
    program("copy", "prod", at(remote, "from/backup.db"))
    plain = tmp_path / "seen.duckdb"
    plain.write_bytes(remote.bucket.get("from/backup.db"))
    assert history.samples.content(plain) == history.content["two"]


def test_from_store_to_store(remote, program, history, database, tmp_path):
    program("copy", database, at(remote, "a.db"))
    program("copy", at(remote, "a.db"), at(remote, "b.db"))
    assert remote.bucket.get("a.db") == remote.bucket.get("b.db")


def test_what_is_no_database(remote, program, database, tmp_path):
    back = tmp_path / "back.duckdb"
    failed = program("copy", at(remote, "absent.db"), back, code=FAILED)
    assert failed.error["code"] == "not-found" and "absent.db" in failed.error["message"]
    remote.bucket.put("text.db", b"hello" * 10000)
    failed = program("restore", at(remote, "text.db"), back, code=FAILED)
    assert failed.error["code"] == "unsupported"
    data = bytearray(database.read_bytes())
    data[3 * 16384 + 12288 + 100] ^= 1
    remote.bucket.put("hurt.db", bytes(data))
    failed = program("restore", at(remote, "hurt.db"), back, code=DAMAGED)
    assert failed.error["code"] == "corrupt"
    assert not back.exists() and no_trace(back)


def test_a_target_that_is_there(remote, program, history, database, tmp_path):
    program("copy", database, at(remote, "a.db"))
    other = history.place("one", tmp_path / "other.duckdb")
    failed = program("restore", at(remote, "a.db"), other, code=FAILED)
    assert failed.error["code"] == "exists"
    assert history.samples.content(other) == history.content["one"]
    program("restore", at(remote, "a.db"), other, "--delta")
    assert history.samples.content(other) == history.content["two"]
    other = history.place("three", tmp_path / "other.duckdb")
    program("restore", at(remote, "a.db"), other, "--force")
    assert history.samples.content(other) == history.content["two"]
    assert not other.with_name("other.duckdb.wal").exists()
    assert no_trace(other)


def test_a_database_that_is_written_all_the_time(remote, program, history, writer, tmp_path):
    """It never holds still: then a temporary copy is confirmed, and that goes up."""
    path = history.place("one", tmp_path / "busy.duckdb")
    live = writer(history.version, WRITE_ALL_THE_TIME, path)
    program("copy", path, at(remote, "busy.db"))
    assert live.alive()
    plain = tmp_path / "seen.duckdb"
    plain.write_bytes(remote.bucket.get("busy.db"))
    content = history.samples.content(plain)
    assert content["main.accounts"] == history.content["one"]["main.accounts"]
    assert "main.busy" in content
