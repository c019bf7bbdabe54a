/*
 * index_cache.h - the merged index of a large or remote repository, in a file of this machine.
 *
 * One sorted table of 32-byte entries, the packs that they name, and the index objects that it was
 * made from; made anew when it no longer fits the repository. A lookup reads one block of it; only
 * the tables are in memory. Made beside and renamed: processes may share it.
 *
 *   header 4096 | entries of 32, by prefix, then pack | tables: objects, packs, blocks
 *
 * Trust: header and tables are checked when it is opened, each block of entries whenever it is
 * read: the file may be cut or changed at any moment. Any doubt, and it is as if it were not there.
 * A pack counts only while an object that names it is listed: a repository may have been put back
 * to an earlier state, without the pack. Those who remove anything do without a base. Threads:
 * cb_index_base_find from any; a builder belongs to one.
 */
#ifndef CB_REPO_INDEX_CACHE_H
#define CB_REPO_INDEX_CACHE_H

#include "repo/index.h"

#include <stdatomic.h>

typedef struct cb_index_base {
    int fd;
    const uint8_t *secret; /* of the checksums; borrowed */
    uint8_t *tables;
    const uint8_t *objects, *packs, *blocks; /* in `tables` */
    size_t count, object_count, pack_count, block_count;
    uint32_t *numbers; /* its packs' numbers in the table that it was opened for */
    atomic_bool is_bad;
} cb_index_base;

/* NULL when there is none that can be trusted. */
cb_index_base *cb_index_base_open(const char *folder, const uint8_t *repo_id,
                                  const uint8_t *secret);
void cb_index_base_free(cb_index_base *base); /* NULL is allowed */
void cb_index_base_remove(const char *folder);

bool cb_index_base_has_object(const cb_index_base *base, const uint8_t id[CB_PACK_ID_BYTES]);
/* Add its packs to the table and learn their numbers there. Indexed are those that an object names
   which the table lists; `indexed` counts them. */
CB_MUST_USE cb_code cb_index_base_take_packs(cb_index_base *base, cb_index *index, size_t *indexed,
                                             cb_error *err);
/* Append what it has of a chunk in packs that exist to out[*count], up to `limit`, with the table's
   pack numbers. */
void cb_index_base_find(cb_index_base *base, const cb_index *index, const cb_hash *id,
                        cb_index_entry *out, size_t *count, size_t limit);

/*
 * Making one: sorted runs of entries are set aside in a file, then merged with the old base and
 * what the table holds. Memory: a buffer of 64 KiB for each run.
 */
typedef struct cb_index_run {
    uint64_t offset; /* in the file, in entries */
    size_t count;
} cb_index_run;

typedef struct cb_index_spill {
    char path[4096]; /* "" nothing was set aside */
    int fd;
    uint64_t end; /* in entries */
    cb_index_run *runs;
    size_t count, capacity;
} cb_index_spill;

/* Set the table's sorted entries aside and empty it. */
CB_MUST_USE cb_code cb_index_spill_add(cb_index_spill *spill, const char *folder, cb_index *index,
                                       cb_error *err);
void cb_index_spill_free(cb_index_spill *spill); /* removes its file */

/*
 * Write and open the base of `index`: `old` (may be NULL), what was set aside, and its sorted
 * entries, as far as their packs are indexed. Its objects (that are not damaged) are those it was
 * made from. Errors: CB_CORRUPT when `old` is damaged.
 */
CB_MUST_USE cb_code cb_index_base_write(const char *folder, const uint8_t *repo_id,
                                        const uint8_t *secret, const cb_index *index,
                                        cb_index_base *old, cb_index_spill *spill,
                                        cb_index_base **out, cb_error *err);

#endif
