/*
 * target_refer.c - the files of a restored lake whose bytes the backup has not: it knows where they
 * were, and by which mark they are told.
 *
 * A file that is right at its place is left alone, and one listing tells that of nearly all. The
 * others wait in a list until every item has been seen. Then each is looked for: as an older
 * version at its place, or, when the lake moves, where the backup saw it. Only when all of them are
 * found is anything done: a store brings its own versions back, by itself; what moves is copied. So
 * a backup that cannot be restored as a whole changes nothing, and what was done to files of a run
 * that was killed made them only what the lake had them to be.
 */
#include "source/ducklake/target_internal.h"

#include "base/text.h"
#include "source/ducklake/catalog_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WORKERS = 16, DEPTH = 32, PIECE_BYTES = 1 << 20, TOLD_MAX = 20 };

#define LOCAL_MARK "sha256:" /* in front of a local file's checksum, where others have a tag */

typedef struct job {
    cb_lake_target *target;
    bool is_deed; /* else only a look */
    bool is_doubtful;
    uint64_t size;
    char place[CB_PATH_MAX], origin[CB_PATH_MAX];
    char version[CB_LAKE_VERSION_MAX], mark[CB_LAKE_TAG_MAX];
} job;

/* ---- where it was --------------------------------------------------------------------------- */

static cb_code resolve_replica(cb_lake_target *t, cb_error *err)
{
    cb_lake_info info = {.stored_data_path = t->was.data_path};
    cb_code code;

    if (t->replica != NULL)
        return CB_OK;
    code = cb_lake_files_open(t->ctx, t->was.replica, &t->origin, err);
    if (code == CB_OK)
        code = cb_lake_info_place(&t->address, t->was.replica, &t->arena, &info, err);
    t->replica = info.data_path;
    return code;
}

cb_code cb_lake_refer_open(cb_lake_target *t, cb_lake_out *out, const char *item, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    bool is_replica = t->was.mode == CB_LAKE_DATA_REPLICA && t->was.replica != NULL;
    cb_code code = CB_OK;

    if (out->was_at[0] != '\0' && !is_replica)
        return CB_OK;
    if (is_replica)
        code = resolve_replica(t, err);
    if (code == CB_OK)
        code = cb_lake_url_of(is_replica ? t->replica : t->was.data_path, item, &url, err);
    if (code == CB_OK)
        code = cb_lake_terminate(&url, err);
    if (code != CB_OK)
        return code;
    free(out->was_at);
    out->was_at = strdup((const char *)url.data);
    return out->was_at != NULL ? CB_OK : cb_fail_memory(err, url.size);
}

static cb_lake_files *files_of_origin(cb_lake_target *t)
{
    return t->origin != NULL ? t->origin : t->files;
}

/* ---- is it at its place? -------------------------------------------------------------------- */

/* One listing tells it, or a look. */
static cb_code look_at(cb_lake_target *t, const cb_lake_out *out, bool *is_there,
                       cb_lake_facts *facts, cb_error *err)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_ledger_entry entry;
    cb_code code;

    *facts = (cb_lake_facts){0};
    if (!t->is_listed || !cb_has_prefix(out->url, t->data_path)) {
        code = cb_lake_files_look(t->files, out->url, facts, err);
        *is_there = code == CB_OK;
        if (code == CB_NOT_FOUND) {
            cb_error_clear(err);
            code = CB_OK;
        }
        return code;
    }
    code = cb_ledger_find(t->ledger, CB_LEDGER_FOUND, out->url, &arena, &entry, is_there, err);
    if (code != CB_OK || !*is_there)
        return code;
    facts->size = (uint64_t)entry.size_bytes;
    facts->modified_us = entry.modified_us;
    if (strlen(entry.checksum) < sizeof(facts->tag))
        memcpy(facts->tag, entry.checksum, strlen(entry.checksum) + 1);
    return CB_OK;
}

static cb_code compare_local(cb_lake_target *t, const cb_lake_out *out, const cb_lake_facts *facts,
                             cb_lake_likeness *alike, cb_error *err)
{
    const cb_lake_attrs *was = out->refers;
    uint8_t hash[32];
    cb_code code;

    *alike = CB_LAKE_ALIKE;
    if (!was->has_checksum || (was->has_modified && facts->modified_us == was->modified_us &&
                               strcmp(out->url, out->was_at) == 0))
        return CB_OK;
    code = cb_lake_files_hash(t->files, out->url, was->size, hash, err);
    if (code == CB_OK && memcmp(hash, was->checksum, sizeof(hash)) != 0)
        *alike = CB_LAKE_UNLIKE;
    return code;
}

/* `alike` untold: it has the size, and more cannot be compared. */
static cb_code compare(cb_lake_target *t, const cb_lake_out *out, const cb_lake_facts *facts,
                       cb_lake_likeness *alike, cb_error *err)
{
    *alike = CB_LAKE_UNLIKE;
    if (facts->size != out->refers->size)
        return CB_OK;
    if (!out->is_remote)
        return compare_local(t, out, facts, alike, err);
    if (out->refers->version[0] != '\0' && strcmp(facts->version, out->refers->version) == 0)
        *alike = CB_LAKE_ALIKE;
    else
        *alike = cb_lake_tag_compare(facts->tag, out->refers->tag);
    return CB_OK;
}

static cb_code wait_for(cb_lake_target *t, const cb_lake_out *out, bool is_doubtful, cb_error *err)
{
    const cb_lake_attrs *was = out->refers;
    char mark[CB_LAKE_TAG_MAX];
    cb_ledger_entry entry = {.url = out->url,
                             .item = out->url, /* both sets in one order */
                             .id = is_doubtful,
                             .size_bytes = (int64_t)was->size,
                             .checksum = mark,
                             .version = was->version};
    cb_code code = CB_OK;

    snprintf(mark, sizeof(mark), "%s", was->tag);
    if (was->has_checksum) {
        memcpy(mark, LOCAL_MARK, sizeof(LOCAL_MARK));
        cb_hex(was->checksum, sizeof(was->checksum), mark + sizeof(LOCAL_MARK) - 1);
    }
    if (t->amiss == NULL)
        code = cb_ledger_open(t->ctx, t->folder.path, &t->amiss, err);
    if (code == CB_OK)
        code = cb_ledger_add(t->amiss, CB_LEDGER_NAMED, &entry, err);
    entry.url = out->was_at;
    if (code == CB_OK)
        code = cb_ledger_add(t->amiss, CB_LEDGER_KEPT, &entry, err);
    t->amiss_count++;
    return code;
}

cb_code cb_lake_refer_to(cb_lake_target *t, cb_lake_out *out, cb_error *err)
{
    cb_lake_facts facts;
    cb_lake_likeness alike = CB_LAKE_UNLIKE;
    bool is_there;
    bool is_same_place = strcmp(out->url, out->was_at) == 0;
    cb_code code = look_at(t, out, &is_there, &facts, err);
    if (code == CB_OK && is_there)
        code = compare(t, out, &facts, &alike, err);
    if (code != CB_OK)
        return code;
    /* Elsewhere stands what was copied there; without any mark there is nothing to doubt. */
    if (alike == CB_LAKE_ALIKE ||
        (alike == CB_LAKE_UNTOLD && (!is_same_place || out->refers->tag[0] == '\0')))
        return CB_OK;
    if (is_there && !is_same_place && cb_lake_out_may_replace(t, out, err) != CB_OK)
        return err->code;
    return wait_for(t, out, alike == CB_LAKE_UNTOLD, err);
}

/* ---- looking for it ------------------------------------------------------------------------- */

static void note_missing(cb_lake_target *t, const char *url, const char *why)
{
    pthread_mutex_lock(&t->lock);
    if (t->missing_count++ == 0)
        snprintf(t->first_missing, sizeof(t->first_missing), "'%.300s' %.150s", url, why);
    pthread_mutex_unlock(&t->lock);
    cb_event_text(t->ctx, CB_EVENT_WARNING, "'%s' %s", url, why);
}

static bool is_local_mark(const job *j)
{
    return cb_has_prefix(j->mark, LOCAL_MARK);
}

static cb_lake_wanted wanted_of(const job *j)
{
    return (cb_lake_wanted){.url = j->origin,
                            .size = j->size,
                            .version = j->version,
                            .tag = is_local_mark(j) ? "" : j->mark};
}

/* Where its bytes are to be had: in place, or in a version; CB_LAKE_NOWHERE with the reason. */
static cb_code find(const job *j, cb_lake_where *where, char version[CB_LAKE_VERSION_MAX],
                    const char **why, cb_error *err)
{
    cb_lake_files *files = files_of_origin(j->target);
    cb_lake_wanted wanted = wanted_of(j);
    cb_lake_facts facts;
    cb_code code = cb_lake_files_look(files, j->origin, &facts, err);

    *where = CB_LAKE_NOWHERE;
    *why = "is gone, and the backup only refers to it";
    version[0] = '\0';
    if (code != CB_OK && code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    if (code == CB_OK && facts.size != j->size)
        *why = "has another size than the backup says";
    else if (code == CB_OK)
        *why = "has other content than when the backup was taken";
    if (code == CB_OK && facts.size == j->size && !is_local_mark(j) &&
        strcmp(j->origin, j->place) != 0 &&
        cb_lake_tag_compare(facts.tag, j->mark) != CB_LAKE_UNLIKE)
        *where = CB_LAKE_IN_PLACE;
    else if (code == CB_OK && facts.size == j->size && is_local_mark(j) &&
             strcmp(j->origin, j->place) != 0)
        *where = CB_LAKE_IN_PLACE; /* what is copied is compared then */
    return *where == CB_LAKE_NOWHERE ? cb_lake_files_seek(files, &wanted, where, version, err)
                                     : CB_OK;
}

static cb_code look_for(const job *j, cb_error *err)
{
    char version[CB_LAKE_VERSION_MAX];
    cb_lake_where where;
    const char *why;
    cb_code code = find(j, &where, version, &why, err);

    if (code != CB_OK || where != CB_LAKE_NOWHERE)
        return code;
    if (!j->is_doubtful)
        note_missing(j->target, j->origin, why);
    else
        cb_event_text(j->target->ctx, CB_EVENT_WARNING,
                      "'%s' was put anew since the backup, in a way that does not tell whether its "
                      "content is the same; the version of then is gone",
                      j->origin);
    return CB_OK;
}

/* ---- bringing it back ----------------------------------------------------------------------- */

typedef struct spooled {
    char path[CB_PATH_MAX];
    int fd;
} spooled;

static void spooled_remove(spooled *s)
{
    cb_fd_close(&s->fd);
    if (s->path[0] != '\0')
        (void)unlink(s->path);
}

static cb_code spool_open(cb_lake_target *t, spooled *out, cb_error *err)
{
    cb_code code = CB_OK;

    pthread_mutex_lock(&t->lock);
    if (t->spool.path[0] == '\0')
        code = cb_lake_beside_make(t->ctx, NULL, &t->spool, err);
    pthread_mutex_unlock(&t->lock);
    if (code == CB_OK)
        code = cb_temp_file(t->ctx, t->spool.path, cb_lake_part_prefix, &out->fd, out->path, err);
    if (code != CB_OK)
        out->path[0] = '\0';
    return code;
}

static cb_code fill(const job *j, const char *version, const spooled *to, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf piece = {0};
    cb_lake_target *t = j->target;
    cb_code code = CB_OK;

    for (uint64_t at = 0; code == CB_OK && at < j->size; at += piece.size) {
        uint64_t length = j->size - at < PIECE_BYTES ? j->size - at : PIECE_BYTES;

        piece.size = 0;
        code = cb_lake_files_read_version(files_of_origin(t), j->origin, version, at, length,
                                          &piece, err);
        if (code == CB_OK && piece.size != length)
            code = cb_fail(err, CB_CORRUPT, "'%s' became shorter while it was read", j->origin);
        if (code == CB_OK)
            code = cb_file_write(to->fd, to->path, at, piece.data, piece.size, err);
        if (code == CB_OK)
            code = cb_check_cancel(t->ctx, err);
    }
    return code;
}

static cb_code check_copy(const job *j, const spooled *copy, cb_error *err)
{
    char hex[2 * 32 + 1];
    uint8_t hash[32];
    cb_code code;

    if (!is_local_mark(j))
        return CB_OK;
    code = cb_lake_files_hash(j->target->files, copy->path, j->size, hash, err);
    if (code != CB_OK)
        return code;
    cb_hex(hash, sizeof(hash), hex);
    if (strcmp(hex, j->mark + sizeof(LOCAL_MARK) - 1) == 0)
        return CB_OK;
    cb_fail(err, CB_CORRUPT, "'%s' has other content than when the backup was taken", j->origin);
    cb_hint(err, "An older backup may have its bytes.");
    return err->code;
}

/* The lake moves: its file is read where it was. */
static cb_code copy_over(const job *j, cb_error *err)
{
    CB_CLEANUP(spooled_remove) spooled copy = {.fd = -1};
    cb_lake_target *t = j->target;
    char version[CB_LAKE_VERSION_MAX];
    cb_lake_where where;
    const char *why;
    cb_code code = find(j, &where, version, &why, err);

    if (code != CB_OK)
        return code;
    if (where == CB_LAKE_NOWHERE) {
        if (!t->options.salvage) /* a moment ago it was there; else it is noted already */
            note_missing(t, j->origin, why);
        return CB_OK;
    }
    code = spool_open(t, &copy, err);
    if (code == CB_OK)
        code = fill(j, where == CB_LAKE_BELOW ? version : "", &copy, err);
    if (code == CB_OK)
        code = check_copy(j, &copy, err);
    if (code == CB_OK)
        code = cb_lake_files_put(t->files, j->place, copy.path, true, err);
    if (code != CB_OK)
        return cb_context(err, "copying '%s' to '%s'", j->origin, j->place);
    pthread_mutex_lock(&t->lock);
    t->copied++;
    pthread_mutex_unlock(&t->lock);
    return CB_OK;
}

static cb_code bring_back(const job *j, cb_error *err)
{
    cb_lake_target *t = j->target;
    cb_lake_wanted wanted = wanted_of(j);
    uint64_t number;
    bool done;
    cb_code code;

    if (strcmp(j->place, j->origin) != 0)
        return copy_over(j, err);
    code = cb_lake_files_bring_back(files_of_origin(t), &wanted, &done, err);
    if (code != CB_OK)
        return cb_context(err, "bringing back '%s'", j->place);
    if (!done) {
        if (!t->options.salvage && !j->is_doubtful)
            note_missing(t, j->place, "went a moment ago, and the backup only refers to it");
        return CB_OK;
    }
    pthread_mutex_lock(&t->lock);
    number = ++t->brought_back;
    pthread_mutex_unlock(&t->lock);
    if (number <= TOLD_MAX)
        cb_event_text(t->ctx, CB_EVENT_DEBUG, "'%s': the version of then is back", j->place);
    return CB_OK;
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    const job *j = data;

    (void)arg;
    (void)worker;
    return j->is_deed ? bring_back(j, err) : look_for(j, err);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void close_cursor(cb_ledger_cursor **cursor)
{
    cb_ledger_cursor_close(*cursor);
}

static cb_code fill_job(job *j, const cb_ledger_entry *place, const cb_ledger_entry *origin,
                        cb_error *err)
{
    if (strcmp(place->item, origin->item) != 0)
        return cb_fail(err, CB_INTERNAL, "the lists of references are not of one length");
    j->size = (uint64_t)place->size_bytes;
    j->is_doubtful = place->id != 0;
    if (snprintf(j->place, sizeof(j->place), "%s", place->url) >= (int)sizeof(j->place) ||
        snprintf(j->origin, sizeof(j->origin), "%s", origin->url) >= (int)sizeof(j->origin))
        return cb_fail(err, CB_TOO_LARGE, "the address '%.100s...' is too long", place->url);
    snprintf(j->version, sizeof(j->version), "%s", place->version);
    snprintf(j->mark, sizeof(j->mark), "%s", place->checksum);
    return CB_OK;
}

static void free_pool(cb_pool **pool)
{
    cb_pool_free(*pool);
}

static void free_job(job **j)
{
    free(*j);
}

static cb_code for_all(cb_lake_target *t, bool is_deed, cb_error *err)
{
    CB_CLEANUP(close_cursor) cb_ledger_cursor *places = NULL;
    CB_CLEANUP(close_cursor) cb_ledger_cursor *origins = NULL;
    CB_CLEANUP(free_pool) cb_pool *pool = NULL;
    CB_CLEANUP(free_job) job *j = calloc(1, sizeof(*j));
    cb_ledger_entry place;
    cb_ledger_entry origin;
    bool more = true;
    cb_code code;

    if (j == NULL)
        return cb_fail_memory(err, sizeof(*j));
    *j = (job){.target = t, .is_deed = is_deed};
    code = cb_pool_new(WORKERS, DEPTH, sizeof(*j), work, NULL, &pool, err);
    if (code == CB_OK)
        code = cb_ledger_cursor_open(t->amiss, CB_LEDGER_NAMED, &places, err);
    if (code == CB_OK)
        code = cb_ledger_cursor_open(t->amiss, CB_LEDGER_KEPT, &origins, err);
    while (code == CB_OK) {
        code = cb_ledger_cursor_next(places, &place, &more, err);
        if (code == CB_OK && more)
            code = cb_ledger_cursor_next(origins, &origin, &more, err);
        if (code != CB_OK || !more)
            break;
        code = fill_job(j, &place, &origin, err);
        if (code == CB_OK)
            code = cb_pool_submit(pool, j, err);
    }
    return code == CB_OK ? cb_pool_drain(pool, err) : code;
}

static cb_code refuse_missing(const cb_lake_target *t, cb_error *err)
{
    bool is_one = t->missing_count == 1;

    if (t->missing_count == 0 || t->options.salvage)
        return CB_OK;
    cb_fail(err, CB_CORRUPT, "%llu %s that the backup refers to %s not there, the first: %s",
            (unsigned long long)t->missing_count, is_one ? "file" : "files", is_one ? "is" : "are",
            t->first_missing);
    cb_hint(err, "Nothing was changed. With --salvage the catalog is restored without them: their "
                 "tables cannot be read as a whole then.");
    return err->code;
}

static cb_code refuse_deeds(const cb_lake_target *t, cb_error *err)
{
    return cb_fail(err, CB_RETRY,
                   "%llu of the files that it refers to are not at their place now; a restore "
                   "brings them back",
                   (unsigned long long)t->amiss_count);
}

cb_code cb_lake_refer_settle(cb_lake_target *t, cb_error *err)
{
    cb_code code;

    if (t->amiss_count == 0)
        return CB_OK;
    cb_event_text(t->ctx, CB_EVENT_PHASE, "looking for files that are not at their place");
    code = for_all(t, false, err);
    if (code == CB_OK)
        code = refuse_missing(t, err);
    if (code == CB_OK && t->options.look_only)
        return refuse_deeds(t, err);
    cb_event_text(t->ctx, CB_EVENT_PHASE, "bringing files back");
    if (code == CB_OK)
        code = for_all(t, true, err);
    if (code == CB_OK)
        code = refuse_missing(t, err);
    if (t->brought_back > 0)
        cb_event_text(t->ctx, CB_EVENT_INFO,
                      "%llu deleted or overwritten files are back, from versions that the store "
                      "kept",
                      (unsigned long long)t->brought_back);
    if (t->copied > 0)
        cb_event_text(t->ctx, CB_EVENT_INFO,
                      "%llu files were copied from where the backup refers to",
                      (unsigned long long)t->copied);
    return code;
}

void cb_lake_refer_free(cb_lake_target *t)
{
    cb_ledger_close(t->amiss);
    cb_lake_files_close(t->origin);
}
