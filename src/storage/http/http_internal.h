/*
 * http_internal.h - how the caller's half (send.c) and the thread's half (engine.c, transfer.c) of
 * a request meet.
 *
 * A transfer is one attempt. It lies on the stack of the caller, who fills it, hands it to the
 * engine and sleeps until `is_done`; from handing over until then it is the engine's alone, but
 * for `is_abandoned`, by which the caller asks for an early end.
 */
#ifndef CB_STORAGE_HTTP_INTERNAL_H
#define CB_STORAGE_HTTP_INTERNAL_H

#include "storage/http/http.h"

#include <stdatomic.h>

#include <curl/curl.h>

struct cb_http_headers {
    struct curl_slist *list;
    char provider[160]; /* "": not signed by libcurl */
    char access_key[256];
    char secret[256];
    cb_buf query; /* with '?' or '&' in front of nothing: it is appended as it is */
};

void cb_http_headers_free(cb_http_headers *headers); /* wipes */

/* So many bytes a second; the debt of a piece that was larger than what was there is waited for. */
typedef struct cb_bucket {
    uint64_t rate; /* 0: no limit */
    double level;
    int64_t filled_us;
} cb_bucket;

typedef struct cb_transfer {
    cb_http *http;
    const cb_http_request *request;
    cb_http_response *response;
    CURL *easy;
    char problem[CURL_ERROR_SIZE];

    size_t part, part_offset; /* next byte of the body to send */
    size_t into_start;        /* into->size before */
    size_t received;
    size_t header_capacity;
    unsigned sends; /* how often the request went out: libcurl repeats it by itself when a kept
                       connection turns out to be dead */
    bool waits_to_send, waits_to_receive; /* paused: the bucket is empty */
    int64_t active_us;                    /* when bytes moved last */
    curl_off_t moved;
    bool is_stalled;
    cb_error err; /* of the callbacks; code CB_OK: none */

    CURLcode result;
    atomic_bool is_abandoned;
    bool is_done; /* under the lock of http */
    pthread_cond_t done;
    struct cb_transfer *next;
} cb_transfer;

struct cb_http {
    cb_ctx *ctx;
    cb_http_settings settings;
    const char *ca_file, *ca_folder; /* NULL: libcurl's own; in `arena` */
    cb_arena arena;
    CURLM *multi;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* guards what follows up to the blank line */
    cb_transfer *queue_first, *queue_last;
    CURL **idle; /* easy handles to be used again */
    size_t idle_count, idle_capacity;
    bool is_closing;
    int64_t told_us; /* when somebody was last told that we wait */

    cb_transfer **active; /* the thread's own; connections_max of them */
    size_t active_count;
    cb_bucket up, down;

    atomic_uint_fast64_t requests, retries, sent, received;
    atomic_bool is_away;      /* somebody's attempts are spent, and nobody was answered since */
    atomic_bool has_answered; /* some server did, once: it is worth waiting for */
};

/* engine.c */
/* One attempt. CB_OK: it was made; transfer->result tells how it went. */
cb_code cb_http_run(cb_http *http, cb_transfer *transfer, const cb_http_headers *headers,
                    cb_error *err);

/* transfer.c: fill transfer->easy for this attempt. `headers` must live until it has ended. */
cb_code cb_transfer_prepare(cb_transfer *transfer, const cb_http_headers *headers, cb_error *err);
/* Let those go on that were held back and may move again; by the engine's thread. */
void cb_transfer_resume(cb_transfer *transfer);

/* How long until there is something in it; 0: now. */
int64_t cb_bucket_wait(cb_bucket *bucket);

#endif
