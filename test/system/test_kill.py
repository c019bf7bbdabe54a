"""kill -9 at the n-th call that changes a file: what was a backup stays one, what was a database
stays one or is refused by the engine, and the same command run again completes."""

import os
import shutil

import pytest
from conftest import DONE, Canvasback
from faults import Stage, fresh, restore_again

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
        restore_again(stage, target)
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
        restore_again(stage, target)
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


def test_copy_clears_up_after_killed_ones(tmp_path, history):
    """What a killed copy to the same target left a day ago goes; what may be at work stays."""
    db = history.place("one", tmp_path / "db.duckdb")
    old = [tmp_path / f".copy.duckdb.0123456789ab.partial{end}" for end in ("", ".wal")]
    young = tmp_path / ".copy.duckdb.ba9876543210.partial"
    other = tmp_path / ".another.duckdb.0123456789ab.partial"
    for path in [*old, young, other]:
        path.write_text("left over")
    for path in [*old, other]:
        os.utime(path, (0, 0))
    Canvasback(tmp_path)("copy", db, tmp_path / "copy.duckdb")
    assert not any(path.exists() for path in old)
    assert young.exists() and other.exists()


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


# ---- a folder -----------------------------------------------------------------------------------


def tree(path):
    """All of a folder that a backup must bring back."""
    found = {}
    for folder, folders, names in os.walk(path):
        for name in folders + names:
            one = os.path.join(folder, name)
            info = os.lstat(one)
            if os.path.islink(one):
                what = os.readlink(one)
            else:
                what = open(one, "rb").read() if os.path.isfile(one) else None
            found[os.path.relpath(one, path)] = (info.st_mode, info.st_mtime_ns, what)
    return found


@pytest.fixture
def folder_stage(quick_path, tmp_path, rng):
    """Like `stage`, with a folder that has two backups and has changed since."""
    start, work = quick_path / "start", quick_path / "work"
    work.mkdir()
    cb = Canvasback(work)
    files = work / "files"
    (files / "sub" / "empty").mkdir(parents=True)
    for turn in range(3):
        for i in range(6):
            (files / "sub" / f"{turn}-{i}").write_bytes(rng.randbytes(3000 * i))
        (files / "big").write_bytes(rng.randbytes(2_500_000))
        (files / "link").unlink(missing_ok=True)
        (files / "link").symlink_to(f"sub/{turn}-1")
        if turn < 2:
            cb("backup", f"dir:{files}")
            shutil.rmtree(work / "second", ignore_errors=True)
            shutil.copytree(files, work / "second", symlinks=True)
    shutil.copytree(work, start, symlinks=True)
    stage = Stage(cb, start, work, tmp_path, None, "files")
    stage.files, stage.second = files, tree(work / "second")
    stage.third = tree(files)
    return stage


def test_backup_of_a_folder(faults, folder_stage):
    stage = folder_stage
    for note in runs(faults, stage, 30, "backup", f"dir:{stage.files}"):
        labels = stage.check_repository(stage.labels)
        again = stage.cb("backup", f"dir:{stage.files}", "--lock-wait", 0).json
        assert stage.check_repository([*labels, again["label"]])[-1] == again["label"], note
        stage.cb("restore", "files", stage.work / "new")
        assert tree(stage.work / "new") == stage.third, note
        stage.cb("restore", f"files@{stage.labels[1]}", stage.work / "old")
        assert tree(stage.work / "old") == stage.second, note


@pytest.mark.parametrize("how", ["new", "--delta", "--force"])
def test_restore_of_a_folder(faults, folder_stage, how):
    stage = folder_stage
    target = stage.work / "new" if how == "new" else stage.files
    options = {"new": [], "--delta": ["--delta", "--delete"], "--force": ["--force"]}[how]
    for note in runs(faults, stage, 30, "restore", "files", target, *options):
        stage.cb("restore", "files", target, *(options or ["--delta", "--delete"]))
        assert tree(target) == stage.second, note
