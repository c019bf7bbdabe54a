/*
 * az_write.c - uploads: small objects by one Put Blob, large ones by blocks, several under way, and
 * the list that makes them an object. The service compares an MD5 with each. Its answer is not
 * believed alone: it must repeat the MD5, or the object is looked at afterwards.
 *
 * An object of CB_PUT_NEW is created under If-None-Match: *, which for blocks stands on the list.
 * Blocks of several writers of one name lie side by side until one commits: their ids carry the
 * nonce of the writer, so that nobody commits another's bytes. When the condition is refused after
 * a repeated request, the object may be our own, its answer lost: the nonce in its metadata tells.
 */
#include "storage/az/az_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec/checksum.h"
#include "storage/az/az_sign.h"
#include "storage/blob/writer.h"

/* 50,000 blocks of at most 64 MiB: objects of up to 2 TiB. */
enum {
    WHOLE_MAX = 40 << 20,
    BLOCK_BYTES = 8 << 20,
    BLOCKS_BEFORE_GROWTH = 8000,
    BLOCKS_MAX = 50000,
    IN_FLIGHT = 4,
    BLOCK_ID_MAX = CB_BASE64_SIZE(40),
    LINE_MAX_BYTES = 128,
    LINES_MAX = 8,
    TRIES = 3,
};

typedef struct az_upload {
    cb_blob_upload base;
    cb_az_store *store;
    char *key;
    cb_put_options options;
    char nonce[CB_BLOB_NONCE_MAX];
    uint64_t size; /* of the object */
} az_upload;

static az_upload *of_upload(cb_blob_upload *upload)
{
    return (az_upload *)upload; /* the first member */
}

/* ---- headers --------------------------------------------------------------------------------- */

typedef struct lines {
    char text[LINES_MAX][LINE_MAX_BYTES];
    const char *list[LINES_MAX + 1];
    size_t count;
} lines;

static void add_line(lines *to, const char *format, ...) CB_PRINTF(2, 3);

static void add_line(lines *to, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(to->text[to->count], LINE_MAX_BYTES, format, args);
    va_end(args);
    to->list[to->count] = to->text[to->count];
    to->count++;
}

typedef char md5_text[CB_BASE64_SIZE(CB_MD5_BYTES)];

/* "" where MD5 is forbidden: then TLS and the chunks' own hashes remain. */
static void add_md5(lines *to, const cb_bytes *pieces, size_t count, md5_text out)
{
    uint8_t md5[CB_MD5_BYTES];

    out[0] = '\0';
    if (cb_md5_pieces(pieces, count, md5))
        add_line(to, "Content-MD5: %s", cb_base64(md5, sizeof(md5), out));
}

/* Of the request that makes the object visible. */
static void add_commit_lines(const az_upload *self, lines *to)
{
    char date[CB_AZ_DATE_MAX];

    add_line(to, "%s: %s", CB_AZ_NONCE_HEADER, self->nonce);
    if (self->options.mode == CB_PUT_NEW)
        add_line(to, "If-None-Match: *");
    if (self->options.retain_until_us == 0)
        return;
    /* Seconds: a lock may last longer than asked, never shorter. */
    add_line(to, "x-ms-immutability-policy-until-date: %s",
             cb_az_date(self->options.retain_until_us + 999999, date));
    add_line(to, "x-ms-immutability-policy-mode: Locked");
}

/* ---- answers --------------------------------------------------------------------------------- */

static cb_code fail_exists(const az_upload *self, cb_error *err)
{
    return cb_fail(err, CB_EXISTS, "there is an object '%s' in '%.300s' already", self->key,
                   self->store->place.address);
}

static bool is_ours(const az_upload *self, const cb_az_facts *there)
{
    return strcmp(there->nonce, self->nonce) == 0 && there->size_bytes == self->size;
}

/* The key is taken. By ourselves, when an earlier attempt went through unseen? */
static cb_code settle(const az_upload *self, bool may_be_ours, cb_error *err)
{
    cb_az_facts facts;
    cb_code code;

    if (!may_be_ours)
        return fail_exists(self, err);
    code = cb_az_stat(self->store, self->key, &facts, err);
    if (code == CB_NOT_FOUND)
        return cb_fail(err, CB_RETRY, "'%s' came and went while it was stored", self->key);
    if (code != CB_OK)
        return cb_context(err, "cannot tell whether '%s' was stored", self->key);
    return is_ours(self, &facts) ? CB_OK : fail_exists(self, err);
}

/*
 * Of a list whose blocks are gone: another writer of the same name committed, which throws all
 * waiting blocks away, or an earlier attempt of our own did.
 */
static cb_code settle_lost_blocks(const az_upload *self, bool may_be_ours, cb_error *err)
{
    cb_az_facts facts;
    cb_code code = cb_az_stat(self->store, self->key, &facts, err);

    if (code == CB_OK && may_be_ours && is_ours(self, &facts))
        return CB_OK;
    if (code == CB_OK && self->options.mode == CB_PUT_NEW)
        return fail_exists(self, err);
    if (code != CB_OK && code != CB_NOT_FOUND)
        return code;
    return cb_fail(err, CB_RETRY, "another writer of '%s' came between", self->key);
}

/* Success was answered. *kept false: the object is not there, or is another one. */
static cb_code confirm(const az_upload *self, const cb_http_response *response, const md5_text sent,
                       bool *kept, cb_error *err)
{
    const char *got = cb_http_header(response, "content-md5");
    cb_error missing = {0};
    cb_az_facts facts;
    cb_code code;

    cb_az_learn_versioning(self->store, response);
    *kept = got != NULL && sent[0] != '\0' && strcmp(got, sent) == 0;
    if (*kept)
        return CB_OK;
    code = cb_az_stat(self->store, self->key, &facts, &missing);
    *kept = code == CB_OK && is_ours(self, &facts);
    if (code == CB_OK || code == CB_NOT_FOUND)
        return CB_OK;
    if (code == CB_DENIED && cb_http_header(response, "etag") != NULL) {
        *kept = true; /* who may only write must believe a complete answer */
        return CB_OK;
    }
    *err = missing;
    return cb_context(err, "cannot tell whether '%s' was stored", self->key);
}

static cb_code fail_lost(const az_upload *self, cb_error *err)
{
    return cb_fail(err, CB_IO,
                   "the store of '%.300s' answers that '%s' is stored, but it is not there or is "
                   "another one",
                   self->store->place.address, self->key);
}

/* The commit was refused. CB_OK: the object is there all the same, and ours. */
static cb_code end_refused(az_upload *self, const cb_http_response *response, bool may_be_ours,
                           cb_error *err)
{
    char failure[CB_AZ_CODE_MAX];

    cb_az_failure_code(response, failure);
    if (self->options.mode == CB_PUT_NEW &&
        (strcmp(failure, "BlobAlreadyExists") == 0 || response->status == 412))
        return settle(self, may_be_ours, err);
    if (strcmp(failure, "InvalidBlockList") == 0)
        return settle_lost_blocks(self, may_be_ours, err);
    /* Who may create, but not write over, is refused like this where something is. */
    if (self->options.mode == CB_PUT_NEW && strcmp(failure, "UnauthorizedBlobOverwrite") == 0)
        return settle(self, may_be_ours, err);
    if (response->status == 404)
        return cb_az_fail(self->store, response, "write to", NULL, err);
    return cb_az_fail(self->store, response, "write", self->key, err);
}

/* ---- in one request -------------------------------------------------------------------------- */

/* *kept false: send it once more. */
static cb_code put_once(az_upload *self, const cb_blob_body *body, bool *was_sent, bool *kept,
                        cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    lines headers = {.count = 0};
    md5_text md5;
    cb_az_call call = {.method = "PUT",
                       .key = self->key,
                       .headers = headers.list,
                       .body = body->pieces,
                       .body_parts = body->count};
    cb_code code;

    *kept = true;
    add_line(&headers, "Content-Type: application/octet-stream");
    add_line(&headers, "x-ms-blob-type: BlockBlob");
    add_md5(&headers, body->pieces, body->count, md5);
    add_commit_lines(self, &headers);
    code = cb_az_send(self->store, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (!cb_az_is_success(&response))
        return end_refused(self, &response, response.repeated || *was_sent, err);
    *was_sent = true;
    return confirm(self, &response, md5, kept, err);
}

static cb_code az_whole(cb_blob_upload *upload, const cb_blob_body *body, cb_error *err)
{
    az_upload *self = of_upload(upload);
    bool was_sent = false;

    self->size = body->size;
    for (int i = 0; i < TRIES; i++) {
        bool kept;
        cb_code code = put_once(self, body, &was_sent, &kept, err);

        if (code != CB_OK || kept)
            return code;
    }
    return fail_lost(self, err);
}

/* ---- in blocks ------------------------------------------------------------------------------- */

/* All ids of a blob have one length. */
static const char *block_id(const az_upload *self, unsigned number, char out[BLOCK_ID_MAX])
{
    char plain[48];
    int size = snprintf(plain, sizeof(plain), "%s%08u", self->nonce, number);

    return cb_base64(plain, (size_t)size, out);
}

static cb_code az_begin(cb_blob_upload *upload, cb_error *err)
{
    (void)upload; /* the first block begins it */
    (void)err;
    return CB_OK;
}

static cb_code az_part(cb_blob_upload *upload, const cb_blob_part *part, cb_error *err)
{
    az_upload *self = of_upload(upload);
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    char id[BLOCK_ID_MAX];
    const cb_pair query[] = {{"comp", "block"}, {"blockid", block_id(self, part->number, id)}};
    lines headers = {.count = 0};
    md5_text md5;
    cb_az_call call = {.method = "PUT",
                       .key = self->key,
                       .query = query,
                       .query_count = 2,
                       .headers = headers.list,
                       .body = part->body.pieces,
                       .body_parts = part->body.count};
    cb_code code;

    if (part->number >= BLOCKS_MAX)
        return cb_fail(err, CB_TOO_LARGE, "'%s' is too large for one object", self->key);
    add_line(&headers, "Content-Type: application/octet-stream");
    add_md5(&headers, part->body.pieces, part->body.count, md5);
    code = cb_az_send(self->store, &call, &response, err);
    if (code != CB_OK || cb_az_is_success(&response))
        return code;
    return response.status == 404 ? cb_az_fail(self->store, &response, "write to", NULL, err)
                                  : cb_az_fail(self->store, &response, "write", self->key, err);
}

static cb_code render_list(const az_upload *self, unsigned parts, cb_buf *into, cb_error *err)
{
    char id[BLOCK_ID_MAX];
    cb_code code =
        cb_buf_format(into, err, "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>");

    for (unsigned i = 0; i < parts && code == CB_OK; i++)
        code = cb_buf_format(into, err, "<Latest>%s</Latest>", block_id(self, i, id));
    return code == CB_OK ? cb_buf_format(into, err, "</BlockList>") : code;
}

static cb_code az_finish(cb_blob_upload *upload, unsigned parts, uint64_t size, cb_error *err)
{
    az_upload *self = of_upload(upload);
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    CB_CLEANUP(cb_buf_free) cb_buf xml = {0};
    const cb_pair query[] = {{"comp", "blocklist"}};
    lines headers = {.count = 0};
    md5_text md5;
    bool kept;
    cb_bytes body;
    cb_az_call call = {.method = "PUT",
                       .key = self->key,
                       .query = query,
                       .query_count = 1,
                       .headers = headers.list,
                       .body = &body,
                       .body_parts = 1};
    cb_code code = render_list(self, parts, &xml, err);

    self->size = size;
    if (code != CB_OK)
        return code;
    body = cb_buf_bytes(&xml);
    add_line(&headers, "Content-Type: application/xml");
    add_line(&headers, "x-ms-blob-content-type: application/octet-stream");
    add_md5(&headers, &body, 1, md5);
    add_commit_lines(self, &headers);
    code = cb_az_send(self->store, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (!cb_az_is_success(&response))
        return end_refused(self, &response, response.repeated, err);
    code = confirm(self, &response, md5, &kept, err);
    return code == CB_OK && !kept ? fail_lost(self, err) : code;
}

static void az_abandon(cb_blob_upload *upload)
{
    (void)
        upload; /* blocks in no list cannot be seen, and are dropped by the service after a week */
}

static void az_free(cb_blob_upload *upload)
{
    az_upload *self = of_upload(upload);

    free(self->key);
    free(self);
}

static const cb_blob_upload_ops az_upload_ops = {
    .whole = az_whole,
    .begin = az_begin,
    .part = az_part,
    .finish = az_finish,
    .abandon = az_abandon,
    .free = az_free,
};

cb_code cb_az_put(cb_store *store, const char *key, const cb_put_options *options, cb_writer **out,
                  cb_error *err)
{
    cb_az_store *place = (cb_az_store *)store;
    az_upload *self;
    cb_code code = options->retain_until_us != 0 ? cb_az_check_locks(place, err) : CB_OK;

    if (code != CB_OK)
        return code;
    self = calloc(1, sizeof(*self));
    if (self != NULL)
        self->key = strdup(key);
    if (self == NULL || self->key == NULL) {
        free(self);
        return cb_fail_memory(err, sizeof(*self));
    }
    self->base = (cb_blob_upload){.ops = &az_upload_ops,
                                  .whole_max = WHOLE_MAX,
                                  .part_bytes = BLOCK_BYTES,
                                  .grow_every = BLOCKS_BEFORE_GROWTH,
                                  .in_flight = IN_FLIGHT};
    self->store = place;
    self->options = *options;
    cb_blob_nonce(place->ctx, self->nonce);
    return cb_blob_writer_new(&self->base, out, err);
}
