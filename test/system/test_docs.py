"""The commands of the documents, run as a reader would, in order, in a folder that has what they
speak of. A block

    ```sh        is run by bash, and must end well;
    ```text      after it holds what it prints: the same words, whatever the numbers;
    <!-- run     in a comment is run too: what happens behind the reader's back.

With CB_DOCS_WRITE=1 the text blocks are written anew, to be read before they are committed.
"""

import contextlib
import os
import pathlib
import re
import shlex
import subprocess
import tempfile

import pytest
from conftest import ROOT, Canvasback, duckdb_python, venv_python
from lakes import LAKE_VERSION, lake_python
from servers import Refused

DOCUMENTS = ["README.md", "doc/recovery.md", "doc/duckdb.md", "doc/sqlite.md", "doc/dir.md",
             "doc/ducklake.md", "doc/monitoring.md"]
BLOCK = re.compile(r"^(?:```(sh|text)\n(.*?)^```|<!-- (run)\n(.*?)^-->)$", re.MULTILINE | re.DOTALL)

APP = """
import sqlite3, sys
con = sqlite3.connect(sys.argv[1])
con.execute("PRAGMA journal_mode = WAL")
con.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
con.executemany("INSERT INTO users (name) VALUES (?)", [(f"user {i}",) for i in range(5000)])
con.commit()
"""


OLD_LAKE = """
import glob, sys, duckdb
packages = next(folder for folder in sys.path if folder.endswith("site-packages"))
con = duckdb.connect()
for name in ("ducklake", "sqlite_scanner"):
    found = glob.glob(f"{packages}/**/{name}.duckdb_extension", recursive=True)
    con.execute(f"LOAD '{found[0]}'")
con.execute(f"ATTACH '{sys.argv[1]}' AS lake (DATA_PATH '{sys.argv[2]}')")
con.execute("CREATE TABLE lake.t AS SELECT i, 'old' AS s FROM range(1000) r(i)")
con.execute("DELETE FROM lake.t WHERE i < 10")
"""


def tool(folder, name, *words):
    """A command of this name, which puts `words` before those it is given."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nexec {shlex.join(map(str, words))} "$@"\n')
    path.chmod(0o755)


def lake_tools(tools, request, s3):
    """The `duckdb` of a reader who has the extensions, and a PostgreSQL server that needs no telling;
    `lake-of-1.4` makes a lake of an older version. Returns the environment."""
    packages = pathlib.Path(lake_python(LAKE_VERSION)).parent.parent
    setup = ["SET autoinstall_known_extensions = false", "SET autoload_known_extensions = false"]
    for name in ("ducklake", "sqlite_scanner", "postgres_scanner", "httpfs"):
        setup.append(f"LOAD '{next(packages.rglob(f'{name}.duckdb_extension'))}'")
    if s3:
        setup.append(
            f"CREATE SECRET (TYPE s3, KEY_ID '{s3.root.access_key}', SECRET '{s3.root.secret}', URL_STYLE 'path',"
            f" ENDPOINT '{s3.endpoint.removeprefix('http://')}', USE_SSL false, REGION 'us-east-1')"
        )
    shells = pathlib.Path(venv_python(f"lake-cli-{LAKE_VERSION}", f"duckdb-cli=={LAKE_VERSION}")).parent.parent
    # The package's own command names the folder in which pip ran: the program itself lies elsewhere.
    shell = next(path for path in shells.rglob("duckdb_cli/duckdb") if path.is_file())
    quiet = [".output /dev/null", *setup, ".output"]  # it answers even where nothing was asked
    told = [word for line in quiet for word in ("-cmd", line)]
    tool(tools, "duckdb", shell, "-batch", *told)
    tool(tools, "lake-of-1.4", lake_python("1.4.4"), "-c", OLD_LAKE)
    server = request.getfixturevalue("postgres")
    return {"PGHOST": str(server.folder), "PGPORT": str(server.port), "PGUSER": "postgres"}


@pytest.fixture
def near():
    """A folder with a short name: a long one would be cut where the documents' is whole."""
    with tempfile.TemporaryDirectory(prefix="cbd", dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield pathlib.Path(folder)


@pytest.fixture
def scene(near, history):
    """prod.duckdb, app.db and the folder conf, as in the documents; they call their place /srv."""
    place = near / "srv"
    place.mkdir()
    history.place("two", place / "prod.duckdb")
    subprocess.run(["/usr/bin/python3", "-c", APP, place / "app.db"], check=True)
    (place / "conf" / "parts").mkdir(parents=True)
    (place / "conf" / "app.ini").write_text("[app]\nthreads = 4\n")
    (place / "conf" / "parts" / "a.ini").write_text("x = 1\n")
    (place / "conf" / "current").symlink_to("app.ini")
    cb = Canvasback(near)
    env = dict(cb.env)
    del env["CANVASBACK_REPO"]
    tools = near / "tools"
    tools.mkdir()
    (tools / "canvasback").symlink_to(cb.path)
    tool(tools, "python3", duckdb_python("1.5.6"))
    env["PATH"] = f"{tools}:{env['PATH']}"
    env["BASH_ENV"] = str(near / "exported")
    return place, env


def plain(text):
    """What must be equal: words and punctuation; not numbers, units, column widths."""
    text = re.sub(r"\b\d{8}-\d{6}(-\d+)?\b", "LABEL", text)
    text = re.sub(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID", text)
    text = re.sub(r"\b[0-9a-f]{16,}\b", "HEX", text)
    text = re.sub(r"\d[\d.,:]*( ?(bytes|B|[KMG]i?B|us|ms|s|min|h|%|x)\b)?", "N", text)
    text = re.sub(r"-{3,}|={3,}", "---", text)
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def run(script, place, env):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place, env=env, capture_output=True, text=True, timeout=120,
    )
    said = (done.stdout + done.stderr).replace(str(place), "/srv")
    said = said.replace(env["HOME"], "/home/me")
    said = re.sub(rf"\b{re.escape(os.uname().nodename)}\b", "myhost", said)  # it may be short
    assert done.returncode == 0, f"{script}\n{said}"
    return said


def my_bucket(minio):
    """The bucket of the README and what a reader has in the environment; nobody is there to answer."""
    with contextlib.suppress(Refused):  # another document has made it
        minio.request("PUT", "/my-bucket")
    return {
        **{key: value for key, value in minio.root.env().items() if value},
        "CANVASBACK_ENDPOINT": minio.endpoint,
        "CANVASBACK_S3_PATH_STYLE": "true",
        "CANVASBACK_PASSPHRASE": "correct horse battery staple",
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_document(scene, name, request):
    place, env = scene
    document = ROOT / name
    text = document.read_text()
    minio = request.getfixturevalue("minio") if "s3://my-bucket" in text else None
    if minio:
        env.update(my_bucket(minio))
    if "duckdb -" in text:
        env.update(lake_tools(place.parent / "tools", request, minio))
    said, written, position = None, [], 0
    for match in BLOCK.finditer(text):
        kind, body = (match[1], match[2]) if match[1] else (match[3], match[4])
        if kind == "text":
            if os.environ.get("CB_DOCS_WRITE"):
                written += [text[position : match.start(2)], said.strip(), "\n"]
                position = match.end(2)
            else:
                assert plain(body) == plain(said), f"{name}: it prints\n{said}"
        else:
            # `export` in one block holds in those that follow.
            said = run(body + "\nexport -p > ../exported", place, env)
    if written:
        document.write_text("".join(written) + text[position:])


def test_links():
    """Files that the documents point at are there."""
    for document in [ROOT / "README.md", *(ROOT / "doc").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
