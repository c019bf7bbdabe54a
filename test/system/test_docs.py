"""The commands of the documents, run as a reader would, in order, in a folder that has what they
speak of. A block

    ```sh        is run by bash, and must end well;
    ```text      after it holds what it prints: the same words, whatever the numbers;
    <!-- run     in a comment is run too: what happens behind the reader's back.

With CB_DOCS_WRITE=1 the text blocks are written anew, to be read before they are committed.
"""

import os
import re
import subprocess

import pytest
from conftest import ROOT, Canvasback, duckdb_python

DOCUMENTS = ["README.md", "doc/recovery.md", "doc/duckdb.md", "doc/sqlite.md", "doc/dir.md",
             "doc/monitoring.md"]
BLOCK = re.compile(r"^(?:```(sh|text)\n(.*?)^```|<!-- (run)\n(.*?)^-->)$", re.MULTILINE | re.DOTALL)

APP = """
import sqlite3, sys
con = sqlite3.connect(sys.argv[1])
con.execute("PRAGMA journal_mode = WAL")
con.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT)")
con.executemany("INSERT INTO users (name) VALUES (?)", [(f"user {i}",) for i in range(5000)])
con.commit()
"""


@pytest.fixture
def scene(tmp_path, history):
    """prod.duckdb, app.db and the folder conf, as in the documents; they call their place /srv."""
    place = tmp_path / "srv"
    place.mkdir()
    history.place("two", place / "prod.duckdb")
    subprocess.run(["/usr/bin/python3", "-c", APP, place / "app.db"], check=True)
    (place / "conf" / "parts").mkdir(parents=True)
    (place / "conf" / "app.ini").write_text("[app]\nthreads = 4\n")
    (place / "conf" / "parts" / "a.ini").write_text("x = 1\n")
    (place / "conf" / "current").symlink_to("app.ini")
    cb = Canvasback(tmp_path)
    env = dict(cb.env)
    del env["CANVASBACK_REPO"]
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "canvasback").symlink_to(cb.path)
    (tools / "python3").write_text(f'#!/bin/sh\nexec {duckdb_python("1.5.6")} "$@"\n')
    (tools / "python3").chmod(0o755)
    env["PATH"] = f"{tools}:{env['PATH']}"
    env["BASH_ENV"] = str(tmp_path / "exported")
    return place, env


def plain(text):
    """What must be equal: words and punctuation; not numbers, units, column widths."""
    text = re.sub(r"\b\d{8}-\d{6}(-\d+)?\b", "LABEL", text)
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
    said = said.replace(os.uname().nodename, "myhost")
    assert done.returncode == 0, f"{script}\n{said}"
    return said


def my_bucket(minio):
    """The bucket of the README and what a reader has in the environment; nobody is there to answer."""
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
    if "s3://my-bucket" in (ROOT / name).read_text():
        env.update(my_bucket(request.getfixturevalue("minio")))
    document = ROOT / name
    text = document.read_text()
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
