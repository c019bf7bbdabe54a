"""Backups of lakes that only refer to the files: by version, mark and checksum, in their place or in a
replica. What is deleted or written over comes back, or is named."""

import json
import pathlib
import shutil

import pytest
from conftest import DAMAGED, FAILED, MISSING
from lakes import backup, restore
from servers import Refused

SCRIPT = [
    "CALL lake.set_option('data_inlining_row_limit', '0')",
    "CREATE TABLE t AS SELECT i, 'first' AS s FROM range(500) t(i)",
    "INSERT INTO t SELECT i, 'second' FROM range(300) t(i)",
    "DELETE FROM t WHERE i % 7 = 0",
    "CREATE TABLE other AS SELECT i * 2 AS i, 'other' AS s FROM range(200) t(i)",
]

OUTSIDE = "CALL ducklake_add_data_files('lake', 't', '{outside}/it is outside.parquet')"


@pytest.fixture(scope="module")
def template(lakes_made, tmp_path_factory):
    lake = lakes_made.make(tmp_path_factory.mktemp("template"), SCRIPT, kind="sqlite", data="s3")
    return lake, lake.fingerprint()


@pytest.fixture
def versioned(lakes_made, template, tmp_path):
    """A lake in a bucket that keeps versions, and what DuckLake sees in it."""
    lake, before = template
    return lakes_made.copy(lake, tmp_path / "lake", versioned=True), before


@pytest.fixture
def local(lakes_made, tmp_path):
    lake = lakes_made.make(tmp_path / "lake", [*SCRIPT, OUTSIDE], kind="sqlite")
    return lake, lake.fingerprint()


def clean_up(lake):
    """Every file is of no use any more, and is deleted."""
    with lake.open() as process:
        process.sql("DROP TABLE t")
        process.sql("DROP TABLE other")
        process.sql("CREATE TABLE late AS SELECT i FROM range(50) t(i)")
        process.sql("CALL ducklake_expire_snapshots('lake', older_than => now())")
        process.sql("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")


def write_over(lake, name):
    """As long as it was, and another."""
    data = bytearray(lake.read(name))
    data[len(data) // 2] ^= 1
    lake.write(name, bytes(data))


def verify(cb, lake, *what, **more):
    return cb("verify", *what, *lake.options, env=lake.env, **more)


def test_no_bucket_is_made_for_nothing(cb, make_lake):
    """With the bucket went the files that the backup refers to: an empty one would help nobody."""
    lake = make_lake("sqlite", "s3", rich=False)
    backup(cb, lake, "--data", "reference")
    lake.destroy()
    lake.bucket.request("DELETE")
    verify(cb, lake, "lake", "--deep", code=(FAILED, DAMAGED, MISSING))
    restore(cb, lake, data_path=False, code=(FAILED, DAMAGED, MISSING))
    with pytest.raises(Refused, match="NoSuchBucket"):
        lake.files()


# ---- a bucket that keeps versions ---------------------------------------------------------------


def test_deleted_and_overwritten_files_come_back(cb, lakes_made, tmp_path):
    """DuckLake deletes what the backup refers to, somebody writes over a file: all of it comes back by
    its version, and no byte passes through here."""
    lake = lakes_made.make(tmp_path / "lake", SCRIPT, kind="sqlite", data="s3", versioned=True)
    before = lake.fingerprint()
    names = lake.files()
    done = backup(cb, lake, "--data", "reference").json
    assert done["new_bytes"] < sum(len(lake.read(name)) for name in names) + lake.file.stat().st_size
    write_over(lake, names[0])
    clean_up(lake)
    assert not set(names) & set(lake.files())
    # The backup is as good as ever, and verify changes nothing to find that out.
    gone = lake.files()
    told = verify(cb, lake)
    assert not told.json["damaged"] and "restore brings them back" in told.err
    deep = verify(cb, lake, "lake", "--deep")
    assert not deep.json["damaged"] and "was not opened" in deep.err
    assert lake.files() == gone

    back = restore(cb, lake, "--force", data_path=False)
    assert back.json["bytes_written"] < 1 << 20 and "from versions" in back.err
    lake.same(before)
    assert not verify(cb, lake, "lake", "--deep").json["damaged"]


def test_delta_brings_back_what_is_not_right(cb, versioned):
    lake, before = versioned
    names = lake.files()
    backup(cb, lake, "--data", "reference")
    write_over(lake, names[0])
    lake.remove(names[1])
    # Deleted, put anew by somebody, deleted again.
    lake.remove(names[2])
    lake.write(names[2], b"nonsense")
    lake.remove(names[2])
    untouched = {one for one in lake.bucket.versions(lake.prefix) if one[0] == lake.prefix + names[3]}
    restore(cb, lake, "--delta", data_path=False)
    lake.same(before)
    assert lake.files() == names
    assert untouched == {one for one in lake.bucket.versions(lake.prefix) if one[0] == lake.prefix + names[3]}
    # A deletion is undone by taking its mark away: no version was added.
    assert len([one for one in lake.bucket.versions(lake.prefix) if one[0] == lake.prefix + names[1]]) == 1


def test_a_version_that_is_gone_is_named_and_nothing_is_done(cb, versioned):
    lake, before = versioned
    names = lake.files()
    backup(cb, lake, "--data", "reference")
    lake.remove(names[1])
    for key, version, _, _ in lake.bucket.versions(lake.prefix + names[0]):
        lake.bucket.request("DELETE", key, {"versionId": version})
    [one] = verify(cb, lake, code=DAMAGED).json["damaged"]
    assert names[0].rpartition("/")[2] in one["item"] and "not in its place" in one["reason"]
    catalog = lake.file.read_bytes()
    told = restore(cb, lake, "--delta", data_path=False, code=DAMAGED)
    assert names[0] in told.error["message"] and "--salvage" in told.error["hint"]
    assert lake.file.read_bytes() == catalog and names[1] not in lake.files()
    restore(cb, lake, "--delta", "--salvage", data_path=False, code=DAMAGED)
    assert names[1] in lake.files()


def test_an_overwritten_file_is_noticed(cb, versioned):
    """Of the same size: the next backup refuses it, and the file of before can be had back."""
    lake, before = versioned
    names = lake.files()
    label = backup(cb, lake, "--data", "reference").json["label"]
    assert backup(cb, lake, "--data", "reference").json["label"] != label
    write_over(lake, names[0])
    told = backup(cb, lake, "--data", "reference", code=DAMAGED)
    assert names[0] in told.error["message"] and "restore NAME@LABEL --delta" in told.error["hint"]
    restore(cb, lake, "--delta", what=f"lake@{label}", data_path=False)
    backup(cb, lake, "--data", "reference")
    lake.same(before)
    # Who knows better has the new content; from then on that is what is compared.
    write_over(lake, names[0])
    backup(cb, lake, "--data", "reference", "--allow-damage")
    backup(cb, lake, "--data", "reference")


def test_without_the_right_to_change_anything(cb, versioned, minio):
    lake, _ = versioned
    backup(cb, lake, "--data", "reference")
    lake.remove(lake.files()[0])
    keys = minio.restricted(lake.bucket.name, "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket",
                            "s3:ListBucketVersions", "s3:GetBucketLocation", "s3:GetBucketVersioning")  # fmt: skip
    told = restore(cb, lake, "--delta", data_path=False, code=FAILED, env=keys.env())
    assert "bringing back" in told.error["message"] and "s3:DeleteObjectVersion" in told.error["hint"]


def test_to_another_place(cb, versioned, lake_place):
    """The files are copied from where they are, from older versions where they have to be."""
    lake, before = versioned
    backup(cb, lake, "--data", "reference")
    clean_up(lake)
    there = lake.files()
    place = lake_place("duckdb")
    cb("restore", "lake", place.address, "--data-path", place.data_path, *lake.options, env=lake.env)
    place.same(before)
    assert lake.files() == there


# ---- a local disk -------------------------------------------------------------------------------


def test_local_files_have_checksums(cb, local):
    lake, before = local
    told = backup(cb, lake, "--data", "reference")
    assert "where no versions are kept" in told.err
    assert not cb("verify").json["damaged"]
    for name in ("outside", None):
        file = next(iter((lake.folder / "outside").glob("*.parquet"))) if name else pathlib.Path(
            lake.data_path, lake.files()[0]
        )
        whole = file.read_bytes()
        torn = bytearray(whole)
        torn[len(torn) // 2] ^= 1
        file.write_bytes(torn)
        [one] = cb("verify", code=DAMAGED).json["damaged"]
        assert file.name.partition(" ")[0] in one["item"] and "not what it was" in one["reason"]
        told = backup(cb, lake, "--data", "reference", code=DAMAGED)
        assert file.name in told.error["message"]
        assert file.name in restore(cb, lake, "--delta", data_path=False, code=DAMAGED).error["message"]
        file.write_bytes(whole)
    # Touched and as it was: the checksum says so.
    backup(cb, lake, "--data", "reference")
    lake.destroy_catalog()
    restore(cb, lake, data_path=False)
    lake.same(before)


def test_a_relative_data_path_means_one_place(cb, local, lake_place):
    """Wherever the restored catalog is."""
    lake, before = local
    lake.catalog_sql("UPDATE ducklake_metadata SET value = 'the data/' WHERE key = 'data_path'")
    backup(cb, lake, "--data", "reference")
    assert not cb("verify", "lake", "--deep").json["damaged"]
    place = lake_place("sqlite")
    cb("restore", "lake", place.address, "--data-path", lake.data_path)
    place.same(before)


# ---- replicas -----------------------------------------------------------------------------------


def test_replica_when_the_bucket_is_gone(cb, lakes_made, tmp_path, minio, lake_place):
    lake = lakes_made.make(tmp_path / "lake", SCRIPT, kind="postgres", data="s3")
    before = lake.fingerprint()
    other = minio.bucket()
    for name in lake.files():
        other.put("copy/" + name, lake.read(name))
    how = f"replica=s3://{other.name}/copy"
    backup(cb, lake, "--data", how)
    assert not verify(cb, lake).json["damaged"]
    keep = other.get("copy/" + lake.files()[0])
    name = lake.files()[0]
    other.put("copy/" + name, bytes(len(keep)))
    [one] = verify(cb, lake, code=DAMAGED).json["damaged"]
    assert name.rpartition("/")[2] in one["item"] and "written over" in one["reason"]
    assert name in backup(cb, lake, "--data", how, code=DAMAGED).error["message"]
    other.remove("copy/" + name)
    told = backup(cb, lake, "--data", how, "--allow-damage")
    assert name in told.err
    other.put("copy/" + name, keep)
    label = backup(cb, lake, "--data", how).json["label"]

    lake.destroy()
    lake.bucket.request("DELETE")
    # To the same catalog: the replica is where the lake is from now on.
    lake.postgres.database(name=lake.database)
    cb("restore", f"lake@{label}", lake.address, *lake.options, env=lake.env)
    lake.prefix, lake.bucket = "copy/", other
    lake.same(before)
    assert lake.catalog_sql("SELECT value FROM ducklake_metadata WHERE key = 'data_path'") == [
        [f"s3://{other.name}/copy/"]
    ]
    # And to a laptop: its files are copied.
    place = lake_place("duckdb")
    cb("restore", f"lake@{label}", place.address, "--data-path", place.data_path, *lake.options, env=lake.env)
    place.same(before)
    # The replica is gone, too.
    for key in other.list():
        other.remove(key)
    other.request("DELETE")
    said = verify(cb, lake, f"lake@{label}", code=DAMAGED).json["damaged"]
    assert len(said) == 1 and "there is no" in said[0]["reason"], said


def test_replica_in_a_folder(cb, local, tmp_path):
    lake, before = local
    shutil.copytree(lake.data_path, tmp_path / "mirror")
    backup(cb, lake, "--data", f"replica={tmp_path}/mirror")
    [file, *_] = (tmp_path / "mirror").rglob("*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    told = backup(cb, lake, "--data", f"replica={tmp_path}/mirror", code=DAMAGED)
    assert file.name in told.error["message"] and str(len(whole)) in told.error["message"]
    assert file.name in cb("verify", code=DAMAGED).json["damaged"][0]["item"]
    file.write_bytes(whole)
    lake.destroy()
    restore(cb, lake, data_path=False)
    lake.same(before)
    assert not lake.files()


# ---- mixed, and in other repositories -----------------------------------------------------------


def test_copy_and_reference_under_one_name(cb, versioned, tmp_path):
    """Copies and references, one after another; each is expired; each goes to another repository."""
    lake, before = versioned
    first = backup(cb, lake).json
    second = backup(cb, lake, "--data", "reference").json
    third = backup(cb, lake).json
    # What the first copy has is not read again for the third.
    assert third["read_bytes"] < first["read_bytes"] and third["new_chunks"] <= 8
    names = lake.files()
    write_over(lake, names[0])
    clean_up(lake)
    fourth = backup(cb, lake, "--data", "reference").json

    other = str(tmp_path / "other")
    cb("repo", "sync", cb.repo, other)
    elsewhere = {**lake.env, "CANVASBACK_REPO": other}
    assert not cb("verify", *lake.options, env=elsewhere).json["damaged"]
    cb("restore", f"lake@{second['label']}", lake.address, "--force", *lake.options, env=elsewhere)
    lake.same(before)
    assert set(names) <= set(lake.files())
    cb("expire", "lake", "--keep-last", "1")
    assert cb.labels("lake") == [fourth["label"]]
    assert not verify(cb, lake).json["damaged"]
    lake.destroy_data()
    cb("restore", f"lake@{third['label']}", lake.address, "--force", *lake.options, env=elsewhere)
    lake.same(before)


def test_keys_are_not_copied_into_the_open(cb, lakes_made, tmp_path):
    lake = lakes_made.make(tmp_path / "lake", SCRIPT, kind="sqlite", encrypted=True)
    backup(cb, lake, "--allow-unencrypted-keys")
    told = cb("repo", "sync", cb.repo, tmp_path / "open", code=FAILED)
    assert "--allow-unencrypted-keys" in told.error["hint"]
    assert cb("list", env={"CANVASBACK_REPO": str(tmp_path / "open")}).json == []
    cb("repo", "sync", cb.repo, tmp_path / "open", "--allow-unencrypted-keys")
    secret = tmp_path / "passphrase"
    secret.write_text("only here\n")
    cb("init", "--encrypt", env={"CANVASBACK_REPO": str(tmp_path / "shut"), "CANVASBACK_PASSPHRASE_FILE": str(secret)})
    cb("repo", "sync", cb.repo, tmp_path / "shut", "--to-passphrase-file", secret)


# ---- what is said of it -------------------------------------------------------------------------


def test_status_and_check_with_references(cb, versioned):
    lake, _ = versioned
    backup(cb, lake, "--data", "reference")
    said = cb("lake", "status", lake.address, "lake", *lake.options, env=lake.env).json
    assert (said["missing_snapshots"], said["missing_files"]) == (0, 0)
    assert said["backup_data"] == "reference"
    with lake.open() as process:
        process.sql("INSERT INTO t SELECT i, 'later' FROM range(100) t(i)")
    said = cb("lake", "status", lake.address, "lake", *lake.options, env=lake.env).json
    assert (said["missing_snapshots"], said["missing_files"]) == (1, 1)
    report = cb("check", lake.address, *lake.options, env=lake.env).json
    assert report["bad_blocks"] == 0 and report["used_blocks"] == len(lake.files())
    shown = cb("show", "lake", env=lake.env).json
    assert "reference" in json.dumps(shown)
