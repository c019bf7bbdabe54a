"""`lake dump` and `lake undump`: the catalog as SQL that the engine's own shell runs, and back. What
comes back is the same catalog: for DuckLake, and cell by cell for a client that knows nothing of it."""

import contextlib
import json
import os
import pathlib
import re
import sqlite3
import stat
import subprocess
import threading

import pytest
from conftest import BUSY, DAMAGED, DONE, FAILED, MISSING, venv_python
from lake_scripts import PLAIN
from lakes import KINDS, LAKE_VERSION, SECRET, LakeProcess

# Cells that a dump may lose: no text, all texts, quotes, what shells and COPY treat in their own way.
TEXTS = ["", "NULL", "\\N", "\\.", "it's \"q\" ;-- /* */", "a\nb\r\nc\rd\te", "ü€𝄞", "{metadata}", "x\\'y", ".bail off", "$1 :x", "a\n.quit\n\\q\n\\! false\n;\n--\n$$", "long" * 25000]

HARD_TABLE = '"ducklake_x {y} ""z"""'
HARD_INDEX = '"an ""index"""'


def shell(lake, file, check=True):
    """Run the dump by the engine's own shell and nothing else."""
    if lake.kind == "postgres":
        command = [lake.postgres.PROGRAMS / "psql", "-X", "-q", "-h", lake.postgres.folder, "-p", lake.postgres.port,
                   "-U", "lake", "-d", lake.database, "-f", file]  # fmt: skip
    elif lake.kind == "sqlite":
        command = ["sqlite3", lake.file, f'.read "{file}"']
    else:
        python = pathlib.Path(venv_python(f"duckdb-cli-{LAKE_VERSION}", f"duckdb-cli=={LAKE_VERSION}"))
        found = list(python.parent.parent.glob("lib/python*/site-packages/duckdb_cli/duckdb"))
        command = [found[0], "-no-init", lake.file, "-f", file]
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "TZ": "America/New_York", "HOME": str(lake.folder)})  # fmt: skip
    assert not check or done.returncode == 0, done.stderr
    return done


def quote(name):
    return '"' + name.replace('"', '""') + '"'


def tables(lake, schema=""):
    """{table: its rows, and what it is} by a client that knows nothing of lakes."""
    if lake.kind == "sqlite":
        with contextlib.closing(sqlite3.connect(lake.file)) as con:
            con.text_factory = bytes
            names = [one[0].decode() for one in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            shape = sorted(con.execute("SELECT name, type FROM sqlite_master WHERE type = 'index'"))
            rows = {}
            for name in names:
                columns = con.execute(f'PRAGMA table_info({quote(name)})').fetchall()
                kinds = ", ".join(f"typeof({quote(one[1].decode())})" for one in columns)
                rows[name] = (columns, sorted(map(repr, con.execute(f'SELECT *, {kinds} FROM {quote(name)}'))))
            return rows, shape
    if lake.kind == "postgres":
        schema = schema or lake.schema or "public"
        names = lake.postgres.sql(lake.database, f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'")
        rows = {
            name: (
                lake.postgres.sql(
                    lake.database,
                    "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute WHERE attnum > 0"
                    f" AND attrelid = '{quote(schema)}.{quote(name)}'::regclass ORDER BY attnum",
                ),
                sorted(map(repr, lake.postgres.sql(lake.database, f"COPY {quote(schema)}.{quote(name)} TO STDOUT"))),
            )
            for (name,) in names
        }
        keys = lake.postgres.sql(
            lake.database,
            f"SELECT tablename, regexp_replace(indexdef, 'INDEX \\S+ ON', 'INDEX ON') FROM pg_indexes"
            f" WHERE schemaname = '{schema}' ORDER BY 1, 2",
        )
        return rows, keys
    with LakeProcess(lake.version, []) as process:
        process.sql(f"ATTACH '{lake.file}' AS plain (READ_ONLY)")
        process.sql("USE plain")
        names = [one for (one,) in process.sql("SELECT table_name FROM duckdb_tables() WHERE database_name = 'plain'")]
        rows = {}
        for name in names:
            columns = process.sql(
                f"SELECT column_name, data_type, is_nullable::VARCHAR FROM duckdb_columns() WHERE table_name = '{name}'"
                " AND database_name = 'plain' ORDER BY column_index"
            )
            texts = ", ".join(f"hex({quote(one[0])}::VARCHAR)" for one in columns)
            rows[name] = (columns, sorted(map(repr, process.sql(f'SELECT {texts} FROM {quote(name)}'))))
        keys = process.sql(
            "SELECT table_name, constraint_text FROM duckdb_constraints() WHERE database_name = 'plain'"
            " AND constraint_type <> 'NOT NULL' ORDER BY ALL"
        )
        return rows, sorted(map(repr, keys)) + process.sql("SELECT sql FROM duckdb_indexes() ORDER BY 1")


def assert_same(one, other):
    assert one[0].keys() == other[0].keys()
    for name in one[0]:
        assert one[0][name] == other[0][name], name
    assert one[1] == other[1]


def add_hard_table(lake):
    """A table of the catalog that no specification knows, with every hard cell."""
    quoted = ["'" + one.replace("'", "''") + "'" for one in TEXTS]
    if lake.kind == "sqlite":
        add_hard_to_sqlite(lake)
    elif lake.kind == "postgres":
        rows = ",".join(
            f"({i}, {t}, decode('00ff0d0a5c2e', 'hex'), {i} / 7.0, 'NaN', ARRAY[{t}, NULL], 1.10)"
            for i, t in enumerate(quoted)
        )
        name = f"{lake.schema or 'public'}.{HARD_TABLE}"
        lake.postgres.sql(
            lake.database,
            f"CREATE TABLE {name} (i bigint PRIMARY KEY, t character varying(100000), b bytea, d double precision,"
            " f real NOT NULL, a text[], n numeric(18,3), z timestamptz DEFAULT 'infinity', s timestamp DEFAULT"
            " '0044-03-15 12:00:00.000001 BC', iv interval DEFAULT '-1 mon 3 days -00:00:00.000001', u uuid DEFAULT"
            " 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', j jsonb DEFAULT '{\"a\": [1, null]}', m numeric DEFAULT"
            " 'NaN', UNIQUE (i, d));"
            f"INSERT INTO {name} VALUES {rows};"
            f"INSERT INTO {name} VALUES (100, NULL, NULL, 'infinity', '-infinity', NULL, 1);"
            f"CREATE INDEX {HARD_INDEX} ON {name} (upper(left(t, 50))) WHERE t <> E'a\\\\b''c;';",
            "lake",
        )
    else:
        with LakeProcess(lake.version, []) as process:
            process.sql(f"ATTACH '{lake.file}' AS plain")
            process.sql("USE plain")
            process.sql(
                f"CREATE TABLE {HARD_TABLE}(i BIGINT PRIMARY KEY, t VARCHAR, b BLOB, d DOUBLE, n DECIMAL(38,5),"
                ' l VARCHAR[], s STRUCT("a {b}" INTEGER, "q""" VARCHAR), m MAP(VARCHAR, BLOB), z TIMESTAMPTZ,'
                " j JSON, iv INTERVAL, h HUGEINT NOT NULL)"
            )
            process.sql(f"CREATE INDEX {HARD_INDEX} ON {HARD_TABLE}(t)")
            for i, t in enumerate(quoted):
                process.sql(
                    f"INSERT INTO {HARD_TABLE} VALUES ({i}, {t}, '\\x00\\xFF\\x0D\\x0A''\"'::BLOB, {i} / 7, {i} / 7,"
                    f" [{t}, NULL, 'NULL', ''], {{'a {{b}}': {i}, 'q\"': {t}}}, MAP {{{t}: '\\x00'::BLOB}},"
                    " '2026-11-21 14:00:00.123456+05', '{\"a\": [1, null]}', INTERVAL '-1 month 3 days 00:00:00.000001',"
                    " -170141183460469231731687303715884105728)"
                )
            process.sql(
                f"INSERT INTO {HARD_TABLE} VALUES (100, 'nul' || chr(0) || 'in it', NULL, 'nan', NULL,"
                " ['a' || chr(0)], NULL, NULL, '-infinity', NULL, NULL, 0)"
            )
            process.sql(
                f"INSERT INTO {HARD_TABLE} VALUES (101, NULL, ''::BLOB, '-inf', NULL, [], NULL, MAP {{}}, NULL,"
                " 'null', NULL, 0)"
            )


def add_hard_to_sqlite(lake):
    with contextlib.closing(sqlite3.connect(lake.file)) as con, con:
        con.execute(f"CREATE TABLE {HARD_TABLE}(i BIGINT PRIMARY KEY, t VARCHAR, b BLOB, d DOUBLE, n)")
        con.execute(f"CREATE INDEX {HARD_INDEX} ON {HARD_TABLE}(t, d)")
        insert = f"INSERT INTO {HARD_TABLE} VALUES (?, ?, ?, ?, ?)"
        for i, text in enumerate(TEXTS):
            con.execute(insert, (i, text, text.encode() + b"\0\xff\r\n", 0.1 * i + 1e-300, i))
        cells = [("nul\0in it", float("inf")), (None, -float("inf")), ("x", 2**63 - 1),
                 ("bad", b"blob in no type"), (b"\xff\xfe", 5e-324), ("y", 1.0)]  # fmt: skip
        for i, (t, n) in enumerate(cells):
            con.execute(insert, (100 + i, t, None, None, n))
        con.execute(f"INSERT INTO {HARD_TABLE} VALUES (200, CAST(X'fffe00' AS TEXT), X'', 9e999, 0.1)")


@pytest.fixture
def place(lake_place):
    """Where a lake's catalog can come back to; its data stays where it is."""

    def make(lake):
        other = lake_place(lake.kind, schema=lake.schema)
        other.data_path, other.version, other.encrypted = lake.data_path, lake.version, lake.encrypted
        return other

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_shell_runs_it(cb, make_lake, place, tmp_path, kind):
    lake = make_lake(kind)
    add_hard_table(lake)
    before = tables(lake)
    said = cb("lake", "dump", lake.address, tmp_path / "x.sql").json
    assert said["kind"] == kind and said["version"] == "1.0" and said["tables"] == len(before[0])
    assert said["rows"] == sum(len(rows) for _, rows in before[0].values())
    other = place(lake)
    shell(other, tmp_path / "x.sql")
    assert_same(before, tables(other))
    other.same(lake.before())
    # Once more into what is there now: all of it fails, and nothing is twice.
    assert shell(other, tmp_path / "x.sql", check=False).returncode != 0
    assert_same(before, tables(other))


@pytest.mark.parametrize("kind", KINDS)
def test_undump(cb, make_lake, place, tmp_path, kind):
    lake = make_lake(kind)
    add_hard_table(lake)
    before = tables(lake)
    dumped = cb("lake", "dump", lake.address, tmp_path / "x.sql").json
    other = place(lake)
    said = cb("lake", "undump", tmp_path / "x.sql", other.address).json
    assert (said["tables"], said["rows"], said["sha256"]) == (dumped["tables"], dumped["rows"], dumped["sha256"])
    assert_same(before, tables(other))
    other.same(lake.before())
    error = cb("lake", "undump", tmp_path / "x.sql", other.address, code=FAILED).error
    assert error["code"] == "exists" and "--force" in error["hint"]
    # What was committed since is gone after --force, and the lake is as it was.
    with other.open() as process:
        process.sql("CREATE TABLE later AS SELECT 1 AS i")
    cb("lake", "undump", tmp_path / "x.sql", other.address, "--force")
    assert_same(before, tables(other))
    other.same(lake.before())


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_another_schema(cb, lakes_made, place, tmp_path, kind):
    lake = lakes_made.make(tmp_path / "lake", PLAIN, kind=kind, schema='My "lakes"')

    def rows(one):
        with one.open(read_only=True) as process:
            return process.sql("SELECT * FROM t ORDER BY ALL") + process.sql("FROM ducklake_snapshots('lake')")

    before = rows(lake)
    cb("lake", "dump", lake.address, tmp_path / "x.sql", *lake.options)
    assert cb("lake", "dump", lake.address, tmp_path / "none.sql", code=None).code != DONE
    assert not (tmp_path / "none.sql").exists()
    by_shell, by_us = place(lake), place(lake)
    shell(by_shell, tmp_path / "x.sql")
    assert rows(by_shell) == before
    cb("lake", "undump", tmp_path / "x.sql", by_us.address)
    assert rows(by_us) == before
    cb("lake", "undump", tmp_path / "x.sql", place(lake).address, "--metadata-schema", "other", code=FAILED)


@pytest.mark.parametrize("version", ["1.3.0", "1.3.2", "1.4.4", "1.5.0"])
def test_old_versions(cb, make_lake, place, tmp_path, version):
    lake = make_lake("duckdb", version=version)
    said = cb("lake", "dump", lake.address, tmp_path / "x.sql").json
    assert said["version"] == {"1.3.0": "0.1", "1.3.2": "0.2", "1.4.4": "0.3", "1.5.0": "0.4"}[version]
    other = place(lake)
    cb("lake", "undump", tmp_path / "x.sql", other.address)
    assert_same(tables(lake), tables(other)) if version == "1.5.0" else None


def test_name_place_and_mode(cb, make_lake, tmp_path):
    lake = make_lake("sqlite", rich=False)
    home = tmp_path / "xdg"
    result = cb("lake", "dump", lake.address, env={"XDG_DATA_HOME": home})
    file = pathlib.Path(result.json["file"])
    assert file.parent == home / "canvasback"
    assert re.fullmatch(r"ducklake-backup-\d{8}T\d{6}Z-v1\.0\.sql", file.name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(file) in result.err  # the path is told before the work begins
    assert file.stat().st_size == result.json["bytes"]
    # Two in one second have two names, in a folder that is made.
    names = {cb("lake", "dump", lake.address, "--dump-dir", tmp_path / "a" / "b").json["file"] for _ in range(3)}
    assert len(names) == 3 and all(name.startswith(str(tmp_path / "a" / "b")) for name in names)
    # A file that is there stays.
    error = cb("lake", "dump", lake.address, file, code=FAILED).error
    assert error["code"] == "exists"
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_the_keys_of_an_encrypted_lake(cb, make_lake, place, tmp_path):
    lake = make_lake("sqlite", rich=False, encrypted=True)
    result = cb("lake", "dump", lake.address, tmp_path / "x.sql")
    assert "holds the keys" in result.err
    other = place(lake)
    cb("lake", "undump", tmp_path / "x.sql", other.address)
    other.same(lake.before())


def test_damaged_dumps_are_refused(cb, make_lake, place, tmp_path):
    lake = make_lake("sqlite", rich=False)
    cb("lake", "dump", lake.address, tmp_path / "x.sql")
    whole = (tmp_path / "x.sql").read_bytes()
    target = place(lake)
    middle = whole.index(b"INSERT") + 40
    for damaged in (whole[: len(whole) // 2], whole[:-1], whole[:-78], whole + b"\n", b"", whole[100:],
                    whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):  # fmt: skip
        (tmp_path / "bad.sql").write_bytes(damaged)
        result = cb("lake", "undump", tmp_path / "bad.sql", target.address, code=(DAMAGED, FAILED))
        assert result.error["code"] in ("corrupt", "unsupported") and result.error["hint"]
        assert not target.file.exists()
    cb("lake", "undump", tmp_path / "missing.sql", target.address, code=(FAILED, MISSING))


def test_only_what_a_dump_has_is_run(cb, make_lake, place, tmp_path):
    """A dump with a right digest that somebody wrote: its other statements are not run."""
    import hashlib

    lake = make_lake("sqlite", rich=False)
    cb("lake", "dump", lake.address, tmp_path / "x.sql")
    text = (tmp_path / "x.sql").read_bytes()
    body = text[: text.index(b"-- sha256")]
    for bad in ("DELETE FROM x", f"ATTACH '{tmp_path}/evil' AS e", "PRAGMA writable_schema = 1", "COMMIT; BEGIN; DROP TABLE x"):
        changed = body.replace(b"COMMIT;\n", f"{bad};\nCOMMIT;\n".encode())
        (tmp_path / "bad.sql").write_bytes(changed + b"-- sha256: " + hashlib.sha256(changed).hexdigest().encode() + b"\n")
        target = place(lake)
        error = cb("lake", "undump", tmp_path / "bad.sql", target.address, code=FAILED).error
        assert error["code"] == "unsupported" and "no statement of a dump" in error["message"]
        assert not target.file.exists() and not (tmp_path / "evil").exists()


def test_another_kind_is_refused(cb, make_lake, lake_place, tmp_path):
    lake = make_lake("sqlite", rich=False)
    cb("lake", "dump", lake.address, tmp_path / "x.sql")
    target = lake_place("duckdb")
    error = cb("lake", "undump", tmp_path / "x.sql", target.address, code=FAILED).error
    assert error["code"] == "unsupported" and "restore" in error["hint"]
    assert not target.file.exists()


def test_one_snapshot_while_a_writer_is_at_work(cb, make_lake, place, tmp_path):
    lake = make_lake("postgres", rich=False)
    stop = threading.Event()

    def write():
        with lake.open() as process:
            while not stop.is_set():
                process.sql("INSERT INTO t SELECT i, 'more' FROM range(30) t(i)")
                process.sql("DELETE FROM t WHERE i = 3")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = set()
        for i in range(4):
            cb("lake", "dump", lake.address, tmp_path / f"{i}.sql")
            other = place(lake)
            shell(other, tmp_path / f"{i}.sql")
            newest = int(other.catalog_sql("SELECT max(snapshot_id) FROM ducklake_snapshot")[0][0])
            seen.add(newest)
            late = other.catalog_sql(
                "SELECT (SELECT count(*) FROM ducklake_data_file WHERE begin_snapshot > "
                f"{newest} OR end_snapshot > {newest}), (SELECT count(*) FROM ducklake_snapshot_changes)"
                " - (SELECT count(*) FROM ducklake_snapshot)"
            )
            assert late == [["0", "0"]]
            assert other.fingerprint([newest])
    finally:
        stop.set()
        thread.join()
    assert len(seen) > 1, "the writer did not write"


def test_variants_are_refused_in_words(cb, make_lake, tmp_path):
    lake = make_lake("duckdb", rich=False)
    with lake.open() as process:
        process.sql("CREATE TABLE v (x VARIANT)")
        process.sql("INSERT INTO v VALUES (42::VARIANT)")
    result = cb("lake", "dump", lake.address, tmp_path / "x.sql", code=(DONE, FAILED))
    if result.code == FAILED:
        assert result.error["code"] == "unsupported" and "flush" in result.error["hint"]
        assert sorted(one.name for one in tmp_path.glob("x.sql*")) == []
    with lake.open() as process:
        process.sql("CALL ducklake_flush_inlined_data('lake')")
    cb("lake", "dump", lake.address, tmp_path / "y.sql")


def test_a_full_disk_leaves_nothing(cb, make_lake, faults, tmp_path):
    lake = make_lake("sqlite", rich=False)
    folder = tmp_path / "dumps"
    folder.mkdir()
    cb("lake", "dump", lake.address, folder / "0.sql", env=faults.env(path=str(folder)))
    total = faults.calls()
    assert total > 2
    for point in range(1, total + 1):
        result = cb("lake", "dump", lake.address, folder / f"{point}.sql", code=(DONE, FAILED),
                    env=faults.env(point, "ENOSPC", path=str(folder)))  # fmt: skip
        if result.code == FAILED:
            assert result.error["code"] == "no-space"
            assert not list(folder.glob(f"{point}.sql")), point


def test_a_killed_dump_leaves_no_dump(cb, make_lake, faults, tmp_path):
    lake = make_lake("sqlite", rich=False)
    folder = tmp_path / "dumps"
    folder.mkdir()
    cb("lake", "dump", lake.address, folder / "0.sql", env=faults.env(path=str(folder)))
    whole, left = 0, 0
    for point in range(1, faults.calls() + 1):
        file = folder / f"{point}.sql"
        cb("lake", "dump", lake.address, file, code=(DONE, -9), env=faults.env(point, "kill-after", path=str(folder)))
        left += any(".partial-" in one.name for one in folder.iterdir())
        if file.exists():
            whole += 1
            cb("lake", "undump", file, f"ducklake:sqlite:{folder}/{point}.sqlite")
    assert left > 0
    cb("lake", "dump", lake.address, folder / "last.sql")
    assert not [one.name for one in folder.iterdir() if ".partial-" in one.name]


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_killed_undump_leaves_the_old_or_the_new(cb, make_lake, place, faults, kind):
    lake = make_lake(kind, rich=False)
    folder = lake.folder
    cb("lake", "dump", lake.address, folder / "x.sql")
    with lake.open() as process:
        process.sql("CREATE TABLE later AS SELECT 1 AS i")
    old = cb("lake", "status", lake.address).json["snapshot"]
    kept = lake.file.read_bytes()
    command = ["lake", "undump", folder / "x.sql", lake.address, "--force"]
    cb(*command, env=faults.env())
    total = faults.calls()
    new = cb("lake", "status", lake.address).json["snapshot"]
    assert new != old
    seen, killed = set(), 0
    for point in faults.points(total, 8):
        lake.destroy_catalog()
        lake.file.write_bytes(kept)
        killed += cb(*command, code=(DONE, -9), env=faults.env(point, "kill-after")).code == -9
        said = cb("lake", "status", lake.address, code=DONE if kind == "sqlite" else (DONE, FAILED))
        if said.code == DONE:
            seen.add(said.json["snapshot"])
        else:  # between two renames, which the next run takes up
            assert "interrupted" in said.error["hint"]
        cb(*command)
        assert cb("lake", "status", lake.address).json["snapshot"] == new
    assert seen == {old, new} and killed
    # Where nothing was, there is nothing or all of it.
    other = place(lake)
    command = ["lake", "undump", folder / "x.sql", other.address]
    cb(*command, env=faults.env())
    for point in faults.points(faults.calls(), 6):
        other.destroy_catalog()
        cb(*command, code=(DONE, -9), env=faults.env(point, "kill-after"))
        if other.file.exists():
            assert cb("lake", "status", other.address).json["snapshot"] == new
        else:
            cb(*command)


def test_undump_in_the_place_of_a_broken_file(cb, make_lake, tmp_path):
    for kind in ("duckdb", "sqlite"):
        lake = make_lake(kind, rich=False)
        cb("lake", "dump", lake.address, tmp_path / f"{kind}.sql")
        content = bytearray(lake.file.read_bytes())
        content[100:9000] = os.urandom(8900)
        lake.file.write_bytes(content)
        cb("lake", "undump", tmp_path / f"{kind}.sql", lake.address, code=FAILED)
        assert lake.file.read_bytes() == content
        cb("lake", "undump", tmp_path / f"{kind}.sql", lake.address, "--force")
        lake.same(lake.before())


def test_a_password_is_never_told(cb, make_lake, tmp_path):
    lake = make_lake("postgres", rich=False)
    cb.secrets.append(SECRET)
    address = "ducklake:postgres:" + lake.postgres.conninfo(lake.database, password=True)
    file = cb("lake", "dump", address, "--dump-dir", tmp_path).json["file"]
    assert SECRET not in pathlib.Path(file).read_text()
    cb("lake", "status", address)
    cb("lake", "orphans", address)
    cb("lake", "undump", file, address, code=FAILED)
    cb("lake", "undump", file, address, "--force")
    lake.same(lake.before())
    cb("lake", "repoint", address, "--data-path", tmp_path / "nowhere", code=DAMAGED)
    cb("lake", "dump", address.replace("dbname=", "dbname=no"), code=(FAILED, MISSING))


def test_no_lake(cb, lake_place, tmp_path):
    for kind in KINDS:
        target = lake_place(kind)
        error = cb("lake", "dump", target.address, tmp_path / "x.sql", code=(FAILED, MISSING, BUSY)).error
        assert error["code"] == "not-found", json.dumps(error)
        assert not list(tmp_path.glob("x.sql*"))
