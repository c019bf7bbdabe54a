"""The same life of a repository in a folder and in every kind of object store, plain and encrypted:
what works on the one works on all. Every run is also watched for secrets in what it says."""

import concurrent.futures
import os
import shutil
import sqlite3
import time

import pytest
from conftest import DAMAGED, DONE, FAILED, MISSING, USAGE, Canvasback
from proxy import Kill, Stall, always, bodies, nth, puts
from servers import PASSPHRASE, FolderBucket, Keys, Place, free_port
from stores import EVERYWHERE, KINDS

from live import harness

KILLED = -9


@pytest.fixture
def at(place, tmp_path):
    """The program, with its repository at the place."""
    return place.prepare(Canvasback(tmp_path))


def content(history, path):
    return history.samples.content(path)


def make_tree(path):
    (path / "sub" / "empty").mkdir(parents=True)
    (path / "sub" / "some").write_bytes(os.urandom(100_000))
    (path / "none").write_bytes(b"")
    (path / "link").symlink_to("sub/some")
    (path / "sub" / "some").chmod(0o640)
    return path


def tree(path):
    """Names, modes, times and contents below a folder."""
    found = {}
    for folder, folders, names in os.walk(path):
        for name in folders + names:
            one = os.path.join(folder, name)
            info = os.lstat(one)
            data = os.readlink(one) if os.path.islink(one) else None
            if data is None and os.path.isfile(one):
                with open(one, "rb") as file:
                    data = file.read()
            found[os.path.relpath(one, path)] = (info.st_mode, info.st_mtime_ns, data)
    return found


def make_app(path):
    con = sqlite3.connect(path)
    con.execute("PRAGMA journal_mode = WAL")
    con.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
    con.executemany("INSERT INTO users (name) VALUES (?)", [(f"user {i}",) for i in range(3000)])
    con.commit()
    return con


def users(path):
    con = sqlite3.connect(path)
    try:
        return con.execute("SELECT count(*), sum(length(name)) FROM users").fetchone()
    finally:
        con.close()


# ---- one repository, all verbs ------------------------------------------------------------------


@pytest.mark.parametrize("place", EVERYWHERE, indirect=True)
def test_three_states_of_a_database(place, at, tmp_path, history):
    """backup, list, show, restore, restore --delta, verify, expire, repo; each says what it did."""
    db = tmp_path / "db.duckdb"
    labels = []
    for state in ("one", "two", "three"):
        history.place(state, db)
        labels.append(at("backup", db).json["label"])
    last = at("show", "db").json
    assert last["label"] == labels[-1] and last["kind"] == "duckdb" and last["items"]

    listed = at("list", "db").json
    assert [one["label"] for one in listed] == labels
    assert listed[1]["new_bytes"] < listed[0]["new_bytes"], "the second one is no increment"

    for state, label in zip(("one", "two", "three"), labels):
        target = tmp_path / f"{state}.duckdb"
        result = at("restore", f"db@{label}", target).json
        assert result["label"] == label and result["bytes_written"] > 0
        assert content(history, target) == history.content[state]

    target = tmp_path / "one.duckdb"
    result = at("restore", f"db@{labels[1]}", target, "--delta").json
    assert 0 < result["bytes_reused"], "everything was written anew"
    assert content(history, target) == history.content["two"]

    verified = at("verify").json
    assert verified["backups"] == 3 and verified["damaged"] == []
    assert at("list", "db").json[-1]["verified"]
    assert at("verify", f"db@{labels[0]}", "--deep").json["damaged"] == []

    result = at("expire", "db", "--keep-last", 1).json
    assert sorted(result["removed"]) == labels[:2] and at.labels("db") == labels[2:]
    assert at("verify").json["damaged"] == []
    at("restore", "db", tmp_path / "last.duckdb")
    assert content(history, tmp_path / "last.duckdb") == history.content["three"]

    described = at("repo").json
    assert described["backups"] == 1 and described["encrypted"] == place.encrypted
    assert at("restore", "db@20010101-000000", tmp_path / "no.duckdb", code=MISSING).error["hint"]
    assert at("restore", "nobody", tmp_path / "no.duckdb", code=MISSING).error["hint"]


def test_space_is_given_back(place, at, tmp_path, history):
    db = tmp_path / "db.duckdb"
    for state in ("one", "two", "three"):
        history.place(state, db)
        at("backup", db, "--full")
    full = sum(len(place.get(key)) for key in place.keys())
    result = at("expire", "db", "--keep-last", 1).json
    left = sum(len(place.get(key)) for key in place.keys())
    assert left < 0.55 * full, place.keys()
    assert result["freed_bytes"] >= 0.9 * (full - left)
    assert at("verify").json["damaged"] == []


def test_while_a_writer_works(place, at, tmp_path):
    """A copy of a live database holds every commit acknowledged before it began."""
    judges = harness.Judges()
    try:
        with harness.LiveWriter("1.5.6", tmp_path / "live.db", "--profile", "mixed",
                                "--block-size", 16384) as writer:  # fmt: skip
            for number in range(2):
                acks = writer.acks()
                at("backup", writer.db, "--name", "live", "--deadline", "60s")
                target = tmp_path / f"{number}.db"
                at("restore", "live", target)
                verdict = judges.ask("1.5.6", target, acks=acks, invariants=True)
                # The engine's own failure to replay its log, see test_live.py.
                assert verdict["good"] or "Conflict on tuple deletion" in verdict["why"], verdict
                time.sleep(0.3)
            writer.check_alive()
    finally:
        judges.close()


def test_sqlite_and_a_folder(at, tmp_path):
    files = make_tree(tmp_path / "files")
    app = make_app(tmp_path / "app.db")
    at("backup", f"sqlite:{tmp_path / 'app.db'}")
    at("backup", f"dir:{files}")
    before = tree(files)
    app.close()

    at("restore", "app", tmp_path / "back.db")
    assert users(tmp_path / "back.db") == users(tmp_path / "app.db")
    at("restore", "files", tmp_path / "back")
    assert tree(tmp_path / "back") == before
    (tmp_path / "back" / "sub" / "some").write_bytes(b"changed")
    at("restore", "files", tmp_path / "back", "--delta", "--delete")
    assert tree(tmp_path / "back") == before
    assert at("verify").json["backups"] == 2


def test_index_is_rebuilt(place, at, tmp_path, history):
    """repair reads the packs alone."""
    db = history.place("two", tmp_path / "db.duckdb")
    at("backup", db)
    indexes = place.keys("index")
    assert indexes, place.keys()
    for key in indexes:
        place.remove(key)
    shutil.rmtree(at.home, ignore_errors=True)  # what is cached of it too
    at.home.mkdir()
    repaired = at("repair").json
    assert repaired["packs"] > 0 and repaired["damaged"] == []
    at("restore", "db", tmp_path / "back.duckdb")
    assert content(history, tmp_path / "back.duckdb") == history.content["two"]
    again = at("backup", db).json
    assert again["new_chunks"] == 0, "what the packs hold was not found again"
    assert at("verify").json["damaged"] == []


def test_another_machine_sees_it(place, at, tmp_path, history):
    """Nothing that is needed lies outside the repository."""
    db = history.place("two", tmp_path / "db.duckdb")
    at("backup", db)
    (tmp_path / "other").mkdir()
    other = Canvasback(tmp_path / "other")
    other.env.update(place.env())
    assert other.labels("db") == at.labels("db")
    other("restore", "db", tmp_path / "back.duckdb")
    assert content(history, tmp_path / "back.duckdb") == history.content["two"]


def test_two_machines_at_once(place, at, tmp_path, history):
    machines = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        machine = Canvasback(tmp_path / name)
        machine.env.update(place.env())
        history.place("one", tmp_path / name / f"{name}.duckdb")
        machines.append(machine)

    def work(name, machine):
        db = tmp_path / name / f"{name}.duckdb"
        for state in ("one", "two", "three"):
            history.place(state, db)
            machine("backup", db)
        return machine.labels(name)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        done = list(pool.map(work, "ab", machines))
    assert [len(labels) for labels in done] == [3, 3]
    verified = at("verify").json
    assert verified["backups"] == 6 and verified["damaged"] == []
    for name in "ab":
        at("restore", name, tmp_path / f"back-{name}.duckdb")
        assert content(history, tmp_path / f"back-{name}.duckdb") == history.content["three"]


def test_repository_is_described_and_checked(place, at):
    at("init", code=(DONE, FAILED))
    checked = at("repo", "--check").json
    assert checked["writable"] is True and checked["create_if_absent"] is True
    # What it tried is gone again.
    assert not [key for key in place.keys() if "probe" in key]
    text = at.run("repo", "--check")
    assert text.code == DONE and max(map(len, text.out.splitlines())) <= 80


def test_an_empty_place_is_no_repository(place, tmp_path):
    cb = Canvasback(tmp_path)
    cb.env.update(place.env())
    for command in (["list"], ["verify"], ["restore", "db", tmp_path / "x"], ["repo"]):
        error = cb(*command, code=MISSING).error
        assert error["code"] == "not-found" and error["hint"], command
    assert place.keys() == []


def test_a_strange_place_is_left_alone(place, tmp_path, history):
    """A first backup makes a repository in an empty place only."""
    place.put("something.txt", b"else")
    cb = Canvasback(tmp_path)
    cb.env.update(place.env())
    db = history.place("one", tmp_path / "db.duckdb")
    error = cb("backup", db, code=(FAILED, MISSING)).error
    assert "something.txt" in error["message"] + error["hint"], error
    assert place.keys() == ["something.txt"]


@pytest.mark.parametrize("place", [f"{kind}-encrypted" for kind in KINDS], indirect=True)
def test_names_do_not_leak(place, at, tmp_path, history):
    """Of an encrypted repository nothing can be read but that it is one."""
    files = tmp_path / "Payroll"
    files.mkdir()
    (files / "Confidential.txt").write_text("Zebra Meridian " * 1000)
    db = history.place("two", tmp_path / "Ledgerbook.duckdb")
    at("backup", db, "--tag", "Purpose=Quarterly")
    at("backup", f"dir:{files}")
    at("verify")
    words = [b"Ledgerbook", b"Payroll", b"Confidential", b"Zebra", b"Quarterly", b"Purpose"]
    words += [b"ledger", b"accounts", PASSPHRASE.encode()]
    if len(os.uname().nodename) > 5:  # a short one is found by chance
        words.append(os.uname().nodename.encode())
    for key in place.keys():
        data = key.encode() + b"\n" + place.get(key)
        for word in words:
            assert word.lower() not in data.lower(), f"{word} in {key}"


# ---- interrupted --------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """A folder of 100 MB that does not shrink: several packs."""
    path = tmp_path_factory.mktemp("large") / "large"
    path.mkdir()
    for number in range(4):
        (path / f"{number}.bin").write_bytes(os.urandom(25_000_000))
    return path


@pytest.mark.parametrize("at_the_end", [False, True], ids=["in the middle", "at the end"])
def test_an_interrupted_backup_resumes(remote, tmp_path, large, proxy, at_the_end):
    """What was stored when it was killed is found again, not sent again."""
    fault = proxy(remote)
    cb = remote.prepare(Canvasback(tmp_path), fault.endpoint)
    command = ["backup", f"dir:{large}", "--jobs", 1, "--compress", "none"]
    cb(*command)
    total = sum(1 for one in fault.requests if one.size > 100_000)
    remote.prefix = "again"
    remote.prepare(cb, fault.endpoint)
    # At the end: all packs are there, and the first small object behind them is not.
    done = lambda one: puts(one) and not bodies(one) and fault.bodies() >= total  # noqa: E731
    if at_the_end:
        fault.script(nth(1, Kill()), when=done)
    else:
        fault.script(nth(total, Kill(later=1)), when=bodies)
    process = cb.start(*command)
    fault.victim = process
    process.wait(60)
    assert process.returncode == KILLED and cb.labels() == []
    stored = sum(len(remote.get(key)) for key in remote.keys("pack"))
    assert stored > 1_000_000 or not at_the_end, "it was killed before anything was stored"

    fault.script()
    again = cb("backup", f"dir:{large}", "--lock-wait", 20).json
    assert again["new_bytes"] < 101_000_000 - 0.9 * stored, "what was stored is not found again"
    assert cb("verify").json["damaged"] == []
    cb("restore", "large", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(large)


def test_large_uploads_leave_nothing_unfinished(minio, tmp_path, large):
    """Parts of an upload that was never completed cost money and show in no listing."""
    place = Place(minio.bucket(), tmp_path)
    cb = place.prepare(Canvasback(tmp_path))
    cb("backup", f"dir:{large}", "--compress", "none")
    assert place.bucket.uploads() == []
    cb("restore", "large", tmp_path / "back")
    assert tree(tmp_path / "back") == tree(large)


# ---- who may do what ----------------------------------------------------------------------------

READ = ("s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation")


def test_read_only_credentials(minio, s3, tmp_path, history):
    """list, show, verify and restore work; what writes is refused, in words."""
    db = history.place("two", tmp_path / "db.duckdb")
    cb = s3.prepare(Canvasback(tmp_path))
    label = cb("backup", db).json["label"]
    before = s3.keys()

    cb.env.update(minio.restricted(s3.bucket.name, *READ).env())
    assert cb.labels() == [label]
    assert cb("show", "db").json["label"] == label
    assert cb("verify").json["damaged"] == []
    cb("restore", "db", tmp_path / "back.duckdb")
    assert content(history, tmp_path / "back.duckdb") == history.content["two"]
    for command in (["backup", db], ["expire", "db", "--keep-last", 1]):
        result = cb(*command, code=(DONE, FAILED))
        if result.code == FAILED:
            assert result.error["code"] == "denied" and result.error["hint"], result.out
    assert cb("backup", db, code=FAILED).error["code"] == "denied"
    assert s3.keys() == before


def test_append_only_credentials(minio, s3, tmp_path, history):
    """Without the right to delete anything, backup works all the same, again and again."""
    cb = s3.prepare(Canvasback(tmp_path))
    cb.env.update(minio.restricted(s3.bucket.name, *READ, "s3:PutObject").env())
    db = tmp_path / "db.duckdb"
    for state in ("one", "two", "three"):
        history.place(state, db)
        cb("backup", db)
    assert len(cb.labels()) == 3
    assert cb("verify").json["damaged"] == []
    error = cb("expire", "db", "--keep-last", 1, code=FAILED).error
    assert error["code"] == "denied"
    assert cb("verify").json["damaged"] == []
    cb("restore", "db", tmp_path / "back.duckdb")
    assert content(history, tmp_path / "back.duckdb") == history.content["three"]


WRONG_SECRET = "wrongSecretWrongSecretWrongSecret0123456"


def test_wrong_credentials(minio, s3, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    cb = s3.prepare(Canvasback(tmp_path))
    cb("backup", db)
    cases = {
        "secret": {"AWS_SECRET_ACCESS_KEY": WRONG_SECRET},
        "key": {"AWS_ACCESS_KEY_ID": "AKIANOSUCHKEY0000000"},
        "token": {"AWS_SESSION_TOKEN": WRONG_SECRET * 3},
        "none": {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
    }
    for case, env in cases.items():
        for command in (["list"], ["backup", db]):
            began = time.monotonic()
            result = cb(*command, "-v", code=FAILED, env=env)
            error = result.error
            assert error["code"] == "denied" and error["hint"], (case, error)
            assert WRONG_SECRET not in result.out + result.err, case
            assert time.monotonic() - began < 20, f"{case}: retried for long"
    assert len(cb.labels()) == 1


def test_wrong_account_key(azurite, tmp_path, history):
    place = Place(azurite.bucket(), tmp_path)
    cb = place.prepare(Canvasback(tmp_path))
    db = history.place("one", tmp_path / "db.duckdb")
    wrong = "d3JvbmcgYW5kIHdyb25nIGFuZCB3cm9uZw=="
    result = cb("backup", db, "-v", code=FAILED, env={"AZURE_STORAGE_KEY": wrong})
    assert result.error["code"] == "denied" and wrong not in result.out + result.err
    assert place.keys() == []


def test_no_such_bucket(remote, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    cb = Canvasback(tmp_path)
    cb.env.update(remote.env())
    name = remote.bucket.name
    nowhere = remote.address.replace(f"//{name}", f"//{name}-not")
    for command, codes in ((["list"], (MISSING,)), (["backup", db], (FAILED, MISSING))):
        error = cb(*command, "--repo", nowhere, code=codes).error
        assert error["code"] == "not-found" and error["hint"], error
        assert f"{name}-not" in error["message"] + error["hint"], error


def test_nobody_listens(remote, tmp_path, history):
    """A server that is not there is said so, within a bounded time."""
    db = history.place("one", tmp_path / "db.duckdb")
    cb = Canvasback(tmp_path)
    cb.env.update(remote.env(f"http://127.0.0.1:{free_port()}"))
    began = time.monotonic()
    error = cb("backup", db, code=FAILED).error
    assert error["code"] == "retry" and "127.0.0.1" in error["message"], error
    assert time.monotonic() - began < 90


def test_addresses_that_cannot_be(tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    cb = Canvasback(tmp_path)
    for address in (
        "s3://",
        "s3c:///prefix",
        "s3c://bucket/prefix",  # s3c needs an endpoint
        "s3c://bucket/p?endpoint=http://127.0.0.1:1&secret_access_key=x",
        "s3c://bucket/p?endpoint=http://127.0.0.1:1&colour=red",
        "ftp://bucket/p",
        "s3://bucket/a//b",
        "s3://bucket/../b",
    ):
        error = cb("backup", db, "--repo", address, code=USAGE, env=Keys("a", "b").env()).error
        assert error["code"] == "usage" and error["message"], address


def test_secrets_stay_out_of_process_lists(remote, tmp_path, history, proxy):
    """Of the program, and of all that it starts."""
    remote = Place(remote.bucket, tmp_path, encrypted=True)
    fault = proxy(remote)
    cb = remote.prepare(Canvasback(tmp_path), fault.endpoint)
    db = history.place("one", tmp_path / "db.duckdb")
    fault.script(always(Stall()))
    process = cb.start("backup", db, "-v")
    try:
        end = time.monotonic() + 20
        while not fault.requests and time.monotonic() < end:
            time.sleep(0.01)
        seen = b""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    parent = stat.read().rpartition(")")[2].split()[1]
                if str(process.pid) in (pid, parent):
                    with open(f"/proc/{pid}/cmdline", "rb") as line:
                        seen += line.read()
            except OSError:
                pass
        assert b"backup" in seen
    finally:
        process.kill()
        out, err = process.communicate()
    for secret in remote.secrets():
        assert secret.encode() not in seen and secret not in out + err


# ---- plain files --------------------------------------------------------------------------------


def test_copy_to_and_from_a_store(remote, tmp_path, history):
    """One plain file, that stock DuckDB opens."""
    cb = Canvasback(tmp_path)
    cb.env.update(remote.env())
    db = history.place("three", tmp_path / "db.duckdb")
    target = remote.bucket.address("copies/mysql.db")
    result = cb("copy", db, target).json
    data = remote.bucket.get("copies/mysql.db")
    assert result["bytes"] == len(data)
    assert remote.bucket.list() == ["copies/mysql.db"], "the log is folded in"
    (tmp_path / "fetched.duckdb").write_bytes(data)
    assert content(history, tmp_path / "fetched.duckdb") == history.content["three"]

    error = cb("copy", db, target, code=FAILED).error
    assert error["code"] == "exists" and "--force" in error["hint"]
    history.place("one", db)
    cb("copy", db, target, "--force")

    cb("copy", target, tmp_path / "copied.duckdb")
    cb("restore", target, tmp_path / "restored.duckdb")
    for name in ("copied", "restored"):
        assert content(history, tmp_path / f"{name}.duckdb") == history.content["one"], name
    missing = remote.bucket.address("copies/nothing.db")
    assert cb("restore", missing, tmp_path / "x.duckdb", code=(FAILED, MISSING)).error["hint"]
    assert not (tmp_path / "x.duckdb").exists()


def test_copies_with_a_timestamp(remote, tmp_path, history):
    cb = Canvasback(tmp_path)
    cb.env.update(remote.env())
    db = history.place("one", tmp_path / "db.duckdb")
    remote.bucket.put("daily/other.duckdb", b"not ours")
    folder = remote.bucket.address("daily/")
    for _ in range(3):
        cb("copy", db, folder, "--timestamp", "--utc", "--keep", 2)
    keys = remote.bucket.list("daily/")
    assert "daily/other.duckdb" in keys and len(keys) == 3, keys
    assert all(key.startswith("daily/backup-2") for key in keys if "other" not in key)
    cb("copy", db, folder)
    assert "daily/db.duckdb" in remote.bucket.list("daily/")


def test_copy_of_a_database_being_written(remote, tmp_path):
    cb = Canvasback(tmp_path)
    cb.env.update(remote.env())
    judges = harness.Judges()
    try:
        with harness.LiveWriter("1.5.6", tmp_path / "live.db", "--profile", "mixed",
                                "--block-size", 16384) as writer:  # fmt: skip
            acks = writer.acks()
            result = cb("copy", writer.db, remote.bucket.address("live.db"),
                        "--deadline", "60s", code=(DONE, DAMAGED))  # fmt: skip
            if result.code == DAMAGED:  # see test_live.py
                assert "Conflict on tuple deletion" in result.error["message"]
                return
            (tmp_path / "got.db").write_bytes(remote.bucket.get("live.db"))
            verdict = judges.ask("1.5.6", tmp_path / "got.db", acks=acks, invariants=True)
            assert verdict["good"], verdict
    finally:
        judges.close()


# ---- between repositories -----------------------------------------------------------------------


@pytest.mark.parametrize("back", [False, True], ids=["from a folder", "to a folder"])
def test_sync(place, at, tmp_path, history, back):
    """Only what is missing is copied, and it restores there. What an encrypted repository held is
    never copied into a new one in the clear."""
    aside = tmp_path / "aside"
    aside.mkdir()
    folder = Place(FolderBucket(aside), aside)
    source, target = (place, folder) if back else (folder, place)
    secret = str(place.passphrase_file) if place.encrypted else None
    from_env = {"CANVASBACK_PASSPHRASE_FILE": secret if source.encrypted else None}
    to_env = {"CANVASBACK_PASSPHRASE_FILE": secret, "CANVASBACK_REPO": target.address}
    db = tmp_path / "db.duckdb"
    labels = []
    for state in ("one", "two"):
        history.place(state, db)
        labels.append(at("backup", db, "--repo", source.address, env=from_env).json["label"])
    command = ["repo", "sync", source.address, target.address]
    if target.encrypted:
        command += ["--to-passphrase-file", target.passphrase_file]
    first = at(*command, env=from_env).json
    assert first["copied"] == 2 and first["damaged"] == []
    again = at(*command, env=from_env).json
    assert again["copied"] == 0 and again["present"] == 2 and again["new_bytes"] == 0

    history.place("three", db)
    at("backup", db, "--repo", source.address, env=from_env)
    assert at(*command, env=from_env).json["copied"] == 1
    assert at("repo", env=to_env).json["encrypted"] == place.encrypted
    listed = at("list", "db", env=to_env).json
    assert len(listed) == 3 and [one["label"] for one in listed][:2] == labels
    assert at("verify", env=to_env).json["damaged"] == []
    for state, one in zip(("one", "two", "three"), listed):
        at("restore", f"db@{one['label']}", tmp_path / f"{state}.duckdb", env=to_env)
        assert content(history, tmp_path / f"{state}.duckdb") == history.content[state]


def test_several_repositories_in_one_pass(remote, tmp_path, history):
    """One that fails does not stop the others, and is named."""
    cb = Canvasback(tmp_path)
    cb.env.update(remote.env())
    db = history.place("two", tmp_path / "db.duckdb")
    folder = str(tmp_path / "second")
    config = tmp_path / "canvasback.ini"
    config.write_text(f"repo = {remote.address}\nrepo = {folder}\n")
    env = {"CANVASBACK_REPO": None}
    cb("backup", db, "--config", config, env=env)
    for address in (remote.address, folder):
        assert len(cb("list", "--repo", address).json) == 1
    nowhere = remote.address.replace(remote.bucket.name, remote.bucket.name + "-not")
    config.write_text(f"repo = {nowhere}\nrepo = {folder}\n")
    result = cb.run("backup", db, "--config", config, env=env)
    assert result.code == FAILED and remote.bucket.name + "-not" in result.out + result.err
    assert len(cb("list", "--repo", folder).json) == 2
