/*
 * dir_tree.h - trees of files for the tests of the source dir: made by chance, changed, compared by
 * other means than the code under test has.
 */
#ifndef CB_TEST_DIR_TREE_H
#define CB_TEST_DIR_TREE_H

#include "random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Write `size` bytes made from `seed`; the folder must be there. */
void tree_file(const char *folder, const char *path, size_t size, uint64_t seed);
void tree_text(const char *folder, const char *path, const char *text);
void tree_mkdir(const char *folder, const char *path);
/* Set the time of `path` (a link's own), in nanoseconds. */
void tree_time(const char *folder, const char *path, int64_t ns);
bool tree_exists(const char *folder, const char *path);

/* Fill `folder`, which is empty: files of all sizes, odd names, links, holes, modes, attributes. */
void tree_random(test_random *random, const char *folder);
/* Change, add, remove, replace by another kind, here and there. */
void tree_mutate(test_random *random, const char *folder);

/* Fails the test, naming the first difference. Access and change times do not count. */
void tree_assert_same(const char *a, const char *b);

#endif
