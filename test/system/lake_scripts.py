"""What is said to DuckLake to make a lake. {outside}: a folder beside the data, in which a Parquet file
lies."""

HARD = """hidden."select from ""where"" ü\""""

# Everything that DuckLake can make.
RICH = f"""
BEGIN
CREATE SCHEMA hidden
CREATE TABLE orders (id INTEGER, region VARCHAR, day DATE, amount DECIMAL(18,3), note VARCHAR)
CREATE TABLE {HARD} ("the order" INTEGER, "a""b'c" VARCHAR, "Ω" DOUBLE)
CREATE TABLE kinds (b BOOLEAN, t TINYINT, u UBIGINT, f FLOAT, d DOUBLE, c DECIMAL(38,10), dd DATE, ti TIME, ts TIMESTAMP, tz TIMESTAMPTZ, v VARCHAR, bl BLOB, id UUID, iv INTERVAL, l INTEGER[], s STRUCT(a INTEGER, b STRUCT(c VARCHAR, d DATE[])), m MAP(VARCHAR, DOUBLE))
CREATE TABLE evolves (a INTEGER, b VARCHAR, c TINYINT, s STRUCT(x INTEGER))
CREATE TABLE merged (i INTEGER, s VARCHAR)
CREATE TABLE small (i INTEGER, s VARCHAR, t TIMESTAMPTZ, l VARCHAR[])
CREATE TABLE inline_kinds AS FROM kinds
CREATE TABLE flushed (i INTEGER, s VARCHAR)
CREATE TABLE deleted_inline (i INTEGER, s VARCHAR)
CREATE TABLE vectors (i INTEGER, s VARCHAR)
CREATE TABLE sorted (i INTEGER, s VARCHAR)
COMMIT
ALTER TABLE orders SET PARTITIONED BY (region, year(day))
ALTER TABLE sorted SET SORTED BY (i DESC, s)
CALL lake.set_option('write_deletion_vectors', true, table_name => 'vectors')
BEGIN
INSERT INTO orders SELECT i, ['eu', 'us/west=1', 'a b%c', 'größe'][i % 4 + 1], DATE '2024-03-01' + (i * 9)::INTEGER, i / 7, repeat('n', i % 30) FROM range(120) t(i)
INSERT INTO {HARD} SELECT i, 'it''s ' || chr(10) || chr(9) || '\\ü', i / 3.0 FROM range(40) t(i)
INSERT INTO kinds SELECT i % 2 = 0, i % 100, 18446744073709551000 + i, i / 3, sin(i), i / 9, DATE '1969-12-25' + i::INTEGER, TIME '01:02:03.004', TIMESTAMP '2001-02-03 04:05:06.7', TIMESTAMPTZ '2001-02-03 04:05:06.789+02', 'é' || i, 'a\\x00b\\xFF'::BLOB, ('00000000-0000-0000-0000-0000000000' || (10 + i % 80))::UUID, INTERVAL (i) DAY, [i, NULL, 3], {{'a': i, 'b': {{'c': 'x' || i, 'd': [DATE '2020-01-01', NULL]}}}}, MAP {{'k' || i: i / 2, 'é': NULL}} FROM range(50) t(i)
INSERT INTO inline_kinds SELECT * FROM kinds WHERE t < 3
INSERT INTO evolves SELECT i, 'b' || i, i, {{'x': i}} FROM range(30) t(i)
INSERT INTO merged SELECT i, 'one' FROM range(30) t(i)
INSERT INTO small VALUES (1, 'in the catalog', '2020-01-01 00:00:00+00', ['a', NULL]), (2, NULL, NULL, NULL)
INSERT INTO flushed VALUES (1, 'a'), (2, 'b')
INSERT INTO deleted_inline SELECT i, 's' || i FROM range(100) t(i)
INSERT INTO vectors SELECT i, 's' || i FROM range(300) t(i)
INSERT INTO sorted SELECT (i * 7919) % 100, i::VARCHAR FROM range(60) t(i)
COMMIT
DELETE FROM orders WHERE id % 7 = 3
UPDATE orders SET amount = amount * 2, note = note || '!' WHERE id % 5 = 0
BEGIN
INSERT INTO kinds SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
INSERT INTO inline_kinds VALUES (NULL, NULL, NULL, 'nan', '-inf', NULL, NULL, NULL, 'infinity', NULL, 'a' || chr(92) || 'n' || chr(10) || chr(9), NULL, NULL, NULL, NULL, NULL, NULL)
DELETE FROM vectors WHERE i % 3 = 0
DELETE FROM deleted_inline WHERE i IN (5, 7)
COMMIT
ALTER TABLE evolves ADD COLUMN e VARCHAR DEFAULT 'it''s new'
ALTER TABLE evolves RENAME COLUMN b TO "B 2"
ALTER TABLE evolves ALTER COLUMN c SET DATA TYPE BIGINT
INSERT INTO evolves SELECT i, 'c', i * 1000000000, {{'x': i}}, NULL FROM range(25) t(i)
ALTER TABLE evolves DROP COLUMN a
ALTER TABLE evolves RENAME TO evolved
BEGIN
INSERT INTO evolved SELECT 'd', i, {{'x': i}}, 'e' FROM range(25) t(i)
INSERT INTO merged SELECT i, 'two' FROM range(30) t(i)
INSERT INTO small VALUES (3, 'ü ''quoted''', '2021-01-01 00:00:00.5+00', [])
INSERT INTO flushed VALUES (3, 'c')
CREATE TABLE rewritten AS SELECT i, md5(i::VARCHAR) AS s FROM range(200) t(i)
CREATE TABLE gone AS SELECT 42 AS answer FROM range(30)
COMMIT
BEGIN
INSERT INTO merged SELECT i, 'three' FROM range(30) t(i)
INSERT INTO orders SELECT i, 'eu', DATE '2026-01-01', i, NULL FROM range(30) t(i)
DELETE FROM small WHERE i = 2
DELETE FROM flushed WHERE i = 2
DELETE FROM rewritten WHERE i % 10 < 7
DELETE FROM vectors WHERE i % 5 = 0
DROP TABLE gone
CALL lake.set_commit_message('me', 'many tables')
COMMIT
ALTER TABLE small ADD COLUMN more INTEGER
BEGIN
INSERT INTO small VALUES (4, 'four', NULL, ['x'], 4)
CREATE VIEW big AS SELECT * FROM orders WHERE amount > 3
CREATE VIEW hidden.counted AS SELECT count(*) AS n FROM lake.main.evolved
CREATE MACRO plus_one(a) AS a + 1
CREATE MACRO few(n) AS TABLE SELECT * FROM range(n)
CREATE TABLE added (i BIGINT, s VARCHAR)
INSERT INTO added SELECT i, 'own' FROM range(30) t(i)
COMMIT
COMMENT ON TABLE orders IS 'it''s about orders'
COMMENT ON COLUMN orders.note IS 'a note; -- or two'
CALL ducklake_add_data_files('lake', 'added', '{{outside}}/it is outside.parquet')
CALL ducklake_flush_inlined_data('lake', table_name => 'flushed')
CALL ducklake_merge_adjacent_files('lake')
CALL ducklake_rewrite_data_files('lake', 'rewritten', delete_threshold => 0.1)
CALL ducklake_expire_snapshots('lake', versions => [6, 9])
INSERT INTO merged SELECT i, 'last' FROM range(30) t(i)
""".strip().splitlines()  # fmt: skip

# A few snapshots of one table.
PLAIN = """
CREATE TABLE t (i INTEGER, s VARCHAR)
INSERT INTO t SELECT i, 'first' FROM range(100) t(i)
INSERT INTO t SELECT i, 'second' FROM range(100) t(i)
DELETE FROM t WHERE i % 10 = 0
""".strip().splitlines()

# What versions from 1.3.0 on can say and read back; {since X}: from that version on.
OLD = f"""
CREATE SCHEMA hidden
CREATE TABLE {HARD} ("the order" INTEGER, "a""b'c" VARCHAR, "Ω" DOUBLE)
INSERT INTO {HARD} SELECT i, 'it''s ' || chr(10) || chr(9) || '\\ü', i / 3.0 FROM range(40) t(i)
CREATE TABLE orders (id INTEGER, region VARCHAR, amount DECIMAL(18,3))
ALTER TABLE orders SET PARTITIONED BY (region)
INSERT INTO orders SELECT i, ['eu', 'us/west=1', 'a b%c'][i % 3 + 1], i / 7 FROM range(120) t(i)
DELETE FROM orders WHERE id % 7 = 3
CREATE TABLE evolves (a INTEGER, b VARCHAR, c TINYINT, l INTEGER[], s STRUCT(x INTEGER))
INSERT INTO evolves SELECT i, 'b' || i, i, [i, 1], {{'x': i}} FROM range(30) t(i)
ALTER TABLE evolves ALTER COLUMN c SET DATA TYPE BIGINT
ALTER TABLE evolves ADD COLUMN e VARCHAR
INSERT INTO evolves SELECT i, 'c', i * 1000000000, [i], {{'x': i}}, 'e' FROM range(25) t(i)
ALTER TABLE evolves DROP COLUMN a
CREATE TABLE small (i INTEGER, s VARCHAR)
INSERT INTO small VALUES (1, 'maybe in the catalog')
INSERT INTO small VALUES (2, NULL)
DELETE FROM small WHERE i = 2
CREATE TABLE merged (i INTEGER, s VARCHAR)
INSERT INTO merged SELECT i, 'one' FROM range(30) t(i)
INSERT INTO merged SELECT i, 'two' FROM range(30) t(i)
UPDATE merged SET s = 'changed' WHERE i = 3
CREATE VIEW big AS SELECT * FROM orders WHERE amount > 3
CREATE TABLE gone AS SELECT 42 AS answer FROM range(30)
DROP TABLE gone
CALL ducklake_merge_adjacent_files('lake')
""".strip().splitlines()  # fmt: skip
