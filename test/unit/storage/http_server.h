/*
 * http_server.h - a server on loopback that answers by a script, for tests of the http client.
 *
 * Each request, whoever sends it, takes the next step; the last step is repeated for ever.
 */
#ifndef CB_TEST_HTTP_SERVER_H
#define CB_TEST_HTTP_SERVER_H

#include "base/bytes.h"

#include <pthread.h>
#include <stdatomic.h>

typedef enum http_action {
    HTTP_ANSWER,
    HTTP_HANG_UP,   /* the request is read, nothing is answered */
    HTTP_CUT,       /* half of the body, then the connection is closed */
    HTTP_CUT_FIRST, /* hang up in the middle of the request's body */
    HTTP_STALL,     /* half of the body, then nothing more */
} http_action;

typedef struct http_step {
    const char *status;  /* "200 OK" */
    const char *headers; /* lines that end in \r\n; NULL: none */
    const char *body;    /* NULL: none */
    size_t body_size;    /* 0: strlen(body) */
    http_action action;
} http_step;

typedef struct http_server {
    int listener;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock;
    const http_step *steps;
    size_t step_count, next;
    atomic_uint connections, requests;
    cb_buf head, body; /* of the last request */
    int open[64];
    pthread_t threads[64];
} http_server;

void http_server_start(http_server *server, const http_step *steps, size_t count);
void http_server_script(http_server *server, const http_step *steps, size_t count);
void http_server_stop(http_server *server);

#endif
