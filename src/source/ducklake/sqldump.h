/*
 * sqldump.h - a catalog as SQL that psql, sqlite3 or duckdb runs, and back.
 *
 * The dump speaks the dialect of the catalog's own kind: CREATE TABLE with exact types, keys and
 * indexes, then the rows (PostgreSQL: COPY blocks with exact bytes; else INSERTs of bounded
 * length), all in one transaction, all tables by listing, one snapshot. Its first lines are
 * comments that say kind, version, schema, snapshot and time; its last two say how many tables and
 * rows it has and the SHA-256 of all that stands before it, so that a cut or changed dump is told
 * from a whole one.
 */
#ifndef CB_SOURCE_DUCKLAKE_SQLDUMP_H
#define CB_SOURCE_DUCKLAKE_SQLDUMP_H

#include "source/ducklake/catalog.h"

typedef struct cb_sqldump_facts {
    char version[32];
    cb_lake_kind kind;
    char schema[256]; /* where its tables are */
    bool schema_is_default;
    uint64_t tables, rows, bytes;
    char sha256[65];
} cb_sqldump_facts;

/* The version that the catalog says of itself, with no look at anything else: any version has it.
   In `arena`. CB_NOT_FOUND (no lake), CB_CORRUPT. */
CB_MUST_USE cb_code cb_sqldump_version(cb_lake_db *db, const cb_lake_schema *schema,
                                       cb_arena *arena, const char **out, cb_error *err);

/*
 * Write to the new file `path`, mode 0600, streamed; synced with its folder before CB_OK. On error
 * no file of that name is left. Errors: CB_EXISTS, CB_NO_SPACE, those of the conversation.
 */
CB_MUST_USE cb_code cb_sqldump_write(cb_ctx *ctx, cb_lake_db *db, const char *path,
                                     cb_sqldump_facts *out, cb_error *err);
/* Whole, unchanged, of which kind and version? CB_CORRUPT, CB_UNSUPPORTED (not such a dump). */
CB_MUST_USE cb_code cb_sqldump_check(cb_ctx *ctx, const char *path, cb_sqldump_facts *out,
                                     cb_error *err);
/* Run a checked dump in a conversation of its own kind opened CREATE; the caller commits. */
CB_MUST_USE cb_code cb_sqldump_read(cb_ctx *ctx, const char *path, cb_lake_db *db, cb_error *err);

#endif
