"""The contract of scripts: exit codes, JSON fields, where output goes, and words that are wrong."""

import datetime
import json
import re
import subprocess
import time

import pytest
from conftest import DONE, FAILED, MISSING, USAGE

COMMANDS = ["backup", "restore", "list", "show", "verify", "check", "expire", "copy", "init",
            "repo", "repair", "metrics", "report", "schedule", "help", "version", "completion"]
LAKE_VERBS = ["status", "repoint", "orphans", "adopt", "migrate", "guard", "rollback", "dump", "undump"]


def is_time(text):
    datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return text.endswith("Z")


@pytest.fixture
def db(tmp_path, history):
    return history.place("three", tmp_path / "db.duckdb")


# ---- JSON ---------------------------------------------------------------------------------------


def test_json_of_every_command(cb, db, tmp_path):
    result = cb("backup", db, "--tag", "release=41", "--tag", "who=me").json
    assert set(result) >= set(
        "name label source kind started point finished seconds source_bytes read_bytes new_bytes "
        "stored_bytes chunks new_chunks passes confirmed commits_in_log".split()
    )
    assert (result["name"], result["kind"]) == ("db", "duckdb")
    assert result["source"].endswith(str(db))
    assert all(is_time(result[field]) for field in ("started", "point", "finished"))
    assert result["started"] <= result["point"] <= result["finished"]
    assert re.fullmatch(r"\d{8}-\d{6}", result["label"])
    assert result["stored_bytes"] < result["new_bytes"] <= result["source_bytes"]
    assert result["new_chunks"] <= result["chunks"] and result["passes"] >= 1
    label = result["label"]

    second = cb("backup", db).json
    assert second["new_bytes"] == 0 or second["new_bytes"] < result["new_bytes"] / 10

    entries = cb("list").json
    assert isinstance(entries, list) and len(entries) == 2
    for entry in entries:
        assert set(entry) >= set(
            "name label kind started point finished source_bytes stored_bytes verified tags".split()
        )
        assert entry["verified"] is None
    assert entries[0]["label"] == label
    assert entries[0]["tags"] == {"release": "41", "who": "me"}
    for alias in ("ls", "info", "snapshots"):
        assert cb(alias, "db").json == entries

    shown = cb("show", f"db@{label}").json
    assert set(shown) >= set(entries[0]) | {"items"} and shown["items"]

    verified = cb("verify").json
    assert set(verified) >= {"backups", "chunks", "bytes", "damaged", "seconds"}
    assert (verified["backups"], verified["damaged"]) == (2, [])
    assert all(is_time(entry["verified"]) for entry in cb("list").json)

    checked = cb("check", db).json
    assert set(checked) >= set(
        "kind version blocks used_blocks free_blocks bad_blocks commits_in_log open_by".split()
    )
    assert checked["open_by"] is None and checked["bad_blocks"] == 0
    assert checked["used_blocks"] + checked["free_blocks"] == checked["blocks"]
    assert checked["commits_in_log"] == 6

    plan = cb("restore", "db").json
    assert plan["target"].endswith(str(db))
    restored = cb("restore", "db", tmp_path / "back.duckdb").json
    assert set(restored) >= set("name label target files bytes_written bytes_reused seconds".split())
    assert restored["target"].endswith("back.duckdb") and restored["bytes_written"] > 0
    delta = cb("restore", "db", tmp_path / "back.duckdb", "--delta").json
    assert delta["bytes_written"] < restored["bytes_written"] / 4
    assert delta["bytes_reused"] > restored["bytes_written"] / 2

    copied = cb("copy", db, tmp_path / "copy.duckdb").json
    assert set(copied) >= set("target bytes sha256 seconds method".split())
    content = (tmp_path / "copy.duckdb").read_bytes()
    import hashlib

    assert copied["sha256"] == hashlib.sha256(content).hexdigest()
    assert copied["bytes"] == len(content) and copied["method"] == "hot"

    expired = cb("expire", "--keep-last", 1).json
    assert set(expired) >= {"removed", "kept", "freed_bytes"}
    assert len(expired["removed"]) == 1

    assert isinstance(cb("repo").json, dict)
    assert isinstance(cb("repair").json, dict)
    assert isinstance(cb("version").json, dict)
    assert isinstance(cb("init", "--repo", tmp_path / "other").json, dict)


def test_init(cb, tmp_path):
    cb("init")
    assert cb("list").json == []
    assert cb("init", code=FAILED).error["code"] == "exists"
    assert cb("verify").json["backups"] == 0


def test_failure_is_one_object(cb, db):
    result = cb("show", "db", code=MISSING)
    assert set(result.json) == {"error"}
    assert set(result.error) >= {"code", "message", "hint"}
    plain = cb.run("show", "db")
    assert plain.code == MISSING and plain.out == ""
    assert len([line for line in plain.err.splitlines() if line.strip()]) in (1, 2), plain.err


def test_output_streams(cb, db, tmp_path):
    """Results on standard output, all else on standard error; --quiet leaves only errors."""
    result = cb.run("backup", db)
    assert result.code == DONE
    assert "canvasback restore db" in result.out + result.err  # how to restore it
    assert "made a new repository" in result.err
    quiet = cb.run("backup", db, "--quiet")
    assert quiet.code == DONE and quiet.err == ""
    assert cb.run("list", "-q", "nothere").err != ""
    bar = cb.run("backup", db, "--progress", "bar")
    assert bar.code == DONE
    lines = cb.run("backup", db, "--full", "--progress", "json").err.splitlines()
    assert any(isinstance(json.loads(line), dict) for line in lines if line.startswith("{"))


def test_closed_output(cb, db):
    """`canvasback list | head -0` must not hang, crash or harm."""
    cb("backup", db)
    process = cb.start("list")
    process.stdout.close()
    assert process.wait(20) >= 0
    process.stderr.close()


def test_full_output(cb, db):
    """A result that could not be written is a failure."""
    cb("backup", db)
    with open("/dev/full", "w") as full:
        done = subprocess.run([cb.path, "list"], env=cb.env, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == FAILED


def test_names_that_are_not_utf8(cb, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    name = b"caf\xe9 \xff\n\t\"quoted\""
    with open(bytes(folder) + b"/" + name, "wb") as file:
        file.write(b"x")
    cb("backup", f"dir:{folder}", "--name", "d")
    items = cb("show", "d").json["items"]
    assert any(item.get("path_hex", "") == name.hex() for item in items)
    cb("restore", "d", tmp_path / "back")
    import os

    assert name in os.listdir(bytes(tmp_path) + b"/back")


# ---- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words, meant",
    [
        (["bakcup", "x"], "backup"),
        (["restroe", "x"], "restore"),
        (["lsit"], "list"),
        (["list", "--jsno"], "--json"),
        (["backup", "x", "--compres", "lz4"], "--compress"),
        (["expire", "--keep-dayly", "3"], "--keep-daily"),
        (["metrisc"], "metrics"),
        (["reprot"], "report"),
        (["repo", "kye"], "repo key"),
        (["repo", "key", "ad"], "repo key add"),
        (["backup", "x", "--on-failur", "true"], "--on-failure"),
    ],
)
def test_did_you_mean(cb, words, meant):
    result = cb.run(*words)
    assert result.code == USAGE and result.out == ""
    assert "did you mean" in result.err.lower() and meant in result.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["frobnicate"],
        ["backup"],
        ["backup", "a", "b"],
        ["copy", "a"],
        ["show"],
        ["list", "--frobnicate"],
        ["list", "--jobs"],
        ["list", "--jobs", "none"],
        ["list", "--jobs", "0"],
        ["list", "--jobs", "-1"],
        ["list", "--jobs", "99999999999999999999"],
        ["list", "--log-level", "loud"],
        ["list", "--full"],
        ["backup", "x", "--compress", "rar"],
        ["backup", "x", "--compress", "zstd:99"],
        ["backup", "x", "--method", "magic"],
        ["backup", "x", "--deadline", "soon"],
        ["backup", "x", "--tag", "novalue"],
        ["list", "--json=yes please"],
        ["help", "frobnicate"],
        ["completion", "tcsh"],
        ["repo", "frobnicate"],
        ["repo", "key", "frobnicate"],
        ["repo", "key", "add", "--write-only"],
        ["repo", "key", "remove"],
        ["repo", "sync", "a"],
        ["repo", "--dry-run"],
        ["report"],
        ["verify", "--percent", "101"],
        ["verify", "--max-bytes", "much"],
        ["verify", "--schedule"],
        ["backup", "x", "--lock-for", "1h"],
        ["backup", "x", "--limit-upload", "0"],
        ["list", "--passphrase", "x"],
        ["list", "--repo", "a", "--repo", "b"],
    ],
)
def test_usage_errors(cb, words):
    """Exit 2 and nothing was touched."""
    result = cb.run(*words)
    assert result.code == USAGE, result.err
    assert result.err and not cb.repo.exists()
    if words and words[0] != "help":
        assert cb.run(*words, "--json").code == USAGE


@pytest.mark.parametrize("words", [["backup"], ["lake", "migrate"], ["restore", "lake"]])
def test_an_address_without_its_quotes(cb, words):
    hint = cb(*words, "ducklake:postgres:dbname=lake", "host=db1", code=USAGE).error["hint"]
    assert "stands in quotes" in hint


def test_environment(cb, db):
    error = cb("list", env={"CANVASBACK_JOSB": "3"}, code=USAGE).error
    assert "CANVASBACK_JOSB" in error["message"] and "CANVASBACK_JOBS" in error["hint"]
    error = cb("list", env={"CANVASBACK_JOBS": "many"}, code=USAGE).error
    assert "CANVASBACK_JOBS" in error["message"]
    cb("backup", db, env={"CANVASBACK_JOBS": "1", "CANVASBACK_COMPRESS": "lz4"})
    # What is given on the line wins.
    assert cb("list", "--jobs", 2, env={"CANVASBACK_JOBS": "1"}).json
    assert cb("list", "--repo", cb.repo, env={"CANVASBACK_REPO": "/nowhere"}).json
    for command in COMMANDS[:13]:
        assert cb.run(command, env={"CANVASBACK_NONSENSE": "1"}).code == USAGE


def test_default_repository(cb, db):
    env = {"CANVASBACK_REPO": None}
    cb("backup", db, env=env)
    assert (cb.home / ".local/share/canvasback/repo").is_dir()
    assert not cb.repo.exists()


def test_configuration_file(cb, db, tmp_path):
    folder = cb.home / ".config" / "canvasback"
    folder.mkdir(parents=True)
    config = folder / "canvasback.ini"
    env = {"CANVASBACK_REPO": None}
    config.write_text(f"repo = {cb.repo}\ncompress = lz4\n\n[db]\ntag = from=section\n")
    cb("backup", db, env=env)
    assert cb("list", env=env).json[0]["tags"] == {"from": "section"}
    assert cb.repo.is_dir()

    for text in ("jbos = 3\n", "jobs = many\n", "[db]\nnonsense = 1\n", "no equals sign\n", "= 3\n"):
        config.write_text("repo = /tmp\n" + text)
        error = cb("list", env=env, code=USAGE).error
        assert str(config) in error["message"], error
    assert cb("list", "--config", tmp_path / "nowhere.ini", code=USAGE).error["message"]


def test_help(cb):
    text = cb.run("help")
    assert text.code == DONE
    for command in COMMANDS:
        assert command in text.out
        one = cb.run("help", command)
        assert one.code == DONE and len(one.out.splitlines()) > 3
        if command != "help":
            assert cb.run(command, "--help").out == one.out
    lake = cb.run("help", "lake").out
    for verb in LAKE_VERBS:
        assert f"lake {verb} " in lake
        one = cb.run("help", "lake", verb)
        assert one.code == DONE and f"Usage: canvasback lake {verb} " in one.out
        assert max(map(len, one.out.splitlines())) <= 80
        assert cb.run("lake", verb, "--help").out == one.out
    assert "--dump-dir" in cb.run("help", "lake", "dump").out
    assert "--dump-dir" not in cb.run("help", "lake", "adopt").out
    assert cb("help", "lake", "migrat", code=USAGE).error["hint"] == "Did you mean 'lake migrate'?"
    for words in (["help", "list", "lake"], ["lake"]):
        assert cb(*words, code=USAGE).error["hint"]
    for option in ("--keep-daily", "repo"):
        assert cb.run("help", option).code == DONE
    assert cb.run("--help").out == text.out
    assert cb.run("--version").code == DONE


def test_version_is_quick(cb):
    assert re.match(r"canvasback \d+\.\d+", cb.run("version").out)
    times = []
    for _ in range(15):
        began = time.perf_counter()
        subprocess.run([cb.path, "version"], env=cb.env, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.02


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(cb, shell):
    result = cb.run("completion", shell)
    assert result.code == DONE
    for word in ("backup", "restore", "keep-daily"):
        assert word in result.out
    if shell == "bash":
        done = subprocess.run(["bash", "-n"], input=result.out, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


# ---- restore, copy ------------------------------------------------------------------------------


def test_restore_without_target_writes_nothing(cb, db):
    cb("backup", db)
    db.unlink()
    db.with_name("db.duckdb.wal").unlink()
    result = cb.run("restore", "db")
    assert result.code == DONE
    assert f"canvasback restore db@" in result.out + result.err
    assert str(db) in result.out + result.err
    assert not db.exists()


def test_restore_refuses_what_is_there(cb, db, tmp_path, history):
    cb("backup", db)
    content = db.read_bytes()
    error = cb("restore", "db", db, code=FAILED).error
    assert error["code"] == "exists"
    assert "--force" in error["hint"] and "--delta" in error["hint"]
    assert db.read_bytes() == content
    empty = tmp_path / "empty.duckdb"
    empty.write_bytes(b"")
    cb("restore", "db", empty, code=(DONE, FAILED))
    folder = tmp_path / "folder"
    folder.mkdir()
    result = cb("restore", "db", folder, code=(DONE, FAILED))
    assert result.code == DONE or folder.is_dir()
    error = cb("restore", "db", tmp_path / "no" / "such" / "x.duckdb", code=(DONE, FAILED))
    error = cb("copy", db, db, "--force", code=(FAILED, USAGE)).error
    assert error["message"] and db.read_bytes() == content


def test_stale_log_is_never_replayed(cb, tmp_path, history):
    """A log beside the place of a restore belongs to another database."""
    db = history.place("two", tmp_path / "db.duckdb")
    cb("backup", db)
    for name in ("new.duckdb", "old.duckdb"):
        target = tmp_path / name
        history.place("three", target)
        if name == "new.duckdb":
            target.unlink()  # only its log is left
        result = cb("restore", "db", target, *(["--force"] if target.exists() else []), code=None)
        if result.code != DONE:
            assert ".wal" in result.error["message"] + result.error["hint"]
            result = cb("restore", "db", target, "--force")
        assert history.samples.content(target, how="rw") == history.content["two"], name


def test_copy(cb, db, tmp_path, history):
    cb("copy", db, tmp_path / "c.duckdb")
    assert not (tmp_path / "c.duckdb.wal").exists()
    assert history.samples.content(tmp_path / "c.duckdb") == history.content["three"]
    error = cb("copy", db, tmp_path / "c.duckdb", code=FAILED).error
    assert error["code"] == "exists" and "--force" in error["hint"]
    cb("copy", db, tmp_path / "c.duckdb", "--force")

    folder = tmp_path / "copies"
    folder.mkdir()
    (folder / "backup-notes.duckdb").write_text("not ours")
    names = []
    for _ in range(4):
        names.append(cb("copy", db, folder, "--timestamp", "--utc", "--keep", 3).json["target"])
    found = sorted(path.name for path in folder.iterdir())
    assert "backup-notes.duckdb" in found and len(found) == 4
    assert all(re.search(r"/backup-\d{8}-\d{6}(-\d+)?\.duckdb$", name) for name in names)
    assert len(set(names)) == 4
    assert not any(name.endswith(".wal") for name in found)

    cb("backup", db)
    cb("copy", "db", tmp_path / "from-backup.duckdb")
    into = cb("copy", db, f"{folder}/").json["target"]
    contents = history.samples.contents(tmp_path / "from-backup.duckdb", into)
    assert contents == [history.content["three"]] * 2


def test_restore_and_copy_of_a_plain_file(cb, db, tmp_path, history):
    history.place("two", db)
    cb("restore", db, tmp_path / "r.duckdb")
    cb("copy", f"file://{db}", tmp_path / "c.duckdb")
    contents = history.samples.contents(tmp_path / "r.duckdb", tmp_path / "c.duckdb")
    assert contents == [history.content["two"]] * 2


def test_hooks(cb, db, tmp_path):
    mark = tmp_path / "mark"
    cb("backup", db, "--before", f"echo before >> {mark}", "--after", f"echo after >> {mark}")
    assert mark.read_text() == "before\nafter\n"
    error = cb("backup", db, "--before", "exit 3", code=FAILED).error
    assert "3" in error["message"]
    assert len(cb.labels()) == 1


def test_deep_verify(cb, db):
    cb("backup", db)
    result = cb("verify", "--deep", code=(DONE, FAILED))
    if result.code == FAILED:
        assert result.error["code"] == "unsupported" and "--duckdb-library" in result.error["hint"]
        pytest.skip("no libduckdb beside the program")
    text = cb.run("verify", "db", "--deep")
    assert "accounts" in text.out and "2000" in text.out
    assert "only_in_log_3" in text.out
