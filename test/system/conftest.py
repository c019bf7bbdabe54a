"""What all system tests share: the program, stock DuckDB of any version, writers, faults.

The tests use the program as a user does: a process with arguments, an environment and two output
streams. Each test has its own home and its own repository, and no setting of the machine reaches
it. The rules that the tests hold it to are the exit codes, the JSON fields and the promises of
README.md and doc/.
"""

import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import threading
import time
import zlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERSIONS = ["1.1.3", "1.2.2", "1.3.2", "1.4.5", "1.5.6", "2.0.0"]
LONG = bool(os.environ.get("CB_TEST_LONG"))

# Exit codes of the program.
DONE, FAILED, USAGE, DAMAGED, BUSY, MISSING = 0, 1, 2, 3, 4, 5


def pytest_report_header():
    return f"program: {program_path()}, seed: {seed()}"


def program_path():
    return os.path.abspath(os.environ.get("CANVASBACK", ROOT / "build" / "canvasback"))


def seed():
    return int(os.environ.get("CB_TEST_SEED", "1"))


@pytest.fixture
def rng(request):
    """Random numbers that repeat: the seed and the name of the test decide them."""
    return random.Random(seed() * 2**32 + zlib.crc32(request.node.nodeid.encode()))


# ---- the program --------------------------------------------------------------------------------


@dataclasses.dataclass
class Result:
    code: int  # negative: the signal that ended it
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def error(self):
        """The error object of a run with --json that failed."""
        return self.json["error"]


class Canvasback:
    """Runs the program. `cb("backup", path)` asks for JSON and expects exit code 0."""

    def __init__(self, folder, path=None):
        self.path = path or program_path()
        self.home = folder / "home"
        self.repo = folder / "repo"
        self.home.mkdir(exist_ok=True)
        self.secrets = []  # texts that no run may ever print
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.home),
            "TMPDIR": str(folder),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "CANVASBACK_REPO": str(self.repo),
            # No test asks the network it happens to run in who it is.
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_GCE_CHECK": "true",
        }
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH"):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def _environment(self, env):
        merged = {**self.env, **(env or {})}
        return {key: str(value) for key, value in merged.items() if value is not None}

    def run(self, *arguments, env=None, timeout=120, input="", cwd=None, prefix=()):
        """As typed: no option is added, any exit code is fine. `prefix` stands before the program."""
        command = [*map(str, prefix), self.path, *map(str, arguments)]
        done = subprocess.run(
            command,
            env=self._environment(env),
            input=input,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout,
            cwd=cwd,
        )
        for secret in self.secrets:
            assert secret not in done.stdout + done.stderr, f"a secret is told by {arguments}"
        return Result(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments, code=DONE, **options):
        """With --json; the exit code must be `code` (a number or several; None: any)."""
        result = self.run(*arguments, "--json", **options)
        codes = code if isinstance(code, (tuple, list, set)) else (code,)
        assert code is None or result.code in codes, (
            f"canvasback {' '.join(map(str, arguments))}: exit {result.code}, expected {code}\n"
            f"{result.out}\n{result.err}"
        )
        return result

    def start(self, *arguments, env=None, prefix=(), **options):
        """Start it and do not wait: a subprocess.Popen with pipes."""
        return subprocess.Popen(
            [*map(str, prefix), self.path, *map(str, arguments)],
            env=self._environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def labels(self, name=None):
        result = self("list", *([name] if name else []), code=(DONE, MISSING))
        return [entry["label"] for entry in result.json] if result.code == DONE else []


@pytest.fixture
def cb(tmp_path):
    return Canvasback(tmp_path)


@pytest.fixture(scope="session")
def faultcall():
    """The library that lets the n-th call that writes fail, see test/lib/faultcall.c."""
    found = pathlib.Path(program_path()).parent / "test" / "lib" / "libfaultcall.so"
    if not found.exists():
        pytest.skip(f"no {found}: the program under test was not built here")
    return str(found)


# ---- DuckDB -------------------------------------------------------------------------------------


def venv_python(name, *requirements):
    done = subprocess.run(
        [ROOT / "tools" / "venv", name, *requirements], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"no Python environment {name}:\n{done.stderr}"
    return done.stdout.strip() + "/bin/python"


def duckdb_python(version):
    """A Python that has this version of stock DuckDB."""
    return venv_python(f"duckdb-{version}", f"duckdb=={version}")


PRELUDE = "import duckdb, json, os, sys\nargs = sys.argv[1:]\n"


@pytest.fixture(scope="session")
def duckdb():
    """duckdb(version, script, *arguments) runs a Python script beside DuckDB and returns what it
    prints, from JSON if it is JSON. `args` holds the arguments. It must end well unless
    check=False, which returns the finished process."""

    def run(version, script, *arguments, check=True, timeout=120, cwd=None):
        done = subprocess.run(
            [duckdb_python(version), "-c", PRELUDE + script, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
        )
        if not check:
            return done
        assert done.returncode == 0, f"DuckDB {version}: {done.stderr or done.returncode}"
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout.strip()

    return run


class Writer:
    """A process at work in a database. Its script prints a line `ready` when it has begun; what
    it prints is gathered in `lines`."""

    def __init__(self, command, env=None):
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
        )
        self.lines = []
        self.errors = []
        self._ready = threading.Event()
        for stream, into in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            threading.Thread(target=self._gather, args=(stream, into), daemon=True).start()

    def _gather(self, stream, into):
        for line in stream:
            into.append(line.rstrip("\n"))
            if into is self.lines and into[-1] == "ready":
                self._ready.set()

    @property
    def pid(self):
        return self.process.pid

    def wait_ready(self, timeout=60):
        end = time.monotonic() + timeout
        while not self._ready.wait(0.05):
            assert self.process.poll() is None, "the writer ended: " + "\n".join(self.errors)
            assert time.monotonic() < end, "the writer did not begin"
        return self

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()

    def stop(self, timeout=60):
        """Ask it to end (SIGTERM; its standard input closes too) and wait."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            self.process.stdin.close()
        return self.process.wait(timeout)


@pytest.fixture
def writer():
    """writer(version, script, *arguments): start a script (a path, or the text of one) beside
    DuckDB and wait for its `ready`. All are killed when the test ends."""
    started = []

    def start(version, script, *arguments, wait=True):
        is_file = isinstance(script, pathlib.Path) or (
            "\n" not in str(script) and os.path.exists(str(script))
        )
        code = [script] if is_file else ["-c", PRELUDE + script]
        one = Writer([duckdb_python(version), "-u", *code, *arguments])
        started.append(one)
        return one.wait_ready() if wait else one

    yield start
    for one in started:
        one.kill()


from faults import at_offset, faults, quick_path, stage  # noqa: E402,F401
from lakes import lake_place, lakes_made, make_lake, postgres  # noqa: E402,F401
from live.harness import judges  # noqa: E402,F401
from samples import both_histories, both_samples, history, samples  # noqa: E402,F401
from stores import azurite, gcs, minio, place, proxy, remote, s3  # noqa: E402,F401
