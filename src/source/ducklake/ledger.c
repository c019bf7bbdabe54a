/*
 * ledger.c - the sets in a SQLite file that has no name: whatever happens, nothing is left of it.
 *
 * Each set is one table in the order of item paths: its key is the path with a NUL for each '/',
 * which compares byte by byte as cb_item_path_compare does. A second table in the order of URLs
 * comes with the first question that needs it. It is filled by insertion and not by an index over
 * the first: SQLite would sort that in a temporary file elsewhere.
 *
 * No journal and no sync: after a failure the ledger is of no use to anybody. One transaction is
 * open all the time.
 */
#include "source/ducklake/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "codec/item.h"

enum {
    SETS = CB_LEDGER_KEPT + 1,
    CACHE_KIB = 24 * 1024,
    PAGE_BYTES = 8192,
    ADDS_PER_LOOK = 4096, /* at the cancel flag */
};

/* Columns of a set, as they are bound and read. */
enum {
    AT_KEY,
    AT_URL,
    AT_ITEM,
    AT_KIND,
    AT_ID,
    AT_TABLE,
    AT_BEGIN,
    AT_END,
    AT_SIZE,
    AT_FOOTER,
    AT_RECORDS,
    AT_FLAGS,
    AT_MODIFIED,
    AT_CHECKSUM,
    COLUMNS,
};

#define COLUMN_NAMES                                                                               \
    "key, url, item, kind, id, tab, begin_at, end_at, size, footer, records, flags, modified, "    \
    "checksum"

enum { FLAG_ENCRYPTED = 1, FLAG_ABSOLUTE = 2 };

struct cb_ledger {
    cb_ctx *ctx;
    sqlite3 *db;
    sqlite3_stmt *add[SETS];
    sqlite3_stmt *add_url[SETS];
    sqlite3_stmt *find[SETS];
    bool has_urls[SETS]; /* the second table is there, and complete */
    unsigned adds;
    cb_buf key;
};

struct cb_ledger_cursor {
    sqlite3_stmt *statement;
    sqlite3 *db;
};

/* ---- SQLite --------------------------------------------------------------------------------- */

static cb_code fail(sqlite3 *db, int rc, cb_error *err)
{
    cb_code code = CB_IO;

    switch (rc & 0xff) {
    case SQLITE_FULL:
        code = CB_NO_SPACE;
        break;
    case SQLITE_NOMEM:
        code = CB_NO_MEMORY;
        break;
    case SQLITE_TOOBIG:
        code = CB_TOO_LARGE;
        break;
    default:
        break;
    }
    cb_fail(err, code, "the scratch list of files: %s",
            db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
    if (code == CB_NO_SPACE)
        cb_hint(err, "Set TMPDIR to a folder with more room.");
    return code;
}

static cb_code run(sqlite3 *db, const char *sql, cb_error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? CB_OK : fail(db, rc, err);
}

static void finalize(sqlite3_stmt **statement)
{
    sqlite3_finalize(*statement);
    *statement = NULL;
}

/* `format` has one %d for the number of the set, as often as it is needed. */
static cb_code prepare(sqlite3 *db, const char *format, int set, sqlite3_stmt **out, cb_error *err)
{
    char *sql = sqlite3_mprintf(format, set, set, set);
    int rc;

    *out = NULL;
    if (sql == NULL)
        return cb_fail_memory(err, strlen(format));
    rc = sqlite3_prepare_v2(db, sql, -1, out, NULL);
    sqlite3_free(sql);
    return rc == SQLITE_OK ? CB_OK : fail(db, rc, err);
}

static cb_code run_on(sqlite3 *db, const char *format, int set, cb_error *err)
{
    char *sql = sqlite3_mprintf(format, set, set, set);
    cb_code code;

    if (sql == NULL)
        return cb_fail_memory(err, strlen(format));
    code = run(db, sql, err);
    sqlite3_free(sql);
    return code;
}

/* ---- opening -------------------------------------------------------------------------------- */

static cb_code make_set(cb_ledger *ledger, int set, cb_error *err)
{
    cb_code code;

    code = run_on(ledger->db,
                  "CREATE TABLE set%d(key BLOB, url TEXT, item TEXT, kind, id, tab, begin_at, "
                  "end_at, size, footer, records, flags, modified, checksum, "
                  "PRIMARY KEY(key, url)) WITHOUT ROWID;"
                  "CREATE TABLE url%d(url TEXT, key BLOB, PRIMARY KEY(url, key)) WITHOUT ROWID;",
                  set, err);
    /* Of two that are the same file, the one that must be there. */
    if (code == CB_OK)
        code = prepare(ledger->db,
                       "INSERT INTO set%d(" COLUMN_NAMES
                       ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET "
                       "kind=excluded.kind, id=excluded.id, tab=excluded.tab, "
                       "begin_at=excluded.begin_at, end_at=excluded.end_at, size=excluded.size, "
                       "footer=excluded.footer, records=excluded.records, flags=excluded.flags, "
                       "modified=excluded.modified, checksum=excluded.checksum "
                       "WHERE kind=3 AND excluded.kind<>3",
                       set, &ledger->add[set], err);
    if (code == CB_OK)
        code = prepare(ledger->db, "INSERT OR IGNORE INTO url%d VALUES(?,?)", set,
                       &ledger->add_url[set], err);
    if (code == CB_OK)
        code = prepare(ledger->db,
                       "SELECT s.* FROM url%d u JOIN set%d s ON s.key=u.key AND s.url=u.url "
                       "WHERE u.url=?",
                       set, &ledger->find[set], err);
    return code;
}

/* The file loses its name as soon as SQLite has it open. */
static cb_code open_file(cb_ledger *ledger, const char *scratch, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char path[CB_PATH_MAX];
    char pragmas[256];
    cb_code code = cb_path_join(scratch, "canvasback-ledger-XXXXXX", path, err);
    int rc;

    if (code != CB_OK)
        return code;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return cb_fail_errno(err, errno, "cannot make a scratch file in '%s'", scratch);
    rc = sqlite3_open_v2(path, &ledger->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, "unix");
    snprintf(pragmas, sizeof(pragmas),
             "PRAGMA page_size=%d; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; "
             "PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-%d; PRAGMA temp_store=MEMORY; "
             "BEGIN EXCLUSIVE",
             PAGE_BYTES, CACHE_KIB);
    code = rc == SQLITE_OK ? run(ledger->db, pragmas, err) : fail(ledger->db, rc, err);
    if (unlink(path) != 0 && code == CB_OK)
        code = cb_fail_errno(err, errno, "cannot remove '%s'", path);
    return code;
}

cb_code cb_ledger_open(cb_ctx *ctx, const char *scratch, cb_ledger **out, cb_error *err)
{
    cb_ledger *ledger = calloc(1, sizeof(*ledger));
    cb_code code;

    *out = NULL;
    if (ledger == NULL)
        return cb_fail_memory(err, sizeof(*ledger));
    ledger->ctx = ctx;
    code = open_file(ledger, scratch, err);
    for (int set = 0; code == CB_OK && set < SETS; set++)
        code = make_set(ledger, set, err);
    if (code != CB_OK) {
        cb_ledger_close(ledger);
        return code;
    }
    *out = ledger;
    return CB_OK;
}

void cb_ledger_close(cb_ledger *ledger)
{
    if (ledger == NULL)
        return;
    for (int set = 0; set < SETS; set++) {
        sqlite3_finalize(ledger->add[set]);
        sqlite3_finalize(ledger->add_url[set]);
        sqlite3_finalize(ledger->find[set]);
    }
    sqlite3_close_v2(ledger->db); /* cursors that are still open keep it until they end */
    cb_buf_free(&ledger->key);
    free(ledger);
}

void cb_ledger_cleanup(cb_ledger **ledger)
{
    cb_ledger_close(*ledger);
    *ledger = NULL;
}

cb_code cb_ledger_clear(cb_ledger *ledger, cb_ledger_set set, cb_error *err)
{
    ledger->has_urls[set] = false;
    return run_on(ledger->db, "DELETE FROM set%d; DELETE FROM url%d", (int)set, err);
}

/* ---- adding --------------------------------------------------------------------------------- */

/* The root itself comes first, which is an empty key. */
static cb_code set_key(cb_ledger *ledger, const char *item, cb_error *err)
{
    size_t size = strcmp(item, ".") == 0 ? 0 : strlen(item);
    cb_code code;

    ledger->key.size = 0;
    code = cb_buf_reserve(&ledger->key, size + 1, err);
    for (size_t i = 0; code == CB_OK && i < size; i++)
        ledger->key.data[i] = item[i] == '/' ? 0 : (uint8_t)item[i];
    ledger->key.size = size;
    return code;
}

static void bind_text(sqlite3_stmt *statement, int column, const char *text)
{
    sqlite3_bind_text(statement, column + 1, text != NULL ? text : "", -1, SQLITE_STATIC);
}

static void bind_entry(sqlite3_stmt *statement, const cb_buf *key, const cb_ledger_entry *entry)
{
    const int64_t numbers[] = {
        [AT_KIND] = (int64_t)entry->kind,
        [AT_ID] = entry->id,
        [AT_TABLE] = entry->table_id,
        [AT_BEGIN] = entry->begin_snapshot,
        [AT_END] = entry->end_snapshot,
        [AT_SIZE] = entry->size_bytes,
        [AT_FOOTER] = entry->footer_bytes,
        [AT_RECORDS] = entry->records,
        [AT_FLAGS] =
            (entry->is_encrypted ? FLAG_ENCRYPTED : 0) | (entry->is_absolute ? FLAG_ABSOLUTE : 0),
        [AT_MODIFIED] = entry->modified_us,
    };

    sqlite3_bind_blob64(statement, AT_KEY + 1, key->data, key->size, SQLITE_STATIC);
    bind_text(statement, AT_URL, entry->url);
    bind_text(statement, AT_ITEM, entry->item);
    for (int i = AT_KIND; i <= AT_MODIFIED; i++)
        sqlite3_bind_int64(statement, i + 1, numbers[i]);
    bind_text(statement, AT_CHECKSUM, entry->checksum);
}

static cb_code step_once(cb_ledger *ledger, sqlite3_stmt *statement, cb_error *err)
{
    int rc = sqlite3_step(statement);

    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? CB_OK : fail(ledger->db, rc, err);
}

cb_code cb_ledger_add(cb_ledger *ledger, cb_ledger_set set, const cb_ledger_entry *entry,
                      cb_error *err)
{
    cb_code code = set_key(ledger, entry->item, err);

    if (code == CB_OK && ++ledger->adds % ADDS_PER_LOOK == 0)
        code = cb_check_cancel(ledger->ctx, err);
    if (code != CB_OK)
        return code;
    bind_entry(ledger->add[set], &ledger->key, entry);
    code = step_once(ledger, ledger->add[set], err);
    if (code != CB_OK || !ledger->has_urls[set])
        return code;
    sqlite3_bind_text(ledger->add_url[set], 1, entry->url, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(ledger->add_url[set], 2, ledger->key.data, ledger->key.size, SQLITE_STATIC);
    return step_once(ledger, ledger->add_url[set], err);
}

static cb_code add_file(void *arg, const cb_lake_file *file, cb_error *err)
{
    const cb_ledger_entry entry = {
        .url = file->url,
        .item = file->item,
        .kind = file->kind,
        .id = file->id,
        .table_id = file->table_id,
        .begin_snapshot = file->begin_snapshot,
        .end_snapshot = file->end_snapshot,
        .size_bytes = file->size_bytes,
        .footer_bytes = file->footer_bytes,
        .records = file->records,
        .is_encrypted = file->is_encrypted,
        .is_absolute = file->is_absolute,
        .checksum = "",
    };

    return cb_ledger_add(arg, CB_LEDGER_NAMED, &entry, err);
}

cb_code cb_ledger_add_named(cb_ledger *ledger, cb_lake_db *db, const cb_lake_schema *schema,
                            const cb_lake_info *info, cb_error *err)
{
    return cb_lake_files_visit(db, schema, info, add_file, ledger, err);
}

/* ---- asking --------------------------------------------------------------------------------- */

static const char *text_of(sqlite3_stmt *row, int column)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    return text != NULL ? text : "";
}

/* Texts belong to the row. */
static void read_entry(sqlite3_stmt *row, cb_ledger_entry *out)
{
    int64_t flags = sqlite3_column_int64(row, AT_FLAGS);

    *out = (cb_ledger_entry){
        .url = text_of(row, AT_URL),
        .item = text_of(row, AT_ITEM),
        .kind = (cb_lake_file_kind)sqlite3_column_int(row, AT_KIND),
        .id = sqlite3_column_int64(row, AT_ID),
        .table_id = sqlite3_column_int64(row, AT_TABLE),
        .begin_snapshot = sqlite3_column_int64(row, AT_BEGIN),
        .end_snapshot = sqlite3_column_int64(row, AT_END),
        .size_bytes = sqlite3_column_int64(row, AT_SIZE),
        .footer_bytes = sqlite3_column_int64(row, AT_FOOTER),
        .records = sqlite3_column_int64(row, AT_RECORDS),
        .is_encrypted = (flags & FLAG_ENCRYPTED) != 0,
        .is_absolute = (flags & FLAG_ABSOLUTE) != 0,
        .modified_us = sqlite3_column_int64(row, AT_MODIFIED),
        .checksum = text_of(row, AT_CHECKSUM),
    };
}

static cb_code next_row(sqlite3 *db, sqlite3_stmt *statement, cb_ledger_entry *out, bool *more,
                        cb_error *err)
{
    int rc = sqlite3_step(statement);

    *more = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW)
        read_entry(statement, out);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? CB_OK : fail(db, rc, err);
}

cb_code cb_ledger_count(cb_ledger *ledger, cb_ledger_set set, uint64_t *count, uint64_t *bytes,
                        cb_error *err)
{
    CB_CLEANUP(finalize) sqlite3_stmt *statement = NULL;
    cb_code code = prepare(ledger->db,
                           "SELECT count(*), total(CASE WHEN size>0 THEN size ELSE 0 END) "
                           "FROM set%d",
                           (int)set, &statement, err);

    *count = 0;
    *bytes = 0;
    if (code != CB_OK)
        return code;
    if (sqlite3_step(statement) != SQLITE_ROW)
        return fail(ledger->db, sqlite3_errcode(ledger->db), err);
    *count = (uint64_t)sqlite3_column_int64(statement, 0);
    /* A sum of hostile sizes has no room in 64 bits: total() is a float, exact up to 2^53. */
    *bytes = sqlite3_column_double(statement, 1) < 9e18
                 ? (uint64_t)sqlite3_column_double(statement, 1)
                 : UINT64_MAX;
    return CB_OK;
}

/* The set in the order of URLs: from now on kept so. */
static cb_code need_urls(cb_ledger *ledger, int set, cb_error *err)
{
    cb_code code;

    if (ledger->has_urls[set])
        return CB_OK;
    code = run_on(ledger->db,
                  "DELETE FROM url%d; INSERT INTO url%d(url, key) SELECT url, key FROM set%d", set,
                  err);
    ledger->has_urls[set] = code == CB_OK;
    return code;
}

cb_code cb_ledger_find(cb_ledger *ledger, cb_ledger_set set, const char *url, cb_arena *arena,
                       cb_ledger_entry *out, bool *found, cb_error *err)
{
    sqlite3_stmt *statement = ledger->find[set];
    cb_code code = need_urls(ledger, (int)set, err);

    *found = false;
    if (code != CB_OK)
        return code;
    sqlite3_bind_text(statement, 1, url, -1, SQLITE_STATIC);
    code = next_row(ledger->db, statement, out, found, err);
    if (code == CB_OK && *found)
        code = cb_arena_text(arena, out->url, &out->url, err);
    if (code == CB_OK && *found)
        code = cb_arena_text(arena, out->item, &out->item, err);
    if (code == CB_OK && *found)
        code = cb_arena_text(arena, out->checksum, &out->checksum, err);
    sqlite3_reset(statement);
    return code;
}

/* ---- cursors -------------------------------------------------------------------------------- */

cb_code cb_ledger_cursor_open(cb_ledger *ledger, cb_ledger_set set, cb_ledger_cursor **out,
                              cb_error *err)
{
    cb_ledger_cursor *cursor = calloc(1, sizeof(*cursor));
    cb_code code;

    *out = NULL;
    if (cursor == NULL)
        return cb_fail_memory(err, sizeof(*cursor));
    cursor->db = ledger->db;
    code = prepare(ledger->db, "SELECT " COLUMN_NAMES " FROM set%d ORDER BY key, url", (int)set,
                   &cursor->statement, err);
    if (code != CB_OK) {
        free(cursor);
        return code;
    }
    *out = cursor;
    return CB_OK;
}

cb_code cb_ledger_cursor_next(cb_ledger_cursor *cursor, cb_ledger_entry *out, bool *more,
                              cb_error *err)
{
    return next_row(cursor->db, cursor->statement, out, more, err);
}

void cb_ledger_cursor_close(cb_ledger_cursor *cursor)
{
    if (cursor == NULL)
        return;
    sqlite3_finalize(cursor->statement);
    free(cursor);
}

/* ---- comparing ------------------------------------------------------------------------------ */

/* One side of the merge: the row in hand. */
typedef struct side {
    sqlite3_stmt *statement;
    cb_ledger_entry entry;
    bool more;
} side;

static void side_end(side *s)
{
    finalize(&s->statement);
}

static cb_code side_step(cb_ledger *ledger, side *s, cb_error *err)
{
    return next_row(ledger->db, s->statement, &s->entry, &s->more, err);
}

/* CROSS JOIN: SQLite takes the tables in this order and needs no sorting. */
static cb_code side_begin(cb_ledger *ledger, cb_ledger_set set, side *s, cb_error *err)
{
    cb_code code = need_urls(ledger, (int)set, err);

    if (code == CB_OK)
        code = prepare(ledger->db,
                       "SELECT s.* FROM url%d u CROSS JOIN set%d s "
                       "ON s.key=u.key AND s.url=u.url ORDER BY u.url",
                       (int)set, &s->statement, err);
    return code == CB_OK ? side_step(ledger, s, err) : code;
}

cb_code cb_ledger_compare(cb_ledger *ledger, cb_ledger_set a, cb_ledger_set b,
                          cb_ledger_pair *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(side_end) side left = {0};
    CB_CLEANUP(side_end) side right = {0};
    uint64_t pairs = 0;
    cb_code code = side_begin(ledger, a, &left, err);

    if (code == CB_OK)
        code = side_begin(ledger, b, &right, err);
    while (code == CB_OK && (left.more || right.more)) {
        int order = !left.more ? 1 : !right.more ? -1 : strcmp(left.entry.url, right.entry.url);

        code = visit(arg, order <= 0 ? &left.entry : NULL, order >= 0 ? &right.entry : NULL, err);
        if (code == CB_OK && order <= 0)
            code = side_step(ledger, &left, err);
        if (code == CB_OK && order >= 0)
            code = side_step(ledger, &right, err);
        if (code == CB_OK && ++pairs % ADDS_PER_LOOK == 0)
            code = cb_check_cancel(ledger->ctx, err);
    }
    return code;
}
