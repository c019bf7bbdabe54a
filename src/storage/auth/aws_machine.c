/*
 * aws_machine.c - keys that the machine itself is given: by a command, by the agent of a container,
 * by the metadata service of an instance (IMDSv2 alone: version 1 answers forged requests).
 */
#include "storage/auth/aws_internal.h"

#include <stdio.h>
#include <strings.h>

#include "base/process.h"
#include "base/text.h"
#include "codec/mac.h"

#define COMMAND_TIMEOUT_US INT64_C(60000000)

cb_code cb_aws_keys_of_json(const char *who, const json_t *answer, const char *token_field,
                            cb_aws_keys *keys, int64_t *expires_us, cb_error *err)
{
    const char *expiration = cb_json_text(answer, "Expiration");
    const char *id;
    const char *secret;
    cb_code code;

    code = cb_json_need(who, answer, "AccessKeyId", &id, err);
    if (code == CB_OK)
        code = cb_json_need(who, answer, "SecretAccessKey", &secret, err);
    if (code == CB_OK && expiration != NULL && !cb_auth_time(expiration, expires_us))
        code = cb_fail(err, CB_USAGE, "the Expiration of %s is not a time", who);
    if (code == CB_OK)
        code = cb_aws_keys_set(keys, id, secret, cb_json_text(answer, token_field), err);
    return code;
}

/* ---- credential_process --------------------------------------------------------------------- */

cb_code cb_aws_from_command(cb_aws *aws, const char *command, const char *profile,
                            cb_aws_keys *keys, cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf output = {.limit = CB_AUTH_FILE_MAX};
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    static const char who[] = "what credential_process wrote";
    int64_t version = 0;
    cb_code code;

    code = cb_buf_reserve(&output, 64 * 1024, err);
    if (code == CB_OK)
        code = cb_run_output(aws->ctx, command, COMMAND_TIMEOUT_US, &output, err);
    if (code == CB_OK)
        code = cb_json_parse(who, cb_buf_bytes(&output), &answer, err);
    if (code == CB_OK && (!cb_json_number(answer, "Version", &version) || version != 1))
        code = cb_fail(err, CB_UNSUPPORTED, "%s is not of Version 1", who);
    if (code == CB_OK)
        code = cb_aws_keys_of_json(who, answer, "SessionToken", keys, &grant->expires_us, err);
    grant->is_fixed = grant->expires_us == CB_LEASE_FOREVER;
    return code == CB_OK ? CB_OK
                         : cb_context(err, "credential_process of profile '%.64s'", profile);
}

/* ---- container ------------------------------------------------------------------------------ */

static cb_code container_url(const cb_aws *aws, char out[CB_AUTH_URL_MAX], cb_error *err)
{
    const char *relative = aws->environment[CB_AWS_CONTAINER_RELATIVE_URI];
    const char *full = aws->environment[CB_AWS_CONTAINER_FULL_URI];
    int length;

    if (relative != NULL)
        length = snprintf(out, CB_AUTH_URL_MAX, "http://169.254.170.2%s%s",
                          relative[0] == '/' ? "" : "/", relative);
    else
        length = snprintf(out, CB_AUTH_URL_MAX, "%s", full);
    if (length < 0 || length >= CB_AUTH_URL_MAX)
        return cb_fail(err, CB_USAGE, "AWS_CONTAINER_CREDENTIALS_%s_URI is too long",
                       relative != NULL ? "RELATIVE" : "FULL");
    if (cb_url_is_container(out))
        return CB_OK;
    cb_fail(err, CB_DENIED, "AWS_CONTAINER_CREDENTIALS_%s_URI names a server that is not asked",
            relative != NULL ? "RELATIVE" : "FULL");
    cb_hint(err, "Without https it must be this machine itself, 169.254.170.2 or 169.254.170.23.");
    return err->code;
}

/* "Authorization: ..." of the two variables; `out` stays NULL without them. */
static cb_code container_token(const cb_aws *aws, cb_vault *vault, const char **out, cb_error *err)
{
    const char *file = aws->environment[CB_AWS_CONTAINER_TOKEN_FILE];
    const char *token = aws->environment[CB_AWS_CONTAINER_TOKEN];
    char checked[CB_AUTH_TOKEN_MAX];
    cb_buf header = {0};
    cb_code code = CB_OK;

    if (file != NULL)
        code = cb_auth_token_file(vault, file, &token, err);
    if (code == CB_NOT_FOUND)
        code = err->code = CB_DENIED;
    if (code != CB_OK || token == NULL)
        return code;
    code = cb_auth_copy(checked, sizeof(checked), token, "the token for the container's keys", err);
    if (code == CB_OK)
        code = cb_buf_format(&header, err, "Authorization: %s", checked);
    if (code == CB_OK)
        code = cb_vault_text_n(vault, header.data, header.size, out, err);
    cb_wipe(checked, sizeof(checked));
    cb_buf_wipe(&header);
    return code;
}

cb_code cb_aws_from_container(cb_aws *aws, cb_aws_keys *keys, cb_grant *grant, bool *found,
                              cb_error *err)
{
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    char url[CB_AUTH_URL_MAX];
    const char *headers[] = {NULL, NULL};
    cb_inquiry inquiry = {
        .who = "the container's credential service",
        .method = "GET",
        .url = url,
        .headers = headers,
        .is_direct = true,
    };
    cb_code code;

    if (aws->environment[CB_AWS_CONTAINER_RELATIVE_URI] == NULL &&
        aws->environment[CB_AWS_CONTAINER_FULL_URI] == NULL)
        return CB_OK;
    *found = true;
    snprintf(grant->source, sizeof(grant->source), "container");
    code = container_url(aws, url, err);
    if (code == CB_OK)
        code = container_token(aws, &vault, &headers[0], err);
    if (code == CB_OK)
        code = cb_inquire_json(aws->http, &inquiry, &answer, err);
    if (code == CB_OK)
        code = cb_aws_keys_of_json("the answer of the container's credential service", answer,
                                   "Token", keys, &grant->expires_us, err);
    return code;
}

/* ---- instance ------------------------------------------------------------------------------- */

static cb_code instance_address(const cb_aws *aws, char *out, size_t size, cb_error *err)
{
    const char *endpoint = aws->environment[CB_AWS_METADATA_ENDPOINT];
    const char *mode = aws->environment[CB_AWS_METADATA_MODE];

    if (endpoint == NULL)
        endpoint = mode != NULL && strcasecmp(mode, "IPv6") == 0 ? "http://[fd00:ec2::254]"
                                                                 : "http://169.254.169.254";
    return cb_url_endpoint("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint, out, size, err);
}

/* One line of text from the service. *status is 0 when nobody answered. */
static cb_code ask_instance(cb_aws *aws, const char *method, const char *url, const char *header,
                            cb_vault *vault, unsigned *status, const char **out, cb_error *err)
{
    CB_CLEANUP(cb_answer_wipe) cb_http_response response = {0};
    const char *const headers[] = {header, NULL};
    cb_inquiry inquiry = {
        .who = "the metadata service of this machine",
        .method = method,
        .url = url,
        .headers = headers,
        .is_direct = true,
        .is_quick = true,
    };
    cb_code code = cb_inquire(aws->http, &inquiry, &response, err);

    *status = 0;
    *out = NULL;
    if (code == CB_CANCELLED || code == CB_NO_MEMORY)
        return code;
    if (code != CB_OK)
        return CB_OK; /* nobody there: most machines are no instances */
    *status = response.status;
    return cb_vault_text_n(vault, response.body.data, response.body.size, out, err);
}

static cb_code instance_keys(cb_aws_search *search, const char *base, const char *header,
                             cb_vault *vault, const char *role, cb_aws_keys *keys, cb_grant *grant,
                             bool *found, cb_error *err)
{
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    static const char who[] = "the answer of the metadata service";
    const char *word;
    const char *text;
    unsigned status;
    cb_code code;

    code = cb_buf_format(&url, err, "%s/latest/meta-data/iam/security-credentials/", base);
    if (code == CB_OK)
        code = cb_url_encode(&url, role, false, err);
    if (code == CB_OK)
        code = cb_buf_u8(&url, 0, err);
    if (code == CB_OK)
        code = ask_instance(search->aws, "GET", (const char *)url.data, header, vault, &status,
                            &text, err);
    if (code != CB_OK)
        return code;
    if (status != 200) {
        snprintf(search->instance, sizeof(search->instance), "it answered %u", status);
        return CB_OK;
    }
    code = cb_json_parse(who, cb_bytes_of(text, strlen(text)), &answer, err);
    if (code != CB_OK)
        return code;
    word = cb_json_text(answer, "Code");
    if (word != NULL && strcmp(word, "Success") != 0)
        return cb_fail(err, CB_DENIED, "the metadata service has no keys for role '%.64s'", role);
    *found = true;
    snprintf(grant->source, sizeof(grant->source), "instance role '%.128s'", role);
    return cb_aws_keys_of_json(who, answer, "Token", keys, &grant->expires_us, err);
}

static cb_code look_at_instance(cb_aws_search *search, const char *base, cb_aws_keys *keys,
                                cb_grant *grant, bool *found, cb_error *err)
{
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    cb_aws *aws = search->aws;
    char url[CB_AUTH_URL_MAX];
    char token[1024];
    char role[130];
    const char *header;
    const char *text;
    unsigned status;
    cb_code code;

    snprintf(url, sizeof(url), "%s/latest/api/token", base);
    code = ask_instance(aws, "PUT", url, "X-aws-ec2-metadata-token-ttl-seconds: 21600", &vault,
                        &status, &text, err);
    snprintf(search->instance, sizeof(search->instance),
             status == 0 ? "no answer" : "it answered %u", status);
    if (code != CB_OK || status != 200)
        return code;
    code = cb_auth_copy(token, sizeof(token), text, "the metadata service's token", err);
    if (code == CB_OK)
        code = cb_vault_format(&vault, &header, err, "X-aws-ec2-metadata-token: %s", token);
    cb_wipe(token, sizeof(token));
    snprintf(url, sizeof(url), "%s/latest/meta-data/iam/security-credentials/", base);
    if (code == CB_OK)
        code = ask_instance(aws, "GET", url, header, &vault, &status, &text, err);
    if (code != CB_OK)
        return code;
    if (status != 200 || text[0] == '\0' || text[0] == '\n') {
        snprintf(search->instance, sizeof(search->instance), "the instance has no role");
        return CB_OK;
    }
    snprintf(role, sizeof(role), "%.*s", (int)strcspn(text, "\r\n"), text);
    for (const char *at = role; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f)
            return cb_fail(err, CB_IO, "the metadata service names a role that cannot be one");
    }
    return instance_keys(search, base, header, &vault, role, keys, grant, found, err);
}

cb_code cb_aws_from_instance(cb_aws_search *search, cb_aws_keys *keys, cb_grant *grant, bool *found,
                             cb_error *err)
{
    cb_aws *aws = search->aws;
    char base[512];
    cb_code code;

    if (cb_auth_is_true(aws->environment[CB_AWS_METADATA_DISABLED])) {
        snprintf(search->instance, sizeof(search->instance), "AWS_EC2_METADATA_DISABLED is set");
        return CB_OK;
    }
    code = instance_address(aws, base, sizeof(base), err);
    if (code == CB_OK)
        code = look_at_instance(search, base, keys, grant, found, err);
    if (code == CB_OK && *found)
        aws->has_instance_role = true;
    else if (code == CB_OK && aws->has_instance_role)
        code = cb_fail(err, CB_RETRY, "the metadata service of this machine gave no new keys (%s)",
                       search->instance);
    return code;
}
