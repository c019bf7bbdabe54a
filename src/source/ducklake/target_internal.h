/*
 * target_internal.h - the write half of a lake, shared by target.c (the calls, the order of
 * things), target_place.c (where each file goes), target_file.c (one file in the making),
 * target_refer.c (files that the backup has not got) and target_lost.c (what a replaced lake
 * named).
 */
#ifndef CB_SOURCE_DUCKLAKE_TARGET_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_TARGET_INTERNAL_H

#include "base/pool.h"
#include "source/ducklake/beside.h"
#include "source/ducklake/ducklake.h"
#include "source/ducklake/ledger.h"
#include "source/ducklake/scratch.h"

enum { CB_LAKE_OUTS = 1024, CB_LAKE_PREFIXES = 24, CB_LAKE_DEVICES = 16 };

/* What the backup says of the lake. Strings in the target's arena. */
typedef struct cb_lake_was {
    cb_lake_kind kind;
    const char *schema, *data_path, *replica; /* NULL none */
    cb_lake_data mode;
    int64_t snapshot;
    bool is_encrypted;
} cb_lake_was;

/* An item between item() and done(). The coordinator makes and frees it; in between workers write:
   `lock` guards the making of the new file. */
typedef struct cb_lake_out {
    char *url;      /* a local path or the URL of an object */
    char item[256]; /* the path of the item, for messages; may be cut */
    bool is_catalog, is_remote, is_reference, is_damaged, is_outside;
    uint64_t size, whole_size; /* of the item; of the file that it stands for */
    int there;                 /* a file that stands at its place: open for reading; -1 none */
    uint64_t there_size;
    bool is_there;
    atomic_bool was_read; /* the caller compares chunk by chunk, and writes what differs */
    pthread_mutex_t lock;
    int fd; /* the new file, once something differs; -1 */
    char *partial;
    struct cb_lake_out *next, **link; /* among those that are brought to their place */
    cb_lake_attrs *refers;            /* of a reference; its url is `was_at` */
    char *was_at;
} cb_lake_out;

typedef struct cb_lake_target {
    cb_target base;
    cb_ctx *ctx;
    cb_target_options options;
    cb_lake_options lake; /* of options.lake, or zero */
    cb_arena arena;
    cb_lake_address address;
    cb_lake_was was;
    bool exists; /* a lake is there, and will be replaced */

    cb_lake_beside folder; /* the catalog's copy */
    cb_lake_beside spool;  /* objects in the making; made with the first */
    cb_lake_files *files;
    cb_pool *pool;     /* brings files to their places */
    cb_ledger *ledger; /* NAMED: what is restored; FOUND: what is there; KEPT: what was named */
    bool is_listed;    /* FOUND tells what is below data_path */

    bool is_catalog_done, is_chosen; /* only the files in KEPT of `chosen` are wanted */
    cb_ledger *chosen;
    cb_lake_straddle straddle; /* files whose later rows are hidden, when cut */
    char data_path[CB_PATH_MAX];
    bool is_moved;        /* data_path is another than it was */
    bool maps_outside;    /* files elsewhere come along, below data_path */
    const char *new_path; /* to be written into the catalog; NULL as it stands there */
    struct cb_lake_prefix prefixes[CB_LAKE_PREFIXES];
    size_t prefix_count;

    cb_lake_out *outs[CB_LAKE_OUTS];
    dev_t devices[CB_LAKE_DEVICES]; /* file systems that were written to: synced at finish */
    int device_fds[CB_LAKE_DEVICES];
    size_t device_count;
    char made_folder[CB_PATH_MAX]; /* made last */

    /* References: those that are not right at their place. NAMED: where each is to be; KEPT: where
       the backup saw it. */
    cb_ledger *amiss;
    uint64_t amiss_count;
    cb_lake_files *origin; /* where replicas are read from; made when needed */
    const char *replica;   /* resolved, with a slash behind; NULL none */

    pthread_mutex_t lock;          /* of the next ones, of folders and devices */
    cb_lake_out *placing;          /* with the pool: what it drops after an error is found here */
    uint64_t brought_back, copied; /* references */
    uint64_t missing_count;
    bool is_outside_told;
    char first_missing[512];

    char lost_path[CB_PATH_MAX]; /* "" none */
    uint64_t lost_count;
    uint64_t skipped;
    int64_t snapshot_us; /* of lake.snapshot, when cut */
} cb_lake_target;

/* ---- target_place.c ----------------------------------------------------------------------- */

/* After the catalog's copy is complete: where the data is to be, and which files are wanted. */
CB_MUST_USE cb_code cb_lake_target_plan(cb_lake_target *t, cb_error *err);
/* Before it: what is known from the backup's state and the options alone. */
CB_MUST_USE cb_code cb_lake_target_expect(cb_lake_target *t, cb_error *err);
/* The place that was asked for, as it was written; the replica for a backup that only refers to
   files there; NULL: none, the catalog says where. */
const char *cb_lake_target_given(const cb_lake_target *t);
/* URL of an item, now; CB_CORRUPT when it leads out of its place. */
CB_MUST_USE cb_code cb_lake_target_url(cb_lake_target *t, const char *item, cb_buf *out,
                                       cb_error *err);
CB_MUST_USE cb_code cb_lake_target_wants(cb_lake_target *t, const char *item, bool *out,
                                         cb_error *err);
void cb_lake_target_changes(cb_lake_target *t, cb_lake_changes *out);
CB_MUST_USE cb_code cb_lake_target_ledger(cb_lake_target *t, cb_error *err); /* once made, stays */

/* ---- target_file.c ------------------------------------------------------------------------ */

CB_MUST_USE cb_code cb_lake_out_open(cb_lake_target *t, const cb_item *item, cb_lake_out **out,
                                     cb_error *err);
void cb_lake_out_free(cb_lake_out *out);
CB_MUST_USE cb_code cb_lake_out_read(cb_lake_target *t, cb_lake_out *out, uint64_t offset,
                                     uint32_t length, cb_buf *into, cb_error *err);
CB_MUST_USE cb_code cb_lake_out_write(cb_lake_target *t, cb_lake_out *out, uint64_t offset,
                                      cb_bytes data, cb_error *err);
/* *out NULL afterwards: a thread brings it to its place, and frees it. What is in the way of it is
   told here, what goes wrong later by settle. */
CB_MUST_USE cb_code cb_lake_out_done(cb_lake_target *t, cb_lake_out **out, cb_error *err);
/* After the pool is gone: what it did not get to. */
void cb_lake_out_drop(cb_lake_target *t);
/* Every file is at its place, those of this machine durable. */
CB_MUST_USE cb_code cb_lake_out_settle(cb_lake_target *t, cb_error *err);

/* A file of another content stands at its place. CB_EXISTS unless it may be replaced. */
CB_MUST_USE cb_code cb_lake_out_may_replace(const cb_lake_target *t, const cb_lake_out *out,
                                            cb_error *err);

/* ---- target_refer.c ----------------------------------------------------------------------- */

/* Of a reference that is opened: `was_at` becomes where its bytes are to be had. */
CB_MUST_USE cb_code cb_lake_refer_open(cb_lake_target *t, cb_lake_out *out, const char *item,
                                       cb_error *err);
/* A file whose bytes the backup has not: is it at its place? One that is not waits for settle. */
CB_MUST_USE cb_code cb_lake_refer_to(cb_lake_target *t, cb_lake_out *out, cb_error *err);
/* Find those that were not, all of them, and only then bring them back or copy them. What is
   nowhere is noted as missing, and without options.salvage nothing is done then. */
CB_MUST_USE cb_code cb_lake_refer_settle(cb_lake_target *t, cb_error *err);
void cb_lake_refer_free(cb_lake_target *t);

/* ---- target_lost.c ------------------------------------------------------------------------ */

/* The files that the lake which is there names and the restored one will not: a list of them. A
   lake that cannot be read is no reason to stop: a warning says why there is no list. */
CB_MUST_USE cb_code cb_lake_target_list_lost(cb_lake_target *t, cb_error *err);

#endif
