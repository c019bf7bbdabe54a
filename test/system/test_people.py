"""What people and their monitoring see: tables, metrics, the report, hooks, the terminal."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import termios
import time

import pytest
from conftest import DONE, FAILED, MISSING, USAGE

LONG_NAME = "a-name-of-sixty-four-letters-the-longest-that-there-may-be-00001"


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "etc"
    source.mkdir()
    for i in range(5):
        (source / f"file-{i}.conf").write_text(f"setting = {i}\n" * 100)
    deep = source / ("long-folder-name-" * 5)
    deep.mkdir()
    (deep / ("x" * 100)).write_text("deep")
    return f"dir:{source}"


# ---- tables -------------------------------------------------------------------------------------


def too_wide(text):
    return [line for line in text.splitlines() if len(line) > 80]


def test_tables_fit_80_columns(cb, folder, tmp_path):
    assert len(LONG_NAME) == 64
    env = {"CANVASBACK_PASSPHRASE": "correct horse", "CANVASBACK_NEW_PASSPHRASE": "battery"}
    cb("init", "--encrypt", env=env)
    for name in (LONG_NAME, "etc"):
        for _ in range(2):
            cb("backup", folder, "--name", name, "--tag", f"words={'many ' * 30}", env=env)
    cb("repo", "key", "add", "--label", "l" * 100, env=env)
    for words in (
        ["list"],
        ["show", LONG_NAME],
        ["show", "etc", "--all"],
        ["repo"],
        ["repo", "key", "list"],
        ["verify"],
        ["expire", "--keep-last", "1", "--dry-run"],
        ["repo", "sync", cb.repo, tmp_path / "second", "--dry-run"],
        ["repo", "sync", cb.repo, tmp_path / "second"],
        ["repo", "sync", cb.repo, tmp_path / "second"],
    ):
        result = cb.run(*words, env=env)
        assert result.code == DONE, result.err
        assert result.out and too_wide(result.out) == [], words
    # A name that is cut keeps its label, which is what tells the backups apart.
    lines = [line for line in cb.run("list", env=env).out.splitlines() if "…" in line]
    assert any(re.match(r"a-name-\S*…\S*@\d{8}-\d{6}(-\d+)? ", line) for line in lines), lines


def test_check_of_a_folder_as_store(cb):
    cb("repo", "--check", code=MISSING)
    cb.repo.mkdir()
    result = cb("repo", "--check")
    assert result.json["address"].endswith(str(cb.repo)) and result.json["writable"] is True
    assert result.json["is_repository"] is False
    cb("init")
    result = cb("repo", "check")
    assert result.json["is_repository"] is True and result.json["create_if_absent"] is True
    assert not list(cb.repo.rglob("*.tmp*"))
    text = cb.run("repo", "--check")
    assert text.code == DONE and too_wide(text.out) == []
    assert cb("list").json == []


# ---- metrics ------------------------------------------------------------------------------------

SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})?'
    r" ([0-9.eE+-]+|NaN|[+-]Inf)"
)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')


def parse_metrics(text):
    """{(metric, name, command): value}, by the rules of the text format, strictly."""
    assert text.endswith("\n")
    values, typed, helped, current, closed = {}, set(), set(), None, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            metric = line.split(" ", 3)[2]
            assert metric not in helped and line.split(" ", 3)[3]
            helped.add(metric)
            continue
        if line.startswith("# TYPE "):
            _, _, metric, kind = line.split(" ")
            assert kind == "gauge" and metric not in typed
            typed.add(metric)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        metric = match[1]
        assert metric in typed and metric in helped
        if metric != current:
            assert metric not in closed, f"{metric} is not in one piece"
            closed.add(metric)
            current = metric
        labels = dict(LABEL.findall(match[2] or ""))
        key = (metric, labels.get("name"), labels.get("command"))
        assert key not in values
        values[key] = float(match[3])
    return values


def test_metrics(cb, folder):
    cb("backup", folder)
    first = parse_metrics(cb.run("metrics").out)
    assert first["canvasback_backups", "etc", None] == 1
    assert 0 <= first["canvasback_backup_age_seconds", "etc", None] < 60
    stamp = first["canvasback_backup_last_timestamp_seconds", "etc", None]
    assert abs(stamp - time.time()) < 60
    shown = cb("show", "etc").json
    for field in ("source_bytes", "new_bytes", "stored_bytes"):
        assert first[f"canvasback_backup_{field}", "etc", None] == shown[field]
    assert ("canvasback_verified_timestamp_seconds", "etc", None) not in first
    assert first["canvasback_unverified_backups", "etc", None] == 1
    assert first["canvasback_last_run_exit_code", "etc", "backup"] == 0
    cb("verify", "etc")
    second = parse_metrics(cb.run("metrics").out)
    assert abs(second["canvasback_verified_timestamp_seconds", "etc", None] - time.time()) < 60
    assert second["canvasback_last_run_exit_code", "etc", "verify"] == 0


def test_metrics_tell_of_failed_runs(cb, folder, tmp_path):
    """Also of a name that never had a backup, and without any repository to write to."""
    cb("backup", folder)
    cb("backup", tmp_path / "not there.duckdb", "--name", "gone", code=FAILED)
    cb("backup", f"dir:{tmp_path}/nothing", "--name", "etc", code=FAILED)
    values = parse_metrics(cb.run("metrics").out)
    assert values["canvasback_last_run_exit_code", "gone", "backup"] == 1
    assert values["canvasback_last_run_exit_code", "etc", "backup"] == 1
    assert values["canvasback_backups", "etc", None] == 1
    cb("backup", folder)
    values = parse_metrics(cb.run("metrics").out)
    assert values["canvasback_last_run_exit_code", "etc", "backup"] == 0
    # Another repository knows nothing of it.
    cb("init", "--repo", tmp_path / "other")
    assert "last_run_exit_code{" not in cb.run("metrics", "--repo", tmp_path / "other").out
    assert cb.run("metrics", "--repo", tmp_path / "nowhere").code == MISSING


def test_metrics_to_a_file(cb, folder, tmp_path):
    """The file is replaced as a whole, links are followed, and a failure leaves the old one."""
    cb("backup", folder)
    place = tmp_path / "collector"
    place.mkdir()
    (place / "link.prom").symlink_to("real.prom")
    (place / "real.prom").write_text("old")
    inode = (place / "real.prom").stat().st_ino
    result = cb("metrics", "--output", place / "link.prom")
    assert result.json["output"].endswith("link.prom")
    assert (place / "link.prom").is_symlink() and (place / "real.prom").stat().st_ino != inode
    parse_metrics((place / "real.prom").read_text())
    assert sorted(os.listdir(place)) == ["link.prom", "real.prom"]
    assert (place / "real.prom").stat().st_mode & 0o444 == 0o444
    before = (place / "real.prom").read_text()
    cb("metrics", "--output", place / "real.prom", "--repo", tmp_path / "none", code=MISSING)
    cb("metrics", "--output", tmp_path / "no" / "such" / "x.prom", code=FAILED)
    assert (place / "real.prom").read_text() == before
    assert cb.run("metrics", "--output", "/dev/stdout").out.count("canvasback_info{") == 1


# ---- hooks --------------------------------------------------------------------------------------


def test_hooks_see_what_json_says(cb, folder, tmp_path):
    seen = tmp_path / "seen"
    told = cb("backup", folder, "--after", f"cat > {seen}").json
    assert json.loads(seen.read_text()) == told
    told = cb("verify", "etc", "--after", f"cat > {seen}").json
    assert json.loads(seen.read_text()) == told
    text = cb.run("expire", "etc", "--keep-last", "1", "--after", f"cat > {seen}")
    assert text.code == DONE and json.loads(seen.read_text())["kept"]
    told = cb("restore", "etc", tmp_path / "back", "--after", f"cat > {seen}").json
    assert json.loads(seen.read_text()) == told

    missing = cb("restore", "etc@1999", tmp_path / "x", "--on-failure", f"cat > {seen}", code=MISSING)
    failure = json.loads(seen.read_text())
    assert failure["error"] == missing.error
    assert (failure["command"], failure["name"], failure["exit_code"]) == ("restore", "etc", 5)


def test_hooks_get_no_secret(cb, folder, tmp_path):
    secret = "a very secret passphrase"
    file = tmp_path / "pass"
    file.write_text(secret + "\n")
    seen = tmp_path / "seen"
    dump = f"(env; tr '\\0' ' ' < /proc/$PPID/cmdline; cat) >> {seen}"
    options = ["--passphrase-file", file, "--before", dump, "--after", dump]
    cb("init", "--encrypt", "--passphrase-file", file)
    cb("backup", folder, *options)
    cb("verify", "other", *options, "--on-failure", dump, code=MISSING)
    assert seen.read_text().count("CANVASBACK_HOOK=") == 5
    assert secret not in seen.read_text()
    for note in (cb.home / ".local/state/canvasback/runs").iterdir():
        assert secret not in note.read_text()


def test_a_hook_may_run_the_program(cb, folder, tmp_path):
    """A line of the configuration file is no reason to run for ever."""
    config = tmp_path / "c.ini"
    trace = tmp_path / "trace"
    config.write_text(
        f"after = echo x >> {trace}; {cb.path} backup {folder} --config {config} --name inner\n"
    )
    cb("backup", folder, "--config", config)
    assert trace.read_text() == "x\n"
    assert len(cb.labels("inner")) == 1


# ---- several repositories -----------------------------------------------------------------------


def test_backup_into_several_repositories(cb, folder, tmp_path):
    config = tmp_path / "c.ini"
    one, two = tmp_path / "one", tmp_path / "two"
    config.write_text(f"repo = {one}\nrepo = {two}\n")
    env = {"CANVASBACK_REPO": None}
    result = cb("backup", folder, "--config", config, env=env).json
    assert [place["address"] for place in result["places"]] == [str(one), str(two)]
    for repo in (one, two):
        assert len(cb("list", "--repo", repo).json) == 1
        assert cb("verify", "--repo", repo).json["damaged"] == []
    # One that cannot be written does not stop the others, and is told.
    two.rename(tmp_path / "away")
    two.write_text("a file in its place")
    result = cb("backup", folder, "--config", config, env=env, code=FAILED)
    assert [place["error"] is None for place in result.json["places"]] == [True, False]
    assert str(two) in result.err and len(cb("list", "--repo", one).json) == 2
    text = cb.run("backup", folder, "--config", config, env=env)
    assert text.code == FAILED and "FAILED" in text.out
    # What the flags say replaces the list of the file.
    result = cb("backup", folder, "--config", config, "--repo", one, env=env).json
    assert "places" not in result
    runs = parse_metrics(cb.run("metrics", "--repo", one).out)
    assert runs["canvasback_last_run_exit_code", "etc", "backup"] == 0


# ---- report -------------------------------------------------------------------------------------


@pytest.fixture
def chromium(tmp_path):
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if not program:
        pytest.skip("no chromium")

    def run(*words):
        done = subprocess.run(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", f"--user-data-dir={tmp_path}/chromium", *words],
            capture_output=True, text=True, timeout=100, env={**os.environ, "HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def outside(html):
    """All that would make a browser fetch something."""
    return re.findall(r"""(?:src|href|srcset|data|action)\s*=|url\(|@import|<link|<script|https?://""",
                      html)


@pytest.fixture
def page(cb, folder, tmp_path):
    for name in ("etc", LONG_NAME):
        for _ in range(3):
            cb("backup", folder, "--name", name)
    cb("verify", "etc")
    cb("backup", tmp_path / "<b>gone & away</b>.duckdb", "--name", "gone", code=FAILED)
    path = tmp_path / "report.html"
    result = cb.run("report", "--html", path)
    assert result.code == DONE and str(path) in result.out
    return path


def test_report(cb, page):
    html = page.read_bytes().decode("utf-8")
    assert outside(html) == []
    assert html.count("<svg") == 3 and "No good backup." in html and LONG_NAME in html
    assert "<b>gone" not in html and "&lt;b&gt;gone &amp; away" in html
    assert len(html) < 50000
    assert cb.run("report").code == USAGE


MEASURE = """<script>addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(
    (e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.tagName);
  const d = document.documentElement;
  parent.document.documentElement.setAttribute("data-found", [innerWidth, d.scrollWidth, getComputedStyle(document.body).fontSize,
    wide.join("+")].join(","));
});</script></body>"""


@pytest.mark.parametrize("width", [390, 1280])
def test_report_fits_the_screen(chromium, page, tmp_path, width):
    """Nothing is wider than the screen, with all lists open, and text is of readable size."""
    html = page.read_text()
    html = re.sub(r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", html)
    html = html.replace("<details>", "<details open>").replace("</body>", MEASURE)
    # A window is never narrower than 500; a frame in it is.
    quoted = html.replace("&", "&amp;").replace('"', "&quot;")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f"<!doctype html><meta charset=utf-8><body style='margin:0'><iframe srcdoc=\"{quoted}\" "
        f"style='border:0;width:{width}px;height:4000px'></iframe>"
    )
    dom = chromium("--window-size=1300,2000", "--dump-dom", frame.as_uri())
    inner, scroll, font, wide = re.search(r'data-found="([^"]*)"', dom)[1].split(",")
    assert int(inner) == width
    assert int(scroll) <= width and wide == "" and font == "16px"
    picture = tmp_path / "report.png"
    chromium(f"--window-size={max(width, 500)},4000", f"--screenshot={picture}", frame.as_uri())
    assert picture.stat().st_size > 10000


# ---- the terminal -------------------------------------------------------------------------------


class Terminal:
    """The program with a terminal of its own. What the terminal shows is gathered in `shown`."""

    def __init__(self, cb, *words, env=None):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(cb.path, [cb.path, *map(str, words)], {**cb.env, **(env or {})})
        self.shown = ""

    def read_until(self, text, timeout=30):
        end = time.monotonic() + timeout
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            if not self.read_for(0.2):
                break
        assert text in self.shown, self.shown

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def answer(self, prompt, text):
        self.read_until(prompt)
        end = time.monotonic() + 10
        while self.echoes():
            assert time.monotonic() < end
            time.sleep(0.01)
        self.shown = ""
        os.write(self.fd, text.encode() + b"\n")

    def read_for(self, seconds):
        """Gather what is shown within that time. False when there will be nothing more."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            self.shown += os.read(self.fd, 4096).decode(errors="replace")
        except OSError:  # the program closed its side
            return False
        return True

    def wait(self):
        end = time.monotonic() + 60
        while self.read_for(0.5):
            assert time.monotonic() < end, self.shown
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_passphrase_from_the_terminal(cb, folder):
    terminal = Terminal(cb, "init", "--encrypt")
    terminal.answer("passphrase for the new repository: ", "öpen sesame")
    terminal.answer("the same again: ", "öpen sesame")
    assert terminal.wait() == DONE and "sesame" not in terminal.shown
    assert "AES-256-GCM" in terminal.shown
    assert terminal.echoes()
    cb("backup", folder, env={"CANVASBACK_PASSPHRASE": "öpen sesame"})

    terminal = Terminal(cb, "list", "-q")
    terminal.answer(": ", "wrong")
    assert terminal.wait() == FAILED
    terminal = Terminal(cb, "list", "-q")
    terminal.answer(": ", "öpen sesame")
    assert terminal.wait() == DONE and "etc@" in terminal.shown


def test_two_passphrases_that_differ(cb):
    terminal = Terminal(cb, "init", "--encrypt")
    terminal.answer("passphrase for the new repository: ", "one")
    terminal.answer("the same again: ", "two")
    assert terminal.wait() == USAGE and "not the same" in terminal.shown
    assert not cb.repo.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_terminal_is_left_as_it_was(cb, number):
    terminal = Terminal(cb, "init", "--encrypt")
    terminal.read_until("passphrase for the new repository: ")
    end = time.monotonic() + 10
    while terminal.echoes():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(terminal.pid, number)
    assert terminal.wait() != DONE
    assert terminal.echoes() and not cb.repo.exists()


def test_nobody_to_ask(cb, folder):
    """No terminal: exit 2, and nothing was touched."""
    result = cb("init", "--encrypt", code=USAGE, prefix=["setsid"])
    assert "--passphrase-file" in result.error["hint"] and not cb.repo.exists()
    cb("init", "--encrypt", env={"CANVASBACK_PASSPHRASE": "x"})
    for words in (["list"], ["backup", folder], ["verify"], ["repo", "key", "list"]):
        assert cb.run(*words, prefix=["setsid"]).code == USAGE, words
    assert cb("repo", "key", "add", code=USAGE, prefix=["setsid"],
              env={"CANVASBACK_PASSPHRASE": "x"}).error["message"]
