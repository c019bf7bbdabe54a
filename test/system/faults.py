"""Running the program again and again with a fault at a chosen call (test/lib/faultcall.c)."""

import contextlib
import os
import pathlib
import shutil
import struct
import tempfile

import pytest
from conftest import DONE, FAILED, LONG, Canvasback


class Faults:
    """Faults for one command. Each run starts from a fresh copy of a prepared folder, so that it
    makes the same calls every time (threads may change their order, not their kinds)."""

    def __init__(self, library, folder, rng):
        self.library = library
        self.folder = folder
        self.rng = rng
        self.count_file = folder / "calls"

    def env(self, at=0, action=None, **more):
        """`more`: sticky=1, calls="read", path="text"."""
        env = {"LD_PRELOAD": self.library, "CB_FAULT_COUNT_FILE": self.count_file}
        if at:
            env.update(CB_FAULT_AT=at, CB_FAULT_ACTION=action)
        env.update({f"CB_FAULT_{key.upper()}": value for key, value in more.items()})
        # A sanitizer wants to be the first library and leaks are not the question here.
        env["ASAN_OPTIONS"] = "verify_asan_link_order=0:detect_leaks=0"
        return env

    def calls(self):
        """How many calls the last run made."""
        return struct.unpack("<Q", self.count_file.read_bytes()[:8])[0]

    def points(self, total, most):
        """Call numbers to try: all of them, or `most`, the first and the last among them."""
        if LONG:
            most *= 10
        everything = list(range(1, total + 1))
        if total <= most:
            return everything
        chosen = {1, 2, total - 1, total, *self.rng.sample(everything, most - 4)}
        return sorted(chosen)


def fresh(template, target):
    """Make `target` a copy of the folder `template`."""
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(template, target, symlinks=True)
    return target


@pytest.fixture
def faults(faultcall, tmp_path, rng):
    return Faults(faultcall, tmp_path, rng)


@contextlib.contextmanager
def memory_folder(otherwise):
    """A folder in memory when there is room: these tests sync thousands of times, and a killed
    process loses nothing that was written, synced or not."""
    memory = "/dev/shm"
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 200 << 20:
        yield otherwise
        return
    folder = pathlib.Path(tempfile.mkdtemp(prefix="canvasback-", dir=memory))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def quick_path(tmp_path):
    with memory_folder(tmp_path) as folder:
        yield folder


@pytest.fixture
def stage(quick_path, tmp_path, history):
    """A folder `start` with a repository that has two backups of `db` (states one and two), and
    the file in state three; `work` is where a fresh copy of it goes for each run."""
    start, work = quick_path / "start", quick_path / "work"
    for folder in (start, work):
        folder.mkdir()
    # Under the path where the runs will find it: a name is bound to its path.
    cb = Canvasback(work)
    for state in ("one", "two"):
        history.place(state, work / "db.duckdb")
        cb("backup", work / "db.duckdb", "--name", "db")
    history.place("three", work / "db.duckdb")
    shutil.rmtree(start)
    shutil.copytree(work, start)
    return Stage(cb, start, work, tmp_path, history)


class Stage:
    def __init__(self, cb, start, work, aside, history, name="db"):
        self.cb, self.start, self.work, self.aside = cb, start, work, aside
        self.history, self.name = history, name
        self.db = work / "db.duckdb"
        self.labels = cb.labels(name)
        self.restored = []  # (path, content that it must have)

    def reset(self):
        fresh(self.start, self.work)

    def keep(self, path, expected, note):
        """Put a database aside, to be read with all others at the end: one engine start."""
        folder = self.aside / f"kept-{len(self.restored)}"
        folder.mkdir()
        for found in path.parent.glob(path.name + "*"):
            if found.is_file():
                shutil.copy2(found, folder / found.name)
        self.restored.append((folder / path.name, expected, note))

    def read_all(self):
        """Everything kept has one of the contents allowed for it; "refused" allows any error."""
        contents = self.history.samples.contents(*[path for path, _, _ in self.restored], how="rw")
        for (path, expected, note), content in zip(self.restored, contents):
            if isinstance(content, str) and content.startswith("error"):
                assert "refused" in expected, f"{note}: {content}"
                continue
            allowed = [self.history.content.get(name, name) for name in expected]
            assert content in allowed, f"{note}: {content}"

    def check_repository(self, at_least):
        """All earlier backups are there and good; returns the labels."""
        labels = self.cb.labels(self.name)
        assert set(at_least) <= set(labels)
        assert self.cb("verify").json["damaged"] == []
        return labels


@pytest.fixture(scope="session")
def at_offset(faultcall):
    """at_offset(seconds): an environment in which the program's wall clock is off by that."""
    library = faultcall.replace("libfaultcall", "libfakeclock")

    def env(seconds):
        return {
            "LD_PRELOAD": library,
            "CB_CLOCK_OFFSET": int(seconds),
            "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0",
        }

    return env


def restore_again(stage, target):
    """The same command once more: it does it, or finishes what was begun and then finds its target
    there."""
    was_there = target.exists()
    result = stage.cb("restore", "db", target, code=(DONE, FAILED))
    if result.code == FAILED:
        assert result.error["code"] == "exists"
        assert was_there or "finishing an interrupted restore" in result.err
