/*
 * files_list.c - what lies below a place, into a ledger.
 *
 * A bucket lists itself, page by page. A folder is walked by descriptors, never through a link:
 * what a link leads to lies elsewhere. What vanishes meanwhile is not listed.
 */
#include "source/ducklake/files_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/text.h"

enum { DEPTH_MAX = 128 };

typedef struct listing {
    cb_lake_files *files;
    const char *data_path;
    const char *prefix;
    cb_ledger *ledger;
    cb_ledger_set set;
    bool with_versions;
    const char *version, *tag; /* of the object in hand; NULL none */
    cb_buf url, item;
} listing;

static void listing_free(listing *l)
{
    cb_buf_free(&l->url);
    cb_buf_free(&l->item);
}

static cb_lake_file_kind kind_of(const char *url)
{
    if (cb_has_suffix(url, ".puffin"))
        return CB_LAKE_FILE_PUFFIN;
    return cb_has_suffix(url, "-delete.parquet") ? CB_LAKE_FILE_DELETE : CB_LAKE_FILE_DATA;
}

/* The file whose URL is in hand. */
static cb_code add_found(listing *l, uint64_t size, int64_t modified_us, cb_error *err)
{
    cb_ledger_entry entry = {.id = -1,
                             .table_id = -1,
                             .end_snapshot = -1,
                             .size_bytes = size <= INT64_MAX ? (int64_t)size : INT64_MAX,
                             .footer_bytes = -1,
                             .records = -1,
                             .modified_us = modified_us,
                             .checksum = l->tag,
                             .version = l->version};
    cb_code code = cb_lake_terminate(&l->url, err);

    l->item.size = 0;
    if (code == CB_OK)
        code = cb_lake_item_of(l->data_path, (const char *)l->url.data, &l->item, err);
    if (code != CB_OK)
        return code;
    entry.url = (const char *)l->url.data;
    entry.item = (const char *)l->item.data;
    entry.kind = kind_of(entry.url);
    return cb_ledger_add(l->ledger, l->set, &entry, err);
}

/* ---- buckets -------------------------------------------------------------------------------- */

typedef struct bucket_listing {
    listing *list;
    size_t root; /* bytes of the URL before the key */
} bucket_listing;

static cb_code add_object(void *arg, const cb_object *object, cb_error *err)
{
    const bucket_listing *b = arg;
    listing *l = b->list;
    cb_code code;

    /* Consoles make empty objects with a slash at the end to show folders. */
    if (cb_has_suffix(object->key, "/"))
        return CB_OK;
    l->tag = object->tag;
    l->url.size = b->root;
    code = cb_buf_append(&l->url, object->key, strlen(object->key), err);
    return code == CB_OK ? add_found(l, object->size_bytes, object->modified_us, err) : code;
}

/* "null" is S3's name for what was put before the bucket kept versions. */
static cb_code add_version(void *arg, const cb_version *version, cb_error *err)
{
    const bucket_listing *b = arg;
    cb_object object = {version->key, version->size_bytes, version->modified_us, version->tag};

    if (!version->is_latest || version->is_removal)
        return CB_OK;
    b->list->version = strcmp(version->id, "null") != 0 ? version->id : "";
    return add_object(arg, &object, err);
}

static cb_code list_bucket(listing *l, cb_error *err)
{
    bucket_listing b = {.list = l};
    cb_store *store;
    const char *key;
    cb_code code = cb_lake_files_store(l->files, l->prefix, true, &store, &key, err);

    if (code != CB_OK)
        return code;
    code = cb_buf_append(&l->url, l->prefix, (size_t)(key - l->prefix), err);
    if (code == CB_OK && (l->url.size == 0 || l->url.data[l->url.size - 1] != '/'))
        code = cb_buf_u8(&l->url, '/', err);
    b.root = l->url.size;
    if (code != CB_OK)
        return code;
    return l->with_versions ? cb_store_versions(store, key, add_version, &b, err)
                            : cb_store_list_any(store, key, add_object, &b, err);
}

/* ---- folders -------------------------------------------------------------------------------- */

static cb_code walk(listing *l, int parent, const char *name, unsigned depth, cb_error *err);

/* The URL in hand is that of the entry; is it below what is asked for, or on the way to it? */
static bool is_wanted(const listing *l, bool is_folder)
{
    size_t prefix = strlen(l->prefix);
    size_t size = l->url.size;

    if (size >= prefix)
        return memcmp(l->url.data, l->prefix, prefix) == 0;
    return is_folder && memcmp(l->url.data, l->prefix, size) == 0;
}

static cb_code take_entry(listing *l, int folder, const char *name, unsigned depth, cb_error *err)
{
    size_t before = l->url.size;
    struct stat facts;
    cb_code code;

    if (fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT)
            return CB_OK;
        return cb_fail_errno(err, errno, "cannot look at '%s' in '%.*s'", name, (int)before,
                             (const char *)l->url.data);
    }
    if (!S_ISDIR(facts.st_mode) && !S_ISREG(facts.st_mode))
        return CB_OK;
    code = cb_buf_append(&l->url, name, strlen(name), err);
    if (code == CB_OK && S_ISDIR(facts.st_mode))
        code = cb_buf_u8(&l->url, '/', err);
    if (code == CB_OK && is_wanted(l, S_ISDIR(facts.st_mode)))
        code =
            S_ISDIR(facts.st_mode)
                ? walk(l, folder, name, depth + 1, err)
                : add_found(l, (uint64_t)facts.st_size,
                            (int64_t)facts.st_mtim.tv_sec * 1000000 + facts.st_mtim.tv_nsec / 1000,
                            err);
    l->url.size = before;
    return code;
}

/* The URL in hand is that of the folder, with its slash. */
static cb_code walk_open(listing *l, DIR *folder, unsigned depth, cb_error *err)
{
    cb_code code = CB_OK;

    while (code == CB_OK) {
        const struct dirent *entry;

        errno = 0;
        entry = readdir(folder);
        if (entry == NULL)
            return errno == 0 ? CB_OK
                              : cb_fail_errno(err, errno, "cannot list '%.*s'", (int)l->url.size,
                                              (const char *)l->url.data);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            code = take_entry(l, dirfd(folder), entry->d_name, depth, err);
    }
    return code;
}

static cb_code walk(listing *l, int parent, const char *name, unsigned depth, cb_error *err)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = NULL;
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (depth > 0 ? O_NOFOLLOW : 0);
    int fd;

    if (depth > DEPTH_MAX)
        return cb_fail(err, CB_UNSUPPORTED, "'%.400s...' lies more than %d folders deep",
                       (const char *)l->url.data, (int)DEPTH_MAX);
    fd = openat(parent, name, flags);
    if (fd < 0 && (errno == ENOENT || (depth > 0 && (errno == ENOTDIR || errno == ELOOP))))
        return CB_OK;
    if (fd >= 0)
        folder = fdopendir(fd);
    if (folder == NULL) {
        cb_fail_errno(err, errno, "cannot list '%.*s'", (int)l->url.size,
                      (const char *)l->url.data);
        cb_fd_close(&fd);
        return err->code;
    }
    return walk_open(l, folder, depth, err);
}

/* Begin in the folder that the prefix names. */
static cb_code list_folder(listing *l, cb_error *err)
{
    char root[CB_PATH_MAX];
    size_t size = (size_t)(cb_path_base(l->prefix) - l->prefix);
    cb_code code;

    if (size == 0 || size >= sizeof(root))
        return cb_fail(err, CB_USAGE, "'%.400s' is not an absolute path", l->prefix);
    memcpy(root, l->prefix, size);
    root[size] = '\0';
    code = cb_buf_append(&l->url, root, size, err);
    if (code == CB_OK)
        code = cb_lake_terminate(&l->url, err);
    return code == CB_OK ? walk(l, AT_FDCWD, root, 0, err) : code;
}

static cb_code list(cb_lake_files *files, const char *data_path, const char *prefix,
                    cb_ledger *ledger, cb_ledger_set set, bool with_versions, cb_error *err)
{
    CB_CLEANUP(listing_free)
    listing l = {.files = files,
                 .data_path = data_path,
                 .prefix = prefix,
                 .ledger = ledger,
                 .set = set,
                 .with_versions = with_versions};

    return cb_lake_url_is_remote(prefix) ? list_bucket(&l, err) : list_folder(&l, err);
}

cb_code cb_lake_files_list(cb_lake_files *files, const char *data_path, const char *prefix,
                           cb_ledger *ledger, cb_ledger_set set, cb_error *err)
{
    return list(files, data_path, prefix, ledger, set, false, err);
}

cb_code cb_lake_files_list_versions(cb_lake_files *files, const char *data_path, const char *prefix,
                                    cb_ledger *ledger, cb_ledger_set set, cb_error *err)
{
    return list(files, data_path, prefix, ledger, set, true, err);
}
