/*
 * auth_kit.h - for tests of credentials: a world without any, and a service on loopback that
 * answers from a table and remembers what it was asked.
 *
 * All secrets of these tests contain "S3CRET", so that a message that leaks one is found.
 */
#ifndef CB_TEST_AUTH_KIT_H
#define CB_TEST_AUTH_KIT_H

#include <pthread.h>

#include "fake_hooks.h"
#include "storage/auth/auth_internal.h"

typedef struct kit_answer {
    const char *request; /* the front of the request line: "GET /latest/" */
    unsigned status;
    const char *body;
} kit_answer;

enum { KIT_REQUESTS_MAX = 256, KIT_TEXT_MAX = 16384 };

typedef struct test_kit {
    char folder[256]; /* HOME */
    cb_ctx *ctx;
    cb_http *http;
    test_hooks hooks;
    char url[64]; /* of the service */
    char path[512];

    int listener;
    pthread_t thread;
    pthread_mutex_t lock;
    const kit_answer *answers; /* ended by one without request; the first that fits is given */
    unsigned count;            /* of requests */
    char *seen[KIT_REQUESTS_MAX];
} test_kit;

/* Time stands at 2026-11-21T12:00:00Z. The environment of clouds is cleared. */
#define KIT_NOW INT64_C(1795262400000000)
void kit_start(test_kit *kit, const kit_answer *answers);
void kit_stop(test_kit *kit);
void kit_answers(test_kit *kit, const kit_answer *answers);
unsigned kit_count(test_kit *kit);
/* Request `number` (from 0), head and body. Fails the test when there is none. */
const char *kit_seen(test_kit *kit, unsigned number);
/* Write a file below the folder; returns its path, good until the next call. */
const char *kit_file(test_kit *kit, const char *name, const char *format, ...) CB_PRINTF(3, 4);
void kit_set(const char *name, const char *format, ...) CB_PRINTF(2, 3); /* environment */

/* Fails the test when a secret stands in it. */
void kit_check_silent(const cb_error *err);

#endif
