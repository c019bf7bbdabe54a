"""Labels, times and clocks: what `latest` and --time choose, also when the clock was wrong."""

import datetime

import pytest
from conftest import MISSING, USAGE

HOUR, DAY = 3600, 86400


def parse(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


@pytest.fixture
def timeline(cb, tmp_path, history, at_offset):
    """Three backups, three, two and one hours ago, of states one, two and three."""
    db = tmp_path / "db.duckdb"
    for state, hours in (("one", 3), ("two", 2), ("three", 1)):
        history.place(state, db)
        cb("backup", db, env=at_offset(-hours * HOUR))
    return cb("list", "db").json


def restored(cb, tmp_path, history, *options):
    target = tmp_path / "back.duckdb"
    result = cb("restore", "db", target, "--force", *options)
    content = history.samples.content(target)
    return [state for state, expected in history.content.items() if content == expected], result


def test_time_chooses(cb, tmp_path, history, timeline):
    points = [parse(entry["point"]) for entry in timeline]
    assert points == sorted(points)
    for point, state in zip(points, ("one", "two", "three")):
        for later in (0, 1000):
            when = point + datetime.timedelta(seconds=later)
            text = when.strftime("%Y-%m-%d %H:%M:%S.%f") + "Z"
            assert restored(cb, tmp_path, history, "--time", text)[0] == [state], text
        before = (point - datetime.timedelta(microseconds=1)).strftime("%Y-%m-%d %H:%M:%S.%fZ")
        if state == "one":
            error = cb("restore", "db", tmp_path / "no", "--time", before, code=MISSING).error
            assert error["code"] == "not-found" and error["hint"]
            assert not (tmp_path / "no").exists()
        else:
            found = restored(cb, tmp_path, history, "--time", before)[0]
            assert found and found != [state]


def test_time_zones(cb, tmp_path, history, timeline):
    """A time without a zone is local, and said again in UTC."""
    when = parse(timeline[1]["point"]) + datetime.timedelta(minutes=10)
    east = when + datetime.timedelta(hours=5, minutes=30)
    text = east.strftime("%Y-%m-%d %H:%M:%S+05:30")
    assert restored(cb, tmp_path, history, "--time", text)[0] == ["two"]
    local = east.strftime("%Y-%m-%d %H:%M:%S")
    target = tmp_path / "local.duckdb"
    result = cb("restore", "db", target, "--time", local, env={"TZ": "Asia/Kolkata"})
    assert when.strftime("%H:%M:%S") in result.err
    assert history.samples.content(target) == history.content["two"]
    for text in ("yesterday", "2026-13-01 00:00:00", "2026-02-30 00:00:00", "12:00", ""):
        assert cb("restore", "db", tmp_path / "no", "--time", text, code=USAGE).error["hint"]


def test_labels(cb, tmp_path, history, timeline):
    labels = [entry["label"] for entry in timeline]
    for entry in timeline:
        started = parse(entry["started"])
        assert entry["label"].startswith(started.strftime("%Y%m%d-%H%M%S"))
    for label, state in zip(labels, ("one", "two", "three")):
        cb("restore", f"db@{label}", tmp_path / f"{state}.duckdb")
        shown = cb("show", f"db@{label}").json
        assert shown["label"] == label
    back = history.samples.contents(*[tmp_path / f"{s}.duckdb" for s in ("one", "two", "three")])
    assert back == list(history.content.values())
    ambiguous = cb("show", "db@2", code=(USAGE, MISSING)).error
    assert ambiguous["hint"] or labels[0] in ambiguous["message"]
    assert cb("show", "db@latest").json["label"] == labels[2]
    assert cb("show", "db").json["label"] == labels[2]
    # What list prints is ready to paste.
    text = cb.run("list", "db").out
    assert f"db@{labels[0]}" in text


def test_same_second(cb, tmp_path, history):
    """Two in one second: the later gets -2."""
    db = history.place("one", tmp_path / "db.duckdb")
    for _ in range(6):
        cb("backup", db)
    labels = cb.labels("db")
    assert len(set(labels)) == 6
    assert any(label.count("-") == 2 for label in labels)
    assert all(cb("show", f"db@{label}").json["label"] == label for label in labels)


@pytest.mark.parametrize("jump", [-60, -HOUR, -40 * DAY, -20 * 365 * DAY])
def test_clock_jumps_back(cb, tmp_path, history, at_offset, jump):
    """The newest backup is the one that was taken last, whatever its label says."""
    db = tmp_path / "db.duckdb"
    for state, offset in (("one", 0), ("two", jump), ("three", jump)):
        history.place(state, db)
        cb("backup", db, env=at_offset(offset), timeout=60)
    entries = cb("list", "db").json
    assert entries[-1]["label"] < entries[0]["label"]
    assert restored(cb, tmp_path, history)[0] == ["three"]
    assert cb("verify").json["damaged"] == []
    cb("expire", "db", "--keep-last", 1, env=at_offset(jump), timeout=60)
    assert restored(cb, tmp_path, history)[0] == ["three"]


def test_clock_jumps_ahead_and_back(cb, tmp_path, history, at_offset):
    """A backup from the future must not live for ever, nor push the others out."""
    db = history.place("one", tmp_path / "db.duckdb")
    cb("backup", db, env=at_offset(400 * DAY))
    for state in ("two", "three"):
        history.place(state, db)
        cb("backup", db)
    assert restored(cb, tmp_path, history)[0] == ["three"]
    cb("expire", "db", "--keep-last", 2)
    assert restored(cb, tmp_path, history)[0] == ["three"]
    assert cb("verify").json["damaged"] == []


def test_killed_run_with_another_clock(cb, tmp_path, history, at_offset):
    """Locks expire by the store's clock, not by that of a host."""
    db = history.place("one", tmp_path / "db.duckdb")
    cb("backup", db, env=at_offset(-3 * HOUR))
    cb("backup", db, "--lock-wait", 0, env=at_offset(3 * HOUR))
    cb("expire", "db", "--keep-last", 1, "--lock-wait", 0, env=at_offset(-10 * DAY))
    assert cb("verify").json["damaged"] == []
