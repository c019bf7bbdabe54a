/*
 * s3_write.c - uploads: one PUT up to WHOLE_MAX, so that a pack is one request; more as parts.
 *
 * Each request carries a checksum that the store compares before it answers, CRC64NVME where it is
 * known: of parts it adds up to that of the whole object, which is compared once more when they are
 * put together. And the answer is not believed alone: it must repeat the checksum, or the object is
 * looked at afterwards.
 *
 * An object of CB_PUT_NEW is created under If-None-Match: *. When that is refused after a repeated
 * request, the object may be our own, its answer lost: a nonce in its metadata tells.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "codec/checksum.h"
#include "storage/blob/writer.h"

/*
 * 10,000 parts are all there may be. When it is known about how long the object becomes, parts are
 * as small as lets PLANNED_PARTS of them hold it: 16 MiB up to 150 GB, 117 MiB for a terabyte. Else
 * their size doubles every 900, up to 1 GiB, which leads past 5 TiB. Memory is five parts.
 */
enum {
    WHOLE_MAX = 40 << 20,
    PART_BYTES = 16 << 20,
    GROW_EVERY = 900,
    GROW_MOST = 6,
    PLANNED_PARTS = 9000,
    IN_FLIGHT = 3,
    PARTS_MAX = 10000,
    TRIES = 3,
    HEADERS_MAX = 10,
    LINE_MAX = 160
};

#define NONCE "x-amz-meta-canvasback"

typedef struct part {
    char etag[160];
    uint64_t crc64, size;
} part;

typedef struct upload {
    cb_blob_upload base;
    cb_s3_store *store;
    char key[CB_OBJECT_KEY_MAX + 1];
    cb_put_options options;
    char nonce[CB_BLOB_NONCE_MAX];
    char id[CB_S3_TEXT_MAX]; /* of an upload in parts */
    cb_s3_sum sum;           /* of an upload in parts: as it was begun */

    pthread_mutex_t lock; /* guards the parts */
    part *parts;
    size_t part_capacity;
} upload;

/* The lines of one request. */
typedef struct lines {
    char text[HEADERS_MAX][LINE_MAX];
    const char *at[HEADERS_MAX + 1];
    size_t count;
} lines;

static void add_line(lines *to, const char *format, ...) CB_PRINTF(2, 3);

static void add_line(lines *to, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(to->text[to->count], LINE_MAX, format, args);
    va_end(args);
    to->at[to->count] = to->text[to->count];
    to->at[++to->count] = NULL;
}

static upload *of_upload(cb_blob_upload *base)
{
    return (upload *)base; /* the first member */
}

static uint64_t crc64_of(const cb_blob_body *body)
{
    uint64_t crc = 0;

    for (size_t i = 0; i < body->count; i++)
        crc = cb_crc64nvme(crc, body->pieces[i]);
    return crc;
}

/* ---- what the store knows ------------------------------------------------------------------- */

static cb_s3_sum sum_of(cb_s3_store *store)
{
    cb_s3_sum sum;

    pthread_mutex_lock(&store->lock);
    sum = store->sum;
    pthread_mutex_unlock(&store->lock);
    return sum;
}

/* Was it the checksum that this request was refused for? Then the next one goes without. */
static bool learn_sum(cb_s3_store *store, cb_s3_sum used, const cb_http_response *response)
{
    cb_s3_failure failure;

    if (used != CB_S3_SUM_CRC64NVME || (response->status != 400 && response->status != 501) ||
        !cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure))
        return false;
    if (strcasestr(failure.message, "checksum") == NULL &&
        strcmp(failure.code, "NotImplemented") != 0 && strcmp(failure.code, "InvalidArgument") != 0)
        return false;
    pthread_mutex_lock(&store->lock);
    store->sum = CB_S3_SUM_MD5;
    pthread_mutex_unlock(&store->lock);
    return true;
}

static cb_code fail_exists(const upload *self, cb_error *err)
{
    return cb_fail(err, CB_EXISTS, "there is an object '%s' in '%.300s' already", self->key,
                   self->store->place.address);
}

/* Is what lies under our key the object that we sent? CB_NOT_FOUND: nothing lies there. */
static cb_code look_back(upload *self, bool *is_ours, uint64_t *size, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const char *nonce;
    const char *length;
    cb_error ignored;
    cb_code code = cb_s3_head(self->store, self->key, NULL, &response, err);

    if (code == CB_OK && !cb_s3_is_success(&response))
        code = cb_s3_fail(self->store, &response, "look at", self->key, err);
    if (code != CB_OK)
        return code;
    nonce = cb_http_header(&response, NONCE);
    length = cb_http_header(&response, "content-length");
    *is_ours = nonce != NULL && strcmp(nonce, self->nonce) == 0;
    if (length == NULL || cb_parse_u64(length, size, &ignored) != CB_OK)
        *size = UINT64_MAX;
    return CB_OK;
}

/* The key is taken. By ourselves, when an earlier attempt went through unseen? */
static cb_code settle(upload *self, bool may_be_ours, cb_error *err)
{
    bool is_ours = false;
    uint64_t size;
    cb_code code;

    if (!may_be_ours)
        return fail_exists(self, err);
    code = look_back(self, &is_ours, &size, err);
    if (code != CB_OK)
        return cb_context(err, "cannot tell whether '%s' was stored", self->key);
    return is_ours ? CB_OK : fail_exists(self, err);
}

/*
 * Success was answered: was the object kept? *kept false: it was not, and may be sent again. An
 * answer that repeats the checksum has seen the bytes. Any other is checked by looking.
 */
static cb_code confirm(upload *self, const cb_http_response *response, uint64_t crc64,
                       uint64_t size, bool *kept, cb_error *err)
{
    const char *theirs = cb_http_header(response, "x-amz-checksum-crc64nvme");
    char ours[CB_BASE64_SIZE(8)];
    bool is_ours = false;
    uint64_t there = 0;
    cb_error missing = {0};
    cb_code code;

    *kept = theirs != NULL && strcmp(theirs, cb_base64_u64(crc64, ours)) == 0;
    pthread_mutex_lock(&self->store->lock);
    self->store->sums_told = theirs != NULL ? CB_ANSWER_YES : CB_ANSWER_NO;
    pthread_mutex_unlock(&self->store->lock);
    if (*kept)
        return CB_OK;
    code = look_back(self, &is_ours, &there, &missing);
    *kept = code == CB_OK && is_ours && there == size;
    if (code == CB_OK || code == CB_NOT_FOUND)
        return CB_OK;
    if (code == CB_DENIED && cb_http_header(response, "etag") != NULL) {
        *kept = true; /* who may only write must believe a complete answer */
        return CB_OK;
    }
    *err = missing;
    return cb_context(err, "cannot tell whether '%s' was stored", self->key);
}

static cb_code fail_lost(const upload *self, cb_error *err)
{
    return cb_fail(err, CB_IO,
                   "the store of '%.300s' answers that '%s' is stored, but it is not there or is "
                   "another one",
                   self->store->place.address, self->key);
}

static cb_code fail_upload(upload *self, const cb_http_response *response, cb_error *err)
{
    cb_s3_failure failure;

    cb_s3_parse_failure(cb_buf_bytes(&response->body), &failure);
    if (self->options.retain_until_us != 0 && response->status == 400 &&
        (strcasestr(failure.message, "lock") != NULL ||
         strcasestr(failure.message, "retention") != NULL))
        return cb_s3_fail_no_locks(self->store, err);
    if (response->status == 404) /* of an upload only the bucket can be missing */
        return cb_s3_fail(self->store, response, "write to", NULL, err);
    return cb_s3_fail(self->store, response, "write", self->key, err);
}

/* What an object is created with, in one request or at the begin of parts. */
static void add_creation(const upload *self, lines *to)
{
    char date[CB_S3_DATE_MAX];

    add_line(to, "Content-Type: application/octet-stream");
    add_line(to, NONCE ": %s", self->nonce);
    if (self->options.retain_until_us == 0)
        return;
    add_line(to, "x-amz-object-lock-mode: COMPLIANCE");
    add_line(to, "x-amz-object-lock-retain-until-date: %s",
             cb_s3_date(self->options.retain_until_us, date));
}

/* ---- in one request ------------------------------------------------------------------------- */

/* The MD5 of pieces needs them in one: only where nothing better is known. */
static cb_code add_md5(const cb_blob_body *body, lines *to, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf whole = {0};
    char line[CB_S3_SUM_HEADER_MAX];
    cb_code code = cb_buf_reserve(&whole, (size_t)body->size, err);

    for (size_t i = 0; i < body->count && code == CB_OK; i++)
        code = cb_buf_append(&whole, body->pieces[i].data, body->pieces[i].size, err);
    if (code == CB_OK)
        add_line(to, "%s", cb_s3_body_sum(cb_buf_bytes(&whole), line));
    return code;
}

static cb_code add_sum(cb_s3_sum sum, uint64_t crc64, const cb_blob_body *body, lines *to,
                       cb_error *err)
{
    char text[CB_BASE64_SIZE(8)];

    if (sum == CB_S3_SUM_MD5)
        return add_md5(body, to, err);
    add_line(to, "x-amz-checksum-crc64nvme: %s", cb_base64_u64(crc64, text));
    return CB_OK;
}

/* *kept false: send it once more. */
static cb_code put_once(upload *self, const cb_blob_body *body, uint64_t crc64, bool *kept,
                        bool *was_sent, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_s3_sum sum = sum_of(self->store);
    lines headers = {0};
    cb_s3_call call = {.method = "PUT",
                       .key = self->key,
                       .headers = headers.at,
                       .body = body->pieces,
                       .body_parts = body->count,
                       .has_body = true};
    cb_code code;

    *kept = false;
    add_creation(self, &headers);
    if (self->options.mode == CB_PUT_NEW)
        add_line(&headers, "If-None-Match: *");
    code = add_sum(sum, crc64, body, &headers, err);
    if (code == CB_OK)
        code = cb_s3_send(self->store, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (cb_s3_is_success(&response)) {
        *was_sent = true;
        return confirm(self, &response, crc64, body->size, kept, err);
    }
    if (learn_sum(self->store, sum, &response))
        return CB_OK;
    if (response.status == 412 && self->options.mode == CB_PUT_NEW) {
        *kept = true;
        return settle(self, response.repeated || *was_sent, err);
    }
    return fail_upload(self, &response, err);
}

static cb_code s3_whole(cb_blob_upload *base, const cb_blob_body *body, cb_error *err)
{
    upload *self = of_upload(base);
    uint64_t crc64 = crc64_of(body);
    bool was_sent = false;

    for (int i = 0; i < TRIES; i++) {
        bool kept;
        cb_code code = put_once(self, body, crc64, &kept, &was_sent, err);

        if (code != CB_OK || kept)
            return code;
    }
    return fail_lost(self, err);
}

/* ---- in parts ------------------------------------------------------------------------------- */

static cb_code begin_once(upload *self, bool *begun, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_pair query[] = {{"uploads", ""}};
    lines headers = {0};
    cb_s3_call call = {.method = "POST",
                       .key = self->key,
                       .query = query,
                       .query_count = 1,
                       .headers = headers.at,
                       .has_body = true};
    cb_code code;

    *begun = false;
    self->sum = sum_of(self->store);
    add_creation(self, &headers);
    if (self->sum == CB_S3_SUM_CRC64NVME) {
        add_line(&headers, "x-amz-checksum-algorithm: CRC64NVME");
        add_line(&headers, "x-amz-checksum-type: FULL_OBJECT");
    }
    code = cb_s3_send(self->store, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (!cb_s3_is_success(&response))
        return learn_sum(self->store, self->sum, &response) ? CB_OK
                                                            : fail_upload(self, &response, err);
    cb_s3_find_text(cb_buf_bytes(&response.body), "UploadId", self->id);
    *begun = self->id[0] != '\0';
    return *begun ? CB_OK
                  : cb_fail(err, CB_IO, "the store of '%.300s' begins an upload without a name",
                            self->store->place.address);
}

static cb_code s3_begin(cb_blob_upload *base, cb_error *err)
{
    bool begun = false;
    cb_code code = begin_once(of_upload(base), &begun, err);

    if (code == CB_OK && !begun)
        code = begin_once(of_upload(base), &begun, err);
    return code;
}

static cb_code keep_part(upload *self, unsigned number, const char *etag, uint64_t crc64,
                         uint64_t size, cb_error *err)
{
    part done = {.crc64 = crc64, .size = size};
    cb_code code;

    if (etag == NULL ||
        snprintf(done.etag, sizeof(done.etag), "%s", etag) >= (int)sizeof(done.etag))
        return cb_fail(err, CB_IO, "the store of '%.300s' answers a part of '%s' without an ETag",
                       self->store->place.address, self->key);
    pthread_mutex_lock(&self->lock);
    code = cb_array_reserve(&self->parts, &self->part_capacity, number + 1, sizeof(part), err);
    if (code == CB_OK)
        self->parts[number] = done;
    pthread_mutex_unlock(&self->lock);
    return code;
}

static cb_code s3_part(cb_blob_upload *base, const cb_blob_part *from, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    upload *self = of_upload(base);
    char number[16];
    cb_pair query[] = {{"partNumber", number}, {"uploadId", self->id}};
    lines headers = {0};
    uint64_t crc64 = crc64_of(&from->body);
    cb_s3_call call = {.method = "PUT",
                       .key = self->key,
                       .query = query,
                       .query_count = 2,
                       .headers = headers.at,
                       .body = from->body.pieces,
                       .body_parts = from->body.count,
                       .has_body = true};
    cb_code code = CB_OK;

    if (from->number >= PARTS_MAX)
        return cb_fail(err, CB_TOO_LARGE, "'%s' needs more than %d parts", self->key, PARTS_MAX);
    snprintf(number, sizeof(number), "%u", from->number + 1);
    add_line(&headers, "Content-Type: application/octet-stream");
    code = add_sum(self->sum, crc64, &from->body, &headers, err);
    if (code == CB_OK)
        code = cb_s3_send(self->store, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (!cb_s3_is_success(&response))
        return cb_s3_fail(self->store, &response, "write a part of", self->key, err);
    return keep_part(self, from->number, cb_http_header(&response, "etag"), crc64, from->body.size,
                     err);
}

static cb_code list_parts(const upload *self, unsigned count, cb_buf *into, cb_error *err)
{
    cb_code code = cb_buf_format(
        into, err, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");

    for (unsigned i = 0; i < count && code == CB_OK; i++) {
        char crc64[CB_BASE64_SIZE(8)];

        code = cb_buf_format(into, err, "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
        if (code == CB_OK)
            code = cb_s3_escape(into, self->parts[i].etag, err);
        if (code == CB_OK)
            code = cb_buf_format(into, err, "</ETag>");
        if (code == CB_OK && self->sum == CB_S3_SUM_CRC64NVME)
            code = cb_buf_format(into, err, "<ChecksumCRC64NVME>%s</ChecksumCRC64NVME>",
                                 cb_base64_u64(self->parts[i].crc64, crc64));
        if (code == CB_OK)
            code = cb_buf_format(into, err, "</Part>");
    }
    return code == CB_OK ? cb_buf_format(into, err, "</CompleteMultipartUpload>") : code;
}

static cb_code complete(upload *self, const cb_bytes *body, uint64_t crc64, uint64_t size,
                        cb_http_response *response, cb_error *err)
{
    cb_pair query[] = {{"uploadId", self->id}};
    char text[CB_BASE64_SIZE(8)];
    lines headers = {0};
    cb_s3_call call = {.method = "POST",
                       .key = self->key,
                       .query = query,
                       .query_count = 1,
                       .headers = headers.at,
                       .body = body,
                       .body_parts = 1,
                       .has_body = true,
                       .may_lie = true};

    add_line(&headers, "Content-Type: application/xml");
    add_line(&headers, "x-amz-mp-object-size: %llu", (unsigned long long)size);
    if (self->options.mode == CB_PUT_NEW)
        add_line(&headers, "If-None-Match: *");
    if (self->sum == CB_S3_SUM_CRC64NVME) {
        add_line(&headers, "x-amz-checksum-crc64nvme: %s", cb_base64_u64(crc64, text));
        add_line(&headers, "x-amz-checksum-type: FULL_OBJECT");
    }
    return cb_s3_send(self->store, &call, response, err);
}

/* The upload is gone when an earlier attempt went through: then the object is there. */
static cb_code judge_completion(upload *self, const cb_http_response *response, uint64_t crc64,
                                uint64_t size, cb_error *err)
{
    bool is_gone = response->status == 404 && response->repeated;
    bool kept = false;
    cb_code code;

    if (response->status == 412 && self->options.mode == CB_PUT_NEW)
        return settle(self, response->repeated, err);
    if (!is_gone && !cb_s3_is_success(response))
        return fail_upload(self, response, err);
    code = confirm(self, response, crc64, size, &kept, err);
    return code == CB_OK && !kept ? fail_lost(self, err) : code;
}

static cb_code s3_finish(cb_blob_upload *base, unsigned parts, uint64_t size, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    CB_CLEANUP(cb_buf_free) cb_buf list = {0};
    upload *self = of_upload(base);
    uint64_t crc64 = 0;
    cb_bytes body;
    cb_code code = list_parts(self, parts, &list, err);

    if (code != CB_OK)
        return code;
    for (unsigned i = 0; i < parts; i++)
        crc64 = cb_crc64nvme_join(crc64, self->parts[i].crc64, self->parts[i].size);
    body = cb_buf_bytes(&list);
    code = complete(self, &body, crc64, size, &response, err);
    return code == CB_OK ? judge_completion(self, &response, crc64, size, err) : code;
}

/* If it fails, or we die before it, the parts are left-overs: cb_s3_remove_uploads. */
static void s3_abandon(cb_blob_upload *base)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    upload *self = of_upload(base);
    cb_pair query[] = {{"uploadId", self->id}};
    cb_s3_call call = {.method = "DELETE",
                       .key = self->key,
                       .query = query,
                       .query_count = 1,
                       .attempts = 2,
                       .is_tidying = true};
    cb_error ignored = {0};

    cb_ignore(cb_s3_send(self->store, &call, &response, &ignored));
}

static void s3_upload_free(cb_blob_upload *base)
{
    upload *self = of_upload(base);

    free(self->parts);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static const cb_blob_upload_ops upload_ops = {
    .whole = s3_whole,
    .begin = s3_begin,
    .part = s3_part,
    .finish = s3_finish,
    .abandon = s3_abandon,
    .free = s3_upload_free,
};

static void plan_parts(cb_blob_upload *base, uint64_t about_bytes)
{
    uint64_t planned = about_bytes / PLANNED_PARTS / CB_BLOB_SEGMENT * CB_BLOB_SEGMENT;

    if (about_bytes == 0)
        return;
    base->grow_every = PLANNED_PARTS; /* when it was wrong after all */
    if (planned >= PART_BYTES)
        base->part_bytes = planned + CB_BLOB_SEGMENT;
    if (base->whole_max < base->part_bytes)
        base->whole_max = base->part_bytes;
}

cb_code cb_s3_put(cb_store *store, const char *key, const cb_put_options *options, cb_writer **out,
                  cb_error *err)
{
    upload *self = calloc(1, sizeof(*self));

    if (self == NULL)
        return cb_fail_memory(err, sizeof(*self));
    self->base = (cb_blob_upload){.ops = &upload_ops,
                                  .whole_max = WHOLE_MAX,
                                  .part_bytes = PART_BYTES,
                                  .grow_every = GROW_EVERY,
                                  .grow_most = GROW_MOST,
                                  .in_flight = IN_FLIGHT};
    plan_parts(&self->base, options->about_bytes);
    self->store = cb_s3_of(store);
    self->options = *options;
    snprintf(self->key, sizeof(self->key), "%s", key);
    cb_blob_nonce(self->store->ctx, self->nonce);
    pthread_mutex_init(&self->lock, NULL);
    return cb_blob_writer_new(&self->base, out, err);
}
