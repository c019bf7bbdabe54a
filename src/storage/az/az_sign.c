/*
 * az_sign.c - method, eleven standard headers, all x-ms- headers, account and path, the query.
 */
#include "storage/az/az_sign.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/time.h"
#include "storage/http/http.h"

enum { FIELDS_MAX = 48, NAME_MAX_BYTES = 64 };

/* A header or a parameter of the query: name in lower case, value as it is signed. */
typedef struct field {
    char name[NAME_MAX_BYTES];
    const char *value;
} field;

typedef struct fields {
    field items[FIELDS_MAX];
    size_t count;
} fields;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const field *)a)->name, ((const field *)b)->name);
}

static cb_code add(fields *to, const char *name, size_t name_size, const char *value, cb_error *err)
{
    field *next = &to->items[to->count];

    if (to->count == FIELDS_MAX || name_size >= sizeof(next->name))
        return cb_fail(err, CB_INTERNAL, "a request has too many headers to be signed");
    for (size_t i = 0; i < name_size; i++)
        next->name[i] = (char)tolower((unsigned char)name[i]);
    next->name[name_size] = '\0';
    next->value = value;
    to->count++;
    return CB_OK;
}

static cb_code add_headers(fields *to, const char *const *headers, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; headers != NULL && headers[i] != NULL && code == CB_OK; i++) {
        size_t size = strcspn(headers[i], ":");
        const char *value = headers[i] + size;

        if (*value == ':')
            value++;
        code = add(to, headers[i], size, value + strspn(value, " "), err);
    }
    return code;
}

static const char *value_of(const fields *of, const char *name)
{
    for (size_t i = 0; i < of->count; i++)
        if (strcmp(of->items[i].name, name) == 0)
            return of->items[i].value;
    return "";
}

static cb_code append_headers(const cb_az_signing *of, cb_buf *into, cb_error *err)
{
    /* Date stays empty: it is in x-ms-date. */
    static const char *const standard[] = {"content-encoding",
                                           "content-language",
                                           "content-length",
                                           "content-md5",
                                           "content-type",
                                           "",
                                           "if-modified-since",
                                           "if-match",
                                           "if-none-match",
                                           "if-unmodified-since",
                                           "range"};
    fields all = {.count = 0};
    cb_code code = add_headers(&all, of->headers, err);

    if (code == CB_OK)
        code = add_headers(&all, of->more, err);
    for (size_t i = 0; i < CB_LENGTH(standard) && code == CB_OK; i++) {
        if (strcmp(standard[i], "content-length") != 0)
            code = cb_buf_format(into, err, "%s\n", value_of(&all, standard[i]));
        else if (of->body_bytes > 0)
            code = cb_buf_format(into, err, "%llu\n", (unsigned long long)of->body_bytes);
        else
            code = cb_buf_format(into, err, "\n");
    }
    qsort(all.items, all.count, sizeof(all.items[0]), by_name);
    for (size_t i = 0; i < all.count && code == CB_OK; i++)
        if (strncmp(all.items[i].name, "x-ms-", 5) == 0)
            code = cb_buf_format(into, err, "%s:%s\n", all.items[i].name, all.items[i].value);
    return code;
}

static cb_code append_query(char *query, cb_buf *into, cb_error *err)
{
    fields all = {.count = 0};
    char *rest = NULL;
    cb_code code = CB_OK;

    for (char *pair = strtok_r(query, "&", &rest); pair != NULL && code == CB_OK;
         pair = strtok_r(NULL, "&", &rest)) {
        char *value = strchr(pair, '=');

        if (value != NULL)
            *value++ = '\0';
        if (!cb_url_decode(pair) || (value != NULL && !cb_url_decode(value)))
            return cb_fail(err, CB_INTERNAL, "a query cannot be signed");
        code = add(&all, pair, strlen(pair), value != NULL ? value : "", err);
    }
    qsort(all.items, all.count, sizeof(all.items[0]), by_name);
    for (size_t i = 0; i < all.count && code == CB_OK; i++)
        code = cb_buf_format(into, err, "\n%s:%s", all.items[i].name, all.items[i].value);
    return code;
}

static void text_free(char **text)
{
    free(*text);
}

static cb_code append_resource(const cb_az_signing *of, cb_buf *into, cb_error *err)
{
    const char *host = strstr(of->url, "://");
    const char *path = host != NULL ? strchr(host + 3, '/') : NULL;
    CB_CLEANUP(text_free) char *query = NULL;
    size_t size;
    cb_code code;

    if (path == NULL)
        return cb_fail(err, CB_INTERNAL, "a URL without a path cannot be signed");
    size = strcspn(path, "?");
    code = cb_buf_format(into, err, "/%s%.*s", of->account, (int)size, path);
    if (code != CB_OK || path[size] == '\0')
        return code;
    query = strdup(path + size + 1);
    return query != NULL ? append_query(query, into, err) : cb_fail_memory(err, strlen(path));
}

cb_code cb_az_string_to_sign(const cb_az_signing *of, cb_buf *into, cb_error *err)
{
    cb_code code = cb_buf_format(into, err, "%s\n", of->method);

    if (code == CB_OK)
        code = append_headers(of, into, err);
    return code == CB_OK ? append_resource(of, into, err) : code;
}

const char *cb_az_date(int64_t us, char out[CB_AZ_DATE_MAX])
{
    static const char days[] = "ThuFriSatSunMonTueWed"; /* 1 January 1970 was a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const int64_t day_us = INT64_C(86400) * 1000000;
    char text[CB_TIME_TEXT_MAX];
    unsigned year = 0, month = 1, day = 1;

    if (us < 0)
        us = 0;
    cb_format_rfc3339(us - us % 1000000, text); /* "2026-11-21T02:20:35Z" */
    (void)sscanf(text, "%4u-%2u-%2u", &year, &month, &day);
    snprintf(out, CB_AZ_DATE_MAX, "%.3s, %02u %.3s %04u %.8s GMT", days + us / day_us % 7 * 3, day,
             months + (month - 1) % 12 * 3, year, text + 11);
    return out;
}
