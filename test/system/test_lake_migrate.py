"""`lake migrate`, `guard` and `rollback`: real lakes of older DuckLake versions, real migrations by
DuckDB 1.5.5, and the way back."""

import contextlib
import dataclasses
import pathlib
import random
import re
import signal
import threading
import time

import pytest
from conftest import BUSY, DAMAGED, DONE, FAILED, USAGE, seed
from lakes import LAKE_VERSION, LakeError, backup, merged

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


def newest(lake):
    return dataclasses.replace(lake, version=LAKE_VERSION)  # it reads the files of all versions


def version_in(lake):
    return newest(lake).catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'version'")[0][0]


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
    assert result["migrated"] and 10 < result["compared"] + result["unreadable"] <= len(rows)
    assert result["snapshots"] == int(newest(lake).catalog_sql("SELECT count(*) FROM ducklake_snapshot")[0][0])
    seen = tables(lake, LAKE_VERSION)
    assert {key: seen[key] for key in rows} == rows
    assert cb("verify", "lake", "--deep").code == DONE


@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "postgres"])
def test_every_snapshot_is_looked_at(cb, make_lake, kind):
    """Snapshots that show the same of a table are read once: DuckLake itself sees the same in all of them, and
    there is none that nobody looked at."""
    lake = make_lake(kind)
    with lake.open() as process:
        process.sql("CREATE OR REPLACE TABLE gone (other VARCHAR)")
        process.sql("CREATE OR REPLACE TABLE gone (other VARCHAR)")
        process.sql("CREATE SCHEMA later")
        process.sql("ALTER TABLE orders ADD COLUMN late INTEGER DEFAULT 5")
    wanted = {key: value for key, value in lake.fingerprint().items() if "@" in key}
    backup(cb, lake)
    looks = cb("verify", "lake", "--deep", "--all-snapshots").json["tables"]
    seen = set()
    for look in looks:
        table, first, last = re.fullmatch(r"(.*) at snapshots? (\d+)(?: to (\d+))?", look["table"], re.S).groups()
        name = ".".join(part.replace('""', '"') for part in table[1:-1].split('"."'))
        last = last or first
        assert wanted[f"{name}@{last}"][0] == str(look["rows"])
        for snapshot in range(int(first), int(last) + 1):
            key = f"{name}@{snapshot}"
            if key in wanted:  # else it was expired
                assert wanted[key] == wanted[f"{name}@{last}"], f"{key} is not as at {last}"
                assert key not in seen
                seen.add(key)
    assert seen == set(wanted)
    assert len(looks) < len(wanted) / 2


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


def test_guard_only_backs_up(cb, make_lake, lake_place):
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
    # Nothing of that is lost, should it be wanted.
    kept = re.search(r"canvasback restore (\S+)", back.err).group(1)
    other = lake_place("sqlite")
    cb("restore", kept, other.address, "--data-path", other.data_path)
    assert tables(other, LAKE_VERSION)["main.t@5"] == "230"
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


class Writer:
    """A client of the lake's own version that stays attached; what it committed is remembered."""

    def __init__(self, lake):
        self.process = lake.open()
        self.committed = []
        self.stopping = threading.Event()

    def write(self, number):
        with contextlib.suppress(LakeError):
            self.process.sql(f"INSERT INTO t SELECT {number}, 'live' FROM range(20) t(i)")
            self.committed.append(number)

    def until_stopped(self):
        self.thread = threading.Thread(target=lambda: [self.write(1000 + n) for n in iter(self.next, None)], daemon=True)
        self.thread.start()

    def next(self):
        return None if self.stopping.is_set() else len(self.committed)

    def stop(self):
        self.stopping.set()
        self.thread.join(60)
        self.process.close()


def written(lake, version):
    with lake.open(read_only=True, version=version) as process:
        seen = process.sql("SELECT i, count(*) FROM t WHERE s = 'live' GROUP BY i ORDER BY i")
    return {int(number): int(count) for number, count in seen}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_somebody_writes_all_the_while(cb, make_lake, kind):
    """Either the lake is left alone, or it is migrated with all that was committed."""
    lake = make_lake(kind, version="1.4.4", rich=False)
    writer = Writer(lake)
    writer.until_stopped()
    result = lake_verb(cb, "migrate", lake, code=(DONE, BUSY))
    writer.stop()
    assert len(writer.committed) > 2
    version = version_in(lake)
    assert version == ("1.0" if result.code == DONE else "0.3")
    assert "committed" in result.err
    seen = written(lake, LAKE_VERSION if version == "1.0" else "1.4.4")
    assert seen == {number: 20 for number in writer.committed}
    if result.code == BUSY:
        assert lake_verb(cb, "migrate", lake).json["migrated"]
        assert written(lake, LAKE_VERSION) == seen


def test_who_stays_attached(cb, make_lake):
    """A client of the old version that was there all the time is told of; what it commits is not lost."""
    lake = make_lake("postgres", version="1.4.4", rich=False)
    writer = Writer(lake)
    writer.write(1)
    result = lake_verb(cb, "migrate", lake)
    assert "other session" in result.err and "detach" in result.err
    writer.write(2)
    writer.process.close()
    assert 1 in writer.committed
    assert written(lake, LAKE_VERSION) == {number: 20 for number in writer.committed}


@pytest.mark.parametrize("to,code", [("nonsense", USAGE), ("9.9", USAGE), ("0.4", FAILED), ("1.1-dev1", FAILED)])
def test_no_way_to_that_version(cb, make_lake, to, code):
    lake = make_lake("sqlite", version="1.4.4", rich=False)
    result = lake_verb(cb, "migrate", lake, "--to", to, code=code)
    assert to in result.err and ("1.0" in result.err or "1.0" in result.error["hint"])
    assert version_in(lake) == "0.3"
    assert not list(lake.folder.glob("dumps/*")) and not cb("list", code=None).out.count('"label"')


def test_to_a_version(cb, make_lake):
    lake = make_lake("sqlite", version="1.4.4", rich=False)
    for to in ("0.3", "0.3-dev1", "0.2"):
        assert lake_verb(cb, "migrate", lake, "--to", to).json["needed"] is False
    assert version_in(lake) == "0.3"
    assert lake_verb(cb, "migrate", lake, "--to", "1.0").json["to"] == "1.0"
    assert version_in(lake) == "1.0"
    assert lake_verb(cb, "migrate", lake, "--to", "0.4").json["needed"] is False


def test_indexes_of_ones_own(cb, make_lake):
    """What somebody added to the catalog's tables comes back with the old catalog."""
    lake = make_lake("postgres", version="1.4.4", rich=False)
    lake.catalog_sql(
        "CREATE INDEX \"by {path}\" ON ducklake_data_file (upper(path)) WHERE path <> 'it''s {x}';"
        "ALTER TABLE ducklake_data_file ADD CONSTRAINT known UNIQUE (data_file_id, table_id);"
        "ALTER TABLE ducklake_delete_file ADD CONSTRAINT of_file FOREIGN KEY (data_file_id)"
        " REFERENCES ducklake_data_file (data_file_id);"
        "ALTER TABLE ducklake_snapshot ADD CONSTRAINT positive CHECK (snapshot_id >= 0);"
    )
    shown = ("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL SELECT conname || "
             "pg_get_constraintdef(oid) FROM pg_constraint WHERE contype <> 'n' ORDER BY 1")  # fmt: skip
    before = lake.catalog_sql(shown)
    backup(cb, lake)
    cb("restore", "lake", lake.address, "--force")
    assert lake.catalog_sql(shown) == before
    lake.same(lake.before())


def test_no_backup_no_migration(cb, make_lake, faults, tmp_path):
    lake = make_lake("sqlite", version="1.5.0", rich=False)
    in_the_way = tmp_path / "a file"
    in_the_way.write_text("x")
    for words in (["--dump-dir", in_the_way], ["--repo", in_the_way]):
        result = cb("lake", "migrate", lake.address, "--name", "lake", *words, code=None)
        assert result.code not in (DONE, MIGRATION_NEEDED)
        assert "not migrated" in result.err
        assert version_in(lake) == "0.4"
    places = {"TMPDIR": tmp_path / "temporary", "CANVASBACK_DUMP_DIR": tmp_path / "dumps"}
    for place in places.values():
        place.mkdir()
    for full in places.values():
        env = {**places, **faults.env(1, "ENOSPC", sticky=1, path=str(full))}
        error = cb("lake", "migrate", lake.address, "--name", "lake", env=env, code=FAILED).error
        assert error["code"] == "no-space" and str(full) in error["message"] and error["hint"], error
        assert version_in(lake) == "0.4" and not any(list(place.iterdir()) for place in places.values())
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
