#include "repo/key.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/text.h"

enum { NUMBER_DIGITS = 10 };

const char *cb_key_name(char out[CB_KEY_MAX], const char *name)
{
    snprintf(out, CB_KEY_MAX, "name/%s", name);
    return out;
}

const char *cb_key_session(char out[CB_KEY_MAX], const char *name, uint64_t number,
                           const char *what)
{
    snprintf(out, CB_KEY_MAX, "session/%s/%010" PRIu64 "/%s", name, number, what);
    return out;
}

const char *cb_key_manifest(char out[CB_KEY_MAX], const char *name, uint64_t number,
                            const char *label)
{
    snprintf(out, CB_KEY_MAX, "manifest/%s/%010" PRIu64 "-%s", name, number, label);
    return out;
}

const char *cb_key_verified(char out[CB_KEY_MAX], const char *name, uint64_t number,
                            const char *label)
{
    snprintf(out, CB_KEY_MAX, "verified/%s/%010" PRIu64 "-%s", name, number, label);
    return out;
}

const char *cb_key_pack(char out[CB_KEY_MAX], const uint8_t id[CB_PACK_ID_BYTES])
{
    char hex[CB_PACK_HEX];

    cb_hex(id, CB_PACK_ID_BYTES, hex);
    snprintf(out, CB_KEY_MAX, "pack/%.2s/%s", hex, hex);
    return out;
}

const char *cb_key_session_packs(char out[CB_KEY_MAX], const uint8_t half[CB_PACK_ID_BYTES / 2])
{
    char hex[CB_PACK_ID_BYTES + 1];

    cb_hex(half, CB_PACK_ID_BYTES / 2, hex);
    snprintf(out, CB_KEY_MAX, "pack/%.2s/%s", hex, hex);
    return out;
}

const char *cb_key_index(char out[CB_KEY_MAX], const uint8_t id[CB_PACK_ID_BYTES])
{
    char hex[CB_PACK_HEX];

    cb_hex(id, CB_PACK_ID_BYTES, hex);
    snprintf(out, CB_KEY_MAX, "index/%s", hex);
    return out;
}

const char *cb_key_reclaim(char out[CB_KEY_MAX], uint64_t number, const char *what)
{
    snprintf(out, CB_KEY_MAX, "reclaim/%010" PRIu64 "/%s", number, what);
    return out;
}

/* Exactly ten digits at `text`. */
static bool parse_number(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    for (int i = 0; i < NUMBER_DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = value;
    return true;
}

/* The segment up to the next slash; NULL when it is empty, too long or the last. */
static const char *take_name(const char *text, char name[CB_NAME_MAX + 1])
{
    const char *slash = strchr(text, '/');
    size_t size = slash != NULL ? (size_t)(slash - text) : 0;

    if (size == 0 || size > CB_NAME_MAX)
        return NULL;
    memcpy(name, text, size);
    name[size] = '\0';
    return slash + 1;
}

bool cb_key_parse_session(const char *key, cb_session_key *out)
{
    const char *rest;

    if (!cb_has_prefix(key, "session/"))
        return false;
    rest = take_name(key + strlen("session/"), out->name);
    if (rest == NULL || !parse_number(rest, &out->number) || rest[NUMBER_DIGITS] != '/')
        return false;
    out->what = rest + NUMBER_DIGITS + 1;
    return true;
}

bool cb_key_parse_manifest(const char *key, char name[CB_NAME_MAX + 1], uint64_t *number,
                           char label[CB_REF_LABEL_MAX])
{
    const char *rest;
    size_t size;

    if (!cb_has_prefix(key, "manifest/"))
        return false;
    rest = take_name(key + strlen("manifest/"), name);
    if (rest == NULL || !cb_is_name(name) || !parse_number(rest, number) ||
        rest[NUMBER_DIGITS] != '-')
        return false;
    rest += NUMBER_DIGITS + 1;
    size = strlen(rest);
    if (size == 0 || size >= CB_REF_LABEL_MAX || strchr(rest, '/') != NULL)
        return false;
    memcpy(label, rest, size + 1);
    return true;
}

bool cb_key_parse_pack(const char *key, uint8_t id[CB_PACK_ID_BYTES])
{
    const char *hex = key + strlen("pack/XX/");

    return cb_has_prefix(key, "pack/") && strlen(key) == strlen("pack/XX/") + 32 &&
           key[strlen("pack/XX")] == '/' && memcmp(key + strlen("pack/"), hex, 2) == 0 &&
           cb_unhex(hex, CB_PACK_ID_BYTES, id);
}

bool cb_key_parse_index(const char *key, uint8_t id[CB_PACK_ID_BYTES])
{
    return cb_has_prefix(key, "index/") && strlen(key) == strlen("index/") + 32 &&
           cb_unhex(key + strlen("index/"), CB_PACK_ID_BYTES, id);
}

bool cb_key_parse_reclaim(const char *key, uint64_t *number, const char **what)
{
    const char *rest = key + strlen("reclaim/");

    if (!cb_has_prefix(key, "reclaim/") || !parse_number(rest, number) ||
        rest[NUMBER_DIGITS] != '/')
        return false;
    *what = rest + NUMBER_DIGITS + 1;
    return true;
}
