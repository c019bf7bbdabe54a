/*
 * engine.c - the thread that drives all transfers, and the door to it.
 *
 * Callers put a transfer into the queue and sleep. The thread takes as many as there may be
 * connections, drives them, ends those that stall or were abandoned, lets those go on that the
 * limits had held back, and wakes each caller when its own is over. Connections stay open in the
 * multi handle, whoever used them.
 */
#include "storage/http/http_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "base/array.h"

enum { CONNECTIONS_USUAL = 32, POLL_MS = 500, CANCEL_LOOK_NS = 50 * 1000 * 1000 };
enum { LINE_BYTES = 64, ALIGNED_BYTES = 64 << 10 };
#define STALL_USUAL INT64_C(60000000)

static pthread_once_t started = PTHREAD_ONCE_INIT;
static CURLcode start_result;

/*
 * libcurl receives into a buffer that it allocates, and the kernel copies into one that begins at
 * a cache line at four times the speed.
 */
static void *allocate(size_t size)
{
    void *data;

    if (size < ALIGNED_BYTES)
        return malloc(size);
    return posix_memalign(&data, LINE_BYTES, size) == 0 ? data : NULL;
}

static void start(void)
{
    start_result =
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, allocate, free, realloc, strdup, calloc);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void finish(cb_http *http, cb_transfer *transfer, CURLcode result)
{
    curl_multi_remove_handle(http->multi, transfer->easy);
    for (size_t i = 0; i < http->active_count; i++)
        if (http->active[i] == transfer) {
            http->active[i] = http->active[--http->active_count];
            break;
        }
    transfer->result = result;
    pthread_mutex_lock(&http->lock);
    transfer->is_done = true;
    pthread_cond_signal(&transfer->done);
    pthread_mutex_unlock(&http->lock); /* from here it may be gone */
}

static void begin(cb_http *http, cb_transfer *transfer)
{
    transfer->active_us = cb_monotonic_us();
    http->active[http->active_count++] = transfer;
    if (curl_multi_add_handle(http->multi, transfer->easy) != CURLM_OK)
        finish(http, transfer, CURLE_OUT_OF_MEMORY);
}

/* False: the end has come. */
static bool take_queued(cb_http *http)
{
    bool goes_on;

    for (;;) {
        cb_transfer *transfer = NULL;

        pthread_mutex_lock(&http->lock);
        goes_on = !http->is_closing;
        if (http->queue_first != NULL && http->active_count < http->settings.connections_max) {
            transfer = http->queue_first;
            http->queue_first = transfer->next;
        }
        pthread_mutex_unlock(&http->lock);
        if (transfer == NULL)
            return goes_on;
        begin(http, transfer);
    }
}

static void finish_ended(cb_http *http)
{
    int left;
    const CURLMsg *message;

    for (message = curl_multi_info_read(http->multi, &left); message != NULL;
         message = curl_multi_info_read(http->multi, &left)) {
        char *transfer = NULL;
        CURLcode result = message->data.result;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        finish(http, (cb_transfer *)(void *)transfer, result);
    }
}

static void look_after(cb_http *http)
{
    int64_t now = cb_monotonic_us();

    for (size_t i = http->active_count; i-- > 0;) { /* finish moves the last one here */
        cb_transfer *transfer = http->active[i];

        if (transfer->waits_to_send || transfer->waits_to_receive)
            transfer->active_us = now;
        if (atomic_load(&transfer->is_abandoned)) {
            finish(http, transfer, CURLE_ABORTED_BY_CALLBACK);
        } else if (now - transfer->active_us > http->settings.stall_us) {
            transfer->is_stalled = true;
            finish(http, transfer, CURLE_OPERATION_TIMEDOUT);
        }
    }
    for (size_t i = 0; i < http->active_count; i++) {
        /* Another one first each time, or the same few would have all of it. */
        cb_transfer *transfer = http->active[(i + (size_t)now) % http->active_count];

        if (transfer->waits_to_send || transfer->waits_to_receive)
            cb_transfer_resume(transfer);
    }
}

static int poll_ms(cb_http *http)
{
    int64_t us = INT64_C(1000) * POLL_MS;

    for (size_t i = 0; i < http->active_count; i++) {
        int64_t wait = us;

        if (http->active[i]->waits_to_send)
            wait = cb_bucket_wait(&http->up);
        if (wait < us)
            us = wait;
        if (http->active[i]->waits_to_receive)
            wait = cb_bucket_wait(&http->down);
        if (wait < us)
            us = wait;
    }
    return (int)((us + 999) / 1000);
}

static void *drive(void *arg)
{
    cb_http *http = arg;

    while (take_queued(http)) {
        int running;

        (void)curl_multi_perform(http->multi, &running); /* what failed is told by transfer */
        finish_ended(http);
        look_after(http);
        (void)curl_multi_poll(http->multi, NULL, 0, poll_ms(http), NULL);
    }
    return NULL;
}

/* ---- the door ------------------------------------------------------------------------------- */

static cb_code take_handle(cb_http *http, CURL **out, cb_error *err)
{
    *out = NULL;
    pthread_mutex_lock(&http->lock);
    if (http->idle_count > 0)
        *out = http->idle[--http->idle_count];
    pthread_mutex_unlock(&http->lock);
    if (*out == NULL)
        *out = curl_easy_init();
    return *out != NULL ? CB_OK : cb_fail_memory(err, sizeof(*http));
}

/* A handle that failed may not take settings any more, as libcurl 7.88 after an unknown host. */
static void return_handle(cb_http *http, CURL *easy, bool is_good)
{
    cb_error ignored;
    cb_code code = CB_OK;

    if (!is_good) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy); /* forgets keys, too */
    pthread_mutex_lock(&http->lock);
    if (http->idle_count == http->idle_capacity)
        code = cb_array_grow(&http->idle, &http->idle_capacity, sizeof(CURL *), &ignored);
    if (code == CB_OK)
        http->idle[http->idle_count++] = easy;
    pthread_mutex_unlock(&http->lock);
    if (code != CB_OK)
        curl_easy_cleanup(easy);
}

/* Under the lock. */
static void wait_a_moment(cb_http *http, cb_transfer *transfer)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += CANCEL_LOOK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&transfer->done, &http->lock, &until);
}

/* The body and the answer's buffers are the caller's: it must not leave before the thread has let
   go of them, cancelled or not. */
static void hand_over(cb_http *http, cb_transfer *transfer)
{
    cb_error ignored = {0};

    pthread_mutex_lock(&http->lock);
    transfer->next = NULL;
    if (http->queue_first == NULL)
        http->queue_first = transfer;
    else
        http->queue_last->next = transfer;
    http->queue_last = transfer;
    pthread_mutex_unlock(&http->lock);
    curl_multi_wakeup(http->multi);
    pthread_mutex_lock(&http->lock);
    while (!transfer->is_done) {
        wait_a_moment(http, transfer);
        if (transfer->is_done || atomic_load(&transfer->is_abandoned) ||
            transfer->request->is_tidying || cb_check_cancel(http->ctx, &ignored) == CB_OK)
            continue;
        atomic_store(&transfer->is_abandoned, true);
        curl_multi_wakeup(http->multi);
    }
    pthread_mutex_unlock(&http->lock);
}

cb_code cb_http_run(cb_http *http, cb_transfer *transfer, const cb_http_headers *headers,
                    cb_error *err)
{
    pthread_condattr_t attributes;
    cb_code code = take_handle(http, &transfer->easy, err);

    if (code != CB_OK)
        return code;
    code = cb_transfer_prepare(transfer, headers, err);
    if (code == CB_OK) {
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&transfer->done, &attributes);
        pthread_condattr_destroy(&attributes);
        atomic_fetch_add(&http->requests, 1);
        hand_over(http, transfer);
        pthread_cond_destroy(&transfer->done);
    }
    return_handle(http, transfer->easy, code == CB_OK && transfer->result == CURLE_OK);
    transfer->easy = NULL;
    return code;
}

void cb_http_traffic(cb_http *http, cb_traffic *out)
{
    out->requests = atomic_load(&http->requests);
    out->retries = atomic_load(&http->retries);
    out->sent_bytes = atomic_load(&http->sent);
    out->received_bytes = atomic_load(&http->received);
}

/* ---- begin and end -------------------------------------------------------------------------- */

/* libcurl looks at none of these by itself; its command does, and people rely on it. */
static cb_code find_certificates(cb_http *http, cb_error *err)
{
    static const char *const files[] = {"AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"};
    const char *folder = getenv("SSL_CERT_DIR");
    cb_code code = CB_OK;

    for (size_t i = 0; i < CB_LENGTH(files) && http->ca_file == NULL && code == CB_OK; i++) {
        const char *file = getenv(files[i]);

        if (file != NULL && file[0] != '\0')
            code = cb_arena_text(&http->arena, file, &http->ca_file, err);
    }
    if (code == CB_OK && folder != NULL && folder[0] != '\0')
        code = cb_arena_text(&http->arena, folder, &http->ca_folder, err);
    return code;
}

/* Signals are for the threads of those who call us. */
static int start_thread(cb_http *http)
{
    sigset_t all;
    sigset_t before;
    int problem;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    problem = pthread_create(&http->thread, NULL, drive, http);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    http->has_thread = problem == 0;
    return problem;
}

static cb_code open_http(cb_http *http, cb_error *err)
{
    cb_code code = find_certificates(http, err);
    int problem;

    if (code != CB_OK)
        return code;
    http->active = calloc(http->settings.connections_max, sizeof(cb_transfer *));
    http->multi = curl_multi_init();
    if (http->active == NULL || http->multi == NULL)
        return cb_fail_memory(err, http->settings.connections_max * sizeof(cb_transfer *));
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, (long)http->settings.connections_max);
    problem = start_thread(http);
    if (problem != 0)
        return cb_fail_errno(err, problem, "cannot start a thread for the network");
    return CB_OK;
}

cb_code cb_http_new(cb_ctx *ctx, const cb_http_settings *settings, cb_http **out, cb_error *err)
{
    cb_http *http;
    cb_code code;

    *out = NULL;
    pthread_once(&started, start);
    if (start_result != CURLE_OK)
        return cb_fail(err, CB_INTERNAL, "libcurl does not start: %s",
                       curl_easy_strerror(start_result));
    http = calloc(1, sizeof(*http));
    if (http == NULL)
        return cb_fail_memory(err, sizeof(*http));
    http->ctx = ctx;
    http->settings = *settings;
    if (http->settings.connections_max == 0)
        http->settings.connections_max = CONNECTIONS_USUAL;
    if (http->settings.stall_us == 0)
        http->settings.stall_us = STALL_USUAL;
    http->up.rate = settings->upload_bytes_per_second;
    http->down.rate = settings->download_bytes_per_second;
    pthread_mutex_init(&http->lock, NULL);
    code = open_http(http, err);
    if (code != CB_OK) {
        cb_http_free(http);
        return code;
    }
    *out = http;
    return CB_OK;
}

void cb_http_free(cb_http *http)
{
    if (http == NULL)
        return;
    if (http->has_thread) {
        pthread_mutex_lock(&http->lock);
        http->is_closing = true;
        pthread_mutex_unlock(&http->lock);
        curl_multi_wakeup(http->multi);
        pthread_join(http->thread, NULL);
    }
    for (size_t i = 0; i < http->idle_count; i++)
        curl_easy_cleanup(http->idle[i]);
    free(http->idle);
    if (http->multi != NULL)
        curl_multi_cleanup(http->multi);
    free(http->active);
    pthread_mutex_destroy(&http->lock);
    cb_arena_free(&http->arena);
    free(http);
}
