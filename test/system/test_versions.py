"""Every version of the engine, every block size and storage version, every kind of content.

Each database is backed up and restored; the engine that made it opens both and must read the same
from both: every row of every table, views, indexes, sequences. The restored one must go on living:
be written to, checkpointed and opened again.
"""

import hashlib
import os
import shutil

import pytest
from conftest import DONE, FAILED, LONG, Canvasback

from live import engines, harness

BLOCK_SIZES = [16384, 32768, 65536, 131072, 262144]
# All of them with --long; else each version gets the ends and one in between.
MATRIX = [(version, size) for index, version in enumerate(engines.VERSIONS)
          for number, size in enumerate(BLOCK_SIZES)
          if LONG or number in (0, 1 + index % 3, 4)]


class Place:
    """A folder with one database in it, the program, and the engine that made the database."""

    def __init__(self, path, judges, version, **how):
        self.path = path
        self.db = path / "a.db"
        self.cb = Canvasback(path)
        self.judges = judges
        self.version = version
        self.how = how  # key and cipher
        self.number = 0

    def make(self, *options):
        for name, value in self.how.items():
            options += (f"--{name}", value)
        harness.make(self.version, self.db, *options)

    def contents(self, path, version=None):
        """What the engine reads there; of a copy, since opening changes the files."""
        copy = self.path / "judged.db"
        harness.remove_files(copy)
        harness.copy_files(path, copy)
        return self.judge(copy, version)

    def judge(self, path, version=None):
        verdict = self.judges.ask(version or self.version, path, **self.how)
        assert verdict["good"], verdict["why"]
        return verdict["contents"]

    def back_up(self, *options, code=DONE):
        return self.cb("backup", self.db, "--name", "a", *options, code=code).json

    def restore(self, label="latest"):
        self.number += 1
        target = self.path / f"back{self.number}.db"
        self.cb("restore", f"a@{label}", target)
        return target

    def round_trip(self, *options):
        """Back up, restore, and see the same; the result of the backup."""
        wanted = self.contents(self.db)
        done = self.back_up(*options)
        target = self.restore(done["label"])
        assert self.judge(target) == wanted
        harness.remove_files(target)
        return done


@pytest.fixture
def place(judges):
    with harness.folder() as path:
        yield lambda version, **how: Place(path, judges, version, **how)


def tables(contents):
    return {name: what for name, what in contents.items() if name.startswith("table ")}


# ---- the matrix ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version, block_size", MATRIX)
def test_contents_come_back(version, block_size, place):
    """At rest, with a log left by a killed process, as an increment and as a delta restore."""
    at = place(version)
    at.make("--do", "make,drop", "--block-size", block_size)
    first = at.round_trip()
    assert first["kind"] == "duckdb" and first["confirmed"] == "idle"
    assert first["commits_in_log"] == 0
    older = at.restore(first["label"])

    at.make("--do", "logging,change,bulk", "--end", "kill")
    assert os.path.getsize(f"{at.db}.wal") > 0
    second = at.round_trip()
    # Each statement of its own is a commit; a bulk load names blocks beyond those of the header.
    assert second["commits_in_log"] == 6
    assert 0 < second["new_bytes"] < first["new_bytes"]

    wanted = at.contents(at.db)
    done = at.cb("restore", f"a@{second['label']}", older, "--delta").json
    assert done["bytes_reused"] > 0
    assert at.judge(older) == wanted

    third = at.back_up()
    assert third["new_bytes"] == 0 and third["label"] != second["label"]
    checked = at.cb("check", at.db).json
    assert checked["bad_blocks"] == 0 and checked["open_by"] is None
    assert checked["commits_in_log"] == 6
    verified = at.cb("verify").json
    assert verified["backups"] == 3 and verified["damaged"] == []


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_the_engine_itself_verifies(version, place):
    at = place(version)
    at.make("--do", "make,drop")
    at.make("--do", "logging,change,bulk", "--end", "kill")
    at.back_up()
    rows = {name[len("table "):]: what[0] for name, what in tables(at.contents(at.db)).items()}
    deep = at.cb("verify", "a", "--deep").json
    assert deep["damaged"] == []
    seen = {entry["table"].replace('"', ""): entry["rows"] for entry in deep.get("tables", [])}
    for table, count in rows.items():
        table = table.replace('"', "")
        assert seen.get(table, seen.get(table.split(".")[-1])) == count, (table, deep)


@pytest.mark.parametrize("storage", [64, 65, 66, 67, 68, 69])
@pytest.mark.parametrize("version", engines.VERSIONS[1:])
def test_storage_versions(version, storage, place):
    if storage not in engines.storage_versions(version):
        pytest.skip(f"DuckDB {version} does not write storage version {storage}")
    at = place(version)
    at.make("--do", "make,drop", "--storage", engines.STORAGE_NAMES[storage],
            "--block-size", 16384)
    at.round_trip()
    at.make("--do", "logging,change,bulk", "--end", "kill")
    at.round_trip()
    at.make("--do", "checkpoint,one")
    at.round_trip()
    assert at.cb("verify").json["damaged"] == []


@pytest.mark.parametrize("block_size", [16384, 262144])
@pytest.mark.parametrize("version", engines.VERSIONS)
def test_empty_database(version, block_size, place):
    at = place(version)
    at.make("--do", "nothing", "--block-size", block_size)
    assert at.round_trip()["new_bytes"] < 1 << 20
    at.make("--do", "tiny")
    at.round_trip()
    assert at.cb("check", at.db).json["bad_blocks"] == 0


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_a_database_that_is_only_a_log(version, place):
    """Never checkpointed: iteration 0. The restored file must survive its first checkpoint and the
    open after it, which is where a wrong second header would lose the tables."""
    at = place(version)
    at.make("--do", "logging,tiny", "--end", "kill", "--block-size", 16384)
    wanted = at.contents(at.db)
    assert wanted["table main.tiny"][0] == 2
    done = at.back_up()
    assert done["commits_in_log"] > 0
    target = at.restore()
    assert at.judge(target) == wanted  # checkpoints, closes, opens again
    assert tables(at.contents(target)) == tables(wanted)
    copy = at.path / "copy.db"
    at.cb("copy", at.db, copy)
    assert not os.path.exists(f"{copy}.wal")
    assert at.judge(copy) == wanted


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_bulk_load_into_a_new_database(version, place):
    """Iteration 0 and a log that names blocks which no header knows."""
    at = place(version)
    at.make("--do", "logging,fresh", "--end", "kill", "--block-size", 16384)
    wanted = at.contents(at.db)
    assert wanted["table main.fresh"][0] == 150000
    at.round_trip()
    copy = at.path / "copy.db"
    at.cb("copy", at.db, copy)
    assert at.judge(copy) == wanted


# ---- what is stored -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_free_blocks_are_not_stored(version, place):
    at = place(version)
    at.make("--do", "make", "--block-size", 16384)
    at.make("--do", "undo")
    size = os.path.getsize(at.db)
    at.make("--do", "drop")
    checked = at.cb("check", at.db).json
    assert checked["free_blocks"] * 16384 > 2 << 20, "the case has no free blocks"
    done = at.round_trip("--compress", "none")
    used = checked["used_blocks"] * 16384
    assert done["new_bytes"] <= used + 65536
    assert done["read_bytes"] <= used + (1 << 20)
    assert used < size - (2 << 20)
    target = at.restore()
    assert os.path.getsize(target) <= os.path.getsize(at.db)
    assert os.stat(target).st_blocks * 512 < used + (1 << 20), "free blocks are no holes"


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_an_increment_is_what_changed(version, place):
    at = place(version)
    at.make("--do", "make", "--block-size", 16384)
    first = at.round_trip("--compress", "none")
    at.make("--do", "one")
    second = at.round_trip("--compress", "none")
    assert second["new_bytes"] < first["new_bytes"] // 5
    full = at.back_up("--full")
    assert full["new_bytes"] >= second["new_bytes"]


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_a_file_that_shrinks(version, place):
    """The header counts more blocks than the file still has."""
    at = place(version)
    at.make("--do", "make,drop", "--block-size", 16384)
    at.back_up()
    older = at.restore()
    at.make("--do", "shrink")
    done = at.round_trip()
    at.cb("restore", f"a@{done['label']}", older, "--delta")
    assert at.judge(older) == at.contents(at.db)


# ---- encrypted ----------------------------------------------------------------------------------


@pytest.mark.parametrize("block_size", [16384, 262144])
@pytest.mark.parametrize("cipher", ["GCM", "CTR"])
@pytest.mark.parametrize("version", [engines.ENCRYPTING_1_4, "1.5.6", "2.0.0"])
def test_encrypted(version, cipher, block_size, place):
    at = place(version, key="quack", cipher=cipher)
    at.make("--do", "make,drop", "--block-size", block_size)
    first = at.round_trip()
    older = at.restore(first["label"])
    at.make("--do", "logging,change,bulk", "--end", "kill")
    second = at.round_trip()
    assert second["commits_in_log"] == 6
    at.cb("restore", f"a@{second['label']}", older, "--delta")
    assert at.judge(older) == at.contents(at.db)
    assert at.cb("verify").json["damaged"] == []
    assert at.cb("check", at.db).json["bad_blocks"] == 0


@pytest.mark.parametrize("version", ["1.5.6", "2.0.0"])
def test_encrypted_copy(version, place):
    """Without the key a log cannot be folded in: said, with what can be done instead."""
    at = place(version, key="quack", cipher="GCM")
    at.make("--do", "make")
    at.cb("copy", at.db, at.path / "still.db")
    assert at.judge(at.path / "still.db") == at.contents(at.db)
    at.make("--do", "logging,change", "--end", "kill")
    refused = at.cb("copy", at.db, at.path / "b.db", code=FAILED)
    assert "backup" in refused.error["hint"] or "--keep-log" in refused.error["hint"]
    assert not (at.path / "b.db").exists()
    at.cb("copy", at.db, at.path / "b.db", "--keep-log")
    assert at.judge(at.path / "b.db") == at.contents(at.db)


# ---- copy, attach -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_copy_is_one_plain_file(version, place):
    at = place(version)
    at.make("--do", "make,drop" + (",no_index" if version == "1.1.3" else ""), "--block-size",
            16384)
    for step in ("at rest", "with a log"):
        if step == "with a log":
            at.make("--do", "logging,change,bulk", "--end", "kill")
        before = hashlib.sha256(at.db.read_bytes()).digest()
        target = at.path / f"{step}.db"
        done = at.cb("copy", at.db, target).json
        assert done["method"] == "hot" and done["bytes"] == os.path.getsize(target)
        assert done["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
        assert not os.path.exists(f"{target}.wal")
        alone = at.path / "alone" / "x.db"
        alone.parent.mkdir(exist_ok=True)
        shutil.copy(target, alone)
        assert tables(at.judge(alone)) == tables(at.contents(at.db))
        assert hashlib.sha256(at.db.read_bytes()).digest() == before, "the source was changed"


def test_a_copy_that_1_1_could_not_read(place):
    """A later engine that folds the log in makes the indexes of a 1.1 file unreadable for 1.1."""
    at = place("1.1.3")
    at.make("--do", "make", "--block-size", 16384)
    at.make("--do", "logging,one", "--end", "kill")
    refused = at.cb("copy", at.db, at.path / "b.db", code=FAILED)
    assert "words_by_id" in refused.error["message"] and "--keep-log" in refused.error["hint"]
    at.cb("copy", at.db, at.path / "b.db", "--keep-log")
    assert at.judge(at.path / "b.db") == at.contents(at.db)


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_through_the_engine(version, place):
    """--method attach: logical and compacted, made by the library; all rows are there."""
    at = place(version)
    at.make("--do", "make,drop,change")
    wanted = tables(at.contents(at.db, engines.NEWEST))
    done = at.back_up("--method", "attach")
    assert done["confirmed"] == "engine"
    assert tables(at.judge(at.restore(), engines.NEWEST)) == wanted
    target = at.path / "logical.db"
    assert at.cb("copy", at.db, target, "--method", "attach").json["method"] == "attach"
    assert tables(at.judge(target, engines.NEWEST)) == wanted


def test_through_the_engine_while_it_is_open(place):
    at = place("2.0.0")
    at.make("--do", "make")
    holder = harness.opened_by("2.0.0", at.db)
    try:
        refused = at.cb("backup", at.db, "--method", "attach", code=4)
        assert str(holder.pid) in refused.error["message"] + refused.error["hint"]
        assert at.cb("check", at.db).json["open_by"] == holder.pid
        at.round_trip()
        target = at.restore()
        again = harness.opened_by("2.0.0", target)
        try:
            busy = at.cb("restore", "a", target, "--force", code=4)
            assert str(again.pid) in busy.error["message"] + busy.error["hint"]
        finally:
            again.kill()
    finally:
        holder.kill()
