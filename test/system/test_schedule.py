"""What `schedule` prints: it never makes a repository, waits for others, logs, and expires."""

import re
import shlex
import subprocess

import pytest
from conftest import USAGE


def printed(cb, db, *options, kind="cron"):
    result = cb.run("schedule", db, "--kind", kind, *options)
    assert result.code == 0, result.err
    return result.out


def test_crontab(cb, tmp_path, history):
    db = history.place("one", tmp_path / "my db.duckdb")
    text = printed(cb, db, "--name", "prod", "--daily", "02:30", "--keep-last", 7, "--repo", cb.repo)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    line = next(line for line in lines if re.match(r"^\d", line))
    assert line.startswith("30 2 * * * ")
    assert "--no-create" in line and "--lock-wait" in line
    assert "expire" in line and "--keep-last" in line and str(cb.repo) in line

    # The line does what it says, run as cron would.
    command = line.split(" ", 5)[5].replace("\\%", "%")
    cb("backup", db, "--name", "prod")
    done = subprocess.run(
        ["/bin/sh", "-c", command], env={"HOME": str(cb.home), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == "", "cron would send mail"
    assert len(cb.labels("prod")) == 2
    logs = list(cb.home.rglob("*.log")) + list(tmp_path.rglob("prod.log"))
    assert logs or "/var/log" in command
    assert shlex.split(command)


def test_no_repository_is_made(cb, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    log = tmp_path / "log" / "db.log"
    text = printed(cb, db, "--hourly", "--repo", cb.repo, "--log-file", log)
    line = next(line for line in text.splitlines() if re.match(r"^\d", line))
    command = line.split(" ", 5)[5].replace("\\%", "%")
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert not cb.repo.exists()
    assert log.exists() and log.read_text()


def test_systemd(cb, tmp_path, history):
    db = history.place("one", tmp_path / "my db.duckdb")
    text = printed(
        cb, db, "--name", "prod", "--daily", "02:30", "--keep-daily", 7, "--keep-weekly", 4,
        "--repo", cb.repo, kind="systemd",
    )
    assert "[Timer]" in text and "[Service]" in text
    assert re.search(r"OnCalendar=.*02:30", text)
    assert "--no-create" in text and "--lock-wait" in text
    assert "--keep-daily" in text and "--keep-weekly" in text
    assert "Persistent=true" in text


@pytest.mark.parametrize("when", [["--hourly"], ["--weekly", "sun 03:00"], ["--every", "15m"]])
def test_times(cb, tmp_path, history, when):
    db = history.place("one", tmp_path / "db.duckdb")
    cron = printed(cb, db, *when)
    expected = {"--hourly": r"^0 \* ", "--weekly": r"^0 3 \* \* (0|7|sun)", "--every": r"^(\*/15|0,15,30,45) "}
    assert re.search(expected[when[0]], cron, re.MULTILINE | re.IGNORECASE), cron
    assert "OnCalendar" in printed(cb, db, *when, kind="systemd")


def test_wrong_times(cb, tmp_path, history):
    db = history.place("one", tmp_path / "db.duckdb")
    for when in (["--daily", "25:00"], ["--daily", "2"], ["--weekly", "someday 03:00"],
                 ["--every", "1s"], [], ["--daily", "02:00", "--hourly"]):
        result = cb("schedule", db, *when, code=USAGE)
        assert result.error["message"], when
