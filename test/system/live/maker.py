"""Makes a database that has one of everything, or changes it, or leaves it as a kill does.

Runs inside the environment of one engine version:

    maker.py --db FILE [--do make,change,drop,log,...] [--end close|kill]

`--end kill` ends the process by kill -9 with the database open.
"""

import argparse
import os
import signal

import attach

RICH = """
CREATE SCHEMA other;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE SEQUENCE counter START 5 INCREMENT 3;
CREATE TABLE numbers (id BIGINT PRIMARY KEY, a INTEGER, b DOUBLE, c DECIMAL(18, 3), d HUGEINT, e BOOLEAN);
INSERT INTO numbers SELECT range, range % 1000, range / 7.0, range / 8.0,
    range::HUGEINT * 1000000007, CASE WHEN range % 3 = 0 THEN NULL ELSE range % 2 = 0 END FROM range(30000);
CREATE TABLE words (id INTEGER, s VARCHAR, b BLOB, m mood, u UUID);
INSERT INTO words SELECT range, repeat(md5(range::VARCHAR), 1 + (range % 5)::INTEGER),
    md5((range * 3)::VARCHAR)::BLOB, ['sad', 'ok', 'happy'][1 + range % 3]::mood,
    md5((range + 9)::VARCHAR)::UUID FROM range(20000);
CREATE UNIQUE INDEX words_by_id ON words (id);
CREATE INDEX words_by_text ON words (s);
CREATE TABLE big (id INTEGER, s VARCHAR);
INSERT INTO big SELECT range, repeat(md5(range::VARCHAR), (1 + (range * 1543) % 9000)::INTEGER)
    FROM range(40);
INSERT INTO big VALUES (100, repeat('x', 1200000)), (101, ''), (102, NULL);
CREATE TABLE nested (id INTEGER, l INTEGER[], ll VARCHAR[][], s STRUCT(a INTEGER, b VARCHAR[]),
    m MAP(VARCHAR, INTEGER), f INTEGER[3]);
INSERT INTO nested SELECT range, CASE WHEN range % 7 = 0 THEN NULL ELSE range(range % 11) END,
    [[range::VARCHAR, NULL], []], {'a': range, 'b': ['x', 'y' || range]},
    MAP {'k' || range % 5: range}, [range, NULL, range + 1] FROM range(9000);
CREATE TABLE times (d DATE, t TIME, ts TIMESTAMP, tz TIMESTAMPTZ, i INTERVAL);
INSERT INTO times SELECT DATE '2000-01-01' + range::INTEGER, TIME '01:02:03', TIMESTAMP '2020-02-02 02:02:02'
    + INTERVAL (range) SECOND, TIMESTAMPTZ '2021-03-03 03:03:03+00' + INTERVAL (range) MINUTE,
    INTERVAL (range) DAY FROM range(5000);
CREATE TABLE other.parent (id INTEGER PRIMARY KEY);
INSERT INTO other.parent SELECT range FROM range(100);
CREATE TABLE other.child (id INTEGER DEFAULT nextval('counter'),
    parent INTEGER REFERENCES other.parent (id), note VARCHAR CHECK (length(note) < 50));
INSERT INTO other.child (parent, note) SELECT range % 100, 'n' || range FROM range(2500);
CREATE VIEW joined AS SELECT c.id, p.id AS parent FROM other.child c JOIN other.parent p ON c.parent = p.id;
CREATE MACRO twice(x) AS x * 2;
CREATE TABLE wide AS SELECT range AS n, md5(range::VARCHAR) AS s FROM range(40000);
CREATE TABLE gone AS SELECT range AS n, md5((range * 7)::VARCHAR) AS s FROM range(130000);
CREATE TABLE "odd "" name" AS SELECT 1 AS "odd "" column";
CREATE TABLE no_rows (n INTEGER);
"""

STEPS = {
    "make": RICH + "CHECKPOINT;",
    "drop": "DROP TABLE gone; CHECKPOINT; CREATE TABLE small AS SELECT range AS n FROM range(10); "
            "CHECKPOINT;",
    "change": """
        UPDATE numbers SET a = a + 1 WHERE id % 100 = 5;
        DELETE FROM words WHERE id % 50 = 7;
        INSERT INTO big VALUES (200, repeat('new', 50000));
        ALTER TABLE nested ADD COLUMN extra INTEGER DEFAULT 7;
        INSERT INTO other.child (parent, note) SELECT range % 100, 'late' FROM range(50);""",
    "bulk": "INSERT INTO wide SELECT range, md5((range + 5)::VARCHAR) FROM range(150000);",
    "other": "UPDATE numbers SET b = -2.5 WHERE id = 18;",
    "one": "UPDATE numbers SET b = -1.5 WHERE id = 17;",
    "undo": "BEGIN; INSERT INTO wide SELECT range, 'undone' FROM range(150000); ROLLBACK;",
    "checkpoint": "CHECKPOINT;",
    "tiny": "CREATE TABLE tiny (n INTEGER); INSERT INTO tiny VALUES (1), (2);",
    "fresh": "CREATE TABLE fresh (n BIGINT, s VARCHAR); INSERT INTO fresh SELECT range, "
             "md5(range::VARCHAR) FROM range(150000);",
    "shrink": "DROP TABLE wide; DROP TABLE big; CHECKPOINT; CHECKPOINT;",
    "no_index": "DROP INDEX words_by_id; DROP INDEX words_by_text; CHECKPOINT;",
    "nothing": "",
    "logging": "SET wal_autocheckpoint = '1TB';",
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", required=True)
    parser.add_argument("--do", default="make")
    parser.add_argument("--end", choices=["close", "kill", "wait"], default="close")
    parser.add_argument("--block-size", type=int)
    parser.add_argument("--storage")
    parser.add_argument("--key")
    parser.add_argument("--cipher")
    args = parser.parse_args()
    con = attach.connect(args.db, {"threads": 2, "memory_limit": "1GB"}, key=args.key,
                         cipher=args.cipher, block_size=args.block_size, storage=args.storage)
    for step in args.do.split(","):
        if STEPS[step]:
            con.execute(STEPS[step])
    if args.end == "wait":
        print("ready", flush=True)
        input()
    if args.end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    attach.disconnect(con)


main()
