/*
 * config.h - one run's settings: command line, environment, configuration file and defaults put
 * together. Precedence: flag, environment, section of the subject, global part of the file,
 * default. Each value remembers where it came from.
 *
 * A repository may be named several times: those of the strongest layer count, the first is the one
 * that every command uses, and backup writes to all.
 *
 * The subject is the name of the database that the command is about: NAME of NAME[@LABEL], --name,
 * or what a source would be called. Its section of the file counts, the others do not.
 */
#ifndef CB_CONFIG_CONFIG_H
#define CB_CONFIG_CONFIG_H

#include "config/command_line.h"
#include "config/ini.h"
#include "config/subject.h"

typedef enum cb_origin {
    CB_FROM_NOWHERE, /* unset */
    CB_FROM_DEFAULT,
    CB_FROM_FILE,    /* before any section, or in [global] */
    CB_FROM_SECTION, /* [subject] */
    CB_FROM_ENVIRONMENT,
    CB_FROM_FLAG,
} cb_origin;

typedef struct cb_value {
    const char *text; /* as the user wrote it ("~/" replaced); NULL: unset */
    int64_t number;   /* as option.h says for its type; 0 when unset */
    cb_origin origin;
    unsigned line; /* of the configuration file */
} cb_value;

typedef struct cb_config {
    cb_arena arena;
    cb_command_line line;
    const char *const *environment; /* borrowed */
    const char *home;               /* NULL: unknown */
    const char *file;               /* the configuration file that was read; NULL: none */
    cb_ini ini;
    const char *subject; /* NULL: none */
    cb_value values[CB_OPT_END];
    cb_pair *tags; /* in the order of first appearance; a later one of the same key replaces it */
    size_t tag_count;
    size_t tag_capacity;
    const char **repos; /* all of the strongest layer that names any; values[CB_OPT_REPO] is one */
    size_t repo_count;
    size_t repo_capacity;
    const char **tables; /* of all --tables, without their quotes */
    size_t table_count;
    size_t table_capacity;
} cb_config;

/*
 * Read everything for one run. `environment` is a NULL-terminated list of "NAME=value"; like argv
 * it must outlive *out. `help` and --help, --version read no environment and no file, so that they
 * can be had when those are wrong.
 * Errors: CB_USAGE; CB_UNSUPPORTED (reserved command); CB_NO_MEMORY. Then *out is NULL.
 */
CB_MUST_USE cb_code cb_config_read(int argc, const char *const *argv,
                                   const char *const *environment, cb_config **out, cb_error *err);
void cb_config_free(cb_config *config); /* NULL is allowed */

/* Put the values together anew for another subject (NULL: none). */
CB_MUST_USE cb_code cb_config_resolve(cb_config *config, const char *subject, cb_error *err);

/* Does any section of the file set an option that `command` takes? */
bool cb_config_has_sections_for(const cb_config *config, cb_command_id command);

static inline bool cb_config_flag(const cb_config *config, cb_option_id id)
{
    return config->values[id].number != 0;
}

/* "--jobs", "jobs from CANVASBACK_JOBS", "jobs from canvasback.ini line 3", "jobs by default". */
enum { CB_ORIGIN_TEXT_MAX = 512 };
const char *cb_config_origin(const cb_config *config, cb_option_id id,
                             char out[CB_ORIGIN_TEXT_MAX]);

/* Is the answer wanted as JSON, even if the command line cannot be understood? */
bool cb_config_wants_json(int argc, const char *const *argv, const char *const *environment);

/* The value of an environment variable, or NULL when unset or empty. */
const char *cb_environment_get(const char *const *environment, const char *name);

#endif
