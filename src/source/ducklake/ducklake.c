/*
 * ducklake.c - the engine's line in the table of kinds.
 */
#include "source/ducklake/ducklake.h"

/* A catalog is a DuckDB or SQLite file like any other: who means the lake writes ducklake:. */
static bool recognise(const char *path)
{
    (void)path;
    return false;
}

const cb_engine cb_ducklake_engine = {
    .kind = "ducklake",
    .scheme = "ducklake:",
    .recognise = recognise,
    .source = cb_lake_source_new,
    .target = cb_lake_target_new,
    .check = cb_lake_check,
    .deep = cb_lake_deep,
};
