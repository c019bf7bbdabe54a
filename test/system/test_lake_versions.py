"""Lakes of older specifications come back for the version of DuckDB that made them."""

import pytest
from lakes import KINDS, OLD_VERSIONS, backup, restore

SPECIFICATION = {"1.3.0": "0.1", "1.3.2": "0.2", "1.4.4": "0.3", "1.5.0": "0.4", "1.5.5": "1.0"}
# The one package that has the extension for 1.3.0 has no others.
MADE = [(version, kind) for version in OLD_VERSIONS for kind in KINDS if version != "1.3.0" or kind == "duckdb"]


@pytest.mark.parametrize("version,kind", MADE)
def test_restored_for_the_version_that_made_it(cb, make_lake, lake_place, version, kind):
    lake = make_lake(kind, version=version)
    backup(cb, lake)
    assert cb("show", "lake").json["spec_version"] == SPECIFICATION[version]
    lake.destroy()
    place = lake_place(kind, version=version)
    restore(cb, place)
    place.same(lake.before())


@pytest.mark.parametrize("version", ["1.3.2", "1.4.4", "1.5.0"])
@pytest.mark.parametrize("kind,to", [("duckdb", "postgres"), ("postgres", "sqlite"), ("sqlite", "duckdb")])
def test_restored_to_another_kind(cb, make_lake, lake_place, version, kind, to):
    """A DuckDB catalog is read here by whatever version can; the old one reads SQLite and PostgreSQL."""
    lake = make_lake(kind, version=version)
    backup(cb, lake)
    lake.destroy()
    place = lake_place(to, version=version)
    restore(cb, place)
    place.same(lake.before())
