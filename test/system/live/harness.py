"""Runs writers and judges as processes of their own, and takes copies of what the writers write.

Everything happens in a folder of memory where there is one, so that hundreds of copies fit into
minutes. On a failure the report names seed, version and profile; with CB_TEST_KEEP=FOLDER the files
of each bad copy are kept there.
"""

import contextlib
import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import time

import conftest
import pytest

from . import engines

HERE = pathlib.Path(__file__).resolve().parent
SUFFIXES = ["", ".wal", ".wal.checkpoint", ".wal.recovery"]


@contextlib.contextmanager
def folder():
    """A folder in memory, if the machine has one with room; it goes away with all in it."""
    base = "/dev/shm"
    if not os.path.isdir(base) or shutil.disk_usage(base).free < 2 << 30:
        base = None
    path = pathlib.Path(tempfile.mkdtemp(prefix="cblive-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def read_acks(path):
    """The newest acknowledged commit of each thread, by the thread's number as text."""
    newest = {}
    try:
        text = pathlib.Path(path).read_text()
    except FileNotFoundError:
        return newest
    for line in text.split("\n")[:-1]:  # the last line may be half written
        thread, number = line.split()
        newest[thread] = int(number)
    return newest


def writer_command(version, db, acks, *options):
    return [engines.python(version), str(HERE / "writer.py"), "--db", str(db),
            "--acks", str(acks), *map(str, options)]


def set_up(version, db, acks, *options):
    """Make a database with the writer's schema and close it."""
    subprocess.run(writer_command(version, db, acks, "--setup-only", *options), check=True,
                   stdout=subprocess.DEVNULL, timeout=120)


class LiveWriter:
    """writer.py at work until it is stopped."""

    def __init__(self, version, db, *options):
        self.version = version
        self.db = pathlib.Path(db)
        self.acks_path = self.db.with_suffix(".acks")
        self.process = conftest.Writer(writer_command(version, db, self.acks_path, *options))
        self.process.wait_ready()

    def acks(self):
        return read_acks(self.acks_path)

    def check_alive(self):
        said = "\n".join(self.process.lines + self.process.errors)
        assert self.process.alive() and "fatal" not in said, "the writer ended: " + said

    def end(self):
        """Let it finish what it does and close the database."""
        if self.process.alive():
            self.process.process.stdin.close()
        code = self.process.process.wait(60)
        assert code == 0, "the writer failed: " + "\n".join(self.process.errors)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()


class Judges:
    """judge.py processes, kept for as long as they answer. Any thread may ask."""

    TIMEOUT = 120

    def __init__(self):
        self.idle = {}
        self.all = []
        self.lock = threading.Lock()

    def _take(self, version):
        with self.lock:
            waiting = self.idle.setdefault(version, queue.SimpleQueue())
        try:
            return waiting.get_nowait()
        except queue.Empty:
            process = subprocess.Popen([engines.python(version), str(HERE / "judge.py")],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, text=True)
            with self.lock:
                self.all.append(process)
            return process

    def ask(self, version, path, **request):
        """The verdict: a dict of good, why, contents. An engine that dies is a bad verdict."""
        process = self._take(version)
        guard = threading.Timer(self.TIMEOUT, process.kill)
        guard.start()
        try:
            process.stdin.write(json.dumps({"path": str(path), **request}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            guard.cancel()
        if line:
            self.idle[version].put(process)
            return json.loads(line)
        process.kill()
        return {"good": False, "contents": {},
                "why": "the engine died (%s): %s" % (process.wait(), process.stderr.read()[-500:])}

    def close(self):
        for process in self.all:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def judges():
    judges = Judges()
    yield judges
    judges.close()


def copy_files(source, target, suffixes=tuple(SUFFIXES), piece=None, pause=0.0):
    """What `cp` does, file after file; with a piece size, slowly."""
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError), open(str(source) + suffix, "rb") as reader:
            with open(str(target) + suffix, "wb") as writer:
                while data := reader.read(piece or 1 << 20):
                    writer.write(data)
                    if piece:
                        time.sleep(pause)


def remove_files(path):
    for suffix in SUFFIXES:
        with contextlib.suppress(FileNotFoundError):
            os.remove(str(path) + suffix)


def keep_evidence(name, *paths):
    """With CB_TEST_KEEP: copy files or folders there, under a name that says what they are."""
    base = os.environ.get("CB_TEST_KEEP")
    if not base:
        return
    target = os.path.join(base, name)
    os.makedirs(target, exist_ok=True)
    for path in paths:
        path = str(path)
        if os.path.isdir(path):
            shutil.copytree(path, os.path.join(target, os.path.basename(path)),
                            dirs_exist_ok=True)
        elif os.path.exists(path):
            shutil.copy2(path, target)


_made = {}
_made_folder = None


def make(version, db, *options):
    """Run maker.py to its end; with --end kill that end is a kill -9. What it makes out of nothing
    is kept for the next test that asks for the same."""
    global _made_folder
    options = tuple(map(str, options))
    key = (version, *options)
    if not os.path.exists(db) and "make" in " ".join(options):
        if key not in _made:
            if _made_folder is None:
                _made_folder = tempfile.TemporaryDirectory(prefix="cbmade-")
            master = os.path.join(_made_folder.name, f"{len(_made)}.db")
            _run_maker(version, master, options)
            _made[key] = master
        copy_files(_made[key], db)
    else:
        _run_maker(version, db, options)


def _run_maker(version, db, options):
    command = [engines.python(version), str(HERE / "maker.py"), "--db", str(db), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    wanted = -9 if "kill" in options else 0
    assert done.returncode == wanted, f"DuckDB {version}: {done.stderr}"


def opened_by(version, db):
    """A process that has the database open and does nothing; ends with kill."""
    command = [engines.python(version), str(HERE / "maker.py"), "--db", str(db), "--do", "nothing",
               "--end", "wait"]
    return conftest.Writer(command).wait_ready()


def log_is_marked(path):
    """Does the log end with a checkpoint marker, an entry of type 99, and its flush?"""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 90))
            tail = file.read()
    except FileNotFoundError:
        return False
    return tail.endswith(b"\x64\x00\x64\xff\xff") and b"\x64\x00\x63" in tail[:-21]
