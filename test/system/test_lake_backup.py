"""What a backup of a lake is: the catalog at one instant, and exactly the files that it names."""

import json
import os
import pathlib
import shutil
import urllib.parse

import pytest
from conftest import FAILED
from lakes import KINDS, SECRET, backup, child, restore
from proxy import Proxy


def named(lake):
    """How many files the catalog names, that must be there."""
    return sum(
        int(lake.catalog_sql(f"SELECT count(*) FROM ducklake_{kind}_file")[0][0]) for kind in ("data", "delete")
    )


@pytest.mark.parametrize("data", ["local", "s3"])
@pytest.mark.parametrize("kind", KINDS)
def test_says_what_it_is(cb, make_lake, kind, data):
    lake = make_lake(kind, data)
    done = backup(cb, lake).json
    assert done["kind"] == "ducklake" and done["name"] == "lake"
    shown = cb("show", "lake").json
    snapshots = lake.snapshots()
    assert shown["catalog"] == kind and shown["spec_version"] == "1.0"
    assert shown["snapshot"] == snapshots[-1][0]
    assert shown["data_path"] == lake.data_path
    items = {one["path"]: one for one in shown["items"]}
    files = {path: one for path, one in items.items() if path.startswith(("data/", "outside/"))}
    assert any(path.startswith("catalog/") for path in items)
    stored = {  # '%' of a name is escaped in an item's path
        urllib.parse.unquote(path.removeprefix("data/")): one["size_bytes"]
        for path, one in files.items()
        if path.startswith("data/")
    }
    for name in lake.files():
        if name in stored:
            assert stored[name] == len(lake.read(name)), name
    assert not stored.keys() - set(lake.files())
    assert len(files) >= named(lake)
    assert len([path for path in files if path[0] == "o"]) == 1


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_leaves_the_catalog_as_it_is(cb, make_lake, kind):
    lake = make_lake(kind, rich=False)

    def state():
        return [(one.name, one.read_bytes()) for one in sorted(lake.folder.iterdir()) if one.is_file()]

    was = state()
    os.chmod(lake.file, 0o444)
    backup(cb, lake)
    assert state() == was


@pytest.mark.parametrize("kind", KINDS)
def test_in_use_by_another_process(cb, make_lake, lake_place, kind):
    """All that was committed is in it, nothing of a transaction that runs."""
    lake = make_lake(kind, rich=False)
    with lake.open() as process:
        process.sql("INSERT INTO t VALUES (1000, 'just committed')")
        process.sql("INSERT INTO t SELECT i, 'and this' FROM range(2000, 2100) t(i)")
        now = process.fingerprint()
        process.sql("BEGIN")
        process.sql("INSERT INTO t SELECT i, 'running' FROM range(100) t(i)")
        backup(cb, lake)
        process.sql("ROLLBACK")
        process.sql("INSERT INTO t VALUES (1001, 'goes on')")
    place = lake_place(kind)
    restore(cb, place)
    place.same(now)


@pytest.mark.parametrize("kind", KINDS)
def test_second_backup_lists_and_reads_nothing_again(cb, make_lake, kind):
    lake = make_lake(kind, "s3")
    first = backup(cb, lake).json
    with lake.open() as process:
        process.sql("INSERT INTO merged SELECT i, 'new' FROM range(60) t(i)")
    known = set(lake.files())
    with Proxy(lake.bucket.server.port) as proxy:
        words = [word if word != lake.bucket.server.endpoint else proxy.endpoint for word in lake.options]
        second = cb("backup", lake.address, "--name", "lake", *words, env=lake.env).json
        read = [one.path for one in proxy.requests if one.method == "GET" and one.path.endswith((".parquet", ".puffin"))]
        told = proxy.table()
    assert len(known) > 40 and first["new_chunks"] > 40
    assert len(set(read)) == 1, told
    assert len(proxy.requests) < 12, told
    if kind != "duckdb":  # such a catalog grows by blocks of 256 KiB, and is read as a whole
        assert second["read_bytes"] < first["read_bytes"]
    assert second["source_bytes"] > first["source_bytes"]


def test_two_kinds_need_no_duckdb(cb, make_lake, lake_place, tmp_path):
    """PostgreSQL and SQLite are backed up and restored by their own libraries."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy2(cb.path, alone / "canvasback")
    cb.path = str(alone / "canvasback")
    for kind, to in (("postgres", "sqlite"), ("sqlite", "postgres")):
        lake, place = make_lake(kind, rich=False), lake_place(to)
        cb("backup", lake.address, "--name", kind)
        restore(cb, place, what=kind)
        place.same(lake.before())


def test_relative_data_path(cb, make_lake, lakes_made, tmp_path):
    """As DuckLake makes it when it is not told where: beside the catalog."""
    folder = tmp_path / "work"
    folder.mkdir()
    lake = lakes_made.place(folder, "duckdb")
    with child("1.5.5", lake.address) as process:
        process.sql("CREATE TABLE t AS SELECT i FROM range(100) t(i)")
        now = process.fingerprint()
    lake.data_path = f"{lake.file}.files/"
    assert lake.files()
    backup(cb, lake)
    lake.destroy()
    restore(cb, lake, data_path=False)
    lake.same(now)


def test_name_is_that_of_the_catalog(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    assert cb("backup", lake.address).json["name"] == "meta"
    base = make_lake("postgres", rich=False)
    assert cb("backup", base.address).json["name"] == base.database


def test_another_lake_under_the_same_name_is_refused(cb, make_lake):
    backup(cb, make_lake("sqlite", rich=False))
    other = make_lake("postgres", rich=False)
    told = backup(cb, other, code=2).error
    assert "--adopt-name" in told["hint"]


def test_password_is_nowhere(cb, make_lake, tmp_path):
    """Not in what is printed, nor in the process list, nor in any byte of the repository."""
    lake = make_lake("postgres", rich=False)
    quiet = SECRET.replace("\\", "\\\\").replace("'", "\\'")
    address = "ducklake:postgres:" + lake.postgres.conninfo(lake.database, password=True)
    assert quiet in address
    told = [
        cb.run("backup", address, "--name", "lake", "--log-level", "debug", "--json"),
        cb.run("list", "--json"),
        cb.run("show", "lake", "--json"),
        cb.run("show", "lake"),
        cb.run("restore", "lake"),
        cb.run("backup", address, "--name", "other", "--log-level", "debug", "--compress", "none"),
        cb.run("lake", "status", address),
    ]
    assert [one.code for one in told] == [0] * len(told), [one.err for one in told]
    for one in told:
        for secret in (quiet, SECRET, "4711"):
            assert secret not in one.out + one.err
    stored = b"".join(one.read_bytes() for one in pathlib.Path(cb.repo).rglob("*") if one.is_file())
    assert SECRET.encode() not in stored and quiet.encode() not in stored


def test_password_from_the_environment(cb, make_lake):
    lake = make_lake("postgres", rich=False)
    address = "ducklake:postgres:" + lake.postgres.conninfo(lake.database, password=True).partition(" password=")[0]
    cb("backup", address, "--name", "lake", env={"PGPASSWORD": SECRET})
    told = cb("backup", address, "--name", "lake", env={"PGPASSWORD": "guessed"}, code=FAILED).error
    assert "guessed" not in json.dumps(told)


@pytest.mark.parametrize("kind", KINDS)
def test_files_by_reference(cb, make_lake, lake_place, kind):
    """They stay where they are: the backup has the catalog and knows each of them."""
    lake = make_lake(kind, "s3")
    done = backup(cb, lake, "--data", "reference").json
    whole = sum(len(lake.read(name)) for name in lake.files())
    assert done["new_bytes"] < done["source_bytes"] or done["source_bytes"] < whole
    lake.destroy_catalog()
    if kind == "postgres":
        lake.postgres.database(name=lake.database)
    restore(cb, lake, data_path=False)
    lake.same(lake.before(), versions=[5, 20])
    lake.remove(next(name for name in lake.files() if "/kinds/" in name))
    backup(cb, lake, "--data", "reference", code=3)


def test_files_in_a_replica(cb, make_lake, lake_place, minio):
    lake = make_lake("postgres", "s3")
    other = minio.bucket()
    names = lake.files()
    for name in names[1:]:
        other.put("copy/" + name, lake.read(name))
    how = f"replica=s3://{other.name}/copy/"
    told = backup(cb, lake, "--data", how, code=3)
    assert names[0] in told.out + told.err
    other.put("copy/" + names[0], lake.read(names[0]))
    backup(cb, lake, "--data", how)
    lake.destroy()
    place = lake_place("duckdb")
    place.bucket, place.prefix, place.data_path = other, "copy/", f"s3://{other.name}/copy/"
    cb("restore", "lake", place.address, *place.options, env=place.env)
    place.same(lake.before(), versions=[20])


def test_damaged_lake_by_check(cb, make_lake):
    lake = make_lake("sqlite")
    assert cb("check", lake.address).json["kind"] == "ducklake"
    torn = next(name for name in lake.files() if "/orders/" in name)
    lake.write(torn, lake.read(torn)[:-1])
    told = cb("check", lake.address, code=3)
    assert torn.rpartition("/")[2] in told.out
