/*
 * aws_profile.c - keys from the environment and from profiles, which may point to one another, to
 * roles and to commands.
 */
#include "storage/auth/aws_internal.h"

#include <stdio.h>

#include "base/text.h"
#include "codec/mac.h"

enum { CHAIN_MAX = 8 };

/* ---- files ---------------------------------------------------------------------------------- */

static cb_code load(cb_aws_search *search, const char *path, bool is_named, bool is_credentials,
                    cb_aws_file *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf text = {0};
    bool has_keys = search->aws->environment[CB_AWS_ACCESS_KEY_ID] != NULL;
    cb_code code = cb_auth_slurp(path, &text, err);

    *out = (cb_aws_file){.path = path};
    /* A service may run with somebody else's HOME: that is no fault while the keys are at hand. */
    if (code == CB_NOT_FOUND || (code == CB_DENIED && has_keys && !is_named)) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    return cb_aws_file_parse(path, cb_buf_bytes(&text), is_credentials, &search->vault, out, err);
}

cb_code cb_aws_search_begin(cb_aws *aws, cb_aws_search *search, cb_error *err)
{
    cb_code code;

    *search = (cb_aws_search){.aws = aws};
    code = load(search, aws->credentials_path,
                aws->environment[CB_AWS_SHARED_CREDENTIALS_FILE] != NULL, true,
                &search->credentials, err);
    if (code == CB_OK)
        code = load(search, aws->config_path, aws->environment[CB_AWS_CONFIG_FILE] != NULL, false,
                    &search->config, err);
    return code;
}

void cb_aws_search_end(cb_aws_search *search)
{
    cb_aws_file_free(&search->credentials);
    cb_aws_file_free(&search->config);
    cb_vault_free(&search->vault);
}

const char *cb_aws_profile_get(const cb_aws_search *search, const char *profile, const char *key)
{
    const char *value = cb_aws_file_get(&search->credentials, CB_AWS_PROFILE, profile, key, NULL);

    if (value != NULL)
        return value;
    return cb_aws_file_get(&search->config, CB_AWS_PROFILE, profile, key, NULL);
}

const char *cb_aws_profile_endpoint(const cb_aws_search *search, const char *profile,
                                    const char *service)
{
    const char *services = cb_aws_profile_get(search, profile, "services");
    const char *url = NULL;

    if (services != NULL)
        url = cb_aws_file_get(&search->config, CB_AWS_SERVICES, services, service, "endpoint_url");
    return url != NULL ? url : cb_aws_profile_get(search, profile, "endpoint_url");
}

/* "~/.aws/credentials" for what lies in the home folder: shorter, and it names nobody. */
static void describe(const cb_aws_search *search, const char *profile, const char *path,
                     char out[CB_AUTH_SOURCE_MAX])
{
    const char *home = search->aws->environment[CB_AWS_HOME];
    size_t length = home != NULL ? strlen(home) : 0;
    bool is_home = length > 1 && strncmp(path, home, length) == 0 && path[length] == '/';

    snprintf(out, CB_AUTH_SOURCE_MAX, "profile '%.64s' in %s%.160s", profile, is_home ? "~" : "",
             is_home ? path + length : path);
}

/* ---- keys that stand there ------------------------------------------------------------------ */

static cb_code set_expiry(const char *what, const char *text, cb_grant *grant, cb_error *err)
{
    if (text != NULL && !cb_auth_time(text, &grant->expires_us))
        return cb_fail(err, CB_USAGE, "%s is not a time", what);
    return CB_OK;
}

static cb_code take_environment(const cb_aws *aws, const char *id, cb_aws_keys *keys,
                                cb_grant *grant, bool *found, cb_error *err)
{
    const char *const *environment = aws->environment;
    cb_code code;

    *found = true;
    grant->is_fixed = true;
    snprintf(grant->source, sizeof(grant->source), "environment");
    code = cb_aws_keys_set(keys, id, environment[CB_AWS_SECRET_ACCESS_KEY],
                           environment[CB_AWS_SESSION_TOKEN], err);
    if (code == CB_OK)
        code = set_expiry("AWS_CREDENTIAL_EXPIRATION", environment[CB_AWS_CREDENTIAL_EXPIRATION],
                          grant, err);
    return code;
}

cb_code cb_aws_from_environment(cb_aws *aws, cb_aws_keys *keys, cb_grant *grant, bool *found,
                                cb_error *err)
{
    const char *id = aws->environment[CB_AWS_ACCESS_KEY_ID];
    const char *secret = aws->environment[CB_AWS_SECRET_ACCESS_KEY];

    if (id == NULL && secret == NULL)
        return CB_OK;
    if (id == NULL || secret == NULL)
        return cb_fail(err, CB_USAGE, "%s is set, %s is not",
                       id != NULL ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                       id != NULL ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    return take_environment(aws, id, keys, grant, found, err);
}

/* Id and secret must stand in the same file: a pair made of two files would be no pair. */
static cb_code from_section(cb_aws_search *search, const cb_aws_file *file, const char *profile,
                            const char *wanted_id, cb_aws_keys *keys, cb_grant *grant, bool *found,
                            cb_error *err)
{
    const char *id = cb_aws_file_get(file, CB_AWS_PROFILE, profile, "aws_access_key_id", NULL);
    const char *secret =
        cb_aws_file_get(file, CB_AWS_PROFILE, profile, "aws_secret_access_key", NULL);
    cb_code code;

    if (id == NULL && secret == NULL)
        return CB_OK;
    if (wanted_id != NULL && (id == NULL || secret == NULL || strcmp(id, wanted_id) != 0))
        return CB_OK;
    if (id == NULL || secret == NULL)
        return cb_fail(err, CB_USAGE, "profile '%.64s' in '%.300s' has only one of %s", profile,
                       file->path, "aws_access_key_id and aws_secret_access_key");
    *found = true;
    grant->is_fixed = true;
    describe(search, profile, file->path, grant->source);
    code = cb_aws_keys_set(
        keys, id, secret, cb_aws_file_get(file, CB_AWS_PROFILE, profile, "aws_session_token", NULL),
        err);
    return code == CB_OK ? CB_OK : cb_context(err, "%s", grant->source);
}

static cb_code from_static(cb_aws_search *search, const char *profile, cb_aws_keys *keys,
                           cb_grant *grant, bool *found, cb_error *err)
{
    cb_code code =
        from_section(search, &search->credentials, profile, NULL, keys, grant, found, err);

    if (code == CB_OK && !*found)
        code = from_section(search, &search->config, profile, NULL, keys, grant, found, err);
    return code;
}

cb_code cb_aws_from_key_id(cb_aws_search *search, cb_aws_keys *keys, cb_grant *grant, bool *found,
                           cb_error *err)
{
    const cb_aws *aws = search->aws;
    const cb_aws_file *files[] = {&search->credentials, &search->config};
    const char *id = aws->environment[CB_AWS_ACCESS_KEY_ID];
    cb_code code = CB_OK;

    if (aws->environment[CB_AWS_SECRET_ACCESS_KEY] != NULL &&
        (id == NULL || strcmp(id, aws->access_key_id) == 0))
        return take_environment(aws, aws->access_key_id, keys, grant, found, err);
    for (size_t f = 0; f < CB_LENGTH(files) && !*found && code == CB_OK; f++) {
        for (size_t i = 0; i < files[f]->count && !*found && code == CB_OK; i++) {
            const cb_aws_line *line = &files[f]->lines[i];

            if (line->kind == CB_AWS_PROFILE && line->key == NULL)
                code = from_section(search, files[f], line->name, aws->access_key_id, keys, grant,
                                    found, err);
        }
    }
    return code;
}

/* ---- roles ---------------------------------------------------------------------------------- */

static cb_code resolve(cb_aws_search *search, const char *profile, unsigned depth, bool only_static,
                       cb_aws_keys *keys, cb_grant *grant, bool *found, cb_error *err);

static cb_code from_named_source(cb_aws_search *search, const char *profile, const char *source,
                                 cb_aws_keys *keys, cb_grant *grant, bool *found, cb_error *err)
{
    if (strcmp(source, "Environment") == 0)
        return cb_aws_from_environment(search->aws, keys, grant, found, err);
    if (strcmp(source, "EcsContainer") == 0)
        return cb_aws_from_container(search->aws, keys, grant, found, err);
    if (strcmp(source, "Ec2InstanceMetadata") == 0)
        return cb_aws_from_instance(search, keys, grant, found, err);
    cb_fail(err, CB_USAGE, "credential_source of profile '%.64s' is '%.64s'", profile, source);
    cb_hint(err, "It may be Environment, Ec2InstanceMetadata or EcsContainer.");
    return err->code;
}

/* The keys with which the role of `profile` is asked for. */
static cb_code source_of_role(cb_aws_search *search, const char *profile, unsigned depth,
                              cb_aws_keys *keys, cb_error *err)
{
    const char *other = cb_aws_profile_get(search, profile, "source_profile");
    const char *source = cb_aws_profile_get(search, profile, "credential_source");
    cb_grant grant = {.expires_us = CB_LEASE_FOREVER};
    bool found = false;
    cb_code code;

    if ((other == NULL) == (source == NULL))
        return cb_fail(err, CB_USAGE, "profile '%.64s' has role_arn and %s", profile,
                       other == NULL ? "neither source_profile nor credential_source"
                                     : "both source_profile and credential_source");
    if (other != NULL)
        code = resolve(search, other, depth + 1, strcmp(other, profile) == 0, keys, &grant, &found,
                       err);
    else
        code = from_named_source(search, profile, source, keys, &grant, &found, err);
    if (code == CB_OK && !found)
        code = cb_fail(err, CB_DENIED, "%s '%.64s', the source of profile '%.64s', has no keys",
                       other != NULL ? "profile" : "credential_source",
                       other != NULL ? other : source, profile);
    return code;
}

static cb_code from_role(cb_aws_search *search, const char *profile, const char *arn,
                         unsigned depth, cb_aws_keys *keys, cb_grant *grant, cb_error *err)
{
    const char *token_file = cb_aws_profile_get(search, profile, "web_identity_token_file");
    cb_aws_role role = {
        .arn = arn,
        .session = cb_aws_profile_get(search, profile, "role_session_name"),
        .external_id = cb_aws_profile_get(search, profile, "external_id"),
        .duration_seconds = cb_aws_profile_get(search, profile, "duration_seconds"),
        .region = cb_aws_profile_get(search, profile, "region"),
    };
    cb_aws_keys with = {0};
    cb_code code;

    snprintf(grant->source, sizeof(grant->source), "role '%.120s' of profile '%.64s'", arn,
             profile);
    if (token_file != NULL)
        return cb_aws_web_identity(search->aws, &role, token_file, keys, grant, err);
    if (cb_aws_profile_get(search, profile, "mfa_serial") != NULL) {
        cb_fail(err, CB_UNSUPPORTED, "profile '%.64s' asks for a code of a second factor", profile);
        cb_hint(err, "Nobody can type it here: use a profile without mfa_serial, or a "
                     "credential_process.");
        return err->code;
    }
    code = source_of_role(search, profile, depth, &with, err);
    if (code == CB_OK)
        code = cb_aws_assume_role(search->aws, &role, &with, keys, grant, err);
    cb_wipe(&with, sizeof(with));
    return code;
}

static cb_code refuse_sign_on(const char *profile, cb_error *err)
{
    cb_fail(err, CB_UNSUPPORTED, "profile '%.64s' signs on in a browser (sso)", profile);
    cb_hint(err,
            "Make a profile with the line: credential_process = aws configure "
            "export-credentials --profile %.64s --format process",
            profile);
    return err->code;
}

static cb_code resolve(cb_aws_search *search, const char *profile, unsigned depth, bool only_static,
                       cb_aws_keys *keys, cb_grant *grant, bool *found, cb_error *err)
{
    const char *arn = cb_aws_profile_get(search, profile, "role_arn");
    const char *command = cb_aws_profile_get(search, profile, "credential_process");
    cb_code code;

    if (depth > CHAIN_MAX)
        return cb_fail(err, CB_USAGE, "more than %d profiles name one another as source_profile",
                       CHAIN_MAX);
    if (arn != NULL && !only_static) {
        *found = true;
        return from_role(search, profile, arn, depth, keys, grant, err);
    }
    code = from_static(search, profile, keys, grant, found, err);
    if (code != CB_OK || *found)
        return code;
    if (command != NULL) {
        *found = true;
        describe(search, profile, "credential_process", grant->source);
        return cb_aws_from_command(search->aws, command, profile, keys, grant, err);
    }
    if (cb_aws_profile_get(search, profile, "sso_session") != NULL ||
        cb_aws_profile_get(search, profile, "sso_start_url") != NULL)
        return refuse_sign_on(profile, err);
    return CB_OK;
}

cb_code cb_aws_from_profile(cb_aws_search *search, const char *profile, cb_aws_keys *keys,
                            cb_grant *grant, bool *found, cb_error *err)
{
    return resolve(search, profile, 0, false, keys, grant, found, err);
}
