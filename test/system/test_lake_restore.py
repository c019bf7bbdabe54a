"""A lake comes back as it was: every table at every snapshot, whatever the kind of its catalog and
wherever its files are."""

import itertools

import pytest
from conftest import DONE, FAILED, LONG, MISSING, USAGE
from lakes import KINDS, backup, restore, usable, version_of
from servers import Refused

PAIRS = list(itertools.product(KINDS, KINDS))


@pytest.mark.parametrize("kind,to", PAIRS, ids=["-to-".join(pair) for pair in PAIRS])
def test_to_every_kind_of_catalog(cb, make_lake, lake_place, kind, to):
    lake, place = make_lake(kind), lake_place(to)
    backup(cb, lake)
    lake.destroy()
    done = restore(cb, place).json
    assert done["files"] > 40 and done["kind"] == "ducklake"
    place.same(lake.before())
    usable(place)


@pytest.mark.parametrize(
    "kind,data,to,there",
    [("postgres", "s3", "duckdb", "local"), ("duckdb", "local", "postgres", "s3"), ("sqlite", "s3", "sqlite", "s3")],
)
def test_from_disk_to_s3_and_back(cb, make_lake, lake_place, kind, data, to, there):
    lake, place = make_lake(kind, data), lake_place(to, there)
    backup(cb, lake)
    lake.destroy()
    restore(cb, place)
    place.same(lake.before(), versions=[5, 20])
    usable(place)


@pytest.mark.parametrize("kind", KINDS)
def test_same_place_after_all_was_lost(cb, make_lake, kind):
    """One command: bucket, files, database and catalog come back."""
    lake = make_lake(kind, "s3")
    backup(cb, lake)
    lake.destroy()
    assert not lake.files()
    lake.bucket.request("DELETE")
    if kind == "postgres":
        told = restore(cb, lake, data_path=False, code=FAILED).error
        assert "permission denied to create" in told["message"] and "createdb" in told["hint"]
        with pytest.raises(Refused, match="NoSuchBucket"):
            lake.files()
        lake.postgres.sql("postgres", "ALTER ROLE lake CREATEDB")
    try:
        done = restore(cb, lake, data_path=False)
    finally:
        if kind == "postgres":
            lake.postgres.sql("postgres", "ALTER ROLE lake NOCREATEDB")
            assert f"made the database '{lake.database}'" in done.err
    lake.same(lake.before(), versions=[5, 20])
    usable(lake)


def test_plan_tells_the_place_and_writes_nothing(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    backup(cb, lake)
    lake.destroy()
    plan = cb("restore", "lake").json
    assert str(lake.file) in plan["target"]
    assert not lake.file.exists() and not lake.files()


def test_without_duckdb_nothing_is_copied(cb, make_lake, lake_place):
    lake, place = make_lake("sqlite", rich=False), lake_place("duckdb")
    backup(cb, lake)
    told = restore(cb, place, "--duckdb-library", "/nowhere/libduckdb.so", code=FAILED).error
    assert "/nowhere/libduckdb.so" in told["message"] and told["hint"]
    assert not place.files() and not place.file.exists()


def expected_at(before, version):
    """What a lake shows that was cut to a snapshot: tables up to it, and the newest is that one."""
    wanted = {key: value for key, value in before.items() if (version_of(key) or 1e9) <= version}
    newest = {key.rpartition("@")[0]: value for key, value in wanted.items() if version_of(key) == version}
    snapshots = {
        key: value
        for key, value in before.items()
        if key.startswith("snapshot ") and int(key.split()[1]) <= version
    }
    return {**wanted, **newest, **snapshots}


def assert_cut(place, before, version):
    seen = {
        key: value
        for key, value in place.fingerprint().items()
        if not key.endswith(" columns") and key not in ("views", "comments", "macros")
    }
    assert seen == expected_at(before, version)


@pytest.mark.parametrize("kind,to", [("duckdb", "sqlite"), ("sqlite", "sqlite"), ("postgres", "postgres")])
def test_to_a_snapshot(cb, make_lake, lake_place, kind, to):
    """As if nothing had been committed after it, though files hold rows of later snapshots too."""
    lake = make_lake(kind)
    backup(cb, lake)
    before = lake.before()
    snapshots = [int(key.split()[1]) for key in before if key.startswith("snapshot ")]
    # 10: inside files that were flushed and merged; 14: of one file, not of another.
    for version in snapshots if LONG else [snapshots[1], 4, 10, 14, snapshots[-2]]:
        place = lake_place(to)
        done = restore(cb, place, "--snapshot", version).json
        assert done["snapshot"] == version and done["snapshot_time"] < done["point"]
        assert_cut(place, before, version)
        if version == 14 or (LONG and version > 3):
            goes_on(place, before, version)


# What can follow: enough commits to get the old numbers again, then maintenance.
AFTER = """
INSERT INTO merged SELECT 1000 + i, 'new' FROM range(30) t(i)
DELETE FROM merged WHERE i IN (2, 1003)
UPDATE flushed SET i = 1001 WHERE i = 1
INSERT INTO orders SELECT 1000 + i, 'eu', DATE '2026-01-01', i, 'new' FROM range(30) t(i)
INSERT INTO flushed VALUES (1100, 'new')
DELETE FROM merged WHERE i % 5 = 0
INSERT INTO merged SELECT 2000 + i, 'new' FROM range(30) t(i)
DELETE FROM orders WHERE id % 2 = 0
INSERT INTO flushed VALUES (1101, 'new')
INSERT INTO merged VALUES (3000, 'new')
CALL ducklake_flush_inlined_data('lake')
CALL ducklake_merge_adjacent_files('lake')
CALL ducklake_rewrite_data_files('lake', 'merged', delete_threshold => 0.0)
INSERT INTO merged VALUES (3001, 'new')
""".strip().splitlines()
MIXED = {"merged": "i", "flushed": "i", "orders": "id"}


def goes_on(place, before, version):
    """What was cut away does not come back, in no table and at no snapshot."""
    with place.open() as process:

        def shown(table, at=""):
            rows = process.sql(f"SELECT {MIXED[table]}, md5(t::VARCHAR) FROM (FROM {table} {at}) t")
            return sorted(map(tuple, rows))

        started = {table: shown(table) for table in MIXED}
        history = {}
        for text in AFTER:
            process.sql(text)
            newest = int(process.value("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')"))
            for table in MIXED:
                history[table, newest] = shown(table)
            for (table, at), rows in history.items():
                assert shown(table, f"AT (VERSION => {at})") == rows, (text, table, at)
        assert max(at for _, at in history) >= version + len(AFTER) - 2
        for table, rows in started.items():
            old = [row for row in history[table, newest] if int(row[0]) < 1000]
            assert old and set(old) < set(rows) and len(set(old)) == len(old)
    seen = place.fingerprint(list(range(version + 1)))
    wanted = expected_at(before, version)
    assert {key: seen[key] for key in wanted if "@" in key} == {
        key: value for key, value in wanted.items() if "@" in key
    }


@pytest.mark.parametrize("kind,data", [("duckdb", "s3"), ("sqlite", "local"), ("postgres", "local")])
def test_to_a_snapshot_inside_a_delete_file(cb, make_lake, lake_place, kind, data):
    """A later DELETE replaced the file of an earlier one: what it said then is known of every row."""
    lake = make_lake(kind, data, rich=False)
    with lake.open() as process:
        process.sql("CALL lake.set_option('data_inlining_row_limit', 0)")
        process.sql("DELETE FROM t WHERE i BETWEEN 11 AND 14")
        version = int(process.value("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')"))
        process.sql("DELETE FROM t WHERE i BETWEEN 21 AND 25")
        process.sql("INSERT INTO t SELECT i, 'third' FROM range(40) t(i)")
        process.sql("DELETE FROM t WHERE i = 31")
        before = process.fingerprint()
    partial = lake.catalog_sql("SELECT count(*) FROM ducklake_delete_file WHERE partial_max IS NOT NULL;")
    assert int(partial[0][0]) > 0
    backup(cb, lake)
    for at in (version, version + 2):
        place = lake_place(kind, data)
        restore(cb, place, "--snapshot", at)
        assert_cut(place, before, at)
        usable(place)
        seen = place.fingerprint()
        assert seen["main.t"][0] == str(int(before[f"main.t@{at}"][0]) + 25)


def test_to_a_snapshot_without_an_engine(cb, make_lake, lake_place, tmp_path):
    """Which rows are later nobody can tell: said before anything is written. What a backup from before
    the merge has can be had."""
    lake = make_lake("sqlite", rich=False)
    with lake.open() as process:
        process.sql("CREATE TABLE m (i INTEGER)")
        for _ in range(3):
            process.sql("INSERT INTO m SELECT i FROM range(30) t(i)")
        version = int(process.value("SELECT max(snapshot_id) - 1 FROM ducklake_snapshots('lake')"))
        before = process.fingerprint()
    whole = backup(cb, lake).json["label"]
    with lake.open() as process:
        process.sql("CALL ducklake_merge_adjacent_files('lake')")
        process.sql("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    backup(cb, lake)
    place = lake_place("sqlite")
    none = {"CANVASBACK_EXTENSION_DIRECTORY": tmp_path}
    told = restore(cb, place, "--snapshot", version, env=none, code=FAILED).error
    assert "later snapshots" in told["message"] and "DuckDB" in told["message"] and told["hint"]
    assert not place.file.exists() and not place.files()
    restore(cb, place, "--snapshot", version, what=f"lake@{whole}", env=none)
    assert_cut(place, before, version)
    place = lake_place("sqlite")
    restore(cb, place, "--snapshot", version)
    assert_cut(place, before, version)


def test_to_a_snapshot_of_an_encrypted_lake(cb, make_lake, lake_place):
    """Its files cannot be looked into: a snapshot inside a merged one is refused, with its table."""
    lake = make_lake("sqlite", encrypted=True)
    backup(cb, lake, "--allow-unencrypted-keys")
    place = lake_place("sqlite")
    told = restore(cb, place, "--snapshot", 14, code=FAILED).error
    assert "merge" in told["message"] and "encrypted" in told["message"] and '"main".' in told["message"]
    assert told["hint"] and not place.file.exists()


def test_a_lake_cut_to_a_snapshot_goes_on(cb, make_lake, lake_place):
    lake = make_lake("sqlite")
    backup(cb, lake)
    snapshots = [one for one, _ in lake.snapshots()]
    place = lake_place("duckdb")
    restore(cb, place, "--snapshot", snapshots[-5])
    usable(place)


def test_no_such_snapshot(cb, make_lake, lake_place):
    lake, place = make_lake("sqlite", rich=False), lake_place("duckdb")
    backup(cb, lake)
    told = restore(cb, place, "--snapshot", 77, code=(FAILED, MISSING)).error
    assert "77" in told["message"]
    assert not place.file.exists() and not place.files()


def test_to_a_time(cb, make_lake, lake_place):
    lake, place = make_lake("sqlite", rich=False), lake_place("sqlite")
    first = backup(cb, lake).json
    with lake.open() as process:
        process.sql("DELETE FROM t")
    backup(cb, lake)
    restore(cb, place, "--time", first["finished"])
    place.same(lake.before())
    told = restore(cb, lake_place("sqlite"), "--time", "2001-01-01 00:00:00Z", code=MISSING).error
    assert told["code"] == "not-found"


def test_only_some_tables(cb, make_lake, lake_place):
    lake, place = make_lake("postgres"), lake_place("duckdb")
    backup(cb, lake)
    restore(cb, place, "--tables", 'main.orders,"hidden.select from ""where"" ü"', "--tables", "small")
    before, seen = lake.before(), place.fingerprint([20])
    kept = ("main.orders", "main.small", 'hidden.select from "where" ü')
    tables = {key for key in seen if "." in key and "@" not in key and not key.endswith(" columns")}
    assert tables == set(kept)
    for key in seen:
        if key.startswith(kept):
            assert seen[key] == before[key], key
    assert len(place.files()) < len(lake.files())
    told = restore(cb, lake_place("duckdb"), "--tables", "no such", code=(FAILED, MISSING, USAGE)).error
    assert "no such" in told["message"]
    # Over what has these tables and no others again; over the lake itself all others would be gone.
    restore(cb, place, "--tables", "MAIN.orders", "--tables", "small", "--force")
    restore(cb, place, "--tables", "main.orders,small", "--delta")
    told = restore(cb, lake, "--tables", "small", "--delta", data_path=False, code=FAILED).error
    assert told["code"] == "exists" and "would lose its other tables" in told["message"]
    assert "another place" in told["hint"] and "--force" in told["hint"]
    lake.same(before, versions=[20])


@pytest.mark.parametrize("data", ["local", "s3"])
@pytest.mark.parametrize("kind", KINDS)
def test_delta_brings_back_only_what_is_missing_or_differs(cb, make_lake, kind, data):
    lake = make_lake(kind, data)
    backup(cb, lake)
    names = [name for name in lake.files() if name.endswith(".parquet")]
    lost, torn, extra = names[3], names[9], names[-1]
    sizes = len(lake.read(lost)) + len(lake.read(torn))
    lake.remove(lost)
    lake.write(torn, lake.read(torn)[:-20])
    lake.write("main/merged/not-ours.parquet", lake.read(extra))
    with lake.open() as process:
        process.sql("DROP TABLE kinds")
    done = restore(cb, lake, "--delta", data_path=False).json
    lake.same(lake.before(), versions=[5, 20])
    again = restore(cb, lake, "--delta", data_path=False).json
    # The catalog is written anew each time.
    assert done["bytes_written"] - again["bytes_written"] in range(sizes - 20, sizes + 1)
    assert again["bytes_reused"] >= sum(len(lake.read(name)) for name in names) - sizes
    lake.same(lake.before(), versions=[20])


@pytest.mark.parametrize("kind", KINDS)
def test_a_lake_that_is_there_is_not_replaced_unasked(cb, make_lake, kind):
    lake = make_lake(kind, rich=False)
    backup(cb, lake)
    with lake.open() as process:
        process.sql("INSERT INTO t VALUES (1000, 'later')")
    now = lake.fingerprint()
    told = restore(cb, lake, data_path=False, code=FAILED).error
    assert told["code"] == "exists" and "--force" in told["hint"]
    lake.same(now)


@pytest.mark.parametrize("kind", KINDS)
def test_before_a_live_lake_is_replaced_what_it_loses_is_listed(cb, make_lake, kind):
    lake = make_lake(kind, rich=False)
    backup(cb, lake)
    old = set(lake.files())
    with lake.open() as process:
        process.sql("INSERT INTO t SELECT i, 'later' FROM range(100) t(i)")
        process.sql("DELETE FROM t WHERE i = 33")
    newer = set(lake.files()) - old
    assert newer
    done = restore(cb, lake, "--force", data_path=False)
    lake.same(lake.before())
    listed = open(done.json["orphan_list"], encoding="utf-8").read()
    assert all(name.rpartition("/")[2] in listed for name in newer)
    assert not any(name.rpartition("/")[2] in listed for name in old)
    assert set(lake.files()) == old | newer, "a restore removes no file"


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_catalog_that_is_in_use_is_not_replaced(cb, make_lake, kind):
    lake = make_lake(kind, rich=False)
    backup(cb, lake)
    with lake.open() as process:
        process.sql("BEGIN")
        process.sql("INSERT INTO t SELECT i, 'running' FROM range(100) t(i)")
        if kind == "duckdb":
            told = restore(cb, lake, "--force", data_path=False, code=4).error
            assert told["code"] == "busy" and str(process.pid) in told["message"] + told["hint"]
        process.sql("COMMIT")
        assert int(process.value("SELECT count(*) FROM t")) == 280


def test_several_lakes_in_one_database(cb, make_lake, lake_place, lakes_made, tmp_path):
    """Each in a schema of its own; one is destroyed and comes back, the other is as it was."""
    lake = make_lake("postgres", schema="first lake", rich=False)
    other = lakes_made.make(
        tmp_path / "other", ["CREATE TABLE t AS SELECT 7 AS seven FROM range(50)"], kind="postgres",
        schema="second", database=lake.database,
    )  # fmt: skip
    untouched = other.fingerprint()
    backup(cb, lake)
    lake.postgres.sql(lake.database, 'DROP SCHEMA "first lake" CASCADE')
    lake.destroy_data()
    restore(cb, lake, data_path=False)
    lake.same(lake.before())
    other.same(untouched)
    told = cb("backup", lake.address, "--name", "x", code=FAILED).error
    assert "first lake" in told["hint"] and "second" in told["hint"]


def test_to_another_schema(cb, make_lake, lake_place):
    lake, place = make_lake("sqlite", rich=False), lake_place("postgres", schema='odd "name"')
    backup(cb, lake)
    restore(cb, place)
    place.same(lake.before())


@pytest.mark.parametrize("kind", KINDS)
def test_encrypted_lake(cb, make_lake, lake_place, tmp_path, kind):
    """Its keys are in its catalog: only into a repository that is encrypted, unless told otherwise."""
    lake = make_lake(kind, encrypted=True)
    told = backup(cb, lake, code=(FAILED, USAGE)).error
    assert "encrypt" in told["message"] + told["hint"]
    assert not cb.labels()
    backup(cb, lake, "--allow-unencrypted-keys")
    secret = tmp_path / "passphrase"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    env = {"CANVASBACK_REPO": tmp_path / "locked", "CANVASBACK_PASSPHRASE_FILE": secret}
    cb("init", "--encrypt", env=env)
    backup(cb, lake, env=env)
    lake.destroy()
    place = lake_place(kind)
    restore(cb, place, env=env)
    place.encrypted = True
    place.same(lake.before(), versions=[5, 20])


def test_verify_and_deep_verify(cb, make_lake):
    lake = make_lake("postgres")
    backup(cb, lake)
    lake.destroy()
    assert cb("verify", "lake").json["damaged"] == []
    deep = cb("verify", "lake", "--deep", "--all-snapshots", timeout=240)
    assert deep.json["damaged"] == []
    assert "data path" not in deep.err  # a scratch place concerns nobody
    assert cb("list", "lake").json[0]["verified"]
    assert DONE == deep.code
