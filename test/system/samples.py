"""Small real databases in known states, and what DuckDB itself reads in them.

A sample lives through numbered states: 1 is made, each step changes it. Small blocks keep it near
a megabyte, with enough of them that every code path has several.
"""

import shutil

import pytest

# A database in state 1. Arguments: path.
MAKE = """
path = args[0]
con = duckdb.connect()
con.execute(f"ATTACH '{path}' AS d (BLOCK_SIZE 16384)")
con.execute("USE d")
con.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount BIGINT)")
con.execute("INSERT INTO accounts SELECT i, 100 FROM range(2000) t(i)")
con.execute("CREATE TABLE ledger (n BIGINT, note VARCHAR, x DOUBLE)")
con.execute("INSERT INTO ledger SELECT i, md5(i::VARCHAR), sin(i) FROM range(12000) t(i)")
con.execute("CREATE VIEW total AS SELECT sum(amount) s FROM accounts")
con.execute("CHECKPOINT")
con.close()
"""

# The next state: changes that are checkpointed, then, with "log", some that are only in the log:
# the process ends without closing the database. Arguments: path, number of the state, log or rest.
STEP = """
path, state, how = args[0], int(args[1]), args[2]
con = duckdb.connect(path)
if how == "log":
    con.execute("SET wal_autocheckpoint = '1TB'")
con.execute("UPDATE accounts SET amount = amount + (CASE WHEN id % 2 = 0 THEN 1 ELSE -1 END) "
            f"WHERE id // 2 % 50 = {state % 50}")
con.execute(f"INSERT INTO ledger SELECT i, 'state {state} ' || md5(i::VARCHAR), cos(i) "
            f"FROM range({state * 100000}, {state * 100000 + 700}) t(i)")
con.execute(f"DELETE FROM ledger WHERE n % 997 = {state % 997}")
con.execute("CHECKPOINT")
if how == "log":
    for i in range(5):
        con.execute(f"INSERT INTO ledger VALUES ({state * 100000 + 90000 + i}, 'in the log', {i})")
    con.execute(f"CREATE TABLE only_in_log_{state} AS SELECT {state} AS s")
    sys.stdout.flush()
    os._exit(0)
con.close()
"""

# Everything that a user can see, by name; or the text of the error. Arguments: ro or rw, paths.
# Opened read-write it is also checkpointed, and read once more.
CONTENT = """
def read(con):
    seen = {}
    tables = con.execute("SELECT schema_name, table_name FROM duckdb_tables() "
                         "WHERE NOT internal ORDER BY ALL").fetchall()
    for schema, table in tables:
        row = con.execute(f'SELECT count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT)::VARCHAR '
                          f'FROM "{schema}"."{table}" t').fetchone()
        seen[f"{schema}.{table}"] = [str(value) for value in row]
    return seen

def look(path, how):
    if not os.path.lexists(path):
        return "absent"
    try:
        with duckdb.connect(path, read_only=how == "ro") as con:
            seen = read(con)
            if how == "rw":
                con.execute("CHECKPOINT")
                if read(con) != seen:
                    return "error: other content after CHECKPOINT"
            return seen
    except Exception as error:
        return f"error: {type(error).__name__}: {error}"

print(json.dumps([look(path, args[0]) for path in args[1:]]))
"""


class Samples:
    """Makes samples with one version of DuckDB and reads them with it."""

    def __init__(self, duckdb, version):
        self.duckdb = duckdb
        self.version = version

    def make(self, path):
        self.duckdb(self.version, MAKE, path)
        return path

    def step(self, path, state, how="rest"):
        self.duckdb(self.version, STEP, path, state, how)
        return path

    def contents(self, *paths, how="ro"):
        """What DuckDB reads in each: a dict by table, "absent", or "error: …"."""
        return self.duckdb(self.version, CONTENT, how, *paths)

    def content(self, path, how="ro"):
        return self.contents(path, how=how)[0]


@pytest.fixture(scope="session", params=["1.5.6", "2.0.0"])
def both_samples(request, duckdb):
    return Samples(duckdb, request.param)


@pytest.fixture(scope="session")
def samples(duckdb):
    return Samples(duckdb, "1.5.6")


def place_sample(source, target):
    """Copy a database that is at rest, with its log."""
    shutil.copy2(source, target)
    for suffix in (".wal", ".wal.checkpoint"):
        log = source.with_name(source.name + suffix)
        if log.exists():
            shutil.copy2(log, target.with_name(target.name + suffix))
    return target


class History:
    """One database in three states: `one` at rest, `two` at rest, `three` with commits that are
    only in its log; and what DuckDB reads in each. Files to copy from, not to change."""

    def __init__(self, samples, folder):
        self.samples = samples
        self.version = samples.version
        path = samples.make(folder / "grow.duckdb")
        self.one = place_sample(path, folder / "one.duckdb")
        samples.step(path, 2)
        self.two = place_sample(path, folder / "two.duckdb")
        samples.step(path, 3, "log")
        self.three = place_sample(path, folder / "three.duckdb")
        self.content = dict(
            zip(("one", "two", "three"), samples.contents(self.one, self.two, self.three))
        )
        assert self.three.with_name("three.duckdb.wal").stat().st_size > 100
        assert all(isinstance(content, dict) for content in self.content.values())
        assert self.content["one"] != self.content["two"] != self.content["three"]

    def place(self, state, path):
        """Put the database in that state at `path`, in place of what was there."""
        for suffix in ("", ".wal", ".wal.checkpoint", ".wal.recovery"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return place_sample(getattr(self, state), path)


@pytest.fixture(scope="session")
def both_histories(both_samples, tmp_path_factory):
    return History(both_samples, tmp_path_factory.mktemp("history"))


@pytest.fixture(scope="session")
def history(samples, tmp_path_factory):
    return History(samples, tmp_path_factory.mktemp("history"))
