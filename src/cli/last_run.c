/*
 * The file's name is made of a number for the repository, the name and the command: "_" is no part
 * of a command, and a name is safe in a path. Two commands never share a file, so that nothing has
 * to be read before it is written, and a rename is all the locking there is.
 */
#include "cli/last_run.h"

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "base/time.h"
#include "cli/output.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

enum { NOTE_BYTES_MAX = 64 * 1024, PREFIX_MAX = 20 };

void cb_last_runs_free(cb_last_runs *runs)
{
    free(runs->items);
    cb_arena_free(&runs->arena);
    *runs = (cb_last_runs){0};
}

/* ---- places ------------------------------------------------------------------------------- */

static cb_code find_folder(const cb_config *config, char out[CB_PATH_MAX], cb_error *err)
{
    const char *xdg = cb_environment_get(config->environment, "XDG_STATE_HOME");
    int size;

    if (xdg && xdg[0] == '/')
        size = snprintf(out, CB_PATH_MAX, "%s/canvasback/runs", xdg);
    else if (config->home)
        size = snprintf(out, CB_PATH_MAX, "%s/.local/state/canvasback/runs", config->home);
    else
        return cb_fail(err, CB_NOT_FOUND, "there is no home folder");
    return size < CB_PATH_MAX ? CB_OK : cb_fail(err, CB_TOO_LARGE, "the home folder is too long");
}

/* One text for all ways to write the same place: settings and slashes at the end do not count. */
static cb_code plain_address(const char *address, char out[CB_PATH_MAX], cb_error *err)
{
    size_t size;

    if (cb_has_prefix(address, "file://"))
        address += strlen("file://");
    if (!strstr(address, "://"))
        return cb_path_absolute(address, out, err);
    size = strcspn(address, "?");
    while (size > 0 && address[size - 1] == '/')
        size--;
    if (size >= CB_PATH_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the repository's address is too long");
    memcpy(out, address, size);
    out[size] = '\0';
    return CB_OK;
}

/* FNV-1a: only to tell a handful of places apart; the address stands in the file too. */
static void prefix_of(const char *plain, char out[PREFIX_MAX])
{
    uint64_t number = UINT64_C(0xcbf29ce484222325);

    for (; *plain; plain++)
        number = (number ^ (uint8_t)*plain) * UINT64_C(0x100000001b3);
    snprintf(out, PREFIX_MAX, "%016llx_", (unsigned long long)number);
}

/* ---- writing ------------------------------------------------------------------------------ */

static int append_dump(const char *data, size_t size, void *arg)
{
    cb_error ignored = {0};

    return cb_buf_append(arg, data, size, &ignored) == CB_OK ? 0 : -1;
}

static cb_code note_text(const char *plain, const cb_last_run *run, cb_buf *out, cb_error *err)
{
    char started[CB_TIME_TEXT_MAX];
    char finished[CB_TIME_TEXT_MAX];
    const char *message = run->message ? run->message : "";
    /* Not every path is UTF-8, which JSON must be. */
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:s}", "repository",
                  cb_is_utf8(plain, strlen(plain)) ? plain : "", "name", run->name, "command",
                  run->command, "started", cb_format_rfc3339(run->started_us, started), "finished",
                  cb_format_rfc3339(run->finished_us, finished), "exit_code", run->exit_code,
                  "message", cb_is_utf8(message, strlen(message)) ? message : "");
    int failed = !json || json_dump_callback(json, append_dump, out, JSON_INDENT(1)) != 0;

    json_decref(json);
    if (failed)
        return cb_fail(err, CB_NO_MEMORY, "there is not enough memory for a note");
    return cb_buf_append(out, "\n", 1, err);
}

cb_code cb_last_run_write(const cb_config *config, const char *repository, const cb_last_run *run,
                          cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    char folder[CB_PATH_MAX];
    char plain[CB_PATH_MAX];
    char prefix[PREFIX_MAX];
    char name[256];
    char path[CB_PATH_MAX];
    cb_code code;

    code = find_folder(config, folder, err);
    if (code == CB_OK)
        code = plain_address(repository, plain, err);
    if (code == CB_OK)
        code = note_text(plain, run, &text, err);
    if (code == CB_OK)
        code = cb_folder_make(folder, err);
    if (code != CB_OK)
        return code;
    prefix_of(plain, prefix);
    snprintf(name, sizeof(name), "%s%s_%s.json", prefix, run->name, run->command);
    code = cb_path_join(folder, name, path, err);
    return code == CB_OK ? cb_output_file(path, cb_buf_bytes(&text), err) : code;
}

/* ---- reading ------------------------------------------------------------------------------ */

static void json_cleanup(json_t **json)
{
    json_decref(*json);
}

static bool time_of(const json_t *json, const char *key, int64_t *out)
{
    const char *text = json_string_value(json_object_get(json, key));
    cb_error ignored = {0};

    return text && cb_parse_time(text, out, &ignored) == CB_OK;
}

static cb_code add_note(cb_last_runs *runs, cb_bytes text, cb_error *err)
{
    CB_CLEANUP(json_cleanup)
    json_t *json = json_loadb((const char *)text.data, text.size, 0, NULL);
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *command = json_string_value(json_object_get(json, "command"));
    const char *message = json_string_value(json_object_get(json, "message"));
    const json_t *exit_code = json_object_get(json, "exit_code");
    cb_last_run run = {0};
    cb_code code = CB_OK;

    if (!name || !cb_is_name(name) || !command || !cb_is_name(command) ||
        !json_is_integer(exit_code) || !time_of(json, "started", &run.started_us) ||
        !time_of(json, "finished", &run.finished_us))
        return CB_OK;
    run.exit_code = (int)json_integer_value(exit_code);
    if (runs->count == runs->capacity)
        code = cb_array_grow(&runs->items, &runs->capacity, sizeof(*runs->items), err);
    if (code == CB_OK)
        code = cb_arena_text(&runs->arena, name, &run.name, err);
    if (code == CB_OK)
        code = cb_arena_text(&runs->arena, command, &run.command, err);
    if (code == CB_OK)
        code = cb_arena_text(&runs->arena, message ? message : "", &run.message, err);
    if (code == CB_OK)
        runs->items[runs->count++] = run;
    return code;
}

static int by_name(const void *left, const void *right)
{
    const cb_last_run *a = left;
    const cb_last_run *b = right;
    int order = strcmp(a->name, b->name);

    return order != 0 ? order : strcmp(a->command, b->command);
}

static cb_code read_note(const char *folder, const char *name, cb_last_runs *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = NOTE_BYTES_MAX};
    char path[CB_PATH_MAX];
    cb_error ignored = {0};

    if (cb_path_join(folder, name, path, &ignored) != CB_OK ||
        cb_file_slurp(path, &text, &ignored) != CB_OK)
        return CB_OK;
    return add_note(into, cb_buf_bytes(&text), err);
}

static void folder_cleanup(DIR **folder)
{
    if (*folder)
        closedir(*folder);
}

cb_code cb_last_runs_read(const cb_config *config, const char *repository, cb_last_runs *out,
                          cb_error *err)
{
    CB_CLEANUP(folder_cleanup) DIR *opened = NULL;
    char folder[CB_PATH_MAX];
    char plain[CB_PATH_MAX];
    char prefix[PREFIX_MAX];
    const struct dirent *entry;
    cb_error ignored = {0};
    cb_code code = CB_OK;

    *out = (cb_last_runs){0};
    if (find_folder(config, folder, &ignored) != CB_OK ||
        plain_address(repository, plain, &ignored) != CB_OK)
        return CB_OK;
    prefix_of(plain, prefix);
    opened = opendir(folder);
    if (!opened)
        return CB_OK;
    for (entry = readdir(opened); entry && code == CB_OK; entry = readdir(opened))
        if (cb_has_prefix(entry->d_name, prefix) && cb_has_suffix(entry->d_name, ".json"))
            code = read_note(folder, entry->d_name, out, err);
    if (code == CB_OK && out->count > 0)
        qsort(out->items, out->count, sizeof(*out->items), by_name);
    return code;
}
