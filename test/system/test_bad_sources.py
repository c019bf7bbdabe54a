"""Sources that are no database, cannot be read, or are damaged. What is not sure to be right is
refused, or stored only when asked to and marked; check finds it first."""

import os
import pwd
import shutil
import struct
import subprocess

import pytest
from conftest import DAMAGED, DONE, FAILED, MISSING, USAGE, Canvasback

HEADER = 4096  # main header and two database headers, each a page
BLOCKS = 3 * HEADER
BLOCK = 16384
STEP = (BLOCK - 8) // 64 // 8 * 8  # length of a metadata sub-block
CURRENT = 999  # version number of files that say the rest in the database header


def refuses(cb, path, *codes, exit_code=FAILED):
    """backup, copy and check refuse it alike, with a reason and a hint, and leave nothing."""
    for command in (["backup", path], ["check", path], ["copy", path, path.parent / "copied"]):
        result = cb(*command, code=exit_code)
        error = result.error
        assert error["code"] in codes, (command, error)
        assert path.name in error["message"], error
        assert error["hint"], (command, error)
        assert not (path.parent / "copied").exists()
    assert cb.labels() == []


def test_missing(cb, tmp_path):
    refuses(cb, tmp_path / "nowhere.duckdb", "not-found")


NO_DATABASES = {
    "empty": b"",
    "short": b"hello\n",
    "zeros": b"\0" * 20000,
    "parquet": b"PAR1" + b"x" * 20000,
}


@pytest.mark.parametrize("content", NO_DATABASES.values(), ids=NO_DATABASES.keys())
def test_not_a_database(cb, tmp_path, content):
    path = tmp_path / "file.duckdb"
    path.write_bytes(content)
    address = f"duckdb:{path}"
    result = cb("backup", address, code=(FAILED, DAMAGED))
    assert result.error["code"] in ("unsupported", "corrupt")
    refuses(cb, path, "unsupported", "corrupt")


def test_folder_in_place_of_a_file(cb, tmp_path):
    folder = tmp_path / "folder.duckdb"
    folder.mkdir()
    (folder / "x").write_text("x")
    assert cb("backup", f"duckdb:{folder}", code=FAILED).error["message"]
    # Without a scheme, dir: must be said.
    result = cb("backup", folder, code=(FAILED, DONE))
    if result.code == FAILED:
        assert "dir:" in result.error["hint"]


def test_file_in_place_of_a_folder(cb, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    assert cb("backup", f"dir:{db}", code=FAILED).error["message"]
    assert cb("backup", f"sqlite:{db}", code=FAILED).error["message"]


def test_special_files(cb, tmp_path):
    """A pipe must not be waited for."""
    pipe = tmp_path / "pipe.duckdb"
    os.mkfifo(pipe)
    assert cb("backup", pipe, code=FAILED, timeout=20).error["message"]
    assert cb("backup", "duckdb:/dev/null", code=FAILED, timeout=20).error["message"]


@pytest.fixture
def nobody(history):
    """The program run by nobody, with a folder that nobody can get at."""
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root, to become nobody")
    user = pwd.getpwnam("nobody")
    folder = "/tmp/canvasback-nobody-%d" % os.getpid()
    os.makedirs(folder)
    os.chown(folder, user.pw_uid, user.pw_gid)

    import pathlib

    path = pathlib.Path(folder)
    cb = Canvasback(path)
    os.chown(cb.home, user.pw_uid, user.pw_gid)
    cb.prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    probe = subprocess.run([*cb.prefix, cb.path, "version"], capture_output=True)
    if probe.returncode != 0:
        shutil.rmtree(folder)
        pytest.skip("nobody may not run the program from where it is")
    yield cb, path
    shutil.rmtree(folder)


def test_no_permission(nobody, history):
    cb, folder = nobody
    db = history.place("one", folder / "db.duckdb")
    db.chmod(0o600)
    for command in (["backup", db], ["check", db], ["copy", db, folder / "x.duckdb"]):
        error = cb(*command, code=FAILED, prefix=cb.prefix).error
        assert error["code"] == "denied" and "db.duckdb" in error["message"]

    db.chmod(0o644)  # to read it is enough: the file is not opened for writing
    cb("backup", db, prefix=cb.prefix)
    os.chmod(folder, 0o755)
    locked = folder / "locked"
    locked.mkdir(mode=0o755)
    for command in (["restore", "db", locked / "x.duckdb"], ["copy", db, locked / "x.duckdb"]):
        error = cb(*command, code=FAILED, prefix=cb.prefix).error
        assert error["code"] == "denied" and "locked" in error["message"]
    error = cb("backup", db, "--repo", locked / "repo", code=FAILED, prefix=cb.prefix).error
    assert error["code"] == "denied"
    cb("restore", "db", folder / "x.duckdb", prefix=cb.prefix)


# ---- damage -------------------------------------------------------------------------------------


def word(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def checksum(data):
    """DuckDB's, over whole words."""
    result = 5381
    for (value,) in struct.iter_unpack("<Q", data):
        result ^= (value * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    return result


class Anatomy:
    """Where the parts of a small sample at rest are, read independently of the program."""

    def __init__(self, path):
        data = self.data = bytearray(path.read_bytes())
        first, second = word(data, HEADER + 8), word(data, 2 * HEADER + 8)
        self.slot = HEADER if first > second else 2 * HEADER
        self.other = 3 * HEADER - self.slot
        self.meta = word(data, self.slot + 16)
        self.free = word(data, self.slot + 24)
        self.count = word(data, self.slot + 32)
        free_blocks = self._free_blocks()
        self.free_blocks = free_blocks
        self.used = [block for block in range(self.count) if block not in free_blocks]
        self.metadata = {self.meta & (2**56 - 1), self.free & (2**56 - 1)}

    def offset(self, block):
        return BLOCKS + block * BLOCK

    def _free_blocks(self):
        if self.free == 2**64 - 1:
            return set()
        stream, pointer = b"", self.free
        while pointer != 2**64 - 1:
            at = self.place(pointer)
            stream += bytes(self.data[at + 8 : at + STEP])
            pointer = word(self.data, at)
        count = word(stream, 0)
        return {word(stream, 8 + 8 * i) for i in range(count)}

    def place(self, pointer):
        """Where a metadata pointer points: a sub-block of a block."""
        return self.offset(pointer & (2**56 - 1)) + 8 + (pointer >> 56) * STEP


@pytest.fixture
def at_rest(history, tmp_path):
    path = history.place("two", tmp_path / "db.duckdb")
    return path, Anatomy(path)


def test_anatomy(at_rest):
    path, parts = at_rest
    page = bytes(parts.data[parts.slot : parts.slot + HEADER])
    assert checksum(page[8:]) == word(page, 0)
    for block in parts.used:
        data = bytes(parts.data[parts.offset(block) : parts.offset(block) + BLOCK])
        assert checksum(data[8:]) == word(data, 0)
    assert parts.free_blocks, "a sample without free blocks shows less"


def damaged_source(cb, path, samples, where):
    """check and backup end with 3 and name it; with --allow-damage it is stored and marked."""
    result = cb("check", path, code=DAMAGED).json
    assert result["bad_blocks"] >= 1
    error = cb("backup", path, code=DAMAGED).error
    assert error["code"] == "corrupt" and where in error["message"], error
    assert "--allow-damage" in error["hint"]
    assert cb.labels() == []
    assert cb("copy", path, path.parent / "copy.duckdb", code=DAMAGED).error["code"] == "corrupt"
    assert not (path.parent / "copy.duckdb").exists()

    result = cb("backup", path, "--allow-damage")
    assert where in result.err
    assert result.json["label"] == cb.labels()[0]
    assert cb("verify").json["damaged"] == []  # the repository has what the source had
    cb("restore", "db", path.parent / "back.duckdb")
    back = (path.parent / "back.duckdb").read_bytes()
    at = Anatomy(path).offset(int(where))
    assert back[at : at + BLOCK] == path.read_bytes()[at : at + BLOCK]


def test_flipped_bit_in_data(cb, at_rest, samples, rng):
    path, parts = at_rest
    block = rng.choice([block for block in parts.used if block not in parts.metadata])
    parts.data[parts.offset(block) + rng.randrange(8, BLOCK)] ^= 4
    path.write_bytes(parts.data)
    damaged_source(cb, path, samples, str(block))


def test_flipped_bit_in_metadata(cb, at_rest, samples, rng):
    path, parts = at_rest
    block = parts.meta & (2**56 - 1)
    parts.data[parts.offset(block) + rng.randrange(8, BLOCK)] ^= 4
    path.write_bytes(parts.data)
    assert cb("check", path, code=(FAILED, DAMAGED)).code == DAMAGED
    error = cb("backup", path, code=DAMAGED).error
    assert error["code"] == "corrupt" and error["hint"]
    assert cb.labels() == []


def test_flipped_bit_in_the_free_list(cb, at_rest, rng):
    path, parts = at_rest
    at = parts.place(parts.free)
    for place in (at, at + 8, at + 17):
        data = bytearray(parts.data)
        data[place] ^= 0x40
        path.write_bytes(data)
        assert cb("check", path, code=(FAILED, DAMAGED)).code == DAMAGED
        assert cb("backup", path, code=DAMAGED, timeout=60).error["code"] == "corrupt"
        assert cb.labels() == []


@pytest.mark.parametrize("page", ["main", "current", "other"])
def test_flipped_bit_in_a_header(cb, at_rest, rng, page):
    """The engine refuses a file with any bad header page, so none is taken for good."""
    path, parts = at_rest
    start = {"main": 0, "current": parts.slot, "other": parts.other}[page]
    for at in (start + 1, start + 40, start + 4000):
        data = bytearray(parts.data)
        data[at] ^= 0x10
        path.write_bytes(data)
        result = cb("check", path, code=(FAILED, DAMAGED))
        assert result.code == DAMAGED or result.error["message"]
        error = cb("backup", path, code=(FAILED, DAMAGED), timeout=60).error
        assert error["message"] and error["hint"]
        assert cb.labels() == []


def test_flipped_bit_in_a_free_block(cb, at_rest, samples, history):
    """Nobody's bytes: no damage."""
    path, parts = at_rest
    for block in parts.free_blocks:
        at = parts.offset(block)
        if at + BLOCK <= len(parts.data):
            parts.data[at + 9] ^= 0xFF
    path.write_bytes(parts.data)
    assert cb("check", path).json["bad_blocks"] == 0
    cb("backup", path)
    cb("restore", "db", path.parent / "back.duckdb")
    assert samples.content(path.parent / "back.duckdb") == history.content["two"]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_truncated(cb, at_rest, share):
    path, parts = at_rest
    last_used = parts.offset(max(parts.used)) + BLOCK
    path.write_bytes(parts.data[: BLOCKS + int((last_used - BLOCKS - 1) * share)])
    assert cb("check", path, code=(FAILED, DAMAGED)).code == DAMAGED
    error = cb("backup", path, code=DAMAGED, timeout=60).error
    assert error["code"] == "corrupt" and error["hint"]
    assert cb.labels() == []


@pytest.mark.parametrize("length", [4, 100, 4095, 8192, 12287])
def test_truncated_header(cb, at_rest, length):
    """It may be about to be made: waited for, up to the deadline, and never stored."""
    path, parts = at_rest
    path.write_bytes(parts.data[:length])
    command = ["backup", f"duckdb:{path}", "--deadline", "2s"]
    result = cb(*command, code=(FAILED, DAMAGED, 4), timeout=60)
    assert result.error["message"]
    assert cb.labels() == []


def test_truncated_free_blocks_are_no_damage(cb, tmp_path, samples):
    """Trailing free blocks are cut off after the header that counts them."""
    path = samples.make(tmp_path / "db.duckdb")
    samples.duckdb(
        samples.version,
        "con = duckdb.connect(args[0]); con.execute('DELETE FROM ledger'); con.execute('CHECKPOINT')",
        path,
    )
    content = samples.content(path)
    parts = Anatomy(path)
    path.write_bytes(parts.data[: parts.offset(max(parts.used)) + BLOCK])
    assert cb("check", path).json["bad_blocks"] == 0
    cb("backup", path)
    cb("restore", "db", tmp_path / "back.duckdb")
    assert samples.content(tmp_path / "back.duckdb", how="rw") == content


def test_newer_version(cb, at_rest):
    """Which version it is, and what can be done, is said."""
    path, parts = at_rest
    struct.pack_into("<Q", parts.data, 12, 1234)
    struct.pack_into("<Q", parts.data, 0, checksum(bytes(parts.data[8:HEADER])))
    path.write_bytes(parts.data)
    error = cb("backup", path, code=FAILED).error
    assert error["code"] == "unsupported" and "1234" in error["message"]
    assert "--method attach" in error["hint"]


class TestLog:
    """Damage in the log of a database at rest."""

    @pytest.fixture
    def logged(self, history, tmp_path):
        path = history.place("three", tmp_path / "db.duckdb")
        return path, path.with_name("db.duckdb.wal")

    def test_sound(self, cb, logged, history):
        path, _ = logged
        assert cb("check", path).json["commits_in_log"] == 6
        assert cb("backup", path).json["commits_in_log"] == 6

    def test_flipped_bit_in_the_middle(self, cb, logged, rng):
        """The engine refuses to open that; what follows it cannot be believed."""
        path, log = logged
        data = bytearray(log.read_bytes())
        data[len(data) // 2] ^= 8
        log.write_bytes(data)
        result = cb("check", path, code=(DONE, DAMAGED))
        assert result.code == DAMAGED or result.json["commits_in_log"] < 6
        result = cb("backup", path, code=(DONE, DAMAGED))
        if result.code == DAMAGED:
            assert result.error["code"] == "corrupt" and ".wal" in result.error["message"]
            assert cb.labels() == []

    def test_cut_anywhere(self, cb, logged, samples, rng):
        """A torn end is what a power cut leaves: all whole commits before it are kept."""
        path, log = logged
        data = log.read_bytes()
        images = []
        for turn in range(8):
            log.write_bytes(data[: rng.randrange(len(data))])
            cb("backup", path)
            image = path.parent / f"image-{turn}.duckdb"
            shutil.copy2(path, image)
            shutil.copy2(log, image.with_name(image.name + ".wal"))
            back = path.parent / f"back-{turn}.duckdb"
            cb("restore", "db", back)
            images += [image, back]
        contents = samples.contents(*images, how="rw")
        for image, back in zip(contents[::2], contents[1::2]):
            assert isinstance(image, dict) and back == image

    def test_garbage(self, cb, logged, history):
        path, log = logged
        log.write_bytes(b"garbage" * 1000)
        result = cb("backup", path, "--deadline", "2s", code=(FAILED, DAMAGED, 4))
        assert result.error["message"] and cb.labels() == []

    def test_of_another_database(self, cb, tmp_path, duckdb, samples):
        """The engine refuses the pair; the backup is that pair, or is refused too."""
        make = """
for name, n in (("a", 1), ("b", 3)):
    con = duckdb.connect()
    con.execute(f"ATTACH '{args[0]}/{name}.duckdb' AS d (STORAGE_VERSION 'v1.4.0'); USE d")
    con.execute("CREATE TABLE t (i INTEGER)")
    for i in range(n):
        con.execute("INSERT INTO t VALUES (1)"); con.execute("CHECKPOINT")
    con.execute("INSERT INTO t VALUES (2)")
    if name == "b": os._exit(0)
    con.close()
"""
        duckdb(samples.version, make, tmp_path)
        shutil.copy2(tmp_path / "b.duckdb.wal", tmp_path / "a.duckdb.wal")
        result = cb("backup", tmp_path / "a.duckdb", "--deadline", "2s", code=None, timeout=60)
        if result.code != DONE:
            assert result.code in (FAILED, DAMAGED, 4) and result.error["hint"]
            return
        cb("restore", "a", tmp_path / "back.duckdb")
        read = samples.contents(tmp_path / "a.duckdb", tmp_path / "back.duckdb")
        assert read[0].replace("a.duckdb", "") == read[1].replace("back.duckdb", "")


def test_wrong_names(cb, at_rest):
    path, _ = at_rest
    for name in ("a b", "a/b", "x" * 65, "", "ä", ".."):
        assert cb("backup", path, "--name", name, code=USAGE).error["code"] == "usage"
    cb("backup", path)
    for text in ("other", "db@19990101", "db@20000101-000000", "other@latest"):
        for command in (["show", text], ["restore", text, path.parent / "x"], ["verify", text]):
            error = cb(*command, code=MISSING).error
            assert error["code"] == "not-found" and error["hint"]
    assert cb("list", "other", code=MISSING).error["hint"]
    assert cb("expire", "other", "--keep-last", 1, code=MISSING).error["hint"]
    for text in ("db@", "db@latest@latest", "@latest"):
        assert cb("show", text, code=(USAGE, MISSING)).error["message"]


def test_name_of_another_source(cb, at_rest, tmp_path, history):
    path, _ = at_rest
    cb("backup", path)
    (tmp_path / "elsewhere").mkdir()
    other = history.place("one", tmp_path / "elsewhere" / "db.duckdb")
    error = cb("backup", other, code=USAGE).error
    assert "--name" in error["hint"] and "--adopt-name" in error["hint"]
    assert len(cb.labels()) == 1
    cb("backup", other, "--name", "db2")
    cb("backup", other, "--adopt-name")
    assert len(cb.labels("db")) == 2 and len(cb.labels("db2")) == 1
    cb("backup", path, code=USAGE)


def test_log_of_another_database(cb, tmp_path, duckdb):
    """DuckDB refuses to open a database beside a log that is not its own; check says so."""
    script = """
kept = []
for name in args:
    con = duckdb.connect(name)
    kept.append(con)
    con.execute("CREATE TABLE t AS SELECT range i FROM range(1000)")
    con.execute("CHECKPOINT")
    con.execute("INSERT INTO t VALUES (-1)")
os._exit(0)
"""
    one, other = tmp_path / "one.duckdb", tmp_path / "other.duckdb"
    duckdb("2.0.0", script, one, other)
    assert cb("check", one).json["commits_in_log"] == 1
    one.with_name("one.duckdb.wal").replace(other.with_name("other.duckdb.wal"))
    opened = duckdb("2.0.0", "duckdb.connect(args[0])", other, check=False)
    assert opened.returncode != 0 and "WAL" in opened.stderr
    told = cb.run("check", other)
    assert "belongs to another database" in told.out + told.err
