"""The stock DuckDB versions under test and what each can do."""

import functools

import conftest

VERSIONS = conftest.VERSIONS
NEWEST = VERSIONS[-1]
ENCRYPTING_1_4 = "1.4.4"  # 1.4 writes encrypted files only with the extension httpfs beside it
LIVE = ["1.4.5", "1.5.6", "2.0.0"]  # those that get the long runs

# Storage versions by the number that a file has for them, and their names in ATTACH.
STORAGE_NAMES = {
    64: "v0.10.2",
    65: "v1.2.0",
    66: "v1.3.0",
    67: "v1.4.0",
    68: "v1.5.0",
    69: "v2.0.0",
}


def numbers(version):
    return tuple(int(part) for part in version.split("."))


def at_least(version, other):
    return numbers(version) >= numbers(other)


def storage_versions(version):
    """The storage versions that this engine can be asked for; 1.1 knows no such option."""
    if not at_least(version, "1.2.0"):
        return []
    return [n for n, name in STORAGE_NAMES.items() if at_least(version, name[1:])]


@functools.lru_cache(maxsize=None)
def python(version):
    """The interpreter whose `duckdb` is the engine of this version."""
    if version == ENCRYPTING_1_4:
        return conftest.venv_python(f"duckdb-{version}-httpfs", f"duckdb=={version}",
                                    f"duckdb-extension-httpfs=={version}")
    return conftest.duckdb_python(version)
