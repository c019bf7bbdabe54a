"""A writer is at work all the time, with everything that removes files: every backup restores whole."""

import threading
import time

import pytest
from conftest import LONG
from lakes import LAKE_VERSION, LakeError, backup, restore

WORK = [
    "INSERT INTO t SELECT i, 'a' FROM range(30) t(i)",
    "INSERT INTO t SELECT i, 'b' FROM range(30) t(i)",
    "INSERT INTO t VALUES (1, 'inlined')",
    "DELETE FROM t WHERE i = 7",
    "UPDATE t SET s = 'u' WHERE i = 9",
    "CALL ducklake_flush_inlined_data('lake')",
    "CALL ducklake_merge_adjacent_files('lake')",
    "CALL ducklake_rewrite_data_files('lake', delete_threshold => 0.01)",
    "CALL ducklake_expire_snapshots('lake', older_than => now() - INTERVAL 1 SECOND)",
    "CALL ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "DELETE FROM t WHERE s = 'a' AND i % 2 = 0",
]


class Busy:
    """Works in a lake until told to stop. What a snapshot holds never changes: the counts at each
    are noted as they are committed."""

    def __init__(self, lake):
        self.process = lake.open()
        self.counts = {}
        self.errors = []
        self.cleaned = 0
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        step = 0
        while not self.stopping.is_set():
            text = WORK[step % len(WORK)]
            step += 1
            try:
                gone = self.process.sql(text)
                self.cleaned += len(gone) if "cleanup" in text else 0
                version = self.process.value("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')")
                self.counts[int(version)] = int(self.process.value("SELECT count(*) FROM t"))
            except LakeError as error:
                self.errors.append(f"{text}: {error}")

    def stop(self):
        self.stopping.set()
        self.thread.join(60)
        self.process.close()


@pytest.mark.parametrize(
    "kind,data", [("postgres", "s3"), ("postgres", "local"), ("sqlite", "local"), ("duckdb", "local")]
)
def test_backups_while_a_writer_cleans_up(cb, make_lake, lake_place, kind, data):
    lake = make_lake(kind, data, rich=False)
    busy = Busy(lake)
    labels = []
    start = time.monotonic()
    least = 120 if LONG else 15
    try:
        while (spent := time.monotonic() - start) < least or (
            (len(labels) < 12 or busy.cleaned < 15) and spent < 150
        ):
            labels.append(backup(cb, lake).json["label"])
    finally:
        busy.stop()
    assert not busy.errors
    assert len(labels) >= 12 and busy.cleaned >= 15, f"{len(labels)} backups, {busy.cleaned} files removed"

    checked = 0
    for label in labels if LONG else labels[:: max(1, len(labels) // 8)]:
        place = lake_place("sqlite")
        restore(cb, place, what=f"lake@{label}")
        with place.open(read_only=True) as process:
            for version, count in counts(process).items():
                if version in busy.counts:
                    assert count == busy.counts[version], f"{label}, snapshot {version}"
                    checked += 1
    assert checked > 10
    assert lake.version == LAKE_VERSION


def counts(process):
    """Rows of t at every snapshot: all its files are read."""
    found = {}
    for (version,) in process.sql("SELECT snapshot_id FROM ducklake_snapshots('lake')"):
        if int(version) > 0:
            text = f"SELECT count(*), count(s || i) FROM (FROM t AT (VERSION => {version}))"
            found[int(version)] = int(process.sql(text)[0][0])
    return found
