"""`verify` of lakes: what the catalog in a backup names is in the backup, or where it refers to."""

import pathlib

import pytest
from conftest import DAMAGED
from lakes import KINDS, backup


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_backup_refers_to_is_looked_at(cb, make_lake, kind):
    lake = make_lake(kind, rich=False)
    backup(cb, lake)
    with lake.open() as process:
        process.sql("INSERT INTO t SELECT i, 'more' FROM range(1000) t(i)")
    label = backup(cb, lake, "--data", "reference").json["label"]
    assert not cb("verify").json["damaged"]

    [file] = [one for one in pathlib.Path(lake.data_path).rglob("*.parquet") if "/t/" in str(one)][-1:]
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    said = cb("verify", code=DAMAGED).json["damaged"]
    # The other backup has the bytes, or was before that file.
    assert [one["backup"] for one in said] == [f"lake@{label}"]
    assert file.name in said[0]["item"] and str(len(whole)) in said[0]["reason"]
    file.unlink()
    [one] = cb("verify", "lake", code=DAMAGED).json["damaged"]
    assert file.name in one["item"] and "not in its place" in one["reason"]
    file.write_bytes(whole)
    assert not cb("verify").json["damaged"]
