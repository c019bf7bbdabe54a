/*
 * bucket.c - see bucket.h. What DuckDB writes in several ways is one bucket: so URLs are taken
 * apart first, and compared and put together by their parts.
 */
#include "source/ducklake/bucket.h"

#include "base/text.h"
#include "source/ducklake/catalog_internal.h"

static const char dfs_host[] = ".dfs.";
static const char blob_host[] = ".blob.";

/* As it is written here; the same family, the same bucket. `catalog`: what DuckDB knows. */
static const struct {
    const char *scheme, *ours, *catalog;
    char family;
} schemes[] = {
    {"s3", "s3", "s3", 's'},       {"s3a", "s3a", "s3a", 's'},  {"s3n", "s3", "s3n", 's'},
    {"s3c", "s3c", "s3", 's'},     {"r2", "r2", "r2", 's'},     {"gs", "gs", "gs", 'g'},
    {"gcs", "gcs", "gcs", 'g'},    {"az", "az", "az", 'a'},     {"azure", "az", "azure", 'a'},
    {"abfss", "az", "abfss", 'a'}, {"abfs", "az", "abfs", 'a'},
};

/* Pieces of one URL; none ends in a NUL. */
typedef struct parts {
    char family;
    const char *ours;
    const char *host; /* of an Azure account; size 0: none is named */
    size_t host_size;
    const char *bucket;
    size_t bucket_size;
    size_t size; /* of all of it */
} parts;

static int find_scheme(const char *url, size_t size)
{
    for (size_t i = 0; i < CB_LENGTH(schemes); i++)
        if (strlen(schemes[i].scheme) == size && strncmp(url, schemes[i].scheme, size) == 0)
            return (int)i;
    return -1;
}

static const char *find(const char *text, size_t size, const char *what)
{
    return memmem(text, size, what, strlen(what));
}

static bool take_apart(const char *url, parts *out)
{
    size_t scheme = cb_lake_scheme_length(url);
    const char *at = url + scheme + 3;
    int row = scheme > 0 ? find_scheme(url, scheme) : -1;
    const char *sign;
    size_t size;

    if (row < 0)
        return false;
    size = strcspn(at, "/?");
    *out = (parts){.family = schemes[row].family,
                   .ours = schemes[row].ours,
                   .bucket = at,
                   .bucket_size = size,
                   .size = (size_t)(at - url) + size};
    if (out->family != 'a')
        return true;
    sign = memchr(at, '@', size);
    if (sign != NULL) {
        out->bucket_size = (size_t)(sign - at);
        out->host = sign + 1;
        out->host_size = size - out->bucket_size - 1;
    } else if (at[size] == '/' &&
               (find(at, size, blob_host) != NULL || find(at, size, dfs_host) != NULL)) {
        out->host = at;
        out->host_size = size;
        out->bucket = at + size + 1;
        out->bucket_size = strcspn(out->bucket, "/?");
        out->size += 1 + out->bucket_size;
    }
    return true;
}

/* The account and what follows its kind of interface: "acc", "core.windows.net". */
static void split_host(const parts *p, size_t *account, const char **suffix, size_t *suffix_size)
{
    const char *kind = find(p->host, p->host_size, blob_host);
    size_t length = sizeof(blob_host) - 1;

    if (kind == NULL) {
        kind = find(p->host, p->host_size, dfs_host);
        length = sizeof(dfs_host) - 1;
    }
    *account = kind != NULL ? (size_t)(kind - p->host) : p->host_size;
    *suffix = kind != NULL ? kind + length : p->host + p->host_size;
    *suffix_size = (size_t)(p->host + p->host_size - *suffix);
}

static bool same_text(const char *a, size_t a_size, const char *b, size_t b_size)
{
    return a_size == b_size && (a_size == 0 || memcmp(a, b, a_size) == 0);
}

static bool same_host(const parts *a, const parts *b)
{
    size_t a_account, b_account, a_size, b_size;
    const char *a_suffix, *b_suffix;

    if (a->host_size == 0 || b->host_size == 0)
        return a->host_size == b->host_size;
    split_host(a, &a_account, &a_suffix, &a_size);
    split_host(b, &b_account, &b_suffix, &b_size);
    return same_text(a->host, a_account, b->host, b_account) &&
           same_text(a_suffix, a_size, b_suffix, b_size);
}

const char *cb_lake_duckdb_scheme(const char *scheme)
{
    int row = find_scheme(scheme, strlen(scheme));

    return row >= 0 ? schemes[row].catalog : scheme;
}

size_t cb_lake_bucket_size(const char *url)
{
    parts p;

    return take_apart(url, &p) ? p.size : 0;
}

bool cb_lake_bucket_is_same(const char *url, const char *other)
{
    parts a, b;

    return take_apart(url, &a) && take_apart(other, &b) && a.family == b.family &&
           same_text(a.bucket, a.bucket_size, b.bucket, b.bucket_size) && same_host(&a, &b);
}

static cb_code append_host(const parts *p, cb_buf *out, cb_error *err)
{
    const char *suffix;
    size_t account, suffix_size;

    if (p->host_size == 0)
        return CB_OK;
    split_host(p, &account, &suffix, &suffix_size);
    return cb_buf_format(out, err, "%.*s%s%.*s/", (int)account, p->host, blob_host,
                         (int)suffix_size, suffix);
}

cb_code cb_lake_bucket_address(const char *url, const char *hint, cb_buf *out, cb_error *err)
{
    bool is_hinted = hint != NULL && cb_lake_bucket_is_same(url, hint);
    const char *from = is_hinted ? hint : url;
    parts p;
    cb_code code;

    if (!take_apart(from, &p))
        return cb_lake_unknown_scheme(url, err);
    code = cb_buf_format(out, err, "%s://", p.ours);
    if (code == CB_OK)
        code = append_host(&p, out, err);
    if (code == CB_OK)
        code = cb_buf_append(out, p.bucket, p.bucket_size, err);
    /* A '?' of a catalog's path is a part of the key. */
    if (code == CB_OK && is_hinted)
        code =
            cb_buf_append(out, hint + strcspn(hint, "?"), strlen(hint + strcspn(hint, "?")), err);
    return code == CB_OK ? cb_lake_terminate(out, err) : code;
}

cb_code cb_lake_unknown_scheme(const char *url, cb_error *err)
{
    size_t size = cb_lake_scheme_length(url);

    cb_fail(err, CB_UNSUPPORTED, "'%.*s://' is no place that this program reads data files from",
            (int)size, url);
    cb_hint(err, "There are local paths, s3://, gs:// and az://, and other names of these.");
    return err->code;
}
