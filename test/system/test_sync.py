"""`repo sync`: backups copied between stores of other kinds, with other keys; what an interrupted run
has copied stays, and what is damaged stays behind."""

import signal
import time

import pytest
from conftest import DAMAGED, DONE, FAILED, MISSING, USAGE, Canvasback


@pytest.fixture
def source(cb, history, tmp_path):
    """A plain folder with three backups of one database and one of another."""
    labels = []
    for state in ("one", "two", "three"):
        labels.append(cb("backup", history.place(state, tmp_path / "prod.duckdb")).json["label"])
    cb("backup", history.place("one", tmp_path / "other.duckdb"))
    cb.labels_of_prod = labels
    return cb


def there(place, tmp_path):
    (tmp_path / "there").mkdir(exist_ok=True)
    program = Canvasback(tmp_path / "there")
    program.env.update(place.env())
    return program


def options(place):
    return ["--to-passphrase-file", place.passphrase_file] if place.encrypted else []


def test_to_every_kind_of_store(place, source, history, tmp_path):
    program = there(place, tmp_path)
    env = {k: v for k, v in place.env().items() if not k.startswith("CANVASBACK_")}
    to = place.env()["CANVASBACK_REPO"] if place.is_remote else tmp_path / "elsewhere"
    program.env["CANVASBACK_REPO"] = str(to)
    done = source("repo", "sync", source.repo, to, *options(place), env=env).json
    assert (done["copied"], done["present"], done["damaged"]) == (4, 0, [])
    for label, state in zip(source.labels_of_prod, ("one", "two", "three")):
        target = tmp_path / f"{state}.back.duckdb"
        program("restore", f"prod@{label}", target)
        assert history.samples.content(target) == history.content[state]
    assert program("verify").json["damaged"] == []
    assert program("repo").json["encrypted"] == place.encrypted

    # What is there is not copied again, and a later one costs only what is new.
    source("backup", history.place("two", tmp_path / "prod.duckdb"))
    done = source("repo", "sync", source.repo, to, *options(place), env=env).json
    assert (done["copied"], done["present"]) == (1, 4)
    assert done["new_chunks"] <= 3
    # And there it is the base of the next backup.
    mine = program("backup", tmp_path / "prod.duckdb").json
    assert mine["new_chunks"] == 0


def test_back_out_of_an_encrypted_one(source, history, tmp_path):
    passphrase = tmp_path / "secret"
    passphrase.write_text("a long enough one\n")
    passphrase.chmod(0o600)
    vault, plain = tmp_path / "vault", tmp_path / "plain"
    source("repo", "sync", source.repo, vault, "--to-passphrase-file", passphrase)
    failed = source("repo", "sync", vault, plain, code=USAGE)
    assert "passphrase" in failed.error["message"]
    assert not plain.exists()
    again = source("repo", "sync", vault, source.repo, "--passphrase-file", passphrase).json
    assert (again["copied"], again["present"]) == (0, 4)


def test_killed_and_run_again(source, history, duckdb, tmp_path):
    big = tmp_path / "big.duckdb"
    duckdb(history.version, "con = duckdb.connect(args[0])\n"
           "con.execute('CREATE TABLE t AS SELECT i, md5(i::VARCHAR) m FROM range(1500000) r(i)')", big)
    source("backup", big)
    to = tmp_path / "mirror"
    for patience in (0.1, 0.2, 0.3):
        run = source.start("repo", "sync", source.repo, to)
        time.sleep(patience)
        run.send_signal(signal.SIGKILL)
        run.wait()
    program = Canvasback(tmp_path)
    program.env["CANVASBACK_REPO"] = str(to)
    before = program("list", code=(DONE, MISSING))
    if before.code == DONE and before.json:
        assert program("verify").json["damaged"] == []
    done = source("repo", "sync", source.repo, to).json
    assert done["copied"] + done["present"] == 5
    assert len(program("list").json) == 5
    assert program("verify").json["damaged"] == []


def test_what_is_damaged_stays_behind(source, tmp_path):
    packs = sorted((one for one in (source.repo / "pack").rglob("*") if one.is_file()),
                   key=lambda one: one.stat().st_size)
    data = bytearray(packs[-1].read_bytes())
    data[len(data) // 2] ^= 1
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(data)
    to = tmp_path / "mirror"
    done = source("repo", "sync", source.repo, to, code=DAMAGED)
    assert done.json["damaged"] and done.json["copied"] + len(done.json["damaged"]) == 4
    program = Canvasback(tmp_path)
    program.env["CANVASBACK_REPO"] = str(to)
    assert program("verify").json["damaged"] == []


def test_dry_run_and_names(source, tmp_path):
    to = tmp_path / "mirror"
    done = source("repo", "sync", source.repo, to, "--dry-run").json
    assert done["copied"] == 4 and not to.exists()
    failed = source("repo", "sync", source.repo, to, "--no-create", code=MISSING)
    assert not to.exists()
