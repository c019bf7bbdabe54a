"""The lab itself: templates, copies and fingerprints are what the other tests of lakes trust."""

import pytest
from lakes import KINDS, OLD_VERSIONS, LakeError, child


@pytest.mark.parametrize("data", ["local", "s3"])
@pytest.mark.parametrize("kind", KINDS)
def test_copy_of_a_lake_is_the_same_lake(kind, data, make_lake):
    lake = make_lake(kind, data)
    lake.same(lake.before())
    assert any(one.endswith(".puffin") for one in lake.files())
    assert any("-delete.parquet" in one for one in lake.files())


def test_fingerprint_sees_one_changed_row(make_lake):
    lake = make_lake("sqlite", rich=False)
    with lake.open() as process:
        process.sql("UPDATE t SET s = 'other' WHERE i = 5")
    with pytest.raises(AssertionError, match="main.t"):
        lake.same(lake.before())


def test_fingerprint_sees_a_missing_file(make_lake):
    lake = make_lake("duckdb", rich=False)
    lake.remove(lake.files()[0])
    with pytest.raises(AssertionError, match="error"):
        lake.same(lake.before())


def test_password_is_asked_for(postgres):
    database = postgres.database()
    right = "ducklake:postgres:" + postgres.conninfo(database, password=True)
    child("1.5.5", right, {"DATA_PATH": "/tmp/none/"}).close()
    with pytest.raises(LakeError, match="password|authentication"):
        child("1.5.5", right.replace("4711", "4712"), {"DATA_PATH": "/tmp/none/"})


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_old_versions_make_lakes(make_lake, version):
    for kind in KINDS[: 1 if version == "1.3.0" else 3]:
        lake = make_lake(kind, version=version)
        before = lake.before()
        lake.same(before)
        assert len(before) > 60 and before["main.orders"][0] == "103"


@pytest.mark.parametrize("kind", KINDS)
def test_encrypted(make_lake, kind):
    lake = make_lake(kind, encrypted=True)
    lake.same(lake.before(), versions=[5])
    assert all(lake.read(name)[:4] == b"PARE" for name in lake.files() if name.endswith(".parquet"))
