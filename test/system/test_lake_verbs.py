"""`lake status`, `lake repoint` and `lake orphans` on real lakes: what they say is what is there, and
what they change is all of it or nothing."""

import datetime
import os
import pathlib
import shutil
import time

import pytest
from conftest import BUSY, DAMAGED, DONE, FAILED, MISSING, USAGE
from lakes import KINDS, backup


def status(cb, lake, *words, **more):
    return cb("lake", "status", lake.address, *lake.options, *words, env={**lake.env, **more}).json


def orphans(cb, lake, *words, **more):
    return cb("lake", "orphans", lake.address, *lake.options, *words, env={**lake.env, **more}).json


def warned(said, *words):
    """The warning that has all of the words; there must be one."""
    found = [one for one in said["warnings"] if all(word in one for word in words)]
    assert len(found) == 1, said["warnings"]
    return found[0]


# ---- status -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_status_says_what_is_there(cb, make_lake, kind):
    lake = make_lake(kind)

    def count(table, what="count(*)"):
        return int(lake.catalog_sql(f"SELECT {what} FROM {table}")[0][0])

    said = status(cb, lake)
    assert said["kind"] == kind and said["version"] == "1.0" and said["version_is_known"]
    assert said["data_path"] == lake.data_path and not said["encrypted"]
    assert said["snapshots"] == count("ducklake_snapshot")
    assert said["snapshot"] == count("ducklake_snapshot", "max(snapshot_id)")
    assert said["data_files"] == count("ducklake_data_file")
    assert said["delete_files"] == count("ducklake_delete_file")
    assert said["data_bytes"] == count("ducklake_data_file", "sum(file_size_bytes)")
    assert said["scheduled_files"] == count("ducklake_files_scheduled_for_deletion")
    assert said["tables"] == count("ducklake_table WHERE end_snapshot IS NULL")
    inlined = [name for (name,) in lake.catalog_sql("SELECT table_name FROM ducklake_inlined_data_tables")]
    assert said["inlined_rows"] == sum(count(f'"{name}"') for name in inlined) > 0
    assert said["newest_backup"] is None
    warned(said, "no backup", "canvasback backup '")
    # Nobody is disturbed, and nothing was changed.
    lake.same(lake.before())


@pytest.mark.parametrize("kind", KINDS)
def test_status_knows_what_the_newest_backup_lacks(cb, make_lake, kind):
    lake = make_lake(kind, rich=False)
    backup(cb, lake)
    said = status(cb, lake, "lake")
    assert said["newest_backup"] == "lake@" + cb.labels("lake")[0]
    assert said["backup_snapshot"] == said["snapshot"]
    assert (said["missing_snapshots"], said["missing_files"], said["missing_bytes"]) == (0, 0, 0)
    warned(said, "never verified", said["newest_backup"])
    with lake.open() as process:
        process.sql("INSERT INTO t SELECT i, 'later' FROM range(100) t(i)")
        process.sql("INSERT INTO t SELECT i, 'later' FROM range(200) t(i)")
        # It writes a file that begins at a snapshot which the backup has.
        process.sql("CALL ducklake_merge_adjacent_files('lake')")
        process.sql("DELETE FROM t WHERE i = 77")
    after = status(cb, lake, "lake")
    assert after["missing_snapshots"] == after["snapshot"] - said["snapshot"] > 2
    known = int(lake.catalog_sql(f"SELECT next_file_id FROM ducklake_snapshot WHERE snapshot_id = {said['snapshot']}")[0][0])
    new = [
        int(size)
        for kind in ("data", "delete")
        for (size,) in lake.catalog_sql(f"SELECT file_size_bytes FROM ducklake_{kind}_file WHERE {kind}_file_id >= {known}")
    ]
    assert (after["missing_files"], after["missing_bytes"]) == (len(new), sum(new)) and new
    # Another name has no backup, and a repository that cannot be read is no reason to be silent.
    other = status(cb, lake, "other")
    assert other["newest_backup"] is None
    warned(other, "no backup of 'other' in the repository", "--name other")
    nowhere = status(cb, lake, "lake", CANVASBACK_REPO=str(cb.home / "nowhere"))
    assert nowhere["newest_backup"] is None and nowhere["snapshot"] == after["snapshot"]


def test_status_of_a_name_that_belongs_to_another_lake(cb, make_lake, lakes_made, tmp_path):
    lake = make_lake("sqlite", rich=False)
    backup(cb, lake)
    other = lakes_made.make(tmp_path / "other", ["CREATE TABLE t AS SELECT 1 AS i"], kind="sqlite")
    said = status(cb, other, "lake")
    assert said["newest_backup"] is None
    warned(said, "belongs to another source", "--name")


def test_status_warns_of_cleanup(cb, make_lake):
    """Cleanup that is quicker than the backups: said, with the statement that sets it."""
    lake = make_lake("duckdb", rich=False)
    backup(cb, lake)
    assert not [one for one in status(cb, lake, "lake")["warnings"] if "delete_older_than" in one]
    with lake.open() as process:
        process.sql("CALL lake.set_option('delete_older_than', '0 seconds')")
        process.sql("CALL lake.set_option('expire_older_than', '1 ms')")
    time.sleep(1.1)
    backup(cb, lake)
    said = status(cb, lake, "lake")
    text = warned(said, "delete_older_than", "0 seconds", "CALL lake.set_option('delete_older_than', '")
    warned(said, "expire_older_than", "1 ms")
    # What it says works.
    statement = text[text.index("CALL ") :]
    with lake.open() as process:
        process.sql(statement)
        process.sql("CALL lake.set_option('expire_older_than', '1 month 2 days 03:04:05')")
    assert not [one for one in status(cb, lake, "lake")["warnings"] if "older_than" in one]


def test_status_of_a_version_that_nobody_knows(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    lake.catalog_sql("UPDATE ducklake_metadata SET value = '7.1' WHERE key = 'version'")
    said = status(cb, lake)
    assert said["version"] == "7.1" and not said["version_is_known"]
    warned(said, "7.1", "not known")


def test_status_of_a_lake_that_is_open(cb, make_lake):
    lake = make_lake("duckdb", rich=False)
    with lake.open() as process:
        process.sql("INSERT INTO t SELECT i, 'in the log' FROM range(50) t(i)")
        newest = int(process.value("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')"))
        assert status(cb, lake)["snapshot"] == newest
        process.sql("INSERT INTO t VALUES (1, 'goes on')")


@pytest.mark.parametrize("verb", ["status", "orphans"])
def test_there_is_no_lake(cb, lake_place, tmp_path, verb):
    for kind in KINDS:
        target = lake_place(kind)
        error = cb("lake", verb, target.address, code=(FAILED, MISSING)).error
        assert error["code"] == "not-found" and error["message"] and error["hint"], error
        if kind != "postgres":
            assert not target.file.exists()
    cb("lake", verb, "ducklake:postgres:host=127.0.0.1 port=1 dbname=x", code=FAILED)
    cb("lake", verb, f"ducklake:{tmp_path}/x", "more", "words", code=(USAGE, FAILED, MISSING))


# ---- repoint ------------------------------------------------------------------------------------


def moved(lake, folder):
    """The data is somewhere else now."""
    target = f"{folder}/where it is now/"
    shutil.move(lake.data_path.rstrip("/"), target.rstrip("/"))
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_repoint(cb, make_lake, tmp_path, kind):
    lake = make_lake(kind)
    old, before = lake.data_path, lake.before()
    new = moved(lake, tmp_path)
    tables = {name: lake.catalog_sql(f"SELECT * FROM {name}") for name in ("ducklake_snapshot", "ducklake_data_file")}
    planned = cb("lake", "repoint", lake.address, "--data-path", new.rstrip("/"), "--dry-run").json
    assert lake.catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'data_path'") == [[old]]
    # As people type it: relative to where they are.
    said = cb("lake", "repoint", lake.address, "--data-path", "where it is now", cwd=tmp_path).json
    assert planned["dry_run"] and not said["dry_run"]
    assert planned["changes"] == said["changes"] == [{"what": "data_path", "from": old, "to": new}]
    assert (said["from"], said["to"]) == (old, new)
    named = lake.catalog_sql("SELECT count(*) FROM ducklake_data_file WHERE path NOT LIKE '/%'")
    deletes = lake.catalog_sql("SELECT count(*) FROM ducklake_delete_file")
    assert said["files"] == int(named[0][0]) + int(deletes[0][0])
    # The file that lies outside still does, and it is said.
    assert [os.path.basename(one) for one in said["left"]] == ["it is outside.parquet"]
    assert lake.catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'data_path'") == [[new]]
    assert tables == {name: lake.catalog_sql(f"SELECT * FROM {name}") for name in tables}
    lake.data_path = new
    lake.same(before)
    # Once more changes nothing.
    assert cb("lake", "repoint", lake.address, "--data-path", new).json["changes"] == []


def test_repoint_absolute(cb, make_lake, tmp_path):
    lake = make_lake("sqlite")
    old, before = lake.data_path, lake.before()
    lake.catalog_sql(
        f"UPDATE ducklake_data_file SET path_is_relative = 0, path = '{old}main/orders/' || path WHERE table_id ="
        " (SELECT min(table_id) FROM ducklake_table WHERE table_name = 'orders')"
    )
    lake.catalog_sql(f"UPDATE ducklake_schema SET path_is_relative = 0, path = '{old}' || path WHERE schema_name = 'main'")
    lake.catalog_sql(
        f"UPDATE ducklake_table SET path_is_relative = 0, path = '{old}main/' || path WHERE table_name = 'merged'"
    )
    lake.same(before)
    new = moved(lake, tmp_path)
    left = cb("lake", "repoint", lake.address, "--data-path", new, "--dry-run").json["left"]
    assert sum(one.startswith(old) for one in left) > 5
    said = cb("lake", "repoint", lake.address, "--data-path", new, "--absolute").json
    kinds = {one["what"] for one in said["changes"]}
    assert {"data_path", "file", "table", "schema"} <= kinds
    assert all(one["to"] == one["from"].replace(old, new, 1) for one in said["changes"])
    assert [os.path.basename(one) for one in said["left"]] == ["it is outside.parquet"]
    lake.data_path = new
    lake.same(before)


@pytest.mark.parametrize("kind", KINDS)
def test_repoint_changes_nothing_when_a_file_is_not_there(cb, make_lake, tmp_path, kind):
    lake = make_lake(kind, rich=False)
    old = lake.data_path
    new = moved(lake, tmp_path)
    missing = sorted(pathlib.Path(new).rglob("*.parquet"))[0]
    content = missing.read_bytes()
    missing.unlink()
    error = cb("lake", "repoint", lake.address, "--data-path", new, code=DAMAGED).error
    assert error["code"] == "corrupt" and str(missing) in error["message"] and "Nothing was changed" in error["hint"]
    missing.write_bytes(content[:-1])
    error = cb("lake", "repoint", lake.address, "--data-path", new, code=DAMAGED).error
    assert f"{len(content) - 1} bytes, not {len(content)}" in error["message"]
    assert lake.catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'data_path'") == [[old]]
    missing.write_bytes(content)
    cb("lake", "repoint", lake.address, "--data-path", new)
    lake.same(lake.before())


def test_repoint_of_a_file_that_is_open(cb, make_lake, tmp_path):
    lake = make_lake("duckdb", rich=False)
    shutil.copytree(lake.data_path, tmp_path / "new")
    with lake.open() as process:
        error = cb("lake", "repoint", lake.address, "--data-path", tmp_path / "new", "--lock-wait", 0, code=BUSY).error
        assert str(process.pid) in error["message"]
        process.sql("SELECT count(*) FROM t")
    lake.same(lake.before())


def test_repoint_from_disk_to_bucket(cb, make_lake, minio, tmp_path):
    lake = make_lake("sqlite", rich=False)
    bucket = minio.bucket()
    for name in lake.files():
        bucket.put("some where/" + name, lake.read(name))
    words = ["--endpoint", minio.endpoint, "--s3-path-style", "--region", "us-east-1"]
    new = f"s3://{bucket.name}/some where"
    said = cb("lake", "repoint", lake.address, "--data-path", new, *words, env=bucket.env()).json
    assert said["to"] == new + "/"
    lake.destroy_data()
    lake.bucket, lake.prefix, lake.data_path = bucket, "some where/", new + "/"
    lake.same(lake.before())


def test_killed_repoint_leaves_the_old_or_the_new(cb, make_lake, faults, tmp_path):
    lake = make_lake("duckdb", rich=False)
    shutil.copytree(lake.data_path, tmp_path / "new")
    template = tmp_path / "template"
    template.mkdir()
    shutil.copy2(lake.file, template)
    command = ["lake", "repoint", lake.address, "--data-path", tmp_path / "new"]
    cb(*command, env=faults.env())
    total = faults.calls()
    places, codes = set(), set()
    for point in faults.points(total, 10):
        lake.destroy_catalog()
        shutil.copy2(template / lake.file.name, lake.file)
        killed = cb(*command, env=faults.env(point, "kill-after"), code=(DONE, -9))
        codes.add(killed.code)
        said = status(cb, lake)
        assert said["data_path"] in (lake.data_path, f"{tmp_path}/new/"), point
        places.add(said["data_path"])
        cb(*command)
        assert status(cb, lake)["data_path"] == f"{tmp_path}/new/"
    assert len(places) == 2 and -9 in codes


# ---- orphans ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "data"), [("duckdb", "local"), ("sqlite", "local"), ("postgres", "s3")])
def test_orphans(cb, make_lake, kind, data):
    lake = make_lake(kind, data)
    before = lake.files()
    said = orphans(cb, lake)
    assert {one["kind"] for one in said["files"]} == {"scheduled"}
    assert said["count"] == len(lake.catalog_sql("SELECT path FROM ducklake_files_scheduled_for_deletion WHERE path NOT LIKE '/%'"))
    table = next(name for name in before if name.startswith("main/merged/")).rpartition("/")[0]
    lake.write(f"{table}/ducklake-0000.parquet", b"a write that failed")
    lake.write("strange/left.parquet", b"nobody knows")
    lake.write(f"{table}/notes.txt", b"other")
    said = orphans(cb, lake)
    found = {one["path"]: one for one in said["files"]}
    failed = found[f"{lake.data_path}{table}/ducklake-0000.parquet"]
    assert failed["kind"] == "failed write" and failed["table"] == '"main"."merged"' and failed["size_bytes"] == 19
    assert found[f"{lake.data_path}strange/left.parquet"]["kind"] == "other"
    assert found[f"{lake.data_path}{table}/notes.txt"]["kind"] == "other"
    assert said["bytes"] == sum(one["size_bytes"] for one in said["files"])
    named = lake.catalog_sql("SELECT (SELECT count(*) FROM ducklake_data_file) + (SELECT count(*) FROM ducklake_delete_file)")
    assert said["named"] == int(named[0][0])
    order = [(one["table"], one["kind"]) for one in said["files"]]
    assert order == sorted(order)
    # What DuckLake itself would delete is among them, and nothing that it would not.
    with lake.open(read_only=False) as process:
        theirs = {
            one[0] for one in process.sql("CALL ducklake_delete_orphaned_files('lake', dry_run => true, cleanup_all => true)")
        }
    assert theirs == {path for path, one in found.items() if one["kind"] != "scheduled" and path.endswith(".parquet")}
    assert len(lake.files()) == len(before) + 3


def test_the_catalog_among_its_data_is_no_orphan(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    inside = pathlib.Path(lake.data_path) / "meta.sqlite"
    shutil.move(lake.file, inside)
    lake.address = f"ducklake:sqlite:{inside}"
    assert orphans(cb, lake)["files"] == []


def test_orphans_of_a_transaction_that_commits_meanwhile(cb, make_lake):
    """A writer that inserts all the time: what it commits is never an orphan."""
    import threading

    lake = make_lake("postgres", rich=False)
    stop = threading.Event()

    def write():
        with lake.open() as process:
            while not stop.is_set():
                process.sql("INSERT INTO t SELECT i, 'more' FROM range(30) t(i)")

    thread = threading.Thread(target=write)
    thread.start()
    seen = []
    try:  # the writer may take its time to begin
        while len(seen) < 6 or (seen[-1]["named"] == seen[0]["named"] and len(seen) < 200):
            seen.append(orphans(cb, lake))
    finally:
        stop.set()
        thread.join()
    named = {one[0] for one in lake.catalog_sql("SELECT path FROM ducklake_data_file")}
    # At most the file of the one transaction that was open then.
    assert all(len(one["files"]) <= 1 for one in seen)
    assert seen[-1]["named"] > seen[0]["named"]
    assert all(os.path.basename(file["path"]) in named for one in seen for file in one["files"])


def test_orphans_that_a_restore_lost(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    backup(cb, lake)
    with lake.open() as process:
        process.sql("INSERT INTO t SELECT i, 'later' FROM range(100) t(i)")
    later = [name for (name,) in lake.catalog_sql("SELECT path FROM ducklake_data_file ORDER BY data_file_id DESC LIMIT 1")]
    restored = cb("restore", "lake", lake.address, "--force").json
    assert restored["orphan_list"]
    said = orphans(cb, lake)
    assert [(one["kind"], one["table"]) for one in said["files"]] == [("lost by a restore", '"main"."t"')]
    assert said["files"][0]["path"].endswith(later[0])
    when = datetime.datetime.fromisoformat(said["files"][0]["modified"].replace("Z", "+00:00"))
    assert abs((datetime.datetime.now(datetime.UTC) - when).total_seconds()) < 600
