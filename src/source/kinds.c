/*
 * kinds.c - the engines there are, and which of them an address means. A new engine is a folder
 * and a line here.
 */
#include "source/source.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* In the order in which a plain path is asked about. */
static const cb_engine *const engines[] = {&cb_duckdb_engine, &cb_sqlite_engine, &cb_dir_engine,
                                           &cb_ducklake_engine};

/* Addresses that people may well try, of engines that this release does not have. */
static const char *const not_yet[] = {"postgres:", "postgresql:"};

static const cb_engine *by_scheme(const char *address)
{
    for (size_t i = 0; i < CB_LENGTH(engines); i++)
        if (cb_has_prefix(address, engines[i]->scheme))
            return engines[i];
    return NULL;
}

static cb_code try_read(const char *path, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    uint8_t head[16];
    size_t got;
    cb_code code = cb_file_open(path, O_RDONLY, 0, &fd, err);

    return code == CB_OK ? cb_file_read(fd, path, 0, head, sizeof(head), &got, err) : code;
}

static cb_code refuse(const char *address, cb_error *err)
{
    struct stat st;

    for (size_t i = 0; i < CB_LENGTH(not_yet); i++)
        if (cb_has_prefix(address, not_yet[i])) {
            cb_fail(err, CB_UNSUPPORTED, "%s...: this release knows no source of that kind",
                    not_yet[i]);
            cb_hint(err,
                    "A DuckLake whose catalog is there is ducklake:%s... . Else it backs up "
                    "DuckDB files, SQLite files (sqlite:PATH) and folders (dir:PATH).",
                    not_yet[i]);
            return err->code;
        }
    if (stat(address, &st) != 0) {
        cb_fail_errno(err, errno, "cannot open '%s'", address);
        cb_hint(err, "Name a DuckDB file, or write sqlite:PATH or dir:PATH.");
        return err->code;
    }
    if (S_ISDIR(st.st_mode)) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is a folder, not a database file", address);
        cb_hint(err, "Name the database file in it, or write dir:%s to back up the folder.",
                address);
        return err->code;
    }
    if (access(address, R_OK) != 0) {
        cb_fail_errno(err, errno, "cannot read '%s'", address);
        cb_hint(err, "Run as a user who may read the file.");
        return err->code;
    }
    if (S_ISREG(st.st_mode) && try_read(address, err) != CB_OK)
        return err->code; /* nobody recognised it because nobody could read it */
    cb_fail(err, CB_UNSUPPORTED, "'%s' is not a database of a kind that is known", address);
    cb_hint(err, "Schemes that say what it is: duckdb:PATH, sqlite:PATH, dir:PATH, "
                 "ducklake:CATALOG.");
    return err->code;
}

/* file:///path says where, not what. */
static const char *without_file(const char *address)
{
    static const char prefix[] = "file://";

    return cb_has_prefix(address, prefix) ? address + strlen(prefix) : address;
}

static cb_code no_path(const char *address, cb_error *err)
{
    cb_fail(err, CB_USAGE, "'%s' names no path", address);
    cb_hint(err, "The path stands behind the colon: %sPATH.", address);
    return err->code;
}

cb_code cb_engine_find(const char *address, const cb_engine **out, const char **path, cb_error *err)
{
    const cb_engine *engine = by_scheme(address);

    *out = NULL;
    address = without_file(address);
    *path = address;
    if (engine != NULL) {
        *path = address + strlen(engine->scheme);
        if (**path == '\0')
            return no_path(address, err);
        *out = engine;
        return CB_OK;
    }
    for (size_t i = 0; i < CB_LENGTH(engines); i++)
        if (engines[i]->recognise(address)) {
            *out = engines[i];
            return CB_OK;
        }
    return refuse(address, err);
}

cb_code cb_engine_by_kind(const char *kind, const cb_engine **out, cb_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < CB_LENGTH(engines); i++)
        if (strcmp(engines[i]->kind, kind) == 0) {
            *out = engines[i];
            return CB_OK;
        }
    cb_fail(err, CB_UNSUPPORTED, "this release knows no source of kind '%s'", kind);
    cb_hint(err, "Use the release that took the backup, or a later one.");
    return err->code;
}

cb_code cb_engine_path(const cb_engine *engine, const char *address, const char **path,
                       cb_error *err)
{
    const cb_engine *named = by_scheme(address);

    *path = without_file(address);
    if (named == NULL)
        return CB_OK;
    if (named != engine) {
        cb_fail(err, CB_USAGE, "'%s' is an address of kind %s, and the backup is of kind %s",
                address, named->kind, engine->kind);
        cb_hint(err, "An address of kind %s begins with '%s'%s.", engine->kind, engine->scheme,
                strcmp(engine->kind, "ducklake") == 0
                    ? ": ducklake:PATH, ducklake:sqlite:PATH or ducklake:postgres:CONNECTION"
                    : "");
        return err->code;
    }
    *path = address + strlen(engine->scheme);
    return **path == '\0' ? no_path(address, err) : CB_OK;
}
