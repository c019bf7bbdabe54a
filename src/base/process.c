/*
 * process.c - commands run in a process group of their own, so that cancelling reaches all that
 * they started. Their input and output are memory files: no pipe to fill, no SIGPIPE, nothing on
 * disk.
 */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

enum { POLL_MS = 50, POLL_BLIND_MS = 10, GRACE_US = 2 * 1000 * 1000 };

static void free_text_list(char ***list)
{
    free(*list);
    *list = NULL;
}

/* Does `entry` ("K=V") set a variable that `additions` sets too? */
static bool is_replaced(const char *entry, const char *const *additions)
{
    size_t name = strcspn(entry, "=") + 1;

    for (; additions != NULL && *additions != NULL; additions++) {
        if (strncmp(entry, *additions, name) == 0)
            return true;
    }
    return false;
}

/* Our environment with `additions`; the strings are borrowed, the list is the caller's. */
static cb_code merge_environment(const char *const *additions, char ***out, cb_error *err)
{
    size_t count = 1;
    size_t used = 0;
    char **list;

    for (char **at = environ; at != NULL && *at != NULL; at++)
        count++;
    for (const char *const *at = additions; at != NULL && *at != NULL; at++)
        count++;
    list = calloc(count, sizeof(*list));
    if (list == NULL)
        return cb_fail_memory(err, count * sizeof(*list));
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        if (!is_replaced(*at, additions))
            list[used++] = *at;
    }
    for (const char *const *at = additions; at != NULL && *at != NULL; at++)
        memcpy(&list[used++], at, sizeof(*at)); /* posix_spawn only reads them */
    *out = list;
    return CB_OK;
}

static cb_code open_input(const char *input, int *out, cb_error *err)
{
    cb_code code;

    if (input == NULL)
        return cb_file_open("/dev/null", O_RDONLY, 0, out, err);
    *out = memfd_create("input", MFD_CLOEXEC);
    if (*out < 0)
        return cb_fail_errno(err, errno, "cannot make the input of a command");
    code = cb_file_write(*out, "input of a command", 0, input, strlen(input), err);
    return code;
}

static int spawn_shell(const char *command, int input, int output, char **environment, pid_t *out)
{
    char *const arguments[] = {(char[]){"sh"}, (char[]){"-c"}, strdup(command), NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t defaults;
    int problem;

    sigemptyset(&none);
    sigemptyset(&defaults);
    for (int signal = 1; signal < 32; signal++) {
        if (signal != SIGKILL && signal != SIGSTOP)
            sigaddset(&defaults, signal);
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    problem = arguments[2] == NULL
                  ? ENOMEM
                  : posix_spawn(out, "/bin/sh", &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(arguments[2]);
    return problem;
}

/* Has it ended? Then it is reaped and *status is set. */
static bool has_ended(pid_t child, int *status)
{
    pid_t result;

    do
        result = waitpid(child, status, WNOHANG);
    while (result < 0 && errno == EINTR);
    return result != 0;
}

/* Ask the whole group to end, then make it. */
static void stop_group(pid_t child)
{
    int64_t until = cb_monotonic_us() + GRACE_US;
    int status;

    kill(-child, SIGTERM);
    while (!has_ended(child, &status)) {
        if (cb_monotonic_us() > until)
            kill(-child, SIGKILL);
        poll(NULL, 0, POLL_BLIND_MS);
    }
    kill(-child, SIGKILL); /* what the shell left running */
}

/* What a command may take. */
typedef struct output_bounds {
    int64_t timeout_us; /* 0: no limit */
    int output;         /* a memory file; -1: none */
    uint64_t output_max;
} output_bounds;

static cb_code check_bounds(const output_bounds *bounds, int64_t started_us, cb_error *err)
{
    struct stat facts;

    if (bounds->output >= 0 &&
        (fstat(bounds->output, &facts) != 0 || (uint64_t)facts.st_size > bounds->output_max))
        return cb_fail(err, CB_TOO_LARGE, "a command wrote more than %llu bytes",
                       (unsigned long long)bounds->output_max);
    if (bounds->timeout_us > 0 && cb_monotonic_us() - started_us > bounds->timeout_us)
        return cb_fail(err, CB_IO, "a command had not ended after %lld s",
                       (long long)(bounds->timeout_us / 1000000));
    return CB_OK;
}

static cb_code wait_for(cb_ctx *ctx, pid_t child, const output_bounds *bounds, int *status,
                        cb_error *err)
{
    /* Without pidfd (an old kernel) poll ignores the -1 and only sleeps. */
    CB_CLEANUP(cb_fd_close) int watch = pidfd_open(child, 0);
    int64_t started_us = cb_monotonic_us();
    cb_code code = CB_OK;

    *status = 0;
    while (!has_ended(child, status)) {
        struct pollfd wait = {.fd = watch, .events = POLLIN};

        code = cb_check_cancel(ctx, err);
        if (code == CB_OK)
            code = check_bounds(bounds, started_us, err);
        if (code != CB_OK) {
            stop_group(child);
            return code;
        }
        poll(&wait, 1, watch >= 0 ? POLL_MS : POLL_BLIND_MS);
    }
    return check_bounds(bounds, started_us, err);
}

cb_code cb_run_command(cb_ctx *ctx, const char *command, const char *const *environment,
                       const char *input, cb_error *err)
{
    CB_CLEANUP(free_text_list) char **merged = NULL;
    CB_CLEANUP(cb_fd_close) int fd = -1;
    output_bounds none = {.output = -1};
    pid_t child;
    int status;
    int problem;
    cb_code code;

    code = merge_environment(environment, &merged, err);
    if (code == CB_OK)
        code = open_input(input, &fd, err);
    if (code != CB_OK)
        return code;

    problem = spawn_shell(command, fd, STDERR_FILENO, merged, &child);
    if (problem != 0)
        return cb_fail(err, CB_IO, "cannot start the command '%.200s': %s", command,
                       strerrordesc_np(problem));
    code = wait_for(ctx, child, &none, &status, err);
    if (code != CB_OK)
        return code;
    if (WIFSIGNALED(status))
        return cb_fail(err, CB_IO, "the command '%.200s' was ended by signal %d", command,
                       WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return cb_fail(err, CB_IO, "the command '%.200s' ended with status %d", command,
                       WEXITSTATUS(status));
    return CB_OK;
}

/* Append what lies in the memory file that a command wrote to. */
static cb_code take_output(int fd, size_t size, cb_buf *into, cb_error *err)
{
    size_t got;
    cb_code code = cb_buf_reserve(into, size, err);

    if (code == CB_OK)
        code = cb_file_read(fd, "output of a command", 0, into->data + into->size, size, &got, err);
    if (code == CB_OK)
        into->size += got;
    return code;
}

cb_code cb_run_output(cb_ctx *ctx, const char *command, int64_t timeout_us, cb_buf *into,
                      cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int input = -1;
    CB_CLEANUP(cb_fd_close) int output = memfd_create("output", MFD_CLOEXEC);
    output_bounds bounds = {timeout_us, output, into->limit - into->size};
    struct stat facts;
    pid_t child;
    int status;
    int problem;
    cb_code code;

    if (output < 0)
        return cb_fail_errno(err, errno, "cannot make a place for the output of a command");
    code = open_input(NULL, &input, err);
    if (code != CB_OK)
        return code;
    problem = spawn_shell(command, input, output, environ, &child);
    if (problem != 0)
        return cb_fail(err, CB_IO, "cannot start a command: %s", strerrordesc_np(problem));
    code = wait_for(ctx, child, &bounds, &status, err);
    kill(-child, SIGKILL); /* what the shell left running: it could still write */
    if (code != CB_OK)
        return code;
    if (WIFSIGNALED(status))
        return cb_fail(err, CB_IO, "a command was ended by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return cb_fail(err, CB_IO, "a command ended with status %d", WEXITSTATUS(status));
    if (fstat(output, &facts) != 0)
        return cb_fail_errno(err, errno, "cannot read the output of a command");
    return take_output(output, (size_t)facts.st_size, into, err);
}

void cb_process_self(cb_process_identity *out)
{
    CB_CLEANUP(cb_buf_free) cb_buf boot = {.limit = sizeof(out->boot_id) - 1};
    cb_error err;
    ssize_t length;

    *out = (cb_process_identity){.pid = getpid()};
    /* What cannot be learnt stays empty: such an identity is never declared gone. */
    if (gethostname(out->host, sizeof(out->host) - 1) != 0)
        out->host[0] = '\0';
    if (cb_file_slurp("/proc/sys/kernel/random/boot_id", &boot, &err) == CB_OK && boot.size > 0) {
        memcpy(out->boot_id, boot.data, boot.size);
        out->boot_id[strcspn(out->boot_id, "\n")] = '\0';
    }
    length = readlink("/proc/self/ns/pid", out->pid_namespace, sizeof(out->pid_namespace) - 1);
    out->pid_namespace[length > 0 ? length : 0] = '\0';
}

static bool same_known(const char *a, const char *b)
{
    return a[0] != '\0' && strcmp(a, b) == 0;
}

bool cb_process_is_gone(const cb_process_identity *other)
{
    cb_process_identity self;

    cb_process_self(&self);
    if (!same_known(self.host, other->host) || !same_known(self.boot_id, other->boot_id) ||
        !same_known(self.pid_namespace, other->pid_namespace))
        return false;
    if (other->pid <= 0 || other->pid > INT32_MAX)
        return false;
    return kill((pid_t)other->pid, 0) != 0 && errno == ESRCH;
}
