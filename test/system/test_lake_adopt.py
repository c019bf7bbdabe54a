"""`lake adopt`: what commits after the restored backup wrote comes back, once, and nothing else does."""

import pathlib

import pytest
from conftest import DAMAGED, DONE, FAILED, USAGE
from lakes import KINDS, backup


def adopt(cb, lake, *words, code=DONE):
    return cb("lake", "adopt", lake.address, *lake.options, *words, env=lake.env, code=code).json


def put_back(cb, lake):
    """Restore over the live lake; the list that was saved."""
    done = cb("restore", "lake", lake.address, *lake.options, "--delta", env=lake.env).json
    return done.get("orphan_list")


def reasons(said):
    return [one["reason"] for one in said["refused"]]


def grown(lake, *statements):
    with lake.open() as process:
        for statement in statements:
            process.sql(statement)


def values(lake, query):
    with lake.open(read_only=True) as process:
        return process.sql(query)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", ["local", "s3"])
def test_rows_come_back_once(cb, make_lake, kind, data):
    lake = make_lake(kind, data, rich=False)
    backup(cb, lake)
    grown(
        lake,
        "INSERT INTO t SELECT 100000 + i, 'later' FROM range(100) t(i)",
        "INSERT INTO t SELECT 200000 + i, NULL FROM range(50) t(i)",
    )
    before = values(lake, "SELECT count(*), sum(i), count(s) FROM t")
    saved = put_back(cb, lake)
    assert pathlib.Path(saved).exists()
    plain = values(lake, "SELECT count(*) FROM t")
    assert adopt(cb, lake, "--dry-run")["snapshot"] is None
    assert values(lake, "SELECT count(*) FROM t") == plain

    said = adopt(cb, lake)
    assert [(one["files"], one["rows"]) for one in said["tables"]] == [(2, 150)] and not said["refused"]
    assert values(lake, "SELECT count(*), sum(i), count(s) FROM t") == before
    # What is pruned by statistics must not pass the adopted files over.
    assert values(lake, "SELECT count(*) FROM t WHERE i >= 200000") == [["50"]]
    assert values(lake, "SELECT count(*) FROM t WHERE s IS NULL AND i >= 200000") == [["50"]]

    again = adopt(cb, lake)
    assert not again["tables"] and all("names it already" in reason for reason in reasons(again))
    assert values(lake, "SELECT count(*), sum(i), count(s) FROM t") == before
    cb("check", lake.address, *lake.options, env=lake.env)

    adopted = values(lake, "SELECT count(*) FROM t")
    told = adopt(cb, lake, "--undo", "--dry-run")["tables"]
    assert values(lake, "SELECT count(*) FROM t") == adopted
    assert told == said["tables"] == adopt(cb, lake, "--undo")["tables"]
    assert values(lake, "SELECT count(*) FROM t") == plain
    assert adopt(cb, lake, "--undo", code=FAILED)["error"]["code"] == "not-found"
    # Life goes on in both states.
    adopt(cb, lake)
    grown(lake, "DELETE FROM t WHERE i >= 200000", "CALL ducklake_merge_adjacent_files('lake')")
    assert values(lake, "SELECT count(*) FROM t WHERE i >= 100000") == [["100"]]


def test_deleted_rows_are_not_resurrected_silently(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    backup(cb, lake)
    grown(
        lake,
        "INSERT INTO t SELECT 100000 + i, 'later' FROM range(100) t(i)",
        "DELETE FROM t WHERE i BETWEEN 100000 AND 100049",
    )
    put_back(cb, lake)
    said = adopt(cb, lake, code=DAMAGED)
    assert not said["tables"] and any("would come back" in reason for reason in reasons(said))
    said = adopt(cb, lake, "--accept")
    assert said["tables"][0]["rows"] == 100
    assert values(lake, "SELECT count(*) FROM t WHERE i >= 100000") == [["100"]]


def test_merge_results_are_not_counted_twice(cb, make_lake):
    lake = make_lake("duckdb", rich=False)
    grown(lake, "CREATE TABLE old AS SELECT i FROM range(100) t(i)", "CREATE TABLE fresh (i INTEGER)")
    backup(cb, lake)
    for table in ["old", "fresh"]:
        for start in [1000, 2000]:
            grown(lake, f"INSERT INTO {table} SELECT {start} + i FROM range(100) t(i)")
    grown(lake, "CALL ducklake_merge_adjacent_files('lake')")
    before = values(lake, "SELECT count(*), sum(i) FROM fresh")
    put_back(cb, lake)
    said = adopt(cb, lake, code=DAMAGED)
    # The merged file of `old` holds rows that the catalog has; that of `fresh` holds new ones alone,
    # and the files that it replaced are left out.
    assert [(one["table"], one["files"], one["rows"]) for one in said["tables"]] == [('"main"."fresh"', 1, 200)]
    assert sum("a merge made it" in reason for reason in reasons(said)) == 1
    assert sum("scheduled" in reason for reason in reasons(said)) == 4
    assert values(lake, "SELECT count(*), sum(i) FROM fresh") == before
    assert values(lake, "SELECT count(*) FROM old") == [["100"]]


def test_updates_and_strange_columns(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    backup(cb, lake)
    grown(lake, "ALTER TABLE t ADD COLUMN extra INTEGER", "INSERT INTO t SELECT 100000 + i, 'x', i FROM range(30) t(i)")
    put_back(cb, lake)
    said = adopt(cb, lake, code=DAMAGED)
    assert not said["tables"] and any('"extra"' in reason for reason in reasons(said))
    said = adopt(cb, lake, "--accept")
    assert said["tables"][0]["rows"] == 30
    assert values(lake, "SELECT count(*) FROM t WHERE i >= 100000") == [["30"]]


def test_without_a_list(cb, make_lake, tmp_path):
    lake = make_lake("sqlite", rich=False)
    backup(cb, lake)
    grown(lake, "INSERT INTO t SELECT 100000 + i, 'later' FROM range(100) t(i)")
    pathlib.Path(put_back(cb, lake)).unlink()
    refused = adopt(cb, lake, code=FAILED)
    assert refused["error"]["code"] == "not-found" and "--accept" in refused["error"]["hint"]
    [lost] = [one["path"] for one in cb("lake", "orphans", lake.address, env=lake.env).json["files"]]
    torn = pathlib.Path(lost).with_name("torn.parquet")
    torn.write_bytes(pathlib.Path(lost).read_bytes()[:-20])
    said = adopt(cb, lake, lost, str(torn), str(tmp_path / "nowhere.parquet"), code=DAMAGED)
    assert said["tables"][0]["rows"] == 100 and len(said["refused"]) == 2
    assert values(lake, "SELECT count(*) FROM t WHERE i >= 100000") == [["100"]]
    other = tmp_path / "other.lost"
    other.write_text("# canvasback lost files 1 00 1 2\n")
    assert adopt(cb, lake, "--from-list", other, code=USAGE)["error"]["code"] == "usage"
    assert adopt(cb, lake, "--from-list", tmp_path / "none.lost", code=FAILED)


def test_the_table_is_gone(cb, make_lake):
    lake = make_lake("sqlite", rich=False)
    backup(cb, lake)
    grown(lake, "CREATE TABLE late AS SELECT i FROM range(500) t(i)")
    put_back(cb, lake)
    said = adopt(cb, lake, code=DAMAGED)
    assert not said["tables"] and any("no table" in reason for reason in reasons(said))
