/*
 * adopt.h - data files that no snapshot names, registered in the catalog by one new snapshot, and
 * that snapshot taken back.
 *
 * A registered file gets a row of ducklake_data_file, and one of ducklake_file_column_stats for
 * each of its columns: DuckLake passes over a file that has no such row. Least and greatest values
 * are left unknown (NULL), in the table's own statistics too, so that nothing is passed over
 * wrongly.
 *
 * The snapshot's commit message begins with CB_ADOPT_MESSAGE: by that it is found again.
 */
#ifndef CB_SOURCE_DUCKLAKE_ADOPT_H
#define CB_SOURCE_DUCKLAKE_ADOPT_H

#include "source/ducklake/parquet.h"
#include "source/ducklake/tables.h"

#define CB_ADOPT_MESSAGE "canvasback adopt"

/* Columns that DuckLake itself adds to files that a merge, an update or a rewrite made. */
#define CB_LAKE_ROW_ID_COLUMN   "_ducklake_internal_row_id"
#define CB_LAKE_SNAPSHOT_COLUMN "_ducklake_internal_snapshot_id"

typedef struct cb_adopt_file {
    const char *url;
    const cb_lake_place *place;
    uint64_t size_bytes;
    uint32_t footer_bytes;
    cb_parquet parquet;
} cb_adopt_file;

/* Columns of the file that the table does not have now (by field id); NULL: none. */
CB_MUST_USE cb_code cb_adopt_strangers(cb_lake_db *db, const cb_adopt_file *file, cb_arena *arena,
                                       const char **out, cb_error *err);

typedef struct cb_adoption {
    int64_t snapshot, schema_version, next_catalog_id, next_file_id;
    int64_t now_us;
    uint64_t files;
    cb_buf changes; /* of changes_made */
} cb_adoption;

/* Register in a conversation for writing; the caller commits. begin, add..., end. */
CB_MUST_USE cb_code cb_adoption_begin(cb_ctx *ctx, cb_lake_db *db, cb_adoption *out, cb_error *err);
CB_MUST_USE cb_code cb_adoption_add(cb_adoption *adoption, cb_lake_db *db,
                                    const cb_lake_schema *schema, const cb_adopt_file *file,
                                    cb_error *err);
CB_MUST_USE cb_code cb_adoption_end(cb_adoption *adoption, cb_lake_db *db,
                                    const cb_lake_schema *schema, cb_error *err);
void cb_adoption_free(cb_adoption *adoption);

/* Take the newest snapshot back when it is an adoption. Errors: CB_NOT_FOUND (it is none),
   CB_UNSUPPORTED (a spec version without commit messages). *files: how many are named no more. */
CB_MUST_USE cb_code cb_adoption_undo(cb_lake_db *db, const cb_lake_schema *schema,
                                     int64_t *snapshot, uint64_t *files, cb_error *err);

#endif
