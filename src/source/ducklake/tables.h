/*
 * tables.h - the tables of a lake, and the folder where each keeps its files: the way from a file
 * that nobody names back to the table that it was written for.
 */
#ifndef CB_SOURCE_DUCKLAKE_TABLES_H
#define CB_SOURCE_DUCKLAKE_TABLES_H

#include "source/ducklake/catalog.h"

typedef struct cb_lake_place {
    int64_t table_id;
    const char *name;   /* "main"."orders" */
    const char *folder; /* full, ends in '/'; "" unknown (spec 0.1 has no folders) */
} cb_lake_place;

typedef struct cb_lake_places {
    cb_lake_place *rows; /* by folder, as bytes; free() */
    size_t count, capacity;
    cb_arena arena;
} cb_lake_places;

/* `alive`: those of the newest snapshot alone, each once; else of all, one row a name. */
CB_MUST_USE cb_code cb_lake_places_read(cb_lake_db *db, const cb_lake_schema *schema,
                                        const cb_lake_info *info, bool alive, cb_lake_places *out,
                                        cb_error *err);
void cb_lake_places_free(cb_lake_places *places);
/* The table in whose folder `url` lies, the innermost; NULL: none. */
const cb_lake_place *cb_lake_places_of(const cb_lake_places *places, const char *url);
const cb_lake_place *cb_lake_places_by_id(const cb_lake_places *places, int64_t table_id);

#endif
