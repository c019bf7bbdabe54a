/*
 * sqlite_kit.h - databases for the tests of the source sqlite, and other processes that use them.
 *
 * Everything that is to look like another program runs in a forked child: SQLite's locks belong to
 * the process.
 */
#ifndef CB_TEST_SQLITE_KIT_H
#define CB_TEST_SQLITE_KIT_H

#include "temp.h"
#include "unit.h"

#include "pipe_source.h"

#include <sqlite3.h>
#include <sys/types.h>

typedef struct kit {
    cb_ctx *ctx;
    char folder[256];
    char path[300];   /* of the database */
    char target[300]; /* nothing is there yet */
} kit;

int kit_set_up(void **state);
int kit_tear_down(void **state);

/* Run SQL in a child and wait: afterwards nobody has the database open. */
void kit_sql(const char *path, const char *sql);
/* The one number that the query yields. Opens read-write, so what lies beside is recovered. */
int64_t kit_number(const char *path, const char *sql);
/* SQLite's answer to opening it and reading the schema. */
int kit_open_code(const char *path);
bool kit_is_sound(const char *path);

/* `work` runs in a child with its end of a pipe, on which it says (kit_say) when it is ready; the
   child is killed by kit_stop. */
typedef struct kit_child {
    pid_t pid;
    int from;
} kit_child;
typedef void kit_work(const char *path, int ready);
kit_child kit_start(kit_work *work, const char *path);
void kit_say(int ready);
void kit_hear(const kit_child *child);
void kit_stop(kit_child *child);

/* Works of children. */
void kit_hold_open(const char *path, int ready);      /* reads once, keeps the connection idle */
void kit_hold_exclusive(const char *path, int ready); /* keeps a write transaction open */
void kit_die_writing(const char *path, int ready);    /* leaves a hot journal behind when killed */
void kit_transfer(const char *path, int ready);       /* commits for ever; see sqlite_live_test.c */

bool kit_exists(const char *path, const char *suffix);
/* A checksum of the file's bytes and of its inode, or 0 when it is missing. */
uint64_t kit_print(const char *path, const char *suffix);

/* Through the engine's own doors; both fail the test. */
void kit_backup(kit *k, test_backup *out);
void kit_restore(kit *k, const test_backup *backup, const cb_target_options *options,
                 test_restore_counts *counts);

#endif
