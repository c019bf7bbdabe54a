/*
 * links.c - files with more than one name.
 *
 * A chained hash table from (device, inode) to the path that was met first. An entry goes as soon
 * as all names that the inode counts were met, so that a tree of whole hard-link sets stays small.
 */
#include "source/dir/dir_internal.h"

#include <stdlib.h>

typedef struct link_entry {
    struct link_entry *next;
    dev_t device;
    ino_t inode;
    int64_t size, mtime_ns, ctime_ns;
    nlink_t unseen;
    char path[];
} link_entry;

struct cb_dir_links {
    link_entry **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    link_entry *last; /* taken out, kept until the next call: its path was handed out */
};

enum { BUCKETS_FIRST = 256 };

cb_code cb_dir_links_new(cb_dir_links **out, cb_error *err)
{
    cb_dir_links *links = calloc(1, sizeof(*links));

    *out = NULL;
    if (links != NULL)
        links->buckets = calloc(BUCKETS_FIRST, sizeof(link_entry *));
    if (links == NULL || links->buckets == NULL) {
        free(links);
        return cb_fail_memory(err, BUCKETS_FIRST * sizeof(link_entry *));
    }
    links->bucket_count = BUCKETS_FIRST;
    *out = links;
    return CB_OK;
}

static size_t bucket_of(dev_t device, ino_t inode, size_t bucket_count)
{
    uint64_t mixed = ((uint64_t)inode ^ ((uint64_t)device << 32)) * UINT64_C(0x9e3779b97f4a7c15);

    return (size_t)(mixed >> 32) & (bucket_count - 1);
}

/* Twice the buckets; without the memory for it the chains only get longer. */
static void grow(cb_dir_links *links)
{
    size_t bucket_count = links->bucket_count * 2;
    link_entry **buckets = calloc(bucket_count, sizeof(*buckets));

    if (buckets == NULL)
        return;
    for (size_t i = 0; i < links->bucket_count; i++) {
        for (link_entry *entry = links->buckets[i], *next; entry != NULL; entry = next) {
            size_t at = bucket_of(entry->device, entry->inode, bucket_count);

            next = entry->next;
            entry->next = buckets[at];
            buckets[at] = entry;
        }
    }
    free(links->buckets);
    links->buckets = buckets;
    links->bucket_count = bucket_count;
}

static bool is_unchanged(const link_entry *entry, const struct stat *st)
{
    return entry->size == st->st_size && entry->mtime_ns == cb_dir_time_ns(&st->st_mtim) &&
           entry->ctime_ns == cb_dir_time_ns(&st->st_ctim);
}

static cb_code add(cb_dir_links *links, const struct stat *st, const char *path, cb_error *err)
{
    size_t size = strlen(path) + 1;
    size_t at = bucket_of(st->st_dev, st->st_ino, links->bucket_count);
    link_entry *entry = malloc(sizeof(*entry) + size);

    if (entry == NULL)
        return cb_fail_memory(err, sizeof(*entry) + size);
    *entry = (link_entry){
        .next = links->buckets[at],
        .device = st->st_dev,
        .inode = st->st_ino,
        .size = st->st_size,
        .mtime_ns = cb_dir_time_ns(&st->st_mtim),
        .ctime_ns = cb_dir_time_ns(&st->st_ctim),
        .unseen = st->st_nlink - 1,
    };
    memcpy(entry->path, path, size);
    links->buckets[at] = entry;
    if (++links->count > links->bucket_count)
        grow(links);
    return CB_OK;
}

cb_code cb_dir_links_first(cb_dir_links *links, const struct stat *st, const char *path,
                           const char **first, cb_error *err)
{
    size_t at = bucket_of(st->st_dev, st->st_ino, links->bucket_count);

    *first = NULL;
    free(links->last);
    links->last = NULL;
    for (link_entry **link = &links->buckets[at]; *link != NULL; link = &(*link)->next) {
        link_entry *entry = *link;

        if (entry->inode != st->st_ino || entry->device != st->st_dev)
            continue;
        if (is_unchanged(entry, st))
            *first = entry->path;
        if (*first == NULL || --entry->unseen == 0) {
            *link = entry->next;
            links->last = entry;
            links->count--;
        }
        if (*first != NULL)
            return CB_OK;
        break;
    }
    return add(links, st, path, err);
}

void cb_dir_links_free(cb_dir_links *links)
{
    if (links == NULL)
        return;
    for (size_t i = 0; i < links->bucket_count; i++) {
        for (link_entry *entry = links->buckets[i], *next; entry != NULL; entry = next) {
            next = entry->next;
            free(entry);
        }
    }
    free(links->last);
    free(links->buckets);
    free(links);
}
