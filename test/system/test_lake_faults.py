"""Lakes that are not well, servers that are not there, and ends without warning."""

import contextlib
import os
import pathlib
import random
import signal
import subprocess
import time

import pytest
from conftest import BUSY, DAMAGED, DONE, FAILED
from lakes import KINDS, SECRET, LakeError, backup, restore

# What becomes of a data file, and the word that tells it.
HARMS = {
    "missing": lambda lake, name: lake.remove(name),
    "cut": lambda lake, name: lake.write(name, lake.read(name)[:-7]),
    "empty": lambda lake, name: lake.write(name, b""),
    "torn": lambda lake, name: lake.write(name, lake.read(name)[:-8] + bytes(8)),
}


def victim(lake):
    """A file that a table needs now."""
    return next(name for name in lake.files() if "/orders/" in name and "delete" not in name)


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("kind,data", [("sqlite", "local"), ("postgres", "s3"), ("duckdb", "local")])
def test_damaged_file_is_named_and_not_stored_unasked(cb, make_lake, lake_place, kind, data, harm):
    lake = make_lake(kind, data)
    name = victim(lake)
    HARMS[harm](lake, name)
    told = backup(cb, lake, code=DAMAGED)
    assert name.rpartition("/")[2] in told.out + told.err
    assert not cb.labels()

    done = backup(cb, lake, "--allow-damage")
    assert done.json["damaged"] == 1 and name.rpartition("/")[2] in done.err
    [marked] = [one["path"] for one in cb("show", "lake").json["items"] if one.get("damaged")]
    assert marked.rpartition("/")[2] == name.rpartition("/")[2]
    assert cb("verify").json["damaged"] == []  # the repository has what the source had
    place = lake_place("sqlite")
    [lost] = restore(cb, place, code=DAMAGED).json["lost"]
    assert name.rpartition("/")[2] in lost["item"]
    with place.open() as process:
        assert int(process.value("SELECT count(*) FROM merged")) > 100
        with pytest.raises(LakeError):
            process.sql("SELECT * FROM orders")


def test_damage_is_said_though_the_file_is_in_an_older_backup(cb, make_lake):
    """An old chunk is no reason to believe that the file is still there."""
    lake = make_lake("sqlite", "s3")
    backup(cb, lake)
    name = victim(lake)
    lake.remove(name)
    told = backup(cb, lake, code=(DONE, DAMAGED))
    if told.code == DONE:
        checked = cb("check", lake.address, *lake.options, env=lake.env, code=DAMAGED)
        assert name.rpartition("/")[2] in checked.out


def test_what_killed_runs_left(cb, make_lake, tmp_path):
    """Copies of a catalog, and files in the making, go with the next run; what others made stays."""
    lake = make_lake("sqlite", rich=False)
    temporary, folder = tmp_path / "temporary", pathlib.Path(lake.data_path, lake.files()[0]).parent
    env = {"TMPDIR": temporary}
    gone = [temporary / "canvasback-temp-0123456789abcdef/keys", folder / ".canvasback-part-0123456789abcdef"]
    stay = [temporary / "canvasback-temp-mine/keys", folder / ".canvasback-part-mine", tmp_path / "elsewhere/x"]
    for one in [*gone, *stay]:
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_text("x")
    (temporary / "canvasback-temp-ffffffffffffffff").symlink_to(tmp_path / "elsewhere")
    found = cb("lake", "orphans", lake.address, env=env).json["files"]
    assert {pathlib.Path(one["path"]): one["kind"] for one in found} == {gone[1]: "killed restore", stay[1]: "other"}
    assert not gone[0].exists()
    backup(cb, lake, env=env)
    restore(cb, lake, "--delta", env=env)
    assert not gone[1].exists()
    assert all(one.exists() for one in stay)
    assert {one.name for one in temporary.iterdir()} == {"canvasback-temp-mine", "canvasback-temp-ffffffffffffffff"}


def test_nothing_is_written_outside(cb, make_lake, lake_place, tmp_path):
    """What a catalog names with '..' is left out and said; a link in the target is not followed."""
    lake, elsewhere = make_lake("sqlite", rich=False), tmp_path / "elsewhere"
    elsewhere.mkdir()
    backup(cb, lake)
    place = lake_place("sqlite")
    main = pathlib.Path(place.data_path, "main")
    main.parent.mkdir(parents=True)
    main.symlink_to(elsewhere)
    error = restore(cb, place, code=FAILED).error
    assert error["code"] == "exists" and str(elsewhere) in error["message"] and "--force" in error["hint"]
    assert not list(elsewhere.iterdir()) and not place.file.exists()

    [first] = lake.catalog_sql("SELECT min(data_file_id) FROM ducklake_data_file")[0]
    outside = pathlib.Path(lake.data_path).parent / "climbed\nout.parquet"
    outside.write_bytes(lake.read(lake.files()[0]))
    lake.catalog_sql(
        f"UPDATE ducklake_data_file SET path = '{lake.data_path}../climbed'||char(10)||'out.parquet',"
        f" path_is_relative = 0, file_size_bytes = {outside.stat().st_size} WHERE data_file_id = {first}"
    )
    told = backup(cb, lake).err
    assert "climbed?out" in told and "'..'" in told
    place = lake_place("sqlite")
    told = restore(cb, place, code=DAMAGED)
    assert "climbed" in told.error["message"] and "\nout" not in told.err
    assert place.file.exists() and not list(place.folder.glob("**/climbed*"))

    # An absolute path: only where it was, and only with a word of it.
    plain = tmp_path / "plain.parquet"
    outside.rename(plain)
    lake.catalog_sql(f"UPDATE ducklake_data_file SET path = '{plain}' WHERE data_file_id = {first}")
    backup(cb, lake)
    plain.unlink()
    restore(cb, lake_place("sqlite"))
    assert not plain.exists()
    told = restore(cb, lake_place("sqlite"), data_path=False)
    assert plain.exists() and f"'{plain}'" in told.err


def test_no_such_lake(cb, tmp_path, postgres):
    database = postgres.database()
    places = [
        f"ducklake:{tmp_path}/none.ducklake",
        f"ducklake:sqlite:{tmp_path}/none.sqlite",
        "ducklake:postgres:" + postgres.conninfo("none"),
        "ducklake:postgres:" + postgres.conninfo(database),
    ]
    for address in places:
        told = cb("backup", address, "--name", "lake", code=FAILED).error
        assert told["code"] == "not-found" and "none" in told["message"] or database in told["message"], told
    assert not list(tmp_path.glob("none*")), "a backup makes no database"
    assert not cb.labels()


def test_wrong_password(cb, make_lake):
    lake = make_lake("postgres", rich=False)
    address = "ducklake:postgres:" + lake.postgres.conninfo(lake.database, password=True)
    wrong = address.replace("4711", "8822")
    told = cb.run("backup", wrong, "--name", "lake", "--log-level", "debug")
    assert told.code == FAILED
    assert "8822" not in told.out + told.err
    assert "password" in told.err
    assert cb.run("backup", address, "--name", "lake").code == DONE


@contextlib.contextmanager
def held(postgres, database, table):
    """Somebody holds the table, and goes."""
    holder = subprocess.Popen(
        [postgres.PROGRAMS / "psql", "-X", "-q", "-h", postgres.folder, "-p", str(postgres.port), "-U", "postgres", database],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    holder.stdin.write(f"BEGIN; LOCK TABLE {table};\n\\echo held\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "held\n"
    yield
    holder.stdin.close()
    holder.wait(30)


def test_rights_and_locks(cb, make_lake, postgres):
    """Who may not, or has to wait for somebody, is told what to do; and a reader's rights are enough."""
    lake = make_lake("postgres", rich=False)
    postgres.sql(lake.database, "CREATE ROLE reader LOGIN; CREATE ROLE stranger LOGIN;", "postgres")
    grants = "GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;"
    postgres.sql(lake.database, grants, "postgres")
    reader, stranger = (lake.address.replace("user=lake", f"user={one}") for one in ("reader", "stranger"))
    try:
        cb("backup", reader, "--name", "lake")
        for words in (["backup", stranger, "--name", "x"], ["restore", "lake", reader, "--delta"]):
            error = cb(*words, code=FAILED).error
            assert error["code"] == "denied" and "owns" in error["hint"], error
        start = time.monotonic()
        with held(postgres, lake.database, "ducklake_data_file"):
            error = cb("backup", lake.address, "--name", "lake", "--lock-wait", 1, code=BUSY).error
        assert "--lock-wait" in error["hint"] and time.monotonic() - start < 20
        lake.same(lake.before())
    finally:
        postgres.sql(lake.database, "DROP OWNED BY reader; DROP ROLE reader, stranger;", "postgres")


def test_server_down(cb, make_lake, postgres):
    address = f"ducklake:postgres:host=127.0.0.1 port=1 dbname=x user=lake password=very-secret-{SECRET[-4:]}"
    start = time.monotonic()
    told = cb.run("backup", address, "--name", "lake")
    assert told.code == FAILED and time.monotonic() - start < 100
    assert "127.0.0.1" in told.err and "very-secret" not in told.err


def test_credentials_for_the_catalog_alone(cb, make_lake):
    lake = make_lake("postgres", "s3", rich=False)
    env = {"AWS_SECRET_ACCESS_KEY": "wrong-for-this"}
    told = backup(cb, lake, env=env, code=FAILED).error
    assert told["code"] == "denied", told
    assert not cb.labels()


@pytest.mark.parametrize("kind", KINDS)
def test_newer_version_is_stored_as_it_is(cb, make_lake, lake_place, kind):
    """Its tables are tables; only what they mean is not known."""
    lake = make_lake(kind, rich=False)
    lake.catalog_sql("UPDATE ducklake_metadata SET value = '9.9' WHERE key = 'version';")
    if kind != "duckdb":
        lake.catalog_sql("CREATE TABLE ducklake_of_the_future (a BIGINT, b VARCHAR);")
        lake.catalog_sql("INSERT INTO ducklake_of_the_future VALUES (1, 'x'), (NULL, NULL);")
    done = cb.run("backup", lake.address, "--name", "lake")
    assert done.code == DONE, done.err
    assert "9.9" in done.err
    assert cb("show", "lake").json["spec_version"] == "9.9"
    lake.destroy_catalog()
    if kind == "postgres":
        lake.postgres.database(name=lake.database)
    restore(cb, lake, "--delta", data_path=False)
    if kind != "duckdb":
        assert lake.catalog_sql("SELECT count(*) FROM ducklake_of_the_future")[0][0] == "2"
    lake.catalog_sql("UPDATE ducklake_metadata SET value = '1.0' WHERE key = 'version';")
    lake.same(lake.before())


def kill_at(faults, cb, most, run):
    """Run, and run again, killed before, in or after the n-th call that writes; yields each."""
    run(env=faults.env())
    total = faults.calls()
    assert total > 5
    killed = 0
    for number, point in enumerate(faults.points(total, most)):
        action = ["kill-before", "kill-half", "kill-after"][number % 3]
        result = run(env=faults.env(point, action))
        killed += result.code == -9
        yield f"{action} at {point} of {total}"
    assert killed > 2


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_killed_restore_over_a_live_lake(cb, faults, make_lake, kind):
    """The lake is as before or as after, never between; the command run again completes."""
    lake = make_lake(kind, rich=False)
    backup(cb, lake)
    with lake.open() as process:
        process.sql("DELETE FROM t WHERE i < 50")
        process.sql("CREATE TABLE later AS SELECT 1 AS one FROM range(30)")
    later = lake.fingerprint()
    held = {one.name: one.read_bytes() for one in lake.folder.iterdir() if one.is_file()}

    def put_back():
        for one in lake.folder.iterdir():
            if one.is_file():
                one.unlink()
        for name, data in held.items():
            (lake.folder / name).write_bytes(data)

    def run(env):
        put_back()
        return restore(cb, lake, "--force", data_path=False, env=env, code=None)

    for note in kill_at(faults, cb, 14, run):
        if lake.file.exists():
            seen = lake.fingerprint()
            assert seen in (lake.before(), later), note
        result = restore(cb, lake, "--force", data_path=False, code=None)
        assert result.code == DONE, f"{note}: {result.out}"
        lake.same(lake.before())


@pytest.mark.parametrize("kind", KINDS)
def test_killed_restore_to_a_new_place(cb, faults, make_lake, lake_place, kind):
    """No catalog appears before all its files are there."""
    lake = make_lake(kind, rich=False)
    backup(cb, lake)
    places = []

    def run(env):
        places.append(lake_place(kind))
        return restore(cb, places[-1], env=env, code=None)

    for note in kill_at(faults, cb, 10, run):
        place = places[-1]
        there = (
            place.catalog_sql("SELECT to_regclass('ducklake_metadata')")[0][0]
            if kind == "postgres"
            else place.file.exists()
        )
        if there:
            place.same(lake.before())
        result = restore(cb, place, "--delta", code=None)
        assert result.code == DONE, f"{note}: {result.out}"
        place.same(lake.before())


def test_killed_at_any_time_over_a_live_postgres(cb, make_lake, rng):
    lake = make_lake("postgres")
    backup(cb, lake)
    with lake.open() as process:
        process.sql("DELETE FROM merged WHERE i < 10")
    later = lake.fingerprint([5])
    before = {key: value for key, value in lake.before().items() if "@" not in key}
    start = time.monotonic()
    restore(cb, lake, "--force", data_path=False)
    span = time.monotonic() - start
    with lake.open() as process:
        process.sql("DELETE FROM merged WHERE i < 10")
    now = lake.fingerprint([5])
    assert now["main.merged"] == later["main.merged"]
    for _ in range(6):
        run = cb.start("restore", "lake", lake.address, "--force")
        time.sleep(rng.uniform(0.02, span))
        run.send_signal(signal.SIGKILL)
        run.communicate()
        seen = lake.fingerprint([])
        tables = {key: value for key, value in seen.items() if "." in key}
        as_before = {key: value for key, value in before.items() if "." in key}
        as_later = {key: value for key, value in now.items() if "." in key and "@" not in key}
        assert tables in (as_before, as_later)
    restore(cb, lake, "--force", data_path=False)
    lake.same(lake.before(), versions=[5])
    assert os.path.exists(cb.repo)
    assert isinstance(rng, random.Random)
