/*
 * engine_place.c - the newest engine beside the program that has its extensions, or the one that
 * speaks an older spec version of lakes.
 */
#include "source/ducklake/engine_place.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "source/duckdb/api.h"

static const char *const child_name = "canvasback-lake-engine";

/* First release of DuckDB whose DuckLake extension speaks it. */
static const struct {
    const char *first;
    const char *spec;
} releases[] = {
    {"1.3.0", "0.1"}, {"1.3.1", "0.2"}, {"1.4.0", "0.3"}, {"1.5.0", "0.4"}, {"1.5.2", "1.0"},
};

const char *cb_engine_spec_of(const char *duckdb_version)
{
    const char *spec = NULL;

    for (size_t i = 0; i < CB_LENGTH(releases); i++)
        if (cb_duckdb_version_compare(duckdb_version, releases[i].first) >= 0)
            spec = releases[i].spec;
    return spec;
}

static cb_code exists_below(const char *folder, const char *name, char out[CB_PATH_MAX],
                            bool *found, cb_error *err)
{
    cb_code code = cb_path_join(folder, name, out, err);

    *found = code == CB_OK && cb_path_exists(out);
    return code;
}

cb_code cb_engine_place_extension(const cb_engine_place *place, const char *name,
                                  char out[CB_PATH_MAX], cb_error *err)
{
    char below[256];
    struct utsname machine;
    bool found;
    cb_code code;

    snprintf(below, sizeof(below), "%s.duckdb_extension", name);
    code = exists_below(place->extensions, below, out, &found, err);
    if (code != CB_OK || found)
        return code;
    if (uname(&machine) == 0 && place->version[0] != '\0') {
        snprintf(below, sizeof(below), "v%.60s/linux_%s/%.60s.duckdb_extension", place->version,
                 strcmp(machine.machine, "aarch64") == 0 ? "arm64" : "amd64", name);
        code = exists_below(place->extensions, below, out, &found, err);
        if (code != CB_OK || found)
            return code;
    }
    out[0] = '\0';
    return CB_OK;
}

/* A version folder is an engine for lakes when library and extension are both there. */
static cb_code look_at(cb_ctx *ctx, const char *folder, const char *version, cb_engine_place *out,
                       bool *found, cb_error *err)
{
    const char *given = ctx->settings.extension_directory;
    char below[CB_PATH_MAX];
    char extension[CB_PATH_MAX];
    cb_code code = cb_path_join(folder, version, below, err);

    *found = false;
    snprintf(out->version, sizeof(out->version), "%s", version);
    if (code == CB_OK)
        code = exists_below(below, "libduckdb.so", out->library, found, err);
    if (code != CB_OK || !*found)
        return code;
    code = given != NULL ? cb_path_absolute(given, out->extensions, err)
                         : cb_path_join(below, "extensions", out->extensions, err);
    if (code == CB_OK)
        code = cb_engine_place_extension(out, "ducklake", extension, err);
    *found = code == CB_OK && extension[0] != '\0';
    return code;
}

static cb_code find_below(cb_ctx *ctx, const char *folder, const char *spec, cb_engine_place *best,
                          bool *found, cb_error *err)
{
    CB_CLEANUP(cb_folder_close) DIR *dir = opendir(folder);

    if (dir == NULL)
        return CB_OK; /* nothing was put there */
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        const char *speaks;
        cb_engine_place place;
        bool is_engine;

        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' ||
            strlen(entry->d_name) >= sizeof(place.version))
            continue;
        speaks = cb_engine_spec_of(entry->d_name);
        if (spec != NULL && (speaks == NULL || strcmp(speaks, spec) != 0))
            continue;
        if (look_at(ctx, folder, entry->d_name, &place, &is_engine, err) != CB_OK)
            return err->code;
        if (is_engine && (!*found || cb_duckdb_version_compare(place.version, best->version) > 0)) {
            *best = place;
            *found = true;
        }
    }
    return CB_OK;
}

/* --duckdb-library: its extensions are where --extension-directory says, or beside it. */
static cb_code find_given(cb_ctx *ctx, cb_engine_place *out, cb_error *err)
{
    const char *given = ctx->settings.extension_directory;
    char folder[CB_PATH_MAX];
    char extension[CB_PATH_MAX];
    char *slash;
    cb_code code = cb_path_absolute(ctx->settings.duckdb_library, out->library, err);

    if (code != CB_OK)
        return code;
    if (!cb_path_exists(out->library)) {
        cb_fail(err, CB_UNSUPPORTED, "DuckDB's library '%s' does not exist", out->library);
        cb_hint(err, "Check --duckdb-library.");
        return err->code;
    }
    memcpy(folder, out->library, sizeof(folder));
    slash = strrchr(folder, '/');
    if (slash != NULL)
        *slash = '\0';
    snprintf(out->version, sizeof(out->version), "%.63s", cb_path_base(folder));
    if (cb_engine_spec_of(out->version) == NULL || out->version[0] < '0' || out->version[0] > '9')
        out->version[0] = '\0';
    code = given != NULL ? cb_path_absolute(given, out->extensions, err)
                         : cb_path_join(folder, "extensions", out->extensions, err);
    if (code == CB_OK)
        code = cb_engine_place_extension(out, "ducklake", extension, err);
    if (code == CB_OK && extension[0] == '\0') {
        cb_fail(err, CB_UNSUPPORTED,
                "DuckDB's library '%s' has no DuckLake extension: there is no "
                "ducklake.duckdb_extension in '%s'",
                out->library, out->extensions);
        cb_hint(err, "Name the folder that has those of exactly this DuckDB with "
                     "--extension-directory DIR.");
        return err->code;
    }
    return code;
}

cb_code cb_engine_place_find(cb_ctx *ctx, const char *spec, cb_engine_place *out, cb_error *err)
{
    static const char *const folders[] = {"duckdb", "../lib/canvasback/duckdb"};
    const char *program = ctx->settings.program_directory;
    bool found = false;

    if (ctx->settings.duckdb_library != NULL)
        return find_given(ctx, out, err);
    for (size_t i = 0; program != NULL && !found && i < CB_LENGTH(folders); i++) {
        char folder[CB_PATH_MAX];
        cb_code code = cb_path_join(program, folders[i], folder, err);

        if (code == CB_OK)
            code = find_below(ctx, folder, spec, out, &found, err);
        if (code != CB_OK)
            return code;
    }
    if (found)
        return CB_OK;
    cb_fail(err, CB_UNSUPPORTED, "no DuckDB with its DuckLake extension%s%s was found",
            spec != NULL ? " of spec version " : "", spec != NULL ? spec : "");
    cb_hint(err, "`./run build` puts both beside the program (duckdb/<version>/libduckdb.so and "
                 "extensions/ beside it); or name them with --duckdb-library FILE and "
                 "--extension-directory DIR.");
    return err->code;
}

cb_code cb_engine_place_child(cb_ctx *ctx, char out[CB_PATH_MAX], cb_error *err)
{
    /* As installed or copied beside the program, as in a build folder, as packaged. */
    static const char *const folders[] = {".", "../engine", "../libexec/canvasback"};
    const char *program = ctx->settings.program_directory;

    for (size_t i = 0; program != NULL && i < CB_LENGTH(folders); i++) {
        char folder[CB_PATH_MAX];
        bool found = false;
        cb_code code = cb_path_join(program, folders[i], folder, err);

        if (code == CB_OK)
            code = exists_below(folder, child_name, out, &found, err);
        if (code != CB_OK || found)
            return code;
    }
    cb_fail(err, CB_UNSUPPORTED, "the program '%s', which runs DuckDB for lakes, was not found",
            child_name);
    cb_hint(err, "It belongs beside canvasback, or in ../libexec/canvasback: install it anew.");
    return err->code;
}
