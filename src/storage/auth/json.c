/*
 * json.c - JSON of files and of token services. jansson's own messages quote what they met, which
 * may be half a key: only its line numbers are passed on.
 */
#include "storage/auth/auth_internal.h"

#include "base/text.h"
#include "codec/mac.h"

cb_code cb_json_parse(const char *name, cb_bytes text, json_t **out, cb_error *err)
{
    json_error_t problem;

    *out = NULL;
    if (text.size > CB_AUTH_FILE_MAX)
        return cb_fail(err, CB_TOO_LARGE, "%s is longer than %d bytes", name, CB_AUTH_FILE_MAX);
    *out = json_loadb(text.size > 0 ? (const char *)text.data : "", text.size,
                      JSON_REJECT_DUPLICATES, &problem);
    if (*out == NULL && json_error_code(&problem) == json_error_out_of_memory)
        return cb_fail_memory(err, text.size);
    if (*out == NULL)
        return cb_fail(err, CB_USAGE, "%s line %d is not JSON", name,
                       problem.line > 0 ? problem.line : 1);
    if (!json_is_object(*out)) {
        cb_json_wipe(out);
        return cb_fail(err, CB_USAGE, "%s is not a JSON object", name);
    }
    return CB_OK;
}

/* As deep as jansson lets a text nest: 2048. */
static void wipe_strings(json_t *json)
{
    const char *key;
    json_t *value;
    size_t at;

    if (json_is_string(json)) {
        /* The text is ours alone: nobody else holds a reference to what cb_json_parse made. */
        cb_wipe((void *)(uintptr_t)json_string_value(json), json_string_length(json));
    } else if (json_is_array(json)) {
        json_array_foreach(json, at, value) wipe_strings(value);
    } else if (json_is_object(json)) {
        json_object_foreach(json, key, value) wipe_strings(value);
    }
}

void cb_json_wipe(json_t **json)
{
    if (*json == NULL)
        return;
    wipe_strings(*json);
    json_decref(*json);
    *json = NULL;
}

const char *cb_json_text(const json_t *object, const char *field)
{
    const char *text = json_string_value(json_object_get(object, field));

    return text != NULL && text[0] != '\0' ? text : NULL;
}

cb_code cb_json_need(const char *name, const json_t *object, const char *field, const char **out,
                     cb_error *err)
{
    *out = cb_json_text(object, field);
    if (*out == NULL)
        return cb_fail(err, CB_USAGE, "%s has no field '%s'", name, field);
    return CB_OK;
}

bool cb_json_number(const json_t *object, const char *field, int64_t *out)
{
    const json_t *value = json_object_get(object, field);
    cb_error unused;

    if (json_is_string(value))
        return cb_parse_i64(json_string_value(value), out, &unused) == CB_OK;
    if (!json_is_number(value) || json_number_value(value) > 1e15 ||
        json_number_value(value) < -1e15)
        return false;
    *out = (int64_t)json_number_value(value);
    return true;
}

cb_code cb_json_bearer(const char *who, const json_t *answer, int64_t now_us,
                       char out[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err)
{
    const char *token = cb_json_text(answer, "access_token");
    int64_t seconds = 3600; /* RFC 6749 leaves it out where it is known from elsewhere */

    if (token == NULL)
        return cb_fail(err, CB_DENIED, "%s answered without a token", who);
    if (cb_json_number(answer, "expires_in", &seconds) && (seconds < 0 || seconds > 366 * 86400))
        return cb_fail(err, CB_IO, "%s gave a token that is good for %lld s", who,
                       (long long)seconds);
    grant->expires_us = now_us + seconds * 1000000;
    return cb_auth_copy(out, CB_AUTH_TOKEN_MAX, token, "a token", err);
}
