/*
 * wal.h - DuckDB's log: its valid prefix, the commits in it, the checkpoint marker, and the blocks
 * of the database file that its entries name.
 *
 *     header (no checksum): version, and since 1.4 identifier and iteration of the file
 *     frames: u64 size, u64 checksum of the payload, payload
 *     frames, encrypted: u64 size, nonce, encrypted { u64 checksum, payload }, tag
 *
 * A FLUSH (5 bytes of payload) ends each commit; CHECKPOINT closes the log. What may be stored is
 * the prefix up to the last FLUSH before any marker: a torn entry behind it is dropped by DuckDB,
 * but a bad checksum inside would be refused. Source: DuckDB's write_ahead_log.cpp, wal_replay.cpp.
 */
#ifndef CB_SOURCE_DUCKDB_WAL_H
#define CB_SOURCE_DUCKDB_WAL_H

#include "source/duckdb/bits.h"
#include "source/duckdb/format.h"

/* Read up to `size` bytes at `offset`; fewer only at the end of the log. */
typedef cb_code cb_duckdb_log_read(void *arg, uint64_t offset, uint8_t *into, size_t size,
                                   size_t *got, cb_error *err);

typedef enum cb_duckdb_log_end {
    CB_LOG_END_CLEAN,   /* the last frame ends where the log does */
    CB_LOG_END_PARTIAL, /* a frame runs past the end: being written, or torn by a crash */
    CB_LOG_END_BAD,     /* a whole frame with a wrong checksum or an impossible size */
} cb_duckdb_log_end;

typedef struct cb_duckdb_log {
    bool has_header;  /* false: empty, or shorter than its header */
    unsigned version; /* 2; 3 encrypted; others are not understood, and nothing more is known */
    bool has_iteration;
    uint8_t identifier[16];
    uint64_t iteration;
    uint64_t prefix_bytes; /* end of the last FLUSH before a marker; 0: none */
    uint64_t commits;
    bool has_marker;
    uint64_t marker_root; /* root pointer of the catalog that the checkpoint is to write */
    bool names_blocks;    /* some commit of the prefix names blocks of the database file */
    bool names_unknown;   /* and not all of the names could be read */
    cb_bits named;        /* bound given by the caller; ids past it set names_unknown */
    cb_duckdb_log_end end;
    uint64_t read_bytes; /* how far it was walked: where the last whole frame ends */
} cb_duckdb_log;

/*
 * Walk from the beginning. `file_blocks` bounds the named blocks. Memory: 1 MiB, and up to 32 MiB
 * for an entry that names blocks. Errors: those of `read`, CB_NO_MEMORY; bad bytes are no error,
 * they end the prefix.
 */
CB_MUST_USE cb_code cb_duckdb_log_walk(uint64_t file_blocks, cb_duckdb_log_read *read, void *arg,
                                       cb_duckdb_log *out, cb_error *err);
void cb_duckdb_log_free(cb_duckdb_log *log);

static inline bool cb_duckdb_log_known(const cb_duckdb_log *log)
{
    return !log->has_header || log->version == 2 || log->version == 3;
}

#endif
