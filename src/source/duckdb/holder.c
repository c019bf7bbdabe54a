/*
 * holder.c - see holder.h.
 */
#include "source/duckdb/holder.h"

#include "base/file.h"
#include "source/duckdb/duckdb.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

cb_code cb_duckdb_lock_ask(int fd, const char *path, cb_duckdb_lock *out, cb_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    *out = (cb_duckdb_lock){0};
    if (fcntl(fd, F_GETLK, &lock) != 0)
        return cb_fail_errno(err, errno, "cannot ask who has '%s' open", path);
    if (lock.l_type == F_UNLCK)
        return CB_OK;
    out->held = true;
    out->is_writer = lock.l_type == F_WRLCK;
    out->pid = lock.l_pid > 0 ? (int64_t)lock.l_pid : -1;
    return CB_OK;
}

cb_code cb_duckdb_holder(const char *path, int64_t *pid, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_duckdb_lock lock;
    cb_code code;

    *pid = 0;
    code = cb_file_open(path, O_RDONLY, 0, &fd, err);
    if (code == CB_OK)
        code = cb_duckdb_lock_ask(fd, path, &lock, err);
    if (code == CB_OK)
        *pid = lock.pid;
    return code;
}

/* A small file of /proc as text; false when it cannot be read (the thread or process is gone). */
static bool slurp(const char *path, char *into, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return false;
    got = read(fd, into, size - 1);
    close(fd);
    into[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* Number behind `label` in a "label:\tnumber" text; 0 when it is not there. */
static uint64_t labelled(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    uint64_t value = 0;

    if (at == NULL)
        return 0;
    for (at += strlen(label); *at == ':' || *at == ' ' || *at == '\t'; at++)
        ;
    for (; *at >= '0' && *at <= '9'; at++)
        value = value * 10 + (uint64_t)(*at - '0');
    return value;
}

static void add_thread(const char *task, int64_t pid, const char *thread, cb_duckdb_pulse *out)
{
    char path[128], text[4096];
    uint64_t user = 0;
    uint64_t kernel = 0;
    const char *at;
    char state;

    snprintf(path, sizeof(path), "%s/%s/stat", task, thread);
    if (!slurp(path, text, sizeof(text)))
        return;              /* it has ended since the folder was read */
    at = strrchr(text, ')'); /* the name before it may hold anything */
    if (at == NULL ||
        sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &state,
               &user, &kernel) != 3) {
        out->is_known = false;
        return;
    }
    out->activity += user + kernel;
    snprintf(path, sizeof(path), "%s/%s/status", task, thread);
    if (slurp(path, text, sizeof(text)))
        out->activity += labelled(text, "\nvoluntary_ctxt_switches") +
                         labelled(text, "nonvoluntary_ctxt_switches");
    if (state != 'S' && state != 'I')
        out->all_sleeping = false;
    if (state == 'T' || state == 't' || state == 'D') {
        out->is_stopped = true;
        snprintf(out->what, sizeof(out->what), "a thread of process %lld is in state %c",
                 (long long)pid, state);
    }
}

/* Threads of a frozen control group look asleep. */
static bool group_is_frozen(int64_t pid)
{
    char path[4096], text[4096], events[256];
    char *group, *end;

    snprintf(path, sizeof(path), "/proc/%lld/cgroup", (long long)pid);
    if (!slurp(path, text, sizeof(text)))
        return false;
    group = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (group == NULL)
        return false;
    group = strchr(group, '/');
    end = group == NULL ? NULL : strchr(group, '\n');
    if (end == NULL)
        return false;
    *end = '\0';
    if (snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cgroup.events", group) >= (int)sizeof(path))
        return false;
    return slurp(path, events, sizeof(events)) && labelled(events, "frozen") == 1;
}

void cb_duckdb_pulse_take(int64_t pid, cb_duckdb_pulse *out)
{
    char task[64];
    struct dirent *entry;
    DIR *folder;

    *out = (cb_duckdb_pulse){.is_known = true, .all_sleeping = true};
    snprintf(task, sizeof(task), "/proc/%lld/task", (long long)pid);
    folder = pid > 0 ? opendir(task) : NULL;
    if (folder == NULL) {
        out->is_known = false;
        snprintf(out->what, sizeof(out->what), "its process cannot be watched from here");
        return;
    }
    for (entry = readdir(folder); entry != NULL; entry = readdir(folder))
        if (entry->d_name[0] != '.')
            add_thread(task, pid, entry->d_name, out);
    closedir(folder);
    if (!out->is_stopped && group_is_frozen(pid)) {
        out->is_stopped = true;
        snprintf(out->what, sizeof(out->what), "process %lld is frozen", (long long)pid);
    }
}

bool cb_duckdb_pulse_beats(const cb_duckdb_pulse *before, cb_duckdb_pulse *after)
{
    if (!before->is_known || !after->is_known)
        return false;
    if (before->is_stopped || after->is_stopped) {
        if (!after->is_stopped)
            memcpy(after->what, before->what, sizeof(after->what));
        return false;
    }
    if (after->activity != before->activity || (before->all_sleeping && after->all_sleeping))
        return true;
    snprintf(after->what, sizeof(after->what), "no thread of the process made progress");
    return false;
}
