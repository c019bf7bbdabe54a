/*
 * What services and files answer with: JSON of keys and tokens, XML of roles, connection strings.
 * Whatever is taken over can stand in a header.
 */
#include "fuzz.h"

#include <string.h>

#include "storage/auth/aws_internal.h"
#include "storage/auth/az_internal.h"
#include "storage/auth/gcp_internal.h"

static void check_text(const char *text, size_t room)
{
    size_t length = strnlen(text, room);

    FUZZ_CHECK(length < room);
    for (size_t i = 0; i < length; i++)
        FUZZ_CHECK((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

static void check_keys(const cb_aws_keys *keys)
{
    check_text(keys->access_key, sizeof(keys->access_key));
    check_text(keys->secret, sizeof(keys->secret));
    check_text(keys->token, sizeof(keys->token));
}

static void try_json(cb_bytes text)
{
    char token[CB_AUTH_TOKEN_MAX] = "";
    cb_grant grant = {.expires_us = CB_LEASE_FOREVER};
    cb_buf jwt = {.limit = 1 << 20};
    cb_aws_keys keys = {0};
    cb_error err = {0};
    json_t *json;

    if (cb_json_parse("answer", text, &json, &err) != CB_OK) {
        FUZZ_CHECK(json == NULL && err.message[0] != '\0');
        return;
    }
    if (cb_aws_keys_of_json("answer", json, "Token", &keys, &grant.expires_us, &err) == CB_OK)
        FUZZ_CHECK(keys.access_key[0] != '\0' && keys.secret[0] != '\0');
    check_keys(&keys);
    if (cb_json_bearer("service", json, 0, token, &grant, &err) == CB_OK)
        FUZZ_CHECK(token[0] != '\0' && grant.expires_us >= 0);
    check_text(token, sizeof(token));
    cb_ignore(cb_gcp_jwt("file", json, "https://a", 0, &jwt, &err)); /* refused nearly always */
    cb_buf_wipe(&jwt);
    cb_json_wipe(&json);
}

static void try_text(const char *text)
{
    cb_vault vault = {0};
    cb_error err = {0};
    cb_az_connection connection;
    char shown[CB_AUTH_URL_MAX];
    char url[512];
    int64_t time;

    if (cb_az_connection_parse(text, &vault, &connection, &err) != CB_OK)
        FUZZ_CHECK(err.code == CB_USAGE);
    cb_vault_free(&vault);
    if (cb_auth_time(text, &time))
        FUZZ_CHECK(strlen(text) >= 11);
    cb_url_shown(text, shown);
    FUZZ_CHECK(strpbrk(shown, "?#") == NULL);
    if (cb_url_endpoint("it", text, url, sizeof(url), &err) == CB_OK)
        FUZZ_CHECK(strstr(url, "://") != NULL && url[strlen(url) - 1] != '/');
    if (cb_url_is_safe(text))
        FUZZ_CHECK(cb_url_is_container(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    cb_aws_keys keys = {0};
    int64_t expires;
    char reason[64];

    FUZZ_CHECK(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    try_json(cb_bytes_of(data, size));
    if (cb_aws_sts_parse(cb_bytes_of(data, size), &keys, &expires, reason))
        FUZZ_CHECK(reason[0] != '\0' || keys.token[0] != '\0');
    check_keys(&keys);
    check_text(reason, sizeof(reason));
    try_text(text);
    free(text);
    return 0;
}
