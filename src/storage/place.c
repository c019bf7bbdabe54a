/*
 * place.c - addresses taken apart. What is not understood is refused, never guessed: an address
 * read wrongly would be a backup in the wrong place. Messages quote an address only as far as the
 * '?', since people do put secrets behind it.
 */
#include "storage/place.h"

#include <stdio.h>

#include "base/text.h"
#include "storage/http/http.h"

enum { PREFIX_MAX = 400 }; /* with a key of CB_KEY_MAX behind it, S3's 1,024 bytes are kept */

static const struct {
    const char *scheme;
    cb_place_kind kind;
    bool is_compatible; /* with S3, at an endpoint that must be named */
} schemes[] = {
    {"file", CB_PLACE_FOLDER, false}, {"s3", CB_PLACE_S3, false}, {"s3a", CB_PLACE_S3, false},
    {"s3c", CB_PLACE_S3, true},       {"r2", CB_PLACE_S3, true},  {"gs", CB_PLACE_GS, false},
    {"gcs", CB_PLACE_GS, false},      {"az", CB_PLACE_AZ, false}, {"azure", CB_PLACE_AZ, false},
};

/* Length of "word" in "word://...", else 0. */
static size_t scheme_length(const char *address)
{
    size_t length =
        strspn(address, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return length > 0 && cb_has_prefix(address + length, "://") ? length : 0;
}

/* Its row, or -1. */
static int find_scheme(const char *address, size_t length)
{
    for (size_t i = 0; i < CB_LENGTH(schemes); i++)
        if (strlen(schemes[i].scheme) == length && strncmp(address, schemes[i].scheme, length) == 0)
            return (int)i;
    return -1;
}

bool cb_place_is_remote(const char *address)
{
    int row = find_scheme(address, scheme_length(address));

    return row >= 0 && schemes[row].kind != CB_PLACE_FOLDER;
}

/* ---- pieces --------------------------------------------------------------------------------- */

static cb_code copy(char *to, size_t room, const char *from, size_t size, const char *what,
                    cb_error *err)
{
    if (size >= room)
        return cb_fail(err, CB_USAGE, "the %s of an address is longer than %zu bytes", what,
                       room - 1);
    memcpy(to, from, size);
    to[size] = '\0';
    return CB_OK;
}

static bool consists_of(const char *text, const char *letters)
{
    return text[strspn(text, letters)] == '\0';
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static cb_code check_bucket(const cb_place *place, cb_error *err)
{
    const char *name = place->bucket;

    if (name[0] == '\0') {
        cb_fail(err, CB_USAGE, "'%s' names no bucket", place->address);
        cb_hint(err, "Write %s://bucket/prefix.", place->scheme);
        return err->code;
    }
    /* '$' begins the names of Azure's own containers. */
    if (!consists_of(name + (place->kind == CB_PLACE_AZ && name[0] == '$'), LETTERS "-_.") ||
        name[0] == '.' || strstr(name, "..") != NULL) {
        /* Not repeated: it may be user:password@host. */
        cb_fail(err, CB_USAGE, "what stands behind %s:// cannot be the name of a bucket",
                place->scheme);
        cb_hint(err, "Write %s://bucket/prefix; a server belongs into ?endpoint=.", place->scheme);
        return err->code;
    }
    return CB_OK;
}

static cb_code check_prefix(const cb_place *place, cb_error *err)
{
    if (place->prefix[0] == '\0')
        return CB_OK;
    if (strlen(place->prefix) > PREFIX_MAX)
        return cb_fail(err, CB_USAGE, "the prefix in '%.64s...' is longer than %d bytes",
                       place->address, PREFIX_MAX);
    if (!cb_key_is_plain(place->prefix)) {
        cb_fail(err, CB_USAGE, "'%s' cannot be a prefix in a bucket", place->prefix);
        cb_hint(err, "No part of it may be empty, '.' or '..', or have control characters.");
        return err->code;
    }
    return CB_OK;
}

/* A server without secrets, path or query; with a scheme, https where none is written. */
static cb_code set_endpoint(cb_place *place, const char *value, bool without_tls, cb_error *err)
{
    bool has_scheme = cb_has_prefix(value, "http://") || cb_has_prefix(value, "https://");
    const char *host = has_scheme ? strstr(value, "://") + 3 : value;
    size_t size = strlen(host);

    if (value[0] == '\0') {
        place->endpoint[0] = '\0';
        return CB_OK;
    }
    while (size > 0 && host[size - 1] == '/')
        size--;
    if (size == 0 || strchr(host, '@') != NULL || strspn(host, LETTERS "-_.:[]/") < size ||
        (place->kind == CB_PLACE_S3 && memchr(host, '/', size) != NULL)) {
        cb_fail(err, CB_USAGE, "the endpoint of '%s' is no address of a server", place->address);
        cb_hint(err, "Write host:port, http://host:port or https://host:port.");
        return err->code;
    }
    if (snprintf(place->endpoint, sizeof(place->endpoint), "%.*s%.*s",
                 has_scheme ? (int)(host - value) : 8,
                 has_scheme    ? value
                 : without_tls ? "http://"
                               : "https://",
                 (int)size, host) >= (int)sizeof(place->endpoint))
        return cb_fail(err, CB_USAGE, "the endpoint of '%s' is too long", place->address);
    return CB_OK;
}

/* ---- settings behind '?' -------------------------------------------------------------------- */

/* What an address said for itself; the rest is filled from the context. */
typedef struct said {
    char endpoint[512];
    bool has_endpoint, has_region, has_key, has_style, path_style, without_tls;
} said;

static bool is_secret(const char *name)
{
    static const char *const words[] = {"secret", "token", "password", "sas", "account_key", "sig"};

    for (size_t i = 0; i < CB_LENGTH(words); i++)
        if (strcasestr(name, words[i]) != NULL)
            return true;
    return strcmp(name, "passphrase") == 0 || strcmp(name, "key") == 0;
}

static cb_code set_flag(const char *name, const char *value, bool *out, cb_error *err)
{
    if (cb_parse_bool(value, out, err) != CB_OK)
        return cb_context(err, "%s in an address", name);
    return CB_OK;
}

static cb_code set_url_style(const char *value, said *own, cb_error *err)
{
    own->has_style = true;
    own->path_style = strcmp(value, "path") == 0;
    if (!own->path_style && strcmp(value, "vhost") != 0)
        return cb_fail(err, CB_USAGE, "url_style is 'path' or 'vhost', not '%.40s'", value);
    return CB_OK;
}

static cb_code apply(cb_place *place, said *own, const char *name, const char *value, cb_error *err)
{
    size_t size = strlen(value);
    bool flag;
    cb_code code;

    if (strcmp(name, "endpoint") == 0) {
        own->has_endpoint = true;
        return copy(own->endpoint, sizeof(own->endpoint), value, size, "endpoint", err);
    }
    if (strcmp(name, "region") == 0) {
        own->has_region = true;
        return copy(place->region, sizeof(place->region), value, size, "region", err);
    }
    if (strcmp(name, "access_key_id") == 0) {
        own->has_key = true;
        return copy(place->access_key_id, sizeof(place->access_key_id), value, size, name, err);
    }
    if (strcmp(name, "url_style") == 0)
        return set_url_style(value, own, err);
    if (strcmp(name, "s3_path_style") == 0) {
        own->has_style = true;
        return set_flag(name, value, &own->path_style, err);
    }
    if (strcmp(name, "use_ssl") == 0) {
        code = set_flag(name, value, &flag, err);
        own->without_tls = !flag;
        return code;
    }
    if (strcmp(name, "profile") == 0)
        return copy(place->profile, sizeof(place->profile), value, size, name, err);
    if (strcmp(name, "account") == 0)
        return copy(place->account, sizeof(place->account), value, size, name, err);
    if (strcmp(name, "passphrase_file") == 0)
        return copy(place->passphrase_file, sizeof(place->passphrase_file), value, size, name, err);
    if (is_secret(name)) {
        cb_fail(err, CB_USAGE, "a secret does not belong into an address");
        cb_hint(err, "Addresses are seen in process lists and logs: use the environment or the "
                     "cloud's own files.");
        return err->code;
    }
    cb_fail(err, CB_USAGE, "'%.40s' is no setting of an address", name);
    cb_hint(err, "There are endpoint, region, access_key_id, s3_path_style, url_style, use_ssl, "
                 "profile, account and passphrase_file.");
    return err->code;
}

static cb_code read_settings(cb_place *place, const char *text, said *own, cb_error *err)
{
    while (*text != '\0') {
        char pair[CB_PLACE_TEXT_MAX];
        size_t size = strcspn(text, "&");
        char *value;
        cb_code code = copy(pair, sizeof(pair), text, size, "setting", err);

        if (code != CB_OK)
            return code;
        text += size + (text[size] == '&');
        value = strchr(pair, '=');
        if (value == NULL)
            return cb_fail(err, CB_USAGE, "a setting of '%s' has no '='", place->address);
        *value++ = '\0';
        if (!cb_url_decode(pair) || !cb_url_decode(value))
            return cb_fail(err, CB_USAGE, "a setting of '%s' has a '%%' that means nothing",
                           place->address);
        code = apply(place, own, pair, value, err);
        if (code != CB_OK)
            return code;
    }
    return CB_OK;
}

static cb_code fill_from(const cb_settings *settings, cb_place *place, const said *own,
                         bool is_compatible, cb_error *err)
{
    const char *endpoint = own->has_endpoint ? own->endpoint : settings->endpoint;
    const char *region = settings->region;
    const char *key = settings->access_key_id;
    cb_code code = CB_OK;

    if (endpoint != NULL)
        code = set_endpoint(place, endpoint, own->without_tls, err);
    if (code == CB_OK && !own->has_region && region != NULL)
        code = copy(place->region, sizeof(place->region), region, strlen(region), "region", err);
    if (code == CB_OK && !own->has_key && key != NULL)
        code = copy(place->access_key_id, sizeof(place->access_key_id), key, strlen(key),
                    "access key id", err);
    if (code != CB_OK)
        return code;
    if (!consists_of(place->region, LETTERS "-_."))
        return cb_fail(err, CB_USAGE, "'%s' cannot be a region", place->region);
    place->path_style =
        own->has_style ? own->path_style
                       : is_compatible || place->endpoint[0] != '\0' || settings->s3_path_style;
    return CB_OK;
}

/* ---- whole addresses ------------------------------------------------------------------------ */

/* Google's keys for clients of S3 (HMAC) are told by how they begin; with such a one, its interface
   for these clients is what is spoken. */
static void take_google_key(cb_place *place, const said *own)
{
    if (place->kind != CB_PLACE_GS || !cb_has_prefix(place->access_key_id, "GOOG"))
        return;
    place->kind = CB_PLACE_S3;
    if (place->endpoint[0] == '\0')
        snprintf(place->endpoint, sizeof(place->endpoint), "https://storage.googleapis.com");
    if (place->region[0] == '\0')
        snprintf(place->region, sizeof(place->region), "auto");
    place->path_style = !own->has_style || own->path_style;
}

static cb_code parse_folder(const char *address, const char *path, cb_place *out, cb_error *err)
{
    out->kind = CB_PLACE_FOLDER;
    if (path != address && path[0] != '/') {
        cb_fail(err, CB_USAGE, "'%s' names another host", address);
        cb_hint(err, "Write file:///path with three slashes.");
        return err->code;
    }
    if (path[0] == '\0')
        return cb_fail(err, CB_USAGE, "the address is empty");
    return copy(out->path, sizeof(out->path), path, strlen(path), "path", err);
}

/* az://ACCOUNT.blob.core.windows.net/container/prefix: the first part is no container. */
static cb_code take_azure_host(cb_place *place, const char **rest, said *own, cb_error *err)
{
    size_t size = strcspn(*rest, "/?");
    const char *dot = memchr(*rest, '.', size);

    if (place->kind != CB_PLACE_AZ || dot == NULL || !cb_has_prefix(dot, ".blob."))
        return CB_OK;
    if (size + sizeof("https://") > sizeof(own->endpoint) ||
        (size_t)(dot - *rest) >= sizeof(place->account))
        return cb_fail(err, CB_USAGE, "the host in an address is too long");
    snprintf(own->endpoint, sizeof(own->endpoint), "https://%.*s", (int)size, *rest);
    own->has_endpoint = true;
    snprintf(place->account, sizeof(place->account), "%.*s", (int)(dot - *rest), *rest);
    *rest += size + ((*rest)[size] == '/');
    return CB_OK;
}

static cb_code parse_bucket(const char *address, const char *rest, cb_place *out, said *own,
                            cb_error *err)
{
    size_t whole = strcspn(address, "?");
    size_t size;
    cb_code code = copy(out->address, sizeof(out->address), address, whole, "text", err);

    if (code == CB_OK)
        code = take_azure_host(out, &rest, own, err);
    if (code != CB_OK)
        return code;
    size = strcspn(rest, "/?");
    code = copy(out->bucket, sizeof(out->bucket), rest, size, "bucket", err);
    if (code == CB_OK)
        code = check_bucket(out, err);
    if (code != CB_OK)
        return code;
    rest += size + (rest[size] == '/');
    size = strcspn(rest, "?");
    if (size > 0 && rest[size - 1] == '/')
        size--;
    code = copy(out->prefix, sizeof(out->prefix), rest, size, "prefix", err);
    if (code == CB_OK)
        code = check_prefix(out, err);
    return code;
}

static cb_code parse(cb_ctx *ctx, const char *address, cb_place *out, cb_error *err)
{
    size_t length = scheme_length(address);
    const char *rest = address + length + 3;
    const char *settings = strchr(address, '?');
    said own = {0};
    int row;
    cb_code code;

    if (length == 0) {
        code = parse_folder(address, address, out, err);
        return code == CB_OK
                   ? copy(out->address, sizeof(out->address), address, strlen(address), "path", err)
                   : code;
    }
    row = find_scheme(address, length);
    if (row < 0) {
        cb_fail(err, CB_USAGE, "'%.*s://' is no known kind of place", (int)length, address);
        cb_hint(err, "Write a path, s3://, s3c://, gs:// or az://.");
        return err->code;
    }
    memcpy(out->scheme, address, length);
    out->kind = schemes[row].kind;
    if (out->kind == CB_PLACE_FOLDER) {
        code = parse_folder(address, rest, out, err);
        return code == CB_OK
                   ? copy(out->address, sizeof(out->address), address, strlen(address), "path", err)
                   : code;
    }
    code = parse_bucket(address, rest, out, &own, err);
    if (code == CB_OK && settings != NULL)
        code = read_settings(out, settings + 1, &own, err);
    if (code == CB_OK)
        code = fill_from(&ctx->settings, out, &own, schemes[row].is_compatible, err);
    if (code == CB_OK)
        take_google_key(out, &own);
    return code;
}

cb_code cb_place_parse(cb_ctx *ctx, const char *address, cb_place *out, cb_error *err)
{
    cb_code code;

    memset(out, 0, sizeof(*out));
    code = parse(ctx, address, out, err);
    if (code != CB_OK)
        memset(out, 0, sizeof(*out));
    return code;
}

const char *cb_place_shown(const char *address, char out[CB_PLACE_TEXT_MAX])
{
    size_t scheme = scheme_length(address);
    size_t end = strlen(address);
    size_t bucket;
    size_t at;

    if (!cb_place_is_remote(address)) {
        snprintf(out, CB_PLACE_TEXT_MAX, "%s", address);
        return out;
    }
    end = strcspn(address, "?");
    bucket = scheme + strcspn(address + scheme, "/") + 2;
    at = bucket;
    for (size_t i = bucket; i < end && address[i] != '/'; i++)
        if (address[i] == '@')
            at = i;
    snprintf(out, CB_PLACE_TEXT_MAX, "%.*s%s%.*s", (int)bucket, address, at > bucket ? "..." : "",
             (int)(end - at), address + at);
    return out;
}

cb_code cb_place_split(const char *address, char folder[CB_PLACE_TEXT_MAX],
                       char key[CB_KEY_MAX + 1], cb_error *err)
{
    size_t scheme = scheme_length(address);
    size_t begin = scheme > 0 ? scheme + 3 : 0;
    bool is_remote = cb_place_is_remote(address);
    size_t end = is_remote ? strcspn(address, "?") : strlen(address);
    size_t slash = end;
    cb_code code;

    folder[0] = '\0';
    key[0] = '\0';
    while (slash > begin && address[slash - 1] != '/')
        slash--;
    /* In a bucket there must be something in front of the slash, and behind it always. */
    if (slash == end || (is_remote && slash <= begin + 1)) {
        cb_fail(err, CB_USAGE, "'%.*s' names no object", (int)end, address);
        if (is_remote)
            cb_hint(err, "Write %.*s://bucket/name.", (int)scheme, address);
        return err->code;
    }
    code = copy(key, CB_KEY_MAX + 1, address + slash, end - slash, "last part", err);
    if (code != CB_OK)
        return code;
    if (!cb_key_is_plain(key))
        return cb_fail(err, CB_USAGE, "'%s' cannot be the name of an object", key);
    if (slash == begin)
        return copy(folder, CB_PLACE_TEXT_MAX, ".", 1, "path", err);
    if (slash - 1 + strlen(address + end) >= CB_PLACE_TEXT_MAX)
        return cb_fail(err, CB_USAGE, "an address is too long");
    /* "/x" lies in "/", "s3://b/x" in "s3://b". */
    snprintf(folder, CB_PLACE_TEXT_MAX, "%.*s%s", (int)(slash - (is_remote || slash > begin + 1)),
             address, address + end);
    return CB_OK;
}
