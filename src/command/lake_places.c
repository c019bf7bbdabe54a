/*
 * lake_places.c - the files that a backup of a lake refers to, looked at where they lie.
 *
 * One listing tells nearly all. What it shows to be missing or other is looked for by itself, many
 * at once: an object that was deleted or overwritten is not lost while its bucket has the version,
 * since a restore brings that back.
 */
#include "command/lake_internal.h"

#include "base/pool.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORKERS = 16, DEPTH = 32, HASH_BYTES = 32 };

#define LOCAL_MARK "sha256:" /* in front of a local file's checksum, where others have a tag */

struct cb_lake_places {
    cb_ctx *ctx;
    const cb_lake_kept *kept;
    cb_arena arena;
    const char *place; /* below which they lie, most of them; a slash behind */
    cb_lake_files *files;
    cb_ledger *ledger; /* KEPT: as the backup saw them; FOUND: as they are */
    cb_pool *pool;
    uint64_t count;
    cb_lake_amiss *visit;
    void *arg;
    pthread_mutex_t lock; /* of visit and what follows */
    uint64_t below;       /* only in older versions now */
    uint64_t untold;      /* put anew, and the marks cannot be compared */
};

typedef struct job {
    bool is_listed; /* `found` says what the listing has */
    uint64_t size;
    cb_lake_facts found;
    char item[CB_PATH_MAX], url[CB_PATH_MAX];
    char version[CB_LAKE_VERSION_MAX], mark[CB_LAKE_TAG_MAX];
} job;

static cb_code resolve_replica(cb_lake_places *p, cb_error *err)
{
    const cb_lake_address home = {.kind = p->kept->kind};
    cb_lake_info info = {.stored_data_path = p->kept->data_path};
    cb_code code = cb_lake_info_place(&home, p->kept->replica, &p->arena, &info, err);

    p->place = info.data_path;
    return code;
}

void cb_lake_places_cleanup(cb_lake_places **places)
{
    cb_lake_places *p = *places;

    if (p == NULL)
        return;
    cb_pool_free(p->pool);
    cb_ledger_close(p->ledger);
    cb_lake_files_close(p->files);
    cb_arena_free(&p->arena);
    pthread_mutex_destroy(&p->lock);
    free(p);
    *places = NULL;
}

cb_code cb_lake_places_open(cb_ctx *ctx, const char *folder, const cb_lake_kept *kept,
                            const char *hint, cb_lake_places **out, cb_error *err)
{
    cb_lake_places *p = calloc(1, sizeof(*p));
    cb_code code;

    *out = NULL;
    if (p == NULL)
        return cb_fail_memory(err, sizeof(*p));
    p->ctx = ctx;
    p->kept = kept;
    p->place = kept->data_path;
    pthread_mutex_init(&p->lock, NULL);
    code = cb_lake_files_open(ctx, kept->replica != NULL ? kept->replica : hint, &p->files, err);
    if (code == CB_OK && kept->replica != NULL)
        code = resolve_replica(p, err);
    if (code == CB_OK)
        code = cb_ledger_open(ctx, folder, &p->ledger, err);
    if (code == CB_OK)
        *out = p;
    else
        cb_lake_places_cleanup(&p);
    return code;
}

cb_code cb_lake_places_add(cb_lake_places *p, const char *item, const cb_lake_attrs *attrs,
                           cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf url = {0};
    char mark[CB_LAKE_TAG_MAX];
    cb_code code;

    if (p->kept->replica == NULL && attrs->url.size > 0)
        code = cb_buf_append(&url, attrs->url.data, attrs->url.size, err);
    else
        code = cb_lake_url_of(p->place, item, &url, err);
    if (code == CB_OK)
        code = cb_buf_u8(&url, 0, err);
    if (code != CB_OK)
        return code;
    snprintf(mark, sizeof(mark), "%s", attrs->tag);
    if (attrs->has_checksum) {
        memcpy(mark, LOCAL_MARK, sizeof(LOCAL_MARK));
        cb_hex(attrs->checksum, HASH_BYTES, mark + sizeof(LOCAL_MARK) - 1);
    }
    p->count++;
    return cb_ledger_add(p->ledger, CB_LEDGER_KEPT,
                         &(cb_ledger_entry){.url = (const char *)url.data,
                                            .item = item,
                                            .size_bytes = (int64_t)attrs->size,
                                            .checksum = mark,
                                            .version = attrs->version},
                         err);
}

/* ---- one that is not as it was -------------------------------------------------------------- */

static cb_code CB_PRINTF(4, 5)
    amiss(cb_lake_places *p, const job *j, cb_error *err, const char *format, ...)
{
    char reason[CB_MESSAGE_MAX];
    va_list arguments;
    cb_code code;

    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&p->lock);
    code = p->visit(p->arg, j->item, reason, err);
    pthread_mutex_unlock(&p->lock);
    return code;
}

static void count(cb_lake_places *p, uint64_t *what)
{
    pthread_mutex_lock(&p->lock);
    ++*what;
    pthread_mutex_unlock(&p->lock);
}

static cb_code look_local(cb_lake_places *p, const job *j, cb_error *err)
{
    char hex[2 * HASH_BYTES + 1];
    uint8_t hash[HASH_BYTES];
    cb_code code = cb_lake_files_hash(p->files, j->url, j->size, hash, err);

    if (code == CB_NOT_FOUND || code == CB_CORRUPT) {
        cb_error_clear(err);
        return amiss(p, j, err, "the backup only refers to it, and it changed while it was read");
    }
    if (code != CB_OK)
        return code;
    cb_hex(hash, sizeof(hash), hex);
    if (strcmp(hex, j->mark + sizeof(LOCAL_MARK) - 1) == 0)
        return CB_OK;
    return amiss(p, j, err, "the backup only refers to it, and its content is not what it was");
}

static cb_lake_likeness compare(const job *j)
{
    if (!j->is_listed || j->found.size != j->size)
        return CB_LAKE_UNLIKE;
    if (j->version[0] != '\0' && strcmp(j->version, j->found.version) == 0)
        return CB_LAKE_ALIKE;
    return cb_lake_tag_compare(j->found.tag, j->mark);
}

/* It is not in its place, or other bytes are there. */
static cb_code look_below(cb_lake_places *p, const job *j, cb_lake_likeness alike, cb_error *err)
{
    const cb_lake_wanted wanted = {
        .url = j->url, .size = j->size, .version = j->version, .tag = j->mark};
    char version[CB_LAKE_VERSION_MAX];
    cb_lake_where where;
    cb_code code = cb_lake_files_seek(p->files, &wanted, &where, version, err);

    if (code != CB_OK)
        return code;
    if (where == CB_LAKE_IN_PLACE)
        return CB_OK;
    if (where == CB_LAKE_BELOW || alike == CB_LAKE_UNTOLD) {
        count(p, where == CB_LAKE_BELOW ? &p->below : &p->untold);
        return CB_OK;
    }
    if (!j->is_listed)
        return amiss(p, j, err, "the backup only refers to it, and it is not in its place");
    if (j->found.size != j->size)
        return amiss(p, j, err,
                     "the backup only refers to it, and it has %llu bytes now instead of %llu",
                     (unsigned long long)j->found.size, (unsigned long long)j->size);
    return amiss(p, j, err, "the backup only refers to it, and it was written over since");
}

static cb_code look(void *arg, unsigned worker, void *data, cb_error *err)
{
    cb_lake_places *p = arg;
    job *j = data;
    bool is_local = cb_has_prefix(j->mark, LOCAL_MARK);
    cb_lake_likeness alike;

    (void)worker;
    if (!j->is_listed) { /* it may lie elsewhere, or be there since */
        cb_code code = cb_lake_files_look(p->files, j->url, &j->found, err);

        if (code != CB_OK && code != CB_NOT_FOUND && code != CB_CORRUPT)
            return code;
        cb_error_clear(err);
        j->is_listed = code == CB_OK;
    }
    if (is_local && j->is_listed && j->found.size == j->size)
        return look_local(p, j, err);
    if (is_local)
        j->mark[0] = '\0';
    alike = compare(j);
    /* A backup of an earlier release has no mark: then the size is what there is to compare. */
    if (alike == CB_LAKE_ALIKE ||
        (alike == CB_LAKE_UNTOLD && (j->mark[0] == '\0' || j->found.tag[0] == '\0')))
        return CB_OK;
    return look_below(p, j, alike, err);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static cb_code submit(cb_lake_places *p, const cb_ledger_entry *kept, const cb_ledger_entry *found,
                      cb_error *err)
{
    job j = {.is_listed = found != NULL, .size = (uint64_t)kept->size_bytes};

    if (found != NULL)
        j.found.size = (uint64_t)found->size_bytes;
    if (found != NULL && strlen(found->checksum) < sizeof(j.found.tag))
        memcpy(j.found.tag, found->checksum, strlen(found->checksum) + 1);
    if (snprintf(j.item, sizeof(j.item), "%s", kept->item) >= (int)sizeof(j.item) ||
        snprintf(j.url, sizeof(j.url), "%s", kept->url) >= (int)sizeof(j.url))
        return cb_fail(err, CB_TOO_LARGE, "the address '%.100s...' is too long", kept->url);
    snprintf(j.version, sizeof(j.version), "%s", kept->version);
    snprintf(j.mark, sizeof(j.mark), "%s", kept->checksum);
    return cb_pool_submit(p->pool, &j, err);
}

/* What is plainly right needs no worker. */
static cb_code visit_pair(void *arg, const cb_ledger_entry *kept, const cb_ledger_entry *found,
                          cb_error *err)
{
    cb_lake_places *p = arg;

    if (kept == NULL)
        return CB_OK;
    if (found != NULL && found->size_bytes == kept->size_bytes &&
        (kept->checksum[0] == '\0' ||
         cb_lake_tag_compare(kept->checksum, found->checksum) == CB_LAKE_ALIKE))
        return CB_OK;
    return submit(p, kept, found, err);
}

static void tell(const cb_lake_places *p)
{
    if (p->below > 0)
        cb_event_text(
            p->ctx, CB_EVENT_WARNING,
            "%llu of the files below '%s' were deleted or written over since; their bucket "
            "has the versions, and a restore brings them back",
            (unsigned long long)p->below, p->place);
    if (p->untold > 0)
        cb_event_text(
            p->ctx, CB_EVENT_WARNING,
            "%llu of the files below '%s' were put anew since, in a way that does not tell "
            "whether their content is the same",
            (unsigned long long)p->untold, p->place);
}

cb_code cb_lake_places_check(cb_lake_places *p, cb_lake_amiss *visit, void *arg, cb_error *err)
{
    cb_code code;

    if (p->count == 0)
        return CB_OK;
    p->visit = visit;
    p->arg = arg;
    cb_event_text(p->ctx, CB_EVENT_PHASE, "looking at the files that the backup refers to");
    code = cb_lake_files_list(p->files, p->place, p->place, p->ledger, CB_LEDGER_FOUND, err);
    if (code == CB_NOT_FOUND) { /* all of it is gone: a bucket */
        char reason[CB_MESSAGE_MAX];

        snprintf(reason, sizeof(reason), "the backup refers to %llu files there: %.900s",
                 (unsigned long long)p->count, err->message);
        cb_error_clear(err);
        return visit(arg, "data", reason, err);
    }
    if (code == CB_OK)
        code = cb_pool_new(WORKERS, DEPTH, sizeof(job), look, p, &p->pool, err);
    if (code == CB_OK)
        code = cb_ledger_compare(p->ledger, CB_LEDGER_KEPT, CB_LEDGER_FOUND, visit_pair, p, err);
    if (code == CB_OK)
        code = cb_pool_drain(p->pool, err);
    if (code == CB_OK)
        tell(p);
    return code;
}
