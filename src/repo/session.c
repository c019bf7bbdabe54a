/*
 * A session: a number of its own under a name, told to all before anything is relied upon.
 *
 * The order is the safety (doc/format.md, "Sessions" and "Reclaim"):
 *   1. create `open`: from now on every reclaim that suspects packs waits for us;
 *   2. only then read reclaim/: what is suspected or doomed by now, we do not rely upon;
 *   3. only then look up which chunks exist, and list the manifests one of which is our parent.
 * `end` is written by us alone, and only when no request that could still create our manifest is
 * on its way.
 */
#include "repo/session_internal.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/array.h"
#include "base/process.h"
#include "base/text.h"

#define STALE_LIMIT_US ((int64_t)30 * 60 * 1000000)

enum { BEAT_SECONDS = 30, OPEN_ATTEMPTS = 100 };

/* ---- beats ------------------------------------------------------------------------------ */

static void wait_for_beat(cb_session *session)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += BEAT_SECONDS;
    while (!session->beat_stop &&
           pthread_cond_timedwait(&session->beat_wake, &session->beat_lock, &until) != ETIMEDOUT)
        ;
}

static void *beat(void *arg)
{
    cb_session *session = arg;
    uint64_t number = 0;

    pthread_mutex_lock(&session->beat_lock);
    for (;;) {
        char what[32];
        char key[CB_KEY_MAX];
        cb_error err = {0};

        wait_for_beat(session);
        if (session->beat_stop)
            break;
        pthread_mutex_unlock(&session->beat_lock);
        snprintf(what, sizeof(what), "beat-%llu", (unsigned long long)number++);
        cb_session_object_key(session->repo, session->name, session->number, what, key);
        /* A missed beat costs nothing; sixty in a row mean that others take us for dead. */
        cb_ignore(cb_object_write(session->repo, CB_OBJECT_BEAT, key, CB_PUT_NEW,
                                  cb_bytes_of("", 0), &err));
        pthread_mutex_lock(&session->beat_lock);
    }
    pthread_mutex_unlock(&session->beat_lock);
    return NULL;
}

static cb_code start_beats(cb_session *session, cb_error *err)
{
    if (session->request.single_threaded)
        return CB_OK;
    if (pthread_create(&session->beat_thread, NULL, beat, session) != 0)
        return cb_fail(err, CB_NO_MEMORY, "no thread for the session's beats");
    session->has_beat_thread = true;
    return CB_OK;
}

void cb_session_stop_beats(cb_session *session)
{
    if (!session->has_beat_thread)
        return;
    pthread_mutex_lock(&session->beat_lock);
    session->beat_stop = true;
    pthread_cond_signal(&session->beat_wake);
    pthread_mutex_unlock(&session->beat_lock);
    pthread_join(session->beat_thread, NULL);
    session->beat_stop = false;
    session->has_beat_thread = false;
}

/* ---- end -------------------------------------------------------------------------------- */

void cb_session_write_end(cb_session *session)
{
    char key[CB_KEY_MAX];
    cb_error err = {0};

    if (!session->is_open || session->has_ended || session->may_have_commit)
        return;
    session->has_ended = true;
    cb_session_object_key(session->repo, session->name, session->number, "end", key);
    /* Without it the session counts as dead once it is stale: later, but as good. */
    cb_ignore(
        cb_object_write(session->repo, CB_OBJECT_END, key, CB_PUT_NEW, cb_bytes_of("", 0), &err));
}

/* ---- choosing number and label ---------------------------------------------------------- */

static bool label_is_taken(const cb_manifest_key *keys, size_t count, const char *label)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(keys[i].ref.label, label) == 0)
            return true;
    return false;
}

static void choose_label(cb_session *session, const cb_manifest_key *keys, size_t count,
                         unsigned *suffix)
{
    char base[CB_LABEL_MAX];

    cb_format_label(session->request.started_us, false, base);
    for (;; (*suffix)++) {
        if (*suffix <= 1)
            snprintf(session->label, sizeof(session->label), "%s", base);
        else
            snprintf(session->label, sizeof(session->label), "%.24s-%u", base, *suffix);
        if (!label_is_taken(keys, count, session->label))
            return;
    }
}

static cb_code create_open(cb_session *session, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    cb_session_open_record record = {0};
    cb_session_open_record there;
    char key[CB_KEY_MAX];
    cb_code code;

    cb_random(session->repo->ctx, session->id, sizeof(session->id));
    memcpy(record.id, session->id, sizeof(record.id));
    cb_process_self(&record.process);
    record.started_us = session->request.started_us;
    record.stale_limit_us = STALE_LIMIT_US;
    memcpy(record.manifest_key, session->manifest_key, sizeof(record.manifest_key));
    if (session->repo->keys != NULL)
        memcpy(record.name, session->name, sizeof(record.name));
    code = cb_session_open_render(&record, &payload, err);
    if (code != CB_OK)
        return code;
    cb_session_object_key(session->repo, session->name, session->number, "open", key);
    code = cb_object_write(session->repo, CB_OBJECT_SESSION, key, CB_PUT_NEW,
                           cb_buf_bytes(&payload), err);
    if (code == CB_EXISTS) {
        /* Perhaps our own, when the answer to a first request was lost. */
        cb_error quiet = {0};

        if (cb_session_open_read(session->repo, session->name, session->number, &there, &quiet) ==
                CB_OK &&
            memcmp(there.id, session->id, sizeof(there.id)) == 0) {
            cb_error_clear(err);
            code = CB_OK;
        }
    }
    session->is_open = code == CB_OK;
    return code;
}

/*
 * The manifests of the name, listed after the lists were read: a parent that this listing shows
 * needs no look-ups. *clash: one of them has our label, or a number that is not below ours.
 */
static cb_code list_manifests(cb_session *session, bool *clash, cb_error *err)
{
    cb_code code;

    *clash = false;
    free(session->keys);
    session->keys = NULL;
    session->key_count = 0;
    if (session->name[0] == '~')
        return CB_OK;
    code = cb_manifest_scan(session->repo, session->name, &session->keys, &session->key_count, err);
    if (code == CB_OK && session->key_count > 0)
        *clash = session->keys[session->key_count - 1].ref.number >= session->number ||
                 label_is_taken(session->keys, session->key_count, session->label);
    return code;
}

/*
 * Number, label and key. The objects of a name's highest number stay, so the sessions tell which is
 * free. What manifests say counts once `open` is there; to look before only spares an attempt, and
 * is left out where it costs a round trip.
 */
static cb_code choose(cb_session *session, unsigned *suffix, cb_error *err)
{
    cb_session_info *infos = NULL;
    char name[CB_NAME_MAX + 1];
    bool ignored;
    size_t count;
    cb_code code = CB_OK;

    if (!session->repo->is_remote)
        code = list_manifests(session, &ignored, err);
    if (code == CB_OK)
        code = cb_session_scan(session->repo, session->name, &infos, &count, err);
    if (code != CB_OK)
        return code;
    session->number = count > 0 ? infos[count - 1].number + 1 : 1;
    free(infos);
    count = session->key_count;
    if (count > 0 && session->keys[count - 1].ref.number >= session->number)
        session->number = session->keys[count - 1].ref.number + 1;
    if (session->number > CB_KEY_NUMBER_MAX) {
        cb_fail(err, CB_CORRUPT, "'%s' has an object with the last number there is", session->name);
        cb_hint(err,
                "No run comes that far: look for a stray object under session/%s/ or "
                "manifest/%s/ and remove it.",
                session->name, session->name);
        return err->code;
    }
    choose_label(session, session->keys, count, suffix);
    session->manifest_key[0] = '\0';
    if (session->name[0] != '~')
        cb_key_manifest(session->manifest_key, cb_name_key(session->repo, session->name, name),
                        session->number, session->label);
    return CB_OK;
}

/* What a run without `end` has stored may be in no index object: it is looked for by its id. */
static cb_code note_orphan(cb_repo *repo, const uint8_t *id, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < repo->orphan_count; i++)
        if (memcmp(repo->orphans[i], id, sizeof(*repo->orphans)) == 0)
            return CB_OK;
    if (repo->orphan_count == repo->orphan_capacity)
        code = cb_array_grow(&repo->orphans, &repo->orphan_capacity, sizeof(*repo->orphans), err);
    if (code == CB_OK)
        memcpy(repo->orphans[repo->orphan_count++], id, sizeof(*repo->orphans));
    return code;
}

/* A lower session that may still commit under our label. */
static cb_code lower_has_label(cb_session *session, const cb_session_info *info, bool *out,
                               cb_error *err)
{
    cb_session_open_record record;
    char name[CB_NAME_MAX + 1];
    char label[CB_REF_LABEL_MAX];
    uint64_t number;
    cb_code code = cb_session_open_read(session->repo, info->name, info->number, &record, err);

    if (code == CB_NOT_FOUND || code == CB_CORRUPT || code == CB_UNSUPPORTED) {
        cb_error_clear(err); /* two backups with one label would still be told apart by number */
        return CB_OK;
    }
    if (code == CB_OK && cb_key_parse_manifest(record.manifest_key, name, &number, label) &&
        strcmp(label, session->label) == 0)
        *out = true;
    return code == CB_OK ? note_orphan(session->repo, record.id, err) : code;
}

/* Look again once `open` is there: someone above us, or our label taken, means start over. */
static cb_code check_again(cb_session *session, bool *again, bool *taken, cb_error *err)
{
    cb_session_info *infos = NULL;
    size_t count;
    cb_code code = cb_session_scan(session->repo, session->name, &infos, &count, err);

    *again = false;
    *taken = false;
    session->has_lower = false;
    for (size_t i = 0; code == CB_OK && i < count; i++) {
        if (infos[i].number > session->number)
            *again = true;
        if (infos[i].number >= session->number || !infos[i].has_open || infos[i].has_ended)
            continue;
        session->has_lower = true;
        if (session->name[0] != '~')
            code = lower_has_label(session, &infos[i], taken, err);
    }
    *again |= *taken;
    free(infos);
    return code;
}

/* A number is given up for good: the next attempt takes a higher one. */
static void give_up_number(cb_session *session)
{
    cb_session_write_end(session);
    session->is_open = false;
    session->has_ended = false;
}

static cb_code announce(cb_session *session, unsigned *suffix, cb_error *err)
{
    for (int attempt = 1; attempt <= OPEN_ATTEMPTS; attempt++) {
        bool again;
        bool taken;
        cb_code code = choose(session, suffix, err);

        if (code == CB_OK)
            code = create_open(session, err);
        if (code == CB_EXISTS) {
            cb_error_clear(err);
            continue;
        }
        if (code == CB_OK)
            code = check_again(session, &again, &taken, err);
        if (code != CB_OK || !again)
            return code;
        give_up_number(session);
        *suffix += taken;
    }
    return cb_fail(err, CB_BUSY, "too many runs of '%s' begin at once", session->name);
}

/* ---- open and free ---------------------------------------------------------------------- */

static cb_code init_locks(cb_session *session, cb_error *err)
{
    pthread_condattr_t monotonic;

    if (pthread_condattr_init(&monotonic) != 0)
        return cb_fail(err, CB_NO_MEMORY, "no memory for a lock");
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&session->lock, NULL);
    pthread_mutex_init(&session->pack_lock, NULL);
    pthread_cond_init(&session->pack_changed, NULL);
    pthread_mutex_init(&session->beat_lock, NULL);
    pthread_cond_init(&session->beat_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return CB_OK;
}

static cb_code open_once(cb_session *session, unsigned *suffix, bool *clash, cb_error *err)
{
    cb_code code = announce(session, suffix, err);

    if (code == CB_OK) {
        cb_seen_number(session->repo, session->name, session->number);
        code = start_beats(session, err);
    }
    if (code == CB_OK && session->has_lower && !session->request.is_beside_others)
        code = cb_session_wait_lock(session, err);
    if (code == CB_OK)
        code = cb_reclaim_lists_read(session->repo, false, &session->lists, err);
    cb_index_forget(session->repo); /* what it says must not be older than the lists */
    session->loads_at_lists = session->repo->manifest_loads;
    if (code == CB_OK)
        code = list_manifests(session, clash, err);
    return code;
}

static cb_code open_session(cb_session *session, cb_error *err)
{
    unsigned suffix = 1;

    for (int attempt = 1; attempt <= OPEN_ATTEMPTS; attempt++) {
        bool clash;
        cb_code code = open_once(session, &suffix, &clash, err);

        if (code != CB_OK || !clash)
            return code;
        cb_session_stop_beats(session);
        give_up_number(session);
        cb_reclaim_lists_free(&session->lists);
    }
    return cb_fail(err, CB_BUSY, "too many runs of '%s' begin at once", session->name);
}

cb_code cb_session_open(cb_repo *repo, const cb_session_request *request, cb_session **out,
                        cb_error *err)
{
    cb_session *session;
    cb_store_facts facts;
    cb_code code;

    *out = NULL;
    if (!cb_is_name(request->name) && strcmp(request->name, CB_NAME_RECLAIM) != 0 &&
        strcmp(request->name, CB_NAME_REPAIR) != 0)
        return cb_fail(err, CB_USAGE, "'%s' cannot be a name", request->name);
    if (repo->has_unused_secret && !request->is_plain_meant && request->name[0] != '~') {
        cb_fail(err, CB_DENIED,
                "the repository at '%s' is not encrypted, though a passphrase or key was given: "
                "nothing is stored in it",
                cb_store_address(repo->store));
        cb_hint(err,
                "If it should be encrypted, somebody has exchanged it. If it should not, leave "
                "the passphrase out.");
        return err->code;
    }
    session = calloc(1, sizeof(*session));
    if (session == NULL)
        return cb_fail_memory(err, sizeof(*session));
    session->repo = repo;
    session->request = *request;
    snprintf(session->name, sizeof(session->name), "%s", request->name);
    session->request.name = session->name;
    session->request.single_threaded |= repo->single_threaded;
    cb_store_facts_of(repo->store, &facts);
    session->committers_wanted = facts.is_remote ? CB_COMMITTERS_MAX : 1;
    if (session->request.started_us == 0)
        session->request.started_us = cb_now_us(repo->ctx);
    if (session->request.pack_bytes == 0)
        session->request.pack_bytes = CB_PACK_BYTES_DEFAULT;
    code = init_locks(session, err);
    if (code != CB_OK) {
        free(session);
        return code;
    }
    code = open_session(session, err);
    if (code != CB_OK) {
        cb_session_free(session);
        return code;
    }
    *out = session;
    return CB_OK;
}

void cb_session_free(cb_session *session)
{
    if (session == NULL)
        return;
    cb_session_stop_committer(session);
    cb_session_stop_beats(session);
    for (size_t i = 0; i < CB_LENGTH(session->filling); i++)
        cb_pack_free(session->filling[i]);
    for (size_t i = 0; i < session->sealed_count; i++)
        cb_pack_free(session->sealed[i]);
    if (!session->has_ended)
        cb_session_save_index(session);
    cb_session_write_end(session);
    for (unsigned i = 0; i <= CB_WORKERS_MAX; i++)
        cb_repo_worker_free(&session->workers[i]);
    cb_buf_free(&session->items.chunk);
    cb_buf_free(&session->items.record);
    free(session->items.chunks);
    cb_id_set_free(&session->known);
    free(session->usable);
    cb_index_builder_free(&session->pending);
    cb_reclaim_lists_free(&session->lists);
    free(session->keys);
    pthread_cond_destroy(&session->beat_wake);
    pthread_mutex_destroy(&session->beat_lock);
    pthread_cond_destroy(&session->pack_changed);
    pthread_mutex_destroy(&session->pack_lock);
    pthread_mutex_destroy(&session->lock);
    free(session);
}

cb_code cb_session_parent(cb_session *session, cb_manifest_ref *ref, cb_manifest **out,
                          cb_error *err)
{
    return cb_session_parent_below(session, UINT64_MAX, ref, out, err);
}

cb_code cb_session_parent_below(cb_session *session, uint64_t number, cb_manifest_ref *ref,
                                cb_manifest **out, cb_error *err)
{
    cb_code code;

    *out = NULL;
    if (session->repo->keys != NULL && !session->repo->keys->can_read)
        return CB_OK; /* a write-only host reads no manifest, its own neither */
    for (size_t i = session->key_count; i > 0; i--) {
        if (session->keys[i - 1].is_tombstone || session->keys[i - 1].ref.number >= number)
            continue;
        *ref = session->keys[i - 1].ref;
        code = cb_manifest_load_listed(session->repo, ref, out, err);
        if (code == CB_OK) /* it was listed after the lists were read */
            (*out)->load_number = ++session->repo->manifest_loads;
        return code;
    }
    return CB_OK;
}

const char *cb_session_label(const cb_session *session)
{
    return session->label;
}

uint64_t cb_session_number(const cb_session *session)
{
    return session->number;
}

const uint8_t *cb_session_id(const cb_session *session)
{
    return session->id;
}
