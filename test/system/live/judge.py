"""Is this copy good? Asked with the engine's own eyes.

Runs inside the environment of one engine version. Reads one JSON request a line, answers one JSON
line each, so that a judge judges many copies in turn:

    {"path": ..., "acks": {"0": 17}, "invariants": true, "key": null, "cipher": null}

The answer is {"good": bool, "why": text, "contents": {...}}. A copy is good if it opens read-write,
every row of every table is read, the invariants of writer.py hold, the acknowledged commits are in
it, a CHECKPOINT works, it leaves no log behind, and it reads the same after being reopened.
"""

import json
import os
import sys

import attach


class Bad(Exception):
    pass


def quoted(*names):
    return ".".join('"%s"' % name.replace('"', '""') for name in names)


def contents(con):
    """All that can be seen of a database, by name: tables with count and hash of all rows, ..."""
    seen = {}
    for schema, table in con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'db' "
            "AND NOT internal ORDER BY ALL").fetchall():
        seen["table %s.%s" % (schema, table)] = con.execute(
            "SELECT count(*), coalesce(sum(hash(t)), 0)::VARCHAR FROM %s AS t"
            % quoted("db", schema, table)).fetchone()
    for schema, view, sql in con.execute(
            "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = 'db' "
            "AND NOT internal ORDER BY ALL").fetchall():
        seen["view %s.%s" % (schema, view)] = [sql] + list(con.execute(
            "SELECT count(*) FROM %s" % quoted("db", schema, view)).fetchone())
    for row in con.execute(
            "SELECT schema_name, sequence_name, last_value, increment_by FROM duckdb_sequences() "
            "WHERE database_name = 'db' ORDER BY ALL").fetchall():
        seen["sequence %s.%s" % row[:2]] = row[2:]
    for row in con.execute(
            "SELECT schema_name, index_name, sql FROM duckdb_indexes() "
            "WHERE database_name = 'db' ORDER BY ALL").fetchall():
        seen["index %s.%s" % row[:2]] = row[2:]
    return {name: list(what) for name, what in seen.items()}


def expect(con, what, sql, wanted=0):
    found = con.execute(sql).fetchone()[0]
    if found != wanted:
        raise Bad("%s: %s, not %s" % (what, found, wanted))


def invariants(con, acks):
    total = con.execute("SELECT count(*) * 2000 FROM acct_a").fetchone()[0]
    if total != 400000:
        raise Bad("acct_a has lost rows")
    expect(con, "sum of both account tables",
           "SELECT (SELECT sum(v) FROM acct_a) + (SELECT sum(v) FROM acct_b)", total)
    expect(con, "transfers in acct_b without ledger lines",
           "SELECT (SELECT sum(v) - 200000 FROM acct_b) - "
           "(SELECT coalesce(sum(moved), 0) FROM ledger)")
    expect(con, "threads whose ledger has gaps",
           "SELECT count(*) FROM (SELECT th, count(*) c, count(DISTINCT n) d, max(n) m, min(n) l "
           "FROM ledger GROUP BY th) WHERE c <> m + 1 OR d <> c OR l <> 0")
    expect(con, "batches, against the ledger",
           "SELECT (SELECT count(*) FROM batches) - (SELECT coalesce(sum(batches), 0) FROM ledger)")
    expect(con, "batches that differ from their rows",
           "SELECT count(*) FROM (SELECT th, batch, count(*) c, sum(x) s FROM bulk GROUP BY ALL) a "
           "FULL JOIN batches b USING (th, batch) "
           "WHERE a.c IS DISTINCT FROM b.row_count OR a.s IS DISTINCT FROM b.total")
    expect(con, "made tables, against the ledger",
           "SELECT (SELECT count(*) FROM made) - (SELECT coalesce(sum(made), 0) FROM ledger)")
    there = [row[0] for row in con.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = 'db' AND "
        "regexp_matches(table_name, '^(made|undone)_') ORDER BY 1").fetchall()]
    named = con.execute("SELECT name, row_count, total FROM made ORDER BY 1").fetchall()
    if there != [row[0] for row in named]:
        raise Bad("made tables are %s, not %s" % (there, [row[0] for row in named]))
    for name, rows, total in named:
        if con.execute("SELECT count(*), sum(x) FROM " + name).fetchone() != (rows, total):
            raise Bad("table %s has other rows than it was made with" % name)
    for row in con.execute("SELECT id, v FROM acct_a USING SAMPLE 5 ROWS").fetchall():
        expect(con, "acct_a by its index", "SELECT v FROM acct_a WHERE id = %d" % row[0], row[1])
    for thread, number in acks.items():
        newest = con.execute("SELECT coalesce(max(n), -1) FROM ledger WHERE th = %d"
                             % int(thread)).fetchone()[0]
        if newest < number:
            raise Bad("thread %s: commit %d was acknowledged, the copy ends at %d"
                      % (thread, number, newest))


def judge(request):
    path = request["path"]
    how = {"key": request.get("key"), "cipher": request.get("cipher")}
    settings = {"threads": 1, "memory_limit": "1GB"}

    if not os.path.exists(path):
        raise Bad("there is no file " + path)
    con = attach.connect(path, settings, **how)
    try:
        first = contents(con)
        if request.get("invariants"):
            if "table main.ledger" not in first and request.get("acks"):
                raise Bad("there is no ledger")
            if "table main.ledger" in first:
                invariants(con, request.get("acks") or {})
        con.execute("CHECKPOINT")
        if request.get("write", True):
            con.execute("CREATE TABLE written_after AS SELECT range AS n FROM range(5000)")
            con.execute("CHECKPOINT")
            con.execute("DROP TABLE written_after")
    finally:
        attach.disconnect(con)
    if os.path.exists(path + ".wal"):
        raise Bad("a log was left behind by a clean close")
    con = attach.connect(path, settings, read_only=True, **how)
    try:
        again = contents(con)
        # Where a sequence stands is known after replay and after a checkpoint in other ways.
        other = [name for name in sorted(set(again) | set(first))
                 if again.get(name) != first.get(name) and not name.startswith("sequence ")]
        if other:
            raise Bad("reads otherwise after being checkpointed and reopened: "
                      + ", ".join("%s was %s, is %s" % (name, first.get(name), again.get(name))
                                  for name in other))
    finally:
        attach.disconnect(con)
    return first


def main():
    for line in sys.stdin:
        try:
            answer = {"good": True, "why": "", "contents": judge(json.loads(line))}
        except Exception as error:
            answer = {"good": False, "why": "%s: %s" % (type(error).__name__, error),
                      "contents": {}}
        print(json.dumps(answer, default=str), flush=True)


main()
