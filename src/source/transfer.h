/*
 * transfer.h - from a live source straight to a target, without a repository.
 */
#ifndef CB_SOURCE_TRANSFER_H
#define CB_SOURCE_TRANSFER_H

#include "codec/hash.h"
#include "source/source.h"

/*
 * Drive a source that has begun straight into a prepared target, without a repository.
 * Pieces are written where they belong as they are read; a later pass overwrites.
 */
typedef struct cb_transfer_hash {
    bool is_known; /* else the file must be read for it */
    cb_hash hash;  /* of the first item, as the target has it once finished */
    uint64_t bytes;
} cb_transfer_hash;
CB_MUST_USE cb_code cb_transfer(cb_ctx *ctx, cb_source *source, cb_target *target,
                                uint64_t *bytes_written, cb_transfer_hash *hash /* NULL: not */,
                                cb_error *err);

#endif
