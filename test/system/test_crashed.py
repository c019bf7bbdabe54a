"""Databases as a kill leaves them: with a log, a marked log, a second log, a merge half done.

Nobody holds the files any more. Whatever recovery has in store for them, a backup brings back a
database that opens with every acknowledged commit, and so does a copy.
"""

import os

import conftest
import pytest
from conftest import Canvasback

from live import engines, harness, stops

SMALL = ["--block-size", 16384, "--filler", 2000, "--autocheckpoint", "16MB"]


@pytest.fixture
def place():
    with harness.folder() as path:
        yield path


def has(db, suffix):
    return os.path.exists(f"{db}{suffix}") and os.path.getsize(f"{db}{suffix}") > 0


def is_logged(db, stop):
    return has(db, ".wal") and not harness.log_is_marked(f"{db}.wal")


def is_marked(db, stop):
    return stop.call == "pwrite64" and harness.log_is_marked(f"{db}.wal")


def has_new_header(db, stop):
    """The header is written, the log that it makes obsolete is still there."""
    return stop.detail in ("4096@4096", "4096@8192") and harness.log_is_marked(f"{db}.wal")


def has_second_log(db, stop):
    return stop.path.endswith(".wal.checkpoint") and stop.call in ("fsync", "fdatasync") and \
        harness.log_is_marked(f"{db}.wal")


STATES = {
    "a log": is_logged,
    "a marked log": is_marked,
    "a new header and an old log": has_new_header,
    "two logs": has_second_log,
}


def killed_in(version, state, db, nth):
    """Kill a writer the nth time that the files are in that state; its acknowledged commits."""
    options = [*SMALL, "--profile", "checkpoints", "--other", "inserts", "--steps", 60, "--turns"]
    if engines.at_least(version, "1.5.0"):
        options += ["--set", "SET debug_checkpoint_scan_sleep_ms = 50"]  # time for others to commit
    for attempt in range(6):  # two threads meet or miss each other
        harness.remove_files(db)
        harness.set_up(version, db, db.with_suffix(".acks"), *SMALL, "--fold")
        left = nth
        with stops.Frozen(version, db, *options, "--seed", conftest.seed() + attempt) as frozen:
            while (stop := frozen.next_stop()) is not None:
                if not STATES[state](db, stop):
                    continue
                left -= 1
                if left == 0:
                    acks = frozen.acks()
                    frozen.kill()
                    return acks
        db.with_suffix(".acks").unlink(missing_ok=True)
    raise AssertionError(f"DuckDB {version} was never seen with {state}")


def assert_comes_back(cb, version, db, acks, judges):
    done = cb("backup", db, "--name", "crashed").json
    assert done["confirmed"] in ("idle", "crashed")  # crashed: a log that recovery must sort out
    back = db.parent / "back.db"
    cb("restore", "crashed", back)
    verdict = judges.ask(version, back, acks=acks, invariants=True)
    assert verdict["good"], verdict["why"]
    cb("copy", db, db.parent / "copy.db")
    assert not os.path.exists(f"{db.parent / 'copy.db'}.wal")
    copied = judges.ask(version, db.parent / "copy.db", acks=acks, invariants=True)
    assert copied["good"], copied["why"]
    assert copied["contents"] == verdict["contents"]
    assert cb("check", db).json["bad_blocks"] == 0


@pytest.mark.parametrize("nth", [1, 4])
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("version", engines.VERSIONS)
def test_a_kill_leaves(version, state, nth, place, judges):
    if state == "two logs" and not engines.at_least(version, "1.5.0"):
        pytest.skip("commits wait for the checkpoint")
    db = place / "a.db"
    acks = killed_in(version, state, db, nth)
    assert_comes_back(Canvasback(place), version, db, acks, judges)


@pytest.mark.parametrize("version", ["1.5.6", "2.0.0"])
def test_a_kill_during_recovery(version, place, judges):
    """Whoever opens the database after the kill merges two logs into a third, and is killed too."""
    db = place / "a.db"
    acks = killed_in(version, "two logs", db, 1)
    with stops.Frozen(version, db, *SMALL, "--setup-only") as frozen:
        while (stop := frozen.next_stop()) is not None:
            if has(db, ".wal.recovery"):
                frozen.kill()
                break
    assert stop is not None, "recovery needed no third log"
    assert_comes_back(Canvasback(place), version, db, acks, judges)
