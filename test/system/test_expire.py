"""Which backups stay, why, and that the space is really given back."""

import os

import pytest
from conftest import MISSING, USAGE

HOUR, DAY = 3600, 86400


def size_of(folder):
    return sum(
        os.path.getsize(os.path.join(where, name))
        for where, _, names in os.walk(folder)
        for name in names
    )


@pytest.fixture
def month(cb, tmp_path, history, at_offset):
    """A backup every 12 hours for 15 days, oldest first; the clock of the test is at noon."""
    import time

    noon = 12 * HOUR - time.time() % DAY
    db = history.place("one", tmp_path / "db.duckdb")
    offsets = [noon - 12 * HOUR * n for n in reversed(range(30))]
    for offset in offsets:
        cb("backup", db, env=at_offset(offset))
    return cb, at_offset(noon + 60), [entry["label"] for entry in cb("list").json]


def kept_by(month, *rules):
    cb, env, labels = month
    text = cb.run("expire", "db", *rules, "--dry-run", env=env)
    assert text.code == 0, text.err
    result = cb("expire", "db", *rules, "--dry-run", env=env).json
    assert cb.labels("db") == labels, "--dry-run removed something"
    removed = set(result["removed"])
    kept = [label for label in labels if label not in removed]
    for label in labels:
        assert label in text.out
    return kept


def test_rules(month):
    _, _, labels = month
    assert kept_by(month, "--keep-last", 5) == labels[-5:]
    assert kept_by(month, "--keep-last", 1000) == labels
    # The newest of each day: labels alternate between midnight and noon, the last is at noon.
    by_day = {label[:8]: label for label in labels}
    days = sorted(by_day.values())
    assert kept_by(month, "--keep-daily", 7) == days[-7:]
    assert kept_by(month, "--keep-hourly", 4) == labels[-4:]
    assert kept_by(month, "--keep-within", "73h") == labels[-7:]
    assert kept_by(month, "--keep-within", "37h") == labels[-4:]
    weekly = kept_by(month, "--keep-weekly", 2)
    assert len(weekly) == 2 and weekly[-1] == labels[-1]
    assert kept_by(month, "--keep-yearly", 1) == labels[-1:]
    monthly = kept_by(month, "--keep-monthly", 12)
    assert len(monthly) == len({label[:6] for label in labels})
    both = kept_by(month, "--keep-last", 3, "--keep-daily", 4)
    assert both == sorted({*labels[-3:], *days[-4:]})


def test_days_are_local(month):
    """Midnight UTC is another day elsewhere."""
    cb, env, labels = month
    zone = {**env, "TZ": "America/New_York"}
    result = cb("expire", "db", "--keep-daily", 3, "--dry-run", env=zone).json
    kept = [label for label in labels if label not in set(result["removed"])]
    # There the backups of 00:00 UTC are the evening ones of the day before.
    assert len(kept) == 3 and kept[-1] == labels[-1]
    assert [label[9:11] for label in kept[:-1]] == ["00", "00"]


def test_no_rule(cb, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    cb("backup", db)
    error = cb("expire", "db", code=USAGE).error
    assert "--keep-daily 7 --keep-weekly 4" in error["hint"]
    for value in ("-1", "x", "", "3d"):
        assert cb("expire", "db", f"--keep-last={value}", code=USAGE).error["message"]
    for value in ("5", "3 fortnights", "-1d", "d"):
        cb("expire", "db", f"--keep-within={value}", code=USAGE if value != "5" else None)
    assert cb("expire", "other", "--keep-last", 1, code=MISSING).error["hint"]
    assert len(cb.labels()) == 1


def test_zero_is_no_rule(cb, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    cb("backup", db)
    cb("backup", db)
    cb("expire", "db", "--keep-last", 0, code=(USAGE, 0))
    assert cb.labels()


def test_newest_good_backup_stays(cb, tmp_path, history, at_offset):
    db = history.place("one", tmp_path / "db.duckdb")
    cb("backup", db, env=at_offset(-50 * DAY))
    result = cb("expire", "db", "--keep-within", "1d").json
    assert result["removed"] == [] and len(cb.labels()) == 1
    cb("restore", "db", tmp_path / "back.duckdb")


def test_space_is_given_back(cb, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    cb("backup", db)
    one = size_of(cb.repo)
    for state in ("two", "three"):
        history.place(state, db)
        cb("backup", db, "--full")
    full = size_of(cb.repo)
    assert full > 2.5 * one
    dry = cb("expire", "db", "--keep-last", 1, "--dry-run").json
    assert size_of(cb.repo) == full and len(dry["removed"]) == 2
    result = cb("expire", "db", "--keep-last", 1).json
    assert result["removed"] == dry["removed"]
    kept = result["kept"]
    assert kept == 1 or kept == cb.labels("db")
    left = size_of(cb.repo)
    assert result["freed_bytes"] >= 0.9 * (full - left) > one
    assert left < 1.6 * one
    assert cb("verify").json["damaged"] == []
    cb("restore", "db", tmp_path / "back.duckdb")
    assert history.samples.content(tmp_path / "back.duckdb") == history.content["three"]
    # Nothing more to do.
    again = cb("expire", "db", "--keep-last", 1).json
    assert again["removed"] == [] and again["freed_bytes"] == 0


def test_each_name_by_itself(cb, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    for name in ("a", "b"):
        for _ in range(3):
            cb("backup", db, "--name", name)
    cb("forget", "a", "--keep-last", 2)
    assert [len(cb.labels(name)) for name in "ab"] == [2, 3]
    cb("expire", "--keep-last", 1)
    assert [len(cb.labels(name)) for name in "ab"] == [1, 1]
    # What the last backup of a name shares with another name's is still there.
    for name in "ab":
        cb("restore", name, tmp_path / f"{name}.duckdb")


def test_rules_from_the_configuration(cb, tmp_path, history):
    """A section's rules are its name's."""
    db = history.place("one", tmp_path / "db.duckdb")
    for name in ("a", "b"):
        for _ in range(4):
            cb("backup", db, "--name", name)
    config = tmp_path / "canvasback.ini"
    config.write_text("keep-last = 3\n\n[b]\nkeep-last = 1\n")
    cb("expire", "--config", config)
    assert [len(cb.labels(name)) for name in "ab"] == [3, 1]
