/*
 * format.h - the fixed parts of a DuckDB file: checksum, main header, the two database headers.
 *
 *     0     main header page        4096 bytes
 *     4096  database header, slot 0
 *     8192  database header, slot 1
 *     12288 block 0, block 1, ...   block_bytes each
 *
 * Every page and block begins with a checksum over its rest. Source: DuckDB's
 * single_file_block_manager.cpp, storage_info.hpp, checksum.cpp. All integers little-endian.
 */
#ifndef CB_SOURCE_DUCKDB_FORMAT_H
#define CB_SOURCE_DUCKDB_FORMAT_H

#include "base/bytes.h"

enum {
    CB_DUCKDB_PAGE = 4096,
    CB_DUCKDB_HEAD = 3 * CB_DUCKDB_PAGE, /* all header pages; block 0 begins here */
    CB_DUCKDB_BLOCK_MIN = 16384,
    CB_DUCKDB_BLOCK_MAX = 262144,
    CB_DUCKDB_SUB_BLOCKS = 64, /* of a metadata block */
};

#define CB_DUCKDB_NONE UINT64_MAX /* a metadata pointer to nothing */

/* Stands in place of the magic while a restore in place is under way: the engine refuses the file,
   and the next restore knows it. */
#define CB_DUCKDB_INTERRUPTED_MAGIC "CVBK"

uint64_t cb_duckdb_checksum(cb_bytes data);

/* Does a page or block begin with the checksum of its rest? False for fewer than 16 bytes. */
bool cb_duckdb_block_ok(cb_bytes block);

/* Does the file begin like one of DuckDB's, sound or not? Needs the first 12 bytes. */
bool cb_duckdb_has_magic(cb_bytes head);

typedef struct cb_duckdb_main {
    uint64_t version; /* 64 .. 68; 999: see the database header */
    bool encrypted;
    char library[33]; /* "v1.5.6": what made the file; unprintable bytes are '?' */
    uint8_t identifier[16];
    bool has_identifier; /* not all zero */
} cb_duckdb_main;

typedef struct cb_duckdb_header {
    uint64_t iteration;
    uint64_t meta_block;
    uint64_t free_list;
    uint64_t block_count;
    uint32_t block_bytes;
    uint64_t vector_size;
    uint64_t compatibility;
} cb_duckdb_header;

typedef struct cb_duckdb_head {
    cb_duckdb_main main;
    bool main_ok;            /* its checksum is right */
    bool slot_ok[2];         /* never, when encrypted: the pages cannot be read */
    unsigned slot;           /* which one is current */
    cb_duckdb_header header; /* the current one; zero when encrypted */
} cb_duckdb_head;

/*
 * Parse the first CB_DUCKDB_HEAD bytes. Does not ask for right checksums: a caller that reads a
 * live file asks main_ok and slot_ok, and reads again. Errors: CB_UNSUPPORTED (no magic, a version
 * that is not known), CB_CORRUPT (checksums are right and the values impossible).
 */
CB_MUST_USE cb_code cb_duckdb_head_parse(cb_bytes pages, cb_duckdb_head *out, cb_error *err);

/* Everything that must be right before it may be believed. */
bool cb_duckdb_head_ok(const cb_duckdb_head *head);

/*
 * The header pages of a copy, from those of the source: the current header in its slot, the same
 * body one iteration lower in the other, so that both verify and the right one wins. Iteration 0
 * (never checkpointed) is the same page twice: one lower would be 2^64-1. `pages` must be sound
 * and not encrypted.
 */
void cb_duckdb_head_compose(const cb_duckdb_head *head, const uint8_t *pages,
                            uint8_t out[CB_DUCKDB_HEAD]);

/* "64 (DuckDB 1.0 to 1.5)": the file's version in the words of its users. */
const char *cb_duckdb_version_text(const cb_duckdb_head *head, char out[64]);

static inline uint64_t cb_duckdb_block_offset(uint64_t block, uint32_t block_bytes)
{
    return CB_DUCKDB_HEAD + block * block_bytes;
}

#endif
