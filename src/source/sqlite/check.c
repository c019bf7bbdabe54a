/*
 * check.c - is a database sound? SQLite's own integrity check, which follows every b-tree, overflow
 * chain, free list and index.
 *
 * The live source is only read (through the same doors as a backup, but without a copy); a restored
 * copy is ours, so its journals are recovered and every table's rows counted.
 */
#include "source/sqlite/sqlite_internal.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/file.h"

enum {
    WAL_HEADER_BYTES = 32,
    FRAME_HEADER_BYTES = 24,
    WAL_SALT_AT = 16,
    FRAME_COMMIT_AT = 4,
    FRAME_SALT_AT = 8,
    SALT_BYTES = 8,
    WRITER_MS = 10000, /* a writer's commit takes less */
};

/* ---- the log ------------------------------------------------------------------------------- */

/* Commits since the log was last begun anew: frames of its salt that carry a database size. Their
   checksums are left to SQLite: this is a number for people. */
static cb_code count_commits(const char *path, uint32_t page_bytes, uint64_t *commits,
                             cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    char log[CB_PATH_MAX];
    uint8_t header[WAL_HEADER_BYTES];
    uint8_t frame[FRAME_HEADER_BYTES];
    uint8_t none[4] = {0};
    size_t got;

    *commits = 0;
    if (page_bytes == 0)
        return CB_OK;
    if (cb_sqlite_beside(path, cb_sqlite_suffix[CB_SQLITE_WAL], log, err) != CB_OK)
        return err->code;
    if (!cb_path_exists(log))
        return CB_OK;
    if (cb_file_open(log, O_RDONLY, 0, &fd, err) != CB_OK ||
        cb_file_read(fd, log, 0, header, sizeof(header), &got, err) != CB_OK)
        return err->code;
    if (got < sizeof(header))
        return CB_OK;
    for (uint64_t at = WAL_HEADER_BYTES;; at += FRAME_HEADER_BYTES + page_bytes) {
        if (cb_file_read(fd, log, at, frame, sizeof(frame), &got, err) != CB_OK)
            return err->code;
        if (got < sizeof(frame) ||
            memcmp(frame + FRAME_SALT_AT, header + WAL_SALT_AT, SALT_BYTES) != 0)
            return CB_OK;
        if (memcmp(frame + FRAME_COMMIT_AT, none, sizeof(none)) != 0)
            ++*commits;
    }
}

/* ---- the integrity check -------------------------------------------------------------------- */

typedef struct findings {
    cb_ctx *ctx;
    cb_check_report *report; /* NULL: the first finding is the error */
    const char *path;
    uint64_t count;
} findings;

static cb_code note_finding(void *arg, sqlite3_stmt *row, cb_error *err)
{
    findings *f = arg;
    const char *text = (const char *)sqlite3_column_text(row, 0);

    if (text == NULL)
        return cb_fail_memory(err, 1);
    if (strcmp(text, "ok") == 0)
        return CB_OK;
    f->count++;
    if (f->report == NULL)
        return cb_fail(err, CB_CORRUPT, "SQLite finds damage in '%s': %.400s", f->path, text);
    return cb_check_damage(f->report, err, cb_sqlite_item, "", "%s", text);
}

/* An index by a function or collation of the application cannot be compared here; all else can. */
static cb_code check_without_indexes(sqlite3 *db, findings *f, cb_error *err)
{
    static const char words[] = "the indexes are not compared with their tables";

    if (f->report == NULL)
        cb_event_text(f->ctx, CB_EVENT_WARNING, "%s: %s", words, err->message);
    else if (cb_check_note(f->report, &(cb_error){0}, "%s: %s", words, err->message) != CB_OK)
        return cb_fail_memory(err, sizeof(words));
    cb_error_clear(err);
    return cb_sqlite_run(db, f->path, "PRAGMA quick_check", note_finding, f, err);
}

/* So damaged that SQLite gives up: that is the finding. */
static cb_code note_end(findings *f, cb_error *err)
{
    char words[CB_MESSAGE_MAX];

    if (err->code != CB_CORRUPT || f->report == NULL)
        return err->code;
    snprintf(words, sizeof(words), "%s", err->message);
    cb_error_clear(err);
    f->count++;
    return cb_check_damage(f->report, err, cb_sqlite_item, "", "%s", words);
}

static cb_code check_integrity(sqlite3 *db, findings *f, cb_error *err)
{
    cb_code code = cb_sqlite_run(db, f->path, "PRAGMA integrity_check", note_finding, f, err);

    if (code == CB_UNSUPPORTED)
        code = check_without_indexes(db, f, err);
    return code == CB_OK ? CB_OK : note_end(f, err);
}

static cb_code check_pages(sqlite3 *db, findings *f, cb_error *err)
{
    cb_check_report *report = f->report;
    cb_code code = cb_sqlite_run(db, f->path, "BEGIN", NULL, NULL, err);

    if (code == CB_OK)
        code = cb_sqlite_u64(db, f->path, "PRAGMA page_count", &report->blocks, err);
    if (code == CB_OK)
        code = cb_sqlite_u64(db, f->path, "PRAGMA freelist_count", &report->free_blocks, err);
    if (code != CB_OK)
        return note_end(f, err);
    report->used_blocks = report->blocks - report->free_blocks;
    return check_integrity(db, f, err);
}

/* ---- check ---------------------------------------------------------------------------------- */

static cb_code note_version(const cb_sqlite_header *header, cb_check_report *report, cb_error *err)
{
    uint32_t version = header->writer_version;

    if (version == 0)
        return cb_arena_text(&report->arena, header->size == 0 ? "empty" : "before 3.7",
                             &report->version, err);
    return cb_arena_format(&report->arena, &report->version, err, "%u.%u.%u", version / 1000000,
                           version / 1000 % 1000, version % 1000);
}

static cb_code check_through(cb_ctx *ctx, const char *path, cb_sqlite_how how, findings *f,
                             cb_error *err)
{
    CB_CLEANUP(cb_sqlite_close) sqlite3 *db = NULL;
    cb_code code = cb_sqlite_open(ctx, path, how, &db, err);

    if (code != CB_OK)
        return code;
    sqlite3_busy_timeout(db, WRITER_MS);
    return check_pages(db, f, err);
}

/* Nobody has it open and it has no journals: read it without making any. */
static cb_sqlite_how way_to_read(const char *path, const cb_sqlite_header *header, int64_t open_by)
{
    if (open_by != 0 || !header->is_wal)
        return CB_SQLITE_READ;
    for (size_t i = 0; i < CB_SQLITE_SIDES; i++) {
        char side[CB_PATH_MAX];
        cb_error err = {0};

        if (cb_sqlite_beside(path, cb_sqlite_suffix[i], side, &err) != CB_OK ||
            cb_path_exists(side))
            return CB_SQLITE_READ;
    }
    return CB_SQLITE_IMMUTABLE;
}

static bool has_hot_journal(const char *path, const cb_error *err)
{
    char journal[CB_PATH_MAX];
    cb_error ignored = {0};

    return err->code == CB_DENIED && strstr(err->message, "readonly database") != NULL &&
           cb_sqlite_beside(path, cb_sqlite_suffix[CB_SQLITE_JOURNAL], journal, &ignored) ==
               CB_OK &&
           cb_path_exists(journal);
}

static cb_code check_file(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err)
{
    findings f = {ctx, report, path, 0};
    cb_sqlite_header header;
    cb_code code = cb_sqlite_look(path, &header, err);

    if (code == CB_OK)
        code = cb_sqlite_require(path, &header, err);
    if (code == CB_OK)
        code = note_version(&header, report, err);
    if (code == CB_OK)
        code = cb_sqlite_holder(path, &report->open_by, err);
    if (code == CB_OK)
        code = count_commits(path, header.page_bytes, &report->commits_in_log, err);
    if (code != CB_OK || header.size == 0)
        return code;
    code = check_through(ctx, path, way_to_read(path, &header, report->open_by), &f, err);
    report->bad_blocks = f.count;
    if (code == CB_OK || !has_hot_journal(path, err))
        return code;
    cb_error_clear(err);
    return cb_check_note(report, err,
                         "a transaction was interrupted: SQLite rolls it back at the next open, "
                         "and until then its pages cannot be checked (a backup is taken as after "
                         "the roll-back, and verify --deep checks that)");
}

cb_code cb_sqlite_check(cb_ctx *ctx, const char *path, cb_check_report *report, cb_error *err)
{
    char absolute[CB_PATH_MAX];
    cb_code code = cb_path_absolute(path, absolute, err);

    if (code == CB_OK)
        code = check_file(ctx, absolute, report, err);
    return code;
}

/* ---- deep ----------------------------------------------------------------------------------- */

typedef struct counting {
    sqlite3 *db;
    const char *path;
    cb_table_visit *visit;
    void *arg;
} counting;

static cb_code count_table(void *arg, sqlite3_stmt *row, cb_error *err)
{
    const counting *c = arg;
    CB_CLEANUP(cb_buf_free) cb_buf sql = {0};
    const char *name = (const char *)sqlite3_column_text(row, 0);
    uint64_t rows;
    cb_code code = cb_buf_format(&sql, err, "SELECT count(*) FROM \"main\".\"");

    if (name == NULL)
        return cb_fail_memory(err, 1);
    for (; code == CB_OK && *name != '\0'; name++) {
        if (*name == '"')
            code = cb_buf_u8(&sql, '"', err);
        if (code == CB_OK)
            code = cb_buf_u8(&sql, (uint8_t)*name, err);
    }
    if (code == CB_OK)
        code = cb_buf_append(&sql, "\"", 2, err);
    if (code == CB_OK)
        code = cb_sqlite_u64(c->db, c->path, (const char *)sql.data, &rows, err);
    if (code == CB_OK)
        code = c->visit(c->arg, strstr((const char *)sql.data, "\"main\""), rows, err);
    return code;
}

/* Virtual tables need modules that are not here; their contents lie in plain tables, counted too.
 */
static cb_code count_tables(sqlite3 *db, const char *path, cb_table_visit *visit, void *arg,
                            cb_error *err)
{
    counting c = {db, path, visit, arg};

    return cb_sqlite_run(db, path,
                         "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name NOT "
                         "LIKE 'sqlite\\_%' ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' "
                         "ORDER BY name",
                         count_table, &c, err);
}

cb_code cb_sqlite_deep(cb_ctx *ctx, const char *path, const cb_lake_options *lake,
                       cb_table_visit *visit, void *arg, cb_error *err)
{
    CB_CLEANUP(cb_sqlite_close) sqlite3 *db = NULL;
    findings f = {ctx, NULL, path, 0};
    cb_sqlite_header header;
    cb_code code = cb_sqlite_look(path, &header, err);

    (void)lake;
    if (code == CB_OK)
        code = cb_sqlite_require(path, &header, err);
    if (code == CB_OK)
        code = cb_sqlite_open(ctx, path, CB_SQLITE_OWN, &db, err);
    if (code == CB_OK)
        code = check_integrity(db, &f, err);
    if (code == CB_OK)
        code = count_tables(db, path, visit, arg, err);
    return code;
}
