/*
 * catalog.c - what a catalog says of itself.
 *
 * Specification: DuckLake 0.1 to 1.1-dev1. Every table may lack columns that came later, and a
 * newer catalog may lack what we know: what is there is asked of the schema, never assumed.
 *
 *   0.1 -> 0.2  paths of schemas and tables; scope of options
 *   0.2 -> 0.3  authors of snapshots; schema versions
 *   0.3 -> 0.4  macros, sort orders; partial_max of files
 *   0.4 -> 1.0  nothing but the version
 *   1.0 -> 1.1  row group counts; names of inlined columns
 */
#include "source/ducklake/catalog_internal.h"

#include <stdio.h>

#include "base/text.h"
#include "base/time.h"
#include "codec/hash.h"

static const char inlined_data[] = "ducklake_inlined_data_";
static const char inlined_delete[] = "ducklake_inlined_delete_";

/* ---- versions ------------------------------------------------------------------------------- */

static const char *const known_versions[] = {"0.1",      "0.2", "0.3-dev1", "0.3",
                                             "0.4-dev1", "0.4", "1.0",      "1.1-dev1"};

bool cb_lake_version_is_known(const char *version)
{
    for (size_t i = 0; i < CB_LENGTH(known_versions); i++)
        if (strcmp(version, known_versions[i]) == 0)
            return true;
    return false;
}

/* The digits at *text as a number without leading zeros: its length decides, then its bytes. */
static int compare_number(const char **a, const char **b)
{
    static const char digits[] = "0123456789";
    size_t a_size;
    size_t b_size;
    int order;

    *a += strspn(*a, "0");
    *b += strspn(*b, "0");
    a_size = strspn(*a, digits);
    b_size = strspn(*b, digits);
    order = a_size != b_size ? (a_size < b_size ? -1 : 1) : memcmp(*a, *b, a_size);
    *a += a_size;
    *b += b_size;
    return order;
}

/* What follows the numbers: nothing (the release) is above any word. */
static int compare_words(const char *a, const char *b)
{
    if (*a == '\0' || *b == '\0')
        return (*a == '\0') - (*b == '\0');
    while (*a != '\0' && *b != '\0') {
        bool numbers = *a >= '0' && *a <= '9' && *b >= '0' && *b <= '9';
        int order = numbers ? compare_number(&a, &b) : (uint8_t)*a++ - (uint8_t)*b++;

        if (order != 0)
            return order;
    }
    return (*a != '\0') - (*b != '\0');
}

int cb_lake_version_compare(const char *a, const char *b)
{
    for (;;) {
        int order = compare_number(&a, &b);

        if (order != 0)
            return order;
        if (*a != '.' && *b != '.')
            return compare_words(a, b);
        /* A part that is not there is a zero. */
        a += *a == '.';
        b += *b == '.';
    }
}

/* ---- metadata ------------------------------------------------------------------------------- */

typedef struct reading {
    cb_lake_db *db;
    const cb_lake_schema *schema;
    cb_arena *arena;
    cb_lake_info *info;
    const char *encrypted;
} reading;

static cb_code take_option(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    reading *r = arg;
    cb_lake_info *info = r->info;
    const struct {
        const char *key;
        const char **to;
    } wanted[] = {
        {"version", &info->version},
        {"created_by", &info->created_by},
        {"data_path", &info->stored_data_path},
        {"encrypted", &r->encrypted},
        {"delete_older_than", &info->delete_older_than},
        {"expire_older_than", &info->expire_older_than},
    };

    if (count < 2 || cells[0].text == NULL || cells[1].text == NULL)
        return CB_OK;
    for (size_t i = 0; i < CB_LENGTH(wanted); i++) {
        if (strcmp(cells[0].text, wanted[i].key) != 0)
            continue;
        if (strlen(cells[1].text) != cells[1].size)
            return cb_fail(err, CB_CORRUPT, "the option '%s' of the lake holds a NUL",
                           wanted[i].key);
        return cb_arena_text(r->arena, cells[1].text, wanted[i].to, err);
    }
    return CB_OK;
}

/* Only rows for the whole lake: an option may be set for a schema or a table, too. */
static cb_code read_options(reading *r, const cb_lake_table *metadata, cb_error *err)
{
    const char *sql = cb_lake_table_has(metadata, "scope")
                          ? "SELECT \"key\", \"value\" FROM {metadata} WHERE scope IS NULL"
                          : "SELECT \"key\", \"value\" FROM {metadata}";
    cb_code code = cb_lake_db_query(r->db, sql, take_option, r, err);

    if (code != CB_OK)
        return code;
    if (r->info->version == NULL) {
        cb_fail(err, CB_CORRUPT, "the catalog '%s' does not say its version",
                cb_lake_db_address(r->db)->shown);
        cb_hint(err, "Its table ducklake_metadata has no row 'version': restore it from a backup.");
        return err->code;
    }
    if (r->info->stored_data_path == NULL)
        return cb_fail(err, CB_CORRUPT, "the catalog '%s' does not say where its data is",
                       cb_lake_db_address(r->db)->shown);
    r->info->is_known = cb_lake_version_is_known(r->info->version);
    r->info->encrypted = r->encrypted != NULL && strcasecmp(r->encrypted, "true") == 0;
    if (r->info->created_by == NULL)
        r->info->created_by = "";
    return CB_OK;
}

/* ---- no lake -------------------------------------------------------------------------------- */

typedef struct schemas {
    char text[CB_HINT_MAX - 128];
    size_t size;
} schemas;

static cb_code note_schema(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    schemas *all = arg;
    int size;

    (void)err;
    if (count < 1 || cells[0].text == NULL || all->size >= sizeof(all->text))
        return CB_OK;
    size = snprintf(all->text + all->size, sizeof(all->text) - all->size, "%s%s",
                    all->size > 0 ? ", " : "", cells[0].text);
    if (size > 0)
        all->size += (size_t)size;
    return CB_OK;
}

static cb_code no_lake(cb_lake_db *db, cb_error *err)
{
    const cb_lake_address *address = cb_lake_db_address(db);
    schemas all = {.size = 0};
    cb_error ignored = {0};

    if (cb_lake_db_kind(db) != CB_LAKE_SQLITE)
        cb_ignore(cb_lake_db_query(db,
                                   "SELECT DISTINCT table_schema FROM information_schema.tables "
                                   "WHERE table_name = 'ducklake_metadata' ORDER BY table_schema",
                                   note_schema, &all, &ignored)); /* only for the hint */
    cb_fail(err, CB_NOT_FOUND, "there is no lake in '%s', schema '%s'", address->shown,
            address->schema);
    if (all.size > 0)
        cb_hint(err, "Name the schema with --metadata-schema: %s.", all.text);
    else
        cb_hint(err, "Nothing there has a table ducklake_metadata: is it the right database?");
    return err->code;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static bool has(const reading *r, const char *table, const char *column)
{
    const cb_lake_table *found = cb_lake_schema_find(r->schema, table);

    return found != NULL && cb_lake_table_has(found, column);
}

static cb_code number(reading *r, const char *sql, int64_t fallback, int64_t *out, cb_error *err)
{
    return cb_lake_db_number(r->db, sql, fallback, out, err);
}

static cb_code count(reading *r, const char *sql, uint64_t *out, cb_error *err)
{
    int64_t value = 0;
    cb_code code = number(r, sql, 0, &value, err);

    *out = value > 0 ? (uint64_t)value : 0;
    return code;
}

static cb_code snapshot_time(reading *r, int64_t id, int64_t *out_us, cb_error *err)
{
    char sql[128];
    const char *text;
    cb_code code;

    snprintf(sql, sizeof(sql), "SELECT snapshot_time FROM {snapshot} WHERE snapshot_id = %lld",
             (long long)id);
    code = cb_lake_db_text(r->db, sql, r->arena, &text, err);
    if (code != CB_OK || text == NULL)
        return code;
    if (cb_lake_time_parse(text, out_us, err) != CB_OK) {
        err->code = CB_CORRUPT;
        return cb_context(err, "snapshot %lld", (long long)id);
    }
    return CB_OK;
}

static cb_code read_snapshots(reading *r, cb_error *err)
{
    cb_lake_info *info = r->info;
    cb_code code;

    info->snapshot_id = -1;
    info->oldest_snapshot_id = -1;
    if (!has(r, "ducklake_snapshot", "snapshot_id"))
        return CB_OK;
    code = number(r, "SELECT max(snapshot_id) FROM {snapshot}", -1, &info->snapshot_id, err);
    if (code == CB_OK)
        code = number(r, "SELECT min(snapshot_id) FROM {snapshot}", -1, &info->oldest_snapshot_id,
                      err);
    if (code == CB_OK)
        code = count(r, "SELECT count(*) FROM {snapshot}", &info->snapshots, err);
    if (code != CB_OK || !has(r, "ducklake_snapshot", "snapshot_time"))
        return code;
    code = snapshot_time(r, info->snapshot_id, &info->snapshot_us, err);
    if (code == CB_OK)
        code = snapshot_time(r, info->oldest_snapshot_id, &info->oldest_snapshot_us, err);
    return code;
}

/* A row of nonsense must not make the sum of the others overflow. */
#define SANE_SIZE                                                                                  \
    "CASE WHEN file_size_bytes BETWEEN 0 AND 1125899906842624 THEN file_size_bytes ELSE 0 END"

static cb_code read_files(reading *r, cb_error *err)
{
    cb_lake_info *info = r->info;
    const struct {
        const char *table, *column, *sql;
        uint64_t *out;
    } asked[] = {
        {"ducklake_table", "end_snapshot",
         "SELECT count(DISTINCT table_id) FROM {table} WHERE end_snapshot IS NULL", &info->tables},
        {"ducklake_data_file", "path", "SELECT count(*) FROM {data_file}", &info->data_files},
        {"ducklake_data_file", "file_size_bytes",
         "SELECT CAST(COALESCE(sum(" SANE_SIZE "), 0) AS BIGINT) FROM {data_file}",
         &info->data_bytes},
        {"ducklake_delete_file", "path", "SELECT count(*) FROM {delete_file}", &info->delete_files},
        {"ducklake_delete_file", "file_size_bytes",
         "SELECT CAST(COALESCE(sum(" SANE_SIZE "), 0) AS BIGINT) FROM {delete_file}",
         &info->delete_bytes},
        {"ducklake_files_scheduled_for_deletion", "path",
         "SELECT count(*) FROM {files_scheduled_for_deletion}", &info->scheduled_files},
    };
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(asked); i++)
        if (has(r, asked[i].table, asked[i].column))
            code = count(r, asked[i].sql, asked[i].out, err);
    return code;
}

static cb_code count_rows_of(reading *r, const char *table, uint64_t *sum, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    uint64_t rows;
    cb_code code = cb_buf_format(&sql, err, "SELECT count(*) FROM ");

    if (code == CB_OK)
        code = cb_lake_db_table(r->db, &sql, table, err);
    if (code == CB_OK)
        code = cb_lake_terminate(&sql, err);
    if (code == CB_OK)
        code = count(r, (const char *)sql.data, &rows, err);
    if (code == CB_OK)
        *sum += rows;
    return code;
}

/* The tables of inlined rows have an id behind their name; of those for deletes no table tells. */
static cb_code read_inlined(reading *r, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < r->schema->count; i++) {
        const char *name = r->schema->tables[i].name;

        if (cb_has_prefix(name, inlined_delete))
            code = count_rows_of(r, name, &r->info->inlined_deletes, err);
        else if (cb_has_prefix(name, inlined_data) &&
                 strspn(name + sizeof(inlined_data) - 1, "0123456789") > 0)
            code = count_rows_of(r, name, &r->info->inlined_rows, err);
    }
    return code;
}

/* ---- identity ------------------------------------------------------------------------------- */

/* The uuid of the first schema is random, and made once. Without one, who made it and when. */
static cb_code read_identity(reading *r, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    const char *uuid = NULL;
    cb_hash hash;
    cb_code code = CB_OK;

    if (has(r, "ducklake_schema", "schema_uuid"))
        code = cb_lake_db_text(r->db,
                               "SELECT schema_uuid FROM {schema} WHERE schema_id = 0 "
                               "ORDER BY begin_snapshot LIMIT 1",
                               r->arena, &uuid, err);
    if (code == CB_OK && uuid != NULL)
        code = cb_buf_format(&text, err, "lake %s", uuid);
    else if (code == CB_OK)
        code = cb_buf_format(&text, err, "lake by %s at %lld", r->info->created_by,
                             (long long)r->info->oldest_snapshot_us);
    if (code != CB_OK)
        return code;
    cb_sha256(cb_buf_bytes(&text), &hash);
    cb_hex(hash.bytes, (sizeof(r->info->identity) - 1) / 2, r->info->identity);
    return CB_OK;
}

/* ---- the whole ------------------------------------------------------------------------------ */

cb_code cb_lake_info_read(cb_lake_db *db, const cb_lake_schema *schema, cb_arena *arena,
                          cb_lake_info *out, cb_error *err)
{
    const cb_lake_table *metadata = cb_lake_schema_find(schema, "ducklake_metadata");
    reading r = {.db = db, .schema = schema, .arena = arena, .info = out};
    cb_code code;

    memset(out, 0, sizeof(*out));
    if (metadata == NULL)
        return no_lake(db, err);
    code = read_options(&r, metadata, err);
    if (code == CB_OK)
        code = read_snapshots(&r, err);
    if (code == CB_OK)
        code = read_files(&r, err);
    if (code == CB_OK)
        code = read_inlined(&r, err);
    if (code == CB_OK)
        code = read_identity(&r, err);
    if (code == CB_OK)
        code = cb_lake_info_place(cb_lake_db_address(db), NULL, arena, out, err);
    return code;
}

/* ---- names and times ------------------------------------------------------------------------ */

typedef struct naming {
    cb_arena *arena;
    const char *name;
} naming;

static cb_code take_name(void *arg, const cb_lake_cell *cells, size_t count, cb_error *err)
{
    naming *n = arg;
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_code code;

    if (n->name != NULL || count < 2 || cells[0].text == NULL || cells[1].text == NULL)
        return CB_OK;
    code = cb_lake_quote_name(&text, cells[0].text, err);
    if (code == CB_OK)
        code = cb_buf_u8(&text, '.', err);
    if (code == CB_OK)
        code = cb_lake_quote_name(&text, cells[1].text, err);
    if (code == CB_OK)
        code = cb_arena_text_n(n->arena, text.data, text.size, &n->name, err);
    return code;
}

cb_code cb_lake_table_name(cb_lake_db *db, int64_t table_id, cb_arena *arena, const char **out,
                           cb_error *err)
{
    naming n = {arena, NULL};
    char sql[512];
    cb_code code;

    /* Newest first, of the table and of its schema: both may have been renamed. */
    snprintf(sql, sizeof(sql),
             "SELECT s.schema_name, t.table_name FROM {table} t JOIN {schema} s "
             "ON s.schema_id = t.schema_id WHERE t.table_id = %lld "
             "ORDER BY t.begin_snapshot DESC, s.begin_snapshot DESC",
             (long long)table_id);
    code = cb_lake_db_query(db, sql, take_name, &n, err);
    *out = code == CB_OK ? n.name : NULL;
    return code;
}

cb_code cb_lake_time_parse(const char *text, int64_t *out_us, cb_error *err)
{
    char whole[64];
    size_t size = strlen(text);
    size_t clock = strcspn(text, " Tt");
    const char *zone = text[clock] == '\0' ? text + size : text + clock + 1;
    int written;

    /* Databases write "+00", people nothing at all: the parser wants Z or +hh:mm. */
    zone += strcspn(zone, "Zz+-");
    if (*zone == '\0')
        written =
            snprintf(whole, sizeof(whole), "%s%sZ", text, text[clock] == '\0' ? " 00:00:00" : "");
    else if (strlen(zone) == 3 && *zone != 'Z')
        written = snprintf(whole, sizeof(whole), "%s:00", text);
    else
        written = snprintf(whole, sizeof(whole), "%s", text);
    if (written < 0 || written >= (int)sizeof(whole))
        return cb_fail(err, CB_USAGE, "'%.80s...' is not a time", text);
    return cb_parse_time(whole, out_us, err);
}
