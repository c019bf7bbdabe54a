/*
 * source_internal.h - the read half of a lake, shared by source.c (the steps), inventory.c (what
 * is to be copied), references.c (what is not), unchanged.c (whether anything is) and describe.c
 * (what is said of it).
 */
#ifndef CB_SOURCE_DUCKLAKE_SOURCE_INTERNAL_H
#define CB_SOURCE_DUCKLAKE_SOURCE_INTERNAL_H

#include "codec/hash.h"
#include "source/ducklake/ducklake.h"
#include "source/ducklake/ledger.h"
#include "source/ducklake/scratch.h"
#include "source/ducklake/segments.h"

enum {
    CB_LAKE_WINDOW = 512, /* items whose pieces may be on their way */
    CB_LAKE_ROUNDS = 5,   /* catalogs that are taken for one table of items */
    CB_LAKE_RESTARTS = 5,
    CB_LAKE_NAMED_MAX = 50, /* damaged files that are told one by one */
    CB_LAKE_FACTS_MAX = 20,
};

typedef enum cb_lake_phase {
    CB_LAKE_PHASE_CATALOG,
    CB_LAKE_PHASE_FILES,
    CB_LAKE_PHASE_BARRIER, /* wait for the last reads */
    CB_LAKE_PHASE_JUDGE,   /* was anything gone? */
    CB_LAKE_PHASE_END,
} cb_lake_phase;

/* An item whose pieces are being read: what the readers need of it. Fixed between barriers. */
typedef struct cb_lake_slot {
    char *from; /* a path of the private copy, or a URL */
    bool is_catalog;
    bool is_checked; /* its shape counts */
    cb_lake_file_kind kind;
    uint64_t size;
} cb_lake_slot;

/* Files of the private copy, in the order of item paths. */
typedef struct cb_lake_part {
    const char *name;  /* "catalog.duckdb", or a table's folder */
    uint64_t segments; /* 0: it is a file itself */
} cb_lake_part;

/* What a backup keeps in mind of a file that it does not copy. */
typedef struct cb_lake_reference {
    cb_lake_file_kind kind;
    uint64_t size;
    const char *url; /* as the catalog has it; of the item */
    char *place;     /* where it was looked for; malloc'd */
    bool is_there, is_damaged, has_checksum, has_modified;
    char version[CB_LAKE_VERSION_MAX], tag[CB_LAKE_TAG_MAX]; /* "" none */
    uint8_t checksum[32];
    int64_t modified_us;
} cb_lake_reference;

typedef struct cb_lake_source {
    cb_source base;
    cb_ctx *ctx;
    cb_arena arena;
    cb_source_options options; /* texts in the arena; `lake` points to the next */
    cb_lake_options lake;
    cb_lake_address address;
    cb_lake_scratch home; /* of all that lies on disk meanwhile */

    /* The catalog, frozen: replaced as a whole by the next round. */
    cb_lake_scratch scratch;
    cb_lake_frozen frozen;
    int64_t frozen_at; /* cb_monotonic_us; 0: none is there */
    bool is_taken;     /* for the round that begins: however long ago */
    cb_hash catalog_hash;
    bool has_catalog_hash;
    uint64_t frozen_bytes; /* valid with the hash */
    cb_lake_db *db;        /* sees what was frozen; closed when the inventory is done */
    cb_arena round;        /* of the next three */
    cb_lake_info info;
    cb_lake_schema schema;
    cb_lake_part *parts;
    size_t part_count;

    cb_lake_files *files;
    cb_ledger *ledger;
    /* With references: what was found where they lead to, in step with the files. */
    cb_lake_files *replica_files;
    cb_ledger *replica; /* its set FOUND */
    cb_ledger_cursor *beside;
    cb_ledger_entry beside_entry; /* valid while has_beside */
    bool has_beside, is_beside_open;
    uint64_t absent; /* from the replica */
    char first_absent[512];
    cb_lake_reference reference; /* of the item in hand */
    bool is_settled;             /* compared with that of the backup before */
    uint64_t altered;            /* written over since the backup before */
    char first_altered[512];
    uint64_t lasting, fleeting; /* references: in a store that keeps versions; elsewhere */
    uint64_t named_files, named_bytes;
    uint64_t damaged_files; /* of this table of items: missing, or of another size */
    uint64_t torn_files;    /* and of the right size, but no such file */
    char first_damage[512];
    bool leave_scheduled; /* do not copy what is about to be deleted */
    bool has_outside;     /* files outside the data path are named */

    /* Where the steps are. */
    cb_lake_phase phase;
    unsigned restarts;
    size_t part;
    uint64_t segment;
    cb_ledger_cursor *cursor;
    cb_lake_slot slots[CB_LAKE_WINDOW];
    size_t slot_count;
    uint32_t item_number;
    bool is_in_item, is_reused, was_asked;
    bool must_tell; /* declare the item again: its attrs are others */
    cb_item item;
    cb_buf path, attrs, from; /* of the item */
    cb_lake_file_kind kind;
    bool is_catalog, is_damaged, is_checked;
    uint64_t there; /* of a damaged file: so many bytes are there */
    uint64_t at, chunks;
    bool has_slot;
    uint64_t left_bytes; /* that may still have to be read, with what has been */
    uint64_t item_count, read_count;
    uint64_t catalog_bytes, file_count, file_bytes;

    atomic_bool is_moved; /* a reader found a file gone or shorter */
    atomic_uint_fast64_t misshaped;
    cb_buf state;
    cb_pair facts[CB_LAKE_FACTS_MAX];
    size_t fact_count;
} cb_lake_source;

/* inventory.c: freeze the catalog, and find every file that it names; CB_CORRUPT when one is not
   there. In the end the conversation is closed and the cursors stand at the beginning. */
CB_MUST_USE cb_code cb_lake_inventory(cb_lake_source *s, cb_error *err);
/* Freeze, or with a short query look at, the catalog: for name, identity and keys. */
CB_MUST_USE cb_code cb_lake_first_look(cb_lake_source *s, cb_error *err);
/* Is this a file that is missing or cut? Then *there says how much of it there is. */
CB_MUST_USE cb_code cb_lake_damage_of(cb_lake_source *s, const cb_ledger_entry *entry,
                                      bool *is_damaged, uint64_t *there, cb_error *err);
void cb_lake_drop_round(cb_lake_source *s);
/* The first step of an inventory, with places and parts: the next one begins with this copy. */
CB_MUST_USE cb_code cb_lake_take_catalog(cb_lake_source *s, cb_error *err);

/* unchanged.c: with `*unchanged` the items of the backup whose state it is are those of this one,
   and all is counted. */
CB_MUST_USE cb_code cb_lake_is_unchanged(cb_lake_source *s, cb_bytes parent_state, bool *unchanged,
                                         cb_error *err);
/* Once for each copy; nothing where it would not serve. */
CB_MUST_USE cb_code cb_lake_hash_catalog(cb_lake_source *s, cb_error *err);
CB_MUST_USE cb_code cb_lake_put_hashes(cb_lake_source *s, cb_buf *into, uint64_t damaged,
                                       cb_error *err);

/* references.c: files that are told of and not copied. */
CB_MUST_USE cb_code cb_lake_list_storage(cb_lake_source *s, cb_error *err);
CB_MUST_USE cb_code cb_lake_list_replica(cb_lake_source *s, cb_error *err);
bool cb_lake_is_reference(const cb_lake_source *s, const cb_ledger_entry *entry);
/* Item and attrs of the entry; *is_damaged: as it was found, or the replica has not got it. */
CB_MUST_USE cb_code cb_lake_refer(cb_lake_source *s, const cb_ledger_entry *entry, uint64_t size,
                                  bool is_damaged, cb_error *err);
/* With what the backup before says of it (NULL: nothing): is it the same content? Of local files
   the checksum is taken, or taken over. *changed: the attrs are others now. */
CB_MUST_USE cb_code cb_lake_settle_reference(cb_lake_source *s, const cb_item *parent,
                                             bool *changed, cb_error *err);
/* All that is referred to must be there. */
CB_MUST_USE cb_code cb_lake_judge_references(cb_lake_source *s, cb_error *err);
void cb_lake_rewind_references(cb_lake_source *s);

/* describe.c */
/* `reference` NULL: the bytes are here. */
CB_MUST_USE cb_code cb_lake_put_attrs(cb_lake_source *s, const cb_ledger_entry *entry,
                                      uint64_t size, bool is_damaged,
                                      const cb_lake_reference *reference, cb_error *err);
CB_MUST_USE cb_code cb_lake_describe(cb_lake_source *s, cb_source_facts *out, cb_error *err);
/* Has the parent the file's bytes, all of them? */
bool cb_lake_is_whole(const cb_item *parent, uint64_t size);

#endif
