/*
 * Every value of every layer is checked, whether this command uses it or not: a configuration that
 * is wrong is refused when it is read, not on the night when it is needed. Then the layers are
 * applied from the weakest to the strongest, each overwriting what stands there.
 */
#include "config/config.h"

#include "base/array.h"
#include "base/file.h"
#include "base/text.h"
#include "config/value.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char variable_prefix[] = "CANVASBACK_";

/* Set for the commands of --before and its kin, which may well run this program again: these are
   not settings. */
static const char *const hook_variables[] = {
    "CANVASBACK_RESULT=", "CANVASBACK_HOOK=", "CANVASBACK_HOOK_"};

static bool is_hook_variable(const char *variable)
{
    for (size_t i = 0; i < CB_LENGTH(hook_variables); i++)
        if (cb_has_prefix(variable, hook_variables[i]))
            return true;
    return false;
}

/* ---- where things come from --------------------------------------------------------------- */

const char *cb_environment_get(const char *const *environment, const char *name)
{
    size_t size = strlen(name);

    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, size) == 0 && (*environment)[size] == '=')
            return (*environment)[size + 1] == '\0' ? NULL : *environment + size + 1;
    return NULL;
}

static const char *origin_text(const cb_config *config, cb_option_id id, cb_origin origin,
                               unsigned line, char out[CB_ORIGIN_TEXT_MAX])
{
    const char *name = cb_options[id].name;
    char variable[CB_OPTION_VARIABLE_MAX];

    switch (origin) {
    case CB_FROM_FLAG:
        snprintf(out, CB_ORIGIN_TEXT_MAX, "--%s", name);
        break;
    case CB_FROM_ENVIRONMENT:
        snprintf(out, CB_ORIGIN_TEXT_MAX, "%s from %s", name, cb_option_variable(id, variable));
        break;
    case CB_FROM_FILE:
    case CB_FROM_SECTION:
        snprintf(out, CB_ORIGIN_TEXT_MAX, "%s from %s line %u", name, config->file, line);
        break;
    case CB_FROM_DEFAULT:
    case CB_FROM_NOWHERE:
        snprintf(out, CB_ORIGIN_TEXT_MAX, "%s by default", name);
        break;
    }
    return out;
}

const char *cb_config_origin(const cb_config *config, cb_option_id id, char out[CB_ORIGIN_TEXT_MAX])
{
    return origin_text(config, id, config->values[id].origin, config->values[id].line, out);
}

/* ---- one value ---------------------------------------------------------------------------- */

/* "~/x" in a file or a variable was not seen by any shell. */
static cb_code expand_home(cb_config *config, cb_option_id id, const char *text, const char **out,
                           cb_error *err)
{
    bool is_path =
        cb_options[id].type == CB_TYPE_PATH || id == CB_OPT_REPO || id == CB_OPT_DATA_PATH;

    *out = text;
    if (!is_path || !config->home || !cb_has_prefix(text, "~/"))
        return CB_OK;
    return cb_arena_format(&config->arena, out, err, "%s/%s", config->home, text + 2);
}

static cb_code add_tag(cb_config *config, const char *text, cb_error *err)
{
    const char *equals = strchr(text, '=');
    const char *key;
    cb_code code;

    code = cb_arena_text_n(&config->arena, text, (size_t)(equals - text), &key, err);
    if (code != CB_OK)
        return code;
    for (size_t i = 0; i < config->tag_count; i++) {
        if (strcmp(config->tags[i].key, key) == 0) {
            config->tags[i].value = equals + 1;
            return CB_OK;
        }
    }
    if (config->tag_count == config->tag_capacity) {
        code = cb_array_grow(&config->tags, &config->tag_capacity, sizeof(*config->tags), err);
        if (code != CB_OK)
            return code;
    }
    config->tags[config->tag_count++] = (cb_pair){key, equals + 1};
    return CB_OK;
}

/* A stronger layer replaces the list of the weaker ones; within a layer it grows. */
static cb_code add_repo(cb_config *config, const char *text, cb_origin origin, cb_error *err)
{
    cb_code code = CB_OK;

    if (strstr(text, ", ") != NULL) { /* else a folder of that odd name would be made */
        cb_fail(err, CB_USAGE, "'%s' is no address: one repo is one address", text);
        cb_hint(err, "Write a repo line for each repository, or --repo several times.");
        return err->code;
    }
    if (config->values[CB_OPT_REPO].origin != origin)
        config->repo_count = 0;
    if (config->repo_count == config->repo_capacity)
        code = cb_array_grow(&config->repos, &config->repo_capacity, sizeof(*config->repos), err);
    if (code == CB_OK)
        config->repos[config->repo_count++] = text;
    return code;
}

/* "a,b" adds two. */
static cb_code add_tables(cb_config *config, const char *text, cb_error *err)
{
    char *name;
    cb_code code = CB_OK;

    while (text && code == CB_OK) {
        code = cb_arena_alloc(&config->arena, strlen(text) + 1, &name, err);
        if (code == CB_OK)
            code = cb_table_name(&text, name, err);
        if (code == CB_OK && config->table_count == config->table_capacity)
            code = cb_array_grow(&config->tables, &config->table_capacity, sizeof(*config->tables),
                                 err);
        if (code == CB_OK)
            config->tables[config->table_count++] = name;
    }
    return code;
}

static cb_code check_value(const cb_config *config, cb_option_id id, const char *text,
                           cb_origin origin, unsigned line, int64_t *number, cb_error *err)
{
    char from[CB_ORIGIN_TEXT_MAX];

    if (cb_value_parse(id, text, number, err) == CB_OK)
        return CB_OK;
    cb_hint(err, "'canvasback help --%s' tells what it takes.", cb_options[id].name);
    return cb_context(err, "%s", origin_text(config, id, origin, line, from));
}

static cb_code apply(cb_config *config, cb_option_id id, const char *text, cb_origin origin,
                     unsigned line, cb_error *err)
{
    cb_value value = {.origin = origin, .line = line};
    cb_code code;

    code = check_value(config, id, text, origin, line, &value.number, err);
    if (code == CB_OK)
        code = expand_home(config, id, text, &value.text, err);
    if (code == CB_OK && id == CB_OPT_TAG)
        code = add_tag(config, text, err);
    if (code == CB_OK && id == CB_OPT_TABLES)
        code = add_tables(config, text, err);
    if (code == CB_OK && id == CB_OPT_REPO) {
        code = add_repo(config, value.text, origin, err);
        if (code == CB_OK && config->repo_count > 1)
            return CB_OK; /* the first stays the one */
    }
    if (code == CB_OK)
        config->values[id] = value;
    return code;
}

/* ---- environment -------------------------------------------------------------------------- */

static cb_code refuse_line_only(cb_option_id id, const char *where, cb_error *err)
{
    cb_fail(err, CB_USAGE, "%s: '%s' is for one run and cannot be set there", where,
            cb_options[id].name);
    cb_hint(err, "Give --%s on the command line.", cb_options[id].name);
    return err->code;
}

/* "CANVASBACK_LOCK_WAIT=5" -> lock-wait */
static cb_code find_variable(const char *variable, size_t size, cb_option_id *out, cb_error *err)
{
    char name[CB_OPTION_VARIABLE_MAX];
    size_t prefix = sizeof(variable_prefix) - 1;
    size_t length = size - prefix;
    const char *near;
    char near_variable[CB_OPTION_VARIABLE_MAX];

    if (length >= sizeof(name))
        length = sizeof(name) - 1;
    for (size_t i = 0; i < length; i++) {
        char c = variable[prefix + i];

        /* Capitals only: canvasback_jobs is another variable, and CANVASBACK_jobs a mistake. */
        name[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == '_' ? '-' : '?');
        if (c >= '0' && c <= '9')
            name[i] = c;
    }
    name[length] = '\0';
    *out = cb_option_find(name, length, NULL);
    if (*out != CB_OPT_END)
        return CB_OK;
    near = cb_option_suggest(name, CB_COMMAND_END);
    cb_fail(err, CB_USAGE, "there is no setting for the variable %.*s", (int)size, variable);
    if (near)
        cb_hint(err, "Did you mean %s?",
                cb_option_variable(cb_option_find(near, strlen(near), NULL), near_variable));
    else
        cb_hint(err, "'canvasback help' lists the options; each is also CANVASBACK_<NAME>.");
    return err->code;
}

typedef cb_code variable_visit(cb_config *config, cb_option_id id, const char *text, cb_error *err);

static cb_code each_variable(cb_config *config, variable_visit *visit, cb_error *err)
{
    size_t prefix = sizeof(variable_prefix) - 1;

    for (const char *const *at = config->environment; at && *at; at++) {
        size_t size = strcspn(*at, "=");
        cb_option_id id;
        cb_code code;

        if (strncmp(*at, variable_prefix, prefix) != 0 || (*at)[size] != '=' ||
            is_hook_variable(*at))
            continue;
        code = find_variable(*at, size, &id, err);
        if (code == CB_OK && (*at)[size + 1] != '\0') /* empty is as good as unset */
            code = visit(config, id, *at + size + 1, err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

static cb_code check_variable(cb_config *config, cb_option_id id, const char *text, cb_error *err)
{
    char variable[CB_OPTION_VARIABLE_MAX];
    int64_t number;

    if (cb_options[id].flags & CB_OPTION_LINE_ONLY)
        return refuse_line_only(id, cb_option_variable(id, variable), err);
    return check_value(config, id, text, CB_FROM_ENVIRONMENT, 0, &number, err);
}

static cb_code apply_variable(cb_config *config, cb_option_id id, const char *text, cb_error *err)
{
    return apply(config, id, text, CB_FROM_ENVIRONMENT, 0, err);
}

/* ---- file --------------------------------------------------------------------------------- */

static cb_code check_line(const cb_config *config, size_t at, cb_error *err)
{
    const cb_ini_line *line = &config->ini.lines[at];
    cb_option_id id = cb_option_find(line->key, strlen(line->key), NULL);
    char where[CB_ORIGIN_TEXT_MAX];
    const char *near;
    int64_t number;

    snprintf(where, sizeof(where), "%s line %u", config->file, line->line);
    if (id == CB_OPT_END) {
        near = cb_option_suggest(line->key, CB_COMMAND_END);
        cb_fail(err, CB_USAGE, "%s: there is no setting '%s'", where, line->key);
        if (near)
            cb_hint(err, "Did you mean '%s'?", near);
        else
            cb_hint(err, "'canvasback help --config-example' prints them all.");
        return err->code;
    }
    if (cb_options[id].flags & CB_OPTION_LINE_ONLY)
        return refuse_line_only(id, where, err);
    if (cb_options[id].flags & CB_OPTION_SECRET) {
        cb_fail(err, CB_USAGE, "%s: '%s' is a secret, and cannot stand there", where,
                cb_options[id].name);
        cb_hint(err, "Write it to a file of its own, mode 600, and name that with %s-file.",
                cb_options[id].name);
        return err->code;
    }
    if (id == CB_OPT_CONFIG)
        return cb_fail(err, CB_USAGE, "%s: a configuration file cannot name another", where);
    for (size_t i = 0; i < at && !(cb_options[id].flags & CB_OPTION_REPEAT); i++) {
        const cb_ini_line *other = &config->ini.lines[i];

        if (cb_option_find(other->key, strlen(other->key), NULL) == id &&
            strcmp(other->section ? other->section : "", line->section ? line->section : "") == 0)
            return cb_fail(err, CB_USAGE, "%s: '%s' was set in line %u already", where, line->key,
                           other->line);
    }
    return check_value(config, id, line->value, CB_FROM_FILE, line->line, &number, err);
}

static cb_code read_file(cb_config *config, const char *path, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = CB_INI_BYTES_MAX};
    cb_code code;

    code = cb_arena_text(&config->arena, path, &config->file, err);
    if (code != CB_OK)
        return code;
    code = cb_file_slurp(path, &text, err);
    if (code == CB_OK)
        code = cb_ini_parse(path, cb_buf_bytes(&text), &config->arena, &config->ini, err);
    for (size_t i = 0; i < config->ini.count && code == CB_OK; i++)
        code = check_line(config, i, err);
    if (code == CB_OK || code == CB_NO_MEMORY)
        return code;
    /* Whatever is wrong with the configuration, nothing has been touched yet: exit code 2. */
    if (code != CB_USAGE)
        cb_context(err, "configuration file");
    err->code = CB_USAGE;
    return CB_USAGE;
}

/* The file of --config, else of CANVASBACK_CONFIG; NULL: the usual places. */
static const char *file_asked_for(const cb_config *config)
{
    for (size_t i = 0; i < config->line.option_count; i++)
        if (config->line.options[i].id == CB_OPT_CONFIG)
            return config->line.options[i].text;
    return cb_environment_get(config->environment, "CANVASBACK_CONFIG");
}

static cb_code read_usual_file(cb_config *config, cb_error *err)
{
    const char *xdg = cb_environment_get(config->environment, "XDG_CONFIG_HOME");
    const char *path = NULL;
    cb_code code = CB_OK;

    /* The XDG rules: a relative path there is to be ignored. */
    if (xdg && xdg[0] == '/')
        code = cb_arena_format(&config->arena, &path, err, "%s/canvasback/canvasback.ini", xdg);
    else if (config->home)
        code = cb_arena_format(&config->arena, &path, err, "%s/.config/canvasback/canvasback.ini",
                               config->home);
    if (code != CB_OK)
        return code;
    if (path && cb_path_exists(path))
        return read_file(config, path, err);
    if (cb_path_exists("/etc/canvasback.ini"))
        return read_file(config, "/etc/canvasback.ini", err);
    return CB_OK;
}

static cb_code read_layers(cb_config *config, cb_error *err)
{
    const char *path = file_asked_for(config);
    cb_code code;

    code = each_variable(config, check_variable, err);
    if (code != CB_OK)
        return code;
    if (!path)
        return read_usual_file(config, err);
    code = expand_home(config, CB_OPT_CONFIG, path, &path, err);
    if (code != CB_OK)
        return code;
    if (*path == '\0')
        return cb_fail(err, CB_USAGE, "--config: the value is empty");
    return read_file(config, path, err);
}

static cb_code apply_file(cb_config *config, const char *section, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < config->ini.count && code == CB_OK; i++) {
        const cb_ini_line *line = &config->ini.lines[i];

        if ((section == NULL) != (line->section == NULL))
            continue;
        if (section && strcmp(section, line->section) != 0)
            continue;
        code = apply(config, cb_option_find(line->key, strlen(line->key), NULL), line->value,
                     section ? CB_FROM_SECTION : CB_FROM_FILE, line->line, err);
    }
    return code;
}

bool cb_config_has_sections_for(const cb_config *config, cb_command_id command)
{
    for (size_t i = 0; i < config->ini.count; i++) {
        const cb_ini_line *line = &config->ini.lines[i];

        if (line->section &&
            cb_option_applies(cb_option_find(line->key, strlen(line->key), NULL), command) &&
            !cb_option_applies(cb_option_find(line->key, strlen(line->key), NULL),
                               CB_COMMAND_VERSION))
            return true;
    }
    return false;
}

/* ---- subject ------------------------------------------------------------------------------ */

static const char *name_given(const cb_config *config)
{
    for (size_t i = 0; i < config->line.option_count; i++)
        if (config->line.options[i].id == CB_OPT_NAME)
            return config->line.options[i].text;
    return NULL;
}

/* lake status LAKE [NAME], lake rollback NAME, lake undump FILE LAKE */
static bool find_lake_subject(const cb_config *config, char out[CB_NAME_TEXT_MAX])
{
    const cb_command_line *line = &config->line;
    const char *verb = line->operand_count > 0 ? line->operands[0] : "";
    size_t at = strcmp(verb, "undump") == 0 ? 2 : 1;

    out[0] = '\0';
    if (line->operand_count <= at)
        return false;
    if (strcmp(verb, "status") == 0 && line->operand_count > at + 1)
        return cb_subject_of_backup(line->operands[at + 1], out);
    return strcmp(verb, "rollback") == 0 ? cb_subject_of_backup(line->operands[at], out)
                                         : cb_subject_of_source(line->operands[at], out);
}

/* Which database the command line is about. */
static bool find_subject(const cb_config *config, char out[CB_NAME_TEXT_MAX])
{
    const char *name = name_given(config);
    const char *first = config->line.operand_count > 0 ? config->line.operands[0] : NULL;

    out[0] = '\0';
    if (name)
        return cb_subject_of_backup(name, out);
    if (config->line.command == CB_COMMAND_LAKE)
        return find_lake_subject(config, out);
    if (!first)
        return false;
    switch (config->line.command) {
    case CB_COMMAND_BACKUP:
    case CB_COMMAND_CHECK:
    case CB_COMMAND_SCHEDULE:
        return cb_subject_of_source(first, out);
    case CB_COMMAND_COPY: /* what exists as a file is an address, whatever it looks like */
        return cb_path_exists(first) || !cb_subject_of_backup(first, out)
                   ? cb_subject_of_source(first, out)
                   : true;
    case CB_COMMAND_RESTORE:
    case CB_COMMAND_LIST:
    case CB_COMMAND_SHOW:
    case CB_COMMAND_VERIFY:
    case CB_COMMAND_EXPIRE:
        return cb_subject_of_backup(first, out);
    case CB_COMMAND_INIT:
    case CB_COMMAND_REPO:
    case CB_COMMAND_REPAIR:
    case CB_COMMAND_METRICS:
    case CB_COMMAND_REPORT:
    case CB_COMMAND_HELP:
    case CB_COMMAND_VERSION:
    case CB_COMMAND_COMPLETION:
    case CB_COMMAND_LAKE:
    case CB_COMMAND_ARCHIVE_PUSH:
    case CB_COMMAND_ARCHIVE_GET:
    case CB_COMMAND_RECEIVE_WAL:
    case CB_COMMAND_SERVE:
    case CB_COMMAND_END:
        return false;
    }
    return false;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static cb_code apply_defaults(cb_config *config, cb_error *err)
{
    cb_code code = CB_OK;

    memset(config->values, 0, sizeof(config->values));
    config->tag_count = 0;
    config->repo_count = 0;
    config->table_count = 0;
    for (unsigned i = 0; i < CB_OPT_END && code == CB_OK; i++)
        if (cb_options[i].fallback)
            code = apply(config, (cb_option_id)i, cb_options[i].fallback, CB_FROM_DEFAULT, 0, err);
    if (code == CB_OK && config->home)
        code =
            apply(config, CB_OPT_REPO, "~/.local/share/canvasback/repo", CB_FROM_DEFAULT, 0, err);
    return code;
}

cb_code cb_config_resolve(cb_config *config, const char *subject, cb_error *err)
{
    cb_code code;

    config->subject = NULL;
    code = cb_arena_text(&config->arena, subject, &config->subject, err);
    if (code == CB_OK)
        code = apply_defaults(config, err);
    if (code == CB_OK)
        code = apply_file(config, NULL, err);
    if (code == CB_OK && config->subject)
        code = apply_file(config, config->subject, err);
    if (code == CB_OK && config->line.command != CB_COMMAND_HELP)
        code = each_variable(config, apply_variable, err);
    for (size_t i = 0; i < config->line.option_count && code == CB_OK; i++)
        code = apply(config, config->line.options[i].id, config->line.options[i].text, CB_FROM_FLAG,
                     0, err);
    return code;
}

static const char *find_home(const char *const *environment)
{
    const char *home = cb_environment_get(environment, "HOME");
    const struct passwd *user;

    if (home)
        return home;
    user = getpwuid(getuid()); /* services of the system run without HOME */
    return user ? user->pw_dir : NULL;
}

/* Help and version are to be had with a broken configuration too. */
static bool needs_no_layers(const cb_command_line *line)
{
    for (size_t i = 0; i < line->option_count; i++)
        if (line->options[i].id == CB_OPT_HELP || line->options[i].id == CB_OPT_VERSION)
            return true;
    return line->command == CB_COMMAND_HELP;
}

static cb_code read_all(int argc, const char *const *argv, const char *const *environment,
                        cb_config *config, cb_error *err)
{
    char subject[CB_NAME_TEXT_MAX];
    cb_code code;

    code = cb_command_line_parse(argc, argv, &config->arena, &config->line, err);
    if (code != CB_OK)
        return code;
    code = cb_arena_text(&config->arena, find_home(environment), &config->home, err);
    if (code == CB_OK && !needs_no_layers(&config->line)) {
        config->environment = environment;
        code = read_layers(config, err);
    }
    if (code != CB_OK)
        return code;
    return cb_config_resolve(config, find_subject(config, subject) ? subject : NULL, err);
}

cb_code cb_config_read(int argc, const char *const *argv, const char *const *environment,
                       cb_config **out, cb_error *err)
{
    cb_config *config = calloc(1, sizeof(*config));
    cb_code code;

    *out = NULL;
    if (!config)
        return cb_fail_memory(err, sizeof(*config));
    code = read_all(argc, argv, environment, config, err);
    if (code != CB_OK)
        cb_config_free(config);
    else
        *out = config;
    return code;
}

void cb_config_free(cb_config *config)
{
    if (!config)
        return;
    free(config->tags);
    free(config->repos);
    free(config->tables);
    cb_arena_free(&config->arena);
    free(config);
}

bool cb_config_wants_json(int argc, const char *const *argv, const char *const *environment)
{
    const char *variable = cb_environment_get(environment, "CANVASBACK_JSON");
    cb_error ignored = {0};
    bool wants = false;

    if (variable && cb_parse_bool(variable, &wants, &ignored) == CB_OK && wants)
        return true;
    return cb_command_line_wants(argc, argv, CB_OPT_JSON);
}
