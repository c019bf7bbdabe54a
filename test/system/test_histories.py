"""Different histories that look alike, backed up under one name: nothing is mixed.

The engine leaves no trace of lineage: two copies of one database, each with another one-row update
and a checkpoint, have every header byte and the file size in common. And its block checksum does
not see words that trade places. So from one run to the next only the bytes themselves count.
"""

import os
import shutil
import struct
import time

import pytest
from conftest import DAMAGED, DONE, Canvasback

from live import engines, harness

BLOCK = 16384
HEADERS = 12288


@pytest.fixture
def place():
    with harness.folder() as path:
        yield path


def overwrite(path, data, stat):
    """Put other bytes into the same file: same inode, and the old time of modification."""
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()
        os.fsync(file.fileno())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def assert_restored(path, wanted):
    """Each block is as it was, or a hole where it was free; so are the newest headers."""
    found = path.read_bytes()
    assert len(found) <= len(wanted) and found[:4096] == wanted[:4096]
    holes = 0
    for at in range(HEADERS, len(found), BLOCK):
        block = found[at:at + BLOCK]
        if block != wanted[at:at + BLOCK]:
            assert block == bytes(BLOCK), f"block {(at - HEADERS) // BLOCK} differs"
            holes += 1
    assert holes * BLOCK < len(found) // 2


@pytest.mark.parametrize("version", engines.VERSIONS)
def test_twins_are_not_mixed(version, place, judges):
    cb = Canvasback(place)
    parent = place / "parent.db"
    harness.make(version, parent, "--do", "make", "--block-size", BLOCK)
    twins = []
    for index, step in enumerate(("one", "other")):
        twin = place / f"twin{index}.db"
        shutil.copy(parent, twin)
        harness.make(version, twin, "--do", step + ",checkpoint")
        twins.append(twin.read_bytes())
    assert len(twins[0]) == len(twins[1]) and twins[0] != twins[1]
    assert twins[0][:HEADERS] == twins[1][:HEADERS], "the twins can be told apart by a header"
    wanted = []
    for index in range(2):
        verdict = judges.ask(version, place / f"twin{index}.db")
        assert verdict["good"]
        wanted.append(verdict["contents"])
    assert wanted[0] != wanted[1]

    path = place / "live.db"
    path.write_bytes(twins[0])
    stat = os.stat(path)
    labels = []
    for turn in range(5):
        overwrite(path, twins[turn % 2], stat)
        assert os.stat(path).st_ino == stat.st_ino
        if turn == 3:
            time.sleep(2.2)  # long enough for a file to count as unchanged
        labels.append(cb("backup", path, "--name", "twin").json["label"])
    for turn, label in enumerate(labels):
        target = place / f"back{turn}.db"
        cb("restore", f"twin@{label}", target)
        verdict = judges.ask(version, target)
        assert verdict["good"] and verdict["contents"] == wanted[turn % 2], (turn, verdict["why"])
    # One turned into the other in place, by what differs.
    target = place / "delta.db"
    for turn in (0, 1, 0):
        cb("restore", f"twin@{labels[turn]}", target, *(["--delta"] if target.exists() else []))
        shutil.copy(target, place / "judged.db")
        assert judges.ask(version, place / "judged.db")["contents"] == wanted[turn % 2]
    assert cb("verify").json["damaged"] == []


def test_a_copy_put_over_the_database(place, judges):
    """cp of an older state over the newer one, and back: same inode, another past."""
    cb = Canvasback(place)
    path = place / "a.db"
    states = []
    harness.make("1.5.6", path, "--do", "make", "--block-size", BLOCK)
    for step in ("one", "change,checkpoint", "drop", "bulk,checkpoint"):
        states.append(path.read_bytes())
        harness.make("1.5.6", path, "--do", step)
    wanted = []
    for data in states:
        (place / "state.db").write_bytes(data)
        wanted.append(judges.ask("1.5.6", place / "state.db", write=False)["contents"])
    stat = os.stat(path)
    for turn, index in enumerate((0, 3, 1, 2, 0, 3, 0)):
        overwrite(path, states[index], stat)
        done = cb("backup", path, "--name", "a").json
        target = place / f"back{turn}.db"
        cb("restore", f"a@{done['label']}", target)
        assert judges.ask("1.5.6", target, write=False)["contents"] == wanted[index], turn


def swap_words(data, base, size):
    """Swap two different words in a block: the engine's checksum stays the same."""
    words = list(struct.unpack_from(f"<{size // 8}Q", data, base))
    for first in range(2, len(words)):
        for second in range(first + 1, min(first + 50, len(words))):
            if words[first] != words[second]:
                words[first], words[second] = words[second], words[first]
                changed = bytearray(data)
                struct.pack_into(f"<{size // 8}Q", changed, base, *words)
                return bytes(changed)
    raise AssertionError("a block of equal words")


@pytest.mark.parametrize("version", engines.LIVE)
def test_edits_that_the_checksum_does_not_see(version, place):
    """Two words of a data block trade places: an increment brings the file as it is now."""
    cb = Canvasback(place)
    path = place / "a.db"
    harness.make(version, path, "--do", "make", "--block-size", BLOCK)
    before = path.read_bytes()
    stat = os.stat(path)
    time.sleep(2.2)
    first = cb("backup", path, "--name", "a").json["label"]
    number = (len(before) - HEADERS) // BLOCK // 2
    after = swap_words(before, HEADERS + number * BLOCK, BLOCK)
    assert after != before
    overwrite(path, after, stat)
    assert cb("check", path).code == DONE, "the engine's checksum does see it"
    second = cb("backup", path, "--name", "a").json
    assert second["new_chunks"] >= 1
    for label, wanted in ((first, before), (second["label"], after)):
        target = place / f"back-{label}.db"
        cb("restore", f"a@{label}", target)
        assert_restored(target, wanted)


@pytest.mark.parametrize("version", engines.LIVE)
def test_damage_between_two_backups(version, place):
    """A flipped bit in a used block is damage in the source, in an increment too."""
    cb = Canvasback(place)
    path = place / "a.db"
    harness.make(version, path, "--do", "make", "--block-size", BLOCK)
    whole = path.read_bytes()
    stat = os.stat(path)
    label = cb("backup", path, "--name", "a").json["label"]
    number = 30
    bad = bytearray(whole)
    bad[HEADERS + number * BLOCK + 4000] ^= 4
    overwrite(path, bytes(bad), stat)
    checked = cb("check", path, code=DAMAGED).json
    assert checked["bad_blocks"] == 1
    refused = cb("backup", path, "--name", "a", "--deadline", "5s", code=DAMAGED)
    assert refused.error["code"] == "corrupt" and str(number) in refused.error["message"]
    assert cb.labels("a") == [label]
    cb("backup", path, "--name", "a", "--allow-damage")
    assert len(cb.labels("a")) == 2
