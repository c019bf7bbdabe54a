"""Disks that are full or broken: from the n-th call on no space is left, or one call fails. The
command says so, nothing that was there before is harmed, and with the fault gone it completes."""

import os
import subprocess

import pytest
from conftest import DAMAGED, DONE, FAILED, Canvasback
from faults import restore_again


def said_why(result, *codes):
    """A failure is one object with code, message and hint."""
    error = result.error
    assert error["code"] in codes, error
    assert error["message"] and "\n" not in error["message"]
    return error


def failing_runs(faults, stage, most, action, command, codes, exits=(FAILED,), **more):
    """Run `command` with the fault at every chosen call; yields (note, the error or None)."""
    stage.reset()
    reads = {"calls": more["calls"]} if "calls" in more else {}
    stage.cb(*command, env=faults.env(**reads))
    total = faults.calls()
    assert total > 3, "the fault library counts nothing"
    failed = 0
    for point in faults.points(total, most):
        stage.reset()
        result = stage.cb(
            *command, code=(DONE, *exits), env=faults.env(point, action, **more), timeout=60
        )
        note = f"{action} at call {point} of {total}"
        error = None
        if result.code != DONE:
            error = said_why(result, *codes)
            failed += 1
        yield note, error
    assert failed > 0


SPACE = ("no-space",)


def test_backup_no_space(faults, stage):
    command = ["backup", stage.db, "--name", "db"]
    for note, _ in failing_runs(faults, stage, 24, "ENOSPC", command, SPACE, sticky=1):
        # What failed after the manifest is a backup all the same, and a whole one.
        assert len(stage.check_repository(stage.labels)) in (2, 3), note
        stage.cb(*command, "--lock-wait", 0)
        stage.cb("restore", "db", stage.work / "new.duckdb")
        stage.keep(stage.work / "new.duckdb", ["three"], note)
    stage.read_all()


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "for ever"])
@pytest.mark.parametrize("how", ["new", "--force", "--delta"])
def test_restore_no_space(faults, stage, how, sticky):
    target = stage.work / "new.duckdb" if how == "new" else stage.db
    command = ["restore", "db", target, *([] if how == "new" else [how])]
    allowed = {
        "new": ["absent", "two"],
        "--force": ["three", "two"],
        # In place, an interrupted --delta is refused by the engine until it is run again.
        "--delta": ["three", "two", "refused"],
    }[how]
    more = {"sticky": 1} if sticky else {}
    for note, error in failing_runs(faults, stage, 16, "ENOSPC", command, SPACE, **more):
        # In the middle of the exchange it stops where it is, and says what will go on from there.
        between = ["absent"] if error and "Run the same restore again" in error["hint"] else []
        stage.keep(target, allowed + between if error else ["two"], note)
        if how == "new":
            restore_again(stage, target)
        else:
            stage.cb(*command)
        stage.keep(target, ["two"], note + ", again")
    stage.read_all()


def test_copy_no_space(faults, stage):
    target = stage.work / "copy.duckdb"
    command = ["copy", stage.db, target]
    codes = ("no-space", "io")  # the engine that folds the log has words of its own
    for note, error in failing_runs(faults, stage, 10, "ENOSPC", command, codes, sticky=1):
        stage.keep(target, ["absent", "three"] if error else ["three"], note)
        assert not target.with_name("copy.duckdb.wal").exists(), note
        stage.cb(*command, "--force")
        stage.keep(target, ["three"], note + ", again")
    stage.read_all()


def test_expire_no_space(faults, stage):
    command = ["expire", "db", "--keep-last", 1, "--lock-wait", 5]
    for note, _ in failing_runs(faults, stage, 12, "ENOSPC", command, SPACE, sticky=1):
        stage.check_repository(stage.labels[-1:])
        stage.cb(*command)
        assert stage.check_repository(stage.labels[-1:]) == stage.labels[-1:], note


@pytest.mark.parametrize("verb", ["backup", "restore", "expire"])
def test_write_error(faults, stage, verb):
    command = {
        "backup": ["backup", stage.db, "--name", "db"],
        "restore": ["restore", "db", stage.work / "new.duckdb"],
        "expire": ["expire", "db", "--keep-last", 1, "--lock-wait", 5],
    }[verb]
    for note, _ in failing_runs(faults, stage, 16, "EIO", command, ("io",)):
        stage.check_repository(stage.labels[-1:])
        new = stage.work / "new.duckdb"
        stage.cb(*command, *(["--force"] if verb == "restore" and new.exists() else []))
        if verb == "restore":
            stage.keep(new, ["two"], note)
    stage.read_all()


@pytest.mark.parametrize("verb", ["backup", "restore", "verify", "check"])
def test_read_error(faults, stage, verb):
    """A sector that cannot be read, or from then on none: a failure that says so; never a backup
    without it."""
    command = {
        "backup": ["backup", stage.db, "--name", "db"],
        "restore": ["restore", "db", stage.work / "new.duckdb"],
        "verify": ["verify"],
        "check": ["check", stage.db],
    }[verb]
    stage.reset()
    stage.cb(*command, env=faults.env(calls="read"))
    sticky = {"sticky": 1} if verb in ("backup", "check") else {}
    for point in faults.points(faults.calls(), 20):
        stage.reset()
        env = faults.env(point, "EIO", calls="read", **sticky)
        result = stage.cb(*command, code=(DONE, FAILED, DAMAGED), env=env, timeout=60)
        if result.code == FAILED:
            said_why(result, "io", "corrupt", "retry")
        stage.check_repository(stage.labels)
        if verb == "restore" and result.code == DONE:
            stage.keep(stage.work / "new.duckdb", ["two"], f"call {point}")
        if verb == "backup":
            stage.cb(*command)
            stage.cb("restore", "db", stage.work / "new.duckdb")
            stage.keep(stage.work / "new.duckdb", ["three"], f"call {point}")
    stage.read_all()


@pytest.mark.parametrize("calls", ["write", "read"])
def test_short_transfers_are_completed(faults, stage, calls):
    """read and write may do less than asked; that is no error."""
    stage.reset()
    command = ["backup", stage.db, "--name", "db"]
    stage.cb(*command, env=faults.env(calls=calls))
    for point in faults.points(faults.calls(), 24):
        stage.reset()
        stage.cb(*command, env=faults.env(point, "short", calls=calls))
        stage.cb("restore", "db", stage.work / "new.duckdb")
        stage.keep(stage.work / "new.duckdb", ["three"], f"call {point}")
    stage.read_all()


# ---- a file system that is really full ----------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m,mode=777", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place, leave):
    """Fill the disk but for `leave` bytes."""
    space = os.statvfs(place)
    size = max(0, space.f_bavail * space.f_frsize - leave)
    (place / "filler").write_bytes(b"\0" * size)


def test_full_disk_backup(small_disk, tmp_path, history):
    cb = Canvasback(tmp_path)
    cb.env["CANVASBACK_REPO"] = str(small_disk / "repo")
    db = history.place("one", tmp_path / "db.duckdb")
    first = cb("backup", db).json["label"]
    for leave in (0, 4096, 20000, 60000, 100000):
        fill(small_disk, leave)
        history.place("three", db)
        result = cb("backup", db, "--full", code=FAILED)
        said_why(result, "no-space")
        (small_disk / "filler").unlink()
        assert cb.labels("db") == [first]
        assert cb("verify").json["damaged"] == []
    fill(small_disk, 0)
    cb("restore", "db", tmp_path / "back.duckdb")  # reading needs no space there
    assert history.samples.content(tmp_path / "back.duckdb") == history.content["one"]
    (small_disk / "filler").unlink()
    cb("backup", db)
    cb("restore", "db", tmp_path / "back.duckdb", "--force")
    assert history.samples.content(tmp_path / "back.duckdb") == history.content["three"]


def test_full_disk_expire_gives_space_back(small_disk, tmp_path, history):
    """The way out of a full disk must not need space that is not there."""
    cb = Canvasback(tmp_path)
    cb.env["CANVASBACK_REPO"] = str(small_disk / "repo")
    db = tmp_path / "db.duckdb"
    for state in ("one", "two", "three"):
        history.place(state, db)
        cb("backup", db)
    fill(small_disk, 64 * 1024)
    cb("expire", "db", "--keep-last", 1)
    assert len(cb.labels("db")) == 1
    assert cb("verify").json["damaged"] == []


@pytest.mark.parametrize("verb", ["restore", "copy"])
def test_full_disk_target(small_disk, tmp_path, history, verb):
    """Refused before anything is written, or cleaned up; the old file stays as it was."""
    cb = Canvasback(tmp_path)
    db = history.place("two", tmp_path / "db.duckdb")
    cb("backup", db)
    target = small_disk / "db.duckdb"
    words = ["restore", "db", target] if verb == "restore" else ["copy", db, target]
    fill(small_disk, 200_000)
    said_why(cb(*words, code=FAILED), "no-space")
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler"]
    (small_disk / "filler").unlink()
    cb(*words)
    assert history.samples.content(target) == history.content["two"]

    history.place("one", target)
    fill(small_disk, 200_000)
    said_why(cb(*words, "--force", code=FAILED), "no-space")
    assert history.samples.content(target) == history.content["one"]
    if verb == "restore":
        cb(*words, "--delta")  # in place, it needs no second copy
        assert history.samples.content(target) == history.content["two"]


def test_repository_on_a_disk_that_is_not_mounted(tmp_path, history):
    """--no-create: an empty mount point must not get a fresh repository."""
    cb = Canvasback(tmp_path)
    db = history.place("one", tmp_path / "db.duckdb")
    result = cb("backup", db, "--no-create", code=(FAILED, 5))
    assert "hint" in result.error
    assert not cb.repo.exists() or not any(cb.repo.iterdir())
    assert cb("list", code=5).error["code"] == "not-found"
