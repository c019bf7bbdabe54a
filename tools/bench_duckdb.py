"""What ./run bench needs a DuckDB for. Run by the interpreter that has the duckdb package:

    make PATH BYTES      a database of about that size, mixed data, the same on each machine
    day PATH             a day of a warehouse: recent rows updated, old deleted, new added; 1 %
    blocks PATH          prints used blocks times block size
    copy FROM TO         COPY FROM DATABASE, and a checkpoint
    count PATH           prints the rows of each table and a sum over their content
    write PATH COUNTER   does a day, then commits small transactions for ever; the number of commits
                         so far stands in the file COUNTER as 8 bytes
"""

import os
import sys

import duckdb

# All content comes from hash(), so that it does not depend on the order in which threads work.
MACROS = """
CREATE OR REPLACE TEMP MACRO dice(i, salt, sides) AS (hash(i * 31 + salt) % sides)::BIGINT;
CREATE OR REPLACE TEMP MACRO word(i, salt) AS
    (['quick', 'shipment', 'blue', 'returned', 'carefully', 'pending', 'deposit', 'express', 'final',
      'regular', 'ironic', 'accounts', 'packed', 'bold', 'request', 'sleep', 'above', 'theodolite',
      'fluffy', 'unusual', 'platelet', 'silent', 'foxes', 'haggle'])[1 + dice(i, salt, 24)];
CREATE OR REPLACE TEMP MACRO uuid_of(i, salt) AS md5((i * 31 + salt)::VARCHAR)::UUID;
"""

TABLES = """
CREATE TABLE orders (id BIGINT, customer INTEGER, placed TIMESTAMP, status VARCHAR,
                     total DECIMAL(12, 2));
CREATE TABLE line_items (order_id BIGINT, line INTEGER, product INTEGER, quantity INTEGER,
                         price DECIMAL(10, 2), comment VARCHAR);
CREATE TABLE events (id BIGINT, happened TIMESTAMP, body VARCHAR);
CREATE TABLE sensors (measured TIMESTAMP, sensor INTEGER, value DOUBLE,
                      noise DOUBLE);
"""

# Rows of each table for one order; a batch is a range of order numbers.
FILL = """
INSERT INTO orders SELECT i, dice(i, 1, 200000), TIMESTAMP '2020-01-01' + INTERVAL (i * 7) SECOND,
    (['open', 'paid', 'shipped', 'returned'])[1 + dice(i, 2, 4)], dice(i, 3, 10000000) / 100
    FROM range({first}, {last}) t(i);
INSERT INTO line_items SELECT i // 3, i % 3, dice(i, 4, 50000), 1 + dice(i, 5, 20),
    dice(i, 6, 1000000) / 100,
    word(i, 7) || ' ' || word(i, 8) || ' ' || word(i, 9) || ' ' || word(i, 10) || ' ' || dice(i, 11, 99999)
    FROM range({first} * 3, {last} * 3) t(i);
INSERT INTO events SELECT i, TIMESTAMP '2020-01-01' + INTERVAL (i * 3) SECOND,
    '{{"id":"' || uuid_of(i, 12) || '","user":' || dice(i, 13, 200000) || ',"kind":"' || word(i, 14)
    || '","session":"' || uuid_of(i // 20, 15) || '","ms":' || dice(i, 16, 5000) || '}}'
    FROM range({first}, {last}) t(i);
INSERT INTO sensors SELECT TIMESTAMP '2020-01-01' + INTERVAL (i) SECOND, i % 500,
    20 + 5 * sin(i / 5000.0) + dice(i, 17, 1000000000) / 1e9, sqrt(dice(i, 18, 1000000000))
    FROM range({first} * 6, {last} * 6) t(i);
"""

DAY = """
UPDATE orders SET status = 'shipped' WHERE id >= {count}::BIGINT * 995 // 1000;
UPDATE line_items SET quantity = quantity + 1 WHERE order_id >= {count}::BIGINT * 998 // 1000;
DELETE FROM orders WHERE id < {count}::BIGINT * 3 // 1000;
DELETE FROM line_items WHERE order_id < {count}::BIGINT * 3 // 1000;
DELETE FROM events WHERE id < {count}::BIGINT * 3 // 1000;
"""

BATCH = 250_000


def connect(path):
    con = duckdb.connect(path)
    con.execute("SET preserve_insertion_order = true")
    con.execute(MACROS)
    return con


def fill(con, first, last):
    con.execute(FILL.format(first=first, last=last))


def make(path, size):
    con = connect(path)
    con.execute(TABLES)
    orders = 0
    while True:
        fill(con, orders, orders + BATCH)
        orders += BATCH
        con.execute("CHECKPOINT")
        if os.path.getsize(path) >= size:
            break
    con.close()


def day(con):
    count = con.execute("SELECT max(id) + 1 FROM orders").fetchone()[0]
    con.execute(DAY.format(count=count))
    fill(con, count, count + count // 200)


def blocks(path):
    con = duckdb.connect(path, read_only=True)
    row = con.execute("SELECT block_size, used_blocks FROM pragma_database_size() "
                      "WHERE database_name = current_database()").fetchone()
    print(row[0] * row[1])


def copy(source, target):
    con = duckdb.connect()
    con.execute(f"ATTACH '{source}' AS source (READ_ONLY)")
    con.execute(f"ATTACH '{target}' AS target")
    con.execute("COPY FROM DATABASE source TO target")
    con.execute("CHECKPOINT target")
    con.close()


def count(path):
    con = duckdb.connect(path, read_only=True)
    for (table,) in con.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall():
        print(table, *con.execute(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {table} t").fetchone())


def write(path, counter):
    con = connect(path)
    day(con)
    con.execute("CHECKPOINT")
    number = 0
    with open(counter, "r+b", buffering=0) as file:
        while True:
            con.execute(f"INSERT INTO orders VALUES ({number}, 1, now()::TIMESTAMP, 'live', 1)")
            number += 1
            file.seek(0)
            file.write(number.to_bytes(8, "little"))


def main():
    verb, path, *rest = sys.argv[1:]
    if verb == "make":
        make(path, int(rest[0]))
    elif verb == "day":
        con = connect(path)
        day(con)
        con.execute("CHECKPOINT")
        con.close()
    elif verb == "blocks":
        blocks(path)
    elif verb == "copy":
        copy(path, rest[0])
    elif verb == "count":
        count(path)
    elif verb == "write":
        write(path, rest[0])


main()
