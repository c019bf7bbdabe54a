"""What networks and stores do to a program between them: a fault proxy stands there (proxy.py).

After each fault the backups of before are whole, the same command run again does its work, and what
was said is the contract's: an exit code, one message, a hint, no secret.
"""

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import threading
import time

import pytest
from conftest import BUSY, DAMAGED, DONE, FAILED, LONG, MISSING, Canvasback
from proxy import (
    Delay,
    DropAnswer,
    ExpiredToken,
    FlipAnswer,
    FlipRequest,
    Forget,
    Kill,
    Reset,
    Slow,
    SlowDown,
    Stall,
    Status,
    Truncate,
    WrongChecksum,
    always,
    every,
    first,
    gets,
    nth,
    puts,
    since,
)
from servers import FolderBucket, Place

KILLED = -9


class Scene:
    """A repository in a store with two backups of `db`, the file in its third state, and a proxy
    before the store. `fresh()` lays everything anew, below another prefix."""

    def __init__(self, place, folder, history, fault):
        self.place, self.history, self.fault = place, history, fault
        self.bucket, self.folder = place.bucket, folder
        self.work = folder / "work"
        self.work.mkdir()
        self.db = self.work / "db.duckdb"
        self.cb = place.prepare(Canvasback(self.work))
        for state in ("one", "two"):
            history.place(state, self.db)
            self.cb("backup", self.db)
        history.place("three", self.db)
        self.labels = self.cb.labels("db")
        self.objects = {key: place.get(key) for key in place.keys()}
        shutil.copytree(self.work, folder / "start", symlinks=True)
        self.turn = 0
        self.through()

    def through(self):
        """All that follows goes through the proxy."""
        self.cb.env.update(self.place.env(self.fault.endpoint if self.fault else None))

    def fresh(self):
        self.turn += 1
        self.place.prefix = f"turn-{self.turn}"
        for key, data in self.objects.items():
            self.place.put(key, data)
        shutil.rmtree(self.work)
        shutil.copytree(self.folder / "start", self.work, symlinks=True)
        self.fault.script()
        self.through()

    def command(self, verb):
        return {
            "backup": ["backup", self.db],
            "restore": ["restore", "db", self.work / "new.duckdb"],
            "delta": ["restore", f"db@{self.labels[0]}", self.db, "--delta"],
            "verify": ["verify"],
            "list": ["list"],
            "expire": ["expire", "db", "--keep-last", 1],
        }[verb]

    def run(self, verb, *rules, code=DONE, when=None, timeout=120, options=()):
        self.fault.script(*rules, when=when)
        result = self.cb(*self.command(verb), *options, code=code, timeout=timeout)
        if result.code not in (DONE, DAMAGED):
            error = result.error
            assert error["code"] and error["message"] and "\n" not in error["message"], result.out
        return result

    def requests(self, verb):
        """How many a run makes that nothing happens to."""
        self.run(verb)
        return self.fault.count()

    def unharmed(self, at_least=None):
        """Every backup of before is whole; returns the labels."""
        self.fault.script()
        labels = self.cb.labels("db")
        assert set(self.labels if at_least is None else at_least) <= set(labels)
        assert self.cb("verify").json["damaged"] == [], self.place.keys()
        return labels

    def content(self, path):
        return self.history.samples.content(path)

    def restores(self, label, state):
        target = self.work / "look.duckdb"
        self.cb("restore", f"db@{label}", target, "--force")
        assert self.content(target) == self.history.content[state], label


@pytest.fixture
def scene(s3, tmp_path, history, proxy):
    return Scene(s3, tmp_path, history, proxy(s3))


@pytest.fixture
def scenes(remote, tmp_path, history, proxy):
    return Scene(remote, tmp_path, history, proxy(remote))


def points(rng, total, most):
    """Numbers of requests to try: all with --long, else a sample with the first and the last."""
    if LONG or total <= most:
        return range(1, total + 1)
    return sorted({1, 2, total - 1, total, *rng.sample(range(3, total - 1), most - 4)})


def all_done(scene, verb):
    """What the command was for is done."""
    if verb == "backup":
        assert len(scene.unharmed()) == 3
        scene.restores(scene.cb.labels("db")[-1], "three")
    elif verb == "restore":
        assert scene.content(scene.work / "new.duckdb") == scene.history.content["two"]
    elif verb == "expire":
        assert scene.unharmed(scene.labels[1:]) == scene.labels[1:]
    else:
        scene.unharmed()


# ---- what passes --------------------------------------------------------------------------------

PASSING = {
    "reset": Reset(),
    "reset within the answer": Reset(after=40),
    "truncated": Truncate(),
    "answer lost": DropAnswer(),
    "500": Status(500, "InternalError"),
    "503": SlowDown(),
    "503 with retry-after": SlowDown(retry_after=1),
    "429": Status(429, retry_after=1),
    "408": Status(400, "RequestTimeout"),
    "late": Delay(0.3),
}
VERBS = ["backup", "restore", "verify", "expire"]


# What only looks or removes goes the same ways: a sample of faults is enough for it.
PASSED = [(how, verb) for how in PASSING for verb in VERBS
          if LONG or verb in ("backup", "restore") or how in ("reset", "503", "answer lost")]  # fmt: skip


@pytest.mark.parametrize("how, verb", PASSED)
def test_every_third_request_fails_once(scene, how, verb):
    """Retries carry every command through, without a word but in debug."""
    result = scene.run(verb, every(3, PASSING[how]))
    assert scene.fault.faults(), "the proxy did nothing"
    assert "Retry-After" not in result.err
    all_done(scene, verb)


@pytest.mark.parametrize("how", ["reset", "503", "answer lost", "truncated"])
def test_every_store_retries(scenes, how):
    scenes.run("backup", every(3, PASSING[how]))
    assert scenes.fault.faults()
    all_done(scenes, "backup")
    scenes.fresh()
    scenes.run("restore", every(3, PASSING[how]))
    all_done(scenes, "restore")


def test_a_lost_answer_to_each_write(scenes):
    """The object is there, we do not know it, and the next attempt is told that it exists: it is
    our own doing, not another's."""
    scenes.fresh()
    total = sum(1 for _ in filter(puts, scenes_writes(scenes)))
    for number in range(1, total + 1):
        scenes.fresh()
        scenes.run("backup", nth(number, DropAnswer()), when=puts)
        assert scenes.fault.faults() or number > 3
        assert len(scenes.unharmed()) == 3, f"write {number} of {total}"


def scenes_writes(scene):
    scene.run("backup")
    return list(scene.fault.requests)


def test_retry_after_is_honoured(scene):
    began = time.monotonic()
    scene.run("list", first(1, SlowDown(retry_after=3)))
    assert time.monotonic() - began > 2.5


def test_slow_answers(scene):
    scene.run("restore", every(2, Slow(400_000)), when=gets)
    assert scene.fault.faults()
    all_done(scene, "restore")


def test_a_stalled_connection_is_given_up(scene):
    """After a minute without a byte, and the request is made again."""
    began = time.monotonic()
    scene.run("restore", nth(3, Stall()), timeout=200)
    assert 5 < time.monotonic() - began < 150
    all_done(scene, "restore")


# ---- what does not pass -------------------------------------------------------------------------

LASTING = {
    "500": (Status(500, "InternalError"), "retry"),
    "503": (SlowDown(), "retry"),
    "reset": (Reset(), "retry"),
    "403": (Status(403, "AccessDenied"), "denied"),
    "expired": (ExpiredToken(), "denied"),
}


# Most of them wait for as long as the program tries again.
LASTED = [(since_request, how) for since_request in (1, 4) for how in LASTING
          if LONG or (how in ("503", "403")) == (since_request == 1) or how == "reset"]  # fmt: skip


@pytest.mark.parametrize("since_request, how", LASTED)
def test_a_store_that_stays_away(scene, how, since_request):
    """Within a bounded time the command ends and says why; the next one goes on."""
    fault, expected = LASTING[how]
    began = time.monotonic()
    error = scene.run("backup", since(since_request, fault), code=FAILED, timeout=200).error
    assert error["code"] == expected, error
    assert "127.0.0.1" in error["message"] + error["hint"] or expected == "denied", error
    assert error["hint"]
    assert time.monotonic() - began < 120
    assert set(scene.unharmed()) >= set(scene.labels)
    scene.run("backup", options=["--lock-wait", 0])
    assert len(scene.unharmed()) >= 3
    scene.restores(scene.labels[0], "one")


def test_interrupted_while_it_waits(scene):
    """SIGINT ends the waiting between two attempts at once."""
    scene.fault.script(always(SlowDown(retry_after=60)))
    process = scene.cb.start("list")
    end = time.monotonic() + 10
    while not scene.fault.requests and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    process.terminate()
    began = time.monotonic()
    process.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert process.returncode != DONE


# ---- bytes that are wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["restore", "verify", "backup"])
@pytest.mark.parametrize("fault", [FlipAnswer(), FlipAnswer(0.9), WrongChecksum()], ids=str)
def test_wrong_answers(scene, rng, fault, verb):
    """Nothing wrong is ever restored, and nothing that is whole is called damaged afterwards."""
    total = scene.requests(verb)
    for number in points(rng, total, 6):
        scene.fresh()
        result = scene.run(verb, nth(number, fault), code=(DONE, FAILED, DAMAGED, MISSING))
        target = scene.work / "new.duckdb"
        if verb == "restore" and result.code == DONE:
            assert scene.content(target) == scene.history.content["two"], f"{number} of {total}"
        elif verb == "restore":
            assert not target.exists()
        labels = scene.unharmed()
        if verb == "backup" and result.code == DONE:
            assert result.json["label"] in labels
            scene.restores(result.json["label"], "three")


def test_bytes_turned_on_the_way_to_the_store(scenes, rng):
    """The store is told what it should get, and refuses what is not that."""
    writes = sum(1 for _ in filter(puts, scenes_writes(scenes)))
    for number in points(rng, writes, 6):
        scenes.fresh()
        result = scenes.run("backup", nth(number, FlipRequest()), when=puts, code=(DONE, FAILED))
        labels = scenes.unharmed()
        if result.code == DONE:
            assert result.json["label"] in labels
            scenes.restores(result.json["label"], "three")
        scenes.run("backup", options=["--lock-wait", 0])
        scenes.restores(scenes.unharmed()[-1], "three")


def test_a_store_that_forgets(scene, rng):
    """It says that the object is there, and it is not. What cannot be restored is not called a
    backup without a word: either the command fails, or verify finds it; older backups stay."""
    writes = sum(1 for _ in filter(puts, scenes_writes(scene)))
    for number in points(rng, writes, 8):
        scene.fresh()

        def lose(path):
            scene.bucket.remove(path.split("/", 2)[2])

        result = scene.run("backup", nth(number, Forget(lose)), when=puts, code=(DONE, FAILED))
        scene.fault.script()
        label = result.json["label"] if result.code == DONE else None
        verified = scene.cb("verify", code=(DONE, DAMAGED)).json
        harmed = {one["backup"] for one in verified["damaged"]}
        assert not harmed & {f"db@{old}" for old in scene.labels}, harmed
        for old, state in zip(scene.labels, ("one", "two")):
            scene.restores(old, state)
        if label and f"db@{label}" not in harmed:
            if label in scene.cb.labels("db"):
                scene.restores(label, "three")
        # What is missing is stored again.
        scene.cb("repair", code=(DONE, DAMAGED))
        again = scene.cb("backup", scene.db, "--lock-wait", 0).json["label"]
        scene.restores(again, "three")


# ---- a store that loses, cuts or turns what it keeps --------------------------------------------


@pytest.mark.parametrize("how", ["lost", "cut", "turned"])
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_objects_at_rest(minio, tmp_path, history, proxy, rng, encrypted, how):
    place = Place(minio.bucket(), tmp_path, encrypted)
    scene = Scene(place, tmp_path, history, proxy(place))
    chosen = list(scene.objects)
    if not LONG and len(chosen) > 6:
        chosen = sorted(rng.sample(chosen, 6))
    for key in chosen:
        scene.fresh()
        harm(place, key, how, rng)
        if scene.objects[key] == place_get(place, key):
            continue
        said = scene.cb("verify", code=(DONE, DAMAGED, FAILED, MISSING))
        for label, state in zip(scene.labels, ("one", "two")):
            target = scene.work / f"{state}.duckdb"
            result = scene.cb("restore", f"db@{label}", target,
                              code=(DONE, DAMAGED, FAILED, MISSING))  # fmt: skip
            if result.code == DONE:
                assert scene.content(target) == scene.history.content[state], f"{how} {key}"
            else:
                assert result.error["hint"] and not target.exists(), f"{how} {key}"
                # Without its manifest there is no such backup; any other harm is found.
                no_backup = result.code == MISSING and how == "lost" and "manifest" in key
                assert said.code != DONE or no_backup, (
                    f"{how} {key}: verify is content, restore is not: {result.error}")
        # The next backup is whole, whatever is damaged, once repair has had its turn; but without
        # the object that makes it a repository, or its only key, it is none.
        repaired = scene.cb("repair", code=(DONE, DAMAGED, FAILED, MISSING))
        if "error" not in repaired.json:
            label = scene.cb("backup", scene.db, "--adopt-name").json["label"]
            scene.restores(label, "three")


def harm(place, key, how, rng):
    data = place.get(key)
    if how == "lost":
        place.remove(key)
    elif how == "cut":
        place.put(key, data[: rng.randrange(len(data))] if data else b"")
    elif data:
        turned = bytearray(data)
        turned[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        place.put(key, bytes(turned))


def place_get(place, key):
    return place.get(key) if key in place.keys() else None


@pytest.mark.parametrize("how", ["lost", "cut", "turned"])
def test_packs_at_rest_in_every_store(scenes, rng, how):
    pack = max(scenes.objects, key=lambda key: len(scenes.objects[key]))
    harm(scenes.place, pack, how, rng)
    said = scenes.cb("verify", code=DAMAGED).json
    assert said["damaged"] and all(one["backup"] and one["reason"] for one in said["damaged"])
    error = scenes.cb("restore", f"db@{scenes.labels[0]}", scenes.work / "x.duckdb",
                      code=(DAMAGED, DONE))  # fmt: skip
    assert error.code == DAMAGED or scenes.content(scenes.work / "x.duckdb")
    scenes.cb("repair", code=(DONE, DAMAGED))
    label = scenes.cb("backup", scenes.db).json["label"]
    scenes.restores(label, "three")


# ---- kill -9 at the n-th request ----------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize("verb", ["backup", "restore", "delta", "expire"])
def test_killed_at_a_request(minio, tmp_path, history, proxy, rng, verb, encrypted):
    place = Place(minio.bucket(), tmp_path, encrypted)
    scene = Scene(place, tmp_path, history, proxy(place))
    scene.fresh()
    total = scene.requests(verb)
    assert total > 2
    killed = 0
    for turn, number in enumerate(points(rng, total, 8)):
        after = bool(turn % 2)
        note = f"{verb}: killed {'after' if after else 'before'} request {number} of {total}"
        scene.fresh()
        scene.fault.script(nth(number, Kill(after)))
        process = scene.cb.start(*scene.command(verb))
        scene.fault.victim = process
        out, err = process.communicate(timeout=60)
        assert process.returncode in (DONE, KILLED), f"{note}\n{out}\n{err}"
        killed += process.returncode == KILLED
        survives(scene, verb, note)
    assert killed > 2


def survives(scene, verb, note):
    """The next run is not in the way of the killed one, and all is whole."""
    keep = scene.labels[1:] if verb == "expire" else scene.labels
    assert set(keep) <= set(scene.unharmed(keep)), note
    if verb == "restore":
        target = scene.work / "new.duckdb"
        result = scene.cb(*scene.command(verb), code=(DONE, FAILED))
        assert result.code == DONE or result.error["code"] == "exists", note
        assert scene.content(target) == scene.history.content["two"], note
        return
    if verb == "delta":
        scene.cb(*scene.command(verb))
        assert scene.content(scene.db) == scene.history.content["one"], note
        return
    scene.cb(*scene.command(verb), "--lock-wait", 5)
    labels = scene.unharmed(keep)
    if verb == "backup":
        scene.restores(labels[-1], "three")
    else:
        assert labels == keep, note
    scene.restores(scene.labels[1], "two")


# ---- credentials that end midway ----------------------------------------------------------------


class CredentialServer(http.server.ThreadingHTTPServer):
    """Hands out temporary credentials as a container's host does; each time new ones."""

    def __init__(self, minio):
        self.minio, self.given = minio, 0
        super().__init__(("127.0.0.1", 0), self.Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            keys = self.server.minio.assume_role()
            self.server.given += 1
            later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3000))
            body = json.dumps({
                "AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret,
                "Token": keys.token, "Expiration": later,
            }).encode()  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass


@pytest.fixture
def container(minio):
    server = CredentialServer(minio)
    yield server
    server.shutdown()


@pytest.mark.parametrize("verb", VERBS)
def test_expired_credentials_are_renewed(scene, container, verb):
    """Refused as expired in the middle: they are asked for anew, and the request is made again."""
    scene.cb.env.update(
        AWS_ACCESS_KEY_ID=None,
        AWS_SECRET_ACCESS_KEY=None,
        AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://127.0.0.1:{container.server_port}/creds",
    )
    scene.run(verb, nth(3, ExpiredToken()))
    assert scene.fault.faults() and container.given >= 2
    scene.unharmed(scene.labels[1:])
    assert "container" in json.dumps(scene.cb("repo", "--check").json)


def test_expired_credentials_that_stay_so(scene):
    """Those of the environment cannot be renewed: said at once."""
    began = time.monotonic()
    error = scene.run("backup", since(3, ExpiredToken()), code=FAILED).error
    assert error["code"] == "denied" and "expired" in (error["message"] + error["hint"]).lower()
    assert time.monotonic() - began < 15


# ---- the clock ----------------------------------------------------------------------------------


def test_a_clock_that_is_off(scene, at_offset):
    """Signatures carry the time: the store refuses them, and the difference is told."""
    result = scene.cb("list", code=(DONE, FAILED), env=at_offset(-7200))
    if result.code == FAILED:
        text = result.error["message"] + result.error["hint"]
        assert "clock" in text and ("2 h" in text or "7200" in text or "120 min" in text), text


# ---- disks --------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(path, size):
    """A file system that is soon full; without the right to mount one, None."""
    path.mkdir(exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path],
                             capture_output=True, check=False).returncode == 0  # fmt: skip
    try:
        yield path if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", path], check=True)


def full_disk_env(faults, mounted, path):
    return {} if mounted else {**faults.env(1, "ENOSPC", sticky=1, path=str(path))}


def test_restore_to_a_full_disk(scene, faults):
    """It says so, leaves nothing half, and completes where there is room."""
    with small_disk(scene.folder / "small", "200k") as small:
        folder = scene.folder / "small"
        result = scene.cb("restore", "db", folder / "new.duckdb", code=FAILED,
                          env=full_disk_env(faults, small, folder))  # fmt: skip
        assert result.error["code"] == "no-space" and result.error["hint"]
        assert not (folder / "new.duckdb").exists()
    scene.restores(scene.labels[1], "two")
    scene.unharmed()


def test_backup_with_a_full_home(scene, faults):
    """What is kept beside the repository is a convenience: without it a backup works."""
    shutil.rmtree(scene.cb.home)
    with small_disk(scene.cb.home, "16k") as small:
        if small:
            (small / "filler").write_bytes(b"")
            with contextlib.suppress(OSError), open(small / "filler", "wb") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        env = full_disk_env(faults, small, scene.cb.home)
        scene.cb("backup", scene.db, env=env)
        scene.cb("restore", "db", scene.work / "new.duckdb", env=env)
    assert scene.content(scene.work / "new.duckdb") == scene.history.content["three"]
    scene.cb.home.mkdir(exist_ok=True)
    assert len(scene.unharmed()) == 3


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_repository_on_a_full_disk(tmp_path, history, faults, encrypted):
    """The backups that are there stay, reading goes on, and room is made by expire."""
    with small_disk(tmp_path / "small", "6m") as small:
        if not small:
            pytest.skip("no right to mount; test_disk_errors.py fills the disk in another way")
        place = Place(FolderBucket(small), tmp_path, encrypted)
        cb = place.prepare(Canvasback(tmp_path))
        db = tmp_path / "db.duckdb"
        history.place("one", db)
        labels = [cb("backup", db).json["label"]]
        for _ in range(40):
            result = cb("backup", db, "--full", code=(DONE, FAILED))
            if result.code == FAILED:
                break
            labels.append(result.json["label"])
        assert result.code == FAILED, "the disk did not fill"
        assert result.error["code"] == "no-space" and result.error["hint"]
        assert cb.labels() == labels and cb("verify").json["damaged"] == []
        cb("restore", f"db@{labels[0]}", tmp_path / "back.duckdb")
        assert history.samples.content(tmp_path / "back.duckdb") == history.content["one"]
        cb("expire", "db", "--keep-last", 1)
        cb("backup", db, "--full")
        assert cb("verify").json["damaged"] == []


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_read_only_repository(tmp_path, history, encrypted):
    """On a disk that is mounted read-only: all that reads works, what writes says why not."""
    with small_disk(tmp_path / "small", "30m") as small:
        if not small:
            pytest.skip("no right to mount")
        place = Place(FolderBucket(small), tmp_path, encrypted)
        cb = place.prepare(Canvasback(tmp_path))
        db = history.place("two", tmp_path / "db.duckdb")
        label = cb("backup", db).json["label"]
        subprocess.run(["mount", "-o", "remount,ro", small], check=True)
        assert cb.labels() == [label]
        assert cb("show", "db").json["label"] == label
        assert cb("verify").json["damaged"] == []
        cb("restore", "db", tmp_path / "back.duckdb")
        assert history.samples.content(tmp_path / "back.duckdb") == history.content["two"]
        error = cb("backup", db, code=FAILED).error
        assert error["code"] in ("denied", "io") and error["hint"], error
        assert "read-only" in (error["message"] + error["hint"]).lower(), error
        cb("expire", "db", "--keep-last", 1, code=(DONE, FAILED))
        assert cb.labels() == [label]


# ---- two at once --------------------------------------------------------------------------------


def test_waiting_for_another_is_told(scene):
    """The same name, at work on another machine: said for whom, and ended by --lock-wait."""
    scene.fault.script(nth(1, Stall(8)), when=lambda one: puts(one) and len(one.body) > 10_000)
    process = scene.cb.start("backup", scene.db, "--full")
    try:
        end = time.monotonic() + 20
        while not scene.fault.faults() and time.monotonic() < end:
            time.sleep(0.02)
        assert scene.fault.faults()
        other = Canvasback(scene.work)
        other.env.update(scene.place.env())
        result = other("backup", scene.db, "--lock-wait", 1, code=BUSY)
        assert result.error["code"] == "busy"
        assert str(process.pid) in result.error["message"]
        assert os.uname().nodename in result.error["message"]
        skipped = other("backup", scene.db, "--skip-if-busy")
        assert "skip" in skipped.err.lower()
    finally:
        process.kill()
        process.communicate()
