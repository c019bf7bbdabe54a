/*
 * named.h - the blocks that a ROW_GROUP_DATA entry names.
 *
 * A large insert writes its row groups straight into free blocks of the database file; the commit
 * in the log only points to them. The entry's encoding cannot be walked without knowing every type
 * and statistic of every version, but each pointer is the same few bytes in all of them, so they
 * are searched for. The answer may name blocks too many (bytes that look alike), never too few.
 */
#ifndef CB_SOURCE_DUCKDB_NAMED_H
#define CB_SOURCE_DUCKDB_NAMED_H

#include "source/duckdb/bits.h"

#include "base/bytes.h"

/*
 * Add what the payload names to `named`. False when there is no pointer in it or a pointer lies at
 * or past the bound: then it was not understood, and any block may be meant.
 */
bool cb_duckdb_named_blocks(cb_bytes payload, cb_bits *named);

#endif
