/*
 * engine_sql.c - ATTACH, with nothing in it that a message must not repeat.
 */
#include "source/ducklake/engine_sql.h"

#include <libpq-fe.h>

#include "source/duckdb/engine.h"

/* ---- PostgreSQL ----------------------------------------------------------------------------- */

void cb_engine_login_wipe(cb_engine_login *login)
{
    explicit_bzero(login, sizeof(*login));
}

/* keyword='value', with \ before ' and \ as libpq reads it. */
static cb_code append_keyword(cb_buf *out, const char *keyword, const char *value, cb_error *err)
{
    cb_code code = cb_buf_format(out, err, "%s%s='", out->size > 0 ? " " : "", keyword);

    for (; code == CB_OK && *value != '\0'; value++) {
        if (*value == '\'' || *value == '\\')
            code = cb_buf_u8(out, '\\', err);
        if (code == CB_OK)
            code = cb_buf_u8(out, (uint8_t)*value, err);
    }
    return code == CB_OK ? cb_buf_u8(out, '\'', err) : code;
}

static cb_code take_option(const PQconninfoOption *option, cb_buf *text, cb_engine_login *out,
                           cb_error *err)
{
    const char *value = option->val;
    char *secret = NULL;

    if (strcmp(option->keyword, "password") == 0)
        secret = out->password;
    else if (strcmp(option->keyword, "sslpassword") == 0)
        secret = out->ssl_password;
    if (secret != NULL) {
        if (strlen(value) >= sizeof(out->password))
            return cb_fail(err, CB_USAGE, "the password is longer than %zu bytes",
                           sizeof(out->password) - 1);
        memcpy(secret, value, strlen(value) + 1);
        if (secret == out->password)
            return CB_OK;
    }
    return append_keyword(text, option->keyword, value, err);
}

cb_code cb_engine_login_split(const char *conninfo, cb_engine_login *out, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf text = {.limit = sizeof(out->conninfo) - 1};
    char *problem = NULL;
    PQconninfoOption *options = PQconninfoParse(conninfo, &problem);
    cb_code code = CB_OK;

    memset(out, 0, sizeof(*out));
    if (problem != NULL)
        PQfreemem(problem); /* it may repeat a password */
    if (options == NULL)
        return cb_fail(err, CB_USAGE, "the lake's connection string is none that libpq reads");
    for (const PQconninfoOption *at = options; code == CB_OK && at->keyword != NULL; at++)
        if (at->val != NULL && at->val[0] != '\0')
            code = take_option(at, &text, out, err);
    PQconninfoFree(options);
    if (code != CB_OK)
        return code;
    if (text.size > 0)
        memcpy(out->conninfo, text.data, text.size);
    return CB_OK;
}

/* ---- ATTACH --------------------------------------------------------------------------------- */

static cb_code append(cb_buf *sql, const char *text, cb_error *err)
{
    return cb_buf_append(sql, text, strlen(text), err);
}

static cb_code append_target(cb_buf *sql, const cb_lake_address *address,
                             const cb_engine_login *login, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf target = {0};
    const char *prefix = "";
    cb_code code;

    switch (address->kind) {
    case CB_LAKE_DUCKDB:
        prefix = "ducklake:";
        break;
    case CB_LAKE_SQLITE:
        prefix = "ducklake:sqlite:";
        break;
    case CB_LAKE_POSTGRES:
        prefix = "ducklake:postgres:";
        break;
    }
    code = cb_buf_format(&target, err, "%s%s", prefix,
                         login != NULL ? login->conninfo : address->path);
    return code == CB_OK ? cb_duck_quote(sql, '\'', (const char *)target.data, err) : code;
}

static cb_code append_option(cb_buf *sql, const char *name, const char *value, cb_error *err)
{
    cb_code code = append(sql, name, err);

    return code == CB_OK ? cb_duck_quote(sql, '\'', value, err) : code;
}

cb_code cb_engine_attach_sql(cb_buf *sql, const cb_lake_address *address,
                             const cb_engine_login *login, const cb_lake_engine_options *options,
                             cb_error *err)
{
    bool may_create_option = options->version == NULL;
    cb_code code = append(sql, "ATTACH ", err);

    if (code == CB_OK)
        code = append_target(sql, address, login, err);
    if (code == CB_OK)
        code = append(sql, options->write ? " AS lake (READ_WRITE" : " AS lake (READ_ONLY", err);
    /* A lake that went away meanwhile must not come back empty; old engines read only anyway. */
    if (code == CB_OK && may_create_option)
        code = append(sql, ", CREATE_IF_NOT_EXISTS FALSE", err);
    if (code == CB_OK && !address->schema_is_default)
        code = append_option(sql, ", METADATA_SCHEMA ", address->schema, err);
    if (code == CB_OK && options->data_path != NULL)
        code = append_option(sql, ", OVERRIDE_DATA_PATH TRUE, DATA_PATH ", options->data_path, err);
    if (code == CB_OK && options->migrate)
        code = append(sql, ", AUTOMATIC_MIGRATION TRUE", err);
    if (code == CB_OK)
        code = append(sql, ")", err);
    return code;
}
