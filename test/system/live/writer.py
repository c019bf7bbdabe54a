"""A writer at work in one database, holding invariants that a copy must hold too.

Runs inside the environment of one engine version, as a process of its own:

    writer.py --db FILE --acks FILE [--threads 2] [--profile mixed] [--steps 0] ...

Each thread has its own cursor and numbers its commits 0, 1, 2, ...: the number goes into the table
`ledger` within the transaction and, once COMMIT has returned, as one line "THREAD NUMBER" into the
file of acknowledgements. So a copy begun after a line was there must have that number.

The invariants, which judge.py checks:
  * sum over acct_a and acct_b is constant; acct_b has moved by what the ledger says
  * every thread's ledger is gapless; it counts the batches and the tables that must be there
  * every batch has the rows and the sum that `batches` says; nothing else is in `bulk`
  * tables made_* are exactly those in `made`, with their rows and sums
"""

import argparse
import os
import random
import sys
import threading
import time

import attach

BULK_ROWS = 122880  # from here on row groups are written before the commit
ACCOUNTS = 200
CHUNK = 997


def schema(con, args):
    con.execute("CREATE TABLE acct_a (id INTEGER PRIMARY KEY, v BIGINT)")
    con.execute("CREATE TABLE acct_b (id INTEGER PRIMARY KEY, v BIGINT)")
    con.execute("CREATE TABLE ledger (th INTEGER, n BIGINT, moved BIGINT, batches INTEGER, "
                "made INTEGER, what VARCHAR)")
    con.execute("CREATE TABLE bulk (th INTEGER, batch BIGINT, n BIGINT, x BIGINT, s VARCHAR)")
    con.execute("CREATE TABLE batches (th INTEGER, batch BIGINT, row_count BIGINT, total BIGINT)")
    con.execute("CREATE TABLE made (name VARCHAR, row_count BIGINT, total BIGINT)")
    con.execute("CREATE TABLE filler (n BIGINT, s VARCHAR)")
    con.execute("INSERT INTO acct_a SELECT range, 1000 FROM range(%d)" % ACCOUNTS)
    con.execute("INSERT INTO acct_b SELECT range, 1000 FROM range(%d)" % ACCOUNTS)
    con.execute("INSERT INTO filler SELECT range, md5((range + %d)::VARCHAR) FROM "
                "range(%d)" % (args.seed * 1000003, args.filler))


class Thread:
    """One writing thread: a cursor, its own random numbers, its own part of the tables."""

    turn = threading.Lock()  # with --turns: held by who writes

    def __init__(self, con, index, profile, args, acks):
        self.con = con
        self.index = index
        self.profile = profile
        self.has_turn = False
        self.args = args
        self.acks = acks
        self.random = random.Random("%d/%d" % (args.seed, index))
        self.number = self.value("SELECT coalesce(max(n) + 1, 0) FROM ledger WHERE th = %d" % index)
        self.batch = self.value("SELECT coalesce(max(batch) + 1, 0) FROM batches WHERE th = %d"
                                % index)
        self.mine = [row[0] for row in con.execute(
            "SELECT batch FROM batches WHERE th = %d ORDER BY batch" % index).fetchall()]
        self.tables = [row[0] for row in con.execute(
            "SELECT name FROM made WHERE name LIKE 'made_%d_%%' ORDER BY name" % index).fetchall()]
        self.table = self.number * 1000
        self.failures = 0

    def value(self, sql):
        return self.con.execute(sql).fetchall()[0][0]  # all: or it stays open

    # -- transactions -------------------------------------------------------------------------

    def begin(self):
        self.con.execute("BEGIN")

    def rollback(self):
        try:
            self.con.execute("ROLLBACK")
        except Exception:  # the engine has rolled back by itself
            pass

    # A checkpoint is refused while others write, but they may begin once it is under way. With
    # --turns it waits for them and lets them go on as soon as it has begun.

    def in_turn(self, step):
        if not self.args.turns:
            return step()
        self.turn.acquire()
        self.has_turn = True
        try:
            step()
        finally:
            if self.has_turn:
                self.has_turn = False
                self.turn.release()

    def let_others_in(self):
        if self.args.turns and self.has_turn:
            self.has_turn = False
            threading.Timer(0.0005, self.turn.release).start()

    def commit(self, what, moved=0, batches=0, made=0):
        """Write the ledger line, commit, and only then acknowledge."""
        self.con.execute("INSERT INTO ledger VALUES (%d, %d, %d, %d, %d, '%s')"
                         % (self.index, self.number, moved, batches, made, what))
        if self.profile == "skip":  # this commit is a checkpoint
            self.let_others_in()
        self.con.execute("COMMIT")
        os.write(self.acks, b"%d %d\n" % (self.index, self.number))
        self.number += 1

    def insert_batch(self, batch, rows):
        x = "(range * 7919 + %d) %% 1000003" % (batch * 31 + self.index)
        self.con.execute("INSERT INTO bulk SELECT %d, %d, range, %s, 'b' || (range %% %d) FROM "
                         "range(%d)" % (self.index, batch, x, CHUNK, rows))
        self.con.execute("INSERT INTO batches SELECT %d, %d, %d, coalesce(sum(%s), 0) FROM "
                         "range(%d)" % (self.index, batch, rows, x, rows))

    # -- steps --------------------------------------------------------------------------------

    def transfer(self):
        amount = self.random.randrange(1, 50)
        rows = [self.random.randrange(ACCOUNTS // self.args.threads) * self.args.threads
                + self.index % self.args.threads for _ in range(2)]
        self.begin()
        self.con.execute("UPDATE acct_a SET v = v - %d WHERE id = %d" % (amount, rows[0]))
        self.con.execute("UPDATE acct_b SET v = v + %d WHERE id = %d" % (amount, rows[1]))
        self.commit("transfer", moved=amount)

    def append(self, rows=None):
        rows = rows or self.random.randrange(1, 3000)
        batch = self.batch
        self.begin()
        self.insert_batch(batch, rows)
        self.commit("append", batches=1)
        self.batch += 1
        self.mine.append(batch)

    def bulk(self):
        self.append(self.random.choice([BULK_ROWS] * 4 + [2 * BULK_ROWS + 77]))

    def delete(self):
        if not self.mine:
            return self.append()
        batch = self.random.choice(self.mine)
        self.begin()
        self.con.execute("DELETE FROM bulk WHERE th = %d AND batch = %d" % (self.index, batch))
        self.con.execute("DELETE FROM batches WHERE th = %d AND batch = %d" % (self.index, batch))
        self.commit("delete", batches=-1)
        self.mine.remove(batch)

    def update(self):
        if not self.mine:
            return self.append()
        batch = self.random.choice(self.mine)
        where = "WHERE th = %d AND batch = %d" % (self.index, batch)
        self.begin()
        self.con.execute("UPDATE bulk SET x = x + 1 " + where)
        self.con.execute("UPDATE batches SET total = total + row_count " + where)
        self.commit("update")

    def create(self):
        name = "made_%d_%06d" % (self.index, self.table)
        rows = self.random.choice([100, 5000, BULK_ROWS])
        self.table += 1
        self.begin()
        self.con.execute("CREATE TABLE %s AS SELECT range AS n, range * 3 %% 1009 AS x, "
                         "'c' || range %% 77 AS s FROM range(%d)" % (name, rows))
        self.con.execute("INSERT INTO made SELECT '%s', %d, sum(range * 3 %% 1009) FROM range(%d)"
                         % (name, rows, rows))
        self.commit("create", made=1)
        self.tables.append(name)

    def drop(self):
        if not self.tables:
            return self.create()
        name = self.random.choice(self.tables)
        self.begin()
        self.con.execute("DROP TABLE " + name)
        self.con.execute("DELETE FROM made WHERE name = '%s'" % name)
        self.commit("drop", made=-1)
        self.tables.remove(name)

    def undo(self):
        """A transaction that must leave no trace, big enough to have written blocks."""
        self.begin()
        self.con.execute("INSERT INTO bulk SELECT %d, -1, range, range, 'undone' FROM range(%d)"
                         % (self.index, self.random.choice([10, BULK_ROWS, 2 * BULK_ROWS])))
        self.con.execute("UPDATE acct_a SET v = v - 1 WHERE id %% %d = %d"
                         % (self.args.threads, self.index % self.args.threads))
        self.con.execute("CREATE TABLE undone_%d AS SELECT range AS n FROM range(1000)"
                         % self.index)
        self.con.execute("ROLLBACK")

    def checkpoint(self):
        self.let_others_in()
        self.con.execute("CHECKPOINT")

    def force(self):
        self.con.execute("FORCE CHECKPOINT")

    def nothing(self):
        time.sleep(0.02)

    def prune(self):
        """Keep the database small: drop what is beyond a handful of batches and tables."""
        while len(self.mine) > self.args.keep:
            self.delete()
        while len(self.tables) > self.args.keep:
            self.drop()

    PROFILES = {
        "mixed": [("transfer", 6), ("append", 4), ("bulk", 2), ("delete", 2), ("update", 2),
                  ("create", 1), ("drop", 1), ("undo", 2), ("checkpoint", 2)],
        "small": [("transfer", 8), ("append", 4), ("delete", 2), ("checkpoint", 1)],
        "skip": [("bulk", 5), ("update", 3), ("delete", 2), ("create", 2), ("drop", 1)],
        "undo": [("undo", 1)],
        "idle": [("nothing", 1)],
        "force": [("transfer", 4), ("append", 3), ("delete", 1), ("bulk", 1), ("checkpoint", 4),
                  ("force", 1)],
        "drops": [("create", 4), ("drop", 4), ("bulk", 1), ("delete", 2), ("transfer", 2),
                  ("checkpoint", 3)],
        "inserts": [("append", 6), ("bulk", 2), ("delete", 3), ("nothing", 1)],
        "checkpoints": [("transfer", 3), ("append", 1), ("update", 1), ("delete", 1),
                        ("checkpoint", 3)],
    }

    def run(self, stop):
        names, weights = zip(*self.PROFILES[self.profile])
        done = 0
        while not stop.is_set() and (self.args.steps == 0 or done < self.args.steps):
            name = self.random.choices(names, weights)[0]
            try:
                self.in_turn(getattr(self, name))
                self.in_turn(self.prune)
            except Exception as error:  # a conflict or a refused checkpoint: undo, go on
                self.rollback()
                self.failures += 1
                if "INTERNAL" in str(error) or "FATAL" in str(error).upper():
                    print("fatal: " + str(error), flush=True)
                    stop.set()
                elif self.args.verbose:
                    print("%s: %s" % (name, error), file=sys.stderr, flush=True)
            done += 1
            if self.args.pause:
                time.sleep(self.random.random() * self.args.pause)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", required=True)
    parser.add_argument("--acks", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="which share the accounts")
    parser.add_argument("--profile", default="mixed", help="of thread 0, and of all without --other")
    parser.add_argument("--other", help="profile of the threads from 1 on")
    parser.add_argument("--steps", type=int, default=0, help="per thread; 0: until stdin ends")
    parser.add_argument("--pause", type=float, default=0.0, help="longest pause between steps, s")
    parser.add_argument("--turns", action="store_true", help="checkpoints wait for the others, then let them in")
    parser.add_argument("--keep", type=int, default=3, help="batches and tables a thread keeps")
    parser.add_argument("--filler", type=int, default=20000, help="rows that never change")
    parser.add_argument("--autocheckpoint", default="300KB")
    parser.add_argument("--block-size", type=int)
    parser.add_argument("--storage")
    parser.add_argument("--key")
    parser.add_argument("--cipher")
    parser.add_argument("--set", action="append", default=[], help="a statement to run before the work")
    parser.add_argument("--setup-only", action="store_true")
    parser.add_argument("--fold", action="store_true", help="checkpoint when the schema is made")
    parser.add_argument("--no-close", action="store_true", help="end without a clean close")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def main():
    args = arguments()
    acks = os.open(args.acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    con = attach.connect(args.db, {"threads": 1, "memory_limit": "1GB"}, key=args.key,
                         cipher=args.cipher, block_size=args.block_size, storage=args.storage)
    con.execute("SET wal_autocheckpoint = '%s'" % args.autocheckpoint)
    if con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'ledger' AND "
                   "database_name = 'db'").fetchall()[0][0] == 0:
        con.execute("BEGIN")
        schema(con, args)
        con.execute("COMMIT")
        if args.fold:
            con.execute("CHECKPOINT")
    for statement in args.set:
        con.execute(statement)
    print("ready", flush=True)
    if not args.setup_only:
        work(con, args, acks)
    print("done", flush=True)
    if args.no_close:
        os._exit(0)
    attach.disconnect(con)


def work(con, args, acks):
    stop = threading.Event()
    running = []
    for index in range(args.threads):
        cursor = con.cursor()
        cursor.execute("USE db")
        profile = args.other if index > 0 and args.other else args.profile
        thread = Thread(cursor, index, profile, args, acks)
        running.append(threading.Thread(target=thread.run, args=(stop,)))
    for thread in running:
        thread.start()
    if args.steps == 0:
        sys.stdin.read()  # until the test closes it
        stop.set()
    for thread in running:
        thread.join()


main()
