/*
 * fixture.h - small repositories for the tests of this room: backups whose content follows from a
 * version number, and the check that a backup reads back.
 */
#ifndef CB_TEST_REPO_FIXTURE_H
#define CB_TEST_REPO_FIXTURE_H

#include "repo/repo_internal.h"

/* What a backup of version v holds: `items` files of `chunks` chunks of 2 KiB each. The first
   `changing` chunks of each file depend on the version, the others do not. */
typedef struct fixture_shape {
    const char *name;
    unsigned items, chunks, changing, version;
    bool full, single_threaded;
    uint64_t pack_bytes;
} fixture_shape;

enum { FIXTURE_CHUNK = 2048 };

#define FIXTURE_PASSPHRASE "nobody knows the trouble"

/* Make a repository: encrypted when CB_TEST_ENCRYPTED is set, so that every test of this room runs
   both ways. Then the settings of `ctx` say how to open it. */
cb_code fixture_create(cb_ctx *ctx, cb_store *store, cb_error *err);
bool fixture_is_encrypted(void);
/* What `name` is in keys, "session/%s/..." and the like: the name, or its hash. */
const char *fixture_name(cb_ctx *ctx, cb_store *store, const char *name, char out[CB_NAME_MAX + 1]);
/* session/N/number/what */
const char *fixture_session_key(cb_ctx *ctx, cb_store *store, const char *name, uint64_t number,
                                const char *what, char out[CB_KEY_MAX]);

void fixture_chunk(const fixture_shape *shape, unsigned item, unsigned place,
                   uint8_t into[FIXTURE_CHUNK]);
/* The whole run of a backup. `label` may be NULL. */
cb_code fixture_backup(cb_repo *repo, const fixture_shape *shape, cb_manifest_ref *ref,
                       cb_error *err);
/* The same on a session that is open; commits it, but does not free it. */
cb_code fixture_fill(cb_repo *repo, cb_session *session, const fixture_shape *shape, cb_error *err);
/* Read everything back and compare; CB_CORRUPT with a message when something differs. */
cb_code fixture_check(cb_repo *repo, const cb_manifest_ref *ref, cb_error *err);
/* Every backup that is visible. */
cb_code fixture_check_all(cb_repo *repo, size_t *count, cb_error *err);
/* Number of objects whose key begins with `prefix`. */
size_t fixture_count(cb_store *store, const char *prefix);
/* The key of object number `at` with that prefix. */
void fixture_key(cb_store *store, const char *prefix, size_t at, char out[CB_KEY_MAX]);

#endif
