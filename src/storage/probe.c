/*
 * probe.c - trying out what a store says of itself. Everything is done through the plain functions,
 * so it is the same for every kind; what it leaves below probe/ when it dies is harmless.
 */
#include "storage/storage.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/pool.h"

enum { RACERS = 8, NAME_BYTES = 8, SPEED_BYTES = 8 << 20, FOLDER_MAX = 40, TRIPS = 3 };

typedef struct probe {
    cb_ctx *ctx;
    cb_store *store;
    cb_store_facts *facts;
    cb_store_speed *speed;
    char folder[FOLDER_MAX]; /* "probe/<random>" */
} probe;

static const char *key_of(const probe *self, const char *name, char out[CB_KEY_MAX + 1])
{
    snprintf(out, CB_KEY_MAX + 1, "%s/%s", self->folder, name);
    return out;
}

/* ---- created once --------------------------------------------------------------------------- */

/* Of these codes the first is what a place gives that can be read only. */
static bool is_read_only(cb_code code)
{
    return code == CB_DENIED || code == CB_UNSUPPORTED;
}

static cb_code create(const probe *self, const char *name, cb_error *err)
{
    char key[CB_KEY_MAX + 1];

    return cb_store_put_bytes(self->store, key_of(self, name, key), CB_PUT_NEW,
                              cb_bytes_of("probe", 5), err);
}

/* Once must work, twice must not. *goes_on false: this place can be read only. */
static cb_code try_twice(probe *self, bool *goes_on, cb_error *err)
{
    cb_error first = {0};
    cb_error second = {0};
    cb_code code = create(self, "once", &first);

    *goes_on = code == CB_OK;
    if (code != CB_OK && !is_read_only(code)) {
        *err = first;
        return code;
    }
    if (code == CB_UNSUPPORTED)
        self->facts->create_if_absent = CB_ANSWER_NO;
    if (code != CB_OK)
        return CB_OK;
    code = create(self, "once", &second);
    if (code != CB_OK && code != CB_EXISTS) {
        *err = second;
        return code;
    }
    self->facts->create_if_absent = code == CB_EXISTS ? CB_ANSWER_YES : CB_ANSWER_NO;
    return CB_OK;
}

typedef struct race {
    const probe *probe;
    atomic_uint won, lost;
} race;

static cb_code run_once(void *arg, unsigned worker, void *job, cb_error *err)
{
    race *self = arg;
    cb_code code = create(self->probe, "race", err);

    (void)worker;
    (void)job;
    if (code == CB_OK)
        atomic_fetch_add(&self->won, 1);
    if (code == CB_EXISTS)
        atomic_fetch_add(&self->lost, 1);
    return code == CB_EXISTS ? CB_OK : code;
}

static cb_code try_race(probe *self, cb_error *err)
{
    race all = {.probe = self};
    cb_pool *pool;
    cb_code code = cb_pool_new(RACERS, RACERS, 1, run_once, &all, &pool, err);

    for (int i = 0; i < RACERS && code == CB_OK; i++)
        code = cb_pool_submit(pool, "", err);
    if (code == CB_OK)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    if (code == CB_OK && atomic_load(&all.won) != 1)
        self->facts->create_if_absent = CB_ANSWER_NO;
    return code;
}

/* ---- seen at once --------------------------------------------------------------------------- */

static cb_code count_object(void *arg, const cb_object *object, cb_error *err)
{
    unsigned *count = arg;

    (void)object;
    (void)err;
    (*count)++;
    return CB_OK;
}

static cb_code try_listing(probe *self, cb_error *err)
{
    char prefix[CB_KEY_MAX + 1];
    unsigned count = 0;
    cb_code code = cb_store_list(self->store, key_of(self, "", prefix), count_object, &count, err);

    if (code == CB_OK && count != 2) {
        cb_fail(err, CB_UNSUPPORTED, "'%.300s' lists %u of 2 objects that were just written",
                cb_store_address(self->store), count);
        cb_hint(err, "A repository needs a store whose lists are complete at once.");
        return err->code;
    }
    return code;
}

static cb_code try_range(probe *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf into = {0};
    char key[CB_KEY_MAX + 1];
    int64_t best = INT64_MAX;

    for (int i = 0; i < TRIPS; i++) {
        int64_t begin = cb_monotonic_us();
        cb_code code;

        into.size = 0;
        code = cb_store_get(self->store, key_of(self, "once", key), 1, 3, &into, err);
        if (code != CB_OK)
            return code;
        if (into.size != 3 || memcmp(into.data, "rob", 3) != 0)
            return cb_fail(err, CB_UNSUPPORTED, "'%.300s' cannot read a part of an object",
                           cb_store_address(self->store));
        if (cb_monotonic_us() - begin < best)
            best = cb_monotonic_us() - begin;
    }
    self->speed->round_trip_us = best;
    return CB_OK;
}

/* ---- how fast ------------------------------------------------------------------------------- */

static uint64_t per_second(size_t bytes, int64_t us)
{
    return us > 0 ? (uint64_t)((double)bytes * 1e6 / (double)us) : 0;
}

/* Bytes that no store or network can press together. */
static cb_code try_speed(probe *self, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf sent = {0};
    CB_CLEANUP(cb_buf_free) cb_buf back = {0};
    char key[CB_KEY_MAX + 1];
    int64_t begin;
    cb_code code = cb_buf_reserve(&sent, SPEED_BYTES, err);

    if (code != CB_OK)
        return code;
    cb_random(self->ctx, sent.data, SPEED_BYTES);
    sent.size = SPEED_BYTES;
    key_of(self, "speed", key);
    begin = cb_monotonic_us();
    code = cb_store_put_bytes(self->store, key, CB_PUT_REPLACE, cb_buf_bytes(&sent), err);
    if (code != CB_OK)
        return code;
    self->speed->put_bytes_per_second = per_second(SPEED_BYTES, cb_monotonic_us() - begin);
    begin = cb_monotonic_us();
    code = cb_store_get(self->store, key, 0, SPEED_BYTES, &back, err);
    if (code != CB_OK)
        return code;
    self->speed->get_bytes_per_second = per_second(SPEED_BYTES, cb_monotonic_us() - begin);
    if (back.size != sent.size || memcmp(back.data, sent.data, sent.size) != 0)
        return cb_fail(err, CB_CORRUPT, "'%.300s' gives other bytes back than were written",
                       cb_store_address(self->store));
    return CB_OK;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* Who may write but not remove (append-only credentials) leaves three small objects behind. */
static cb_code clear(probe *self, cb_error *err)
{
    char text[3][CB_KEY_MAX + 1];
    const char *keys[] = {key_of(self, "once", text[0]), key_of(self, "race", text[1]),
                          key_of(self, "speed", text[2])};
    cb_error refused = {0};
    cb_code code = cb_store_remove_many(self->store, keys, CB_LENGTH(keys), &refused);

    if (code == CB_OK || code == CB_DENIED)
        return CB_OK;
    *err = refused;
    return code;
}

static cb_code try_all(probe *self, cb_error *err)
{
    cb_error ignored = {0};
    bool goes_on;
    cb_code code = try_twice(self, &goes_on, err);

    if (code != CB_OK || !goes_on)
        return code;
    code = try_race(self, err);
    if (code == CB_OK)
        code = try_listing(self, err);
    if (code == CB_OK)
        code = try_range(self, err);
    if (code == CB_OK)
        code = try_speed(self, err);
    if (code == CB_OK)
        return clear(self, err);
    cb_ignore(clear(self, &ignored)); /* the first failure is the one to tell */
    return code;
}

cb_code cb_store_probe(cb_ctx *ctx, cb_store *store, cb_store_facts *facts, cb_store_speed *speed,
                       cb_error *err)
{
    probe self = {.ctx = ctx, .store = store, .facts = facts, .speed = speed};
    uint8_t random[NAME_BYTES];
    char hex[2 * NAME_BYTES + 1];
    cb_store_facts tried;
    cb_code code = CB_OK;

    memset(speed, 0, sizeof(*speed));
    cb_store_facts_of(store, facts);
    if (store->ops->look != NULL)
        code = store->ops->look(store, facts, err);
    if (code != CB_OK)
        return code;
    cb_random(ctx, random, sizeof(random));
    cb_hex(random, sizeof(random), hex);
    snprintf(self.folder, sizeof(self.folder), "probe/%s", hex);
    code = try_all(&self, err);
    cb_store_facts_of(store, &tried); /* what it came to know on the way */
    if (tried.checksums != CB_ANSWER_UNKNOWN)
        facts->checksums = tried.checksums;
    if (facts->versioning == CB_ANSWER_UNKNOWN)
        facts->versioning = tried.versioning;
    memcpy(facts->credentials, tried.credentials, sizeof(facts->credentials));
    memcpy(facts->region, tried.region, sizeof(facts->region));
    return code;
}
