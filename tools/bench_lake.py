#!/usr/bin/env python3
"""How long and how large a backup of a DuckLake is, and how both grow with the lake.

    tools/bench_lake.py [--files N] [--kinds sqlite,duckdb,postgres] [--steps 4]

A lake of N small files is made once for each kind of catalog: DuckLake makes the lake, the rows of
the files are written to its tables directly, and the files are hard links to one of them. For a
quarter, a half, ... and all of them:

    first backup -> nothing changed -> 100 files more -> list -> restore

Seconds and the largest memory of each, and from both ends of the row the slope for a million files.
A catalog in PostgreSQL is made in a server of its own, see test/system/lakes.py.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "system"))

import conftest  # noqa: E402,F401  lakes.py wants it first
import lakes  # noqa: E402

SNAPSHOTS = 10_000
NEW = 100
PER_LINK = 60_000  # ext4 has at most 65,000 names of one file
PER_FOLDER = 10_000


class Tool:
    """The program; each run is measured."""

    def __init__(self, work):
        self.path = conftest.program_path()
        self.env = {
            **os.environ,
            "CANVASBACK_REPO": str(work / "repo"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_GCE_CHECK": "true",
        }

    def run(self, *words):
        """(seconds, peak memory in bytes, result)."""
        start = time.monotonic()
        process = subprocess.Popen(
            [self.path, *map(str, words), "--json"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        peak = 0
        status = f"/proc/{process.pid}/status"
        with tempfile.TemporaryFile() as kept:
            os.set_blocking(process.stdout.fileno(), False)
            while process.poll() is None:
                try:
                    with open(status, encoding="ascii", errors="replace") as lines:
                        found = [line.split()[1] for line in lines if line.startswith("VmHWM")]
                    peak = max(peak, int(found[0]) * 1024) if found else peak
                except OSError:
                    pass
                kept.write(process.stdout.read() or b"")
                time.sleep(0.01)
            seconds = time.monotonic() - start
            os.set_blocking(process.stdout.fileno(), True)
            kept.write(process.stdout.read() or b"")
            kept.seek(0)
            out = kept.read()
        if process.returncode:
            sys.exit(f"{words}: exit {process.returncode}\n{out[:2000]}\n{process.stderr.read()[-2000:]}")
        return seconds, peak, json.loads(out) if out.strip() else None


class Made:
    """A lake whose catalog names as many files as asked for; all are there."""

    def __init__(self, kind, work, server):
        self.kind, self.folder = kind, work / kind
        self.folder.mkdir()
        self.lake = lakes.Lake(kind, "", f"{self.folder}/data/", self.folder)
        if kind == "postgres":
            self.lake.postgres, self.lake.database = server, server.database()
            self.lake.address = "ducklake:postgres:" + server.conninfo(self.lake.database)
        else:
            self.lake.address = f"ducklake:{'sqlite:' * (kind == 'sqlite')}{self.folder}/meta.{kind}"
        with self.lake.open(DATA_PATH=self.lake.data_path) as process:
            process.sql("CREATE TABLE t (i BIGINT, s VARCHAR)")
            process.sql("INSERT INTO t SELECT i, md5(i::VARCHAR) FROM range(20) t(i)")
        name = self.lake.files()[0]
        self.one = pathlib.Path(self.lake.data_path, name)
        self.table = self.one.parent
        self.size = self.one.stat().st_size
        self.count = 1

    def _link(self, path, number):
        base = self.folder / f"base-{number // PER_LINK}"
        if not base.exists():
            shutil.copyfile(self.one, base)
        path.parent.mkdir(exist_ok=True)
        os.link(base, path)

    def grow(self, count):
        """To so many files, over SNAPSHOTS snapshots when there are enough."""
        begin, end = self.count + 1, count
        for number in range(begin, end + 1):
            name = f"part={number // PER_FOLDER}/ducklake-{uuid.UUID(int=number)}.parquet"
            self._link(self.table / name, number)
        self.count = count
        step = max(1, count // SNAPSHOTS)
        insert = (
            "INSERT INTO ducklake_data_file (data_file_id, table_id, begin_snapshot, path, path_is_relative,"
            " file_format, record_count, file_size_bytes, footer_size, row_id_start)"
            " SELECT n + 10, 1, 2 + (n / {step}), 'part=' || (n / {folder}) || '/ducklake-' || {name} || '.parquet', {true},"
            " 'parquet', 20, {size}, (SELECT max(footer_size) FROM ducklake_data_file), n * 20 FROM {series}"
        )
        # 00000000-0000-0000-0000-00000000xxxx of the number, as Python's UUID writes it.
        texts = {
            "sqlite": (
                "lower(printf('00000000-0000-0000-0000-%012x', n))",
                f"(WITH RECURSIVE s(n) AS (SELECT {begin} UNION ALL SELECT n + 1 FROM s WHERE n < {end})"
                " SELECT n FROM s)",
                "1",
            ),
            "duckdb": (
                "printf('00000000-0000-0000-0000-%012x', n)",
                f"(SELECT range AS n FROM range({begin}, {end + 1}))",
                "true",
            ),
            "postgres": (
                "'00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0')",
                f"(SELECT n FROM generate_series({begin}, {end}) s(n)) x",
                "true",
            ),
        }
        name, series, true = texts[self.kind]
        if self.kind == "duckdb":
            insert = insert.replace("n / {", "n // {")
        self.lake.catalog_sql(
            insert.format(step=step, folder=PER_FOLDER, name=name, true=true, size=self.size, series=series) + ";"
        )
        newest = int(self.lake.catalog_sql("SELECT max(snapshot_id) FROM ducklake_snapshot")[0][0])
        last = int(self.lake.catalog_sql("SELECT max(begin_snapshot) FROM ducklake_data_file")[0][0])
        if last > newest:
            self._snapshots(newest + 1, last)

    def _snapshots(self, begin, end):
        series = {
            "sqlite": f"(WITH RECURSIVE s(n) AS (SELECT {begin} UNION ALL SELECT n + 1 FROM s WHERE n < {end})"
            " SELECT n FROM s)",
            "duckdb": f"(SELECT range AS n FROM range({begin}, {end + 1}))",
            "postgres": f"(SELECT n FROM generate_series({begin}, {end}) s(n)) x",
        }[self.kind]
        newest = "(SELECT snapshot_time FROM ducklake_snapshot WHERE snapshot_id = 2)"
        self.lake.catalog_sql(
            "INSERT INTO ducklake_snapshot (snapshot_id, snapshot_time, schema_version, next_catalog_id,"
            f" next_file_id) SELECT n, {newest}, 1, 2, 100000000 FROM {series};"
        )


def measure(tool, made, count, table):
    shutil.rmtree(tool.env["CANVASBACK_REPO"], ignore_errors=True)
    made.grow(count)
    runs = {"first backup": ("backup", made.lake.address, "--name", "lake", "--data", tool.data)}
    runs["nothing changed"] = runs["first backup"]
    runs[f"{NEW} files more"] = runs["first backup"]
    runs["list"] = ("list", "lake")
    place = made.folder / "back"
    runs["restore to SQLite"] = (
        "restore", "lake", f"ducklake:sqlite:{place}/meta.sqlite", "--data-path",
        f"{place}/data/" if tool.data == "copy" else made.lake.data_path,
    )  # fmt: skip
    for what, words in runs.items():
        if "more" in what:
            made.grow(count + NEW)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        seconds, peak, result = tool.run(*words)
        read = result.get("read_bytes", 0) if isinstance(result, dict) else 0
        table.setdefault(what, []).append((count, seconds, peak))
        print(f"{made.kind:9} {count:9,} files  {what:18} {seconds:8.2f} s {peak >> 20:5} MiB  read {read >> 10:,} KiB",
              flush=True)  # fmt: skip
    shutil.rmtree(place, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--kinds", default="sqlite,duckdb,postgres")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--data", default="copy", choices=["copy", "reference"])
    parser.add_argument("--work", type=pathlib.Path, default=None)
    options = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="bench-lake-", dir=options.work))
    work.chmod(0o755)
    tool = Tool(work)
    tool.data = options.data
    server = lakes.Postgres() if "postgres" in options.kinds else None
    try:
        for kind in options.kinds.split(","):
            made, table = Made(kind, work, server), {}
            for step in range(options.steps, 0, -1):
                measure(tool, made, options.files >> (step - 1), table)
            for what, points in table.items():
                (a, first, _), (b, last, _) = points[0], points[-1]
                if b > a:
                    slope = (last - first) / (b - a) * 1e6
                    print(f"{kind:9} {what:18} {slope:8.1f} s more for each million files")
            shutil.rmtree(made.folder)
    finally:
        if server:
            server.remove()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
