/*
 * duckdb_kit.h - DuckDB files made by hand, to the byte: headers, free list, blocks, log.
 *
 * No engine would find tables in them; header, free list, checksums and frames are as DuckDB
 * writes them.
 */
#ifndef CB_TEST_DUCKDB_KIT_H
#define CB_TEST_DUCKDB_KIT_H

#include "source/duckdb/format.h"
#include "source/source.h"

enum { KIT_LIST_MAX = 4096 };

typedef struct kit_file {
    uint32_t block_bytes;
    uint64_t iteration;
    uint64_t block_count;
    uint64_t seed; /* what the data blocks hold */
    uint64_t free_ids[KIT_LIST_MAX];
    size_t free_count;
    uint64_t metadata[8]; /* blocks that hold the free list, in the order of the chain */
    size_t metadata_count;
    size_t shared_count;  /* entries in the list of shared blocks */
    bool skip_sub_blocks; /* the chain uses every second sub-block only */
} kit_file;

/* The bytes of block `id` of such a file, or of one of its metadata blocks. */
void kit_block(const kit_file *file, uint64_t id, uint8_t *out);
/* The three header pages: the current header in slot `iteration % 2`. */
void kit_pages(const kit_file *file, uint8_t out[CB_DUCKDB_HEAD]);
uint64_t kit_free_list(const kit_file *file); /* pointer to its first sub-block */
void kit_seal(uint8_t *block, size_t size);   /* write its checksum */

/* Write the whole file; free blocks are left as holes. */
void kit_write(const kit_file *file, const char *path);
/* Write some bytes of a file that exists. */
void kit_poke(const char *path, uint64_t offset, const void *data, size_t size);

/* ---- logs ---- */

/* version 2, without or with identifier (16 bytes) and iteration */
void kit_log_header(cb_buf *log, const uint8_t *identifier, uint64_t iteration);
void kit_log_frame(cb_buf *log, const void *payload, size_t size);
void kit_log_entry(cb_buf *log, uint8_t type, size_t size); /* some bytes of that type */
void kit_log_flush(cb_buf *log);
void kit_log_marker(cb_buf *log, uint64_t root);
void kit_log_names(cb_buf *log, const uint64_t *ids, size_t count); /* ROW_GROUP_DATA */
void kit_log_write(const cb_buf *log, const char *database);        /* to DATABASE.wal */

/* ---- files and copies ---- */

cb_buf kit_slurp(const char *path); /* empty when there is none */
bool kit_same_files(const char *a, const char *b);
int kit_count_beside(const char *folder); /* files in it, hidden ones too */

/* A child process that holds the engine's lock on the file, asleep. Returns its pid. */
pid_t kit_hold(const char *path);
void kit_release(pid_t pid);

typedef struct kit_copy {
    cb_source_options source;
    cb_target_options target;
    cb_bytes parent_state;
    /* results */
    bool unchanged;
    cb_source_facts facts; /* until kit_copy_end */
    uint64_t pieces, written;
    cb_source *open_source;
    /* Called at every barrier with the number of the pass. */
    void (*at_barrier)(unsigned pass, void *arg);
    void *arg;
    cb_buf seen; /* block numbers given, u64 each, with ~pass before those of a pass */
} kit_copy;

/* One copy by source and target; the code of the first failure. */
cb_code kit_copy_run(cb_ctx *ctx, const char *from, const char *to, kit_copy *copy, cb_error *err);
void kit_copy_end(kit_copy *copy);

#endif
