/*
 * Loading the index: all objects that are listed, then the packs.
 *
 * What comes from afar, or is large, is merged into a file on this machine (index_cache.h), so that
 * the next run fetches only what is new. Those who remove anything (needs_flat) read every object
 * anew and hold the table in memory: they trust nothing but the repository.
 */
#include "repo/fetch.h"
#include "repo/index_cache.h"
#include "repo/repo_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/pool.h"

enum {
    LOAD_ATTEMPTS = 10,
    OBJECTS_AT_ONCE = 4,
    SPILL_ENTRIES = 1 << 18, /* 8 MiB of memory */
    SMALL_ENTRIES = 1 << 12, /* beside a base: not worth writing it anew */
    LEFTOVERS_MAX = 1 << 17,
    LEFTOVER_PACKS = 1 << 12,
    FEW_PACKS = 2000, /* a listing costs two requests */
    LISTED_SECONDS = 24 * 3600,
};

/* ---- what one object says ----------------------------------------------------------------- */

static void take_wrap(cb_pack_info *pack, const uint8_t *wrap)
{
    pack->has_wrap = wrap != NULL;
    if (wrap != NULL)
        memcpy(pack->wrap, wrap, CB_WRAP_BYTES);
}

/* Numbers in an object are its own: `numbers` maps them to ours. */
static cb_code take_packs(cb_index *index, const uint8_t *object, const cb_index_view *view,
                          uint32_t *numbers, cb_error *err)
{
    for (uint32_t i = 0; i < view->pack_count; i++) {
        uint8_t id[CB_PACK_ID_BYTES];
        cb_pack_kind kind;
        uint32_t chunks;
        cb_code code;

        cb_index_view_pack(view, i, id, &chunks, &kind);
        code = cb_index_pack(index, id, &numbers[i], err);
        if (code != CB_OK)
            return code;
        cb_index_name_pack(&index->packs[numbers[i]], object);
        index->packs[numbers[i]].kind = kind;
        take_wrap(&index->packs[numbers[i]], cb_index_view_wrap(view, i));
    }
    return CB_OK;
}

static cb_code take_view(cb_index *index, const uint8_t *object, const cb_index_view *view,
                         cb_error *err)
{
    uint32_t *numbers = calloc((size_t)view->pack_count + 1, sizeof(*numbers));
    cb_code code;

    if (numbers == NULL)
        return cb_fail_memory(err, view->pack_count * sizeof(*numbers));
    code = take_packs(index, object, view, numbers, err);
    for (uint32_t i = 0; i < view->entry_count && code == CB_OK; i++) {
        cb_pack_entry entry;
        uint32_t pack = cb_index_view_entry(view, i, &entry);

        code = cb_index_add(index, numbers[pack], &entry, err);
    }
    free(numbers);
    return code;
}

static bool is_damage(cb_code code)
{
    return code == CB_CORRUPT || code == CB_UNSUPPORTED;
}

/* ---- objects, several at a time ----------------------------------------------------------- */

typedef struct loading {
    cb_repo *repo;
    const char *folder;   /* where a base is kept; NULL: all stays in memory */
    pthread_mutex_t lock; /* guards the table and what follows */
    cb_index_spill spill;
} loading;

/* Under the lock: what is too much for memory is set aside. */
static cb_code spill(loading *l, size_t limit, cb_error *err)
{
    cb_index *index = &l->repo->index;

    if (l->folder == NULL || index->count <= limit)
        return CB_OK;
    cb_index_sort(index);
    return cb_index_spill_add(&l->spill, l->folder, index, err);
}

static cb_code load_object(void *arg, unsigned worker, void *job, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    loading *l = arg;
    cb_repo *repo = l->repo;
    cb_index_object *object;
    cb_index_view view;
    cb_code code = cb_check_cancel(repo->ctx, err);

    (void)worker;
    memcpy(&object, job, sizeof(object));
    if (code == CB_OK && object->size_bytes <= CB_OBJECT_BYTES_MAX) /* at once, not by doubling */
        code = cb_buf_reserve(&raw, (size_t)object->size_bytes + 1, err);
    if (code == CB_OK)
        code = cb_index_object_read(repo, object->id, &raw, &view, err);
    if (is_damage(code)) {
        cb_event_text(repo->ctx, CB_EVENT_WARNING,
                      "index object passed over, the packs are read instead: %s", err->message);
        cb_error_clear(err);
        object->is_damaged = true;
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    pthread_mutex_lock(&l->lock);
    code = take_view(&repo->index, object->id, &view, err);
    if (code == CB_OK)
        code = spill(l, SPILL_ENTRIES, err);
    pthread_mutex_unlock(&l->lock);
    return code;
}

/* All that the base has not. */
static cb_code load_objects(loading *l, cb_error *err)
{
    cb_index *index = &l->repo->index;
    bool alone = !l->repo->is_remote || l->repo->single_threaded;
    cb_pool *pool = NULL;
    cb_code code = CB_OK;

    for (size_t i = 0; i < index->object_count && code == CB_OK; i++) {
        cb_index_object *object = &index->objects[i];

        if (index->base != NULL && cb_index_base_has_object(index->base, object->id))
            continue;
        if (!alone && pool == NULL)
            code = cb_pool_new(OBJECTS_AT_ONCE, 1, sizeof(object), load_object, l, &pool, err);
        if (code == CB_OK)
            code = alone ? load_object(l, 0, &object, err) : cb_pool_submit(pool, &object, err);
    }
    if (code == CB_OK && pool != NULL)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    return code;
}

/* ---- the base ----------------------------------------------------------------------------- */

static uint64_t listed_entries(const cb_index *index)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < index->object_count; i++)
        sum += index->objects[i].size_bytes / CB_INDEX_ENTRY_BYTES;
    return sum;
}

/* A base is worth its file where objects come from afar, and where they are many. */
static const char *base_folder(cb_repo *repo)
{
    if (repo->needs_flat || (!repo->is_remote && listed_entries(&repo->index) <= SPILL_ENTRIES))
        return NULL;
    return cb_fetch_folder(repo);
}

/*
 * Objects that were merged away since leave their entries in the base, and the merged one repeats
 * them. What is left of packs that no object names any more does not count. But a base that is
 * mostly such leftovers is made anew.
 */
static cb_code take_base(cb_repo *repo, const char *folder, cb_error *err)
{
    cb_index *index = &repo->index;
    cb_index_base *base = cb_index_base_open(folder, repo->id, repo->fingerprint_secret);
    size_t indexed;
    cb_code code;

    if (base == NULL)
        return CB_OK;
    if (base->count > listed_entries(index) * 5 / 4 + LEFTOVERS_MAX) {
        cb_index_base_free(base);
        return CB_OK;
    }
    code = cb_index_base_take_packs(base, index, &indexed, err);
    if (code == CB_OK && base->pack_count / 2 <= indexed + LEFTOVER_PACKS)
        index->base = base;
    else
        cb_index_base_free(base);
    return code;
}

/* The table becomes part of the base, if it is worth it; failing that is no failure unless some
   of it was set aside. */
static cb_code renew_base(loading *l, cb_error *err)
{
    cb_repo *repo = l->repo;
    cb_index *index = &repo->index;
    size_t before = index->base != NULL ? index->base->count : 0;
    cb_index_base *base = NULL;
    size_t indexed;
    cb_code code;

    cb_index_sort(index);
    if (l->folder == NULL ||
        (l->spill.count == 0 && (index->count == 0 || (before > 0 && index->count < SMALL_ENTRIES &&
                                                       index->count < before / 4))))
        return CB_OK;
    code = cb_index_base_write(l->folder, repo->id, repo->fingerprint_secret, index, index->base,
                               &l->spill, &base, err);
    if (code == CB_OK) {
        cb_index_base_free(index->base);
        index->base = base;
        index->count = 0;
        return cb_index_base_take_packs(base, index, &indexed, err);
    }
    if (code == CB_CORRUPT)
        cb_index_base_remove(l->folder);
    if (l->spill.count == 0 && code != CB_CORRUPT) {
        cb_error_clear(err);
        return CB_OK;
    }
    repo->has_no_base = true; /* all in memory, then */
    return cb_fail(err, CB_NOT_FOUND, "the index could not be kept on this machine");
}

static cb_code see_pack(void *arg, const cb_object *object, cb_error *err)
{
    cb_index *index = arg;
    uint8_t id[CB_PACK_ID_BYTES];
    uint32_t number;
    cb_code code;

    if (!cb_key_parse_pack(object->key, id))
        return CB_OK;
    code = cb_index_pack(index, id, &number, err);
    if (code != CB_OK)
        return code;
    index->packs[number].exists = true;
    index->packs[number].size_bytes = object->size_bytes;
    return CB_OK;
}

/* Packs that no index object names: of a run that is at work or died, or of a damaged object. */
static cb_code adopt_pack(cb_repo *repo, uint32_t number, cb_error *err)
{
    cb_index *index = &repo->index;
    cb_footer footer;
    cb_code code = cb_footer_read(repo->store, repo->id, index->packs[number].id,
                                  index->packs[number].size_bytes, repo->keys, &footer, err);

    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        index->packs[number].exists = false;
        return CB_OK;
    }
    if (is_damage(code)) {
        cb_event_text(repo->ctx, CB_EVENT_WARNING, "pack passed over: %s", err->message);
        cb_error_clear(err);
        return CB_OK;
    }
    for (size_t i = 0; i < footer.count && code == CB_OK; i++)
        code = cb_index_add(index, number, &footer.entries[i], err);
    if (code == CB_OK) {
        index->packs[number].adopted = true;
        index->packs[number].kind = footer.kind;
        take_wrap(&index->packs[number], cb_footer_wrap(&footer));
    }
    cb_footer_free(&footer);
    return code;
}

static bool has_damage(const cb_index *index)
{
    for (size_t i = 0; i < index->object_count; i++)
        if (index->objects[i].is_damaged)
            return true;
    return false;
}

static size_t count_indexed(const cb_index *index)
{
    size_t count = 0;

    for (size_t i = 0; i < index->pack_count; i++)
        count += index->packs[i].indexed;
    return count;
}

/* When this machine last listed all packs of a large remote repository: the time of an empty file.
   False: there is no place for it. */
static bool note_path(cb_repo *repo, char path[CB_PATH_MAX])
{
    const char *folder = cb_fetch_folder(repo);
    cb_error quiet = {0};

    return folder != NULL && cb_path_join(folder, "listed", path, &quiet) == CB_OK;
}

static bool was_listed_today(cb_repo *repo)
{
    char path[CB_PATH_MAX];
    struct stat at;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return note_path(repo, path) && stat(path, &at) == 0 && at.st_mtim.tv_sec <= now.tv_sec &&
           now.tv_sec - at.st_mtim.tv_sec < LISTED_SECONDS;
}

static void note_listed(cb_repo *repo)
{
    char path[CB_PATH_MAX];
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_error quiet = {0};

    if (note_path(repo, path) && cb_file_open(path, O_WRONLY | O_CREAT, 0600, &fd, &quiet) == CB_OK)
        cb_ignore(futimens(fd, NULL) == 0 ? CB_OK : CB_IO); /* then it is listed again */
}

static bool is_orphan(const cb_repo *repo, const uint8_t *pack)
{
    for (size_t i = 0; i < repo->orphan_count; i++)
        if (memcmp(pack, repo->orphans[i], sizeof(*repo->orphans)) == 0)
            return true;
    return false;
}

/* Packs in no object are of runs at work elsewhere, whose footers are not ours to read, or of dead
   runs of our name. */
static cb_code take_short_listing(cb_repo *repo, cb_error *err)
{
    cb_index *index = &repo->index;
    cb_code code = cb_store_list(repo->store, "pack/", see_pack, index, err);

    for (size_t i = 0; i < index->pack_count; i++)
        index->packs[i].exists &= index->packs[i].indexed || is_orphan(repo, index->packs[i].id);
    return code;
}

static cb_code take_orphans(cb_repo *repo, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < repo->orphan_count && code == CB_OK; i++) {
        char prefix[CB_KEY_MAX];

        code = cb_store_list(repo->store, cb_key_session_packs(prefix, repo->orphans[i]), see_pack,
                             &repo->index, err);
    }
    return code;
}

/*
 * Packs after the objects: what an object names exists by then, unless it was removed or lost. A
 * listing costs a remote store a request for each thousand of packs. So where they are many it is
 * made once a day: until then what objects name is taken to exist (doomed packs are excluded by
 * their lists, and who misses one asks for the listing).
 */
static cb_code take_listing(cb_repo *repo, cb_error *err)
{
    cb_index *index = &repo->index;
    bool is_large = count_indexed(index) > FEW_PACKS;
    cb_code code;

    index->packs_are_listed = repo->lists_packs || has_damage(index);
    if (!index->packs_are_listed && is_large && was_listed_today(repo)) {
        for (size_t i = 0; i < index->pack_count; i++)
            index->packs[i].exists = index->packs[i].indexed;
        return take_orphans(repo, err);
    }
    if (index->packs_are_listed)
        code = cb_store_list(repo->store, "pack/", see_pack, index, err);
    else
        code = take_short_listing(repo, err);
    if (code == CB_OK && is_large && repo->is_remote)
        note_listed(repo);
    return code;
}

static cb_code load_tables(cb_repo *repo, cb_error *err)
{
    loading l = {.repo = repo, .folder = repo->has_no_base ? NULL : base_folder(repo)};
    cb_code code = CB_OK;

    pthread_mutex_init(&l.lock, NULL);
    if (l.folder != NULL)
        code = take_base(repo, l.folder, err);
    if (code == CB_OK)
        code = load_objects(&l, err);
    if (code == CB_OK)
        code = renew_base(&l, err);
    cb_index_spill_free(&l.spill);
    pthread_mutex_destroy(&l.lock);
    return code;
}

static cb_code load_once(cb_repo *repo, cb_error *err)
{
    cb_index *index = &repo->index;
    cb_code code;

    cb_index_clear_entries(index);
    free(index->objects);
    index->objects = NULL;
    code = cb_index_list(repo, &index->objects, &index->object_count, err);
    index->object_capacity = index->object_count;
    if (code == CB_OK)
        code = load_tables(repo, err);
    if (code == CB_OK)
        code = take_listing(repo, err);
    for (size_t i = 0; i < index->pack_count && code == CB_OK; i++)
        if (index->packs[i].exists && !index->packs[i].indexed)
            code = adopt_pack(repo, (uint32_t)i, err);
    if (code == CB_OK)
        cb_index_sort(index);
    return code;
}

cb_code cb_index_load_locked(cb_repo *repo, cb_error *err)
{
    for (int attempt = 1;; attempt++) {
        cb_code code = load_once(repo, err);

        if (code == CB_OK) {
            repo->index_is_loaded = true;
            repo->index_generation++;
            repo->index_loads++;
            return CB_OK;
        }
        repo->index_is_loaded = false;
        cb_index_clear_entries(&repo->index);
        if (code != CB_NOT_FOUND || attempt == LOAD_ATTEMPTS)
            return cb_context(err, "loading the index");
        cb_error_clear(err); /* merged between the listing and the read */
    }
}

void cb_index_forget(cb_repo *repo)
{
    pthread_rwlock_wrlock(&repo->lock);
    repo->index_is_loaded = false;
    pthread_rwlock_unlock(&repo->lock);
}

static bool same_objects(const cb_index *index, const cb_index_object *objects, size_t count)
{
    if (count != index->object_count)
        return false;
    for (size_t i = 0; i < count; i++) /* both in order of their keys */
        if (memcmp(objects[i].id, index->objects[i].id, CB_PACK_ID_BYTES) != 0)
            return false;
    return true;
}

uint64_t cb_index_loads(cb_repo *repo)
{
    uint64_t loads;

    pthread_rwlock_rdlock(&repo->lock);
    loads = repo->index_loads;
    pthread_rwlock_unlock(&repo->lock);
    return loads;
}

cb_code cb_index_refresh(cb_repo *repo, uint64_t seen, bool *changed, cb_error *err)
{
    cb_index_object *objects;
    size_t count;
    cb_code code = cb_index_list(repo, &objects, &count, err);

    *changed = false;
    if (code != CB_OK)
        return code;
    pthread_rwlock_wrlock(&repo->lock);
    if (repo->index.base != NULL && repo->index.base->is_bad) {
        cb_event_text(repo->ctx, CB_EVENT_WARNING,
                      "the index kept on this machine is damaged, it is made anew");
        repo->has_no_base = true;
        repo->index_is_loaded = false;
    }
    if (!repo->index_is_loaded || !repo->index.packs_are_listed ||
        !same_objects(&repo->index, objects, count)) {
        repo->lists_packs = true; /* something was not where it should be */
        code = cb_index_load_locked(repo, err);
    }
    *changed = repo->index_loads != seen;
    pthread_rwlock_unlock(&repo->lock);
    free(objects);
    return code;
}

cb_code cb_repo_load_index(cb_repo *repo, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_rwlock_wrlock(&repo->lock);
    if (!repo->index_is_loaded)
        code = cb_index_load_locked(repo, err);
    pthread_rwlock_unlock(&repo->lock);
    return code;
}

cb_code cb_repo_load_all(cb_repo *repo, cb_error *err)
{
    repo->lists_packs = true;
    repo->needs_flat = true;
    cb_index_forget(repo);
    return cb_repo_load_index(repo, err);
}
