#!/usr/bin/env python3
"""How long a backup of a DuckLake takes, how much memory, and how both grow with the lake.

    ./run bench --lake [--files 50000,200000] [--kinds sqlite,duckdb,postgres] [--data copy]
                       [--snapshots 10000] [--rows ROWS,...] [--steps "first backup;restore"]

A lake is made for each kind of catalog: DuckLake makes it, with one small file; the rows of the
others are written to the catalog's tables directly, and each is a small file of its own. For each
number of files:

    first backup -> nothing changed -> 1,000 files more -> list, show -> verify -> check of the live
    lake -> restore to a new place -> expire

Seconds of wall clock and of CPU, and the largest memory of the program and the engine that it starts
together; from the first and the last number of files the slope for a million. --rows fills
ducklake_file_column_stats, the table that is the largest of most catalogs, until it has so many rows,
and tells the slope for a million of them when the number of files stays the same. A folder in memory
(--work /dev/shm) tells what the program needs; on a disk most of a restore is the making of files, as
it is for "cp -r of the files", which stands beside it.

A catalog in PostgreSQL is made in a server of its own, see test/system/lakes.py.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "system"))

import conftest  # noqa: E402,F401  lakes.py wants it first
import lakes  # noqa: E402

NEW = 1000
PER_FOLDER = 10_000
STEPS = ["first backup", "nothing changed", "1,000 files more", "list", "show", "verify", "check", "restore",
         "cp -r of the files", "expire"]  # fmt: skip


def say(text):
    print(text, file=sys.stderr, flush=True)


# ---- the program --------------------------------------------------------------------------------


class Watch(threading.Thread):
    """Follows the memory of a process and of those that it starts: the sum of each one's largest."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peaks, self.ended = pid, {}, threading.Event()

    def look(self, pid):
        with contextlib.suppress(OSError, IndexError):
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as lines:
                found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
            if found:
                self.peaks[pid] = max(self.peaks.get(pid, 0), int(found[0]) * 1024)
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                for child in file.read().split():
                    self.look(int(child))

    def run(self):
        while not self.ended.wait(0.05):
            self.look(self.pid)

    @property
    def peak(self):
        return sum(self.peaks.values())


class Tool:
    """The program; each run is measured."""

    def __init__(self, work):
        self.path = conftest.program_path()
        self.env = {
            **os.environ,
            "CANVASBACK_REPO": str(work / "repo"),
            "XDG_DATA_HOME": str(work / "home"),
            "TMPDIR": str(work),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_GCE_CHECK": "true",
        }

    def run(self, *words):
        """(seconds, seconds of CPU, peak memory in bytes, result)."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.monotonic()
            process = subprocess.Popen(
                [self.path, *map(str, words), "--json"], env=self.env, stdout=out, stderr=err
            )
            watch = Watch(process.pid)
            watch.start()
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.monotonic() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            watch.ended.set()
            watch.join()
            out.seek(0)
            said = out.read()
            err.seek(0)
            if process.returncode:
                sys.exit(f"{words}: exit {process.returncode}\n{said[:2000]}\n{err.read()[-2000:]}")
        return seconds, used.ru_utime + used.ru_stime, watch.peak, json.loads(said) if said.strip() else None


# ---- lakes --------------------------------------------------------------------------------------


class Made:
    """A lake whose catalog names as many files as asked for; all are there."""

    def __init__(self, kind, work, server, snapshots):
        self.kind, self.folder, self.server, self.snapshots = kind, work / kind, server, snapshots
        self.folder.mkdir()
        self.lake = self.place("lake")
        with self.lake.open(DATA_PATH=self.lake.data_path) as process:
            process.sql("CREATE TABLE t (i BIGINT, s VARCHAR)")
            process.sql("INSERT INTO t SELECT i, md5(i::VARCHAR) FROM range(20) t(i)")
        one = pathlib.Path(self.lake.data_path, self.lake.files()[0])
        self.table, self.bytes = one.parent, one.read_bytes()
        self.count = self.stats = 1

    def place(self, name):
        """Where a lake of this kind can be made."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        lake = lakes.Lake(self.kind, "", f"{folder}/data/", folder)
        if self.kind == "postgres":
            lake.postgres, lake.database = self.server, self.server.database()
            lake.address = "ducklake:postgres:" + self.server.conninfo(lake.database)
        else:
            lake.address = f"ducklake:{'sqlite:' * (self.kind == 'sqlite')}{folder}/meta.{self.kind}"
        return lake

    def series(self, begin, end):
        return {
            "sqlite": f"(WITH RECURSIVE s(n) AS (SELECT {begin} UNION ALL SELECT n + 1 FROM s WHERE n < {end})"
            " SELECT n FROM s)",
            "duckdb": f"(SELECT range AS n FROM range({begin}, {end} + 1))",
            "postgres": f"(SELECT n FROM generate_series({begin}::BIGINT, {end}) s(n)) x",
        }[self.kind]

    def sql(self, text):
        """Whatever time it takes."""
        if self.kind == "postgres":
            subprocess.run(
                [self.server.PROGRAMS / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", text,
                 self.server.conninfo(self.lake.database)], check=True,
            )  # fmt: skip
        elif self.kind == "sqlite":
            with contextlib.closing(sqlite3.connect(self.lake.file)) as con, con:
                con.execute(text)
        else:
            self.lake.catalog_sql(text)

    def _write(self, begin, end):
        """A small file each, no two the same: the number stands behind the magic bytes."""
        folder = None
        for number in range(begin, end + 1):
            if folder is None or number % PER_FOLDER == 0:
                folder = self.table / f"part={number // PER_FOLDER}"
                folder.mkdir(exist_ok=True)
            data = self.bytes[:4] + number.to_bytes(8, "big") + self.bytes[12:]
            fd = os.open(f"{folder}/ducklake-{uuid.UUID(int=number)}.parquet", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(fd, data)
            os.close(fd)

    def grow(self, count):
        """To so many files, over `snapshots` snapshots when there are enough."""
        begin, end = self.count + 1, count
        self._write(begin, end)
        self.count = count
        step = max(1, count // self.snapshots)
        # 00000000-0000-0000-0000-00000000xxxx of the number, as Python's UUID writes it.
        name, true, over = {
            "sqlite": ("printf('00000000-0000-0000-0000-%012x', n)", "1", "/"),
            "duckdb": ("printf('00000000-0000-0000-0000-%012x', n)", "true", "//"),
            "postgres": ("'00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0')", "true", "/"),
        }[self.kind]
        self.sql(
            "INSERT INTO ducklake_data_file (data_file_id, table_id, begin_snapshot, path, path_is_relative,"
            " file_format, record_count, file_size_bytes, footer_size, row_id_start)"
            f" SELECT n + 10, 1, 2 + (n {over} {step}), 'part=' || (n {over} {PER_FOLDER}) || '/ducklake-' || {name}"
            f" || '.parquet', {true}, 'parquet', 20, {len(self.bytes)},"
            f" (SELECT max(footer_size) FROM ducklake_data_file), n * 20 FROM {self.series(begin, end)}"
        )
        newest = int(self.lake.catalog_sql("SELECT max(snapshot_id) FROM ducklake_snapshot")[0][0])
        last = int(self.lake.catalog_sql("SELECT max(begin_snapshot) FROM ducklake_data_file")[0][0])
        if last > newest:
            self.sql(
                "INSERT INTO ducklake_snapshot (snapshot_id, snapshot_time, schema_version, next_catalog_id,"
                " next_file_id) SELECT n, (SELECT snapshot_time FROM ducklake_snapshot WHERE snapshot_id = 2),"
                f" 1, 2, 100000000 FROM {self.series(newest + 1, last)}"
            )
            self.sql(
                "INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made) SELECT n, 'inserted_into_table:1'"
                f" FROM {self.series(newest + 1, last)}"
            )

    def fill(self, rows):
        """The statistics of columns, to so many rows."""
        text = {"sqlite": "printf('%032x', n * 7919)", "duckdb": "md5(n::VARCHAR)", "postgres": "md5(n::TEXT)"}
        over = "//" if self.kind == "duckdb" else "/"
        for begin in range(self.stats + 1, rows + 1, 5_000_000):
            end = min(rows, begin + 5_000_000 - 1)
            self.sql(
                "INSERT INTO ducklake_file_column_stats (data_file_id, table_id, column_id, column_size_bytes,"
                " value_count, null_count, min_value, max_value) SELECT "
                f"n {over} 45, 1, n % 45, n, 20, 0, {text[self.kind]}, 'zz' || {text[self.kind]}"
                f" FROM {self.series(begin, end)}"
            )
            say(f"{self.kind}: {end:,} rows of statistics")
        self.stats = max(self.stats, rows)

    def bytes_of_catalog(self):
        if self.kind == "postgres":
            return int(self.lake.catalog_sql("SELECT pg_database_size(current_database())")[0][0])
        return self.lake.file.stat().st_size

    def remove(self):
        if self.kind == "postgres":
            self.server.drop(self.lake.database)
        shutil.rmtree(self.folder)


# ---- measuring ----------------------------------------------------------------------------------


def words_of(step, made, back, data):
    """What the program is told."""
    address = made.lake.address
    if step in ("first backup", "nothing changed", "1,000 files more"):
        return ["backup", address, "--name", "lake", "--data", data]
    if step == "restore":
        path = back.data_path if data == "copy" else made.lake.data_path
        return ["restore", "lake", back.address, "--data-path", path]
    return {
        "list": ["list", "lake"],
        "show": ["show", "lake"],
        "verify": ["verify", "lake"],
        "check": ["check", address],
        "expire": ["expire", "lake", "--keep-last", "1"],
    }[step]


def copy_files(made, back):
    """The same numbers as Tool.run."""
    begun, start = os.times(), time.monotonic()
    subprocess.run(["cp", "-r", made.lake.data_path, back.data_path], check=True)
    ended = os.times()
    used = ended.children_user + ended.children_system - begun.children_user - begun.children_system
    return time.monotonic() - start, used, 0, {}


def measure(tool, made, count, rows, options, table):
    shutil.rmtree(tool.env["CANVASBACK_REPO"], ignore_errors=True)
    made.grow(count)
    made.fill(rows)
    say(f"{made.kind}: {count:,} files, catalog of {made.bytes_of_catalog() >> 20:,} MiB")
    for step in options.steps.split(";"):
        if step == "1,000 files more":
            made.grow(count + NEW)
        back = made.place("back") if step in ("restore", "cp -r of the files") else None
        if step.startswith("cp"):
            seconds, cpu, peak, result = copy_files(made, back)
        else:
            seconds, cpu, peak, result = tool.run(*words_of(step, made, back, options.data))
        read = result.get("read_bytes", 0) if isinstance(result, dict) else 0
        table.setdefault(step, []).append((made.count, made.stats, seconds, cpu, peak))
        print(f"{made.kind:9} {made.count:9,} files  {step:18} {seconds:8.2f} s  cpu {cpu:8.2f} s"
              f" {peak >> 20:5} MiB  read {read >> 10:,} KiB", flush=True)  # fmt: skip
        if back:
            if made.kind == "postgres":
                made.server.drop(back.database)
            shutil.rmtree(back.folder)


def tell_slopes(kind, table):
    for step, points in table.items():
        (files, rows, first, cpu, _), (more_files, more_rows, last, more_cpu, peak) = points[0], points[-1]
        more, what = more_files - files, "files"
        if more_rows - rows > 10 * more:
            more, what = more_rows - rows, "rows"
        if more > 0:
            per = 1e6 / more
            print(f"{kind:9} {step:18} {(last - first) * per:8.1f} s, cpu {(more_cpu - cpu) * per:8.1f} s"
                  f" for each million {what} more; at last {peak >> 20} MiB")  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", default="50000,200000", help="numbers of files, ascending")
    parser.add_argument("--kinds", default="sqlite,duckdb,postgres")
    parser.add_argument("--snapshots", type=int, default=10_000)
    parser.add_argument("--rows", default="0", help="of statistics, as many numbers as of files, or one")
    parser.add_argument("--data", default="copy", choices=["copy", "reference"])
    parser.add_argument("--steps", default=None)
    parser.add_argument("--work", type=pathlib.Path, default=None, help="folder for lakes and repository")
    options = parser.parse_args()
    options.steps = options.steps or ";".join(STEPS)
    files, rows = ([int(one) for one in text.split(",")] for text in (options.files, options.rows))
    work = pathlib.Path(tempfile.mkdtemp(prefix="bench-lake-", dir=options.work))
    work.chmod(0o755)
    tool = Tool(work)
    server = lakes.Postgres() if "postgres" in options.kinds else None
    try:
        for kind in options.kinds.split(","):
            made, table = Made(kind, work, server, options.snapshots), {}
            for at, count in enumerate(files):
                measure(tool, made, count, rows[at] if at < len(rows) else rows[-1], options, table)
            tell_slopes(kind, table)
            made.remove()
    finally:
        if server:
            server.remove()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
