"""`lake migrate`, `guard` and `rollback`: real lakes of older DuckLake versions, real migrations by
DuckDB 1.5.5, and the way back."""

import dataclasses
import pathlib
import random
import signal
import time

import pytest
from conftest import BUSY, DAMAGED, DONE, FAILED, USAGE, seed
from lakes import LAKE_VERSION, backup, merged

SPECIFICATION = {"1.3.0": "0.1", "1.3.2": "0.2", "1.4.4": "0.3", "1.5.0": "0.4", "1.5.5": "1.0"}
MIGRATION_NEEDED = 10

# What DuckDB 1.5.5 can migrate.
POSSIBLE = [("1.3.0", "duckdb"), ("1.3.2", "duckdb")]
POSSIBLE += [(version, kind) for version in ("1.4.4", "1.5.0") for kind in ("duckdb", "sqlite", "postgres")]


def lake_verb(cb, verb, lake, *words, **more):
    env = merged(lake, more)
    dumps = ["--dump-dir", lake.folder / "dumps"] if verb != "rollback" else []
    what = ["lake", lake.address] if verb == "rollback" else [lake.address, "--name", "lake"]
    return cb("lake", verb, *what, *dumps, *lake.options, *words, env=env, **more)


def version_in(lake):
    newest = dataclasses.replace(lake, version=LAKE_VERSION)  # it reads the files of all versions
    return newest.catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'version'")[0][0]


def tables(lake, version):
    """{table at snapshot: rows}, by DuckLake of this version."""
    with lake.open(read_only=True, version=version) as process:
        seen = process.fingerprint()
    return {
        key: value[0] for key, value in seen.items() if "@" in key and not isinstance(value, (int, str))
    }


@pytest.mark.parametrize("version,kind", POSSIBLE)
def test_migrated_and_back(cb, make_lake, version, kind):
    lake = make_lake(kind, version=version, rich=False)
    before = lake.before()
    rows = tables(lake, version)
    result = lake_verb(cb, "migrate", lake).json
    assert (result["from"], result["to"]) == (SPECIFICATION[version], "1.0")
    assert result["needed"] and result["migrated"] and not result["waited"]
    assert result["compared"] == len(rows) and result["unreadable"] == 0 and result["tables"] == 1
    assert pathlib.Path(result["dump"]).stat().st_size > 1000
    assert cb("show", result["backup"]).json["tags"] == {"migration": f"v{SPECIFICATION[version]}->v1.0"}
    assert version_in(lake) == "1.0"
    assert tables(lake, LAKE_VERSION) == rows

    again = lake_verb(cb, "migrate", lake).json
    assert not again["needed"] and again["backup"] is None
    assert lake_verb(cb, "guard", lake).json["needed"] is False

    back = lake_verb(cb, "rollback", lake).json
    assert (back["from"], back["to"], back["backup"]) == ("1.0", SPECIFICATION[version], result["backup"])
    assert version_in(lake) == SPECIFICATION[version]
    lake.same(before)
    lake_verb(cb, "rollback", lake, code=USAGE)  # there is nothing to roll back any more


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgres"])
def test_everything_in_it(cb, make_lake, kind):
    """Merged files of 0.4 keep their snapshots."""
    lake = make_lake(kind, version="1.5.0")
    rows = tables(lake, "1.5.0")
    result = lake_verb(cb, "migrate", lake).json
    assert result["migrated"] and result["compared"] + result["unreadable"] >= len(rows)
    seen = tables(lake, LAKE_VERSION)
    assert {key: seen[key] for key in rows} == rows
    assert cb("verify", "lake", "--deep").code == DONE


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_what_would_be_lost_is_not_migrated(cb, make_lake, kind):
    """DuckDB's migration forgets which rows of a merged file of 0.3 are of which snapshot."""
    lake = make_lake(kind, version="1.4.4", rich=False)
    with lake.open() as process:
        process.sql("CREATE TABLE merged (i INTEGER)")
        for _ in range(3):
            process.sql("INSERT INTO merged SELECT i FROM range(60) t(i)")
        process.sql("CALL ducklake_merge_adjacent_files('lake')")
    before = lake.fingerprint()
    result = lake_verb(cb, "migrate", lake, code=DAMAGED)
    assert '"merged"' in result.err and "snapshot" in result.err and "not touched" in result.err
    assert "expire" in result.err
    assert version_in(lake) == "0.3"
    lake.same(before)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_current_release_can(cb, make_lake, kind):
    lake = make_lake(kind, version="1.3.2", rich=False)
    result = lake_verb(cb, "migrate", lake, code=FAILED)
    assert "0.2" in result.err and "1.4.4" in result.err
    assert not cb("list", code=None).out.count('"label"')
    assert not list(lake.folder.glob("dumps/*"))
    lake.same(lake.before())
    # What is guarded for a program of that time is another matter.
    assert lake_verb(cb, "guard", lake, "--to", "0.3", code=MIGRATION_NEEDED).json["backup"]


def test_guard_only_backs_up(cb, make_lake):
    lake = make_lake("sqlite", version="1.4.4", rich=False)
    result = lake_verb(cb, "guard", lake, code=MIGRATION_NEEDED).json
    assert result["needed"] and not result["migrated"]
    assert pathlib.Path(result["dump"]).exists()
    assert version_in(lake) == "0.3"
    # The program that attaches migrates it by itself; the way back is there.
    with lake.open(version=LAKE_VERSION, AUTOMATIC_MIGRATION=True) as process:
        process.sql("INSERT INTO t SELECT i, 'since' FROM range(50) t(i)")
    assert version_in(lake) == "1.0"
    back = lake_verb(cb, "rollback", lake)
    assert back.json["backup"] == result["backup"]
    assert "came after the migration" in back.err
    lake.same(lake.before())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_many_workers_dump_once(cb, make_lake, kind):
    lake = make_lake(kind, version="1.4.4", rich=False)
    words = ["lake", "migrate", lake.address, "--name", "lake", "--dump-dir", lake.folder / "dumps", "--json"]
    runs = [cb.start(*words) for _ in range(3)]
    said = [(one.wait(100), *one.communicate()) for one in runs]
    assert all(code == DONE for code, _, _ in said), said
    assert sum('"migrated": true' in out or '"migrated":true' in out for _, out, _ in said) == 1
    assert len(list(lake.folder.glob("dumps/*.sql"))) == 1
    assert len(cb("list", "lake").json) == 1
    assert version_in(lake) == "1.0"


def test_no_backup_no_migration(cb, make_lake, tmp_path):
    lake = make_lake("sqlite", version="1.5.0", rich=False)
    in_the_way = tmp_path / "a file"
    in_the_way.write_text("x")
    for words in (["--dump-dir", in_the_way], ["--repo", in_the_way]):
        result = cb("lake", "migrate", lake.address, "--name", "lake", *words, code=None)
        assert result.code not in (DONE, MIGRATION_NEEDED)
        assert "not migrated" in result.err
        assert version_in(lake) == "0.4"
    lake.same(lake.before())


def test_open_elsewhere(cb, make_lake):
    lake = make_lake("duckdb", version="1.5.0", rich=False)
    with lake.open():
        result = lake_verb(cb, "migrate", lake, "--lock-wait", "1", code=BUSY)
        assert "not touched" in result.err
    assert version_in(lake) == "0.4"


def test_missing_files_are_not_rolled_back_to(cb, make_lake):
    lake = make_lake("duckdb", version="1.5.0", rich=False)
    lake_verb(cb, "migrate", lake)
    gone = lake.files()[0]
    lake.remove(gone)
    result = lake_verb(cb, "rollback", lake, code=DAMAGED)
    assert gone.rpartition("/")[2] in result.err
    assert version_in(lake) == "1.0"


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgres"])
def test_killed_at_any_instant(cb, make_lake, kind):
    """The lake is of the old version or of the new one, whole; a second run ends it."""
    chance = random.Random(seed())
    lake = make_lake(kind, version="1.4.4", rich=False)
    rows = tables(lake, "1.4.4")
    words = ["lake", "migrate", lake.address, "--name", "lake", "--dump-dir", lake.folder / "dumps"]
    for _ in range(4):
        run = cb.start(*words)
        time.sleep(chance.uniform(0.1, 4))
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.communicate()
        version = version_in(lake)
        assert version in ("0.3", "1.0")
        assert tables(lake, "1.4.4" if version == "0.3" else LAKE_VERSION) == rows
        if version == "1.0":
            break
    lake_verb(cb, "migrate", lake)
    assert version_in(lake) == "1.0"
    assert tables(lake, LAKE_VERSION) == rows


@pytest.mark.parametrize("version,kind", [("1.4.4", "sqlite"), ("1.5.5", "postgres"), ("1.5.5", "duckdb")])
def test_verify_deep(cb, make_lake, version, kind):
    lake = make_lake(kind, version=version, rich=False)
    backup(cb, lake)
    said = cb("verify", "lake", "--deep").json
    assert [(one["table"], one["rows"]) for one in said["tables"]] == [('"main"."t"', 180)]
    said = cb("verify", "lake", "--deep", "--all-snapshots").json
    assert [one["rows"] for one in said["tables"]] == [0, 100, 200, 180]


def test_data_in_a_bucket(cb, make_lake):
    lake = make_lake("sqlite", data="s3", version="1.4.4", rich=False)
    assert lake_verb(cb, "migrate", lake).json["migrated"]
    assert version_in(lake) == "1.0"
    assert cb("verify", "lake", "--deep").json["tables"][0]["rows"] == 180
