"""A writer frozen after each call that changes its database: the Python side of lib/stopper.c."""

import contextlib
import os
import pathlib
import subprocess

import conftest
import pytest

from . import harness


def stopper():
    found = pathlib.Path(conftest.program_path()).parent / "test" / "lib" / "stopper"
    if not found.exists():
        pytest.skip(f"no {found}: the program under test was not built here")
    return str(found)


class Stop:
    """One frozen moment: `number` of the call, its name, and the path it was about."""

    def __init__(self, line):
        words = line.split(" ", 4)
        self.number = int(words[1])
        self.call = words[2]
        self.path = words[3]
        self.detail = words[4].strip() if len(words) > 4 else ""

    def __str__(self):
        return f"{self.number} {self.call} {os.path.basename(self.path)} {self.detail}".strip()


class Frozen:
    """A writer under the stopper. Iterate with next_stop; in between it stands still."""

    def __init__(self, version, db, *options, torn=False):
        self.version = version
        self.db = pathlib.Path(db)
        self.acks_path = self.db.with_suffix(".acks")
        self.last = None
        self.errors = open(self.db.with_suffix(".errors"), "w+")
        self.process = subprocess.Popen(
            [stopper(), str(db), *(["--torn"] if torn else []), "--",
             *harness.writer_command(version, db, self.acks_path, *options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        self.pid = int(self._line().split()[1])

    def _line(self):
        line = self.process.stdout.readline()
        assert line, "the stopper ended: " + self.said()
        return line

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def acks(self):
        return harness.read_acks(self.acks_path)

    def next_stop(self, distance=1):
        """Run on to the `distance`-th call from here; None when the writer has ended."""
        self._tell(f"go {distance}")
        line = self._line()
        if not line.startswith("stop"):
            self.last = line.strip()
            return None
        return Stop(line)

    def run_on(self):
        """Run to the end, without a stop; returns "exit 0" or the like."""
        self._tell("run")
        self.last = self._line().strip()
        return self.last

    def kill(self):
        """kill -9, as it stands."""
        self._tell("kill")
        self.last = self._line().strip()
        self.process.wait()

    def _tell(self, words):
        try:
            self.process.stdin.write(words + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(f"the stopper ended by itself ({self.process.wait()}), after "
                                 f"{self.last}: {self.said()}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()  # kills a writer that still runs
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()  # and with it the writer
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
