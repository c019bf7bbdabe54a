/*
 * holder.h - who has the database open, and is that process able to run?
 *
 * DuckDB holds a POSIX record lock over the whole file: for writing when it was opened read-write,
 * for reading otherwise. Asking for it (F_GETLK) takes nothing and disturbs nobody.
 *
 * The pulse answers what a wait cannot: a checkpoint of a stopped or stalled process leaves no
 * trace however long one waits. Linux, /proc.
 */
#ifndef CB_SOURCE_DUCKDB_HOLDER_H
#define CB_SOURCE_DUCKDB_HOLDER_H

#include "base/error.h"

typedef struct cb_duckdb_lock {
    bool held;
    bool is_writer; /* false: open read-only, so nobody can be writing */
    int64_t pid;    /* 0 nobody; -1 somebody on another host or outside our pid namespace */
} cb_duckdb_lock;

CB_MUST_USE cb_code cb_duckdb_lock_ask(int fd, const char *path, cb_duckdb_lock *out,
                                       cb_error *err);

typedef struct cb_duckdb_pulse {
    bool is_known;     /* /proc could be read */
    bool is_stopped;   /* some thread is stopped, traced or in an uninterruptible wait, or frozen */
    bool all_sleeping; /* every thread waits for something, as an idle server's do */
    uint64_t activity; /* grows whenever a thread ran */
    char what[64];     /* "thread 71 is stopped", when one of the above is amiss */
} cb_duckdb_pulse;

void cb_duckdb_pulse_take(int64_t pid, cb_duckdb_pulse *out);

/*
 * May a wait that began with `before` and ended with `after` count as a wait in which the process
 * could have gone on? When not, after->what says why.
 */
bool cb_duckdb_pulse_beats(const cb_duckdb_pulse *before, cb_duckdb_pulse *after);

#endif
