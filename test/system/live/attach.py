"""How writers and judges open a database: by ATTACH, so that every option can be said.

Runs inside the environment of one engine version; imports nothing but that engine.
"""

import glob
import os

import duckdb


def engine_version():
    return tuple(int(part) for part in duckdb.__version__.split("."))


def options(key=None, cipher=None, block_size=None, storage=None, read_only=False):
    words = []
    if read_only:
        words.append("READ_ONLY")
    if block_size:
        words.append("BLOCK_SIZE %d" % block_size)
    if storage:
        words.append("STORAGE_VERSION '%s'" % storage)
    if key:
        words.append("ENCRYPTION_KEY '%s'" % key)
    if cipher:
        words.append("ENCRYPTION_CIPHER '%s'" % cipher)
    return " (%s)" % ", ".join(words) if words else ""


def crypto_extension():
    """1.4 writes encrypted files with the extension httpfs only, which is a package of its own."""
    import duckdb_extension_httpfs

    folder = os.path.dirname(duckdb_extension_httpfs.__file__)
    return glob.glob(os.path.join(folder, "extensions", "*", "*.duckdb_extension"))[0]


def connect(path, settings=None, **how):
    """A connection whose current database is the file at `path`."""
    con = duckdb.connect(":memory:", config=settings or {})
    if how.get("key") and engine_version() < (1, 5):
        con.execute("LOAD '%s'" % crypto_extension())
    elif how.get("key"):
        con.execute("SET force_mbedtls_unsafe = true")  # writes without the extension, for tests
    con.execute("ATTACH '%s' AS db%s" % (path.replace("'", "''"), options(**how)))
    con.execute("USE db")
    return con


def disconnect(con):
    """Detach (a clean close: folds the log in, unless told otherwise) and close."""
    con.execute("USE memory")
    con.execute("DETACH db")
    con.close()
