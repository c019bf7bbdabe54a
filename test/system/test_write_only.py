"""A host that holds a write-only key, credentials that can put and read but not delete, and a bucket
with object lock; and an intruder who has all of that host. What was backed up before can then
neither be read, altered nor removed by him."""

import base64
import datetime
import hashlib
import shutil
import xml.etree.ElementTree

import pytest
from conftest import DAMAGED, DONE, FAILED, MISSING, Canvasback
from servers import PASSPHRASE, Place, Refused, texts

HOST = ("s3:PutObject", "s3:GetObject", "s3:ListBucket", "s3:PutObjectRetention",
        "s3:GetObjectRetention", "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketVersioning")  # fmt: skip


class Town:
    """An owner with the passphrase and all rights, and the host that makes the backups."""

    def __init__(self, minio, folder, history):
        self.minio, self.history, self.folder = minio, history, folder
        self.place = Place(minio.bucket(locked=True), folder, encrypted=True)
        self.bucket = self.place.bucket
        for name in ("owner", "host"):
            (folder / name).mkdir()
        self.owner = self.place.prepare(Canvasback(folder / "owner"))
        self.key_file = folder / "host" / "host.key"
        self.owner("repo", "key", "add", "--write-only", self.key_file, "--label", "host")
        self.keys = minio.restricted(self.bucket.name, *HOST)
        self.host = Canvasback(folder / "host")
        self.host.env.update(
            self.keys.env(),
            CANVASBACK_REPO=self.place.env()["CANVASBACK_REPO"],
            CANVASBACK_KEY_FILE=str(self.key_file),
            CANVASBACK_LOCK_FOR="30d",
        )
        self.host.secrets += [self.keys.secret, self.keys.token]
        self.db = folder / "host" / "db.duckdb"
        self.labels = {}  # state by label
        for state in ("one", "two", "three"):
            history.place(state, self.db)
            self.labels[self.host("backup", self.db).json["label"]] = state

    def as_intruder(self, method, key="", query=None, headers=None, body=b""):
        return self.bucket.request(method, key, query, headers, body, keys=self.keys)

    def all_restore(self):
        """Equal, by the owner, on a machine that has never seen the repository."""
        shutil.rmtree(self.folder / "fresh", ignore_errors=True)
        (self.folder / "fresh").mkdir()
        fresh = Canvasback(self.folder / "fresh")
        fresh.env.update(self.place.env())
        for label, state in self.labels.items():
            target = self.folder / "fresh" / f"{state}.duckdb"
            fresh("restore", f"db@{label}", target)
            assert self.history.samples.content(target) == self.history.content[state], label


@pytest.fixture
def town(minio, tmp_path, history):
    return Town(minio, tmp_path, history)


def refused(action, *arguments, **options):
    with pytest.raises(Refused) as caught:
        action(*arguments, **options)
    assert caught.value.status in (400, 403, 405), caught.value
    return caught.value


def test_the_host_works(town):
    """Its backups are increments, and their objects are locked."""
    town.all_restore()
    shown = town.owner("show", "db").json
    until = datetime.datetime.fromisoformat(shown["locked_until"].replace("Z", "+00:00"))
    left = until - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(days=29) < left < datetime.timedelta(days=32)
    assert town.owner("verify").json["damaged"] == []
    checked = town.host("repo", "--check").json
    assert checked["object_lock"] is True and checked["versioning"] is True


def test_locks_are_extended_in_time(town):
    """What an older backup left is needed by a newer one, and is covered as long."""
    town.owner("backup", town.db, "--lock-for", "10d", "--name", "later")
    before = town.owner("show", "later").json["locked_until"]
    town.owner("backup", town.db, "--lock-for", "60d", "--name", "later")
    assert town.owner("show", "later").json["locked_until"] > before


def test_the_host_sees_what_there_is(town):
    """By name, label and time; what only the owner can read is not known, and not an error."""
    listed = town.host("list").json
    assert [backup["label"] for backup in listed] == list(town.labels)
    owned = town.owner("list").json
    for sealed, backup in zip(listed, owned):
        assert sealed["sealed"] and not backup["sealed"]
        assert sealed["name"] == backup["name"] and sealed["started"][:19] == backup["started"][:19]
        assert sealed["kind"] is None and sealed["source"] is None and sealed["verified"] is None
    table = town.host.run("list", "db")
    assert table.code == DONE and table.err == "" and f"db@{list(town.labels)[0]}" in table.out
    metrics = town.host.run("metrics")
    assert metrics.code == DONE and "canvasback_backup_last_timestamp_seconds{" in metrics.out
    assert "canvasback_backup_source_bytes{" not in metrics.out


def test_what_an_intruder_can_read(town):
    """Nothing, with the program or without."""
    target = town.folder / "stolen.duckdb"
    for command in (["restore", "db", target], ["verify"],
                    *(["restore", f"db@{label}", target] for label in town.labels)):  # fmt: skip
        error = town.host(*command, code=FAILED).error
        assert error["code"] == "denied" and error["hint"], error
        assert not target.exists()
    # The key file is no passphrase, and hides none.
    key = town.key_file.read_bytes()
    assert PASSPHRASE.encode() not in key
    env = {"CANVASBACK_KEY_FILE": None, "CANVASBACK_PASSPHRASE_FILE": str(town.key_file)}
    assert town.host("list", code=FAILED, env=env).error["code"] == "denied"
    for command in (["key", "add"], ["key", "change"]):
        file = town.folder / "mine"
        file.write_text("mine\n")
        error = town.host("repo", *command, "--new-passphrase-file", file, code=None)
        assert error.code != DONE, "an intruder made himself a key that reads"
    words = [b"ledger", b"accounts", b"db.duckdb", b"state 2"]
    for key in town.place.keys():
        data = town.as_intruder("GET", f"{town.place.prefix}/{key}")[1].lower()
        for word in words:
            assert word not in data and word not in key.encode().lower(), key


def test_a_fully_compromised_host(town, rng):
    """He removes, overwrites, forges and puts back what he can; the owner's repair undoes it."""
    keys = town.bucket.list(town.place.prefix)
    before = {key: town.bucket.get(key) for key in keys}
    versions = town.bucket.versions(town.place.prefix)

    for key in keys:
        refused(town.as_intruder, "DELETE", key)
    for key, version, *_ in versions:
        refused(town.as_intruder, "DELETE", key, {"versionId": version})
    body = ("<Delete>" + "".join(f"<Object><Key>{key}</Key></Object>" for key in keys)
            + "</Delete>").encode()  # fmt: skip
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    try:
        _, answer = town.as_intruder("POST", "", {"delete": ""}, {"Content-MD5": digest}, body)
        assert not texts(xml.etree.ElementTree.fromstring(answer), "Deleted")
    except Refused:
        pass
    for key in keys:
        past = "2001-01-01T00:00:00Z"
        soon = (datetime.datetime.now(datetime.timezone.utc)
                + datetime.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")  # fmt: skip
        for when in (past, soon):
            text = f"<Retention><Mode>COMPLIANCE</Mode><RetainUntilDate>{when}</RetainUntilDate></Retention>"
            try:
                town.as_intruder("PUT", key, {"retention": ""}, body=text.encode())
            except Refused:
                continue
            got = town.bucket.request("GET", key, {"retention": ""})[1]
            assert when[:16].encode() not in got, f"the retention of {key} was shortened"
    refused(town.as_intruder, "PUT", "", {"versioning": ""}, body=(
        b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"))  # fmt: skip

    # He may put: everything is overwritten, once with garbage, once with another object's bytes.
    for key in keys:
        town.as_intruder("PUT", key, body=rng.randbytes(rng.randrange(1, 3000)))
        town.as_intruder("PUT", key, body=before[rng.choice(keys)])
    for kind in {key[len(town.place.prefix) + 1 :].split("/")[0] for key in keys}:
        town.as_intruder("PUT", f"{town.place.prefix}/{kind}/forged", body=rng.randbytes(100))
    assert {key: town.bucket.get(key) for key in keys} != before

    # A reader is told, and is never given anything else.
    for label, state in town.labels.items():
        target = town.folder / "look.duckdb"
        result = town.owner("restore", f"db@{label}", target,
                            code=(DONE, FAILED, DAMAGED, MISSING))  # fmt: skip
        if result.code == DONE:
            assert town.history.samples.content(target) == town.history.content[state]
            target.unlink()
        else:
            assert result.error["hint"], result.error

    repaired = town.owner("repair").json
    assert repaired["reverted"] > 0 and repaired["damaged"] == []
    assert town.owner("verify").json["damaged"] == []
    assert set(town.labels) <= set(town.owner.labels("db"))
    town.all_restore()
    # And life goes on, with a key of its own for the host.
    town.history.place("one", town.db)
    town.owner("backup", town.db, "--adopt-name")
    assert town.owner("verify").json["damaged"] == []


def test_removed_with_all_rights(town):
    """Even the owner's credentials, in wrong hands, only put a delete marker over a locked object:
    repair takes it away."""
    keys = town.bucket.list(town.place.prefix)
    for key, version, *_ in town.bucket.versions(town.place.prefix):
        if any(word in key for word in ("/pack/", "/manifest/")):
            refused(town.bucket.request, "DELETE", key, {"versionId": version})
    for key in keys:
        town.bucket.remove(key)
    assert town.bucket.list(town.place.prefix) == []
    assert town.owner("list", code=(FAILED, MISSING)).error["hint"]
    repaired = town.owner("repair").json
    assert repaired["reverted"] > 0 and repaired["damaged"] == []
    town.all_restore()


def test_expire_waits_for_the_locks(town):
    """What is locked cannot be removed yet: said, and no failure that looks like damage."""
    result = town.owner("expire", "db", "--keep-last", 1, code=(DONE, FAILED))
    if result.code == FAILED:
        assert "lock" in (result.error["message"] + result.error["hint"]).lower()
    assert town.owner("verify").json["damaged"] == []
    newest = list(town.labels)[-1]
    target = town.folder / "back.duckdb"
    town.owner("restore", f"db@{newest}", target)
    assert town.history.samples.content(target) == town.history.content["three"]
