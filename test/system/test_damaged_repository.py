"""Objects of a repository that are missing, cut, flipped or exchanged: the damage is found and
named, a restore never brings wrong bytes, and other backups are unharmed."""

import os
import pathlib
import shutil

import pytest
from conftest import DAMAGED, DONE, FAILED, MISSING, Canvasback
from faults import fresh, memory_folder

HARM = ["missing", "cut", "empty", "flipped", "exchanged"]


def objects(repo):
    """All files of a repository by relative path."""
    return sorted(
        os.path.relpath(os.path.join(folder, name), repo)
        for folder, _, names in os.walk(repo)
        for name in names
    )


def kind_of(key):
    """The first folder: packs, indexes, manifests … are each in one."""
    return key.split("/")[0]


def harm(how, path, other, rng):
    """Damage one object; False when that changes nothing (exchanged with an equal one)."""
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
        return True
    if how == "exchanged":
        if other is None or other.read_bytes() == data:
            return False
        new = other.read_bytes()
    elif how == "cut":
        new = data[: rng.randrange(len(data))] if data else data
    elif how == "empty":
        new = b""
    else:
        new = bytearray(data)
        if new:
            new[rng.randrange(len(new))] ^= 1 << rng.randrange(8)
    path.chmod(0o644)
    path.write_bytes(new)
    return bytes(new) != data


class Victim:
    """A repository with two backups each of `a` and `b`; objects that came with `a` alone."""

    def __init__(self, folder, history):
        self.history = history
        self.start, self.work = folder / "start", folder / "work"
        self.work.mkdir()
        self.cb = Canvasback(self.work)
        # Different tables: the two share no chunk.
        for state in ("one", "two"):
            history.place(state, self.work / "b.duckdb")
            self.cb("backup", self.work / "b.duckdb")
        other = self.work / "a.duckdb"
        history.samples.make(other)
        history.samples.step(other, 77)
        self.content = history.samples.content(other)
        before = set(objects(self.cb.repo))
        self.cb("backup", other)
        self.cb("backup", other, "--full")
        # What was merged away or is of no backup does not count.
        self.of_a = [key for key in objects(self.cb.repo) if key not in before]
        self.everything = objects(self.cb.repo)
        self.labels = self.cb.labels("a")
        self.label_of_b = self.cb.labels("b")[-1]
        shutil.copytree(self.work, self.start, symlinks=True)
        self.packs_of_a = [key for key in self.of_a if self.path(key).stat().st_size > 100_000]

    def reset(self):
        fresh(self.start, self.work)

    def path(self, key):
        return self.cb.repo / key

    def same_kind(self, key):
        """Another object of the same kind, to exchange it with."""
        for other in self.everything:
            if other != key and kind_of(other) == kind_of(key):
                return self.path(other)
        return None

    def restore(self, text, expected, kept):
        """It is right, or refused with a reason; True if it was restored."""
        target = self.work / f"back-{len(kept)}.duckdb"
        result = self.cb("restore", text, target, code=(DONE, FAILED, DAMAGED, MISSING))
        if result.code != DONE:
            assert result.error["message"], result.err
            assert not target.exists()
            return False
        aside = self.start.parent / f"aside-{len(kept)}.duckdb"
        shutil.copy2(target, aside)
        kept.append((aside, expected))
        return True


@pytest.fixture(scope="module")
def victim(history, tmp_path_factory):
    with memory_folder(tmp_path_factory.mktemp("victim")) as folder:
        yield Victim(folder, history)


def test_kinds(victim):
    """The loops below see what they are meant to see."""
    kinds = {kind_of(key) for key in victim.everything}
    assert len(kinds) >= 4, kinds
    assert len(victim.packs_of_a) >= 2


@pytest.mark.parametrize("how", HARM)
def test_each_object(victim, how, rng):
    """Whatever is harmed: an exit code of the contract, a message, and never a wrong restore."""
    kept = []
    for key in victim.everything:
        victim.reset()
        if not harm(how, victim.path(key), victim.same_kind(key), rng):
            continue
        note = f"{key} {how}"
        for arguments in (["list"], ["verify"], ["repo"], ["show", "a"]):
            result = victim.cb(*arguments, code=None)
            assert result.code in (DONE, FAILED, DAMAGED, MISSING), f"{note}: {arguments}"
            if result.code not in (DONE, DAMAGED):
                assert result.error["message"], note
        for label in victim.labels:
            victim.restore(f"a@{label}", victim.content, kept)
        b_is_there = victim.restore(f"b@{victim.label_of_b}", victim.history.content["two"], kept)
        if key in victim.of_a:
            assert b_is_there, f"{note}: another database's backup is lost"
    contents = victim.history.samples.contents(*[path for path, _ in kept])
    for content, (path, expected) in zip(contents, kept):
        assert content == expected
        path.unlink()


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "flipped"])
def test_pack(victim, how, rng):
    """A chunk that is gone is named with the backups that need it."""
    packs = victim.packs_of_a
    # The second backup stored everything anew: each of the two has a copy of every chunk. Harm
    # both, so that nothing can stand in.
    victim.reset()
    for key in packs:
        if how == "flipped":  # in every 8 KiB, so that each chunk is met
            data = bytearray(victim.path(key).read_bytes())
            for at in range(rng.randrange(8192), len(data), 8192):
                data[at] ^= 0x10
            victim.path(key).chmod(0o644)
            victim.path(key).write_bytes(data)
        else:
            harm(how, victim.path(key), None, rng)
    result = victim.cb("verify", code=DAMAGED).json
    assert {entry["backup"].split("@")[0] for entry in result["damaged"]} == {"a"}
    for entry in result["damaged"]:
        assert set(entry) >= {"backup", "item", "chunk", "reason"} and entry["reason"]
    assert victim.cb("verify", "b").json["damaged"] == []
    target = victim.work / "back.duckdb"
    assert victim.cb("restore", "a", target, code=DAMAGED).error["code"] in ("corrupt", "not-found")
    assert not target.exists()
    by_name = {entry["name"]: entry for entry in victim.cb("list").json}
    assert by_name["b"]["verified"] and not by_name["a"]["verified"]

    # The source still has it all: the next backup puts it back, and the older ones are whole again.
    victim.cb("repair", code=(DONE, DAMAGED))
    victim.cb("backup", victim.work / "a.duckdb", "--full")
    assert victim.cb("verify", "a").json["damaged"] == []
    victim.cb("restore", f"a@{victim.labels[0]}", target)
    assert victim.history.samples.content(target) == victim.content


def test_one_copy_stands_in_for_another(victim):
    """The second backup was --full: the pack of the first may go."""
    packs = victim.packs_of_a
    assert len(packs) >= 2
    victim.reset()
    victim.path(packs[0]).unlink()
    kept = []
    for label in victim.labels:
        assert victim.restore(f"a@{label}", victim.content, kept)
    assert victim.history.samples.contents(*[path for path, _ in kept]) == [victim.content] * 2


@pytest.mark.parametrize("how", ["missing", "cut", "flipped"])
def test_next_backup_needs_no_sound_parent(victim, how, rng):
    """Item tables and pages that are lost make the next backup dearer, not impossible or wrong."""
    victim.reset()
    small = [
        key
        for key in victim.of_a
        if kind_of(key) == "pack" and key not in victim.packs_of_a
    ]
    assert small
    for key in small:
        if how == "flipped":
            data = bytearray(victim.path(key).read_bytes())
            data[200:-200:16] = bytes(byte ^ 1 for byte in data[200:-200:16])
            victim.path(key).chmod(0o644)
            victim.path(key).write_bytes(data)
        else:
            harm(how, victim.path(key), None, rng)
    os.utime(victim.work / "a.duckdb")
    label = victim.cb("backup", victim.work / "a.duckdb").json["label"]
    kept = []
    assert victim.restore(f"a@{label}", victim.content, kept)
    assert victim.history.samples.content(kept[0][0]) == victim.content


@pytest.mark.parametrize("how", HARM)
def test_manifest(victim, how, rng):
    """A manifest is the backup: without it there is none, harmed it is named as damage."""
    manifests = [key for key in victim.of_a if victim.labels[1] in key]
    if not manifests:  # not named by label: what `show` cannot do without
        manifests = [key for key in victim.of_a if "manifest" in kind_of(key)][-1:]
    victim.reset()
    for key in manifests:
        harm(how, victim.path(key), victim.same_kind(key), rng)
    result = victim.cb("verify", code=(DONE, DAMAGED) if how == "missing" else DAMAGED)
    if how != "missing":
        assert any(entry["backup"].startswith("a") for entry in result.json["damaged"])
    code = victim.cb("restore", f"a@{victim.labels[1]}", victim.work / "x.duckdb", code=None).code
    assert code == (MISSING if how == "missing" else DAMAGED)
    kept = []
    assert victim.restore(f"a@{victim.labels[0]}", victim.content, kept)
    assert victim.restore("b", victim.history.content["two"], kept)
    # Expire must not take chunks away that a manifest it cannot read may need.
    if how != "missing":
        before = [key for key in objects(victim.cb.repo) if victim.path(key).stat().st_size > 9999]
        victim.cb("expire", "a", "--keep-last", 1, "--lock-wait", 5, code=(DONE, FAILED, DAMAGED))
        after = objects(victim.cb.repo)
        assert set(before) <= set(after)


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "flipped"])
def test_index_is_rebuilt(victim, how, rng):
    """All that the index says, the packs say too."""
    victim.reset()
    keys = [key for key in victim.everything if kind_of(key).startswith("index")]
    assert keys
    for key in keys:
        harm(how, victim.path(key), None, rng)
    victim.cb("repair")
    assert victim.cb("verify").json["damaged"] == []
    kept = []
    assert victim.restore("a", victim.content, kept)
    assert victim.history.samples.content(kept[0][0]) == victim.content


def test_not_a_repository(tmp_path, history):
    cb = Canvasback(tmp_path)
    db = history.place("one", tmp_path / "db.duckdb")
    place = tmp_path / "photos"
    place.mkdir()
    (place / "a.jpg").write_bytes(b"not ours")
    for command in (["list"], ["verify"], ["restore", "db", tmp_path / "x"], ["backup", db]):
        result = cb(*command, "--repo", place, code=(FAILED, MISSING, 2))
        assert result.error["hint"], command
    assert [path.name for path in place.iterdir()] == ["a.jpg"]

    a_file = tmp_path / "file"
    a_file.write_text("x")
    assert cb("list", "--repo", a_file, code=(FAILED, MISSING)).error["message"]
    assert cb("backup", db, "--repo", a_file, code=FAILED).error["message"]
    for command in (["list"], ["verify"], ["expire", "--keep-last", 1]):
        result = cb(*command, "--repo", tmp_path / "nowhere", code=MISSING)
        assert result.error["code"] == "not-found" and result.error["hint"]


def test_newer_repository(victim):
    """A format that this program does not know is refused, not guessed at."""
    victim.reset()
    description = [key for key in victim.everything if "/" not in key]
    assert description, "no object at the top says what this is"
    for key in description:
        text = victim.path(key).read_bytes()
        pathlib.Path(victim.path(key)).chmod(0o644)
        victim.path(key).write_bytes(text[:6] + b"\xff" * 6 + text[12:])
    for command in (["list"], ["backup", victim.work / "a.duckdb"]):
        assert victim.cb(*command, code=(FAILED, DAMAGED)).error["message"]


def test_what_verify_found_is_stored_again(victim):
    """Bytes in both copies of chunks rot: the next backup, an ordinary one, brings them back."""
    victim.reset()
    for key in victim.packs_of_a:
        path = victim.path(key)
        data = bytearray(path.read_bytes())
        for at in range(len(data) // 4, len(data) // 2, 1000):
            data[at] ^= 1
        path.chmod(0o644)
        path.write_bytes(data)
    for _ in range(2):
        victim.cb("verify", code=DAMAGED)
    lists = [key for key in objects(victim.cb.repo) if key.endswith("/suspect")]
    assert len(lists) == 1, "a pack is condemned once"
    victim.cb("backup", victim.work / "a.duckdb")
    kept = []
    assert victim.restore(f"a@{victim.cb.labels('a')[-1]}", victim.content, kept)
    assert victim.history.samples.content(kept[0][0]) == victim.content
    victim.cb("verify")
    victim.cb("expire", "a", "--keep-last", 9)
    assert not set(victim.packs_of_a) & set(objects(victim.cb.repo))
    victim.cb("verify")
