/*
 * ledger.h - sets of files, compared on disk: what a catalog names, what a storage holds, what a
 * backup has. For a million files a scratch database, never memory.
 *
 * A ledger has numbered sets; a set holds files by their URL, each once. Visits come in the order
 * of item paths (cb_item_path_compare), or of URLs as bytes, and can be bounded to a range of them:
 * the shape in which many machines can share the work. Ranges that lie side by side have each file
 * in exactly one of them.
 *
 * Backed by nameless files in the scratch folder: a sorter for what was added, SQLite for what is
 * asked. Time grows as n log n with what is added and as n with what is visited, in whatever order
 * it was added; memory does not grow. One thread at a time.
 */
#ifndef CB_SOURCE_DUCKLAKE_LEDGER_H
#define CB_SOURCE_DUCKLAKE_LEDGER_H

#include "codec/hash.h"
#include "source/ducklake/catalog.h"

typedef struct cb_ledger cb_ledger;

typedef enum cb_ledger_set {
    CB_LEDGER_NAMED, /* by the catalog; scheduled files are marked so */
    CB_LEDGER_FOUND, /* in storage */
    CB_LEDGER_KEPT,  /* in a backup, or in the replica */
} cb_ledger_set;

typedef struct cb_ledger_entry {
    const char *url, *item;
    cb_lake_file_kind kind;
    int64_t id, table_id, begin_snapshot, end_snapshot, size_bytes, footer_bytes, records;
    bool is_encrypted, is_absolute;
    int64_t modified_us;  /* FOUND */
    const char *checksum; /* the store's mark of the content, "" unknown; FOUND */
    const char *version;  /* which of its versions, "" none or unknown; FOUND */
} cb_ledger_entry;

typedef cb_code cb_ledger_visit(void *arg, const cb_ledger_entry *entry, cb_error *err);
/* `b` NULL: only in the first set; `a` NULL: only in the second. */
typedef cb_code cb_ledger_pair(void *arg, const cb_ledger_entry *a, const cb_ledger_entry *b,
                               cb_error *err);

/* Item paths or URLs, as the visit goes: `from` and what is behind it, before `to`. NULL: open. */
typedef struct cb_ledger_range {
    const char *from, *to;
} cb_ledger_range;

/* `scratch`: a folder. */
CB_MUST_USE cb_code cb_ledger_open(cb_ctx *ctx, const char *scratch, cb_ledger **out,
                                   cb_error *err);
void cb_ledger_close(cb_ledger *ledger); /* NULL is allowed */
void cb_ledger_cleanup(cb_ledger **ledger);
CB_MUST_USE cb_code cb_ledger_clear(cb_ledger *ledger, cb_ledger_set set, cb_error *err);
/* A URL that is there already: the required one (not scheduled) wins. */
CB_MUST_USE cb_code cb_ledger_add(cb_ledger *ledger, cb_ledger_set set,
                                  const cb_ledger_entry *entry, cb_error *err);
/* All that the catalog names. */
CB_MUST_USE cb_code cb_ledger_add_named(cb_ledger *ledger, cb_lake_db *db,
                                        const cb_lake_schema *schema, const cb_lake_info *info,
                                        cb_error *err);
CB_MUST_USE cb_code cb_ledger_count(cb_ledger *ledger, cb_ledger_set set, uint64_t *count,
                                    uint64_t *bytes, cb_error *err);
/* Over all that was added to FOUND since it was cleared, in whatever order: URLs, sizes, times and
   checksums. Equal hashes, equal sets. */
void cb_ledger_hash(const cb_ledger *ledger, cb_ledger_set set, cb_hash *out);
CB_MUST_USE cb_code cb_ledger_find(cb_ledger *ledger, cb_ledger_set set, const char *url,
                                   cb_arena *arena, cb_ledger_entry *out, bool *found,
                                   cb_error *err);
/*
 * In the order of item paths. A visit may be left and taken up: a cursor, for cb_source_next.
 * cursor_next: *more false at the end; the entry is borrowed until the next call.
 * `range` of item paths, borrowed for the call; NULL: all. Nothing is added to the set meanwhile.
 */
typedef struct cb_ledger_cursor cb_ledger_cursor;
CB_MUST_USE cb_code cb_ledger_cursor_open(cb_ledger *ledger, cb_ledger_set set,
                                          cb_ledger_cursor **out, cb_error *err);
CB_MUST_USE cb_code cb_ledger_cursor_open_in(cb_ledger *ledger, cb_ledger_set set,
                                             const cb_ledger_range *range, cb_ledger_cursor **out,
                                             cb_error *err);
CB_MUST_USE cb_code cb_ledger_cursor_next(cb_ledger_cursor *cursor, cb_ledger_entry *out,
                                          bool *more, cb_error *err);
void cb_ledger_cursor_close(cb_ledger_cursor *cursor);
/* Merge two sets by URL, in byte order of URLs; `range` of URLs, NULL: all. */
CB_MUST_USE cb_code cb_ledger_compare(cb_ledger *ledger, cb_ledger_set a, cb_ledger_set b,
                                      cb_ledger_pair *visit, void *arg, cb_error *err);
CB_MUST_USE cb_code cb_ledger_compare_in(cb_ledger *ledger, cb_ledger_set a, cb_ledger_set b,
                                         const cb_ledger_range *range, cb_ledger_pair *visit,
                                         void *arg, cb_error *err);

#endif
