"""Copies of databases that are being written to: each one is opened, read and found to be right.

Writers of several engine versions insert, update, delete, load in bulk, roll back, create and drop
tables and checkpoint (live/writer.py); every copy must hold their invariants and every commit that
was acknowledged before the copy was asked for (live/judge.py). That the judge can tell a bad copy
is shown first: plain `cp` under the same load fails it.
"""

import concurrent.futures
import itertools
import os
import shutil
import signal
import threading
import time

import conftest
import pytest
from conftest import BUSY, DAMAGED, DONE, Canvasback

from live import engines, harness

COPIES = 400 if conftest.LONG else 8


@pytest.fixture
def place():
    with harness.folder() as path:
        yield path


# ---- the judge ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", engines.LIVE)
def test_cp_makes_bad_copies(version, place, judges):
    """The proof that the tests below can fail."""
    bad = []
    with harness.LiveWriter(version, place / "a.db", "--block-size", 16384, "--keep", 6,
                            "--autocheckpoint", "100KB", "--seed", conftest.seed()) as writer:
        for index in range(100):
            acks = writer.acks()
            copy = place / f"cp{index}.db"
            harness.copy_files(writer.db, copy, piece=1 << 18, pause=0.001)
            verdict = judges.ask(version, copy, acks=acks, invariants=True)
            harness.remove_files(copy)
            if not verdict["good"]:
                bad.append(verdict["why"])
            if len(bad) == 2:
                break
        writer.check_alive()
    assert len(bad) == 2, bad


# ---- under load ---------------------------------------------------------------------------------

# DuckDB 1.5 now and then writes a log that it cannot replay itself: of some hundred exact images
# (the process stopped, its files copied, the process let go) stock 1.5.6 refused 2 with these
# words. A copy equals such an image, so it is refused alike, until the next checkpoint. More than
# a few in a row would be our fault.
UNREPLAYABLE = "Conflict on tuple deletion"
UNREPLAYABLE_FEW, UNREPLAYABLE_SHARE = 3, 0.02

# A log that `copy` folded with DuckDB 2.0 gives a file that 1.1.3 now and then refuses with these
# words (one of a hundred); 2.0 reads all of it, so that judge decides.
FOLDED_BY_NEWER = "Failed to load metadata pointer"


class Tally:
    """What became of the copies of one test, from any thread."""

    def __init__(self):
        self.good = 0
        self.refused = 0
        self.unreplayable = 0
        self.confirmed = {}
        self.lock = threading.Lock()

    def count(self, outcome, how=None):
        with self.lock:
            setattr(self, outcome, getattr(self, outcome) + 1)
            self.confirmed[how] = self.confirmed.get(how, 0) + 1

    def __str__(self):
        return (f"{self.good} good, {self.refused} refused, {self.unreplayable} unreplayable, "
                f"{self.confirmed}")

    def check(self):
        """Few enough of the engine's own failures."""
        assert self.unreplayable <= max(UNREPLAYABLE_FEW, UNREPLAYABLE_SHARE * self.good), self


class Copier:
    """Takes copies of a writer's database, one after the other, and has each judged."""

    def __init__(self, name, writer, place, judges, tally, deadline, **judging):
        self.name = name
        self.writer = writer
        self.judges = judges
        self.tally = tally
        self.deadline = deadline
        self.judging = judging
        self.folder = place / name
        self.folder.mkdir()
        self.cb = Canvasback(self.folder)
        self.labels = 0

    def take(self, number):
        acks = self.writer.acks()
        target = self.folder / f"{number}.db"
        way = self.copy if number % 4 == 3 and not self.judging.get("key") else self.backup
        how = way(target)
        if how is None:
            assert not target.exists()
            self.tally.count("refused")
            return
        if how == UNREPLAYABLE:
            assert not target.exists()
            self.tally.count("unreplayable", how)
            return
        twin = self.folder / f"{number}.twin.db"
        if how == "copy" and self.writer.version == "1.1.3":
            shutil.copy(target, twin)  # a judge changes what it opens
        verdict = self.judges.ask(self.writer.version, target, acks=acks, invariants=True,
                                  **self.judging)
        if not verdict["good"] and twin.exists() and FOLDED_BY_NEWER in verdict["why"]:
            verdict = self.judges.ask("2.0.0", twin, acks=acks, invariants=True, **self.judging)
        harness.remove_files(twin)
        if not verdict["good"] and self.is_unreplayable(verdict["why"]):
            harness.remove_files(target)
            self.tally.count("unreplayable", how)
            return
        if not verdict["good"]:
            harness.keep_evidence(f"live-{self.writer.version}-{self.name}-{number}",
                                  self.cb.repo, target)
            raise AssertionError(f"{way.__name__} {number} of {self.name}, confirmed by {how}: "
                                 f"{verdict['why']}; acknowledged {acks}")
        self.tally.count("good", how)
        harness.remove_files(target)

    def backup(self, target):
        done = self.cb("backup", self.writer.db, "--name", "live", "--deadline", self.deadline,
                       code=(DONE, BUSY))
        if done.code == BUSY:
            assert done.error["code"] == "busy" and done.error["hint"], done.out
            assert len(self.cb.labels("live")) == self.labels
            return None
        self.labels += 1
        self.cb("restore", f"live@{done.json['label']}", target)
        return done.json["confirmed"]

    def is_unreplayable(self, why):
        return self.writer.version.startswith("1.5.") and UNREPLAYABLE in why

    def copy(self, target):
        done = self.cb("copy", self.writer.db, target, "--deadline", self.deadline,
                       code=(DONE, BUSY, DAMAGED))
        if done.code == BUSY:
            return None
        if done.code == DAMAGED:
            assert self.is_unreplayable(done.error["message"]), done.out
            return UNREPLAYABLE
        assert not os.path.exists(f"{target}.wal")
        return "copy"

    def run(self, count):
        for number in range(count):
            self.take(number)
            self.writer.check_alive()


def copies_under_load(version, place, judges, options, copies=COPIES, copiers=2, deadline="60s",
                      **judging):
    tally = Tally()
    with harness.LiveWriter(version, place / "live.db", "--seed", conftest.seed(),
                            *options) as writer:
        with concurrent.futures.ThreadPoolExecutor(copiers) as pool:
            runs = [pool.submit(Copier(f"c{index}", writer, place, judges, tally, deadline,
                                       **judging).run, copies) for index in range(copiers)]
            for run in concurrent.futures.as_completed(runs):
                run.result()
        writer.end()
        verdict = judges.ask(version, writer.db, acks=writer.acks(), invariants=True, **judging)
    assert verdict["good"], f"the writer's own database: {verdict['why']}"
    print(f"{version} {options}: {tally}")
    tally.check()
    return tally


MIXED = ["--profile", "mixed"]
LOADS = {
    "mixed, small blocks": [*MIXED, "--block-size", 16384],
    "mixed": [*MIXED, "--autocheckpoint", "1MB", "--keep", 6],
    "drops": ["--profile", "drops", "--block-size", 32768, "--autocheckpoint", "100KB"],
    "one checkpoints, one inserts": ["--profile", "checkpoints", "--other", "inserts",
                                     "--block-size", 16384],
    "large log": ["--profile", "mixed", "--autocheckpoint", "16MB"],
}


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("version", engines.LIVE)
def test_copies_under_load(version, load, place, judges):
    tally = copies_under_load(version, place, judges, LOADS[load])
    assert tally.refused == 0, tally


@pytest.mark.parametrize("version", ["1.1.3", "1.2.2", "1.3.2"])
def test_copies_of_older_engines_under_load(version, place, judges):
    tally = copies_under_load(version, place, judges, LOADS["mixed, small blocks"],
                              copies=max(4, COPIES // 4))
    assert tally.refused == 0, tally


@pytest.mark.parametrize("storage", ["v1.4.0", "v1.5.0"])
def test_copies_with_iterations_in_the_log(storage, place, judges):
    """Files whose log names the checkpoint it belongs to."""
    tally = copies_under_load("1.5.6", place, judges,
                              [*LOADS["mixed, small blocks"], "--storage", storage],
                              copies=max(4, COPIES // 2))
    assert tally.refused == 0, tally


@pytest.mark.parametrize("pause", [0, 2.5])
@pytest.mark.parametrize("version", engines.LIVE)
def test_commits_that_skip_the_log(version, pause, place, judges):
    """One thread's commits each run a checkpoint instead of being logged, another only rolls back:
    there is never a log that proves anything. The copy waits for stillness or is refused."""
    options = ["--profile", "skip", "--other", "undo", "--turns", "--pause", pause,
               "--autocheckpoint", "1KB", "--block-size", 16384]
    if engines.at_least(version, "1.5.0"):
        options += ["--set", "SET auto_checkpoint_skip_wal_threshold = 0"]
    tally = copies_under_load(version, place, judges, options, copies=max(3, COPIES // 4),
                              copiers=4, deadline="5s")
    if pause:
        assert tally.good > 0, tally


@pytest.mark.parametrize("version", ["2.0.0"])
def test_forced_checkpoints(version, place, judges):
    """PRAGMA force_checkpoint lets a CHECKPOINT run on an empty log, beside commits."""
    copies_under_load(version, place, judges,
                      ["--profile", "force", "--other", "small", "--set",
                       "PRAGMA force_checkpoint", "--block-size", 16384],
                      copies=COPIES // 2, deadline="10s")


@pytest.mark.parametrize("cipher", ["GCM", "CTR"])
@pytest.mark.parametrize("version", ["1.5.6", "2.0.0"])
def test_encrypted_under_load(version, cipher, place, judges):
    """Without the key a copy is right only when the file was seen to stand still."""
    tally = copies_under_load(version, place, judges,
                              ["--profile", "small", "--threads", 1, "--key", "secret",
                               "--cipher", cipher, "--pause", 4, "--filler", 5000],
                              copies=max(2, COPIES // 6), copiers=4, deadline="15s",
                              key="secret", cipher=cipher)
    assert tally.good > 0, tally


# ---- special moments ----------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.5.6", "2.0.0"])
def test_a_stopped_holder_is_not_trusted(version, place, judges):
    """A process that does not run makes no change: its stillness proves nothing."""
    cb = Canvasback(place)
    with harness.LiveWriter(version, place / "live.db", "--fold", "--profile", "idle") as writer:
        pid = writer.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            refused = cb("backup", writer.db, "--name", "s", "--deadline", "2s", code=BUSY)
            assert refused.error["code"] == "busy"
            assert str(pid) in refused.error["message"] + refused.error["hint"]
            assert cb.labels("s") == []
            cb("copy", writer.db, place / "copy.db", "--deadline", "2s", code=BUSY)
            assert not (place / "copy.db").exists()
        finally:
            os.kill(pid, signal.SIGCONT)
        done = cb("backup", writer.db, "--name", "s")
        assert done.json["confirmed"] == "settle"
        cb("restore", "s", place / "back.db")
        assert judges.ask(version, place / "back.db", invariants=True)["good"]


@pytest.mark.parametrize("version", engines.LIVE)
def test_the_first_moments_of_a_database(version, place, judges):
    """Backups from before the file exists until it has a log and tables."""
    cb = Canvasback(place)
    command = harness.writer_command(version, place / "new.db", place / "new.acks",
                                     "--filler", 2000, "--block-size", 16384, "--pause", 0.02)
    process = conftest.Writer(command)
    outcomes = []
    try:
        for number in itertools.count():
            acks = harness.read_acks(place / "new.acks")
            done = cb("backup", place / "new.db", "--name", "new", "--deadline", "3s",
                      code=(DONE, conftest.FAILED, BUSY))
            outcomes.append(done.code)
            if done.code == conftest.FAILED:
                # No file yet, or one without its first page.
                assert done.error["code"] in ("not-found", "unsupported"), done.out
            if done.code == DONE:
                target = place / f"{number}.db"
                cb("restore", f"new@{done.json['label']}", target)
                verdict = judges.ask(version, target, acks=acks, invariants=True)
                assert verdict["good"], verdict["why"]
            if outcomes.count(DONE) == 6:
                break
            assert process.alive() and number < 2000
    finally:
        process.kill()


def test_a_database_that_is_replaced(place, judges):
    """Two databases take turns at one path, by rename: a copy is one of them, whole."""
    cb = Canvasback(place)
    contents = []
    for index in range(2):
        harness.set_up("1.5.6", place / f"{index}.db", place / "none", "--fold", "--seed", index,
                       "--filler", 60000 + index, "--block-size", 16384)
        contents.append(judges.ask("1.5.6", place / f"{index}.db", write=False)["contents"])
    assert contents[0] != contents[1]
    path = place / "turns.db"
    shutil.copy(place / "0.db", path)
    stop = threading.Event()

    def replace():
        for turn in itertools.count():
            if stop.is_set():
                return
            shutil.copy(place / f"{turn % 2}.db", place / "next")
            os.replace(place / "next", path)
            time.sleep(0.01 * (turn % 5))

    changer = threading.Thread(target=replace)
    changer.start()
    found = set()
    try:
        for number in range(COPIES):
            done = cb("backup", path, "--name", "turns", "--deadline", "5s", code=(DONE, BUSY))
            if done.code == DONE:
                target = place / f"back{number}.db"
                cb("restore", f"turns@{done.json['label']}", target)
                verdict = judges.ask("1.5.6", target, write=False)
                assert verdict["contents"] in contents, verdict["why"]
                found.add(contents.index(verdict["contents"]))
                harness.remove_files(target)
    finally:
        stop.set()
        changer.join()
    assert found, "every backup was refused"
