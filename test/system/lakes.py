"""Real lakes: DuckLake's own extension in DuckDB of several versions, catalogs in DuckDB and SQLite
files and in a PostgreSQL server on loopback, data on local disk or in MinIO.

A rich lake has everything in it that DuckLake can make. Making one takes seconds: each is made
once a session, as a template, and tests get copies.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import uuid

import pytest
from conftest import venv_python
from lake_scripts import OLD, PLAIN, RICH
from servers import free_port

HERE = pathlib.Path(__file__).resolve().parent
LAKE_VERSION = "1.5.5"
# What each of these writes: specification 0.1, 0.2, 0.3, 0.4, 1.0.
OLD_VERSIONS = ["1.3.0", "1.3.2", "1.4.4", "1.5.0"]
KINDS = ["duckdb", "sqlite", "postgres"]
SECRET = "pa$$ word's \\ 4711"  # needs care in a libpq string


def lake_python(version):
    """A Python that has this version of DuckDB and its official extensions, as files."""
    if version == "1.3.0":
        return venv_python(f"lake-{version}", "duckdb==1.3.0", "duckdb-ext-ducklake==1.3.0.20250921", "pytz")
    names = ("ducklake", "httpfs", "postgres-scanner", "sqlite-scanner")
    wanted = [f"duckdb-extension-{one}=={version}" for one in names]
    return venv_python(f"lake-{version}", f"duckdb=={version}", *wanted, "pytz")


def version_number(version):
    return tuple(int(part) for part in version.split("."))


# ---- PostgreSQL ---------------------------------------------------------------------------------


def die_with_parent():
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


class Postgres:
    """A server of its own below /tmp, on loopback and a Unix socket. `lake` is an ordinary user: trusted on
    the socket, asked for a password on TCP."""

    PROGRAMS = pathlib.Path("/usr/lib/postgresql/15/bin")

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cbpg", dir="/tmp"))
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        self.folder.chmod(0o755)
        self.process = None
        self.data = self.folder / "data"
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--locale", "C.UTF-8")  # fmt: skip
        rules = ["local all all trust", "host all postgres 127.0.0.1/32 trust",
                 "host all all 127.0.0.1/32 scram-sha-256"]  # fmt: skip
        (self.data / "pg_hba.conf").write_text("\n".join(rules) + "\n")
        self.start()
        self.sql("postgres", "CREATE ROLE lake LOGIN PASSWORD '" + SECRET.replace("'", "''") + "'")

    def _run(self, program, *arguments):
        done = subprocess.run(
            [self.PROGRAMS / program, *map(str, arguments)],
            capture_output=True, text=True, cwd="/", timeout=60, **self.user,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def start(self):
        for _ in range(3):
            self.port = getattr(self, "port", None) or free_port()
            with open(self.folder.parent / f"{self.folder.name}.log", "ab") as log:
                self.process = subprocess.Popen(
                    [self.PROGRAMS / "postgres", "-D", self.data, "-p", str(self.port), "-k", self.folder,
                     "-h", "127.0.0.1", "-c", "fsync=off", "-c", "full_page_writes=off",
                     "-c", "shared_buffers=32MB", "-c", "max_connections=60"],
                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
                    preexec_fn=die_with_parent, **self.user,
                )  # fmt: skip
            end = time.monotonic() + 60
            while self.process.poll() is None and time.monotonic() < end:
                done = subprocess.run(
                    [self.PROGRAMS / "pg_isready", "-q", "-h", self.folder, "-p", str(self.port)], check=False
                )
                if done.returncode == 0:
                    return
                time.sleep(0.05)
            self.stop()
            self.port = None
        raise AssertionError("PostgreSQL did not start")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGQUIT)
        if self.process:
            self.process.wait()

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder.parent / f"{self.folder.name}.log").unlink(missing_ok=True)

    def sql(self, database, text, user="postgres"):
        """Rows of strings."""
        done = subprocess.run(
            [self.PROGRAMS / "psql", "-X", "-q", "-At", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p",
             str(self.port), "-U", user, "-d", database, "-f", "-"],
            input=text, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [line.split("\t") for line in done.stdout.splitlines()]

    def database(self, template=None, name=None):
        """A new one that belongs to `lake`."""
        name = name or f"l{uuid.uuid4().hex[:12]}"
        copy = f' TEMPLATE "{template}"' if template else ""
        self.sql("postgres", f'CREATE DATABASE "{name}" OWNER lake{copy}')
        self.sql(name, "ALTER SCHEMA public OWNER TO lake")
        return name

    def drop(self, name):
        self.sql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def conninfo(self, database, password=False):
        """By the socket; or by TCP, with the password in it."""
        if password:
            quoted = SECRET.replace("\\", "\\\\").replace("'", "\\'")
            return f"host=127.0.0.1 port={self.port} user=lake dbname={database} password='{quoted}'"
        return f"host={self.folder} port={self.port} user=lake dbname={database}"


@pytest.fixture(scope="session")
def postgres():
    server = Postgres()
    yield server
    server.remove()


# ---- DuckDB -------------------------------------------------------------------------------------


class LakeError(Exception):
    """What DuckDB said."""


class LakeProcess:
    """DuckDB of one version in a process of its own, with a lake attached as `lake`."""

    def __init__(self, version, needs):
        self.process = subprocess.Popen(
            [lake_python(version), HERE / "lake_child.py", *needs],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TZ": "UTC"},
        )
        self.lock = threading.Lock()
        self.schema = ""  # of the catalog's tables; empty: the kind's default
        line = self.process.stdout.readline()
        assert line == "ready\n", line + self.process.stderr.read()

    @property
    def pid(self):
        return self.process.pid

    def ask(self, **what):
        with self.lock:
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise LakeError("the process ended: " + self.process.stderr.read()[-2000:])
        said = json.loads(line)
        if "error" in said:
            raise LakeError(said["error"])
        return said["result"]

    def sql(self, text, *values):
        """Rows of strings (or None)."""
        return self.ask(do="sql", text=text, values=list(values))

    def value(self, text):
        return self.sql(text)[0][0]

    def fingerprint(self, versions=None):
        """What a user can see: every table at every snapshot (`versions`: at these), and what is newest."""
        return self.ask(do="fingerprint", versions=versions, schema=self.schema)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        """Detaches and ends."""
        if self.process.poll() is None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        self.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def child(version, address, options=None, s3=None, encrypted=False):
    """A process of this DuckDB version with the lake at `address` attached."""
    needs = []
    if address.startswith("ducklake:postgres"):
        needs.append("postgres_scanner")
    if address.startswith("ducklake:sqlite:"):
        needs.append("sqlite_scanner")
    if s3 or encrypted:  # it brings the cryptography too
        needs.append("httpfs")
    process = LakeProcess(version, needs)
    try:
        process.schema = (options or {}).get("METADATA_SCHEMA", "")
        process.ask(do="attach", lake=address, options=options or {}, s3=s3)
    except BaseException:
        process.close()
        raise
    return process


def version_of(key):
    """The snapshot that an entry of a fingerprint is of; None: none in particular."""
    return int(key.rpartition("@")[2]) if "@" in key else None


@dataclasses.dataclass
class Lake:
    """Where a lake is, for DuckDB and for the program."""

    kind: str  # of the catalog: duckdb, sqlite, postgres
    address: str  # DuckDB's own ATTACH string
    data_path: str  # ends in '/'
    folder: pathlib.Path  # what is local of it
    version: str = LAKE_VERSION
    schema: str = ""  # METADATA_SCHEMA; empty: the kind's default
    encrypted: bool = False
    bucket: object = None  # of the data, when in MinIO
    prefix: str = ""
    postgres: object = None
    database: str = ""
    before: object = None  # its fingerprint when it was made: a function

    @property
    def options(self):
        """What the program must be told beside the address."""
        words = ["--metadata-schema", self.schema] if self.schema else []
        if self.bucket:
            words += ["--endpoint", self.bucket.server.endpoint, "--s3-path-style", "--region", "us-east-1"]
        return words

    @property
    def env(self):
        return self.bucket.env() if self.bucket else {}

    @property
    def s3(self):
        if not self.bucket:
            return None
        keys = self.bucket.server.root
        endpoint = self.bucket.server.endpoint.removeprefix("http://")
        return {"endpoint": endpoint, "key": keys.access_key, "secret": keys.secret}

    @property
    def file(self):
        """The catalog's file."""
        return pathlib.Path(self.address.removeprefix("ducklake:").removeprefix("sqlite:"))

    def open(self, read_only=False, version=None, **options):
        """A process with it attached; keywords are options of ATTACH."""
        said = {**self.attach_options(), **options}
        if read_only:
            said["READ_ONLY"] = True
        return child(version or self.version, self.address, said, self.s3, self.encrypted)

    def fingerprint(self, versions=None, **options):
        with self.open(read_only=True, **options) as process:
            return process.fingerprint(versions)

    def same(self, before, versions=None):
        """Does DuckLake see here what it saw there?"""
        wanted = before
        if versions is not None:
            wanted = {key: value for key, value in before.items() if version_of(key) in (None, *versions)}
        seen = self.fingerprint(versions)
        differ = {key for key in wanted.keys() | seen.keys() if wanted.get(key) != seen.get(key)}
        assert not differ, "\n".join(
            f"{key}: {wanted.get(key)} before, {seen.get(key)} now" for key in sorted(differ)[:10]
        )

    def snapshots(self):
        """[(id, time as text)], oldest first."""
        with self.open(read_only=True) as process:
            return [
                (int(one), when)
                for one, when in process.sql(
                    "SELECT snapshot_id, strftime(snapshot_time AT TIME ZONE 'UTC', '%Y-%m-%d %H:%M:%S.%fZ')"
                    " FROM ducklake_snapshots('lake') ORDER BY 1"
                )
            ]

    def files(self):
        """The names of what lies below the data path, sorted."""
        if self.bucket:
            return [key[len(self.prefix) :] for key in self.bucket.list(self.prefix)]
        root = pathlib.Path(self.data_path)
        return sorted(str(one.relative_to(root)) for one in root.rglob("*") if one.is_file())

    def read(self, name):
        if self.bucket:
            return self.bucket.get(self.prefix + name)
        return pathlib.Path(self.data_path, name).read_bytes()

    def write(self, name, data):
        if self.bucket:
            return self.bucket.put(self.prefix + name, data)
        pathlib.Path(self.data_path, name).parent.mkdir(parents=True, exist_ok=True)
        return pathlib.Path(self.data_path, name).write_bytes(data)

    def remove(self, name):
        if self.bucket:
            return self.bucket.remove(self.prefix + name)
        return pathlib.Path(self.data_path, name).unlink()

    def catalog_sql(self, text):
        """Rows of strings from the catalog's tables, not by way of DuckLake. Quote names with "."""
        if self.kind == "postgres":
            schema = (self.schema or "public").replace('"', '""')
            return self.postgres.sql(self.database, f'SET search_path = "{schema}";\n{text}', "lake")
        if self.kind == "sqlite":
            with contextlib.closing(sqlite3.connect(self.file)) as con, con:
                return [[str(one) if one is not None else "" for one in row] for row in con.execute(text)]
        with LakeProcess(self.version, []) as process:
            process.sql(f"ATTACH '{self.file}' AS plain")
            process.sql("USE plain")
            return process.sql(text)

    def attach_options(self):
        return {"METADATA_SCHEMA": self.schema} if self.schema else {}

    def destroy(self):
        """Catalog and data are no more."""
        self.destroy_catalog()
        self.destroy_data()

    def destroy_catalog(self):
        if self.kind == "postgres":
            self.postgres.drop(self.database)
            return
        for end in ("", ".wal", "-wal", "-shm", "-journal"):
            self.file.with_name(self.file.name + end).unlink(missing_ok=True)

    def destroy_data(self):
        for name in self.files():
            self.remove(name)
        if not self.bucket:
            shutil.rmtree(self.data_path, ignore_errors=True)
        shutil.rmtree(self.folder / "outside", ignore_errors=True)


# ---- the program and a lake ---------------------------------------------------------------------


def merged(lake, more):
    return {**lake.env, **(more.pop("env", None) or {})}


def backup(cb, lake, *words, **more):
    """The result of a backup under the name `lake`."""
    env = merged(lake, more)
    return cb("backup", lake.address, "--name", "lake", *lake.options, *words, env=env, **more)


def restore(cb, place, *words, what="lake", data_path=True, **more):
    """Bring it back there; without `data_path` its files go where they were."""
    env = merged(place, more)
    where = ["--data-path", place.data_path] if data_path else []
    return cb("restore", what, place.address, *where, *place.options, *words, env=env, **more)


def usable(lake):
    """Does DuckLake go on with it: write, maintain, and find no file too many?"""
    with lake.open() as process:
        table = "merged" if process.sql("SELECT 1 FROM duckdb_tables() WHERE table_name = 'merged'") else "t"
        count = int(process.value(f"SELECT count(*) FROM {table}"))
        process.sql(f"INSERT INTO {table} SELECT i, 'after' FROM range(40) t(i)")
        process.sql(f"DELETE FROM {table} WHERE s = 'after' AND i < 15")
        assert int(process.value(f"SELECT count(*) FROM {table}")) == count + 25
        orphans = process.sql(
            "CALL ducklake_delete_orphaned_files('lake', dry_run => true, cleanup_all => true)"
        )
        assert not orphans
        before = process.fingerprint([])
        process.sql("CALL ducklake_expire_snapshots('lake', older_than => now())")
        process.sql("CALL ducklake_merge_adjacent_files('lake')")
        process.sql("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
        after = process.fingerprint([])
        tables = [key for key in after if "." in key and not key.endswith(" columns")]
        assert {key: before[key] for key in tables} == {key: after[key] for key in tables}


# ---- lakes made ---------------------------------------------------------------------------------


class Lakes:
    """Makes lakes; those of one session share servers and templates."""

    def __init__(self, request, folder):
        self.request = request
        self.folder = folder
        self.templates = {}
        self.fingerprints = {}

    def place(self, folder, kind, data="local", version=LAKE_VERSION, schema="", database=None, versioned=False):
        """Where a lake can be, with nothing there (but an empty database, unless one is given)."""
        folder.mkdir(parents=True, exist_ok=True)
        lake = Lake(kind, "", "", folder, version=version, schema=schema)
        if kind == "postgres":
            lake.postgres = self.request.getfixturevalue("postgres")
            lake.database = database or lake.postgres.database()
            lake.address = "ducklake:postgres:" + lake.postgres.conninfo(lake.database)
        else:
            lake.address = f"ducklake:{'sqlite:' * (kind == 'sqlite')}{folder}/meta.{kind}"
        if data == "s3":
            lake.bucket = self.request.getfixturevalue("minio").bucket(versioned=versioned)
            lake.prefix = "lake data/main/"
            lake.data_path = f"s3://{lake.bucket.name}/{lake.prefix}"
        else:
            lake.data_path = f"{folder}/the data/"
        return lake

    def make(self, folder, script=None, encrypted=False, **where):
        """A fresh one, made by DuckLake."""
        lake = self.place(folder, **where)
        lake.encrypted = encrypted
        options = {"DATA_PATH": lake.data_path, **({"ENCRYPTED": True} if encrypted else {})}
        outside = folder / "outside"
        outside.mkdir(exist_ok=True)
        with lake.open(**options) as process:
            process.sql(
                "COPY (SELECT i::BIGINT AS i, 'outside' AS s FROM range(50) t(i))"
                f" TO '{outside}/it is outside.parquet'"
            )
            for text in script:
                if not (encrypted and "{outside}" in text):
                    process.sql(text.replace("{outside}", str(outside)))
        return lake

    def template(self, rich, **what):
        key = (rich, *sorted(what.items()))
        if key not in self.templates:
            script = PLAIN if not rich else RICH if what["version"] == LAKE_VERSION else OLD
            lake = self.make(self.folder / f"template-{len(self.templates)}", script, **what)
            lake.before = lambda: self.fingerprints.get(key) or self.fingerprints.setdefault(key, lake.fingerprint())
            self.templates[key] = lake
        return self.templates[key]

    def copy(self, lake, folder, versioned=False):
        """Another lake of the same content elsewhere; its catalog is told where its files are."""
        other = self.place(
            folder, lake.kind, "s3" if lake.bucket else "local", lake.version, lake.schema, database="none",
            versioned=versioned,
        )  # fmt: skip
        other.encrypted, other.before = lake.encrypted, lake.before
        if lake.kind == "postgres":
            other.database = lake.postgres.database(lake.database)
            other.address = "ducklake:postgres:" + lake.postgres.conninfo(other.database)
        else:
            shutil.copy2(lake.file, other.file)
        for name in lake.files():
            other.write(name, lake.read(name))
        shutil.copytree(lake.folder / "outside", folder / "outside", dirs_exist_ok=True)
        other.catalog_sql(
            f"UPDATE ducklake_metadata SET value = '{other.data_path}' WHERE key = 'data_path';"
        )
        other.catalog_sql(
            f"UPDATE ducklake_data_file SET path = replace(path, '{lake.folder}/', '{folder}/')"
            f" WHERE path LIKE '{lake.folder}/%';"
        )
        return other


@pytest.fixture(scope="session")
def lakes_made(request, tmp_path_factory):
    return Lakes(request, tmp_path_factory.mktemp("lakes"))


@pytest.fixture
def make_lake(lakes_made, tmp_path):
    """make_lake(kind, data="local"|"s3", version=…, rich=True, encrypted=False, schema=""): a lake of
    the test's own."""
    count = iter(range(1000))

    def make(kind, data="local", version=LAKE_VERSION, rich=True, encrypted=False, schema=""):
        template = lakes_made.template(
            rich, kind=kind, data=data, version=version, encrypted=encrypted, schema=schema
        )
        return lakes_made.copy(template, tmp_path / f"lake-{next(count)}")

    return make


@pytest.fixture
def lake_place(lakes_made, tmp_path):
    """lake_place(kind, data="local"|"s3", …): where a lake can be restored to."""
    count = iter(range(1000))
    return lambda *what, **more: lakes_made.place(tmp_path / f"place-{next(count)}", *what, **more)
