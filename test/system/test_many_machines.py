"""Many machines at work in one repository: real processes, on a folder and in a store, with expire
beside them and kill -9 at random. At the end every backup that is listed is whole."""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time

import pytest
from conftest import BUSY, DONE, FAILED, LONG, MISSING, Canvasback
from servers import FolderBucket, Place

KILLED = -9
NAMES = ["alpha", "beta", "gamma", "delta"]
SECONDS = 240 if LONG else 14


@pytest.fixture(params=["folder", "minio", "minio-encrypted"])
def shared(request, tmp_path):
    kind, _, encrypted = request.param.partition("-")
    if kind == "folder":
        bucket = FolderBucket(tmp_path)
    else:
        bucket = request.getfixturevalue(kind).bucket()
    return Place(bucket, tmp_path, bool(encrypted))


class Machine(threading.Thread):
    """A home, a database and a loop: another state of it, a backup, now and then a kill."""

    def __init__(self, name, place, folder, history, until, rng):
        super().__init__(daemon=True)
        self.machine, self.until, self.rng, self.history = name, until, rng, history
        self.folder = folder / f"machine-{name}"
        self.folder.mkdir()
        self.cb = Canvasback(self.folder)
        self.cb.env.update(place.env())
        self.db = self.folder / f"{name}.duckdb"
        self.newest = None  # label of the last backup that was acknowledged
        self.count = self.kills = self.kills_since = 0
        self.failure = None

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.turn()
        except BaseException as failure:  # told by the test
            self.failure = failure

    def turn(self):
        state = self.rng.choice(["one", "two", "three"])
        self.history.place(state, self.db)
        full = ["--full"] if self.rng.random() < 0.2 else []
        process = self.cb.start("backup", self.db, "--json", "--lock-wait", 60,
                                "--tag", f"state={state}", *full)  # fmt: skip
        if self.rng.random() < 0.3:
            with contextlib.suppress(Exception):
                process.wait(self.rng.random() * 0.4)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        out, err = process.communicate(timeout=120)
        if process.returncode == KILLED:
            self.kills += 1
            self.kills_since += 1
            return
        assert process.returncode == DONE, f"{self.machine}: {process.returncode}\n{out}{err}"
        self.newest = json.loads(out)["label"]
        self.count, self.kills_since = self.count + 1, 0


class Expire(threading.Thread):
    """Expire in a loop, killed at random too."""

    def __init__(self, place, folder, until, rng):
        super().__init__(daemon=True)
        self.until, self.rng = until, rng
        self.folder = folder / "expire"
        self.folder.mkdir()
        self.cb = Canvasback(self.folder)
        self.cb.env.update(place.env())
        self.runs = self.freed = self.kills = 0
        self.failure = None

    def run(self):
        try:
            while time.monotonic() < self.until:
                self.turn()
        except BaseException as failure:
            self.failure = failure

    def turn(self):
        process = self.cb.start("expire", "--keep-last", 3, "--json", "--lock-wait", 0)
        if self.rng.random() < 0.25:
            with contextlib.suppress(Exception):
                process.wait(self.rng.random() * 0.3)
            if process.poll() is None:
                process.kill()
        out, err = process.communicate(timeout=120)
        if process.returncode == KILLED:
            self.kills += 1
            return
        assert process.returncode in (DONE, BUSY, MISSING), f"{process.returncode}\n{out}{err}"
        if process.returncode == DONE:
            self.runs += 1
            self.freed += json.loads(out)["freed_bytes"]


def test_four_names_and_expire(shared, tmp_path, history, rng):
    cb = shared.prepare(Canvasback(tmp_path))
    first = history.place("one", tmp_path / "first.duckdb")
    cb("backup", first)
    until = time.monotonic() + SECONDS
    machines = [
        Machine(name, shared, tmp_path, history, until, random.Random(rng.random()))
        for name in NAMES
    ]
    expire = Expire(shared, tmp_path, until, random.Random(rng.random()))
    for one in (*machines, expire):
        one.start()
    while time.monotonic() < until:
        # Looking needs no lock, and is never disturbed.
        cb("list")
        time.sleep(0.5)
    for one in (*machines, expire):
        one.join(180)
        assert not one.is_alive()
        assert one.failure is None, one.failure

    assert expire.runs > 0 and sum(one.count for one in machines) >= len(NAMES)
    verified = cb("verify").json
    assert verified["damaged"] == [], verified["damaged"][:3]
    for one in machines:
        listed = cb("list", one.machine).json if one.count else []
        # Runs that were killed may have left backups too, and those count for --keep-last.
        if one.kills_since < 3 and one.count:
            assert one.newest in [backup["label"] for backup in listed], f"{one.machine}: {listed}"
        for backup in listed:
            target = one.folder / "back.duckdb"
            cb("restore", f"{one.machine}@{backup['label']}", target, "--force")
            expected = history.content[backup["tags"]["state"]]
            assert history.samples.content(target) == expected, backup

    # With all of them gone, what nobody needs goes too.
    cb("expire", "--keep-last", 1, "--lock-wait", 60)
    assert cb("verify").json["damaged"] == []
    cb("restore", "first", tmp_path / "back.duckdb")
    assert history.samples.content(tmp_path / "back.duckdb") == history.content["one"]
    print(f"{sum(one.count for one in machines)} backups, "
          f"{sum(one.kills for one in machines)} killed; {expire.runs} runs of expire, "
          f"{expire.kills} killed, {expire.freed} bytes freed")  # fmt: skip


@pytest.fixture
def busy(shared, tmp_path, rng):
    """A backup of a folder `db` that was stopped in its middle, by SIGSTOP."""
    cb = shared.prepare(Canvasback(tmp_path))
    folder = tmp_path / "db"
    folder.mkdir()
    for number in range(12):
        (folder / str(number)).write_bytes(rng.randbytes(500_000) * 2)
    source = f"dir:{folder}"
    cb("backup", source)

    def sessions():
        return set(shared.keys("session"))

    for _ in range(20):
        before = sessions()
        process = cb.start("backup", source, "--full", "--jobs", 1, "--compress", "zstd:19")
        while process.poll() is None and sessions() <= before:
            pass
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        if process.poll() is None and len(cb.labels("db")) == 1:
            break
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
        process.communicate()
        cb("expire", "db", "--keep-last", 1)
    else:
        raise AssertionError("no backup could be caught at work")
    yield cb, source, process
    if process.poll() is None:
        process.kill()
        process.send_signal(signal.SIGCONT)
    process.communicate()


def same(one, other):
    return subprocess.run(["diff", "-r", one, other], check=False).returncode == 0


def test_the_same_name_waits(busy, tmp_path):
    cb, db, process = busy
    error = cb("backup", db, "--lock-wait", 1, code=BUSY).error
    assert error["code"] == "busy"
    assert str(process.pid) in error["message"] and os.uname().nodename in error["message"]
    assert "skip" in cb("backup", db, "--skip-if-busy").err.lower()

    # Reading waits for nobody, and another name does not either.
    began = time.monotonic()
    cb("list")
    cb("verify")
    cb("restore", "db", tmp_path / "back")
    cb("backup", db, "--name", "other", "--lock-wait", 0)
    assert time.monotonic() - began < 20

    # Who waits goes on when the other is done.
    waiting = cb.start("backup", db, "--lock-wait", 60, "--json")
    time.sleep(1)
    assert waiting.poll() is None
    process.send_signal(signal.SIGCONT)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == DONE, out + err
    process.communicate(timeout=60)
    assert process.returncode == DONE
    assert len(cb.labels("db")) == 3
    assert cb("verify").json["damaged"] == []


def test_a_killed_holder_is_in_nobodys_way(busy):
    cb, db, process = busy
    process.kill()
    process.send_signal(signal.SIGCONT)
    process.wait()
    cb("backup", db, "--lock-wait", 0)
    cb("expire", "db", "--keep-last", 1, "--lock-wait", 0)
    assert cb("verify").json["damaged"] == []


def test_woken_late_it_harms_nothing(busy, tmp_path):
    """Stopped while expire takes away what it relied on, then let go: either its backup is whole,
    or there is none."""
    cb, db, process = busy
    for _ in range(3):
        cb("expire", "--keep-last", 1, "--lock-wait", 0, code=(DONE, BUSY))
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=120)
    assert process.returncode in (DONE, FAILED, BUSY)
    assert cb("verify").json["damaged"] == []
    cb("restore", "db", tmp_path / "back")
    assert same(tmp_path / "db", tmp_path / "back")
