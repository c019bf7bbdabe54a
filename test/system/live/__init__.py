"""Writers, judges and tools of the tests that run the program against stock DuckDB."""
