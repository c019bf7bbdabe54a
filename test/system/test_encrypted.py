"""Repositories that only a passphrase opens: keys of many kinds, wrong ones, and objects that
somebody turned, exchanged or put back."""

import os
import stat
import time

import pytest
from conftest import DAMAGED, DONE, FAILED, MISSING, USAGE, Canvasback
from servers import PASSPHRASE, FolderBucket, Place


@pytest.fixture
def vault(tmp_path, history):
    """An encrypted repository in a folder, with states one and two of `db`."""
    place = Place(FolderBucket(tmp_path), tmp_path, encrypted=True)
    cb = place.prepare(Canvasback(tmp_path))
    db = tmp_path / "db.duckdb"
    for state in ("one", "two"):
        history.place(state, db)
        cb("backup", db)
    cb.place, cb.db = place, db
    return cb


def secret_file(path, text):
    path.write_text(text)
    path.chmod(0o600)
    return path


def passphrase(path, text):
    """An environment with that passphrase and no other."""
    return {"CANVASBACK_PASSPHRASE_FILE": str(secret_file(path, text + "\n"))}


NONE = {"CANVASBACK_PASSPHRASE_FILE": None}


def restores(cb, history, env=None, label="db", state="two"):
    target = cb.db.with_name("back.duckdb")
    target.unlink(missing_ok=True)
    cb("restore", label, target, env=env)
    assert history.samples.content(target) == history.content[state]


# ---- passphrases --------------------------------------------------------------------------------


def test_ways_to_give_a_passphrase(vault, tmp_path, history):
    restores(vault, history)
    restores(vault, history, {**NONE, "CANVASBACK_PASSPHRASE": PASSPHRASE})
    restores(vault, history, {**NONE, "CANVASBACK_PASSPHRASE_COMMAND": f"echo '{PASSPHRASE}'"})
    file = str(vault.place.passphrase_file)
    vault("list", "--passphrase-file", file, env=NONE)
    config = secret_file(tmp_path / "canvasback.ini", f"passphrase-file = {file}\n")
    vault("list", "--config", config, env=NONE)
    failing = {**NONE, "CANVASBACK_PASSPHRASE_COMMAND": "exit 3"}
    assert vault("list", code=(FAILED, USAGE), env=failing).error["hint"]
    missing = {"CANVASBACK_PASSPHRASE_FILE": tmp_path / "nothing"}
    assert vault("list", code=(FAILED, USAGE), env=missing).error["message"]


def test_none_is_a_mistake_and_a_wrong_one_is_refused(vault, tmp_path):
    commands = (["list"], ["backup", vault.db], ["verify"], ["restore", "db", tmp_path / "x"],
                ["expire", "db", "--keep-last", 1], ["repair"])  # fmt: skip
    before = {key: vault.place.get(key) for key in vault.place.keys()}
    wrong = passphrase(tmp_path / "wrong", "not " + PASSPHRASE)
    for command in commands:
        error = vault(*command, code=USAGE, env=NONE).error
        assert "passphrase" in error["message"] + error["hint"], error
        result = vault(*command, code=FAILED, env=wrong)
        assert result.error["code"] == "denied" and result.error["hint"]
        assert "passphrase" in result.error["message"], result.error
        assert "damage" not in result.error["message"] and PASSPHRASE not in result.err
    assert {key: vault.place.get(key) for key in vault.place.keys()} == before


def test_it_is_no_plain_repository(vault, tmp_path):
    """And a plain one is none of these: a passphrase that is set changes nothing there."""
    assert vault("repo").json["encrypted"] is True
    assert "AES-256" in vault("repo").json["cipher"]
    (tmp_path / "plain").mkdir()
    plain = Canvasback(tmp_path / "plain")
    plain("init")
    given = passphrase(tmp_path / "p", PASSPHRASE)
    assert plain("repo", env=given).json["encrypted"] is False


def test_a_first_backup_with_a_passphrase_is_encrypted(tmp_path, history):
    """Any repository made with a passphrase is."""
    cb = Canvasback(tmp_path)
    cb.env.update(passphrase(tmp_path / "p", PASSPHRASE))
    db = history.place("one", tmp_path / "db.duckdb")
    cb("backup", db)
    assert cb("repo").json["encrypted"] is True
    assert cb("list", code=USAGE, env=NONE).error


@pytest.mark.parametrize("text", ["ä ö ü", "x" * 500, "with 'quotes\" and \\", "tail  "])
def test_odd_passphrases(tmp_path, history, text):
    cb = Canvasback(tmp_path)
    cb.env.update(passphrase(tmp_path / "p", text))
    cb("init", "--encrypt")
    cb.db = history.place("two", tmp_path / "db.duckdb")
    cb("backup", cb.db)
    restores(cb, history)
    variable = {"CANVASBACK_PASSPHRASE_FILE": None, "CANVASBACK_PASSPHRASE": text}
    restores(cb, history, variable)


def test_an_empty_passphrase_is_refused(tmp_path):
    cb = Canvasback(tmp_path)
    cb.env.update(passphrase(tmp_path / "p", ""))
    assert cb("init", "--encrypt", code=(USAGE, FAILED)).error["message"]
    assert not list(tmp_path.glob("repo/*"))


# ---- keys ---------------------------------------------------------------------------------------


def keys(cb, env=None):
    found = cb("repo", "key", "list", env=env).json
    return found["keys"] if isinstance(found, dict) else found


def test_several_keys(vault, tmp_path, history):
    """Each opens it; one taken away does so no more; never the last."""
    first = keys(vault)
    assert len(first) == 1 and first[0]["current"] is True
    new = secret_file(tmp_path / "second", "another one entirely\n")
    vault("repo", "key", "add", "--label", "spare", "--new-passphrase-file", new)
    assert sorted(one["label"] for one in keys(vault)) == sorted([first[0]["label"], "spare"])
    second = {"CANVASBACK_PASSPHRASE_FILE": str(new)}
    restores(vault, history, second)
    vault("backup", vault.db, env=second)
    restores(vault, history)

    vault("repo", "key", "remove", first[0]["id"], env=second)
    assert vault("list", code=FAILED).error["code"] == "denied"
    restores(vault, history, second)
    error = vault("repo", "key", "remove", keys(vault, second)[0]["id"], env=second,
                  code=(FAILED, USAGE)).error  # fmt: skip
    assert error["hint"]
    assert len(keys(vault, second)) == 1


def test_change_of_the_passphrase(vault, tmp_path, history):
    """Rewrites one small object, not the data."""
    before = {key: vault.place.get(key) for key in vault.place.keys()}
    new = secret_file(tmp_path / "new", "quite another\n")
    vault("repo", "key", "change", "--new-passphrase-file", new)
    after = {key: vault.place.get(key) for key in vault.place.keys()}
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert sum(len(after.get(key, b"")) for key in changed) < 4096, changed
    assert vault("list", code=FAILED).error["code"] == "denied"
    restores(vault, history, {"CANVASBACK_PASSPHRASE_FILE": str(new)})


def test_keys_of_a_plain_repository(cb, tmp_path, history):
    cb("backup", history.place("one", tmp_path / "db.duckdb"))
    assert cb("repo", "key", "list", code=(USAGE, FAILED)).error["hint"]


# ---- a write-only host --------------------------------------------------------------------------


def test_a_write_only_key(vault, tmp_path, history):
    """Adds backups, without storing again what is there, and reads none."""
    file = tmp_path / "host.key"
    vault("repo", "key", "add", "--write-only", file, "--label", "db1")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert vault("repo", "key", "add", "--write-only", file, code=(FAILED, USAGE)).error
    (tmp_path / "host").mkdir()
    host = Canvasback(tmp_path / "host")
    host.env.update(CANVASBACK_REPO=vault.env["CANVASBACK_REPO"], CANVASBACK_KEY_FILE=str(file))

    history.place("two", vault.db)
    same = host("backup", vault.db, "--name", "host").json
    history.place("three", vault.db)
    more = host("backup", vault.db, "--name", "host").json
    assert more["new_bytes"] < 0.9 * more["source_bytes"], "nothing was found again"
    assert same["label"] != more["label"]
    for command in (["restore", "host", tmp_path / "x.duckdb"], ["verify"],
                    ["restore", "db", tmp_path / "x.duckdb"]):  # fmt: skip
        error = host(*command, code=FAILED).error
        assert error["code"] == "denied" and error["hint"], (command, error)
    assert not (tmp_path / "x.duckdb").exists()

    # The owner reads it all.
    assert vault("verify").json["damaged"] == []
    restores(vault, history, label="host", state="three")
    restores(vault, history)
    listed = keys(vault)
    mine = next(one for one in listed if one["label"] == "db1")
    assert mine["write_only"] is True
    vault("repo", "key", "remove", mine["id"])
    assert host("backup", vault.db, "--name", "host", code=FAILED).error["code"] == "denied"


# ---- turned, exchanged, put back ----------------------------------------------------------------


def outcomes(cb, history, tmp_path, labels):
    """What a reader sees: each backup comes back equal, or with a failure that is told."""
    codes = set()
    for label, state in zip(labels, ("one", "two")):
        target = tmp_path / "look.duckdb"
        target.unlink(missing_ok=True)
        result = cb("restore", f"db@{label}", target, code=(DONE, FAILED, DAMAGED, MISSING))
        codes.add(result.code)
        if result.code == DONE:
            assert history.samples.content(target) == history.content[state]
        else:
            assert result.error["message"] and result.error["hint"], result.out
            assert not target.exists()
    return codes


def test_a_flipped_bit_in_any_object(vault, tmp_path, history, rng):
    labels = vault.labels("db")
    seen = set()
    for key in vault.place.keys():
        data = vault.place.get(key)
        if not data:
            continue
        for _ in range(2):
            turned = bytearray(data)
            turned[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            vault.place.put(key, bytes(turned))
            codes = outcomes(vault, history, tmp_path, labels)
            verified = vault("verify", code=(DONE, FAILED, DAMAGED, MISSING))
            assert codes == {DONE} or verified.code != DONE, key
            if codes != {DONE} and verified.code == FAILED:
                # A damaged object is no wrong passphrase, but for the key slot itself.
                assert verified.error["code"] != "denied" or "key" in key, (key, verified.error)
            seen |= codes
        vault.place.put(key, data)
    assert seen > {DONE}, "no flipped bit was noticed"
    assert outcomes(vault, history, tmp_path, labels) == {DONE}


def test_exchanged_objects(vault, tmp_path, history, rng):
    """An object under another's key is told from a damaged one."""
    labels = vault.labels("db")
    keys_of = {}
    for key in vault.place.keys():
        keys_of.setdefault(key.split("/")[0], []).append(key)
    noticed = 0
    for kind, found in keys_of.items():
        if len(found) < 2:
            continue
        one, other = rng.sample(found, 2)
        data, second = vault.place.get(one), vault.place.get(other)
        if data == second:
            continue
        vault.place.put(one, second)
        vault.place.put(other, data)
        codes = outcomes(vault, history, tmp_path, labels)
        noticed += codes != {DONE}
        vault.place.put(one, data)
        vault.place.put(other, second)
    assert noticed, keys_of
    assert outcomes(vault, history, tmp_path, labels) == {DONE}


def test_objects_of_another_repository(vault, tmp_path, history):
    """The same passphrase, another repository: its objects are not taken for ours."""
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other = Place(FolderBucket(other_folder), other_folder, encrypted=True)
    cb = other.prepare(Canvasback(other_folder))
    for state in ("one", "two"):
        history.place(state, vault.db)
        cb("backup", vault.db)
    labels = vault.labels("db")
    ours = [key for key in vault.place.keys() if not key.startswith("session")]
    theirs = [key for key in other.keys() if not key.startswith("session")]
    for key in ours:
        kind = key.split("/")[0]
        match = next((one for one in theirs if one == key), None) or next(
            (one for one in theirs if one.split("/")[0] == kind), None
        )
        data = vault.place.get(key)
        if match is None or other.get(match) == data:
            continue
        vault.place.put(key, other.get(match))
        outcomes(vault, history, tmp_path, labels)
        vault.place.put(key, data)
    assert outcomes(vault, history, tmp_path, labels) == {DONE}


def test_replayed_objects(vault, tmp_path, history):
    """An older state of an object put back: what is restored under a label is that label's."""
    labels = vault.labels("db")
    before = {key: vault.place.get(key) for key in vault.place.keys()}
    history.place("three", vault.db)
    newest = vault("backup", vault.db).json["label"]
    for key in vault.place.keys():
        now = vault.place.get(key)
        if key in before and before[key] != now:
            vault.place.put(key, before[key])
            outcomes(vault, history, tmp_path, labels)
            target = tmp_path / "look.duckdb"
            target.unlink(missing_ok=True)
            result = vault("restore", f"db@{newest}", target,
                           code=(DONE, FAILED, DAMAGED, MISSING))  # fmt: skip
            if result.code == DONE:
                assert history.samples.content(target) == history.content["three"]
            vault.place.put(key, now)
    # An expired backup's manifest, put back: its chunks are gone, and that is said.
    manifests = [key for key in before if key.startswith("manifest")]
    vault("expire", "db", "--keep-last", 1)
    for key in manifests:
        vault.place.put(key, before[key])
    verified = vault("verify", code=(DONE, DAMAGED)).json
    harmed = {one["backup"] for one in verified["damaged"]}
    assert f"db@{newest}" not in harmed
    restores(vault, history, label=f"db@{newest}", state="three")


def test_cost_of_a_passphrase(vault):
    """scrypt is slow on purpose, once a run: bounded, so that a command remains one."""
    began = time.monotonic()
    vault("list")
    assert time.monotonic() - began < 10


def test_nothing_readable_lies_in_the_home(vault):
    """What is cached of an encrypted repository tells no names of files or tables."""
    vault("list")
    for folder, _, names in os.walk(vault.home):
        for name in names:
            data = open(os.path.join(folder, name), "rb").read().lower()
            for word in (b"db.duckdb", b"ledger", PASSPHRASE.encode()):
                assert word not in data, os.path.join(folder, name)
