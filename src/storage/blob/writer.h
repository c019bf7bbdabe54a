/*
 * writer.h - a writer over a service that takes an object in one request, or in numbered parts.
 *
 * Bytes are gathered in segments. Up to `whole_max` of them go out in one request, at commit. With
 * more the upload is begun: full parts are sent by threads of the writer's own while its caller
 * writes on, and commit sends the last part and finishes. The kinds differ only in the requests
 * behind cb_blob_upload_ops.
 *
 * Memory: the larger of whole_max and (in_flight + 2) parts, and one segment.
 */
#ifndef CB_STORAGE_BLOB_WRITER_H
#define CB_STORAGE_BLOB_WRITER_H

#include "storage/storage.h"

enum { CB_BLOB_SEGMENT = 1 << 20 };

/* Borrowed for the call: pieces that follow one another. */
typedef struct cb_blob_body {
    const cb_bytes *pieces;
    size_t count;
    uint64_t size;
} cb_blob_body;

/* One part: `number` counts from 0, `offset` is that of its first byte in the object. */
typedef struct cb_blob_part {
    unsigned number;
    bool is_last;
    uint64_t offset;
    cb_blob_body body; /* never empty */
} cb_blob_part;

/* The base of a kind's own struct. */
typedef struct cb_blob_upload {
    const struct cb_blob_upload_ops *ops;
    uint64_t whole_max;  /* bytes that still go out in one request */
    uint64_t part_bytes; /* a multiple of CB_BLOB_SEGMENT, at most whole_max */
    unsigned grow_every; /* parts double in size after so many; 0: never */
    unsigned grow_most;  /* how often they double; 0: three times */
    unsigned in_flight;  /* parts under way at once; 1: one after another, in order */
} cb_blob_upload;

typedef struct cb_blob_upload_ops {
    cb_code (*whole)(cb_blob_upload *upload, const cb_blob_body *body, cb_error *err);
    cb_code (*begin)(cb_blob_upload *upload, cb_error *err);
    /* From several threads at once, unless in_flight is 1. */
    cb_code (*part)(cb_blob_upload *upload, const cb_blob_part *part, cb_error *err);
    /* All parts are there. */
    cb_code (*finish)(cb_blob_upload *upload, unsigned parts, uint64_t size, cb_error *err);
    void (*abandon)(cb_blob_upload *upload); /* begun, and not finished with CB_OK */
    void (*free)(cb_blob_upload *upload);
} cb_blob_upload_ops;

/* Takes `upload`, also when it fails. */
CB_MUST_USE cb_code cb_blob_writer_new(cb_blob_upload *upload, cb_writer **out, cb_error *err);

#endif
