/*
 * Backups, readers, removals, reclaims, repairs and false alarms interleaved by a seeded scheduler,
 * over one store in memory.
 *
 * Each actor is a fiber: it stops before every store call until the scheduler lets it go on. Some
 * believe that the store is far away, and then keep index, manifests and metadata on their host, in
 * a part of the runs: what is kept is as old as it gets. The scheduler freezes actors for long,
 * lets hours pass, kills them at any call, loses the answer of a call, and applies lost or repeated
 * requests late. A listing is taken in two parts with others at work in between.
 *
 * What must hold, looked at after every pack that goes and at the end: each visible backup reads
 * back whole; each backup that was reported as done and that nobody removed is visible; and once
 * all is removed and quiet, one reclaim leaves neither packs nor index objects. Before that a pack
 * rots, and is healed by backups of the same content.
 *
 * CB_TEST_RUNS sets the number of runs, CB_TEST_SEED the first seed: a run is repeated by its seed.
 * With CB_TEST_LONG there are 100,000.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../unit/repo/fixture.h"
#include "fake_hooks.h"
#include "fiber.h"
#include "temp.h"

#include "base/file.h"

enum { HOSTS = 3, CACHED_ONE_IN = 4 };
enum { ACTORS = 5, LATE_MAX = 64, DONE_MAX = 64, OPERATIONS = 3, STEPS_MAX = 60000 };

#define MINUTE_US ((int64_t)60 * 1000000)

typedef struct late_call {
    char key[CB_KEY_MAX];
    bool is_remove;
    cb_put_mode mode;
    cb_buf data;
} late_call;

struct world;

typedef struct actor {
    cb_store store; /* the gate before the world's store */
    struct world *world;
    cb_ctx *host;
    test_fiber *fiber;
    bool is_done, is_dead;
    unsigned frozen; /* turns to sit out */
    test_random random;
    unsigned number;
    bool reclaims;
    bool is_remote; /* what its store says of itself: fewer requests, another order of listings */
} actor;

typedef struct world {
    uint64_t seed;
    cb_ctx *ctx;
    cb_ctx *hosts[HOSTS];
    char cache[256]; /* "" none */
    test_hooks hooks;
    cb_store *inner;
    test_random random;
    actor actors[ACTORS];
    late_call late[LATE_MAX];
    size_t late_count;
    cb_manifest_ref done[DONE_MAX];
    size_t done_count;
    cb_manifest_ref removed[DONE_MAX]; /* someone was asked to remove it */
    size_t removed_count;
    uint64_t packs_removed, kills, retries, committed, reads, repairs, condemned, rotten;
    char rotten_key[CB_KEY_MAX]; /* "" none yet */
} world;

static void give_up(const world *w, const char *what, const cb_error *err)
{
    fprintf(stderr, "seed %llu: %s: %s\n", (unsigned long long)w->seed, what,
            err != NULL ? err->message : "");
    exit(1);
}

static bool chance(test_random *random, unsigned one_in)
{
    return test_random_below(random, one_in) == 0;
}

/* ---- what must always hold --------------------------------------------------------------- */

/* A way to the world's store that nothing disturbs, for a repository to own. */
typedef struct plain_store {
    cb_store store;
    cb_store *inner;
} plain_store;

static cb_store *inner_of(cb_store *store)
{
    return ((plain_store *)store)->inner;
}

static cb_code plain_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                         cb_buf *into, cb_error *err)
{
    return cb_store_get(inner_of(store), key, offset, length, into, err);
}

static cb_code plain_put(cb_store *store, const char *key, const cb_put_options *options,
                         cb_writer **out, cb_error *err)
{
    return cb_store_put_with(inner_of(store), key, options, out, err);
}

static cb_code plain_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                          cb_error *err)
{
    return cb_store_list(inner_of(store), prefix, visit, arg, err);
}

static cb_code plain_remove(cb_store *store, const char *key, cb_error *err)
{
    return cb_store_remove(inner_of(store), key, err);
}

static cb_code plain_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    return cb_store_now(inner_of(store), out_us, err);
}

static cb_code plain_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    return cb_store_free_space(inner_of(store), out, err);
}

static const char *plain_address(cb_store *store)
{
    return cb_store_address(inner_of(store));
}

static void plain_close(cb_store *store)
{
    free(store);
}

static const cb_store_ops plain_ops = {.get = plain_get,
                                       .put = plain_put,
                                       .list = plain_list,
                                       .remove = plain_remove,
                                       .now = plain_now,
                                       .free_space = plain_free_space,
                                       .address = plain_address,
                                       .close = plain_close};

static cb_repo *open_plain(world *w)
{
    plain_store *store = calloc(1, sizeof(*store));
    cb_error err = {0};
    cb_repo *repo;

    store->store.ops = &plain_ops;
    store->inner = w->inner;
    if (cb_repo_open(w->ctx, &store->store, &repo, &err) != CB_OK)
        give_up(w, "open", &err);
    repo->single_threaded = true;
    return repo;
}

static void check_backups(world *w)
{
    cb_repo *repo = open_plain(w);
    cb_error err = {0};
    size_t count;

    if (fixture_check_all(repo, &count, &err) != CB_OK)
        give_up(w, "a visible backup does not read back", &err);
    cb_repo_close(repo);
}

/* ---- the gate ---------------------------------------------------------------------------- */

static cb_code gate(actor *self, cb_error *err)
{
    test_fiber_pause(self->fiber);
    if (self->is_dead)
        return cb_fail(err, CB_IO, "the actor is dead");
    return CB_OK;
}

static void apply(world *w, const late_call *call)
{
    cb_error err = {0};

    if (call->is_remove)
        cb_ignore(cb_store_remove(w->inner, call->key, &err)); /* nobody hears the answer */
    else
        cb_ignore(
            cb_store_put_bytes(w->inner, call->key, call->mode, cb_buf_bytes(&call->data), &err));
}

static void apply_late(world *w)
{
    size_t at;

    if (w->late_count == 0)
        return;
    at = (size_t)test_random_below(&w->random, w->late_count);
    apply(w, &w->late[at]);
    cb_buf_free(&w->late[at].data);
    w->late[at] = w->late[--w->late_count];
}

static void keep_late(world *w, const char *key, bool is_remove, cb_put_mode mode, cb_bytes data)
{
    late_call *call = &w->late[w->late_count];
    cb_error err = {0};

    if (w->late_count == LATE_MAX)
        return;
    memset(call, 0, sizeof(*call));
    snprintf(call->key, sizeof(call->key), "%s", key);
    call->is_remove = is_remove;
    call->mode = mode;
    if (cb_buf_append(&call->data, data.data, data.size, &err) != CB_OK)
        give_up(w, "memory", &err);
    w->late_count++;
}

/* A changing call: done, done and repeated later, or its answer lost, done now, later or never. */
static cb_code change(actor *self, const char *key, bool is_remove, cb_put_mode mode, cb_bytes data,
                      cb_error *err)
{
    world *w = self->world;
    bool is_commit = !is_remove && strncmp(key, "manifest/", 9) == 0;
    cb_code code;

    if (chance(&w->random, is_commit ? 8 : 60)) {
        if (chance(&w->random, 2))
            keep_late(w, key, is_remove, mode, data);
        if (chance(&w->random, 2)) {
            late_call now = {.is_remove = is_remove, .mode = mode};

            snprintf(now.key, sizeof(now.key), "%s", key);
            if (cb_buf_append(&now.data, data.data, data.size, err) == CB_OK)
                apply(w, &now);
            cb_buf_free(&now.data);
        }
        return cb_fail(err, CB_IO, "the answer was lost");
    }
    code = is_remove ? cb_store_remove(w->inner, key, err)
                     : cb_store_put_bytes(w->inner, key, mode, data, err);
    /* A commit that was answered is not on its way any more; all else may come again. */
    if (code == CB_OK && !is_commit && chance(&w->random, 40))
        keep_late(w, key, is_remove, mode, data);
    if (is_remove && strncmp(key, "pack/", 5) == 0) {
        w->packs_removed++;
        check_backups(w);
    }
    return code;
}

static cb_code gate_get(cb_store *store, const char *key, uint64_t offset, uint64_t length,
                        cb_buf *into, cb_error *err)
{
    actor *self = (actor *)store;
    cb_code code = gate(self, err);

    return code != CB_OK ? code : cb_store_get(self->world->inner, key, offset, length, into, err);
}

typedef struct part {
    const char *split;
    bool upper;
    cb_object_visit *visit;
    void *arg;
} part;

static cb_code visit_part(void *arg, const cb_object *object, cb_error *err)
{
    part *p = arg;

    if ((strcmp(object->key, p->split) >= 0) != p->upper)
        return CB_OK;
    return p->visit(p->arg, object, err);
}

static cb_code gate_list(cb_store *store, const char *prefix, cb_object_visit *visit, void *arg,
                         cb_error *err)
{
    actor *self = (actor *)store;
    char split[CB_KEY_MAX];
    part p = {split, false, visit, arg};
    size_t count;
    cb_code code = gate(self, err);

    if (code != CB_OK)
        return code;
    count = fixture_count(self->world->inner, prefix);
    if (count < 2 || chance(&self->random, 2))
        return cb_store_list(self->world->inner, prefix, visit, arg, err);
    fixture_key(self->world->inner, prefix, (size_t)test_random_below(&self->random, count), split);
    code = cb_store_list(self->world->inner, prefix, visit_part, &p, err);
    if (code == CB_OK)
        code = gate(self, err);
    p.upper = true;
    return code != CB_OK ? code : cb_store_list(self->world->inner, prefix, visit_part, &p, err);
}

static cb_code gate_remove(cb_store *store, const char *key, cb_error *err)
{
    actor *self = (actor *)store;
    cb_code code = gate(self, err);

    return code != CB_OK ? code : change(self, key, true, CB_PUT_NEW, cb_bytes_of(NULL, 0), err);
}

typedef struct gate_writer {
    cb_writer writer;
    actor *actor;
    char key[CB_KEY_MAX];
    cb_put_mode mode;
    cb_buf data;
} gate_writer;

static cb_code gate_write(cb_writer *writer, cb_bytes data, cb_error *err)
{
    return cb_buf_append(&((gate_writer *)writer)->data, data.data, data.size, err);
}

static cb_code gate_commit(cb_writer *writer, cb_error *err)
{
    gate_writer *self = (gate_writer *)writer;
    cb_code code = gate(self->actor, err);

    return code != CB_OK
               ? code
               : change(self->actor, self->key, false, self->mode, cb_buf_bytes(&self->data), err);
}

static void gate_writer_free(cb_writer *writer)
{
    cb_buf_free(&((gate_writer *)writer)->data);
    free(writer);
}

static const cb_writer_ops gate_writer_ops = {gate_write, gate_commit, gate_writer_free};

static cb_code gate_put(cb_store *store, const char *key, const cb_put_options *options,
                        cb_writer **out, cb_error *err)
{
    gate_writer *writer = calloc(1, sizeof(*writer));

    if (writer == NULL)
        return cb_fail_memory(err, sizeof(*writer));
    writer->writer.ops = &gate_writer_ops;
    writer->actor = (actor *)store;
    writer->mode = options->mode;
    snprintf(writer->key, sizeof(writer->key), "%s", key);
    *out = &writer->writer;
    return CB_OK;
}

static cb_code gate_now(cb_store *store, int64_t *out_us, cb_error *err)
{
    return cb_store_now(((actor *)store)->world->inner, out_us, err);
}

static cb_code gate_free_space(cb_store *store, uint64_t *out, cb_error *err)
{
    return cb_store_free_space(((actor *)store)->world->inner, out, err);
}

static const char *gate_address(cb_store *store)
{
    return cb_store_address(((actor *)store)->world->inner);
}

static void gate_close(cb_store *store)
{
    (void)store; /* lives in the actor */
}

static void gate_facts(cb_store *store, cb_store_facts *out)
{
    cb_store_facts_of(((actor *)store)->world->inner, out);
    out->is_remote = ((actor *)store)->is_remote;
}

static const cb_store_ops gate_ops = {.get = gate_get,
                                      .facts = gate_facts,
                                      .put = gate_put,
                                      .list = gate_list,
                                      .remove = gate_remove,
                                      .now = gate_now,
                                      .free_space = gate_free_space,
                                      .address = gate_address,
                                      .close = gate_close};

/* ---- what actors do ---------------------------------------------------------------------- */

static const char *const names[] = {"a", "b"};

static fixture_shape random_shape(test_random *random)
{
    if (chance(random, 2)) /* often the same, so that it can be taken over from the parent */
        return (fixture_shape){.name = names[test_random_below(random, CB_LENGTH(names))],
                               .items = 2,
                               .chunks = 20,
                               .changing = 2,
                               .version = (unsigned)test_random_below(random, 2),
                               .single_threaded = true,
                               .pack_bytes = 4096};
    return (fixture_shape){.name = names[test_random_below(random, CB_LENGTH(names))],
                           .items = 1 + (unsigned)test_random_below(random, 2),
                           .chunks = 4 + 16 * (unsigned)test_random_below(random, 2),
                           .changing = (unsigned)test_random_below(random, 5),
                           .version = (unsigned)test_random_below(random, 4),
                           .single_threaded = true,
                           .pack_bytes = 4096};
}

/* As the command does it: the newest backup's table is taken over if it says the same. */
static bool adopt_parent(cb_session *session, const fixture_shape *shape, cb_code *code,
                         cb_error *err)
{
    char text[96];
    cb_manifest_ref ref;
    cb_manifest *parent;
    cb_manifest manifest = {.kind = "dir"};
    bool adopted = false;

    snprintf(text, sizeof(text), "%u %u %u %u", shape->items, shape->chunks, shape->changing,
             shape->version);
    if (cb_session_parent(session, &ref, &parent, err) != CB_OK || parent == NULL) {
        cb_error_clear(err);
        return false;
    }
    if (strcmp(parent->facts[0].value, text) == 0) {
        *code = cb_session_adopt_items(session, parent, err);
        adopted = *code == CB_OK;
    }
    if (adopted) {
        manifest.facts = parent->facts;
        manifest.fact_count = parent->fact_count;
        *code = cb_session_commit(session, &manifest, err);
    } else {
        cb_error_clear(err);
    }
    cb_manifest_free(parent);
    return adopted;
}

static void note_done(world *w, const fixture_shape *shape, const cb_session *session)
{
    cb_manifest_ref *done = &w->done[w->done_count];

    if (w->done_count == DONE_MAX)
        give_up(w, "too many backups", NULL);
    snprintf(done->name, sizeof(done->name), "%s", shape->name);
    snprintf(done->label, sizeof(done->label), "%s", cb_session_label(session));
    done->number = cb_session_number(session);
    w->done_count++;
    w->committed++;
}

static void do_backup(actor *self, cb_repo *repo)
{
    fixture_shape shape = random_shape(&self->random);
    cb_session_request request = {.name = shape.name,
                                  .codec = CB_CODEC_LZ4,
                                  .pack_bytes = shape.pack_bytes,
                                  .full = chance(&self->random, 6),
                                  .lock_wait_us =
                                      (int64_t)test_random_below(&self->random, 60) * 1000000};
    cb_session *session;
    cb_error err = {0};
    cb_code code;

    if (cb_session_open(repo, &request, &session, &err) != CB_OK)
        return;
    if (!adopt_parent(session, &shape, &code, &err))
        code = fixture_fill(repo, session, &shape, &err);
    if (code == CB_OK)
        note_done(self->world, &shape, session);
    self->world->retries += code == CB_RETRY;
    if (code == CB_CORRUPT || code == CB_INTERNAL)
        give_up(self->world, "backup", &err);
    cb_session_free(session);
}

static void note_removed(world *w, const cb_manifest_ref *ref)
{
    if (w->removed_count == DONE_MAX)
        give_up(w, "too many removals", NULL);
    w->removed[w->removed_count++] = *ref;
}

static bool was_removed(const world *w, const cb_manifest_ref *ref)
{
    for (size_t i = 0; i < w->removed_count; i++)
        if (w->removed[i].number == ref->number && strcmp(w->removed[i].name, ref->name) == 0)
            return true;
    return false;
}

static void do_reclaim(actor *self, cb_repo *repo)
{
    cb_manifest_ref *refs;
    cb_reclaim_result result;
    size_t count;
    cb_error err = {0};
    cb_code code = cb_manifest_list(repo, NULL, &refs, &count, &err);

    if (code != CB_OK)
        return;
    for (size_t i = 0; i < count && code == CB_OK; i++) {
        if (!chance(&self->random, 2))
            continue;
        note_removed(self->world, &refs[i]);
        code = cb_manifest_remove(repo, &refs[i], &err);
    }
    free(refs);
    if (code == CB_OK)
        code = cb_repo_reclaim(repo, (int64_t)test_random_below(&self->random, 100) * 1000000,
                               &result, &err);
    if (code == CB_CORRUPT || code == CB_INTERNAL)
        give_up(self->world, "reclaim", &err);
}

/* A reader takes no lock: what it misses must have been removed while it read. */
static void do_read(actor *self, cb_repo *repo)
{
    cb_manifest_ref *refs;
    cb_manifest *manifest;
    size_t count;
    size_t at;
    cb_error err = {0};
    cb_error quiet = {0};

    if (cb_manifest_list(repo, NULL, &refs, &count, &err) != CB_OK)
        return;
    at = count > 0 ? (size_t)test_random_below(&self->random, count) : 0;
    if (count > 0 && fixture_check(repo, &refs[at], &err) != CB_OK && err.code != CB_IO &&
        cb_manifest_load(repo, &refs[at], &manifest, &quiet) == CB_OK) {
        cb_manifest_free(manifest);
        give_up(self->world, "a reader", &err);
    }
    self->world->reads += count > 0;
    free(refs);
}

static void do_repair(actor *self, cb_repo *repo)
{
    uint64_t packs, chunks;
    cb_error err = {0};
    cb_code code = cb_repo_rebuild_index(repo, NULL, NULL, &packs, &chunks, &err);

    if (code == CB_CORRUPT || code == CB_INTERNAL)
        give_up(self->world, "repair", &err);
    self->world->repairs += code == CB_OK;
}

/* Somebody takes a good pack for damaged: it costs something, and nothing is lost. */
static void do_condemn(actor *self, cb_repo *repo)
{
    cb_error err = {0};
    size_t count = 0;
    cb_code code = cb_repo_load_index(repo, &err);

    if (code == CB_OK && repo->index.pack_count > 0)
        cb_repo_note_damaged(
            repo, repo->index.packs[test_random_below(&self->random, repo->index.pack_count)].id);
    if (code == CB_OK)
        code = cb_repo_condemn(repo, chance(&self->random, 2), &count, &err);
    if (code == CB_CORRUPT || code == CB_INTERNAL)
        give_up(self->world, "condemn", &err);
    self->world->condemned += count;
    if (code == CB_OK && chance(&self->random, 2))
        do_backup(self, repo); /* which relies on what is left */
}

static void do_one(actor *self, cb_repo *repo)
{
    if (self->reclaims && chance(&self->random, 6))
        do_repair(self, repo);
    else if (chance(&self->random, 10))
        do_condemn(self, repo);
    else if (self->reclaims)
        do_reclaim(self, repo);
    else if (chance(&self->random, 5))
        do_read(self, repo);
    else
        do_backup(self, repo);
}

static void act(void *arg)
{
    actor *self = arg;
    cb_repo *repo;

    for (unsigned i = 0; i < OPERATIONS && !self->is_dead; i++) {
        cb_error err = {0};

        self->is_remote = chance(&self->random, 2);
        if (cb_repo_open(self->host, &self->store, &repo, &err) != CB_OK)
            continue;
        repo->single_threaded = true;
        do_one(self, repo);
        cb_repo_close(repo);
    }
    self->is_done = true;
}

/* ---- the scheduler ----------------------------------------------------------------------- */

static actor *choose(world *w)
{
    actor *able[ACTORS];
    size_t count = 0;

    for (size_t i = 0; i < ACTORS; i++) {
        actor *a = &w->actors[i];

        if (a->is_done)
            continue;
        if (a->frozen > 0)
            a->frozen--;
        if (a->frozen == 0)
            able[count++] = a;
    }
    return count > 0 ? able[test_random_below(&w->random, count)] : NULL;
}

static bool all_done(const world *w)
{
    for (size_t i = 0; i < ACTORS; i++)
        if (!w->actors[i].is_done)
            return false;
    return true;
}

static void schedule(world *w)
{
    for (unsigned step = 0; !all_done(w); step++) {
        actor *a = choose(w);

        if (step > STEPS_MAX)
            give_up(w, "it does not come to an end", NULL);
        if (chance(&w->random, 40))
            test_time_pass(&w->hooks, (int64_t)test_random_below(&w->random, 45) * MINUTE_US);
        if (chance(&w->random, 30))
            apply_late(w);
        if (a == NULL)
            continue;
        if (chance(&w->random, 25)) {
            a->frozen = (unsigned)test_random_below(&w->random, 120);
            continue;
        }
        if (chance(&w->random, 250)) {
            a->is_dead = true;
            w->kills++;
        }
        test_fiber_run(a->fiber);
    }
}

/* ---- one run ----------------------------------------------------------------------------- */

/* Each host has its own place for what it keeps, and all have the same clock and chance. */
static void begin_hosts(world *w)
{
    if (chance(&w->random, CACHED_ONE_IN)) {
        snprintf(w->cache, sizeof(w->cache), "%s/cb-simulation-%d",
                 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (int)getpid());
        cb_ignore(mkdir(w->cache, 0700) == 0 ? CB_OK : CB_IO); /* then nothing is kept */
    }
    for (size_t i = 0; i < HOSTS; i++) {
        char folder[300];
        cb_settings settings = {.jobs = 2,
                                .cache_directory = folder,
                                .passphrase = fixture_is_encrypted() ? FIXTURE_PASSPHRASE : NULL};
        cb_error err = {0};

        snprintf(folder, sizeof(folder), "%s/%zu", w->cache[0] != '\0' ? w->cache : "/dev/null", i);
        if (cb_ctx_new(&settings, NULL, NULL, &w->hosts[i], &err) != CB_OK)
            give_up(w, "context", &err);
        w->hosts[i]->clock = w->ctx->clock;
        w->hosts[i]->random = w->ctx->random;
        w->hosts[i]->sleep = w->ctx->sleep;
        w->hosts[i]->hooks_arg = w->ctx->hooks_arg;
    }
}

static void end_hosts(world *w)
{
    cb_error err = {0};

    for (size_t i = 0; i < HOSTS; i++)
        cb_ctx_free(w->hosts[i]);
    if (w->cache[0] != '\0')
        cb_ignore(cb_tree_remove(w->cache, &err)); /* a leftover harms no test */
}

static void begin(world *w, uint64_t seed)
{
    cb_error err = {0};
    cb_repo *repo;

    memset(w, 0, sizeof(*w));
    w->seed = seed;
    w->random = test_random_from(seed * 2654435761u + 1);
    w->ctx = test_ctx_new();
    test_hooks_install(&w->hooks, w->ctx, (int64_t)1800000000 * 1000000, seed + 99);
    if (cb_memory_store_new(w->ctx, &w->inner, &err) != CB_OK ||
        fixture_create(w->ctx, w->inner, &err) != CB_OK)
        give_up(w, "create", &err);
    repo = open_plain(w);
    for (size_t i = 0; i < 3; i++) {
        fixture_shape shape = random_shape(&w->random);

        if (fixture_backup(repo, &shape, NULL, &err) != CB_OK)
            give_up(w, "first backups", &err);
    }
    cb_repo_close(repo);
    begin_hosts(w);
    for (unsigned i = 0; i < ACTORS; i++) {
        actor *a = &w->actors[i];

        a->store.ops = &gate_ops;
        a->world = w;
        a->number = i;
        a->reclaims = i >= ACTORS - 2;
        a->random = test_random_from(seed * 31 + i + 1);
        a->host = w->hosts[i % HOSTS];
        a->fiber = test_fiber_new(act, a);
    }
}

static void check_done(world *w)
{
    cb_repo *repo = open_plain(w);
    cb_error err = {0};

    for (size_t i = 0; i < w->done_count; i++)
        if (!was_removed(w, &w->done[i]) && fixture_check(repo, &w->done[i], &err) != CB_OK)
            give_up(w, "a backup that was done is not there", &err);
    cb_repo_close(repo);
}

/* ---- rot at rest ------------------------------------------------------------------------- */

/* One pack is gone, cut, or has another byte somewhere. */
static void rot(world *w, char key[CB_KEY_MAX])
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_error err = {0};
    size_t count = fixture_count(w->inner, "pack/");

    fixture_key(w->inner, "pack/", (size_t)test_random_below(&w->random, count), key);
    if (cb_store_get(w->inner, key, 0, UINT32_MAX, &raw, &err) != CB_OK)
        give_up(w, "a pack to rot", &err);
    if (chance(&w->random, 4)) {
        if (cb_store_remove(w->inner, key, &err) != CB_OK)
            give_up(w, "a pack to lose", &err);
        return;
    }
    if (chance(&w->random, 3))
        raw.size = (size_t)test_random_below(&w->random, raw.size);
    else
        raw.data[test_random_below(&w->random, raw.size)] ^= 4;
    if (cb_store_put_bytes(w->inner, key, CB_PUT_REPLACE, cb_buf_bytes(&raw), &err) != CB_OK)
        give_up(w, "rot", &err);
}

/* What verify does: read all, tell of what is damaged. How many backups are. */
static size_t verify(world *w, const cb_manifest_ref *refs, size_t count)
{
    cb_repo *repo = open_plain(w);
    cb_error err = {0};
    size_t condemned;
    size_t damaged = 0;

    for (size_t i = 0; i < count; i++) {
        cb_error why = {0};

        damaged += fixture_check(repo, &refs[i], &why) != CB_OK;
    }
    if (cb_repo_condemn(repo, true, &condemned, &err) != CB_OK)
        give_up(w, "condemn after rot", &err);
    cb_repo_close(repo);
    return damaged;
}

/* The content of each backup is backed up once more. */
static void back_up_again(world *w, const cb_manifest_ref *refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cb_repo *repo = open_plain(w);
        fixture_shape shape = {.name = refs[i].name, .single_threaded = true, .pack_bytes = 4096};
        cb_manifest *manifest;
        cb_error err = {0};

        if (cb_manifest_load(repo, &refs[i], &manifest, &err) != CB_OK ||
            sscanf(manifest->facts[0].value, "%u %u %u %u", &shape.items, &shape.chunks,
                   &shape.changing, &shape.version) != 4 ||
            fixture_backup(repo, &shape, NULL, &err) != CB_OK)
            give_up(w, "a backup after rot", &err);
        cb_manifest_free(manifest);
        cb_repo_close(repo);
    }
}

/* May find what stands in its way, and then does nothing. */
static void reclaim_now(world *w, bool must_do)
{
    cb_repo *repo = open_plain(w);
    cb_reclaim_result result;
    cb_error err = {0};
    cb_code code = cb_repo_reclaim(repo, 0, &result, &err);

    if (code != CB_OK && (must_do || code != CB_CORRUPT))
        give_up(w, "a reclaim after rot", &err);
    cb_repo_close(repo);
}

/* Once it was looked for, the next backups of what is damaged bring it back, whatever it was and
   whoever else was there in between. */
static void check_rot_heals(world *w)
{
    cb_repo *repo = open_plain(w);
    cb_manifest_ref *refs;
    size_t count;
    size_t damaged;
    cb_error err = {0};

    if (cb_manifest_list(repo, NULL, &refs, &count, &err) != CB_OK)
        give_up(w, "list", &err);
    if (fixture_count(w->inner, "pack/") > 0) {
        test_time_pass(&w->hooks, 60 * MINUTE_US);
        rot(w, w->rotten_key);
        damaged = verify(w, refs, count);
        w->rotten += damaged > 0;
        if (chance(&w->random, 2)) {
            uint64_t packs, chunks;

            if (cb_repo_rebuild_index(repo, NULL, NULL, &packs, &chunks, &err) != CB_OK)
                give_up(w, "repair after rot", &err);
        }
        if (chance(&w->random, 2))
            reclaim_now(w, damaged == 0);
        back_up_again(w, refs, count);
        check_backups(w);
        reclaim_now(w, true);
        check_backups(w);
    }
    free(refs);
    cb_repo_close(repo);
}

/* Everything goes, and nothing may stay. */
static void check_empty(world *w)
{
    cb_repo *repo = open_plain(w);
    cb_error err = {0};
    cb_manifest_ref *refs;
    cb_reclaim_result result;
    size_t count;

    test_time_pass(&w->hooks, 60 * MINUTE_US);
    if (cb_manifest_list(repo, NULL, &refs, &count, &err) != CB_OK)
        give_up(w, "list", &err);
    for (size_t i = 0; i < count; i++)
        if (cb_manifest_remove(repo, &refs[i], &err) != CB_OK)
            give_up(w, "remove", &err);
    free(refs);
    if (cb_repo_reclaim(repo, 0, &result, &err) != CB_OK)
        give_up(w, "last reclaim", &err);
    if (result.pending[0] != '\0')
        give_up(w, result.pending, NULL);
    cb_repo_close(repo);
    /* One that no index names and whose footer rotted may hold anything: it stays. */
    if (fixture_count(w->inner, "pack/") !=
        (w->rotten_key[0] != '\0' ? fixture_count(w->inner, w->rotten_key) : 0))
        give_up(w, "packs stay", NULL);
    if (fixture_count(w->inner, "index/") > 0)
        give_up(w, "index objects stay", NULL);
}

static void run(uint64_t seed, world *total)
{
    static world w;

    begin(&w, seed);
    schedule(&w);
    for (unsigned i = 0; i < ACTORS; i++)
        test_fiber_free(w.actors[i].fiber);
    end_hosts(&w);
    check_backups(&w);
    check_done(&w);
    while (w.late_count > 0) {
        apply_late(&w);
        check_done(&w);
        check_backups(&w);
    }
    check_rot_heals(&w);
    check_empty(&w);
    total->packs_removed += w.packs_removed;
    total->kills += w.kills;
    total->retries += w.retries;
    total->committed += w.committed;
    total->reads += w.reads;
    total->repairs += w.repairs;
    total->condemned += w.condemned;
    total->rotten += w.rotten;
    cb_store_close(w.inner);
    cb_ctx_free(w.ctx);
}

static uint64_t number_from(const char *variable, uint64_t fallback)
{
    const char *text = getenv(variable);

    return text != NULL ? strtoull(text, NULL, 10) : fallback;
}

/* Sanitizers take ten times as long, and look for something else. */
static uint64_t usual_runs(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 500;
#else
    return getenv("CB_TEST_LONG") != NULL ? 100000 : 2000;
#endif
}

static void test_interleavings(void **state)
{
    uint64_t first = number_from("CB_TEST_SEED", 1);
    uint64_t runs = number_from("CB_TEST_RUNS", usual_runs());
    static world total;

    (void)state;
    for (uint64_t i = 0; i < runs; i++)
        run(first + i, &total);
    print_message("%llu runs: %llu backups, %llu packs removed, %llu kills, %llu woke up dead, "
                  "%llu reads, %llu repairs, %llu packs condemned, "
                  "%llu rotten\n",
                  (unsigned long long)runs, (unsigned long long)total.committed,
                  (unsigned long long)total.packs_removed, (unsigned long long)total.kills,
                  (unsigned long long)total.retries, (unsigned long long)total.reads,
                  (unsigned long long)total.repairs, (unsigned long long)total.condemned,
                  (unsigned long long)total.rotten);
    assert_true(runs < 100 ||
                (total.committed > runs && total.packs_removed > runs && total.kills > 0 &&
                 total.retries > 0 && total.reads > runs / 2 && total.repairs > runs / 10 &&
                 total.condemned > runs / 10 && total.rotten > runs / 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_interleavings)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
