"""kill -9 at the n-th call that changes a file: what was a backup stays one, what was a database
stays one or is refused by the engine, and the same command run again completes."""

import shutil

import pytest
from conftest import DONE
from faults import fresh

ACTIONS = ["kill-before", "kill-half", "kill-after"]
KILLED = -9


def runs(faults, stage, most, *arguments):
    """Kill the command at every chosen call; yields a note for each run that was killed."""
    stage.reset()
    stage.cb(*arguments, env=faults.env())
    total = faults.calls()
    assert total > 10, "the fault library counts nothing"
    killed = 0
    for number, point in enumerate(faults.points(total, most)):
        action = ACTIONS[number % len(ACTIONS)]
        stage.reset()
        result = stage.cb(*arguments, code=(DONE, KILLED), env=faults.env(point, action))
        killed += result.code == KILLED
        yield f"{action} at call {point} of {total}"
    assert killed > 3


def test_backup(faults, stage):
    for note in runs(faults, stage, 36, "backup", stage.db, "--name", "db"):
        labels = stage.check_repository(stage.labels)
        assert len(labels) in (2, 3), note

        # The lock of the killed run is nobody's: this must not wait.
        again = stage.cb("backup", stage.db, "--name", "db", "--lock-wait", 0).json
        labels = stage.check_repository([*stage.labels, again["label"]])
        assert labels[-1] == again["label"], note

        stage.cb("restore", "db", stage.work / "new.duckdb")
        stage.keep(stage.work / "new.duckdb", ["three"], note)
        stage.cb("restore", f"db@{stage.labels[0]}", stage.work / "old.duckdb")
        stage.keep(stage.work / "old.duckdb", ["one"], note)
    stage.read_all()


def test_first_backup_and_its_repository(faults, stage):
    shutil.rmtree(stage.start / "repo")
    for note in runs(faults, stage, 30, "backup", stage.db, "--name", "db"):
        again = stage.cb("backup", stage.db, "--name", "db", "--lock-wait", 0).json
        assert stage.check_repository([again["label"]])[-1] == again["label"], note
        stage.cb("restore", "db", stage.work / "new.duckdb")
        stage.keep(stage.work / "new.duckdb", ["three"], note)
    stage.read_all()


def test_restore_to_a_new_place(faults, stage):
    target = stage.work / "new.duckdb"
    for note in runs(faults, stage, 30, "restore", "db", target):
        stage.keep(target, ["two", "absent", "refused"], note)
        stage.cb("restore", "db", target, *(["--force"] if target.exists() else []))
        stage.keep(target, ["two"], note + ", again")
    stage.read_all()


@pytest.mark.parametrize("old", ["three", "one"])
def test_restore_over_an_old_database(faults, stage, old):
    """`three` has a log beside it: it must never be replayed into the file that replaces it."""
    stage.history.place(old, stage.start / "db.duckdb")
    for note in runs(faults, stage, 30, "restore", "db", stage.db, "--force"):
        stage.keep(stage.db, ["two", old, "absent", "refused"], note)
        stage.cb("restore", "db", stage.db, "--force")
        stage.keep(stage.db, ["two"], note + ", again")
    stage.read_all()


@pytest.mark.parametrize("old", ["three", "one"])
def test_delta_restore(faults, stage, old):
    stage.history.place(old, stage.start / "db.duckdb")
    for note in runs(faults, stage, 30, "restore", "db", stage.db, "--delta"):
        stage.keep(stage.db, ["two", old, "absent", "refused"], note)
        stage.cb("restore", "db", stage.db, "--delta")
        stage.keep(stage.db, ["two"], note + ", again")
    stage.read_all()


def test_restore_of_a_backup_with_a_log(faults, stage):
    """Log and file appear as a pair, or not at all."""
    target = stage.work / "new.duckdb"
    stage.reset()
    stage.cb("backup", stage.db, "--name", "db")
    fresh(stage.work, stage.start)
    for note in runs(faults, stage, 24, "restore", "db", target):
        stage.keep(target, ["three", "absent", "refused"], note)
        stage.cb("restore", "db", target, *(["--force"] if target.exists() else []))
        stage.keep(target, ["three"], note + ", again")
    stage.read_all()


@pytest.mark.parametrize("force", [False, True])
def test_copy(faults, stage, force):
    target = stage.work / "copy.duckdb"
    options = []
    if force:
        stage.history.place("one", stage.start / "copy.duckdb")
        options = ["--force"]
    old = "one" if force else "absent"
    for note in runs(faults, stage, 16, "copy", stage.db, target, *options):
        stage.keep(target, ["three", old], note)
        assert not target.with_name("copy.duckdb.wal").exists(), note
        stage.cb("copy", stage.db, target, "--force")
        stage.keep(target, ["three"], note + ", again")
        assert not target.with_name("copy.duckdb.wal").exists(), note
    stage.read_all()


def test_expire(faults, stage):
    stage.reset()
    stage.cb("backup", stage.db, "--name", "db")
    fresh(stage.work, stage.start)
    newest = stage.cb.labels("db")[-1]
    for note in runs(faults, stage, 30, "expire", "db", "--keep-last", 1, "--lock-wait", 5):
        assert newest in stage.check_repository([newest]), note
        stage.cb("expire", "db", "--keep-last", 1, "--lock-wait", 5)
        assert stage.check_repository([newest]) == [newest], note

        # A chunk that the reclaim was about to remove is stored anew by whoever needs it.
        stage.cb("restore", "db", stage.work / "new.duckdb")
        stage.keep(stage.work / "new.duckdb", ["three"], note)
        stage.history.place("one", stage.db)
        stage.cb("backup", stage.db, "--name", "db")
        stage.cb("verify")
        stage.cb("restore", "db", stage.work / "one.duckdb")
        stage.keep(stage.work / "one.duckdb", ["one"], note)
    stage.read_all()
