/*
 * item.h - an item: something with a path, bytes on a fixed grid, and the source's own record.
 *
 * The grid: chunk 0 has head_bytes when that is not 0, every other chunk_bytes, the last the rest.
 * A DuckDB file has a head of 12288 and chunks of one block; other files have no head.
 */
#ifndef CB_CODEC_ITEM_H
#define CB_CODEC_ITEM_H

#include "base/bytes.h"

/* On disk: doc/format.md, "Items". */
typedef enum cb_item_kind {
    CB_ITEM_FILE = 1,
    CB_ITEM_FOLDER = 2,
    CB_ITEM_LINK = 3,
    CB_ITEM_DATABASE = 4, /* the database file of an engine */
    CB_ITEM_LOG = 5,      /* its write-ahead log */
    CB_ITEM_OTHER = 6,    /* device, fifo, socket: attrs only */
} cb_item_kind;

enum { CB_CHUNK_BYTES_MAX = 1 << 20 };

typedef struct cb_item {
    const char *path; /* raw bytes, relative, never empty ("." for a root folder) */
    cb_item_kind kind;
    uint64_t size_bytes;
    uint32_t head_bytes;
    uint32_t chunk_bytes; /* 1 .. CB_CHUNK_BYTES_MAX; also when size_bytes is 0 */
    cb_bytes attrs;       /* meaning known to the source's kind alone */
} cb_item;

uint64_t cb_item_chunks(const cb_item *item);
/* Place and length of chunk `index` (which must be below cb_item_chunks). */
void cb_item_chunk(const cb_item *item, uint64_t index, uint64_t *offset, uint32_t *length);
bool cb_item_same_grid(const cb_item *a, const cb_item *b); /* sizes may differ */

/*
 * The order of item tables that are compared item by item: "." first, then by component, each
 * compared byte by byte; so a folder stands before all that is in it, and that stands together
 * ("a", "a/b", "a.b"). Negative, zero, positive as strcmp.
 */
int cb_item_path_compare(const char *a, const char *b);

const char *cb_item_kind_name(cb_item_kind kind); /* "file", "folder", ... */

#endif
