"""Stopped at every call: a backup is right or refused, never wrong.

A stock engine is frozen after each call that changes its files (lib/stopper.c). At such a moment
the holder does not run, so the files may stand still in the middle of anything: a checkpoint that
has left no trace yet, a block half written, a log just unlinked. A backup taken then must either
restore to a database with every acknowledged commit, or be refused as busy.

The same moments as crash images: copied away (or the process killed), nobody holds them, and there
is no better state to wait for. The backup must then be as good as the image: if the engine opens
the image, it opens the restored copy with the same contents; if a kill tore a metadata block, that
is said aloud and `restore --mend` gives a database with every acknowledged commit.

All calls are visited with --long; otherwise each case samples them, other ones for every seed.
"""

import collections
import concurrent.futures
import random
import threading
import time

import conftest
import pytest
from conftest import BUSY, DAMAGED, DONE, FAILED, Canvasback

from live import engines, harness, stops

UNREPLAYABLE = "Conflict on tuple deletion"

WORKERS = 4  # frozen writers at a time: a refused backup costs its deadline, not the processor
DEADLINE = "1s"

SMALL = ["--block-size", 16384, "--filler", 2000, "--autocheckpoint", "60KB"]

# name: (options of the writer under the stopper, options of the run that prepared the file, or None
# for a file that is born under the stopper)
CASES = {
    "checkpoints": (["--profile", "checkpoints", "--threads", 1, "--steps", 25], ["--fold"]),
    "checkpoints beside inserts": (["--profile", "checkpoints", "--other", "inserts", "--steps", 20,
                                    "--turns",
                                    "--autocheckpoint", "16MB"], ["--fold"]),
    "drops": (["--profile", "drops", "--threads", 1, "--steps", 20], ["--fold"]),
    "mixed": (["--profile", "mixed", "--steps", 15], ["--fold"]),
    "no log": (["--profile", "skip", "--other", "undo", "--steps", 8, "--turns",
                "--autocheckpoint", "1KB"], ["--fold"]),
    "with a log": (["--profile", "mixed", "--threads", 1, "--steps", 15], ["--no-close"]),
    "born": (["--profile", "checkpoints", "--threads", 1, "--steps", 12], None),
}


@pytest.fixture
def place():
    with harness.folder() as path:
        yield path


class Visit:
    """One run of a case: visits some of its stops and counts what came of them."""

    def __init__(self, version, case, index, place, judges, torn=False):
        self.version = version
        self.case = case
        self.index = index
        self.judges = judges
        self.torn = torn
        self.folder = place / str(index)
        self.folder.mkdir()
        self.cb = Canvasback(self.folder)
        self.db = self.folder / "a.db"
        self.counts = collections.Counter()
        self.labels = 0
        self.spoken = ""  # what canvasback said in the run at hand

    def options(self):
        under, prepared = CASES[self.case]
        common = [*SMALL, "--seed", conftest.seed()]
        if prepared is not None:
            harness.set_up(self.version, self.db, self.db.with_suffix(".acks"), *common, *prepared)
        if engines.at_least(self.version, "1.5.0"):
            if "--turns" in under:  # give the others time to write and commit meanwhile
                under = [*under, "--set", "SET debug_checkpoint_scan_sleep_ms = 30"]
            if self.case == "no log":
                under = [*under, "--set", "SET auto_checkpoint_skip_wal_threshold = 0"]
        return [*common, *under]

    def wrong(self, stop, what):
        name = f"stop-{self.version}-{self.case}-{self.index}-{stop.number}".replace(" ", "_")
        harness.keep_evidence(name, self.cb.repo, *(str(self.db) + suffix
                                                    for suffix in harness.SUFFIXES))
        raise AssertionError(f"{self.version}, case {self.case}, seed {conftest.seed()}, run "
                             f"{self.index}, frozen after {stop}: {what}\n{self.spoken}")

    def back_up(self, name, source, deadline, code):
        done = self.cb("backup", source, "--name", name, "--deadline", deadline, code=code)
        self.spoken = done.out + done.err
        return done

    def restored(self, backup, *options):
        """A restore says with exit 3 that the engine will refuse what was brought back."""
        target = self.folder / "back.db"
        harness.remove_files(target)
        done = self.cb("restore", backup, target, *options, code=(DONE, DAMAGED))
        self.spoken += done.out + done.err
        return target

    def judge(self, path, acks):
        return self.judges.ask(self.version, path, acks=acks, invariants=True)

    # -- the process is frozen, and holds the file --------------------------------------------

    def while_held(self, stop, acks):
        done = self.back_up("held", self.db, DEADLINE, (DONE, BUSY, DAMAGED, FAILED))
        if done.code == DONE:
            self.labels += 1
            verdict = self.judge(self.restored("held@" + done.json["label"]), acks)
            if not verdict["good"] and self.is_unreplayable(verdict, acks):
                self.counts["unreplayable"] += 1
                return
            if not verdict["good"]:
                self.wrong(stop, f"confirmed by {done.json['confirmed']} but {verdict['why']}; "
                                 f"acknowledged {acks}")
            self.counts[f"right by {done.json['confirmed']}"] += 1
            return
        if len(self.cb.labels("held")) != self.labels:
            self.wrong(stop, "refused, yet something was published")
        if done.code in (FAILED, DAMAGED) and not self.is_unborn():
            self.wrong(stop, f"exit {done.code}: {done.out}")
        self.counts[f"refused {done.code}"] += 1

    def is_unreplayable(self, verdict, acks):
        """DuckDB 1.5 now and then writes a log that it cannot replay itself: then it refuses the exact
        image of the frozen process's files with the same words."""
        if not self.version.startswith("1.5.") or UNREPLAYABLE not in verdict["why"]:
            return False
        image = self.folder / "exact.db"
        harness.remove_files(image)
        harness.copy_files(self.db, image)
        exact = self.judge(image, acks)
        return not exact["good"] and UNREPLAYABLE in exact["why"]

    def is_unborn(self):
        """While the file is being made it may well not be a database yet."""
        return self.case == "born" and self.db.stat().st_size <= 12288 + 16384

    # -- nobody holds the files ---------------------------------------------------------------

    def as_crash_image(self, stop, acks):
        """The files as a kill would leave them, copied to where nobody has them open."""
        image = self.folder / "image.db"
        reference = self.folder / "reference.db"
        for copy in (image, reference):
            harness.remove_files(copy)
            harness.copy_files(self.db, copy)
        self.judge_image(stop, acks, image, self.judge(reference, acks))

    def judge_image(self, stop, acks, image, wanted, name="image"):
        """`wanted`: what the engine makes of the same image without our help. The copy may be
        better, since it ends with a whole transaction: up to 1.5 the engine replays the rows of a
        bulk insert that the kill left in the log without a commit."""
        done = self.back_up(name, image, "10s", (DONE, DAMAGED, FAILED))
        if done.code != DONE:
            if wanted["good"]:
                self.wrong(stop, f"a good crash image was refused: {done.out}")
            self.counts[f"image refused {done.code}"] += 1
            return
        backup = f"{name}@" + done.json["label"]
        verdict = self.judge(self.restored(backup), acks)
        if verdict["good"]:
            self.counts["image right"] += 1
            return
        if verdict["contents"] != wanted["contents"]:
            self.wrong(stop, f"crash image and restored copy differ: {wanted['why']} / "
                             f"{verdict['why']}")
        self.counts["image bad in itself"] += 1
        if stop.call.endswith("/half"):
            self.mended(stop, acks, backup, done)

    def mended(self, stop, acks, backup, done):
        if "half written" not in done.err and "mend" not in done.err:
            self.wrong(stop, f"a torn metadata block was backed up without a word: {done.err}")
        verdict = self.judge(self.restored(backup, "--mend"), acks)
        if not verdict["good"]:
            self.wrong(stop, f"mended, but {verdict['why']}")
        self.counts["mended"] += 1

    # -- the round ----------------------------------------------------------------------------

    def run(self, plan, last_by_kill=False):
        """Visit the stops whose numbers are in `plan`."""
        with stops.Frozen(self.version, self.db, *self.options(), torn=self.torn) as frozen:
            here = 0
            for number in plan:
                stop = frozen.next_stop(number - here)
                if stop is None:  # with two threads no run is quite as long as the other
                    break
                here = number
                acks = frozen.acks()
                self.while_held(stop, acks)
                self.as_crash_image(stop, acks)
                if last_by_kill and number == plan[-1]:
                    self.as_killed(stop, acks, frozen)
            assert frozen.last in (None, "exit 0", "signal 9"), frozen.last + frozen.said()
        return self.counts

    def as_killed(self, stop, acks, frozen):
        reference = self.folder / "reference.db"
        frozen.kill()
        harness.remove_files(reference)
        harness.copy_files(self.db, reference)
        self.judge_image(stop, acks, self.db, self.judge(reference, acks), "held")


def all_stops(version, case, place, judges, torn):
    """One run through the case, only to see which calls there are."""
    visit = Visit(version, case, "all", place, judges, torn)
    found = []
    with stops.Frozen(version, visit.db, *visit.options(), torn=torn) as frozen:
        while (stop := frozen.next_stop()) is not None:
            found.append(stop)
    return found


def is_plain(stop):
    """One of the many writes of table data, or of log entries."""
    if stop.call.startswith("pwrite64"):
        return int(stop.detail.split("@")[1]) >= 12288
    return stop.call == "write"


def choose(found, sample, chance):
    """`sample` numbers of stops: half of them at or near the rare calls (headers, syncs, renames),
    where a checkpoint turns from one state into the next, the others anywhere."""
    if sample >= len(found):
        return [stop.number for stop in found]
    turns = {stop.number + near for stop in found if not is_plain(stop) for near in (-2, -1, 0, 1)}
    turns = sorted(turns & {stop.number for stop in found})
    chosen = set(chance.sample(turns, min(len(turns), sample // 2)))
    others = [stop.number for stop in found if stop.number not in chosen]
    return sorted(chosen | set(chance.sample(others, sample - len(chosen))))


def visit_stops(version, case, place, judges, sample, torn=False):
    found = all_stops(version, case, place, judges, torn)
    chance = random.Random(f"{conftest.seed()}/{version}/{case}/{torn}")
    plan = choose(found, len(found) if conftest.LONG else sample, chance)
    counts = collections.Counter()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        runs = [pool.submit(Visit(version, case, index, place, judges, torn).run,
                            plan[index::WORKERS], index == 0) for index in range(WORKERS)]
        for run in concurrent.futures.as_completed(runs):
            counts += run.result()
    print(f"{version} {case}: {len(plan)} of {len(found)} stops: {dict(counts)}")
    return counts


@pytest.mark.timeout(7200 if conftest.LONG else 300)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", engines.LIVE)
def test_stopped_at_a_call(version, case, place, judges):
    counts = visit_stops(version, case, place, judges, sample=12)
    assert counts["image right"] > 0, counts


@pytest.mark.timeout(7200 if conftest.LONG else 300)
@pytest.mark.parametrize("version", engines.LIVE)
def test_stopped_half_way_through_a_write(version, place, judges):
    counts = visit_stops(version, "checkpoints", place, judges, sample=24, torn=True)
    assert counts["image right"] + counts["mended"] > 0, counts


# ---- a holder that stalls -----------------------------------------------------------------------


class Stalled:
    """A writer that never leaves a log and stalls now and then for longer than any wait, most of
    all near the moments when its checkpoints take effect; backups go on all the while."""

    def __init__(self, version, index, place, judges, seconds):
        self.visit = Visit(version, "no log", index, place, judges)
        self.random = random.Random(f"{conftest.seed()}/{version}/{index}")
        self.seconds = seconds

    def run(self):
        visit = self.visit
        options = [*visit.options(), "--steps", 1000000, "--seed", conftest.seed() + visit.index]
        with stops.Frozen(visit.version, visit.db, *options) as frozen:
            driver = threading.Thread(target=self.drive, args=(frozen,))
            driver.start()
            try:
                while driver.is_alive():
                    self.back_up(frozen)
            finally:
                driver.join()
        return visit.counts

    def drive(self, frozen):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            stop = frozen.next_stop(self.random.choice([1, 1, 2, 5, 30]))
            if stop is None:
                return
            if not is_plain(stop) or self.random.random() < 0.1:
                time.sleep(self.random.choice([0.05, 0.6, 1.2, 2.5]))

    def back_up(self, frozen):
        visit = self.visit
        acks = frozen.acks()
        done = visit.back_up("held", visit.db, "4s", (DONE, BUSY))
        if done.code == BUSY:
            visit.counts["refused"] += 1
            return
        verdict = visit.judge(visit.restored("held@" + done.json["label"]), acks)
        if not verdict["good"]:
            harness.keep_evidence(f"stall-{visit.version}-{visit.index}", visit.cb.repo)
            raise AssertionError(f"{visit.version}, seed {conftest.seed()}, run {visit.index}: "
                                 f"{verdict['why']}; acknowledged {acks}\n{visit.spoken}")
        visit.counts[f"right by {done.json['confirmed']}"] += 1


@pytest.mark.timeout(2000 if conftest.LONG else 300)
@pytest.mark.parametrize("version", ["1.5.6", "2.0.0"])
def test_a_holder_that_stalls(version, place, judges):
    counts = collections.Counter()
    seconds = 1200 if conftest.LONG else 12
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        runs = [pool.submit(Stalled(version, index, place, judges, seconds).run)
                for index in range(WORKERS)]
        for run in concurrent.futures.as_completed(runs):
            counts += run.result()
    print(f"{version}: {dict(counts)}")
    assert counts
