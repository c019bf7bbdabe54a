/*
 * stopper.c - run a command and freeze the whole of it after each call that changes certain files.
 *
 *     stopper PREFIX [--torn] -- COMMAND ARGUMENT...
 *
 * A call counts when it writes, syncs, cuts, makes, removes or renames a file whose absolute path
 * begins with PREFIX. After such a call every thread of the command stands still in a ptrace stop
 * (state 't'), and the outside world may look at the files for as long as it likes. With --torn a
 * pwrite is also stopped when half of its bytes are written; then it is done again, whole.
 *
 * The talk, line by line. On standard output:
 *     started PID
 *     stop NUMBER CALL PATH DETAIL      frozen after the NUMBER-th such call
 *     exit STATUS | signal NUMBER       the command has ended; so does the stopper
 * On standard input, after each stop (and once after "started"):
 *     go N       run on, stop at the N-th such call from here
 *     run        run on without another stop
 *     kill       kill -9 the command as it stands
 * When standard input ends the command is killed. The command's own standard output goes to our
 * standard error, its input is /dev/null.
 *
 * How: a seccomp filter traps only the calls of interest (PTRACE_EVENT_SECCOMP, at entry), so all
 * else runs at full speed. PTRACE_SEIZE allows PTRACE_INTERRUPT, by which the other threads are
 * brought to a halt. A thread that reaches a call of its own meanwhile has its event kept until
 * the next run. All memory of threads is a fixed table.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 512, SYSCALL_STOP = SIGTRAP | 0x80 };

/* Which argument of a call names the file. */
typedef enum how {
    BY_FD,
    BY_PATH,
    BY_PATH_AT,
    BY_TWO_PATHS,
    BY_TWO_PATHS_AT,
    BY_CREATE_AT,
    BY_CREATE
} how;

typedef struct call {
    long number;
    const char *name;
    how how;
} call;

static const call calls[] = {
    {SYS_pwrite64, "pwrite64", BY_FD},
    {SYS_write, "write", BY_FD},
    {SYS_pwritev, "pwritev", BY_FD},
    {SYS_writev, "writev", BY_FD},
    {SYS_fsync, "fsync", BY_FD},
    {SYS_fdatasync, "fdatasync", BY_FD},
    {SYS_ftruncate, "ftruncate", BY_FD},
    {SYS_fallocate, "fallocate", BY_FD},
    {SYS_unlinkat, "unlinkat", BY_PATH_AT},
    {SYS_renameat, "renameat", BY_TWO_PATHS_AT},
    {SYS_renameat2, "renameat2", BY_TWO_PATHS_AT},
    {SYS_openat, "openat", BY_CREATE_AT},
#ifdef SYS_open
    {SYS_open, "open", BY_CREATE},
#endif
#ifdef SYS_unlink
    {SYS_unlink, "unlink", BY_PATH},
#endif
#ifdef SYS_rename
    {SYS_rename, "rename", BY_TWO_PATHS},
#endif
    {SYS_truncate, "truncate", BY_PATH},
};
enum { CALLS = sizeof calls / sizeof calls[0] };

typedef struct tracee {
    pid_t tid;        /* 0: the place is free */
    bool stopped;     /* in a ptrace stop; else it runs */
    int status;       /* of the stop that is not yet dealt with, as waitpid gave it */
    bool pending;     /* there is such a stop */
    bool in_call;     /* between entry and exit of a call that counts */
    bool torn;        /* the call in progress was halved: do it again */
    bool again;       /* the next entry is that second time */
    const call *call; /* with in_call */
    char path[PATH_MAX];
    char detail[128];
    uint64_t saved_length;
} tracee;

static tracee threads[THREADS_MAX];
static const char *prefix;
static bool tear;
static pid_t leader;
static unsigned long stops;
static unsigned long wanted = 1; /* stop at the how-many-th call from here; 0: never again */

static void die(const char *what)
{
    fprintf(stderr, "stopper: %s: %s\n", what, strerror(errno));
    if (leader > 0)
        kill(leader, SIGKILL);
    exit(125);
}

static tracee *thread_find(pid_t tid, bool make)
{
    tracee *empty = NULL;

    for (size_t i = 0; i < THREADS_MAX; i++) {
        if (threads[i].tid == tid)
            return &threads[i];
        if (threads[i].tid == 0 && empty == NULL)
            empty = &threads[i];
    }
    if (!make)
        return NULL;
    if (empty == NULL) {
        errno = EAGAIN;
        die("too many threads");
    }
    *empty = (tracee){.tid = tid};
    return empty;
}

/* ---- what a call is about --------------------------------------------------------------- */

static bool read_text(pid_t tid, uint64_t address, char *into, size_t cap)
{
    size_t done = 0;

    /* Page by page, since the page after the text need not be there. */
    while (done < cap - 1) {
        size_t part = 4096 - ((address + done) & 4095);
        struct iovec to;
        struct iovec from;
        ssize_t got;

        if (part > cap - 1 - done)
            part = cap - 1 - done;
        to = (struct iovec){into + done, part};
        from = (struct iovec){(void *)(uintptr_t)(address + done), part};
        got = process_vm_readv(tid, &to, 1, &from, 1, 0);
        if (got <= 0)
            return false;
        if (memchr(into + done, 0, (size_t)got) != NULL)
            return true;
        done += (size_t)got;
    }
    into[cap - 1] = 0;
    return false;
}

static bool path_of_fd(pid_t tid, uint64_t fd, char path[PATH_MAX])
{
    char link[64];
    ssize_t length;

    snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)tid, (int)fd);
    length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return false;
    path[length] = 0;
    return true;
}

/* Relative names are not resolved: whoever uses this names its files from the root. */
static bool path_of_text(pid_t tid, uint64_t address, char path[PATH_MAX])
{
    return read_text(tid, address, path, PATH_MAX);
}

static bool counts(const char *path)
{
    return strncmp(path, prefix, strlen(prefix)) == 0;
}

/* Does the call about to begin change a file of ours? Fills path and detail. */
static bool describe(tracee *thread, const call *found, const uint64_t *args)
{
    char second[PATH_MAX];
    size_t at =
        found->how == BY_PATH_AT || found->how == BY_CREATE_AT || found->how == BY_TWO_PATHS_AT ? 1
                                                                                                : 0;
    struct stat st;

    thread->detail[0] = 0;
    switch (found->how) {
    case BY_FD:
        if (!path_of_fd(thread->tid, args[0], thread->path))
            return false;
        if (found->number == SYS_pwrite64)
            snprintf(thread->detail, sizeof thread->detail, "%llu@%llu",
                     (unsigned long long)args[2], (unsigned long long)args[3]);
        return counts(thread->path);
    case BY_PATH:
    case BY_PATH_AT:
        return path_of_text(thread->tid, args[at], thread->path) && counts(thread->path);
    case BY_CREATE:
    case BY_CREATE_AT:
        if ((args[at + 1] & O_CREAT) == 0 && (args[at + 1] & O_TRUNC) == 0)
            return false;
        if (!path_of_text(thread->tid, args[at], thread->path) || !counts(thread->path))
            return false;
        return (args[at + 1] & O_TRUNC) != 0 || stat(thread->path, &st) != 0;
    case BY_TWO_PATHS:
    case BY_TWO_PATHS_AT:
        if (!path_of_text(thread->tid, args[at], thread->path) ||
            !path_of_text(thread->tid, args[found->how == BY_TWO_PATHS ? 1 : 3], second))
            return false;
        snprintf(thread->detail, sizeof thread->detail, "%.120s", second);
        return counts(thread->path) || counts(second);
    }
    return false;
}

/* ---- halved writes ---------------------------------------------------------------------- */

#if defined(__x86_64__)
static bool halve(tracee *thread)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, thread->tid, 0, &regs) != 0 || regs.rdx < 2)
        return false;
    thread->saved_length = regs.rdx;
    regs.rdx /= 2;
    return ptrace(PTRACE_SETREGS, thread->tid, 0, &regs) == 0;
}

/* At the exit of the halved call: go back to the call instruction, with everything as it was. */
static void rewind_call(tracee *thread)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, thread->tid, 0, &regs) != 0)
        return; /* killed while it stood here */
    regs.rdx = thread->saved_length;
    regs.rax = regs.orig_rax;
    regs.rip -= 2;
    if (ptrace(PTRACE_SETREGS, thread->tid, 0, &regs) != 0)
        die("registers");
}
#else
static bool halve(tracee *thread)
{
    (void)thread;
    return false;
}

static void rewind_call(tracee *thread)
{
    (void)thread;
}
#endif

/* ---- the command and its threads -------------------------------------------------------- */

static void install_filter(void)
{
    struct sock_filter code[CALLS + 3];
    struct sock_fprog program = {.len = CALLS + 3, .filter = code};
    size_t n = 0;

    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < CALLS; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i].number, (uint8_t)(CALLS - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(126);
}

static void start(char **argv)
{
    int ready[2];
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char byte = 0;

    if (null < 0 || pipe2(ready, O_CLOEXEC) != 0)
        die("pipe");
    leader = fork();
    if (leader < 0)
        die("fork");
    if (leader == 0) {
        if (read(ready[0], &byte, 1) != 1) /* wait until we are seized */
            _exit(126);
        if (dup2(null, 0) < 0 || dup2(2, 1) < 0)
            _exit(126);
        install_filter();
        execvp(argv[0], argv);
        _exit(127);
    }
    if (ptrace(PTRACE_SEIZE, leader, 0,
               PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                   PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_TRACESECCOMP |
                   PTRACE_O_EXITKILL) != 0)
        die("ptrace");
    thread_find(leader, true);
    if (write(ready[1], &byte, 1) != 1)
        die("pipe");
    close(ready[0]);
    close(ready[1]);
    close(null);
}

static void resume(tracee *thread, long request, int signal)
{
    thread->stopped = false;
    thread->pending = false;
    /* ESRCH: it was killed meanwhile; waitpid will tell. */
    if (ptrace((enum __ptrace_request)request, thread->tid, 0, (void *)(intptr_t)signal) != 0 &&
        errno != ESRCH)
        die("resume");
}

/* Wait until one thread stops (noted as pending) or ends. False when the leader has ended. */
static bool wait_for_one(int *ended)
{
    int status;
    pid_t tid;
    tracee *thread;

    do
        tid = waitpid(-1, &status, __WALL);
    while (tid < 0 && errno == EINTR);
    if (tid < 0)
        die("wait");
    thread = thread_find(tid, true);
    if (WIFEXITED(status) || WIFSIGNALED(status)) {
        thread->tid = 0;
        *ended = status;
        return tid != leader;
    }
    /* After an exec the leader's id is the only one left. */
    if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
        for (size_t i = 0; i < THREADS_MAX; i++)
            if (threads[i].tid != tid)
                threads[i].tid = 0;
    }
    thread->stopped = true;
    thread->pending = true;
    thread->status = status;
    return true;
}

static bool is_event(int status, int event)
{
    return status >> 8 == (SIGTRAP | event << 8);
}

static void at_entry(tracee *thread)
{
    struct __ptrace_syscall_info info;
    const call *found = NULL;

    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread->tid, (void *)sizeof info, &info) <= 0) {
        if (errno != ESRCH)
            die("call information");
        resume(thread, PTRACE_CONT, 0); /* killed while it stood here */
        return;
    }
    for (size_t i = 0; i < CALLS; i++)
        if (calls[i].number == (long)info.seccomp.nr)
            found = &calls[i];
    if (found == NULL || !describe(thread, found, (const uint64_t *)info.seccomp.args)) {
        resume(thread, PTRACE_CONT, 0);
        return;
    }
    thread->in_call = true;
    thread->call = found;
    thread->torn = tear && !thread->again && found->number == SYS_pwrite64 && halve(thread);
    thread->again = false;
    resume(thread, PTRACE_SYSCALL, 0);
}

/* ---- the talk --------------------------------------------------------------------------- */

/* Read what to do next into `wanted`. */
static void ask(void)
{
    char line[64];

    if (fgets(line, sizeof line, stdin) == NULL || strncmp(line, "kill", 4) == 0) {
        wanted = 0;
        kill(leader, SIGKILL);
        return;
    }
    if (strncmp(line, "run", 3) == 0)
        wanted = 0;
    else if (sscanf(line, "go %lu", &wanted) != 1 || wanted == 0)
        wanted = 1;
}

static bool anyone_runs(void)
{
    for (size_t i = 0; i < THREADS_MAX; i++)
        if (threads[i].tid != 0 && !threads[i].stopped)
            return true;
    return false;
}

/* Halt every other thread. False when the command ended meanwhile. */
static bool freeze(int *ended)
{
    for (size_t i = 0; i < THREADS_MAX; i++)
        if (threads[i].tid != 0 && !threads[i].stopped)
            (void)ptrace(PTRACE_INTERRUPT, threads[i].tid, 0, 0); /* ESRCH: it is ending */
    while (anyone_runs())
        if (!wait_for_one(ended))
            return false;
    return true;
}

/* A counted call has just returned. False when the command ended meanwhile. */
static bool at_exit(tracee *thread, int *ended)
{
    bool torn = thread->torn;
    char name[32];

    thread->in_call = false;
    thread->torn = false;
    thread->pending = false;
    stops++;
    snprintf(name, sizeof name, "%s%s", thread->call->name, torn ? "/half" : "");
    if (torn) {
        rewind_call(thread);
        thread->again = true;
    }
    if (wanted > 0 && --wanted == 0) {
        if (!freeze(ended))
            return false;
        printf("stop %lu %s %s %s\n", stops, name, thread->path, thread->detail);
        fflush(stdout);
        ask();
    }
    resume(thread, PTRACE_CONT, 0);
    return true;
}

/* Deal with one thread's stop. False when the command ended. */
static bool step(tracee *thread, int *ended)
{
    int status = thread->status;
    int signal = WSTOPSIG(status);

    if (is_event(status, PTRACE_EVENT_SECCOMP)) {
        at_entry(thread);
    } else if (signal == SYSCALL_STOP) {
        /* The first stop after entry is the exit: a trap at entry by seccomp comes before it. */
        if (thread->in_call)
            return at_exit(thread, ended);
        resume(thread, PTRACE_CONT, 0);
    } else if (status >> 16 != 0) {
        /* Clone, fork, exec and interrupt stops; a stopped call goes on to its exit. */
        resume(thread, thread->in_call ? PTRACE_SYSCALL : PTRACE_CONT, 0);
    } else {
        resume(thread, thread->in_call ? PTRACE_SYSCALL : PTRACE_CONT, signal);
    }
    return true;
}

static tracee *next_pending(void)
{
    for (size_t i = 0; i < THREADS_MAX; i++)
        if (threads[i].tid != 0 && threads[i].pending)
            return &threads[i];
    return NULL;
}

int main(int argc, char **argv)
{
    int first = 2;
    int ended = 0;

    if (argc > first && strcmp(argv[first], "--torn") == 0) {
        tear = true;
        first++;
    }
    if (argc < first + 2 || strcmp(argv[first], "--") != 0) {
        fprintf(stderr, "usage: stopper PREFIX [--torn] -- COMMAND ARGUMENT...\n");
        return 2;
    }
    prefix = argv[1];
    start(argv + first + 1);
    printf("started %d\n", (int)leader);
    fflush(stdout);
    ask();
    for (;;) {
        tracee *thread = next_pending();

        if (thread != NULL ? !step(thread, &ended) : !wait_for_one(&ended))
            break;
    }
    if (WIFEXITED(ended))
        printf("exit %d\n", WEXITSTATUS(ended));
    else
        printf("signal %d\n", WTERMSIG(ended));
    return 0;
}
