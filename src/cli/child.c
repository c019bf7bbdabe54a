/*
 * One poll loop over three pipes: whoever reads only one of them at a time can wait for ever for a
 * program that waits for us.
 */
#include "cli/child.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct pipes {
    int input[2];
    int output[2];
    int errors[2];
} pipes;

static void pipes_close(pipes *self)
{
    for (unsigned side = 0; side < 2; side++) {
        cb_fd_close(&self->input[side]);
        cb_fd_close(&self->output[side]);
        cb_fd_close(&self->errors[side]);
    }
}

static void actions_free(posix_spawn_file_actions_t *actions)
{
    posix_spawn_file_actions_destroy(actions);
}

/* Our environment, with the answers in English. */
static char **c_locale_environment(void)
{
    static char locale[] = "LC_ALL=C";
    size_t count = 0;
    size_t at = 0;
    char **copy;

    while (environ[count])
        count++;
    copy = calloc(count + 2, sizeof(*copy));
    if (!copy)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "LC_ALL=", 7) != 0)
            copy[at++] = environ[i];
    copy[at] = locale;
    return copy;
}

static cb_code start(const char *const *argv, pipes *self, pid_t *child, cb_error *err)
{
    CB_CLEANUP(actions_free) posix_spawn_file_actions_t actions;
    char **environment = c_locale_environment();
    int failed;

    if (!environment) {
        posix_spawn_file_actions_init(&actions);
        return cb_fail_memory(err, 4096);
    }
    failed = posix_spawn_file_actions_init(&actions);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, self->input[0], STDIN_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, self->output[1], STDOUT_FILENO);
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(&actions, self->errors[1], STDERR_FILENO);
    /* posix_spawn's types know no const; it changes nothing. */
    if (failed == 0)
        failed = posix_spawnp(child, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv,
                              environment);
    free(environment);
    return failed ? cb_fail_errno(err, failed, "cannot run '%s'", argv[0]) : CB_OK;
}

/* One piece of what the program says; closes the pipe at its end. */
static cb_code take(int *fd, cb_buf *into, cb_error *err)
{
    char piece[4096];
    ssize_t got = read(*fd, piece, sizeof(piece));

    if (got < 0 && errno != EINTR && errno != EAGAIN)
        return cb_fail_errno(err, errno, "cannot read what a program says");
    if (got == 0)
        cb_fd_close(fd);
    return got > 0 ? cb_buf_append(into, piece, (size_t)got, err) : CB_OK;
}

/* One piece of its input; closes the pipe when all is written, or nobody wants it. */
static void give(int *fd, cb_bytes *input)
{
    ssize_t wrote = write(*fd, input->data, input->size);

    if (wrote > 0)
        *input = cb_bytes_of(input->data + wrote, input->size - (size_t)wrote);
    else if (wrote < 0 && errno != EINTR && errno != EAGAIN)
        input->size = 0;
    if (input->size == 0)
        cb_fd_close(fd);
}

static cb_code talk(pipes *self, cb_bytes input, cb_buf *output, cb_buf *errors, cb_error *err)
{
    cb_code code = CB_OK;

    if (input.size == 0)
        cb_fd_close(&self->input[1]);
    while (code == CB_OK && (self->output[0] >= 0 || self->errors[0] >= 0)) {
        struct pollfd polled[3] = {{.fd = self->input[1], .events = POLLOUT},
                                   {.fd = self->output[0], .events = POLLIN},
                                   {.fd = self->errors[0], .events = POLLIN}};

        if (poll(polled, 3, -1) < 0 && errno != EINTR)
            return cb_fail_errno(err, errno, "cannot wait for a program");
        if (polled[0].revents != 0)
            give(&self->input[1], &input);
        if (polled[1].revents != 0)
            code = take(&self->output[0], output, err);
        if (code == CB_OK && polled[2].revents != 0)
            code = take(&self->errors[0], errors, err);
    }
    return code;
}

static cb_code open_pipes(pipes *self, cb_error *err)
{
    if (pipe2(self->input, O_CLOEXEC) != 0 || pipe2(self->output, O_CLOEXEC) != 0 ||
        pipe2(self->errors, O_CLOEXEC) != 0)
        return cb_fail_errno(err, errno, "cannot make a pipe");
    /* A program that does not read must not hold us in write(2). */
    if (fcntl(self->input[1], F_SETFL, O_NONBLOCK) != 0)
        return cb_fail_errno(err, errno, "cannot set up a pipe");
    return CB_OK;
}

cb_code cb_spawn(const char *const *argv, cb_bytes input, cb_buf *output, cb_buf *errors,
                 int *status, cb_error *err)
{
    CB_CLEANUP(pipes_close) pipes self = {{-1, -1}, {-1, -1}, {-1, -1}};
    pid_t child = -1;
    int ended = 0;
    cb_code code = open_pipes(&self, err);

    if (code == CB_OK)
        code = start(argv, &self, &child, err);
    if (code != CB_OK)
        return code;
    cb_fd_close(&self.input[0]);
    cb_fd_close(&self.output[1]);
    cb_fd_close(&self.errors[1]);
    code = talk(&self, input, output, errors, err);
    pipes_close(&self); /* after an error the program must not wait for us while we wait for it */
    while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
        ;
    *status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
    return code;
}

bool cb_program_exists(const char *name)
{
    const char *at = getenv("PATH");
    char path[CB_PATH_MAX];

    for (; at && *at; at += strcspn(at, ":") + (at[strcspn(at, ":")] == ':')) {
        size_t size = strcspn(at, ":");

        if (size == 0 || size + strlen(name) + 2 > sizeof(path))
            continue;
        memcpy(path, at, size);
        path[size] = '/';
        memcpy(path + size + 1, name, strlen(name) + 1);
        if (access(path, X_OK) == 0)
            return true;
    }
    return false;
}
