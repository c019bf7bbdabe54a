/*
 * plain.c - what all who make plain files share: the names of timestamped copies, and the partial
 * file that grows beside its target under a name that no engine opens.
 */
#include "command/command_internal.h"

#include "base/text.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define LEFT_OVER_US (INT64_C(24) * 3600 * 1000000)

/* ---- timestamped copies ------------------------------------------------------------------ */

static const char pattern[] = "backup-YYYYMMDD-HHMMSS";

/* backup-20261121-022035.duckdb, or with -2, -3 ... behind. */
bool cb_stamp_is(const char *name)
{
    static const char suffix[] = ".duckdb";
    size_t i;

    for (i = 0; i < sizeof(pattern) - 1; i++) {
        bool digit = pattern[i] >= 'A' && pattern[i] <= 'Z';

        if (digit ? name[i] < '0' || name[i] > '9' : name[i] != pattern[i])
            return false;
    }
    if (name[i] == '-') {
        i++;
        if (name[i] < '0' || name[i] > '9')
            return false;
        while (name[i] >= '0' && name[i] <= '9')
            i++;
    }
    return strcmp(name + i, suffix) == 0;
}

void cb_stamp_name(int64_t now_us, bool utc, unsigned nth, char out[CB_STAMP_MAX])
{
    char label[CB_LABEL_MAX];

    cb_format_label(now_us, !utc, label);
    if (nth < 2)
        snprintf(out, CB_STAMP_MAX, "backup-%s.duckdb", label);
    else
        snprintf(out, CB_STAMP_MAX, "backup-%s-%u.duckdb", label, nth);
}

unsigned cb_stamp_nth(const char *name, int64_t now_us, bool utc)
{
    char first[CB_STAMP_MAX];
    size_t stem = sizeof(pattern) - 1;
    unsigned nth = 0;

    cb_stamp_name(now_us, utc, 1, first);
    if (!cb_stamp_is(name) || strncmp(name, first, stem) != 0)
        return 0;
    if (name[stem] != '-')
        return 1;
    for (const char *digit = name + stem + 1; *digit >= '0' && *digit <= '9' && nth < 1000000;
         digit++)
        nth = nth * 10 + (unsigned)(*digit - '0');
    return nth;
}

int cb_stamp_newest_first(const char *a, const char *b)
{
    size_t left = strlen(a);
    size_t right = strlen(b);
    int stamp = memcmp(b, a, sizeof(pattern) - 1);

    if (stamp != 0)
        return stamp;
    if (left != right) /* -10 is newer than -9, and both than none */
        return left > right ? -1 : 1;
    return strcmp(b, a);
}

/* ---- partial files ----------------------------------------------------------------------- */

static void folder_of(const char *path, char out[CB_PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);

    if (slash == NULL) {
        memcpy(out, ".", 2);
    } else if (length == 0) {
        memcpy(out, "/", 2);
    } else {
        memcpy(out, path, length);
        out[length] = '\0';
    }
}

/* ".NAME.HEX.partial" and what stood beside it, of a run for the same target that was killed. */
static bool is_left_over(cb_ctx *ctx, const char *folder, const char *target, const char *name)
{
    char stem[NAME_MAX + 64];
    struct stat at;
    char path[CB_PATH_MAX];
    cb_error ignored = {0};

    snprintf(stem, sizeof(stem), ".%.160s.", cb_path_base(target));
    if (!cb_has_prefix(name, stem) || strstr(name + strlen(stem), ".partial") == NULL ||
        cb_path_join(folder, name, path, &ignored) != CB_OK)
        return false;
    return lstat(path, &at) == 0 && S_ISREG(at.st_mode) &&
           (int64_t)at.st_mtim.tv_sec * 1000000 < cb_now_us(ctx) - LEFT_OVER_US;
}

/* One that works writes all the time: what has been still for a day belongs to none. */
static void remove_left_overs(cb_ctx *ctx, const char *path, const char *target)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = opendir(path);
    const struct dirent *entry;

    for (entry = folder != NULL ? readdir(folder) : NULL; entry != NULL; entry = readdir(folder))
        if (is_left_over(ctx, path, target, entry->d_name))
            (void)unlinkat(dirfd(folder), entry->d_name, 0); /* it only takes space */
}

cb_code cb_partial_name(cb_ctx *ctx, const char *target, char out[CB_PATH_MAX], cb_error *err)
{
    char folder[CB_PATH_MAX];
    char name[NAME_MAX + 64];
    uint8_t random[6];
    char hex[13];

    if (strlen(target) >= CB_PATH_MAX - 128)
        return cb_fail(err, CB_TOO_LARGE, "the path '%.64s...' is too long", target);
    folder_of(target, folder);
    remove_left_overs(ctx, folder, target);
    cb_random(ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), hex);
    snprintf(name, sizeof(name), ".%.160s.%s.partial", cb_path_base(target), hex);
    return cb_path_join(folder, name, out, err);
}

void cb_partial_remove(const char *partial)
{
    static const char *const suffixes[] = {"", ".wal", ".wal.checkpoint", ".wal.recovery", ".tmp"};
    char path[CB_PATH_MAX + 32];
    cb_error ignored = {0};

    for (size_t i = 0; i < CB_LENGTH(suffixes); i++) {
        snprintf(path, sizeof(path), "%s%s", partial, suffixes[i]);
        cb_ignore(cb_tree_remove(path, &ignored)); /* what stays is named as partial */
    }
}
