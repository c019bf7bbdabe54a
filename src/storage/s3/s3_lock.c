/*
 * s3_lock.c - object lock, always in compliance mode: governance mode can be lifted by those who
 * may.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>

#include "base/time.h"

const char *cb_s3_date(int64_t us, char out[CB_S3_DATE_MAX])
{
    int64_t second = INT64_C(1000000);

    return cb_format_rfc3339((us + second - 1) / second * second, out);
}

static bool is_no_lock(const cb_http_response *response)
{
    cb_s3_failure failure;

    if (response->status != 400 && response->status != 404)
        return false;
    cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure);
    return strcmp(failure.code, "ObjectLockConfigurationNotFoundError") == 0 ||
           strcmp(failure.code, "InvalidRequest") == 0;
}

cb_code cb_s3_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_s3_store *self = cb_s3_of(store);
    char xml[256];
    char date[CB_S3_DATE_MAX];
    char sum[CB_S3_SUM_HEADER_MAX];
    const char *headers[] = {"Content-Type: application/xml", sum, NULL};
    cb_pair query[] = {{"retention", ""}};
    cb_bytes body;
    cb_s3_call call = {.method = "PUT",
                       .key = key,
                       .query = query,
                       .query_count = 1,
                       .headers = headers,
                       .body = &body,
                       .body_parts = 1,
                       .has_body = true};
    int64_t before_us;
    cb_error ignored = {0};
    cb_code code;

    snprintf(xml, sizeof(xml),
             "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>COMPLIANCE</Mode>"
             "<RetainUntilDate>%s</RetainUntilDate></Retention>",
             cb_s3_date(until_us, date));
    body = cb_bytes_of(xml, strlen(xml));
    cb_s3_body_sum(body, sum);
    code = cb_s3_send(self, &call, &response, err);
    if (code != CB_OK || cb_s3_is_success(&response))
        return code;
    /* To shorten it is refused, too: locked longer than asked for is what was wanted. */
    if (response.status != 404 && cb_s3_retained(store, key, &before_us, &ignored) == CB_OK &&
        before_us >= until_us)
        return CB_OK;
    if (is_no_lock(&response))
        return cb_s3_fail_no_locks(self, err);
    return cb_s3_fail(self, &response, "lock", key, err);
}

static int64_t retained_by(const char *mode, const char *date)
{
    int64_t until_us;

    if (mode == NULL || date == NULL || strcmp(mode, "COMPLIANCE") != 0 ||
        !cb_http_time(date, &until_us))
        return 0;
    return until_us;
}

/* An answer to HEAD tells it too, to those who may see it. */
static cb_code retained_by_head(cb_s3_store *self, const char *key, const char *version,
                                int64_t *until_us, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_code code = cb_s3_head(self, key, version, &response, err);

    if (code != CB_OK)
        return code;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self, &response, "look at the lock of", key, err);
    *until_us = retained_by(cb_http_header(&response, "x-amz-object-lock-mode"),
                            cb_http_header(&response, "x-amz-object-lock-retain-until-date"));
    return CB_OK;
}

cb_code cb_s3_retained(cb_store *store, const char *key, int64_t *until_us, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_s3_store *self = cb_s3_of(store);
    char mode[CB_S3_TEXT_MAX];
    char date[CB_S3_TEXT_MAX];
    cb_pair query[] = {{"retention", ""}};
    cb_s3_call call = {.key = key, .query = query, .query_count = 1};
    cb_bytes body;
    cb_code code = cb_s3_send(self, &call, &response, err);

    *until_us = 0;
    if (code != CB_OK)
        return code;
    if (!cb_s3_is_success(&response)) /* not locked, or not told: HEAD knows which */
        return retained_by_head(self, key, NULL, until_us, err);
    body = cb_buf_bytes(&response.body);
    *until_us = retained_by(cb_s3_find_text(body, "Mode", mode),
                            cb_s3_find_text(body, "RetainUntilDate", date));
    return CB_OK;
}

cb_code cb_s3_version_retained(cb_store *store, const char *key, const char *version,
                               int64_t *until_us, cb_error *err)
{
    return retained_by_head(cb_s3_of(store), key, version, until_us, err);
}
