/*
 * change_internal.h - what the changes to a catalog share: one edit, its statements, its counts.
 *
 * The first failure stays in edit->code and edit->err; every later step does nothing. So a change
 * is the list of its statements.
 */
#ifndef CB_SOURCE_DUCKLAKE_CHANGE_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_CHANGE_INTERNAL_H

#include "source/ducklake/freeze.h"

typedef struct cb_lake_edit {
    cb_lake_db *db;
    const cb_lake_schema *schema; /* as it was before the edit */
    bool *is_dropped;             /* of each of its tables */
    cb_lake_changed *counts;
    cb_code code;
    cb_error *err;
} cb_lake_edit;

/* A table of users' rows: "ducklake_inlined_data_7_3", "ducklake_inlined_delete_7". */
typedef struct cb_lake_inlined {
    bool is_inlined, is_delete;
    int64_t table_id, schema_version; /* version: -1 of deletes */
    const char *begin, *end;          /* their columns, NULL none; other names from 1.1 on */
} cb_lake_inlined;
void cb_lake_inlined_of(const cb_lake_table *table, cb_lake_inlined *out);

/* Is there `table` ("data_file") with that column? */
bool cb_lake_edit_has(const cb_lake_edit *edit, const char *table, const char *column);
/* Run one statement; *count grows by the rows that it touched (NULL: not asked). */
void cb_lake_edit_run(cb_lake_edit *edit, uint64_t *count, const char *format, ...) CB_PRINTF(3, 4);
int64_t cb_lake_edit_number(cb_lake_edit *edit, int64_t fallback, const char *format, ...)
    CB_PRINTF(3, 4);
void cb_lake_edit_drop(cb_lake_edit *edit, size_t table); /* of the schema */
/* Rows that belong to what is no longer there: statistics, columns of partitions, mappings, ... */
void cb_lake_edit_sweep(cb_lake_edit *edit);

void cb_lake_edit_cut(cb_lake_edit *edit, int64_t snapshot); /* change_cut.c */
void cb_lake_edit_tables(cb_lake_edit *edit, const char *const *tables, size_t count);
/* change_straddle.c; after a cut. NULL: refuse; not read yet: list; read: hide. */
void cb_lake_edit_straddle(cb_lake_edit *edit, int64_t snapshot, cb_lake_straddle *straddle);

#endif
