"""DuckDB with a lake attached, as a process of its own: the child of lakes.py's LakeProcess.

Runs in the Python environment of one DuckDB version. Reads requests as lines of JSON, answers each
with one: {"do": "sql", "text": ..., "values": [...]} or {"do": "fingerprint", ...}.
"""

import glob
import json
import sys

import duckdb

VERSION = tuple(int(part) for part in duckdb.__version__.split("."))


def connect(needs):
    """A DuckDB that has these extensions, from files: nothing is asked of a network."""
    con = duckdb.connect()
    con.execute("SET autoinstall_known_extensions = false")
    con.execute("SET autoload_known_extensions = false")
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET threads = 1")
    packages = next(folder for folder in sys.path if folder.endswith("site-packages"))
    for name in ("ducklake", *needs):
        found = glob.glob(f"{packages}/duckdb_ext*/extensions/**/{name}.duckdb_extension", recursive=True)
        con.execute(f"LOAD '{found[0]}'")
    return con


def text(value):
    return "'" + str(value).replace("'", "''") + "'"


def name(*parts):
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def attach(con, lake, options, s3):
    if s3:
        con.execute(
            f"CREATE OR REPLACE SECRET (TYPE s3, KEY_ID {text(s3['key'])}, SECRET {text(s3['secret'])},"
            f" ENDPOINT {text(s3['endpoint'])}, URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')"
        )
    said = ", ".join(
        key if value is True else f"{key} {value if isinstance(value, int) else text(value)}"
        for key, value in options.items()
    )
    con.execute(f"ATTACH {text(lake)} AS lake" + (f" ({said})" if said else ""))
    con.execute("USE lake")


# ---- what a user can see in a lake --------------------------------------------------------------


def one_table(con, full, version):
    """Rows, and a sum over them that no order changes; types and names of the columns too."""
    at = f" AT (VERSION => {version})" if version is not None else ""
    try:
        row = con.execute(
            f"SELECT count(*), coalesce(sum(hash(t)::HUGEINT), 0)::VARCHAR,"
            f" coalesce(bit_xor(hash(t)), 0)::VARCHAR, any_value(typeof(t)) FROM (FROM {full}{at}) t"
        ).fetchone()
        return [str(value) for value in row]
    except duckdb.Error as error:
        con.execute("ROLLBACK")
        con.execute("BEGIN")
        return f"error: {type(error).__name__}"


def listed(con, query):
    return [[str(value) for value in row] for row in con.execute(query).fetchall()]


def tables_at(con, catalog, version):
    return con.execute(
        f"SELECT s.schema_name, t.table_name FROM {catalog}.ducklake_table t"
        f" JOIN {catalog}.ducklake_schema s ON s.schema_id = t.schema_id"
        f" WHERE t.begin_snapshot <= {version} AND (t.end_snapshot IS NULL OR t.end_snapshot > {version})"
        f" AND s.begin_snapshot <= {version} AND (s.end_snapshot IS NULL OR s.end_snapshot > {version})"
        f" ORDER BY ALL"
    ).fetchall()


def fingerprint(con, catalog, versions):
    """Every table at every snapshot (`versions`: only at these), and all else that is told of the
    lake now."""
    seen = {}
    snapshots = con.execute(
        "SELECT snapshot_id, epoch_us(snapshot_time) FROM ducklake_snapshots('lake') ORDER BY 1"
    ).fetchall()
    for version, when in snapshots:
        seen[f"snapshot {version}"] = when
        if versions is None or version in versions:
            for schema, table in tables_at(con, catalog, version):
                full = name("lake", schema, table)
                seen[f"{schema}.{table}@{version}"] = one_table(con, full, version)
    for schema, table in tables_at(con, catalog, snapshots[-1][0]):
        full = name("lake", schema, table)
        seen[f"{schema}.{table}"] = one_table(con, full, None)
        seen[f"{schema}.{table} columns"] = listed(con, f"DESCRIBE {full}")
    seen["views"] = listed(
        con,
        "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE database_name = 'lake'"
        " AND NOT internal ORDER BY ALL",
    )
    seen["comments"] = listed(
        con,
        "SELECT schema_name, table_name, '', comment FROM duckdb_tables() WHERE database_name = 'lake'"
        " AND comment IS NOT NULL UNION ALL SELECT schema_name, table_name, column_name, comment"
        " FROM duckdb_columns() WHERE database_name = 'lake' AND comment IS NOT NULL ORDER BY ALL",
    )
    seen["macros"] = listed(
        con,
        "SELECT schema_name, function_name, macro_definition FROM duckdb_functions()"
        " WHERE database_name = 'lake' ORDER BY ALL",
    )
    return seen


def answer(con, ask):
    if ask["do"] == "attach":
        attach(con, ask["lake"], ask["options"], ask["s3"])
        return []
    if ask["do"] == "fingerprint":
        con.execute("BEGIN")  # one transaction: the catalog's schemas are read once
        try:
            where = ["__ducklake_metadata_lake", *([ask["schema"]] if ask["schema"] else [])]
            return fingerprint(con, name(*where), ask["versions"])
        finally:
            con.execute("ROLLBACK")
    done = con.execute(ask["text"], ask.get("values") or [])
    return [[str(v) if v is not None else None for v in row] for row in done.fetchall()]


def main():
    con = connect(sys.argv[1:])
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            said = {"result": answer(con, json.loads(line))}
        except Exception as error:  # any: the parent decides what it means
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), flush=True)
    con.close()


if __name__ == "__main__":
    main()
