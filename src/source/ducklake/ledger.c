/*
 * ledger.c - the sets in a SQLite file that has no name: whatever happens, nothing is left of it.
 *
 * Each set is one table in the order of item paths: its key is the path with a NUL for each '/',
 * which compares byte by byte as cb_item_path_compare does. What is added waits in a sorter until
 * somebody asks, and comes into the table in order: rows that came as they like would each cost a
 * page of a table that is larger than its cache.
 *
 * Mostly URLs are in order where items are. Where they are not, or one is looked for, a second
 * table in the order of URLs comes with the first question that needs it. It is filled by insertion
 * and not by an index over the first: SQLite would sort that in a temporary file elsewhere.
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

#include "source/ducklake/sorter.h"

enum {
    SETS = CB_LEDGER_KEPT + 1,
    CACHE_KIB = 24 * 1024,
    PAGE_BYTES = 8192,
    ROWS_PER_LOOK = 4096, /* at the cancel flag */
};

/* Columns of a set, as they are bound and read. */
enum { AT_KEY, AT_URL, AT_KIND, AT_SIZE, AT_REST };

#define COLUMN_NAMES "key, url, kind, size, rest"

/* What SQLite need not understand; checksum and version follow, each with its NUL. */
typedef struct packed {
    int64_t kind, size, id, table, begin, end, footer, records, modified;
    int64_t is_encrypted, is_absolute;
} packed;

struct cb_ledger {
    cb_ctx *ctx;
    char folder[CB_PATH_MAX];
    sqlite3 *db;
    sqlite3_stmt *add[SETS];
    sqlite3_stmt *add_url[SETS];
    sqlite3_stmt *find[SETS];
    cb_sorter *waiting[SETS]; /* NULL: nothing was added */
    bool has_rows[SETS];
    bool is_in_url_order[SETS]; /* the first table is */
    bool has_urls[SETS];        /* the second table is there, and complete */
    uint64_t rows;
    uint64_t sum[CB_HASH_BYTES / 8]; /* of the hashes of FOUND, low word first */
    cb_buf key, body, item;
};

struct cb_ledger_cursor {
    sqlite3_stmt *statement;
    sqlite3 *db;
    cb_buf item, from, to;
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
                  "CREATE TABLE set%d(key BLOB, url TEXT, kind, size, rest BLOB, "
                  "PRIMARY KEY(key, url)) WITHOUT ROWID;"
                  "CREATE TABLE url%d(url TEXT, key BLOB, PRIMARY KEY(url, key)) WITHOUT ROWID;",
                  set, err);
    /* Of two that are the same file, the one that must be there. */
    if (code == CB_OK)
        code = prepare(ledger->db,
                       "INSERT INTO set%d(" COLUMN_NAMES
                       ") VALUES(?,?,?,?,?) ON CONFLICT DO UPDATE SET "
                       "kind=excluded.kind, size=excluded.size, rest=excluded.rest "
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
    code = cb_path_join(scratch, ".", ledger->folder, err);
    if (code == CB_OK)
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
        cb_sorter_free(ledger->waiting[set]);
    }
    sqlite3_close_v2(ledger->db); /* cursors that are still open keep it until they end */
    cb_buf_free(&ledger->key);
    cb_buf_free(&ledger->body);
    cb_buf_free(&ledger->item);
    free(ledger);
}

void cb_ledger_cleanup(cb_ledger **ledger)
{
    cb_ledger_close(*ledger);
    *ledger = NULL;
}

cb_code cb_ledger_clear(cb_ledger *ledger, cb_ledger_set set, cb_error *err)
{
    if (ledger->waiting[set] != NULL)
        cb_sorter_clear(ledger->waiting[set]);
    ledger->has_rows[set] = ledger->has_urls[set] = ledger->is_in_url_order[set] = false;
    if (set == CB_LEDGER_FOUND)
        memset(ledger->sum, 0, sizeof(ledger->sum));
    return run_on(ledger->db, "DELETE FROM set%d; DELETE FROM url%d", (int)set, err);
}

/* ---- adding --------------------------------------------------------------------------------- */

/* The root itself comes first, which is an empty key. */
static cb_code set_key(cb_buf *key, const char *item, cb_error *err)
{
    size_t size = strcmp(item, ".") == 0 ? 0 : strlen(item);
    cb_code code;

    key->size = 0;
    code = cb_buf_append(key, item, size, err);
    for (uint8_t *at = key->data; code == CB_OK && size > 0;) {
        at = memchr(at, '/', (size_t)(key->data + size - at));
        if (at == NULL)
            break;
        *at = 0;
    }
    return code;
}

/* And back. */
static cb_code item_of(cb_bytes key, cb_buf *item, cb_error *err)
{
    cb_code code;

    item->size = 0;
    code = key.size > 0 ? cb_buf_append(item, key.data, key.size, err) : cb_buf_u8(item, '.', err);
    if (code == CB_OK)
        code = cb_buf_u8(item, '\0', err);
    for (uint8_t *at = item->data; code == CB_OK;) {
        at = memchr(at, 0, (size_t)(item->data + item->size - 1 - at));
        if (at == NULL)
            break;
        *at = '/';
    }
    return code;
}

/* As it waits: what is packed, the checksum, the version, the URL. */
static cb_code set_body(cb_buf *body, const cb_ledger_entry *entry, cb_error *err)
{
    const char *checksum = entry->checksum != NULL ? entry->checksum : "";
    const char *version = entry->version != NULL ? entry->version : "";
    const packed p = {
        .kind = (int64_t)entry->kind,
        .size = entry->size_bytes,
        .id = entry->id,
        .table = entry->table_id,
        .begin = entry->begin_snapshot,
        .end = entry->end_snapshot,
        .footer = entry->footer_bytes,
        .records = entry->records,
        .modified = entry->modified_us,
        .is_encrypted = entry->is_encrypted,
        .is_absolute = entry->is_absolute,
    };
    cb_code code;

    body->size = 0;
    code = cb_buf_append(body, &p, sizeof(p), err);
    if (code == CB_OK)
        code = cb_buf_append(body, checksum, strlen(checksum) + 1, err);
    if (code == CB_OK)
        code = cb_buf_append(body, version, strlen(version) + 1, err);
    if (code == CB_OK)
        code = cb_buf_append(body, entry->url, strlen(entry->url) + 1, err);
    return code;
}

/* A sum modulo 2^256 does not mind the order. `body` has all that counts. */
static void add_hash(cb_ledger *ledger, cb_bytes body)
{
    unsigned char carry = 0;
    cb_hash one;

    cb_sha256(body, &one);
    for (size_t i = 0; i < CB_LENGTH(ledger->sum); i++) {
        uint64_t with_carry;
        bool first = __builtin_add_overflow(ledger->sum[i], (uint64_t)carry, &with_carry);
        bool second =
            __builtin_add_overflow(with_carry, cb_get_u64(one.bytes + 8 * i), &ledger->sum[i]);

        carry = first || second;
    }
}

void cb_ledger_hash(const cb_ledger *ledger, cb_ledger_set set, cb_hash *out)
{
    for (size_t i = 0; i < CB_LENGTH(ledger->sum); i++)
        cb_put_u64(out->bytes + 8 * i, set == CB_LEDGER_FOUND ? ledger->sum[i] : 0);
}

cb_code cb_ledger_add(cb_ledger *ledger, cb_ledger_set set, const cb_ledger_entry *entry,
                      cb_error *err)
{
    cb_code code = set_key(&ledger->key, entry->item, err);

    if (code == CB_OK)
        code = set_body(&ledger->body, entry, err);
    if (code == CB_OK && set == CB_LEDGER_FOUND)
        add_hash(ledger, cb_buf_bytes(&ledger->body));
    if (code == CB_OK && ++ledger->rows % ROWS_PER_LOOK == 0)
        code = cb_check_cancel(ledger->ctx, err);
    if (code == CB_OK && ledger->waiting[set] == NULL)
        code = cb_sorter_new(ledger->folder, 0, &ledger->waiting[set], err);
    return code == CB_OK ? cb_sorter_add(ledger->waiting[set], cb_buf_bytes(&ledger->key),
                                         cb_buf_bytes(&ledger->body), err)
                         : code;
}

/* ---- from the sorter into the table --------------------------------------------------------- */

static cb_code step_once(cb_ledger *ledger, sqlite3_stmt *statement, cb_error *err)
{
    int rc = sqlite3_step(statement);

    sqlite3_reset(statement);
    return rc == SQLITE_DONE ? CB_OK : fail(ledger->db, rc, err);
}

/* Bindings borrow what the sorter lends. */
static cb_code insert(cb_ledger *ledger, int set, cb_bytes key, cb_bytes body, const char *url,
                      cb_error *err)
{
    sqlite3_stmt *add = ledger->add[set];
    sqlite3_stmt *add_url = ledger->add_url[set];
    const uint8_t *key_bytes = key.size > 0 ? key.data : (const uint8_t *)""; /* NULL is no key */
    int url_size = (int)strlen(url);
    packed p;
    cb_code code;

    memcpy(&p, body.data, sizeof(p));
    sqlite3_bind_blob64(add, AT_KEY + 1, key_bytes, key.size, SQLITE_STATIC);
    sqlite3_bind_text(add, AT_URL + 1, url, url_size, SQLITE_STATIC);
    sqlite3_bind_int64(add, AT_KIND + 1, p.kind);
    sqlite3_bind_int64(add, AT_SIZE + 1, p.size);
    sqlite3_bind_blob64(add, AT_REST + 1, body.data, (uint64_t)((const uint8_t *)url - body.data),
                        SQLITE_STATIC);
    code = step_once(ledger, add, err);
    if (code == CB_OK && ledger->has_urls[set]) {
        sqlite3_bind_text(add_url, 1, url, url_size, SQLITE_STATIC);
        sqlite3_bind_blob64(add_url, 2, key_bytes, key.size, SQLITE_STATIC);
        code = step_once(ledger, add_url, err);
    }
    if (code == CB_OK && ++ledger->rows % ROWS_PER_LOOK == 0)
        code = cb_check_cancel(ledger->ctx, err);
    return code;
}

/* Before each question: what waits is in the table. */
static cb_code settle(cb_ledger *ledger, int set, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf last = {0};
    cb_sorter *sorter = ledger->waiting[set];
    bool more = sorter != NULL && !cb_sorter_is_empty(sorter);
    bool is_first = more && !ledger->has_rows[set];
    cb_bytes key, body;
    cb_code code = CB_OK;

    if (more)
        ledger->is_in_url_order[set] = is_first;
    while (code == CB_OK && more) {
        const char *url;

        code = cb_sorter_next(sorter, &key, &body, &more, err);
        if (code != CB_OK || !more)
            break;
        url = (const char *)body.data + sizeof(packed);
        url += strlen(url) + 1;
        url += strlen(url) + 1;
        if (is_first && ledger->is_in_url_order[set]) {
            if (last.size > 0 && strcmp((const char *)last.data, url) > 0)
                ledger->is_in_url_order[set] = false;
            last.size = 0;
            code = cb_buf_append(&last, url, strlen(url) + 1, err);
        }
        if (code == CB_OK)
            code = insert(ledger, set, key, body, url, err);
        ledger->has_rows[set] = true;
    }
    return code;
}

/* ---- what the catalog names ----------------------------------------------------------------- */

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

/* Texts belong to the row, or to `item`. */
static cb_code read_entry(sqlite3_stmt *row, cb_buf *item, cb_ledger_entry *out, cb_error *err)
{
    const uint8_t *rest = sqlite3_column_blob(row, AT_REST);
    int size = sqlite3_column_bytes(row, AT_REST);
    const char *url = (const char *)sqlite3_column_text(row, AT_URL);
    cb_bytes key = {sqlite3_column_blob(row, AT_KEY), (size_t)sqlite3_column_bytes(row, AT_KEY)};
    const uint8_t *version = NULL;
    packed p;
    cb_code code;

    if (url != NULL && size > (int)sizeof(p) && rest[size - 1] == 0)
        version = memchr(rest + sizeof(p), 0, (size_t)size - 1 - sizeof(p));
    if (version == NULL)
        return cb_fail(err, CB_IO, "the scratch list of files is not what was written to it");
    code = item_of(key, item, err);
    if (code != CB_OK)
        return code;
    memcpy(&p, rest, sizeof(p));
    *out = (cb_ledger_entry){
        .url = url,
        .item = (const char *)item->data,
        .kind = (cb_lake_file_kind)p.kind,
        .id = p.id,
        .table_id = p.table,
        .begin_snapshot = p.begin,
        .end_snapshot = p.end,
        .size_bytes = p.size,
        .footer_bytes = p.footer,
        .records = p.records,
        .is_encrypted = p.is_encrypted != 0,
        .is_absolute = p.is_absolute != 0,
        .modified_us = p.modified,
        .checksum = (const char *)rest + sizeof(p),
        .version = (const char *)version + 1,
    };
    return CB_OK;
}

static cb_code next_row(sqlite3 *db, sqlite3_stmt *statement, cb_buf *item, cb_ledger_entry *out,
                        bool *more, cb_error *err)
{
    int rc = sqlite3_step(statement);

    *more = rc == SQLITE_ROW;
    if (rc == SQLITE_ROW)
        return read_entry(statement, item, out, err);
    return rc == SQLITE_DONE ? CB_OK : fail(db, rc, err);
}

cb_code cb_ledger_count(cb_ledger *ledger, cb_ledger_set set, uint64_t *count, uint64_t *bytes,
                        cb_error *err)
{
    CB_CLEANUP(finalize) sqlite3_stmt *statement = NULL;
    cb_code code = settle(ledger, (int)set, err);

    *count = 0;
    *bytes = 0;
    if (code == CB_OK)
        code = prepare(ledger->db,
                       "SELECT count(*), total(CASE WHEN size>0 THEN size ELSE 0 END) FROM set%d",
                       (int)set, &statement, err);
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
    cb_code code = settle(ledger, set, err);

    if (code != CB_OK || ledger->has_urls[set])
        return code;
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
    code = next_row(ledger->db, statement, &ledger->item, out, found, err);
    if (code == CB_OK && *found)
        code = cb_arena_text(arena, out->url, &out->url, err);
    if (code == CB_OK && *found)
        code = cb_arena_text(arena, out->item, &out->item, err);
    if (code == CB_OK && *found)
        code = cb_arena_text(arena, out->checksum, &out->checksum, err);
    if (code == CB_OK && *found)
        code = cb_arena_text(arena, out->version, &out->version, err);
    sqlite3_reset(statement);
    return code;
}

/* ---- cursors -------------------------------------------------------------------------------- */

/* Bounds by item: ?1 from, ?2 to, where they are given. */
static cb_code open_cursor(cb_ledger *ledger, int set, const cb_ledger_range *range,
                           cb_ledger_cursor *cursor, cb_error *err)
{
    const char *from = range != NULL ? range->from : NULL;
    const char *to = range != NULL ? range->to : NULL;
    const char *bounds = from != NULL && to != NULL ? "WHERE key>=?1 AND key<?2"
                         : from != NULL             ? "WHERE key>=?1"
                         : to != NULL               ? "WHERE key<?2"
                                                    : "";
    char sql[160];
    cb_code code = settle(ledger, set, err);

    snprintf(sql, sizeof(sql), "SELECT " COLUMN_NAMES " FROM set%%d %s ORDER BY key, url", bounds);
    if (code == CB_OK)
        code = prepare(ledger->db, sql, set, &cursor->statement, err);
    if (code == CB_OK && from != NULL) {
        code = set_key(&cursor->from, from, err);
        sqlite3_bind_blob64(cursor->statement, 1,
                            cursor->from.size > 0 ? cursor->from.data : (const uint8_t *)"",
                            cursor->from.size, SQLITE_STATIC);
    }
    if (code == CB_OK && to != NULL) {
        code = set_key(&cursor->to, to, err);
        sqlite3_bind_blob64(cursor->statement, 2,
                            cursor->to.size > 0 ? cursor->to.data : (const uint8_t *)"",
                            cursor->to.size, SQLITE_STATIC);
    }
    return code;
}

cb_code cb_ledger_cursor_open_in(cb_ledger *ledger, cb_ledger_set set, const cb_ledger_range *range,
                                 cb_ledger_cursor **out, cb_error *err)
{
    cb_ledger_cursor *cursor = calloc(1, sizeof(*cursor));
    cb_code code;

    *out = NULL;
    if (cursor == NULL)
        return cb_fail_memory(err, sizeof(*cursor));
    cursor->db = ledger->db;
    code = open_cursor(ledger, (int)set, range, cursor, err);
    if (code != CB_OK) {
        cb_ledger_cursor_close(cursor);
        return code;
    }
    *out = cursor;
    return CB_OK;
}

cb_code cb_ledger_cursor_open(cb_ledger *ledger, cb_ledger_set set, cb_ledger_cursor **out,
                              cb_error *err)
{
    return cb_ledger_cursor_open_in(ledger, set, NULL, out, err);
}

cb_code cb_ledger_cursor_next(cb_ledger_cursor *cursor, cb_ledger_entry *out, bool *more,
                              cb_error *err)
{
    return next_row(cursor->db, cursor->statement, &cursor->item, out, more, err);
}

void cb_ledger_cursor_close(cb_ledger_cursor *cursor)
{
    if (cursor == NULL)
        return;
    sqlite3_finalize(cursor->statement);
    cb_buf_free(&cursor->item);
    cb_buf_free(&cursor->from);
    cb_buf_free(&cursor->to);
    free(cursor);
}

/* ---- comparing ------------------------------------------------------------------------------ */

/* One side of the merge: the row in hand. */
typedef struct side {
    sqlite3_stmt *statement;
    cb_buf item;
    cb_ledger_entry entry;
    bool more;
} side;

static void side_end(side *s)
{
    finalize(&s->statement);
    cb_buf_free(&s->item);
}

static cb_code side_step(cb_ledger *ledger, side *s, cb_error *err)
{
    return next_row(ledger->db, s->statement, &s->item, &s->entry, &s->more, err);
}

/* CROSS JOIN: SQLite takes the tables in this order and needs no sorting. */
static cb_code side_begin(cb_ledger *ledger, cb_ledger_set set, const cb_ledger_range *range,
                          side *s, cb_error *err)
{
    const char *from = range != NULL ? range->from : NULL;
    const char *to = range != NULL ? range->to : NULL;
    char sql[240];
    cb_code code = settle(ledger, (int)set, err);

    if (code == CB_OK && from == NULL && to == NULL && ledger->is_in_url_order[set]) {
        code = prepare(ledger->db, "SELECT " COLUMN_NAMES " FROM set%d ORDER BY key, url", (int)set,
                       &s->statement, err);
        return code == CB_OK ? side_step(ledger, s, err) : code;
    }
    if (code == CB_OK)
        code = need_urls(ledger, (int)set, err);
    snprintf(sql, sizeof(sql),
             "SELECT s.* FROM url%%d u CROSS JOIN set%%d s ON s.key=u.key AND s.url=u.url "
             "WHERE u.url>=?1 %s ORDER BY u.url",
             to != NULL ? "AND u.url<?2" : "");
    if (code == CB_OK)
        code = prepare(ledger->db, sql, (int)set, &s->statement, err);
    if (code != CB_OK)
        return code;
    sqlite3_bind_text(s->statement, 1, from != NULL ? from : "", -1, SQLITE_STATIC);
    if (to != NULL)
        sqlite3_bind_text(s->statement, 2, to, -1, SQLITE_STATIC);
    return side_step(ledger, s, err);
}

cb_code cb_ledger_compare_in(cb_ledger *ledger, cb_ledger_set a, cb_ledger_set b,
                             const cb_ledger_range *range, cb_ledger_pair *visit, void *arg,
                             cb_error *err)
{
    CB_CLEANUP(side_end) side left = {0};
    CB_CLEANUP(side_end) side right = {0};
    uint64_t pairs = 0;
    cb_code code = side_begin(ledger, a, range, &left, err);

    if (code == CB_OK)
        code = side_begin(ledger, b, range, &right, err);
    while (code == CB_OK && (left.more || right.more)) {
        int order = !left.more ? 1 : !right.more ? -1 : strcmp(left.entry.url, right.entry.url);

        code = visit(arg, order <= 0 ? &left.entry : NULL, order >= 0 ? &right.entry : NULL, err);
        if (code == CB_OK && order <= 0)
            code = side_step(ledger, &left, err);
        if (code == CB_OK && order >= 0)
            code = side_step(ledger, &right, err);
        if (code == CB_OK && ++pairs % ROWS_PER_LOOK == 0)
            code = cb_check_cancel(ledger->ctx, err);
    }
    return code;
}

cb_code cb_ledger_compare(cb_ledger *ledger, cb_ledger_set a, cb_ledger_set b,
                          cb_ledger_pair *visit, void *arg, cb_error *err)
{
    return cb_ledger_compare_in(ledger, a, b, NULL, visit, arg, err);
}
