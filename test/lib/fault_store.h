/*
 * fault_store.h - a store in front of another one, whose n-th call fails.
 *
 * Counted are get, put, write, commit, list and remove, over all threads. The n-th answers `code`
 * and does nothing, or with `takes_effect` does its work and answers `code` all the same, as a
 * network does that loses the reply. With `stay_dead` all later calls fail too: the process has
 * crashed as far as the store can see.
 */
#ifndef CB_TEST_FAULT_STORE_H
#define CB_TEST_FAULT_STORE_H

#include "storage/storage.h"

typedef struct cb_fault {
    unsigned fail_at; /* number of the call that fails, from 1; 0: none */
    unsigned calls;   /* counted so far */
    cb_code code;     /* CB_OK: CB_IO */
    bool stay_dead;
    bool takes_effect;
    const char *failed; /* name of the call that failed first; NULL: none yet */
} cb_fault;

/* Borrows both. Closing it leaves `inner` open. */
cb_store *cb_fault_store_new(cb_store *inner, cb_fault *fault);

#endif
