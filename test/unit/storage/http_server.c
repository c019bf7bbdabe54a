/*
 * http_server.c - one thread a connection; enough of HTTP for libcurl.
 */
#include "http_server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD_MAX = 65536 };

typedef struct connection {
    http_server *server;
    unsigned number;
    int fd;
} connection;

static void must(bool is_right, const char *what)
{
    if (is_right)
        return;
    perror(what);
    exit(99);
}

static bool send_all(int fd, const void *data, size_t size)
{
    const char *at = data;

    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* The value of a header of the request, as a number; 0 when it is not there. */
static size_t number_of(const cb_buf *head, const char *name)
{
    const char *at = strcasestr((const char *)head->data, name);

    return at != NULL ? strtoul(at + strlen(name), NULL, 10) : 0;
}

/* Up to the empty line; what came behind it goes to `body`. */
static bool read_head(int fd, cb_buf *head, cb_buf *body)
{
    cb_error err;

    for (;;) {
        char piece[4096];
        ssize_t n = recv(fd, piece, sizeof(piece), 0);
        const char *end;

        if (n <= 0 || head->size > HEAD_MAX)
            return false;
        must(cb_buf_append(head, piece, (size_t)n, &err) == CB_OK, "memory");
        must(cb_buf_reserve(head, 1, &err) == CB_OK, "memory");
        head->data[head->size] = '\0';
        end = strstr((const char *)head->data, "\r\n\r\n");
        if (end == NULL)
            continue;
        end += 4;
        n = (const char *)head->data + head->size - end;
        must(cb_buf_append(body, end, (size_t)n, &err) == CB_OK, "memory");
        head->size -= (size_t)n;
        head->data[head->size] = '\0';
        return true;
    }
}

static bool read_body(int fd, const cb_buf *head, cb_buf *body, size_t stop_at)
{
    size_t length = number_of(head, "\r\ncontent-length:");
    cb_error err;

    if (strcasestr((const char *)head->data, "100-continue") != NULL)
        send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    if (stop_at > 0 && length > stop_at)
        length = stop_at;
    while (body->size < length) {
        char piece[65536];
        ssize_t n = recv(fd, piece, sizeof(piece), 0);

        if (n <= 0)
            return false;
        must(cb_buf_append(body, piece, (size_t)n, &err) == CB_OK, "memory");
    }
    return true;
}

static http_step next_step(http_server *server)
{
    http_step step;

    pthread_mutex_lock(&server->lock);
    server->requests++;
    step = server->steps[server->next];
    if (server->next + 1 < server->step_count)
        server->next++;
    pthread_mutex_unlock(&server->lock);
    return step;
}

static void remember(http_server *server, cb_buf *head, cb_buf *body)
{
    pthread_mutex_lock(&server->lock);
    cb_buf_free(&server->head);
    cb_buf_free(&server->body);
    server->head = *head;
    server->body = *body;
    pthread_mutex_unlock(&server->lock);
    memset(head, 0, sizeof(*head));
    memset(body, 0, sizeof(*body));
}

/* False: the connection has ended. */
static bool answer(http_server *server, int fd, bool is_head, const http_step *step)
{
    char head[2048];
    size_t size = step->body_size != 0 ? step->body_size
                  : step->body != NULL ? strlen(step->body)
                                       : 0;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int length;

    (void)server;
    if (step->action == HTTP_HANG_UP)
        return false;
    length = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n",
                      step->status, step->headers != NULL ? step->headers : "", size);
    if (!send_all(fd, head, (size_t)length))
        return false;
    if (step->action == HTTP_ANSWER)
        return is_head || send_all(fd, step->body, size);
    send_all(fd, step->body, size / 2);
    if (step->action == HTTP_STALL)
        poll(&wait, 1, 20000); /* until the other side gives up */
    return false;
}

static void *serve(void *arg)
{
    connection self = *(connection *)arg;
    bool goes_on = true;

    free(arg);
    while (goes_on) {
        cb_buf head = {0};
        cb_buf body = {0};

        goes_on = read_head(self.fd, &head, &body);
        if (goes_on) {
            http_step step = next_step(self.server);
            bool is_head = strncmp((const char *)head.data, "HEAD ", 5) == 0;

            goes_on = read_body(self.fd, &head, &body, step.action == HTTP_CUT_FIRST ? 1000 : 0) &&
                      step.action != HTTP_CUT_FIRST;
            if (goes_on) {
                remember(self.server, &head, &body);
                goes_on = answer(self.server, self.fd, is_head, &step);
            }
        }
        cb_buf_free(&head);
        cb_buf_free(&body);
    }
    pthread_mutex_lock(&self.server->lock);
    self.server->open[self.number] = -1;
    close(self.fd);
    pthread_mutex_unlock(&self.server->lock);
    return NULL;
}

static void *listen_for(void *arg)
{
    http_server *server = arg;

    for (;;) {
        int fd = accept(server->listener, NULL, NULL);
        connection *one;

        if (fd < 0)
            return NULL;
        must(server->connections < CB_LENGTH(server->open), "too many connections");
        one = malloc(sizeof(*one));
        must(one != NULL, "memory");
        *one = (connection){server, server->connections, fd};
        server->open[server->connections] = fd;
        must(pthread_create(&server->threads[server->connections], NULL, serve, one) == 0,
             "thread");
        server->connections++;
    }
}

void http_server_start(http_server *server, const http_step *steps, size_t count)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(at);

    memset(server, 0, sizeof(*server));
    pthread_mutex_init(&server->lock, NULL);
    http_server_script(server, steps, count);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(server->listener >= 0, "socket");
    must(bind(server->listener, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
    must(listen(server->listener, 64) == 0, "listen");
    must(getsockname(server->listener, (struct sockaddr *)&at, &size) == 0, "getsockname");
    server->port = ntohs(at.sin_port);
    must(pthread_create(&server->thread, NULL, listen_for, server) == 0, "thread");
}

void http_server_script(http_server *server, const http_step *steps, size_t count)
{
    pthread_mutex_lock(&server->lock);
    server->steps = steps;
    server->step_count = count;
    server->next = 0;
    pthread_mutex_unlock(&server->lock);
}

void http_server_stop(http_server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    for (unsigned i = 0; i < server->connections; i++) {
        pthread_mutex_lock(&server->lock);
        if (server->open[i] >= 0)
            shutdown(server->open[i], SHUT_RDWR);
        pthread_mutex_unlock(&server->lock);
        pthread_join(server->threads[i], NULL);
    }
    cb_buf_free(&server->head);
    cb_buf_free(&server->body);
    pthread_mutex_destroy(&server->lock);
}
