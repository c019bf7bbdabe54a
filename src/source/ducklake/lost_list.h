/*
 * lost_list.h - the files that a lake named before a restore replaced its catalog, and that the
 * restored catalog does not name: kept as a small text file, so that they can be found, told from
 * failed writes, and adopted.
 *
 *     # canvasback lost files 1 <identity> <restored snapshot> <replaced snapshot>
 *     kind TAB url TAB table TAB table_id TAB begin TAB end TAB size TAB records TAB encrypted
 *
 * One line a file; kind is data, delete, puffin or scheduled; control characters and '%' of url and
 * table are percent-escaped; end is -1 while the file was part of the table.
 */
#ifndef CB_SOURCE_DUCKLAKE_LOST_LIST_H
#define CB_SOURCE_DUCKLAKE_LOST_LIST_H

#include "source/ducklake/catalog.h"

typedef struct cb_lost_list_writer cb_lost_list_writer;

typedef struct cb_lost_list_head {
    char identity[33];                            /* cb_lake_info.identity */
    int64_t restored_snapshot, replaced_snapshot; /* newest of each catalog */
} cb_lost_list_head;

/* Make the new file `path`, whole and synced at end, else not at all. */
CB_MUST_USE cb_code cb_lost_list_create(const char *path, const cb_lost_list_head *head,
                                        cb_lost_list_writer **out, cb_error *err);
/* `file->item` is not kept. `table`: "main"."orders"; NULL unknown. */
CB_MUST_USE cb_code cb_lost_list_add(cb_lost_list_writer *writer, const cb_lake_file *file,
                                     const char *table, cb_error *err);
CB_MUST_USE cb_code cb_lost_list_end(cb_lost_list_writer *writer, cb_error *err);
void cb_lost_list_free(cb_lost_list_writer *writer); /* NULL is allowed */

typedef cb_code cb_lost_list_visit(void *arg, const cb_lake_file *file, const char *table,
                                   cb_error *err);
/* Errors: CB_NOT_FOUND, CB_UNSUPPORTED (no such list), CB_CORRUPT, and the visitor's. `visit` NULL:
   the head alone. */
CB_MUST_USE cb_code cb_lost_list_read(const char *path, cb_lost_list_head *head,
                                      cb_lost_list_visit *visit, void *arg, cb_error *err);

#endif
