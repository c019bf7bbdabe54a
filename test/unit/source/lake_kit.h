/*
 * A lake's catalog in SQLite as DuckLake 1.0 makes it, small and made by hand: two tables of which
 * one was altered, files, deletes, inlined rows and what is scheduled.
 */
#ifndef LAKE_KIT_H
#define LAKE_KIT_H

#include "source/ducklake/freeze.h"

/* The catalog at `path`, with `data_path` ("/x/data/"). Newest snapshot: 6. */
void lake_kit_make(const char *path, const char *data_path);
void lake_kit_sql(const char *path, const char *sql);
/* The one integer that a query gives; -1 for NULL or no row. */
int64_t lake_kit_number(const char *path, const char *sql);
/* The one text; "" for NULL or no row. */
const char *lake_kit_text(const char *path, const char *sql, char out[512]);
void lake_kit_address(const char *path, cb_lake_address *out);

#endif
