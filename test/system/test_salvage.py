"""A damaged backup of a DuckDB file: what is left comes back, the rest is named with the tables that
have data there, and no query reads anything else than was there."""

import re

import pytest
from conftest import DAMAGED

READ_EACH = """
con = duckdb.connect(args[0], read_only=True)
seen = {}
for (table,) in con.execute("SELECT table_name FROM duckdb_tables() ORDER BY ALL").fetchall():
    try:
        row = con.execute(f'SELECT count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT)::VARCHAR '
                          f'FROM "{table}" t').fetchone()
        seen[f"main.{table}"] = [str(value) for value in row]
    except Exception as error:
        seen[f"main.{table}"] = f"error: {error}"
print(json.dumps(seen))
"""


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


@pytest.fixture
def largest(cb, history, tmp_path):
    """A backup, and the pack that holds its data."""
    cb("backup", history.place("two", tmp_path / "prod.duckdb"))
    packs = [one for one in (cb.repo / "pack").rglob("*") if one.is_file()]
    return max(packs, key=lambda one: one.stat().st_size)


def test_tables_are_named_and_the_others_are_whole(cb, duckdb, history, largest, tmp_path):
    size = largest.stat().st_size
    for part in (3, 4, 5):
        flip(largest, size * part // 8)
    target = tmp_path / "back.duckdb"
    failed = cb("restore", "prod", target, code=DAMAGED)
    assert "--salvage" in failed.error["hint"]
    assert not target.exists()

    done = cb("restore", "prod", target, "--salvage", code=DAMAGED)
    lost = done.json["lost"]
    assert 1 <= len(lost) <= 3
    named = set()
    for one in lost:
        assert one["item"] == "database" and len(one["chunk"]) == 64
        first, last = map(int, re.search(r"bytes (\d+) to (\d+)", one["reason"]).groups())
        assert (first - 12288) % 16384 == 0 and (last + 1 - 12288) % 16384 == 0
        assert target.read_bytes()[first : last + 1] == bytes(last + 1 - first)
        assert "block" in one["reason"]
        named.update(re.findall(r'"main"\."(\w+)"', one["reason"]))
    assert "lost" in done.err

    seen = duckdb(history.version, READ_EACH, target)
    for table, content in seen.items():
        if table.split(".")[1] in named:
            assert content.startswith("error") or content == history.content["two"][table]
        else:
            assert content == history.content["two"][table], table
    assert any(str(content).startswith("error") for content in seen.values())


def test_nothing_is_lost_of_a_whole_one(cb, history, largest, tmp_path):
    target = tmp_path / "back.duckdb"
    done = cb("restore", "prod", target, "--salvage")
    assert done.json["lost"] == []
    assert history.samples.content(target) == history.content["two"]


def test_a_lost_header_leaves_a_file_that_no_engine_opens(cb, history, largest, tmp_path):
    """The header is the last piece that a backup stores: it stands behind all others."""
    data = largest.read_bytes()
    footer = int.from_bytes(data[-8:-4], "little")
    entries = [
        data[at : at + 46] for at in range(len(data) - 8 - footer + 72, len(data) - 8 - 32, 46)
    ]
    raw = {
        int.from_bytes(one[32:36], "little"): int.from_bytes(one[40:44], "little")
        for one in entries
        if len(one) == 46
    }
    [head] = [offset for offset, size in raw.items() if size == 12288]
    flip(largest, head + 3)
    target = tmp_path / "back.duckdb"
    done = cb("restore", "prod", target, "--salvage", code=DAMAGED)
    [one] = done.json["lost"]
    assert "header" in one["reason"]
    assert "error" in str(history.samples.content(target))
