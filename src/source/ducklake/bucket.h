/*
 * bucket.h - the bucket that a data file's URL means: as DuckDB spells it, and as a store's address
 * is written here (storage/place.h).
 *
 *     s3://bucket   s3a://  s3n://  s3c://  r2://    S3, and what speaks it
 *     gs://bucket   gcs://                           Google
 *     az://container   azure://  abfss://  abfs://   Azure, the account by the usual conventions
 *     az://ACCOUNT.blob.core.windows.net/container   the account is named; also ACCOUNT.dfs....
 *     abfss://container@ACCOUNT.dfs.core.windows.net
 *
 * Azure's files are always read through its Blob interface, which every account has. A hint is an
 * address that was given by hand for this bucket or another, with settings behind '?'.
 */
#ifndef CB_SOURCE_DUCKLAKE_BUCKET_H
#define CB_SOURCE_DUCKLAKE_BUCKET_H

#include "base/ctx.h"

/* "s3c" is a scheme of this program; what a catalog is to say in place of it: "s3". */
const char *cb_lake_duckdb_scheme(const char *scheme);

/* Bytes of `url` that name its bucket: all before the slash in front of the key. 0: its scheme is
   that of no store here. */
size_t cb_lake_bucket_size(const char *url);

/* Appends the address of the bucket, with the settings of `hint` (or NULL) when it is of the same
   one, and a NUL that is not counted. CB_UNSUPPORTED: no store here has that scheme. */
CB_MUST_USE cb_code cb_lake_bucket_address(const char *url, const char *hint, cb_buf *out,
                                           cb_error *err);

/* Do both speak of one bucket? */
bool cb_lake_bucket_is_same(const char *url, const char *other);

/* The error of a URL whose scheme no store has. */
cb_code cb_lake_unknown_scheme(const char *url, cb_error *err);

#endif
