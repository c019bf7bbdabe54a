/*
 * freelist.h - which blocks a database header uses, from the free list it points to.
 *
 * The list is a stream in a chain of sub-blocks of metadata blocks: free block ids, multi-use
 * blocks with their counts, and the metadata blocks with their masks of free sub-blocks.
 *
 * Read while checkpoints go by, it can be any bytes in blocks with right checksums. So everything
 * is bounded, and an error here only means "the header may have moved: look again"; whoever knows
 * that nothing moved calls it damage. Source: DuckDB's metadata_manager.cpp,
 * single_file_block_manager.cpp.
 */
#ifndef CB_SOURCE_DUCKDB_FREELIST_H
#define CB_SOURCE_DUCKDB_FREELIST_H

#include "source/duckdb/bits.h"
#include "source/duckdb/format.h"

/* Blocks that a header counts beyond the end of the file (it is cut there when they are free). */
enum { CB_DUCKDB_BLOCKS_PAST_END_MAX = 1 << 26 };

/*
 * Give the bytes of a whole block, valid until the next call. The reader decides about checksums.
 * Errors: CB_RETRY for a block that cannot be had now.
 */
typedef cb_code cb_duckdb_block_read(void *arg, uint64_t block, cb_bytes *out, cb_error *err);

typedef struct cb_duckdb_blocks {
    cb_bits used;     /* bound: the header's block count */
    cb_bits metadata; /* same bound; a subset of used */
    uint64_t used_count, free_count;
    uint64_t tail; /* used data blocks at or above this id may be unreferenced: the highest
                      free id + 1 */
} cb_duckdb_blocks;

void cb_duckdb_blocks_free(cb_duckdb_blocks *blocks);

/*
 * Read the free list of `header`. `file_blocks`: whole blocks that the file has, which bounds
 * everything. Errors: CB_CORRUPT (see above; the message says what is wrong), those of `read`,
 * CB_NO_MEMORY. On error `out` is empty.
 */
CB_MUST_USE cb_code cb_duckdb_blocks_read(const cb_duckdb_header *header, uint64_t file_blocks,
                                          cb_duckdb_block_read *read, void *arg,
                                          cb_duckdb_blocks *out, cb_error *err);

#endif
