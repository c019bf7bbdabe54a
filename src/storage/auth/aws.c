/*
 * aws.c - where Amazon's keys come from: the order of places, and what is known without asking.
 */
#include "storage/auth/aws_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/mac.h"

static const char *const variables[CB_AWS_VARIABLES_END] = {
    [CB_AWS_ACCESS_KEY_ID] = "AWS_ACCESS_KEY_ID",
    [CB_AWS_SECRET_ACCESS_KEY] = "AWS_SECRET_ACCESS_KEY",
    [CB_AWS_SESSION_TOKEN] = "AWS_SESSION_TOKEN",
    [CB_AWS_CREDENTIAL_EXPIRATION] = "AWS_CREDENTIAL_EXPIRATION",
    [CB_AWS_NO_SIGN_REQUEST] = "AWS_NO_SIGN_REQUEST",
    [CB_AWS_PROFILE_NAME] = "AWS_PROFILE",
    [CB_AWS_DEFAULT_PROFILE] = "AWS_DEFAULT_PROFILE",
    [CB_AWS_SHARED_CREDENTIALS_FILE] = "AWS_SHARED_CREDENTIALS_FILE",
    [CB_AWS_CONFIG_FILE] = "AWS_CONFIG_FILE",
    [CB_AWS_REGION] = "AWS_REGION",
    [CB_AWS_DEFAULT_REGION] = "AWS_DEFAULT_REGION",
    [CB_AWS_ENDPOINT_URL_S3] = "AWS_ENDPOINT_URL_S3",
    [CB_AWS_ENDPOINT_URL_STS] = "AWS_ENDPOINT_URL_STS",
    [CB_AWS_ENDPOINT_URL] = "AWS_ENDPOINT_URL",
    [CB_AWS_IGNORE_ENDPOINT_URLS] = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    [CB_AWS_WEB_IDENTITY_TOKEN_FILE] = "AWS_WEB_IDENTITY_TOKEN_FILE",
    [CB_AWS_ROLE_ARN] = "AWS_ROLE_ARN",
    [CB_AWS_ROLE_SESSION_NAME] = "AWS_ROLE_SESSION_NAME",
    [CB_AWS_CONTAINER_RELATIVE_URI] = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    [CB_AWS_CONTAINER_FULL_URI] = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    [CB_AWS_CONTAINER_TOKEN] = "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    [CB_AWS_CONTAINER_TOKEN_FILE] = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    [CB_AWS_METADATA_DISABLED] = "AWS_EC2_METADATA_DISABLED",
    [CB_AWS_METADATA_ENDPOINT] = "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    [CB_AWS_METADATA_MODE] = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    [CB_AWS_HOME] = "HOME",
};

/* ---- what is known without asking ----------------------------------------------------------- */

static cb_code find_files(cb_aws *aws, cb_error *err)
{
    const char *const *environment = aws->environment;
    const char *credentials = environment[CB_AWS_SHARED_CREDENTIALS_FILE];
    const char *config = environment[CB_AWS_CONFIG_FILE];
    const char *home = environment[CB_AWS_HOME];
    cb_code code;

    code = cb_auth_home_path(&aws->vault, home,
                             credentials != NULL ? credentials : "~/.aws/credentials",
                             &aws->credentials_path, err);
    if (code == CB_OK)
        code = cb_auth_home_path(&aws->vault, home, config != NULL ? config : "~/.aws/config",
                                 &aws->config_path, err);
    return code;
}

static cb_code choose_profile(cb_aws *aws, const cb_place *place, cb_aws_search *search,
                              cb_error *err)
{
    const char *named = aws->environment[CB_AWS_PROFILE_NAME];
    cb_code code;

    aws->profile_is_option = place->profile[0] != '\0';
    if (named == NULL)
        named = aws->environment[CB_AWS_DEFAULT_PROFILE];
    if (aws->profile_is_option)
        named = place->profile;
    code = cb_vault_text(&aws->vault, named != NULL ? named : "default", &aws->profile, err);
    if (code != CB_OK || named == NULL || strcmp(named, "default") == 0)
        return code;
    if (cb_aws_file_has(&search->credentials, CB_AWS_PROFILE, aws->profile) ||
        cb_aws_file_has(&search->config, CB_AWS_PROFILE, aws->profile))
        return CB_OK;
    cb_fail(err, CB_USAGE, "there is no profile '%.128s' in '%.200s' or '%.200s'", aws->profile,
            aws->credentials_path, aws->config_path);
    cb_hint(err, "%s names it.",
            aws->profile_is_option                          ? "The repository's address"
            : aws->environment[CB_AWS_PROFILE_NAME] != NULL ? "The variable AWS_PROFILE"
                                                            : "The variable AWS_DEFAULT_PROFILE");
    return err->code;
}

static cb_code set_region(char *out, size_t size, const char *region, cb_error *err)
{
    size_t length = region != NULL ? strlen(region) : 0;

    if (length >= size)
        return cb_fail(err, CB_USAGE, "the name of a region has more than %zu letters", size - 1);
    for (size_t i = 0; i < length; i++) { /* it becomes part of host names */
        if (!isalnum((unsigned char)region[i]) && region[i] != '-' && region[i] != '_')
            return cb_fail(err, CB_USAGE, "'%.64s' is not the name of a region", region);
    }
    if (length > 0)
        memcpy(out, region, length);
    out[length] = '\0';
    return CB_OK;
}

static cb_code choose_regions(cb_aws *aws, const cb_place *place, const cb_aws_search *search,
                              cb_error *err)
{
    const char *region = aws->environment[CB_AWS_REGION];
    const char *of_place = place->region[0] != '\0' ? place->region : NULL;
    cb_code code;

    if (region == NULL)
        region = aws->environment[CB_AWS_DEFAULT_REGION];
    if (region == NULL)
        region = cb_aws_profile_get(search, aws->profile, "region");
    code = set_region(aws->region, sizeof(aws->region), region, err);
    /* "auto" is a region of some compatible stores, never of the service that hands out roles. */
    if (code == CB_OK)
        code = set_region(
            aws->sts_region, sizeof(aws->sts_region),
            of_place != NULL && strcmp(of_place, "auto") != 0 ? of_place : aws->region, err);
    return code;
}

static cb_code choose_endpoint(const cb_aws *aws, const cb_aws_search *search,
                               cb_aws_variable variable, const char *service, char *out,
                               size_t size, cb_error *err)
{
    const char *what = variables[variable];
    const char *url = aws->environment[variable];

    out[0] = '\0';
    if (cb_auth_is_true(aws->environment[CB_AWS_IGNORE_ENDPOINT_URLS]))
        return CB_OK;
    if (url == NULL) {
        what = variables[CB_AWS_ENDPOINT_URL];
        url = aws->environment[CB_AWS_ENDPOINT_URL];
    }
    if (url == NULL) {
        what = "endpoint_url of the profile";
        url = cb_aws_profile_endpoint(search, aws->profile, service);
    }
    return url != NULL ? cb_url_endpoint(what, url, out, size, err) : CB_OK;
}

/* ---- the search ----------------------------------------------------------------------------- */

cb_code cb_aws_keys_set(cb_aws_keys *keys, const char *access_key, const char *secret,
                        const char *token, cb_error *err)
{
    cb_code code = cb_auth_copy(keys->access_key, sizeof(keys->access_key), access_key,
                                "an access key id", err);

    if (code == CB_OK)
        code = cb_auth_copy(keys->secret, sizeof(keys->secret), secret, "a secret access key", err);
    if (code == CB_OK && token != NULL)
        code = cb_auth_copy(keys->token, sizeof(keys->token), token, "a session token", err);
    return code;
}

static cb_code fail_nowhere(const cb_aws_search *search, cb_error *err)
{
    const cb_aws *aws = search->aws;

    if (aws->access_key_id[0] != '\0') {
        cb_fail(err, CB_DENIED, "there is no secret for the access key id that was given");
        cb_hint(err,
                "Looked at AWS_SECRET_ACCESS_KEY (used when AWS_ACCESS_KEY_ID is unset or the "
                "same) and for a profile with that aws_access_key_id in '%.120s' and '%.120s'.",
                aws->credentials_path, aws->config_path);
        return err->code;
    }
    cb_fail(err, CB_DENIED, "no credentials for S3 were found");
    if (aws->profile_is_option)
        cb_hint(err,
                "The address asks for profile '%.64s', which has no keys in '%.120s' or "
                "'%.120s'.",
                aws->profile, aws->credentials_path, aws->config_path);
    else
        cb_hint(err,
                "Looked at AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE and "
                "AWS_CONTAINER_CREDENTIALS_*_URI in the environment; for profile '%.60s' in "
                "'%.80s' and '%.80s'; at the metadata service of this machine (%s).",
                aws->profile, aws->credentials_path, aws->config_path, search->instance);
    return err->code;
}

static cb_code from_web_identity(cb_aws *aws, cb_aws_keys *keys, cb_grant *grant, bool *found,
                                 cb_error *err)
{
    const char *file = aws->environment[CB_AWS_WEB_IDENTITY_TOKEN_FILE];
    cb_aws_role role = {
        .arn = aws->environment[CB_AWS_ROLE_ARN],
        .session = aws->environment[CB_AWS_ROLE_SESSION_NAME],
    };

    if (file == NULL)
        return CB_OK;
    if (role.arn == NULL) {
        cb_fail(err, CB_USAGE, "AWS_WEB_IDENTITY_TOKEN_FILE is set, AWS_ROLE_ARN is not");
        cb_hint(err, "Set AWS_ROLE_ARN to the role that the token is for.");
        return err->code;
    }
    *found = true;
    snprintf(grant->source, sizeof(grant->source), "web identity");
    return cb_aws_web_identity(aws, &role, file, keys, grant, err);
}

/* Everything that can be without asking a machine service first. */
static cb_code look_nearby(cb_aws_search *search, cb_aws_keys *keys, cb_grant *grant, bool *found,
                           cb_error *err)
{
    cb_aws *aws = search->aws;
    cb_code code;

    if (cb_auth_is_true(aws->environment[CB_AWS_NO_SIGN_REQUEST])) {
        *found = true;
        keys->anonymous = true;
        snprintf(grant->source, sizeof(grant->source), "none: requests are not signed");
        return CB_OK;
    }
    code = cb_aws_from_environment(aws, keys, grant, found, err);
    if (code == CB_OK && !*found)
        code = cb_aws_from_profile(search, aws->profile, keys, grant, found, err);
    return code;
}

static cb_code search_all(cb_aws_search *search, cb_aws_keys *keys, cb_grant *grant, bool *found,
                          cb_error *err)
{
    cb_aws *aws = search->aws;
    cb_code code;

    if (aws->access_key_id[0] != '\0')
        return cb_aws_from_key_id(search, keys, grant, found, err);
    if (aws->profile_is_option)
        return cb_aws_from_profile(search, aws->profile, keys, grant, found, err);
    code = look_nearby(search, keys, grant, found, err);
    if (code == CB_OK && !*found)
        code = from_web_identity(aws, keys, grant, found, err);
    if (code == CB_OK && !*found)
        code = cb_aws_from_container(aws, keys, grant, found, err);
    if (code == CB_OK && !*found)
        code = cb_aws_from_instance(search, keys, grant, found, err);
    return code;
}

static cb_code fetch(void *arg, void *value, cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_aws_search_end) cb_aws_search search = {0};
    bool found = false;
    cb_code code = cb_aws_search_begin(arg, &search, err);

    if (code == CB_OK)
        code = search_all(&search, value, grant, &found, err);
    if (code == CB_OK && !found)
        code = fail_nowhere(&search, err);
    return code;
}

/* ---- the interface -------------------------------------------------------------------------- */

static cb_code begin(cb_aws *aws, const cb_place *place, cb_error *err)
{
    CB_CLEANUP(cb_aws_search_end) cb_aws_search search = {0};
    cb_code code;

    code =
        cb_vault_environment(&aws->vault, variables, CB_AWS_VARIABLES_END, aws->environment, err);
    if (code == CB_OK)
        code = cb_auth_copy(aws->access_key_id, sizeof(aws->access_key_id), place->access_key_id,
                            "an access key id", err);
    if (code == CB_OK)
        code = find_files(aws, err);
    if (code == CB_OK)
        code = cb_aws_search_begin(aws, &search, err);
    if (code == CB_OK)
        code = choose_profile(aws, place, &search, err);
    if (code == CB_OK)
        code = choose_regions(aws, place, &search, err);
    if (code == CB_OK)
        code = choose_endpoint(aws, &search, CB_AWS_ENDPOINT_URL_S3, "s3", aws->endpoint,
                               sizeof(aws->endpoint), err);
    if (code == CB_OK)
        code = choose_endpoint(aws, &search, CB_AWS_ENDPOINT_URL_STS, "sts", aws->sts_endpoint,
                               sizeof(aws->sts_endpoint), err);
    if (code == CB_OK)
        code = cb_lease_new(aws->ctx, sizeof(cb_aws_keys), fetch, aws, &aws->lease, err);
    return code;
}

cb_code cb_aws_new(cb_ctx *ctx, cb_http *http, const cb_place *place, cb_aws **out, cb_error *err)
{
    cb_aws *aws = calloc(1, sizeof(*aws));
    cb_code code;

    *out = NULL;
    if (aws == NULL)
        return cb_fail_memory(err, sizeof(*aws));
    aws->ctx = ctx;
    aws->http = http;
    code = begin(aws, place, err);
    if (code != CB_OK) {
        cb_aws_free(aws);
        return code;
    }
    *out = aws;
    return CB_OK;
}

void cb_aws_free(cb_aws *aws)
{
    if (aws == NULL)
        return;
    cb_lease_free(aws->lease);
    cb_vault_free(&aws->vault);
    free(aws);
}

cb_code cb_aws_keys_get(cb_aws *aws, bool refused, cb_aws_keys *out, cb_error *err)
{
    return cb_lease_get(aws->lease, refused, out, err);
}

void cb_aws_source(cb_aws *aws, char out[CB_AUTH_SOURCE_MAX])
{
    cb_lease_source(aws->lease, out);
}

const char *cb_aws_region(const cb_aws *aws)
{
    return aws->region;
}

const char *cb_aws_endpoint(const cb_aws *aws)
{
    return aws->endpoint;
}
