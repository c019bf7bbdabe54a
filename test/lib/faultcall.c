/*
 * faultcall.c - a library to preload (LD_PRELOAD) that lets the n-th file call of a process fail.
 *
 * It stands before libc's calls that change files (or, if asked, before those that read them),
 * counts them over all threads, and at number CB_FAULT_AT does CB_FAULT_ACTION:
 *
 *   kill-before  SIGKILL to itself, the call is not made      kill-after  made, then SIGKILL
 *   kill-half    a write is made with half of its bytes, then SIGKILL
 *   ENOSPC       fails so; a call that takes no space (unlink) is let through
 *   EIO          fails so
 *   short        a read or write does half of what it should
 *
 *   CB_FAULT_STICKY=1      the errors stay: all later calls fail too, as on a disk that is full
 *   CB_FAULT_CALLS=read    count reads of regular files, not changes
 *   CB_FAULT_PATH=TEXT     count only calls on paths that contain TEXT
 *   CB_FAULT_COUNT_FILE=F  F holds the count, a little-endian u64, however the process ends
 *   CB_FAULT_TRACE_FILE=F  F gets a line for each counted call: number, name, path
 *
 * Output to descriptors 0 to 2, pipes and sockets is not counted. Programs that the process
 * starts are left alone. Reads and writes through a memory map cannot be seen from here.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define INTERPOSE __attribute__((visibility("default")))

typedef enum fault_action {
    ACTION_NONE,
    ACTION_KILL_BEFORE,
    ACTION_KILL_AFTER,
    ACTION_KILL_HALF,
    ACTION_ERROR,
    ACTION_SHORT,
} fault_action;

static struct {
    bool ready;
    bool reads; /* count reads, not changes */
    bool sticky;
    uint64_t at;
    fault_action action;
    int error;
    char path[256];
    _Atomic uint64_t *count;
    int trace; /* descriptor, -1 none */
} fault = {.trace = -1};

static _Atomic uint64_t private_count;

/* What is to become of a call. */
typedef struct verdict {
    int error;     /* not 0: fail with it */
    bool kill;     /* die after the call */
    size_t length; /* bytes to pass on */
} verdict;

/* ---- setting up ----------------------------------------------------------------------------- */

static void resolve(void *slot, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);

    if (found == NULL) {
        fprintf(stderr, "faultcall: no %s\n", name);
        abort();
    }
    memcpy(slot, &found, sizeof found);
}

static void parse_action(const char *text)
{
    static const struct {
        const char *name;
        fault_action action;
        int error;
    } actions[] = {
        {"kill-before", ACTION_KILL_BEFORE, 0},
        {"kill-after", ACTION_KILL_AFTER, 0},
        {"kill-half", ACTION_KILL_HALF, 0},
        {"ENOSPC", ACTION_ERROR, ENOSPC},
        {"EIO", ACTION_ERROR, EIO},
        {"short", ACTION_SHORT, 0},
    };

    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(text, actions[i].name) == 0) {
            fault.action = actions[i].action;
            fault.error = actions[i].error;
            return;
        }
    }
    fprintf(stderr, "faultcall: unknown action '%s'\n", text);
    abort();
}

/* Before `ready` is set no call is counted, so this may open files itself. */
__attribute__((constructor)) static void set_up(void)
{
    const char *at = getenv("CB_FAULT_AT");
    const char *action = getenv("CB_FAULT_ACTION");
    const char *calls = getenv("CB_FAULT_CALLS");
    const char *path = getenv("CB_FAULT_PATH");
    const char *count_file = getenv("CB_FAULT_COUNT_FILE");
    const char *trace_file = getenv("CB_FAULT_TRACE_FILE");

    fault.at = at != NULL ? strtoull(at, NULL, 10) : 0;
    if (action != NULL)
        parse_action(action);
    fault.reads = calls != NULL && strcmp(calls, "read") == 0;
    fault.sticky = getenv("CB_FAULT_STICKY") != NULL;
    if (path != NULL)
        snprintf(fault.path, sizeof fault.path, "%s", path);

    fault.count = &private_count;
    if (count_file != NULL) {
        int fd = open(count_file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        void *map = MAP_FAILED;

        if (fd >= 0 && ftruncate(fd, sizeof *fault.count) == 0)
            map = mmap(NULL, sizeof *fault.count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) {
            perror("faultcall: count file");
            abort();
        }
        fault.count = map;
        close(fd);
    }
    if (trace_file != NULL)
        fault.trace = open(trace_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    unsetenv("LD_PRELOAD"); /* programs that it starts are none of our business */
    fault.ready = true;
}

/* ---- counting and judging ------------------------------------------------------------------- */

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* The path behind a descriptor; "" when there is none. */
static void path_of(int fd, char out[PATH_MAX])
{
    char link[64];
    ssize_t length;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, out, PATH_MAX - 1);
    out[length > 0 ? length : 0] = '\0';
}

static bool is_regular(int fd)
{
    struct stat info;

    return fd > 2 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
}

static bool counts(const char *name, const char *path, uint64_t *number)
{
    if (fault.path[0] != '\0' && strstr(path, fault.path) == NULL)
        return false;
    *number = atomic_fetch_add(fault.count, 1) + 1;
    if (fault.trace >= 0)
        dprintf(fault.trace, "%llu %s %s\n", (unsigned long long)*number, name, path);
    return true;
}

static verdict judge(const char *name, const char *path, size_t length, bool takes_space)
{
    int saved = errno;
    verdict pass = {.length = length};
    uint64_t number;

    if (!counts(name, path, &number) || fault.at == 0 || fault.action == ACTION_NONE)
        return pass;
    if (number != fault.at && !(fault.sticky && number > fault.at && fault.error != 0))
        return pass;
    errno = saved;

    switch (fault.action) {
    case ACTION_NONE:
        break;
    case ACTION_KILL_BEFORE:
        die();
        break;
    case ACTION_KILL_HALF:
        pass.length = length / 2;
        pass.kill = true;
        break;
    case ACTION_KILL_AFTER:
        pass.kill = true;
        break;
    case ACTION_ERROR:
        if (takes_space || fault.error != ENOSPC)
            pass.error = fault.error;
        break;
    case ACTION_SHORT:
        pass.length = length > 1 ? length / 2 : length;
        break;
    }
    return pass;
}

/* A call on a path that changes the tree. */
static verdict judge_path(const char *name, int folder, const char *path, bool takes_space)
{
    char base[PATH_MAX] = "";
    char whole[2 * PATH_MAX];

    if (!fault.ready || fault.reads)
        return (verdict){0};
    if (folder != AT_FDCWD && path[0] != '/')
        path_of(folder, base);
    snprintf(whole, sizeof whole, "%s%s%s", base, base[0] != '\0' ? "/" : "", path);
    return judge(name, whole, 0, takes_space);
}

/* A call on a descriptor that changes its file. */
static verdict judge_change(const char *name, int fd, size_t length, bool takes_space)
{
    char path[PATH_MAX];

    if (!fault.ready || fault.reads || fd <= 2)
        return (verdict){.length = length};
    path_of(fd, path);
    return judge(name, path, length, takes_space);
}

static verdict judge_write(const char *name, int fd, size_t length)
{
    if (!is_regular(fd))
        return (verdict){.length = length};
    return judge_change(name, fd, length, true);
}

static verdict judge_read(const char *name, int fd, size_t length)
{
    char path[PATH_MAX];

    if (!fault.ready || !fault.reads || !is_regular(fd))
        return (verdict){.length = length};
    path_of(fd, path);
    return judge(name, path, length, false);
}

static bool opens_for_change(int flags)
{
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
}

static ssize_t ended(verdict said, ssize_t result)
{
    if (said.kill)
        die();
    return result;
}

static int refused(verdict said)
{
    errno = said.error;
    return -1;
}

/* ---- opening -------------------------------------------------------------------------------- */

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    static int (*next)(int, const char *, int, ...);
    verdict said = {0};

    if (opens_for_change(flags))
        said = judge_path("open", folder, path, true);
    resolve(&next, "openat");
    if (said.error != 0)
        return refused(said);
    return (int)ended(said, next(folder, path, flags, mode));
}

static mode_t mode_argument(int flags, va_list arguments)
{
    return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

INTERPOSE int open(const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(AT_FDCWD, path, flags, mode);
}

INTERPOSE int openat(int folder, const char *path, int flags, ...)
{
    va_list arguments;
    mode_t mode;

    va_start(arguments, flags);
    mode = mode_argument(flags, arguments);
    va_end(arguments);
    return open_at(folder, path, flags, mode);
}

INTERPOSE int creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

INTERPOSE int mkostemp(char *pattern, int flags)
{
    static int (*next)(char *, int);
    verdict said = judge_path("mkostemp", AT_FDCWD, pattern, true);

    resolve(&next, "mkostemp");
    return said.error != 0 ? refused(said) : (int)ended(said, next(pattern, flags));
}

INTERPOSE int mkstemp(char *pattern)
{
    return mkostemp(pattern, 0);
}

INTERPOSE char *mkdtemp(char *pattern)
{
    static char *(*next)(char *);
    verdict said = judge_path("mkdtemp", AT_FDCWD, pattern, true);
    char *made;

    resolve(&next, "mkdtemp");
    if (said.error != 0) {
        errno = said.error;
        return NULL;
    }
    made = next(pattern);
    ended(said, 0);
    return made;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

INTERPOSE ssize_t write(int fd, const void *data, size_t length)
{
    static ssize_t (*next)(int, const void *, size_t);
    verdict said = judge_write("write", fd, length);

    resolve(&next, "write");
    return said.error != 0 ? refused(said) : ended(said, next(fd, data, said.length));
}

INTERPOSE ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    static ssize_t (*next)(int, const void *, size_t, off_t);
    verdict said = judge_write("pwrite", fd, length);

    resolve(&next, "pwrite");
    return said.error != 0 ? refused(said) : ended(said, next(fd, data, said.length, offset));
}

static size_t sum_of(const struct iovec *parts, int count)
{
    size_t sum = 0;

    for (int i = 0; i < count; i++)
        sum += parts[i].iov_len;
    return sum;
}

/* Half of a vector is its first part, if it has several. */
static int parts_for(verdict said, const struct iovec *parts, int count)
{
    return said.length < sum_of(parts, count) && count > 1 ? count / 2 : count;
}

INTERPOSE ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*next)(int, const struct iovec *, int);
    verdict said = judge_write("writev", fd, sum_of(parts, count));

    resolve(&next, "writev");
    return said.error != 0 ? refused(said)
                           : ended(said, next(fd, parts, parts_for(said, parts, count)));
}

INTERPOSE ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    static ssize_t (*next)(int, const struct iovec *, int, off_t);
    verdict said = judge_write("pwritev", fd, sum_of(parts, count));

    resolve(&next, "pwritev");
    return said.error != 0 ? refused(said)
                           : ended(said, next(fd, parts, parts_for(said, parts, count), offset));
}

INTERPOSE ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t length,
                                  unsigned flags)
{
    static ssize_t (*next)(int, off64_t *, int, off64_t *, size_t, unsigned);
    verdict said = judge_write("copy_file_range", to, length);

    resolve(&next, "copy_file_range");
    return said.error != 0 ? refused(said)
                           : ended(said, next(from, from_at, to, to_at, said.length, flags));
}

INTERPOSE ssize_t sendfile(int to, int from, off_t *offset, size_t length)
{
    static ssize_t (*next)(int, int, off_t *, size_t);
    verdict said = judge_write("sendfile", to, length);

    resolve(&next, "sendfile");
    return said.error != 0 ? refused(said) : ended(said, next(to, from, offset, said.length));
}

INTERPOSE ssize_t read(int fd, void *data, size_t length)
{
    static ssize_t (*next)(int, void *, size_t);
    verdict said = judge_read("read", fd, length);

    resolve(&next, "read");
    return said.error != 0 ? refused(said) : ended(said, next(fd, data, said.length));
}

INTERPOSE ssize_t pread(int fd, void *data, size_t length, off_t offset)
{
    static ssize_t (*next)(int, void *, size_t, off_t);
    verdict said = judge_read("pread", fd, length);

    resolve(&next, "pread");
    return said.error != 0 ? refused(said) : ended(said, next(fd, data, said.length, offset));
}

INTERPOSE ssize_t preadv(int fd, const struct iovec *parts, int count, off_t offset)
{
    static ssize_t (*next)(int, const struct iovec *, int, off_t);
    verdict said = judge_read("preadv", fd, sum_of(parts, count));

    resolve(&next, "preadv");
    return said.error != 0 ? refused(said)
                           : ended(said, next(fd, parts, parts_for(said, parts, count), offset));
}

/* ---- sizes and syncs ------------------------------------------------------------------------ */

INTERPOSE int ftruncate(int fd, off_t length)
{
    static int (*next)(int, off_t);
    verdict said = judge_change("ftruncate", fd, 0, true);

    resolve(&next, "ftruncate");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd, length));
}

INTERPOSE int truncate(const char *path, off_t length)
{
    static int (*next)(const char *, off_t);
    verdict said = judge_path("truncate", AT_FDCWD, path, true);

    resolve(&next, "truncate");
    return said.error != 0 ? refused(said) : (int)ended(said, next(path, length));
}

INTERPOSE int fallocate(int fd, int mode, off_t offset, off_t length)
{
    static int (*next)(int, int, off_t, off_t);
    verdict said = judge_change("fallocate", fd, 0, mode == 0);

    resolve(&next, "fallocate");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd, mode, offset, length));
}

/* Unlike all others it returns the error. */
INTERPOSE int posix_fallocate(int fd, off_t offset, off_t length)
{
    static int (*next)(int, off_t, off_t);
    verdict said = judge_change("posix_fallocate", fd, 0, true);

    resolve(&next, "posix_fallocate");
    return said.error != 0 ? said.error : (int)ended(said, next(fd, offset, length));
}

INTERPOSE int fsync(int fd)
{
    static int (*next)(int);
    verdict said = judge_change("fsync", fd, 0, true);

    resolve(&next, "fsync");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd));
}

INTERPOSE int fdatasync(int fd)
{
    static int (*next)(int);
    verdict said = judge_change("fdatasync", fd, 0, true);

    resolve(&next, "fdatasync");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd));
}

INTERPOSE int syncfs(int fd)
{
    static int (*next)(int);
    verdict said = judge_change("syncfs", fd, 0, true);

    resolve(&next, "syncfs");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd));
}

/* ---- names ---------------------------------------------------------------------------------- */

INTERPOSE int linkat(int from, const char *old, int to, const char *path, int flags)
{
    static int (*next)(int, const char *, int, const char *, int);
    verdict said = judge_path("link", to, path, true);

    resolve(&next, "linkat");
    return said.error != 0 ? refused(said) : (int)ended(said, next(from, old, to, path, flags));
}

INTERPOSE int link(const char *old, const char *path)
{
    return linkat(AT_FDCWD, old, AT_FDCWD, path, 0);
}

INTERPOSE int symlinkat(const char *text, int folder, const char *path)
{
    static int (*next)(const char *, int, const char *);
    verdict said = judge_path("symlink", folder, path, true);

    resolve(&next, "symlinkat");
    return said.error != 0 ? refused(said) : (int)ended(said, next(text, folder, path));
}

INTERPOSE int symlink(const char *text, const char *path)
{
    return symlinkat(text, AT_FDCWD, path);
}

INTERPOSE int renameat2(int from, const char *old, int to, const char *path, unsigned flags)
{
    static int (*next)(int, const char *, int, const char *, unsigned);
    verdict said = judge_path("rename", to, path, true);

    resolve(&next, "renameat2");
    return said.error != 0 ? refused(said) : (int)ended(said, next(from, old, to, path, flags));
}

INTERPOSE int renameat(int from, const char *old, int to, const char *path)
{
    return renameat2(from, old, to, path, 0);
}

INTERPOSE int rename(const char *old, const char *path)
{
    return renameat2(AT_FDCWD, old, AT_FDCWD, path, 0);
}

INTERPOSE int unlinkat(int folder, const char *path, int flags)
{
    static int (*next)(int, const char *, int);
    verdict said = judge_path("unlink", folder, path, false);

    resolve(&next, "unlinkat");
    return said.error != 0 ? refused(said) : (int)ended(said, next(folder, path, flags));
}

INTERPOSE int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

INTERPOSE int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

INTERPOSE int mkdirat(int folder, const char *path, mode_t mode)
{
    static int (*next)(int, const char *, mode_t);
    verdict said = judge_path("mkdir", folder, path, true);

    resolve(&next, "mkdirat");
    return said.error != 0 ? refused(said) : (int)ended(said, next(folder, path, mode));
}

INTERPOSE int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

/* ---- attributes ----------------------------------------------------------------------------- */

INTERPOSE int fchmod(int fd, mode_t mode)
{
    static int (*next)(int, mode_t);
    verdict said = judge_change("fchmod", fd, 0, false);

    resolve(&next, "fchmod");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd, mode));
}

INTERPOSE int fchown(int fd, uid_t user, gid_t group)
{
    static int (*next)(int, uid_t, gid_t);
    verdict said = judge_change("fchown", fd, 0, false);

    resolve(&next, "fchown");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd, user, group));
}

INTERPOSE int fchownat(int folder, const char *path, uid_t user, gid_t group, int flags)
{
    static int (*next)(int, const char *, uid_t, gid_t, int);
    verdict said = judge_path("chown", folder, path, false);

    resolve(&next, "fchownat");
    return said.error != 0 ? refused(said)
                           : (int)ended(said, next(folder, path, user, group, flags));
}

INTERPOSE int futimens(int fd, const struct timespec times[2])
{
    static int (*next)(int, const struct timespec *);
    verdict said = judge_change("futimens", fd, 0, false);

    resolve(&next, "futimens");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd, times));
}

INTERPOSE int utimensat(int folder, const char *path, const struct timespec times[2], int flags)
{
    static int (*next)(int, const char *, const struct timespec *, int);
    verdict said = judge_path("utimensat", folder, path, false);

    resolve(&next, "utimensat");
    return said.error != 0 ? refused(said) : (int)ended(said, next(folder, path, times, flags));
}

INTERPOSE int lsetxattr(const char *path, const char *name, const void *value, size_t length,
                        int flags)
{
    static int (*next)(const char *, const char *, const void *, size_t, int);
    verdict said = judge_path("setxattr", AT_FDCWD, path, true);

    resolve(&next, "lsetxattr");
    return said.error != 0 ? refused(said)
                           : (int)ended(said, next(path, name, value, length, flags));
}

INTERPOSE int fsetxattr(int fd, const char *name, const void *value, size_t length, int flags)
{
    static int (*next)(int, const char *, const void *, size_t, int);
    verdict said = judge_change("setxattr", fd, 0, true);

    resolve(&next, "fsetxattr");
    return said.error != 0 ? refused(said) : (int)ended(said, next(fd, name, value, length, flags));
}

/* ---- the same calls under the names of large files; one ABI on 64-bit machines -----------------
 */

_Static_assert(sizeof(off_t) == sizeof(off64_t), "off_t has 64 bits");

INTERPOSE int open64(const char *path, int flags, ...) __attribute__((alias("open")));
INTERPOSE int openat64(int folder, const char *path, int flags, ...)
    __attribute__((alias("openat")));
INTERPOSE int creat64(const char *path, mode_t mode) __attribute__((alias("creat")));
INTERPOSE int mkostemp64(char *pattern, int flags) __attribute__((alias("mkostemp")));
INTERPOSE int mkstemp64(char *pattern) __attribute__((alias("mkstemp")));
INTERPOSE ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
    __attribute__((alias("pwrite")));
INTERPOSE ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
    __attribute__((alias("pwritev")));
INTERPOSE ssize_t sendfile64(int to, int from, off64_t *offset, size_t length)
    __attribute__((alias("sendfile")));
INTERPOSE ssize_t pread64(int fd, void *data, size_t length, off64_t offset)
    __attribute__((alias("pread")));
INTERPOSE ssize_t preadv64(int fd, const struct iovec *parts, int count, off64_t offset)
    __attribute__((alias("preadv")));
INTERPOSE int ftruncate64(int fd, off64_t length) __attribute__((alias("ftruncate")));
INTERPOSE int truncate64(const char *path, off64_t length) __attribute__((alias("truncate")));
INTERPOSE int fallocate64(int fd, int mode, off64_t offset, off64_t length)
    __attribute__((alias("fallocate")));
INTERPOSE int posix_fallocate64(int fd, off64_t offset, off64_t length)
    __attribute__((alias("posix_fallocate")));
