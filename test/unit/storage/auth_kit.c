#include "auth_kit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "temp.h"
#include "unit.h"

extern char **environ;

/* ---- the service ---------------------------------------------------------------------------- */

static size_t body_size(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");

    return at != NULL ? strtoul(at + 17, NULL, 10) : 0;
}

/* All of one request, or as much as came. */
static char *read_request(int fd)
{
    char *text = calloc(1, KIT_TEXT_MAX);
    size_t used = 0;
    bool was_told = false;

    while (text != NULL && used + 1 < KIT_TEXT_MAX) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        const char *end = strstr(text, "\r\n\r\n");
        ssize_t got;

        if (end != NULL && !was_told && strcasestr(text, "\r\nexpect: 100-continue") != NULL)
            was_told = write(fd, go_on, sizeof(go_on) - 1) > 0;
        if (end != NULL && used >= (size_t)(end + 4 - text) + body_size(text))
            break;
        got = read(fd, text + used, KIT_TEXT_MAX - 1 - used);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    return text;
}

static void answer(int fd, const kit_answer *answers, const char *request)
{
    char head[256];
    unsigned status = 404;
    const char *body = "";

    for (; answers != NULL && answers->request != NULL; answers++) {
        if (strncmp(request, answers->request, strlen(answers->request)) == 0) {
            status = answers->status;
            body = answers->body;
            break;
        }
    }
    snprintf(head, sizeof(head),
             "HTTP/1.1 %u X\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
             strlen(body));
    (void)!write(fd, head, strlen(head));
    (void)!write(fd, body, strlen(body));
}

static void *serve(void *arg)
{
    test_kit *kit = arg;

    for (;;) {
        int fd = accept(kit->listener, NULL, NULL);
        const kit_answer *answers;
        char *request;

        if (fd < 0)
            return NULL; /* the listener was shut down */
        request = read_request(fd);
        pthread_mutex_lock(&kit->lock);
        answers = kit->answers;
        if (request != NULL && kit->count < KIT_REQUESTS_MAX)
            kit->seen[kit->count++] = request;
        pthread_mutex_unlock(&kit->lock);
        if (request != NULL)
            answer(fd, answers, request);
        close(fd);
    }
}

/* ---- the world ------------------------------------------------------------------------------ */

static void clear_environment(void)
{
    static const char *const prefixes[] = {
        "AWS_",      "GOOGLE_", "GCE_",   "NO_GCE", "CLOUDSDK_", "STORAGE_", "AZURE_",
        "IDENTITY_", "http_",   "https_", "HTTPS_", "all_proxy", "ALL_PROXY"};

    for (char **at = environ; *at != NULL;) {
        char name[128];
        bool is_cloud = false;

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(*at, "="), *at);
        for (size_t i = 0; i < CB_LENGTH(prefixes); i++)
            is_cloud = is_cloud || strncmp(name, prefixes[i], strlen(prefixes[i])) == 0;
        if (!is_cloud || unsetenv(name) != 0)
            at++;
    }
}

void kit_start(test_kit *kit, const kit_answer *answers)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    cb_http_settings settings = {0};
    cb_error err = {0};

    memset(kit, 0, sizeof(*kit));
    clear_environment();
    test_temp_make(kit->folder);
    kit_set("HOME", "%s", kit->folder);
    /* Nobody listens there: the real services of the machine that tests run on are not asked. */
    kit_set("AWS_EC2_METADATA_DISABLED", "true");
    kit_set("NO_GCE_CHECK", "true");
    kit->ctx = test_ctx_new();
    test_hooks_install(&kit->hooks, kit->ctx, KIT_NOW, 1);
    assert_ok(cb_http_new(kit->ctx, &settings, &kit->http, &err));

    pthread_mutex_init(&kit->lock, NULL);
    kit->answers = answers;
    kit->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(kit->listener >= 0);
    assert_int_equal(bind(kit->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(kit->listener, 64), 0);
    assert_int_equal(getsockname(kit->listener, (struct sockaddr *)&address, &size), 0);
    snprintf(kit->url, sizeof(kit->url), "http://127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&kit->thread, NULL, serve, kit), 0);
}

void kit_stop(test_kit *kit)
{
    shutdown(kit->listener, SHUT_RDWR);
    pthread_join(kit->thread, NULL);
    close(kit->listener);
    for (unsigned i = 0; i < kit->count; i++)
        free(kit->seen[i]);
    pthread_mutex_destroy(&kit->lock);
    cb_http_free(kit->http);
    cb_ctx_free(kit->ctx);
    test_temp_remove(kit->folder);
}

void kit_answers(test_kit *kit, const kit_answer *answers)
{
    pthread_mutex_lock(&kit->lock);
    kit->answers = answers;
    pthread_mutex_unlock(&kit->lock);
}

unsigned kit_count(test_kit *kit)
{
    unsigned count;

    pthread_mutex_lock(&kit->lock);
    count = kit->count;
    pthread_mutex_unlock(&kit->lock);
    return count;
}

const char *kit_seen(test_kit *kit, unsigned number)
{
    const char *text = NULL;

    pthread_mutex_lock(&kit->lock);
    if (number < kit->count)
        text = kit->seen[number];
    pthread_mutex_unlock(&kit->lock);
    if (text == NULL)
        fail_msg("request %u was never made", number);
    return text;
}

const char *kit_file(test_kit *kit, const char *name, const char *format, ...)
{
    char parent[512];
    cb_error err = {0};
    va_list args;
    FILE *file;

    snprintf(kit->path, sizeof(kit->path), "%s/%s", kit->folder, name);
    snprintf(parent, sizeof(parent), "%.*s", (int)(strrchr(kit->path, '/') - kit->path), kit->path);
    assert_ok(cb_folder_make(parent, &err));
    file = fopen(kit->path, "w");
    assert_non_null(file);
    va_start(args, format);
    vfprintf(file, format, args);
    va_end(args);
    assert_int_equal(fclose(file), 0);
    return kit->path;
}

void kit_set(const char *name, const char *format, ...)
{
    char text[8192];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert_int_equal(setenv(name, text, 1), 0);
}

void kit_check_silent(const cb_error *err)
{
    if (strstr(err->message, "S3CRET") != NULL || strstr(err->hint, "S3CRET") != NULL)
        fail_msg("a secret in: %s / %s", err->message, err->hint);
}
