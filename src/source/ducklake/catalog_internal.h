/*
 * catalog_internal.h - what the files that read a catalog share: paths made whole.
 */
#ifndef CB_SOURCE_DUCKLAKE_CATALOG_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_CATALOG_INTERNAL_H

#include "source/ducklake/catalog.h"

/* Length of "s3" in "s3://...", 0 for a local path. */
size_t cb_lake_scheme_length(const char *url);

/*
 * Set `out` to the one spelling of a path: a local one is absolute (below `base` when it is not),
 * without "file://", empty parts and "." parts; ".." stays, since only the file system knows what
 * it means. What has another scheme is as it is: in a bucket every byte counts. NUL behind.
 * Errors: CB_UNSUPPORTED (a file on another host).
 */
CB_MUST_USE cb_code cb_lake_path_tidy(const char *base, const char *text, cb_buf *out,
                                      cb_error *err);

/* Is a part of this path ".."? Such a path may lead out of the place that it begins with. */
bool cb_lake_path_climbs(const char *path);

/* Append a NUL that is not counted. */
CB_MUST_USE cb_code cb_lake_terminate(cb_buf *buf, cb_error *err);

#endif
