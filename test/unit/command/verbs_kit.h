/*
 * verbs_kit.h - folders to back up and repositories to keep them in, for tests of the verbs through
 * the public header alone.
 */
#ifndef CB_TEST_UNIT_COMMAND_VERBS_KIT_H
#define CB_TEST_UNIT_COMMAND_VERBS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <canvasback.h>

#include <cmocka.h>

typedef struct kit {
    char root[64];
    char data[128];    /* the folder that is backed up */
    char address[160]; /* "dir:" and the folder */
    char a[128], b[128], back[128];
    cb_ctx *in_a, *in_b; /* contexts of repositories a and b */
    char warnings[4096]; /* and errors of the way, one a line */
    cb_ctx *cancel_at;   /* when the phase below begins, this one is cancelled */
    const char *cancel_phase;
} kit;

int kit_make(void **state);
int kit_remove(void **state);

cb_ctx *kit_context(kit *k, const char *repository);

/* A file of `size` bytes in the folder, made from `seed`; none is compressible. */
void kit_write(kit *k, const char *name, unsigned seed, size_t size);
void kit_unlink(kit *k, const char *name);

/* Back the folder up; the label goes to `label` (may be NULL). */
void kit_backup(cb_ctx *ctx, kit *k, const char *name, char label[64]);

/* Restore to a fresh folder: is it, byte for byte, what the folder holds now? Prints what is not.
 */
bool kit_same_as_data(cb_ctx *ctx, kit *k, const char *backup);

/* All stored objects of a repository whose key begins with `prefix`: how many. */
unsigned kit_count_objects(const char *repository, const char *prefix);
/* Flip a bit in the middle of the n-th largest pack, from 0. */
void kit_flip_pack(const char *repository, unsigned nth);

#define assert_ok(call, error)                                                                     \
    do {                                                                                           \
        if ((call) != CB_OK)                                                                       \
            fail_msg("%s: %s", cb_code_name((error).code), (error).message);                       \
    } while (0)

#endif
