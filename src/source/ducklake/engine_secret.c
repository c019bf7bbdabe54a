/*
 * engine_secret.c - what lets the engine read a bucket: the credentials that the program itself
 * would use there, as a CREATE SECRET.
 *
 * The statement is the one place where a secret stands in SQL: it goes to the engine by its socket,
 * is wiped here, and no message repeats what the engine says of it.
 */
#include "source/ducklake/engine_sql.h"

#include <stdio.h>

#include "base/text.h"
#include "codec/checksum.h"
#include "source/duckdb/engine.h"
#include "source/ducklake/bucket.h"
#include "source/ducklake/catalog_internal.h"
#include "source/ducklake/engine_wire.h"
#include "storage/auth/auth.h"

static cb_code append(cb_buf *sql, const char *text, cb_error *err)
{
    return cb_buf_append(sql, text, strlen(text), err);
}

static cb_code append_option(cb_buf *sql, const char *name, const char *value, cb_error *err)
{
    cb_code code = append(sql, name, err);

    return code == CB_OK ? cb_duck_quote(sql, '\'', value, err) : code;
}

/* Everything that was found out about one bucket; wiped. */
typedef struct bucket_access {
    cb_ctx *ctx;
    cb_place place;
    cb_http *http;
    cb_aws *aws;
    cb_gcp *gcp;
    cb_az *az;
    union {
        cb_aws_keys keys;
        char token[CB_AUTH_TOKEN_MAX];
        cb_az_auth az;
    } found;
} bucket_access;

static void access_free(bucket_access *access)
{
    cb_aws_free(access->aws);
    cb_gcp_free(access->gcp);
    cb_az_free(access->az);
    cb_http_free(access->http);
    explicit_bzero(access, sizeof(*access));
}

/* "scheme://bucket/" of `url`, as it is spelled: with the slash, "s3://lake" is not "s3://lake2".
 */
static cb_code scope_of(const char *url, size_t size, char out[CB_PLACE_TEXT_MAX], cb_error *err)
{
    if ((size_t)snprintf(out, CB_PLACE_TEXT_MAX, "%.*s/", (int)size, url) >= CB_PLACE_TEXT_MAX)
        return cb_fail(err, CB_TOO_LARGE, "the address of a bucket is too long");
    return CB_OK;
}

/* DuckDB wants host and port, and by a switch of its own whether it is https. */
static cb_code append_endpoint(cb_buf *sql, const char *endpoint, cb_error *err)
{
    const char *host = strstr(endpoint, "://");
    bool is_plain = cb_has_prefix(endpoint, "http://");
    cb_code code;

    if (endpoint[0] == '\0')
        return CB_OK;
    code = append_option(sql, ", ENDPOINT ", host != NULL ? host + 3 : endpoint, err);
    if (code == CB_OK)
        code = append(sql, is_plain ? ", USE_SSL FALSE" : ", USE_SSL TRUE", err);
    return code;
}

static cb_code s3_secret(bucket_access *access, cb_buf *sql, cb_error *err)
{
    const cb_place *place = &access->place;
    const char *endpoint, *region;
    cb_aws_keys *keys = &access->found.keys;
    bool path_style;
    cb_code code = cb_aws_new(access->ctx, access->http, place, &access->aws, err);

    if (code == CB_OK)
        code = cb_aws_keys_get(access->aws, false, keys, err);
    if (code != CB_OK)
        return code;
    endpoint = place->endpoint[0] != '\0' ? place->endpoint : cb_aws_endpoint(access->aws);
    region = place->region[0] != '\0' ? place->region : cb_aws_region(access->aws);
    path_style = place->path_style || (place->endpoint[0] == '\0' && endpoint[0] != '\0');
    code = append(sql, place->scheme[0] == 'g' ? "(TYPE gcs" : "(TYPE s3", err);
    if (code == CB_OK && !keys->anonymous)
        code = append_option(sql, ", KEY_ID ", keys->access_key, err);
    if (code == CB_OK && !keys->anonymous)
        code = append_option(sql, ", SECRET ", keys->secret, err);
    if (code == CB_OK && !keys->anonymous && keys->token[0] != '\0')
        code = append_option(sql, ", SESSION_TOKEN ", keys->token, err);
    if (code == CB_OK)
        code = append_option(sql, ", REGION ", region[0] != '\0' ? region : "us-east-1", err);
    if (code == CB_OK && path_style)
        code = append(sql, ", URL_STYLE 'path'", err);
    return code == CB_OK ? append_endpoint(sql, endpoint, err) : code;
}

/* By its interface for S3's clients, which is at the same server; it takes tokens too. */
static cb_code gs_secret(bucket_access *access, cb_buf *sql, cb_error *err)
{
    cb_code code = cb_gcp_new(access->ctx, access->http, &access->place, &access->gcp, err);
    const char *endpoint = "";

    if (code == CB_OK)
        code = cb_gcp_token(access->gcp, false, access->found.token, err);
    if (code == CB_OK)
        code = append(sql, "(TYPE gcs", err);
    if (code == CB_OK && access->found.token[0] != '\0')
        code = append_option(sql, ", BEARER_TOKEN ", access->found.token, err);
    if (code == CB_OK)
        endpoint = cb_gcp_endpoint(access->gcp);
    /* DuckDB knows the usual one by itself. */
    return code == CB_OK && strcmp(endpoint, CB_GCP_ENDPOINT) != 0
               ? append_endpoint(sql, endpoint, err)
               : code;
}

static cb_code az_secret(bucket_access *access, cb_buf *sql, cb_error *err)
{
    cb_az_auth *auth = &access->found.az;
    CB_CLEANUP(cb_wire_wipe) cb_buf text = {0};
    char key[CB_BASE64_SIZE(sizeof(auth->key))];
    cb_code code = cb_az_new(access->ctx, access->http, &access->place, &access->az, err);

    if (code == CB_OK)
        code = cb_az_get(access->az, false, auth, err);
    if (code != CB_OK)
        return code;
    code = append(sql, "(TYPE azure", err);
    if (code == CB_OK && auth->how == CB_AZ_BEARER) {
        code = append_option(sql, ", PROVIDER access_token, ACCESS_TOKEN ", auth->text, err);
        if (code == CB_OK)
            code = append_option(sql, ", ACCOUNT_NAME ", cb_az_account(access->az), err);
        return code;
    }
    if (code == CB_OK)
        code = cb_buf_format(&text, err, "BlobEndpoint=%s;AccountName=%s;",
                             cb_az_endpoint(access->az), cb_az_account(access->az));
    if (code == CB_OK && auth->how == CB_AZ_SAS)
        code = cb_buf_format(&text, err, "SharedAccessSignature=%s;", auth->text);
    if (code == CB_OK && auth->how == CB_AZ_SHARED_KEY)
        code =
            cb_buf_format(&text, err, "AccountKey=%s;", cb_base64(auth->key, auth->key_size, key));
    explicit_bzero(key, sizeof(key));
    if (code == CB_OK)
        code = append_option(sql, ", CONNECTION_STRING ", (const char *)text.data, err);
    return code;
}

static cb_code find_place(cb_ctx *ctx, const char *url, const char *hint, cb_place *out,
                          cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf address = {0};
    cb_code code = cb_lake_bucket_address(url, hint, &address, err);

    return code == CB_OK ? cb_place_parse(ctx, (const char *)address.data, out, err) : code;
}

static cb_code append_secret(bucket_access *access, cb_buf *sql, cb_error *err)
{
    switch (access->place.kind) {
    case CB_PLACE_S3:
        return s3_secret(access, sql, err);
    case CB_PLACE_GS:
        return gs_secret(access, sql, err);
    case CB_PLACE_AZ:
        return az_secret(access, sql, err);
    case CB_PLACE_FOLDER:
        break;
    }
    return cb_fail(err, CB_INTERNAL, "a folder has no secret");
}

cb_code cb_engine_secret_sql(cb_ctx *ctx, const char *url, const char *hint, cb_buf *sql,
                             const char **extension, cb_error *err)
{
    size_t bucket = cb_lake_bucket_size(url);
    bucket_access access = {.ctx = ctx};
    cb_http_settings http = {0};
    char scope[CB_PLACE_TEXT_MAX];
    cb_code code;

    *extension = NULL;
    if (bucket == 0)
        return CB_OK;
    code = scope_of(url, bucket, scope, err);
    if (code == CB_OK)
        code = find_place(ctx, url, hint, &access.place, err);
    if (code == CB_OK)
        code = cb_http_new(ctx, &http, &access.http, err);
    if (code == CB_OK)
        code = cb_buf_format(sql, err, "CREATE OR REPLACE SECRET ");
    if (code == CB_OK)
        code = cb_duck_quote(sql, '"', scope, err);
    if (code == CB_OK)
        code = append(sql, " ", err);
    if (code == CB_OK) {
        *extension = access.place.kind == CB_PLACE_AZ ? "azure" : "httpfs";
        code = append_secret(&access, sql, err);
    }
    if (code == CB_OK)
        code = append_option(sql, ", SCOPE ", scope, err);
    if (code == CB_OK)
        code = append(sql, ")", err);
    if (code == CB_OK)
        code = cb_lake_terminate(sql, err); /* for the engine */
    access_free(&access);
    return code == CB_OK ? CB_OK : cb_context(err, "credentials of '%.200s' for DuckDB", scope);
}
