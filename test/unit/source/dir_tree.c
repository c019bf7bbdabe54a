#include "dir_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATH_BYTES = 4096 };

static void join(char into[PATH_BYTES], const char *folder, const char *path)
{
    assert_true(snprintf(into, PATH_BYTES, "%s/%s", folder, path) < PATH_BYTES);
}

static void write_all(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_true(write(fd, data, size) == (ssize_t)size);
    close(fd);
}

void tree_file(const char *folder, const char *path, size_t size, uint64_t seed)
{
    char full[PATH_BYTES];
    uint8_t *data = malloc(size + 1);
    test_random random = test_random_from(seed);

    assert_non_null(data);
    test_random_content(&random, data, size);
    join(full, folder, path);
    write_all(full, data, size);
    free(data);
}

void tree_text(const char *folder, const char *path, const char *text)
{
    char full[PATH_BYTES];

    join(full, folder, path);
    write_all(full, text, strlen(text));
}

void tree_mkdir(const char *folder, const char *path)
{
    char full[PATH_BYTES];

    join(full, folder, path);
    assert_true(mkdir(full, 0755) == 0);
}

void tree_time(const char *folder, const char *path, int64_t ns)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = ns / 1000000000, .tv_nsec = (long)(ns % 1000000000)}};
    char full[PATH_BYTES];

    join(full, folder, path);
    assert_true(utimensat(AT_FDCWD, full, times, AT_SYMLINK_NOFOLLOW) == 0);
}

bool tree_exists(const char *folder, const char *path)
{
    char full[PATH_BYTES];
    struct stat st;

    join(full, folder, path);
    return lstat(full, &st) == 0;
}

/* ---- by chance ----------------------------------------------------------------------------- */

/* Names that sort against each other in every awkward way, and bytes that are no UTF-8. */
static void random_name(test_random *random, char into[64])
{
    static const char *const stems[] = {
        "a",        "a.b", "a-b", "A",  "..x",  ".hidden",
        "\xff\xfe", " ",   "a b", "\n", "\x01", "z\xc3\xa9",
        "-rf",      "~",   "{}",  "*",  "a0",   "very-long-name-of-a-file"};
    uint64_t stem = test_random_below(random, sizeof(stems) / sizeof(*stems));
    uint64_t number = test_random_below(random, 30);

    if (number < 6)
        snprintf(into, 64, "%s", stems[stem]);
    else
        snprintf(into, 64, "%s%llu", stems[stem], (unsigned long long)number);
}

static void random_attrs(test_random *random, const char *path, bool is_link, bool is_folder)
{
    char value[64];
    size_t size = (size_t)test_random_below(random, sizeof(value));
    int64_t ns = (int64_t)test_random_below(random, 1700000000) * 1000000000 +
                 (int64_t)test_random_below(random, 1000000000);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {.tv_sec = ns / 1000000000, .tv_nsec = (long)(ns % 1000000000)}};

    if (geteuid() == 0 && test_random_below(random, 3) == 0)
        assert_true(lchown(path, (uid_t)test_random_below(random, 5000),
                           (gid_t)test_random_below(random, 5000)) == 0);
    if (!is_link) {
        mode_t mode = (mode_t)test_random_below(random, 01000) | (is_folder ? 0700 : 0600);

        if (test_random_below(random, 8) == 0)
            mode |= S_ISUID | S_ISGID;
        if (test_random_below(random, 3) == 0) { /* not every file system keeps them */
            test_random_fill(random, value, size);
            (void)setxattr(path, "user.canvasback", value, size, 0);
            (void)setxattr(path, "user.empty", "", 0, 0);
        }
        assert_true(chmod(path, mode) == 0);
    }
    assert_true(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0);
}

static void random_file(test_random *random, const char *path)
{
    static const size_t sizes[] = {0, 1, 511, 4096, 70000, 1 << 20, (1 << 20) + 1, 2500000};
    size_t size = sizes[test_random_below(random, sizeof(sizes) / sizeof(*sizes))];
    uint8_t *data = malloc(size + 1);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);

    assert_non_null(data);
    assert_true(fd >= 0);
    test_random_content(random, data, size);
    assert_true(write(fd, data, size) == (ssize_t)size);
    if (test_random_below(random, 4) == 0) { /* a hole, and perhaps something behind it */
        off_t at = (off_t)(size + test_random_below(random, 6 << 20));

        assert_true(ftruncate(fd, at) == 0);
        if (test_random_below(random, 2) == 0)
            assert_true(pwrite(fd, "end", 3, at) == 3);
    }
    close(fd);
    free(data);
}

static void random_object(test_random *random, const char *path, const char *other)
{
    switch (test_random_below(random, 10)) {
    case 0:
        assert_true(symlink(test_random_below(random, 2) ? "nowhere" : "../..", path) == 0);
        random_attrs(random, path, true, false);
        return;
    case 1:
        assert_true(mkfifo(path, 0600) == 0);
        break;
    case 2:
        if (other[0] != '\0' && link(other, path) == 0)
            return;
        random_file(random, path);
        break;
    default:
        random_file(random, path);
        break;
    }
    random_attrs(random, path, false, false);
}

static void fill_folder(test_random *random, const char *folder, unsigned depth,
                        char last_file[PATH_BYTES])
{
    uint64_t count = test_random_below(random, depth == 0 ? 20 : 7);

    for (uint64_t i = 0; i < count; i++) {
        char path[PATH_BYTES];
        char name[64];
        struct stat st;

        random_name(random, name);
        join(path, folder, name);
        if (lstat(path, &st) == 0)
            continue;
        if (depth < 4 && test_random_below(random, 3) == 0) {
            assert_true(mkdir(path, 0755) == 0);
            fill_folder(random, path, depth + 1, last_file);
            random_attrs(random, path, false, true);
        } else {
            random_object(random, path, last_file);
            if (lstat(path, &st) == 0 && S_ISREG(st.st_mode))
                memcpy(last_file, path, strlen(path) + 1);
        }
    }
}

void tree_random(test_random *random, const char *folder)
{
    char last_file[PATH_BYTES] = "";

    fill_folder(random, folder, 0, last_file);
    random_attrs(random, folder, false, true);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void mutate_entry(test_random *random, const char *path)
{
    struct stat st;
    int fd;

    assert_true(lstat(path, &st) == 0);
    switch (test_random_below(random, 12)) {
    case 0: /* gone, perhaps something else in its place */
        assert_true(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
        if (test_random_below(random, 2) == 0)
            random_object(random, path, "");
        return;
    case 1:
        if (S_ISDIR(st.st_mode))
            tree_file(path, "added", 1000, 7);
        return;
    case 2:
        random_attrs(random, path, S_ISLNK(st.st_mode), S_ISDIR(st.st_mode));
        return;
    case 3:
    case 4:
        if (!S_ISREG(st.st_mode) || st.st_size == 0)
            return;
        fd = open(path, O_WRONLY);
        assert_true(fd >= 0);
        assert_true(pwrite(fd, "mutated", 7, st.st_size / 2) == 7);
        close(fd);
        return;
    case 5:
        if (S_ISREG(st.st_mode))
            assert_true(truncate(path, st.st_size / 3) == 0);
        return;
    default:
        return;
    }
}

void tree_mutate(test_random *random, const char *folder)
{
    DIR *stream = opendir(folder);
    const struct dirent *entry;
    char path[PATH_BYTES];

    assert_non_null(stream);
    for (entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        join(path, folder, entry->d_name);
        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            tree_mutate(random, path);
        mutate_entry(random, path);
    }
    closedir(stream);
}

/* ---- comparing ------------------------------------------------------------------------------ */

static void same_content(const char *a, const char *b, size_t size)
{
    uint8_t *one = malloc(size + 1);
    uint8_t *two = malloc(size + 1);
    int fd_a = open(a, O_RDONLY);
    int fd_b = open(b, O_RDONLY);

    assert_true(fd_a >= 0 && fd_b >= 0);
    assert_true(read(fd_a, one, size) == (ssize_t)size);
    assert_true(read(fd_b, two, size) == (ssize_t)size);
    if (memcmp(one, two, size) != 0)
        fail_msg("'%s' and '%s' differ in content", a, b);
    close(fd_a);
    close(fd_b);
    free(one);
    free(two);
}

static void same_xattr(const char *a, const char *b, const char *name)
{
    char one[1024], two[1024];
    ssize_t size_a = lgetxattr(a, name, one, sizeof(one));
    ssize_t size_b = lgetxattr(b, name, two, sizeof(two));

    if (size_a != size_b || (size_a > 0 && memcmp(one, two, (size_t)size_a) != 0))
        fail_msg("'%s' and '%s' differ in attribute %s", a, b, name);
}

static void same_attrs(const char *a, const char *b, const struct stat *x, const struct stat *y)
{
    if (x->st_mode != y->st_mode)
        fail_msg("'%s' has mode %o, '%s' has %o", a, x->st_mode, b, y->st_mode);
    if (x->st_uid != y->st_uid || x->st_gid != y->st_gid)
        fail_msg("'%s' and '%s' differ in owner", a, b);
    if (x->st_mtim.tv_sec != y->st_mtim.tv_sec || x->st_mtim.tv_nsec != y->st_mtim.tv_nsec)
        fail_msg("'%s' and '%s' differ in time", a, b);
    if (!S_ISDIR(x->st_mode) && (x->st_size != y->st_size || x->st_nlink != y->st_nlink))
        fail_msg("'%s' and '%s' differ in size or names", a, b);
    same_xattr(a, b, "user.canvasback");
    same_xattr(a, b, "user.empty");
    same_xattr(a, b, "system.posix_acl_access");
    same_xattr(a, b, "system.posix_acl_default");
}

static size_t count_names(const char *folder)
{
    DIR *stream = opendir(folder);
    size_t count = 0;

    assert_non_null(stream);
    while (readdir(stream) != NULL)
        count++;
    closedir(stream);
    return count;
}

static void same_folder(const char *a, const char *b);

static void same_entry(const char *a, const char *b)
{
    struct stat x, y;
    char to_a[PATH_BYTES] = {0}, to_b[PATH_BYTES] = {0};

    if (lstat(a, &x) != 0 || lstat(b, &y) != 0)
        fail_msg("'%s' or '%s' is missing", a, b);
    same_attrs(a, b, &x, &y);
    if (S_ISDIR(x.st_mode))
        same_folder(a, b);
    if (S_ISREG(x.st_mode))
        same_content(a, b, (size_t)x.st_size);
    if (S_ISLNK(x.st_mode)) {
        assert_true(readlink(a, to_a, sizeof(to_a) - 1) > 0);
        assert_true(readlink(b, to_b, sizeof(to_b) - 1) > 0);
        assert_string_equal(to_a, to_b);
    }
}

static void same_folder(const char *a, const char *b)
{
    DIR *stream = opendir(a);
    const struct dirent *entry;

    assert_non_null(stream);
    if (count_names(a) != count_names(b))
        fail_msg("'%s' and '%s' hold different names", a, b);
    for (entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
        char one[PATH_BYTES], two[PATH_BYTES];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        join(one, a, entry->d_name);
        join(two, b, entry->d_name);
        same_entry(one, two);
    }
    closedir(stream);
}

void tree_assert_same(const char *a, const char *b)
{
    same_entry(a, b);
}
