#include "verbs_kit.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static void on_event(void *arg, const cb_event *event)
{
    kit *k = arg;
    size_t used = strlen(k->warnings);

    if (event->kind == CB_EVENT_WARNING || event->kind == CB_EVENT_ERROR)
        snprintf(k->warnings + used, sizeof(k->warnings) - used, "%s\n", event->text);
    if (event->kind == CB_EVENT_PHASE && k->cancel_phase != NULL &&
        strncmp(event->text, k->cancel_phase, strlen(k->cancel_phase)) == 0)
        cb_cancel(k->cancel_at);
}

cb_ctx *kit_context(kit *k, const char *repository)
{
    cb_settings settings = {.repository = repository, .jobs = 2, .lock_wait_us = 2000000};
    cb_error err = {0};
    cb_ctx *ctx;

    assert_ok(cb_ctx_new(&settings, on_event, k, &ctx, &err), err);
    return ctx;
}

int kit_make(void **state)
{
    kit *k = calloc(1, sizeof(*k));

    assert_non_null(k);
    snprintf(k->root, sizeof(k->root), "/tmp/cbtest-verbs-XXXXXX");
    assert_non_null(mkdtemp(k->root));
    snprintf(k->data, sizeof(k->data), "%s/data", k->root);
    snprintf(k->address, sizeof(k->address), "dir:%s", k->data);
    snprintf(k->a, sizeof(k->a), "%s/a", k->root);
    snprintf(k->b, sizeof(k->b), "%s/b", k->root);
    snprintf(k->back, sizeof(k->back), "%s/back", k->root);
    assert_int_equal(mkdir(k->data, 0700), 0);
    k->in_a = kit_context(k, k->a);
    k->in_b = kit_context(k, k->b);
    *state = k;
    return 0;
}

int kit_remove(void **state)
{
    kit *k = *state;
    char command[128];

    cb_ctx_free(k->in_a);
    cb_ctx_free(k->in_b);
    snprintf(command, sizeof(command), "rm -rf '%s'", k->root);
    assert_int_equal(system(command), 0); /* a test's own clean-up, of a name that it made */
    free(k);
    return 0;
}

void kit_write(kit *k, const char *name, unsigned seed, size_t size)
{
    char path[256];
    FILE *file;
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

    snprintf(path, sizeof(path), "%s/%s", k->data, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < size; i += sizeof(state)) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        assert_int_equal(fwrite(&state, 1, size - i < 8 ? size - i : 8, file),
                         size - i < 8 ? size - i : 8);
    }
    assert_int_equal(fclose(file), 0);
}

void kit_unlink(kit *k, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", k->data, name);
    assert_int_equal(unlink(path), 0);
}

void kit_backup(cb_ctx *ctx, kit *k, const char *name, char label[64])
{
    cb_pair tag = {"kept", "by the copy"};
    cb_backup_request request = {.source = k->address, .name = name, .tags = &tag, .tag_count = 1};
    cb_backup_result *result;
    cb_error err = {0};

    assert_ok(cb_backup(ctx, &request, &result, &err), err);
    if (label != NULL)
        snprintf(label, 64, "%s", result->label);
    cb_backup_result_free(result);
}

bool kit_same_as_data(cb_ctx *ctx, kit *k, const char *backup)
{
    cb_restore_request request = {.backup = backup, .target = k->back};
    cb_restore_result *result;
    cb_error err = {0};
    char command[512];

    snprintf(command, sizeof(command), "rm -rf '%s'", k->back);
    assert_int_equal(system(command), 0);
    assert_ok(cb_restore(ctx, &request, &result, &err), err);
    cb_restore_result_free(result);
    snprintf(command, sizeof(command), "diff -r '%s' '%s'", k->data, k->back);
    return system(command) == 0;
}

typedef struct pack {
    char path[512];
    off_t size;
} pack;

static int larger_first(const void *a, const void *b)
{
    const pack *left = a;
    const pack *right = b;

    if (left->size != right->size)
        return left->size > right->size ? -1 : 1;
    return strcmp(left->path, right->path);
}

static unsigned find(const char *folder, pack *found, unsigned count, unsigned capacity)
{
    DIR *open = opendir(folder);
    const struct dirent *entry;

    for (entry = open != NULL ? readdir(open) : NULL; entry != NULL; entry = readdir(open)) {
        char path[512];
        struct stat at;

        if (entry->d_name[0] == '.' ||
            snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name) >= (int)sizeof(path) ||
            stat(path, &at) != 0)
            continue;
        if (S_ISDIR(at.st_mode)) {
            count = find(path, found, count, capacity);
        } else if (count < capacity) {
            memcpy(found[count].path, path, sizeof(path));
            found[count++].size = at.st_size;
        }
    }
    if (open != NULL)
        closedir(open);
    return count;
}

unsigned kit_count_objects(const char *repository, const char *prefix)
{
    static pack found[1024];
    char folder[256];

    snprintf(folder, sizeof(folder), "%s/%s", repository, prefix);
    return find(folder, found, 0, 1024);
}

void kit_flip_pack(const char *repository, unsigned nth)
{
    static pack found[1024];
    char folder[256];
    unsigned count;
    FILE *file;
    int byte;

    snprintf(folder, sizeof(folder), "%s/pack", repository);
    count = find(folder, found, 0, 1024);
    assert_true(nth < count);
    qsort(found, count, sizeof(*found), larger_first);
    assert_int_equal(chmod(found[nth].path, 0600), 0);
    file = fopen(found[nth].path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, found[nth].size / 2, SEEK_SET), 0);
    byte = fgetc(file);
    assert_int_equal(fseek(file, found[nth].size / 2, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    assert_int_equal(fclose(file), 0);
}
