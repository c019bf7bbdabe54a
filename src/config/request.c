/*
 * One function a verb: values by option id into the fields of the same meaning.
 */
#include "config/request.h"

#include "config/value.h"

#include <string.h>

static const char *text(const cb_config *config, cb_option_id id)
{
    return config->values[id].text;
}

static int64_t number(const cb_config *config, cb_option_id id)
{
    return config->values[id].number;
}

static bool flag(const cb_config *config, cb_option_id id)
{
    return config->values[id].number != 0;
}

/* From the command line alone: a file may set what counts for some runs only. */
static bool is_flag_given(const cb_config *config, cb_option_id id)
{
    return config->values[id].origin == CB_FROM_FLAG && config->values[id].number != 0;
}

static const char *operand(const cb_config *config, size_t n)
{
    return n < config->line.operand_count ? config->line.operands[n] : NULL;
}

/* What was given closest to this run wins: a --passphrase-file over the key file of the host. */
static void fill_keys(const cb_config *config, cb_settings *out)
{
    static const cb_option_id ids[] = {CB_OPT_KEY_FILE, CB_OPT_PASSPHRASE_FILE,
                                       CB_OPT_PASSPHRASE_COMMAND, CB_OPT_PASSPHRASE};
    const char **fields[] = {&out->key_file, &out->passphrase_file, &out->passphrase_command,
                             &out->passphrase};
    cb_origin strongest = CB_FROM_NOWHERE;

    for (size_t i = 0; i < CB_LENGTH(ids); i++)
        if (config->values[ids[i]].origin > strongest)
            strongest = config->values[ids[i]].origin;
    for (size_t i = 0; i < CB_LENGTH(ids); i++)
        *fields[i] = config->values[ids[i]].origin == strongest ? text(config, ids[i]) : NULL;
}

void cb_settings_fill(const cb_config *config, cb_settings *out)
{
    out->repository = text(config, CB_OPT_REPO);
    fill_keys(config, out);
    out->limit_upload = (uint64_t)number(config, CB_OPT_LIMIT_UPLOAD);
    out->limit_download = (uint64_t)number(config, CB_OPT_LIMIT_DOWNLOAD);
    out->lock_for_us = number(config, CB_OPT_LOCK_FOR);
    out->cache_directory = text(config, CB_OPT_CACHE_DIR);
    if (config->line.command == CB_COMMAND_BACKUP && config->repo_count > 1) {
        out->more_repositories = config->repos + 1;
        out->more_repository_count = config->repo_count - 1;
    }
    out->endpoint = text(config, CB_OPT_ENDPOINT);
    out->region = text(config, CB_OPT_REGION);
    out->access_key_id = text(config, CB_OPT_ACCESS_KEY_ID);
    out->s3_path_style = flag(config, CB_OPT_S3_PATH_STYLE);
    out->jobs = (unsigned)number(config, CB_OPT_JOBS);
    out->lock_wait_us = number(config, CB_OPT_LOCK_WAIT);
    out->duckdb_library = text(config, CB_OPT_DUCKDB_LIBRARY);
    out->extension_directory = text(config, CB_OPT_EXTENSION_DIRECTORY);
}

static cb_method method(const cb_config *config)
{
    /* In the order of the option's choices; "cp" is the habit's word for hot. */
    static const cb_method methods[] = {CB_METHOD_AUTO, CB_METHOD_HOT, CB_METHOD_ATTACH,
                                        CB_METHOD_HOT};

    return methods[number(config, CB_OPT_METHOD)];
}

/* ---- lakes -------------------------------------------------------------------------------- */

void cb_lake_options_fill(const cb_config *config, cb_lake_options *out)
{
    *out = (cb_lake_options){
        .metadata_schema = text(config, CB_OPT_METADATA_SCHEMA),
        .data_path = text(config, CB_OPT_DATA_PATH),
        .data = (cb_lake_data)number(config, CB_OPT_DATA),
        .allow_keys = flag(config, CB_OPT_ALLOW_UNENCRYPTED_KEYS),
        .has_snapshot = config->values[CB_OPT_SNAPSHOT].origin != CB_FROM_NOWHERE,
        .snapshot = number(config, CB_OPT_SNAPSHOT),
        .tables = config->tables,
        .table_count = config->table_count,
        .all_snapshots = flag(config, CB_OPT_ALL_SNAPSHOTS),
    };
    if (out->data == CB_LAKE_DATA_REPLICA)
        out->replica = cb_replica_of(text(config, CB_OPT_DATA));
}

/* From the command line alone: a line of the file may be meant for other sources. */
cb_code cb_lake_options_check(const cb_config *config, const char *source, cb_error *err)
{
    static const cb_option_id ids[] = {CB_OPT_METADATA_SCHEMA, CB_OPT_DATA_PATH, CB_OPT_DATA,
                                       CB_OPT_ALLOW_UNENCRYPTED_KEYS};

    if (cb_is_lake_address(source))
        return CB_OK;
    for (size_t i = 0; i < CB_LENGTH(ids); i++) {
        if (config->values[ids[i]].origin != CB_FROM_FLAG)
            continue;
        cb_fail(err, CB_USAGE, "--%s goes with a lake only", cb_options[ids[i]].name);
        cb_hint(err, "The address of a lake begins with 'ducklake:'.");
        return err->code;
    }
    return CB_OK;
}

/* ---- the verbs ---------------------------------------------------------------------------- */

cb_code cb_backup_request_fill(const cb_config *config, cb_backup_request *out, cb_error *err)
{
    int64_t compress = number(config, CB_OPT_COMPRESS);
    int level = (int)(compress % 100) - CB_COMPRESS_LEVEL_BIAS;

    *out = (cb_backup_request){
        .source = operand(config, 0),
        .name = text(config, CB_OPT_NAME),
        .adopt_name = flag(config, CB_OPT_ADOPT_NAME),
        .tags = config->tags,
        .tag_count = config->tag_count,
        .full = flag(config, CB_OPT_FULL),
        .method = method(config),
        .compress = (cb_compress_kind)(compress / 100),
        .compress_level = level,
        .no_create = flag(config, CB_OPT_NO_CREATE),
        .skip_if_busy = flag(config, CB_OPT_SKIP_IF_BUSY),
        .deadline_us = number(config, CB_OPT_DEADLINE),
        .allow_damage = flag(config, CB_OPT_ALLOW_DAMAGE),
        .source_snapshot = text(config, CB_OPT_SOURCE_SNAPSHOT),
    };
    cb_lake_options_fill(config, &out->lake);
    return cb_lake_options_check(config, out->source, err);
}

static const char *hook(const cb_config *config, cb_option_id id, cb_origin least)
{
    return config->values[id].origin >= least ? text(config, id) : NULL;
}

void cb_hooks_fill(const cb_config *config, cb_hooks *out)
{
    bool is_nested = cb_environment_get(config->environment, "CANVASBACK_HOOK") != NULL;
    bool is_backup = config->line.command == CB_COMMAND_BACKUP;
    cb_origin around = is_nested || !is_backup ? CB_FROM_FLAG : CB_FROM_DEFAULT;

    *out = (cb_hooks){0};
    /* A line of the file counts for those commands alone that take the option. */
    if (config->line.command == CB_COMMAND_END ||
        !cb_option_applies(CB_OPT_ON_FAILURE, config->line.command))
        return;
    *out = (cb_hooks){
        .before = hook(config, CB_OPT_BEFORE, around),
        .after = hook(config, CB_OPT_AFTER, around),
        .on_failure = hook(config, CB_OPT_ON_FAILURE, is_nested ? CB_FROM_FLAG : CB_FROM_DEFAULT),
    };
}

cb_code cb_restore_request_fill(const cb_config *config, cb_restore_request *out, cb_error *err)
{
    *out = (cb_restore_request){
        .backup = operand(config, 0),
        .target = operand(config, 1),
        .has_time = config->values[CB_OPT_TIME].origin != CB_FROM_NOWHERE,
        .time_us = number(config, CB_OPT_TIME),
        .delta = flag(config, CB_OPT_DELTA),
        .force = flag(config, CB_OPT_FORCE),
        .no_verify = flag(config, CB_OPT_NO_VERIFY),
        .delete_extra = flag(config, CB_OPT_DELETE),
        .mend = flag(config, CB_OPT_MEND),
        .salvage = flag(config, CB_OPT_SALVAGE),
    };
    if (out->has_time && !strpbrk(out->backup, ":/") && strchr(out->backup, '@')) {
        cb_fail(err, CB_USAGE, "'%s' has a label, and --time chooses one too", out->backup);
        cb_hint(err, "Give the name alone with --time, or the label without --time.");
        return err->code;
    }
    if (out->delete_extra && !out->delta)
        return cb_fail(err, CB_USAGE, "--delete goes with --delta only");
    cb_lake_options_fill(config, &out->lake);
    if (out->has_time && out->lake.has_snapshot) {
        cb_fail(err, CB_USAGE, "--time and --snapshot both say as of when");
        cb_hint(err, "Give one of them; with --snapshot a label chooses the backup.");
        return err->code;
    }
    return CB_OK;
}

cb_code cb_verify_request_fill(const cb_config *config, cb_verify_request *out, cb_error *err)
{
    *out = (cb_verify_request){
        .backup = operand(config, 0),
        .deep = flag(config, CB_OPT_DEEP),
        .percent = (double)number(config, CB_OPT_PERCENT) / 10000,
        .max_bytes = (uint64_t)number(config, CB_OPT_MAX_BYTES),
        .schedule = flag(config, CB_OPT_SCHEDULE),
    };
    cb_lake_options_fill(config, &out->lake);
    if (is_flag_given(config, CB_OPT_ALL_SNAPSHOTS) && !out->deep)
        return cb_fail(err, CB_USAGE, "--all-snapshots goes with --deep only");
    if (out->schedule && !out->deep)
        return cb_fail(err, CB_USAGE, "--schedule goes with --deep only");
    if (out->schedule && out->backup && strchr(out->backup, '@')) {
        cb_fail(err, CB_USAGE, "'%s' is one backup, and --schedule chooses one too", out->backup);
        cb_hint(err, "Give the name alone, or nothing, with --schedule.");
        return err->code;
    }
    return CB_OK;
}

bool cb_has_keep_rules(const cb_config *config)
{
    for (unsigned id = CB_OPT_KEEP_LAST; id <= CB_OPT_KEEP_WITHIN; id++)
        if (config->values[id].number > 0)
            return true;
    return false;
}

cb_code cb_expire_request_fill(const cb_config *config, cb_expire_request *out, cb_error *err)
{
    *out = (cb_expire_request){
        .name = operand(config, 0),
        .keep_last = number(config, CB_OPT_KEEP_LAST),
        .keep_hourly = number(config, CB_OPT_KEEP_HOURLY),
        .keep_daily = number(config, CB_OPT_KEEP_DAILY),
        .keep_weekly = number(config, CB_OPT_KEEP_WEEKLY),
        .keep_monthly = number(config, CB_OPT_KEEP_MONTHLY),
        .keep_yearly = number(config, CB_OPT_KEEP_YEARLY),
        .keep_within_us = number(config, CB_OPT_KEEP_WITHIN),
        .dry_run = flag(config, CB_OPT_DRY_RUN),
    };
    if (cb_has_keep_rules(config))
        return CB_OK;
    cb_fail(err, CB_USAGE, "expire needs a rule that says what to keep");
    cb_hint(err, "For example: --keep-daily 7 --keep-weekly 4");
    return err->code;
}

cb_code cb_copy_request_fill(const cb_config *config, cb_copy_request *out, cb_error *err)
{
    bool timestamp = flag(config, CB_OPT_TIMESTAMP);

    *out = (cb_copy_request){
        .source = operand(config, 0),
        .target = operand(config, 1),
        .timestamp = timestamp,
        .utc = timestamp && flag(config, CB_OPT_UTC),
        .keep = timestamp ? (uint64_t)number(config, CB_OPT_KEEP) : 0,
        .force = flag(config, CB_OPT_FORCE),
        .keep_log = flag(config, CB_OPT_KEEP_LOG),
        .method = method(config),
        .deadline_us = number(config, CB_OPT_DEADLINE),
        .allow_damage = flag(config, CB_OPT_ALLOW_DAMAGE),
    };
    if (!timestamp && is_flag_given(config, CB_OPT_KEEP))
        return cb_fail(err, CB_USAGE, "--keep goes with --timestamp only");
    if (!timestamp && is_flag_given(config, CB_OPT_UTC))
        return cb_fail(err, CB_USAGE, "--utc goes with --timestamp only");
    return CB_OK;
}
