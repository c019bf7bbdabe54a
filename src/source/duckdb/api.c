/*
 * api.c - finding and loading libduckdb.
 *
 * The library may be the Python package's extension module, which exports the whole C API but
 * names some 200 of Python's symbols. We never call a function that uses them; the data symbols
 * must be there all the same for the file to load, so libpython is loaded before it, and functions
 * are bound lazily.
 */
#include "source/duckdb/api.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>

#include "base/file.h"

static const char *const library_name = "libduckdb.so";

static const char *const hint_without =
    "Name one with --duckdb-library FILE. Backup, restore, verify and check of a DuckDB file need "
    "none; verify --deep, --method attach, a copy of a database with commits in its log, and "
    "lakes with their catalog in a DuckDB file do.";

/* The decimal number at *text, which moves behind it; -1: there is none. */
static int64_t next_number(const char **text)
{
    int64_t number = -1;

    for (; **text >= '0' && **text <= '9'; (*text)++)
        number = (number < 0 ? 0 : number % 1000000000) * 10 + (**text - '0');
    return number;
}

int cb_duckdb_version_compare(const char *a, const char *b)
{
    while (*a != '\0' && *b != '\0') {
        int64_t number_a = next_number(&a);
        int64_t number_b = next_number(&b);

        if (number_a != number_b)
            return number_a < number_b ? -1 : 1;
        if (*a != *b || *a == '\0')
            break;
        a++;
        b++;
    }
    return strcmp(a, b); /* what is left is no number: any stable order will do */
}

/* The newest <folder>/<version>/libduckdb.so, or no text in `out`. */
static void find_newest(const char *folder, char out[CB_PATH_MAX])
{
    char newest[256] = "";
    DIR *dir = opendir(folder);

    out[0] = '\0';
    if (dir == NULL)
        return; /* nothing was put beside the program: the system's may do */
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[CB_PATH_MAX];
        int length;

        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        length = snprintf(path, sizeof(path), "%s/%s/%s", folder, entry->d_name, library_name);
        if (length < 0 || (size_t)length >= sizeof(path) || !cb_path_exists(path))
            continue;
        if (newest[0] == '\0' || cb_duckdb_version_compare(entry->d_name, newest) > 0) {
            snprintf(newest, sizeof(newest), "%s", entry->d_name);
            memcpy(out, path, sizeof(path));
        }
    }
    closedir(dir);
}

/* Debian's first, then what newer systems have; libpython3.so leads to whatever is installed. */
static bool load_python(void)
{
    static const char *const names[] = {
        "libpython3.11.so.1.0", "libpython3.12.so.1.0", "libpython3.13.so.1.0",
        "libpython3.14.so.1.0", "libpython3.10.so.1.0", "libpython3.so",
    };

    for (size_t i = 0; i < CB_LENGTH(names); i++)
        if (dlopen(names[i], RTLD_NOW | RTLD_GLOBAL) != NULL)
            return true;
    return false;
}

static cb_code open_library(const char *path, void **out, cb_error *err)
{
    char reason[512];
    const char *text;

    *out = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (*out != NULL)
        return CB_OK;
    text = dlerror();
    snprintf(reason, sizeof(reason), "%s", text != NULL ? text : "unknown reason");
    if (strstr(reason, "symbol: Py") != NULL || strstr(reason, "symbol: _Py") != NULL) {
        if (!load_python()) {
            cb_fail(err, CB_UNSUPPORTED,
                    "DuckDB's library '%s' needs libpython3.11, which is not installed", path);
            cb_hint(err, "Install it (apt-get install libpython3.11), or name another library "
                         "with --duckdb-library FILE.");
            return err->code;
        }
        *out = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
        if (*out != NULL)
            return CB_OK;
        text = dlerror();
        snprintf(reason, sizeof(reason), "%s", text != NULL ? text : "unknown reason");
    }
    return cb_fail(err, CB_UNSUPPORTED, "DuckDB's library cannot be loaded: %s", reason);
}

static cb_code locate(cb_ctx *ctx, char out[CB_PATH_MAX], cb_error *err)
{
    const char *program = ctx->settings.program_directory;
    char folder[CB_PATH_MAX];
    cb_code code;

    if (ctx->settings.duckdb_library != NULL) {
        if (!cb_path_exists(ctx->settings.duckdb_library)) {
            cb_fail(err, CB_UNSUPPORTED, "DuckDB's library '%s' does not exist",
                    ctx->settings.duckdb_library);
            cb_hint(err, "Check --duckdb-library.");
            return err->code;
        }
        /* Absolute: a bare name would be looked up along the linker's path instead. */
        return cb_path_absolute(ctx->settings.duckdb_library, out, err);
    }
    out[0] = '\0';
    /* As built, and as installed beside bin/. */
    for (unsigned i = 0; program != NULL && out[0] == '\0' && i < 2; i++) {
        code = cb_path_join(program, i == 0 ? "duckdb" : "../lib/canvasback/duckdb", folder, err);
        if (code != CB_OK)
            return code;
        find_newest(folder, out);
    }
    if (out[0] == '\0')
        snprintf(out, CB_PATH_MAX, "%s", library_name);
    return CB_OK;
}

/* A data pointer becomes a function pointer byte by byte: ISO C has no cast for it, POSIX promises
   that it works. */
static cb_code resolve(void *library, const char *name, void *into, cb_error *err)
{
    void *symbol = dlsym(library, name);

    if (symbol == NULL)
        return cb_fail(err, CB_UNSUPPORTED, "DuckDB's library has no function '%s'", name);
    memcpy(into, &symbol, sizeof(symbol));
    return CB_OK;
}

static cb_code resolve_all(void *library, cb_duckdb_api *api, cb_error *err)
{
    const struct {
        const char *name;
        void *into;
    } symbols[] = {
        {"duckdb_library_version", &api->library_version},
        {"duckdb_free", &api->free},
        {"duckdb_create_config", &api->create_config},
        {"duckdb_set_config", &api->set_config},
        {"duckdb_destroy_config", &api->destroy_config},
        {"duckdb_open_ext", &api->open_ext},
        {"duckdb_close", &api->close},
        {"duckdb_connect", &api->connect},
        {"duckdb_interrupt", &api->interrupt},
        {"duckdb_disconnect", &api->disconnect},
        {"duckdb_query", &api->query},
        {"duckdb_destroy_result", &api->destroy_result},
        {"duckdb_result_error", &api->result_error},
        {"duckdb_result_error_type", &api->result_error_type},
        {"duckdb_column_count", &api->column_count},
        {"duckdb_row_count", &api->row_count},
        {"duckdb_value_varchar", &api->value_varchar},
        {"duckdb_rows_changed", &api->rows_changed},
        {"duckdb_prepare", &api->prepare},
        {"duckdb_prepare_error", &api->prepare_error},
        {"duckdb_destroy_prepare", &api->destroy_prepare},
        {"duckdb_pending_prepared_streaming", &api->pending_streaming},
        {"duckdb_pending_error", &api->pending_error},
        {"duckdb_execute_pending", &api->execute_pending},
        {"duckdb_destroy_pending", &api->destroy_pending},
        {"duckdb_fetch_chunk", &api->fetch_chunk},
        {"duckdb_destroy_data_chunk", &api->destroy_chunk},
        {"duckdb_data_chunk_get_size", &api->chunk_size},
        {"duckdb_data_chunk_get_vector", &api->chunk_vector},
        {"duckdb_vector_get_data", &api->vector_data},
        {"duckdb_vector_get_validity", &api->vector_validity},
        {"duckdb_appender_create", &api->appender_create},
        {"duckdb_appender_error", &api->appender_error},
        {"duckdb_appender_end_row", &api->appender_end_row},
        {"duckdb_appender_close", &api->appender_close},
        {"duckdb_appender_destroy", &api->appender_destroy},
        {"duckdb_append_null", &api->append_null},
        {"duckdb_append_varchar_length", &api->append_text},
        {"duckdb_append_blob", &api->append_blob},
    };

    for (size_t i = 0; i < CB_LENGTH(symbols); i++)
        if (resolve(library, symbols[i].name, symbols[i].into, err) != CB_OK)
            return err->code;
    return CB_OK;
}

cb_code cb_duckdb_api_load(cb_ctx *ctx, cb_duckdb_api *out, cb_error *err)
{
    char path[CB_PATH_MAX];
    void *library;
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = locate(ctx, path, err);
    if (code == CB_OK)
        code = open_library(path, &library, err);
    if (code == CB_OK)
        code = resolve_all(library, out, err);
    if (code != CB_OK) {
        if (code == CB_UNSUPPORTED)
            cb_hint(err, "%s", hint_without); /* unless a better one stands already */
        return code;
    }
    cb_event_text(ctx, CB_EVENT_DEBUG, "DuckDB %s loaded from '%s'", out->library_version(), path);
    return CB_OK;
}
