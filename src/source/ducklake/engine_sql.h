/*
 * engine_sql.h - the statements that make a lake visible to the engine: ATTACH, and the secrets for
 * the buckets that its files are in.
 */
#ifndef CB_SOURCE_DUCKLAKE_ENGINE_SQL_H
#define CB_SOURCE_DUCKLAKE_ENGINE_SQL_H

#include "source/ducklake/extension.h"

/* A password of PostgreSQL, kept out of every statement: it travels as PGPASSWORD of the child. */
typedef struct cb_engine_login {
    char conninfo[4096]; /* keywords, without the password */
    char password[512];  /* "" none */
    char ssl_password[512];
} cb_engine_login;
/* Errors: CB_USAGE for a string that libpq does not understand (it is not repeated). */
CB_MUST_USE cb_code cb_engine_login_split(const char *conninfo, cb_engine_login *out,
                                          cb_error *err);
void cb_engine_login_wipe(cb_engine_login *login); /* for CB_CLEANUP */

/* Append the ATTACH of `address` as database `lake`. `login` of PostgreSQL, else NULL. */
CB_MUST_USE cb_code cb_engine_attach_sql(cb_buf *sql, const cb_lake_address *address,
                                         const cb_engine_login *login,
                                         const cb_lake_engine_options *options, cb_error *err);

/*
 * Append the CREATE SECRET that lets the engine read `url`'s bucket, with the credentials that the
 * program itself would use; nothing for a local path. `extension`: which one the engine needs for
 * it ("httpfs", "azure"), NULL none. The buffer holds secrets: wipe it. `hint` NULL, or an address
 * with settings of its own, of the same bucket. Errors: those of the credentials' search.
 */
CB_MUST_USE cb_code cb_engine_secret_sql(cb_ctx *ctx, const char *url, const char *hint,
                                         cb_buf *sql, const char **extension, cb_error *err);

#endif
