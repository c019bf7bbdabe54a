/*
 * s3_bucket.c - what the bucket is: versions, locks, clock. Each is asked once, when it is needed
 * first; who may not ask works with "unknown".
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>

#include "base/text.h"

#define CLOCK_OLD_US INT64_C(3600000000) /* clocks drift: ask again */
#define DAY_US       INT64_C(86400000000)

static cb_code ask(cb_s3_store *self, const char *what, cb_http_response *response, cb_error *err)
{
    cb_pair query[] = {{what, ""}};
    cb_s3_call call = {.query = query, .query_count = 1};

    return cb_s3_send(self, &call, response, err);
}

/* Is this an answer to learn from? Without the right to ask, or in a store that has no such
   question, it stays unknown, and that is no failure. */
static cb_code check_answer(cb_s3_store *self, const cb_http_response *response, bool *told,
                            cb_error *err)
{
    *told = cb_s3_is_success(response);
    if (*told || response->status == 403 || response->status == 501 || response->status == 405 ||
        (response->status == 400 && !cb_s3_is_code(response, "InvalidBucketName")) ||
        (response->status == 404 && !cb_s3_is_code(response, "NoSuchBucket")))
        return CB_OK;
    return cb_s3_fail(self, response, "look at the bucket of", NULL, err);
}

/* Amazon wants to be told any region but its first; others know where they are. */
cb_code cb_s3_make_bucket(cb_store *store, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    cb_s3_store *self = (cb_s3_store *)store;
    cb_s3_call call = {.method = "PUT", .has_body = true};
    cb_bytes body;
    cb_code code = CB_OK;

    if (self->is_amazon && strcmp(self->region, "us-east-1") != 0)
        code = cb_buf_format(&text, err,
                             "<CreateBucketConfiguration><LocationConstraint>%s"
                             "</LocationConstraint></CreateBucketConfiguration>",
                             self->region);
    body = cb_buf_bytes(&text);
    if (text.size > 0) {
        call.body = &body;
        call.body_parts = 1;
    }
    if (code == CB_OK)
        code = cb_s3_send(self, &call, &response, err);
    if (code != CB_OK || cb_s3_is_success(&response) ||
        cb_s3_is_code(&response, "BucketAlreadyOwnedByYou"))
        return code;
    return cb_s3_fail(self, &response, "make the bucket of", NULL, err);
}

cb_code cb_s3_ask_versioning(cb_s3_store *self, cb_answer *out, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    char status[CB_S3_TEXT_MAX];
    bool is_known;
    bool told;
    cb_code code;

    pthread_mutex_lock(&self->lock);
    is_known = self->known.versioning_asked;
    *out = self->known.versioning;
    pthread_mutex_unlock(&self->lock);
    if (is_known)
        return CB_OK;
    code = ask(self, "versioning", &response, err);
    if (code == CB_OK)
        code = check_answer(self, &response, &told, err);
    if (code != CB_OK)
        return code;
    if (told) /* "Suspended" keeps the versions that there are */
        *out = cb_s3_find_text(cb_buf_bytes(&response.body), "Status", status)[0] != '\0'
                   ? CB_ANSWER_YES
                   : CB_ANSWER_NO;
    pthread_mutex_lock(&self->lock);
    self->known.versioning_asked = true;
    self->known.versioning = *out;
    pthread_mutex_unlock(&self->lock);
    return CB_OK;
}

/* "Days" or "Years" of the bucket's default. */
static int64_t default_retention(cb_bytes xml)
{
    char text[CB_S3_TEXT_MAX];
    cb_error ignored;
    uint64_t days = 0;
    uint64_t years = 0;

    if (cb_parse_u64(cb_s3_find_text(xml, "Days", text), &days, &ignored) != CB_OK || days > 36500)
        days = 0;
    if (cb_parse_u64(cb_s3_find_text(xml, "Years", text), &years, &ignored) != CB_OK || years > 100)
        years = 0;
    return (int64_t)(days + 365 * years) * DAY_US;
}

cb_code cb_s3_ask_locks(cb_s3_store *self, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    char enabled[CB_S3_TEXT_MAX];
    cb_answer answer = CB_ANSWER_UNKNOWN;
    cb_bytes body;
    bool is_known;
    bool told;
    cb_code code;

    pthread_mutex_lock(&self->lock);
    is_known = self->known.lock_asked;
    pthread_mutex_unlock(&self->lock);
    if (is_known)
        return CB_OK;
    code = ask(self, "object-lock", &response, err);
    if (code == CB_OK)
        code = check_answer(self, &response, &told, err);
    if (code != CB_OK)
        return code;
    body = cb_buf_bytes(&response.body);
    if (told)
        answer = strcmp(cb_s3_find_text(body, "ObjectLockEnabled", enabled), "Enabled") == 0
                     ? CB_ANSWER_YES
                     : CB_ANSWER_NO;
    else if (cb_s3_is_code(&response, "ObjectLockConfigurationNotFoundError"))
        answer = CB_ANSWER_NO;
    pthread_mutex_lock(&self->lock);
    self->known.lock_asked = true;
    self->known.object_lock = answer;
    self->known.retain_default_us = told ? default_retention(body) : 0;
    pthread_mutex_unlock(&self->lock);
    return CB_OK;
}

void cb_s3_facts(cb_store *store, cb_store_facts *out)
{
    cb_s3_store *self = cb_s3_of(store);

    memset(out, 0, sizeof(*out));
    out->kind = "s3";
    out->is_remote = true;
    cb_aws_source(self->aws, out->credentials);
    pthread_mutex_lock(&self->lock);
    snprintf(out->region, sizeof(out->region), "%s", self->region);
    if (self->is_amazon)
        snprintf(out->endpoint, sizeof(out->endpoint), "https://s3.%s.amazonaws.com", self->region);
    else
        snprintf(out->endpoint, sizeof(out->endpoint), "%s", self->endpoint);
    out->create_if_absent = self->is_amazon ? CB_ANSWER_YES : CB_ANSWER_UNKNOWN;
    out->checksums = self->is_amazon ? CB_ANSWER_YES : self->sums_told;
    out->versioning = self->known.versioning;
    out->object_lock = self->known.object_lock;
    out->retain_default_us = self->known.retain_default_us;
    pthread_mutex_unlock(&self->lock);
}

cb_code cb_s3_look(cb_store *store, cb_store_facts *out, cb_error *err)
{
    cb_answer versioning;
    cb_code code = cb_s3_ask_versioning(cb_s3_of(store), &versioning, err);

    if (code == CB_OK)
        code = cb_s3_ask_locks(cb_s3_of(store), err);
    if (code == CB_OK)
        cb_s3_facts(store, out);
    return code;
}

cb_code cb_s3_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_s3_store *self = cb_s3_of(store);
    cb_s3_call call = {.method = "HEAD"};
    int64_t mono = cb_monotonic_us();
    int64_t asked;
    cb_code code = CB_OK;

    pthread_mutex_lock(&self->lock);
    asked = self->clock_asked_us;
    pthread_mutex_unlock(&self->lock);
    if (asked == 0 || mono - asked > CLOCK_OLD_US)
        code = cb_s3_send(self, &call, &response, err); /* whatever the answer is, it is dated */
    if (code != CB_OK)
        return code;
    pthread_mutex_lock(&self->lock);
    asked = self->clock_asked_us;
    *out_us = cb_monotonic_us() + self->clock_offset_us;
    pthread_mutex_unlock(&self->lock);
    if (asked == 0)
        return cb_fail(err, CB_IO, "the store of '%.300s' does not say what time it is",
                       self->place.address);
    return CB_OK;
}
