/*
 * gs_write.c - uploads. Small ones are one request that carries the description and the bytes, so
 * that the service compares the CRC32C before anything is visible. Large ones are a resumable
 * session: its chunks go out in order, the last one carries the CRC32C of all.
 *
 * The answer is not believed alone: it must describe the object that was sent, or that is looked at
 * afterwards.
 *
 * An object of CB_PUT_NEW is created under ifGenerationMatch=0. When that is refused after a
 * repeated request, the object may be our own, its answer lost: a nonce in its metadata tells.
 */
#include "storage/gs/gs_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/checksum.h"
#include "storage/blob/writer.h"

/* Chunks are multiples of 256 KiB; 16 MiB is what the service advises. */
enum { WHOLE_MAX = 40 << 20, CHUNK_BYTES = 16 << 20, STALLS_MAX = 8, TRIES = 3 };

#define DESCRIPTION "name,generation,size,crc32c,metadata"

typedef struct gs_upload {
    cb_blob_upload base;
    cb_gs_store *store;
    char *key;
    cb_put_options options;
    char nonce[CB_BLOB_NONCE_MAX];
    cb_buf session;  /* URL of a resumable upload, which is its credential too */
    uint64_t size;   /* of what has been sent so far */
    uint32_t crc32c; /* the same */
    cb_arena arena;
    cb_gs_object result; /* as the service describes it */
} gs_upload;

static gs_upload *of_upload(cb_blob_upload *upload)
{
    return (gs_upload *)upload; /* the first member */
}

static uint32_t crc32c_of(uint32_t so_far, const cb_blob_body *body)
{
    for (size_t i = 0; i < body->count; i++)
        so_far = cb_crc32c(so_far, body->pieces[i]);
    return so_far;
}

static cb_code fail_exists(const gs_upload *self, cb_error *err)
{
    return cb_fail(err, CB_EXISTS, "there is an object '%s' in '%.300s' already", self->key,
                   self->store->place.address);
}

/* Does `result` describe what was sent? */
static bool is_ours(const gs_upload *self)
{
    const cb_gs_object *there = &self->result;

    return there->nonce != NULL && strcmp(there->nonce, self->nonce) == 0 &&
           there->size_bytes == self->size && there->has_crc32c && there->crc32c == self->crc32c;
}

/* The key is taken. By ourselves, when an earlier attempt went through unseen? */
static cb_code settle(gs_upload *self, bool may_be_ours, cb_error *err)
{
    cb_code code;

    if (!may_be_ours)
        return fail_exists(self, err);
    code = cb_gs_stat(self->store, self->key, &self->arena, &self->result, err);
    if (code == CB_NOT_FOUND)
        return cb_fail(err, CB_RETRY, "'%s' came and went while it was stored", self->key);
    if (code != CB_OK)
        return cb_context(err, "cannot tell whether '%s' was stored", self->key);
    return is_ours(self) ? CB_OK : fail_exists(self, err);
}

/* An answer with the wrong name is of another object, whatever else it says. */
static bool is_described(gs_upload *self, const cb_http_response *response)
{
    const char *key;
    cb_error ignored;

    if (cb_gs_parse_object(cb_buf_bytes(&response->body), &self->arena, &self->result, &ignored) !=
        CB_OK)
        return false;
    key = cb_blob_below(self->store->place.prefix, self->result.name);
    return key != NULL && strcmp(key, self->key) == 0 && is_ours(self);
}

/* Success was answered. *kept false: the object is not there, or is another one. */
static cb_code confirm(gs_upload *self, const cb_http_response *response, bool *kept, cb_error *err)
{
    cb_error missing = {0};
    cb_code code;

    *kept = is_described(self, response);
    if (*kept)
        return CB_OK;
    code = cb_gs_stat(self->store, self->key, &self->arena, &self->result, &missing);
    *kept = code == CB_OK && is_ours(self);
    if (code == CB_OK || code == CB_NOT_FOUND)
        return CB_OK;
    *err = missing;
    return cb_context(err, "cannot tell whether '%s' was stored", self->key);
}

static cb_code fail_lost(const gs_upload *self, cb_error *err)
{
    return cb_fail(err, CB_IO,
                   "the store of '%.300s' answers that '%s' is stored, but it is not there or is "
                   "another one",
                   self->store->place.address, self->key);
}

static bool is_taken(const gs_upload *self, const cb_http_response *response)
{
    cb_gs_refusal refusal;

    if (self->options.mode != CB_PUT_NEW)
        return false;
    if (response->status != 403)
        return response->status == 412;
    /* Who may only create is told that he may not remove what is there. */
    cb_gs_parse_refusal(cb_buf_bytes(&response->body), &refusal);
    return strstr(refusal.message, "storage.objects.delete") != NULL;
}

static cb_code fail_upload(gs_upload *self, const cb_http_response *response, cb_error *err)
{
    cb_gs_refusal refusal;

    if (response->status == 404) /* of an upload only the bucket can be missing */
        return cb_gs_fail(self->store, response, "write to", NULL, err);
    cb_gs_parse_refusal(cb_buf_bytes(&response->body), &refusal);
    if (response->status == 400 && self->options.retain_until_us != 0 &&
        strstr(refusal.message, "etention") != NULL)
        return cb_gs_fail_no_locks(self->store, err);
    return cb_gs_fail(self->store, response, "write", self->key, err);
}

static cb_code describe(gs_upload *self, const uint32_t *crc32c, int64_t retain_until_us,
                        cb_buf *into, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf name = {0};
    cb_gs_metadata of = {
        .nonce = self->nonce, .crc32c = crc32c, .retain_until_us = retain_until_us};
    cb_code code = cb_blob_name(&name, self->store->place.prefix, self->key, err);

    if (code == CB_OK)
        code = cb_buf_u8(&name, 0, err);
    if (code != CB_OK)
        return code;
    of.name = (const char *)name.data;
    return cb_gs_render_metadata(&of, into, err);
}

/* ---- in one request -------------------------------------------------------------------------- */

static void pieces_free(cb_bytes **pieces)
{
    free(*pieces);
}

/* The nonce is the boundary too: 128 random bits are not in anybody's bytes. */
static cb_code wrap(gs_upload *self, cb_buf *head, cb_buf *tail, cb_error *err)
{
    cb_code code = cb_buf_format(
        head, err, "--%s\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n", self->nonce);

    if (code == CB_OK)
        code = describe(self, &self->crc32c, self->options.retain_until_us, head, err);
    if (code == CB_OK)
        code = cb_buf_format(
            head, err, "\r\n--%s\r\nContent-Type: application/octet-stream\r\n\r\n", self->nonce);
    if (code == CB_OK)
        code = cb_buf_format(tail, err, "\r\n--%s--\r\n", self->nonce);
    return code;
}

/* *kept false: send it once more. */
static cb_code put_once(gs_upload *self, const cb_bytes *pieces, size_t count, bool *was_sent,
                        bool *kept, cb_error *err)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const cb_pair query[] = {
        {"fields", DESCRIPTION}, {"uploadType", "multipart"}, {"ifGenerationMatch", "0"}};
    char type[96];
    const char *headers[] = {type, NULL};
    cb_gs_call call = {.method = "POST",
                       .path = CB_GS_UPLOAD,
                       .query = query,
                       .query_count = self->options.mode == CB_PUT_NEW ? 3 : 2,
                       .headers = headers,
                       .body = pieces,
                       .body_parts = count};
    cb_code code;

    *kept = true;
    snprintf(type, sizeof(type), "Content-Type: multipart/related; boundary=%s", self->nonce);
    code = cb_gs_send(self->store, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (is_taken(self, &response))
        return settle(self, response.repeated || *was_sent, err);
    if (!cb_gs_is_success(&response))
        return fail_upload(self, &response, err);
    *was_sent = true;
    return confirm(self, &response, kept, err);
}

static cb_code send_whole(gs_upload *self, const cb_bytes *pieces, size_t count, cb_error *err)
{
    bool was_sent = false;

    for (int i = 0; i < TRIES; i++) {
        bool kept;
        cb_code code = put_once(self, pieces, count, &was_sent, &kept, err);

        if (code != CB_OK || kept)
            return code;
    }
    return fail_lost(self, err);
}

static cb_code gs_whole(cb_blob_upload *upload, const cb_blob_body *body, cb_error *err)
{
    gs_upload *self = of_upload(upload);
    CB_CLEANUP(cb_buf_free) cb_buf head = {0};
    CB_CLEANUP(cb_buf_free) cb_buf tail = {0};
    CB_CLEANUP(pieces_free) cb_bytes *pieces = calloc(body->count + 2, sizeof(*pieces));
    cb_code code;

    if (pieces == NULL)
        return cb_fail_memory(err, body->count * sizeof(*pieces));
    self->size = body->size;
    self->crc32c = crc32c_of(0, body);
    code = wrap(self, &head, &tail, err);
    if (code != CB_OK)
        return code;
    pieces[0] = cb_buf_bytes(&head);
    if (body->count > 0)
        memcpy(pieces + 1, body->pieces, body->count * sizeof(*pieces));
    pieces[body->count + 1] = cb_buf_bytes(&tail);
    return send_whole(self, pieces, body->count + 2, err);
}

/* ---- in chunks ------------------------------------------------------------------------------- */

static cb_code gs_begin(cb_blob_upload *upload, cb_error *err)
{
    gs_upload *self = of_upload(upload);
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    CB_CLEANUP(cb_buf_free) cb_buf json = {0};
    const cb_pair query[] = {{"uploadType", "resumable"}, {"ifGenerationMatch", "0"}};
    const char *headers[] = {"Content-Type: application/json; charset=UTF-8",
                             "X-Upload-Content-Type: application/octet-stream", NULL};
    cb_bytes body;
    cb_gs_call call = {.method = "POST",
                       .path = CB_GS_UPLOAD,
                       .query = query,
                       .query_count = self->options.mode == CB_PUT_NEW ? 2 : 1,
                       .headers = headers,
                       .body = &body,
                       .body_parts = 1};
    const char *session;
    /* Locked only once its checksum was compared: a wrong object could not be removed then. */
    cb_code code = describe(self, NULL, 0, &json, err);

    if (code != CB_OK)
        return code;
    body = cb_buf_bytes(&json);
    code = cb_gs_send(self->store, &call, &response, err);
    if (code != CB_OK)
        return code;
    if (is_taken(self, &response))
        return fail_exists(self, err);
    if (!cb_gs_is_success(&response))
        return fail_upload(self, &response, err);
    session = cb_http_header(&response, "location");
    if (session == NULL ||
        !(cb_has_prefix(session, "https://") || cb_has_prefix(session, "http://")))
        return cb_fail(err, CB_IO, "the store began an upload, but does not say where");
    return cb_buf_append(&self->session, session, strlen(session) + 1, err);
}

/* Bytes that the session holds, of "bytes=0-41"; none without such a header. */
static uint64_t persisted(const cb_http_response *response)
{
    const char *range = cb_http_header(response, "range");
    cb_error ignored;
    uint64_t last;

    if (range == NULL || !cb_has_prefix(range, "bytes=0-") ||
        cb_parse_u64(range + strlen("bytes=0-"), &last, &ignored) != CB_OK || last == UINT64_MAX)
        return 0;
    return last + 1;
}

/* What is left of a chunk when its first `skip` bytes have arrived. */
static size_t skip_pieces(const cb_blob_body *body, uint64_t skip, cb_bytes *out)
{
    size_t count = 0;

    for (size_t i = 0; i < body->count; i++) {
        cb_bytes piece = body->pieces[i];
        size_t gone = skip < piece.size ? (size_t)skip : piece.size;

        skip -= gone;
        if (gone < piece.size)
            out[count++] = cb_bytes_of(piece.data + gone, piece.size - gone);
    }
    return count;
}

static cb_code put_chunk(gs_upload *self, const cb_blob_part *part, uint64_t skip,
                         cb_http_response *response, cb_error *err)
{
    CB_CLEANUP(pieces_free) cb_bytes *pieces = calloc(part->body.count + 1, sizeof(*pieces));
    uint64_t end = part->offset + part->body.size;
    uint64_t from = part->offset + skip;
    char hash[64];
    char total[32] = "*";
    char range[96];
    char hash_text[CB_BASE64_SIZE(4)];
    const char *headers[] = {"Content-Type: application/octet-stream", range, NULL, NULL};
    cb_http_request request = {
        .method = "PUT", .headers = headers, .body = pieces, .has_body = true};

    if (pieces == NULL)
        return cb_fail_memory(err, part->body.count * sizeof(*pieces));
    request.url = (const char *)self->session.data;
    request.body_parts = skip_pieces(&part->body, skip, pieces);
    if (part->is_last) {
        snprintf(total, sizeof(total), "%llu", (unsigned long long)end);
        snprintf(hash, sizeof(hash), "X-Goog-Hash: crc32c=%s",
                 cb_base64_u32(self->crc32c, hash_text));
        headers[2] = hash;
    }
    if (from < end)
        snprintf(range, sizeof(range), "Content-Range: bytes %llu-%llu/%s",
                 (unsigned long long)from, (unsigned long long)(end - 1), total);
    else /* all of it is there: only say that it is complete */
        snprintf(range, sizeof(range), "Content-Range: bytes */%s", total);
    return cb_http_send(self->store->http, &request, response, err);
}

/* What was stored is not what was sent: away with it, but never with somebody else's object. */
static void remove_wrong(gs_upload *self)
{
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const cb_pair query[] = {{"generation", self->result.generation}};
    cb_gs_call call = {.method = "DELETE",
                       .path = CB_GS_OBJECT,
                       .key = self->key,
                       .query = query,
                       .query_count = 1};
    cb_error ignored;

    if (self->result.nonce != NULL && strcmp(self->result.nonce, self->nonce) == 0 &&
        self->result.generation[0] != '\0')
        cb_ignore(cb_gs_send(self->store, &call, &response, &ignored));
}

static cb_code fail_wrong(gs_upload *self, cb_error *err)
{
    remove_wrong(self);
    return cb_fail(err, CB_RETRY, "the bytes of '%s' changed on the way to '%.300s'", self->key,
                   self->store->place.address);
}

/* The session ended. CB_OK when the object is there and ours. */
static cb_code end_of_session(gs_upload *self, const cb_blob_part *part,
                              const cb_http_response *response, cb_error *err)
{
    bool kept;

    if (part->is_last && cb_gs_is_success(response)) {
        cb_code code = confirm(self, response, &kept, err);

        return code == CB_OK && !kept ? fail_wrong(self, err) : code;
    }
    if (is_taken(self, response))
        return settle(self, part->is_last && response->repeated, err);
    if (response->status != 404 && response->status != 410)
        return fail_upload(self, response, err);
    if (part->is_last && response->repeated && settle(self, true, err) == CB_OK)
        return CB_OK;
    return cb_fail(err, CB_RETRY, "the store has forgotten the upload of '%s'", self->key);
}

static cb_code gs_part(cb_blob_upload *upload, const cb_blob_part *part, cb_error *err)
{
    gs_upload *self = of_upload(upload);
    uint64_t end = part->offset + part->body.size;
    uint64_t there = part->offset;

    self->crc32c = crc32c_of(self->crc32c, &part->body);
    self->size = end;
    for (unsigned stalls = 0; stalls < STALLS_MAX; stalls++) {
        CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
        uint64_t before = there;
        cb_code code = put_chunk(self, part, there - part->offset, &response, err);

        if (code != CB_OK)
            return code;
        if (response.status != 308)
            return end_of_session(self, part, &response, err);
        there = persisted(&response);
        if (there < part->offset || there > end)
            return cb_fail(err, CB_RETRY, "the store has lost bytes of the upload of '%s'",
                           self->key);
        if (there == end && !part->is_last)
            return CB_OK;
        if (there > before)
            stalls = 0;
    }
    return cb_fail(err, CB_RETRY, "the store takes no more bytes of '%s'", self->key);
}

static cb_code gs_finish(cb_blob_upload *upload, unsigned parts, uint64_t size, cb_error *err)
{
    gs_upload *self = of_upload(upload);

    (void)parts;
    (void)size;
    if (self->options.retain_until_us == 0)
        return CB_OK;
    return cb_gs_retain(&self->store->store, self->key, self->options.retain_until_us, err);
}

/* A session that is not ended is forgotten by the service after a week. */
static void gs_abandon(cb_blob_upload *upload)
{
    gs_upload *self = of_upload(upload);
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_http_request request = {.method = "DELETE", .attempts = 1};
    cb_error ignored;

    if (self->session.size == 0)
        return;
    request.url = (const char *)self->session.data;
    cb_ignore(cb_http_send(self->store->http, &request, &response, &ignored));
}

static void gs_free(cb_blob_upload *upload)
{
    gs_upload *self = of_upload(upload);

    cb_buf_free(&self->session);
    cb_arena_free(&self->arena);
    free(self->key);
    free(self);
}

static const cb_blob_upload_ops gs_upload_ops = {
    .whole = gs_whole,
    .begin = gs_begin,
    .part = gs_part,
    .finish = gs_finish,
    .abandon = gs_abandon,
    .free = gs_free,
};

cb_code cb_gs_put(cb_store *store, const char *key, const cb_put_options *options, cb_writer **out,
                  cb_error *err)
{
    cb_gs_store *place = (cb_gs_store *)store;
    gs_upload *self;
    cb_code code = options->retain_until_us != 0 ? cb_gs_check_locks(place, err) : CB_OK;

    if (code != CB_OK)
        return code;
    self = calloc(1, sizeof(*self));
    if (self != NULL)
        self->key = strdup(key);
    if (self == NULL || self->key == NULL) {
        free(self);
        return cb_fail_memory(err, sizeof(*self));
    }
    self->base = (cb_blob_upload){
        .ops = &gs_upload_ops, .whole_max = WHOLE_MAX, .part_bytes = CHUNK_BYTES, .in_flight = 1};
    self->store = place;
    self->options = *options;
    cb_blob_nonce(place->ctx, self->nonce);
    return cb_blob_writer_new(&self->base, out, err);
}
