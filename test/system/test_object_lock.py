"""--lock-for: everything that a backup needs is locked in the store, what it shares with older ones
too, and `show` says until when."""

import datetime

import pytest
from conftest import FAILED, Canvasback
from servers import Place


def days(text):
    until = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (until - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def locked(request, minio, tmp_path):
    place = Place(minio.bucket(locked=True), tmp_path, encrypted=request.param)
    return place, place.prepare(Canvasback(tmp_path))


def test_all_is_locked_and_extended(locked, history, tmp_path):
    place, cb = locked
    path = history.place("one", tmp_path / "prod.duckdb")
    first = cb("backup", path, "--lock-for", "2d").json["label"]
    assert 1.9 < days(cb("show", f"prod@{first}").json["locked_until"]) < 2.1

    history.place("two", path)
    second = cb("backup", path, "--lock-for", "30d").json["label"]
    assert 29.9 < days(cb("show", f"prod@{second}").json["locked_until"]) < 30.1
    # The first has a manifest of its own, and what only it needs.
    assert days(cb("show", f"prod@{first}").json["locked_until"]) < 2.1
    # More than half is left: nothing is touched.
    cb("backup", path, "--lock-for", "50d")
    assert days(cb("show", f"prod@{second}").json["locked_until"]) < 30.1

    cb("expire", "--keep-last", "3", "--lock-for", "60d")
    for label in (first, second):
        assert days(cb("show", f"prod@{label}").json["locked_until"]) > 29.9
    cb("verify")


def test_without_locks_none_are_shown(locked, history, tmp_path):
    place, cb = locked
    cb("backup", history.place("one", tmp_path / "prod.duckdb"))
    assert cb("show", "prod").json["locked_until"] is None


def test_a_place_without_locks_says_so(cb, history, tmp_path):
    path = history.place("one", tmp_path / "prod.duckdb")
    failed = cb("backup", path, "--lock-for", "2d", code=FAILED)
    assert failed.error["code"] == "unsupported"
    assert cb.labels() == []
    cb("backup", path)
    assert cb("show", "prod").json["locked_until"] is None
