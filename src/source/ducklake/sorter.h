/*
 * sorter.h - records brought into the order of their keys, more of them than memory holds.
 *
 *     add... -> next... until there are no more -> add... of the next lot
 *
 * Records are gathered in memory. When that is full they are sorted and written, one run behind the
 * other, to a nameless file; the runs are merged while they are read. So all of it is read and
 * written once and in order, however many there are, and memory does not grow with them.
 * One thread at a time.
 */
#ifndef CB_SOURCE_DUCKLAKE_SORTER_H
#define CB_SOURCE_DUCKLAKE_SORTER_H

#include "base/bytes.h"

typedef struct cb_sorter cb_sorter;

/* `folder`: where the file is made, with the first run; `memory_bytes` 0: 16 MiB. */
CB_MUST_USE cb_code cb_sorter_new(const char *folder, size_t memory_bytes, cb_sorter **out,
                                  cb_error *err);
void cb_sorter_free(cb_sorter *sorter); /* NULL is allowed */
/* Not between the first cb_sorter_next and the end. Both are copied. Errors: CB_NO_SPACE, CB_IO. */
CB_MUST_USE cb_code cb_sorter_add(cb_sorter *sorter, cb_bytes key, cb_bytes body, cb_error *err);
bool cb_sorter_is_empty(const cb_sorter *sorter);
/*
 * In byte order of the keys; of equal ones in the order in which they were added. Borrowed until
 * the next call. *more false: all were read, and the sorter is empty again.
 */
CB_MUST_USE cb_code cb_sorter_next(cb_sorter *sorter, cb_bytes *key, cb_bytes *body, bool *more,
                                   cb_error *err);
void cb_sorter_clear(cb_sorter *sorter);

#endif
