/*
 * readahead.c - streams guess what comes next, segments hold it.
 *
 * A segment is a range of an object: queued (for our threads), on its way, ready or failed. No two
 * overlap, so a piece is put together from one segment after the other. One that was read to its
 * end is dropped at once; others go, the least recently used first, when room is needed.
 *
 * A stream is where a reader of an object is. An access close to its position belongs to it, makes
 * the window grow and moves the position on; any other begins a new stream, exact at first.
 *
 * What is expected stands in the plan, as ranges of at most one window, until a thread of ours or a
 * reader makes a segment of it. Such accesses belong to no stream.
 *
 * A segment that failed is nobody's answer: who waited for it asks the store himself.
 */
#include "storage/readahead.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MEMORY_BYTES = 64 << 20,
    WINDOW_BYTES = 8 << 20,
    WINDOW_FIRST = 1 << 20,   /* of a stream's second access */
    WINDOW_TRUSTED = 4 << 20, /* of a first one, where everything was in order lately */
    NEAR_BEHIND = 12 << 20,   /* how far threads may be apart and still be one stream */
    NEAR_AHEAD = 2 << 20,
    GAP_BYTES = 256 << 10, /* skipped bytes that are fetched all the same */
    BEGIN_BYTES = 1 << 20, /* an access before this is at the object's beginning */
    WINDOWS_AHEAD = 2,
    STREAMS_MAX = 32,
    SEGMENTS_MAX = 1024,
    THREADS_MAX = 8,
    SPARES_MAX = 3,
    PLAN_MAX = 512,
    GUESS_AGE = 128, /* accesses */
    TRUST_MAX = 8,
};

typedef enum segment_state { QUEUED, UNDER_WAY, READY, FAILED } segment_state;

typedef struct segment {
    struct segment *next;
    uint64_t begin, length; /* that was asked for */
    cb_buf data;            /* shorter than `length` at the object's end */
    uint64_t served;        /* bytes of it that were read */
    uint64_t wanted;        /* bytes of it that are expected to be; 0: was guessed */
    uint64_t used;          /* when, for eviction */
    segment_state state;
    unsigned pins; /* who waits for it or copies from it */
    char key[];
} segment;

typedef struct stream {
    char key[CB_KEY_MAX + 1]; /* "" free */
    uint64_t position;        /* behind the furthest access */
    uint64_t fetched;         /* behind the furthest range that was asked for */
    uint64_t object_bytes;    /* UINT64_MAX: unknown */
    uint64_t window;          /* 0: exact */
    uint64_t used;
} stream;

typedef struct planned {
    char key[CB_KEY_MAX];
    uint64_t begin, end;
    uint64_t wanted; /* without gaps */
    size_t first;    /* which of the expected pieces comes first of it */
} planned;

struct cb_readahead {
    cb_store *store;
    cb_readahead_limits limits;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    segment *segments;
    size_t segment_count;
    uint64_t memory; /* of all segments */
    stream streams[STREAMS_MAX];
    cb_buf spare[SPARES_MAX]; /* of segments that are gone, each of `window_bytes` */
    size_t spare_count;
    unsigned trust; /* grows with streams that were read in order, shrinks with others */
    uint64_t clock;
    planned plan[PLAN_MAX];
    size_t plan_count;
    bool ends;
    pthread_t threads[THREADS_MAX];
    unsigned thread_count;
};

/* ---- segments, under the lock ------------------------------------------------------------ */

static uint64_t end_of(const segment *s)
{
    return s->begin + s->length;
}

static void drop(cb_readahead *ra, segment *s)
{
    segment **at = &ra->segments;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    ra->segment_count--;
    ra->memory -= s->length;
    if (s->data.capacity == ra->limits.window_bytes && ra->spare_count < SPARES_MAX)
        ra->spare[ra->spare_count++] = s->data;
    else
        cb_buf_free(&s->data);
    free(s);
    if (ra->plan_count > 0)
        pthread_cond_broadcast(&ra->changed); /* there is room */
}

/* Large ones share one size, and are used again: the kernel takes long to make memory of its own
   into ours and back. */
static void take_spare(cb_readahead *ra, segment *s)
{
    if (s->length > ra->limits.window_bytes / 2 && ra->spare_count > 0) {
        s->data = ra->spare[--ra->spare_count];
        s->data.size = 0;
    }
}

/* Nobody needs a failed one, nor one that was read to its end. */
static void unpin(cb_readahead *ra, segment *s)
{
    uint64_t all = s->wanted > 0 && s->wanted < s->data.size ? s->wanted : s->data.size;

    s->pins--;
    if (s->pins == 0 && (s->state == FAILED || (s->state == READY && s->served >= all)))
        drop(ra, s);
}

static segment *find_segment(const cb_readahead *ra, const char *key, uint64_t at)
{
    for (segment *s = ra->segments; s != NULL; s = s->next)
        if (s->state != FAILED && at >= s->begin && at < end_of(s) && strcmp(s->key, key) == 0)
            return s;
    return NULL;
}

/* Where the next segment behind `at` begins, at most `end`. */
static uint64_t free_until(const cb_readahead *ra, const char *key, uint64_t at, uint64_t end)
{
    for (const segment *s = ra->segments; s != NULL; s = s->next)
        if (s->state != FAILED && s->begin > at && s->begin < end && strcmp(s->key, key) == 0)
            end = s->begin;
    return end;
}

/* A window that goes mostly unread was guessed too large. */
static void learn(cb_readahead *ra, const segment *s)
{
    if (s->wanted > 0 || s->served >= s->data.size / 4)
        return;
    ra->trust = 0;
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (strcmp(ra->streams[i].key, s->key) == 0)
            ra->streams[i].window /= 4;
}

static bool evict_one(cb_readahead *ra, uint64_t least_age)
{
    segment *oldest = NULL;

    for (segment *s = ra->segments; s != NULL; s = s->next)
        if (s->state == READY && s->pins == 0 && (oldest == NULL || s->used < oldest->used) &&
            (least_age == 0 || s->wanted == 0 || s->served > 0)) /* else its turn will come */
            oldest = s;
    if (oldest == NULL || oldest->used + least_age > ra->clock)
        return false;
    learn(ra, oldest);
    drop(ra, oldest);
    return true;
}

/* What is ahead of one stream must not push out what is ahead of another: a guess evicts only what
   was not touched for long. */
static bool make_room(cb_readahead *ra, uint64_t length, bool is_guess)
{
    if (length > ra->limits.memory_bytes)
        return false;
    while (ra->memory + length > ra->limits.memory_bytes || ra->segment_count >= SEGMENTS_MAX)
        if (!evict_one(ra, is_guess ? GUESS_AGE : 0))
            return false;
    return true;
}

/* NULL when there is no memory: then nothing is cached. */
static segment *add_segment(cb_readahead *ra, const char *key, uint64_t begin, uint64_t length,
                            segment_state state)
{
    size_t key_bytes = strlen(key) + 1;
    segment *s = calloc(1, sizeof(*s) + key_bytes);

    if (s == NULL)
        return NULL;
    memcpy(s->key, key, key_bytes);
    s->begin = begin;
    s->length = length;
    s->state = state;
    s->used = ++ra->clock;
    s->next = ra->segments;
    ra->segments = s;
    ra->segment_count++;
    ra->memory += length;
    return s;
}

/* ---- streams, under the lock ------------------------------------------------------------- */

static bool is_near(const stream *s, const char *key, uint64_t offset)
{
    return offset + NEAR_BEHIND >= s->position && offset <= s->position + NEAR_AHEAD &&
           strcmp(s->key, key) == 0;
}

static stream *begin_stream(cb_readahead *ra, const char *key, uint64_t object_bytes,
                            uint64_t offset)
{
    stream *oldest = &ra->streams[0];

    for (size_t i = 1; i < STREAMS_MAX; i++)
        if (ra->streams[i].used < oldest->used)
            oldest = &ra->streams[i];
    memset(oldest, 0, sizeof(*oldest));
    snprintf(oldest->key, sizeof(oldest->key), "%s", key);
    oldest->position = oldest->fetched = offset;
    oldest->object_bytes = object_bytes > 0 ? object_bytes : UINT64_MAX;
    if (ra->trust > 0 && offset < BEGIN_BYTES)
        oldest->window =
            WINDOW_TRUSTED < ra->limits.window_bytes ? WINDOW_TRUSTED : ra->limits.window_bytes;
    if (ra->trust > 0)
        ra->trust--;
    return oldest;
}

static stream *access_stream(cb_readahead *ra, const char *key, uint64_t object_bytes,
                             uint64_t offset, uint64_t length)
{
    stream *s = NULL;

    for (size_t i = 0; i < STREAMS_MAX && s == NULL; i++)
        if (is_near(&ra->streams[i], key, offset))
            s = &ra->streams[i];
    if (s == NULL)
        s = begin_stream(ra, key, object_bytes, offset);
    else if (offset + length > s->position) {
        s->window = s->window == 0 ? WINDOW_FIRST : s->window * 4;
        if (s->window >= ra->limits.window_bytes) {
            s->window = ra->limits.window_bytes;
            ra->trust = TRUST_MAX;
        }
    }
    if (offset + length > s->position)
        s->position = offset + length;
    s->used = ++ra->clock;
    return s;
}

static void note_fetched(stream *s, const segment *range)
{
    if (end_of(range) > s->fetched)
        s->fetched = end_of(range);
}

static void *fetch_ahead(void *arg);

/* Signals are for the caller's threads. Fewer threads than wanted are no failure. */
static bool start_threads(cb_readahead *ra)
{
    sigset_t all, before;

    if (ra->thread_count > 0 || ra->limits.threads == 0)
        return ra->thread_count > 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (ra->thread_count < ra->limits.threads && ra->thread_count < THREADS_MAX &&
           pthread_create(&ra->threads[ra->thread_count], NULL, fetch_ahead, ra) == 0)
        ra->thread_count++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ra->thread_count > 0;
}

/* Queue the windows that come next. */
static void look_ahead(cb_readahead *ra, stream *s)
{
    if (s->window < WINDOW_FIRST || !start_threads(ra))
        return;
    if (s->fetched < s->position)
        s->fetched = s->position;
    while (s->fetched < s->object_bytes && s->fetched - s->position < WINDOWS_AHEAD * s->window) {
        uint64_t begin = s->fetched;
        uint64_t end = begin + s->window < s->object_bytes ? begin + s->window : s->object_bytes;
        segment *there = find_segment(ra, s->key, begin);

        if (there != NULL) { /* another stream's */
            s->fetched = end_of(there);
            continue;
        }
        end = free_until(ra, s->key, begin, end);
        if (!make_room(ra, end - begin, true) ||
            (there = add_segment(ra, s->key, begin, end - begin, QUEUED)) == NULL)
            return;
        note_fetched(s, there);
        pthread_cond_broadcast(&ra->changed);
    }
}

/* A read came back short: here the object ends. */
static void note_end(cb_readahead *ra, const segment *range)
{
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (strcmp(ra->streams[i].key, range->key) == 0 &&
            ra->streams[i].object_bytes > range->begin + range->data.size)
            ra->streams[i].object_bytes = range->begin + range->data.size;
}

/* ---- fetching ---------------------------------------------------------------------------- */

/* Under the lock, which is released meanwhile; the caller holds a pin. */
static cb_code fetch(cb_readahead *ra, segment *s, cb_error *err)
{
    uint64_t room = s->length > ra->limits.window_bytes / 2 ? ra->limits.window_bytes : s->length;
    cb_code code;

    s->state = UNDER_WAY;
    take_spare(ra, s);
    pthread_mutex_unlock(&ra->lock);
    s->data.limit = (size_t)(room > s->length ? room : s->length);
    code = cb_buf_reserve(&s->data, (size_t)s->data.limit, err);
    if (code == CB_OK)
        code = cb_store_get(ra->store, s->key, s->begin, s->length, &s->data, err);
    pthread_mutex_lock(&ra->lock);
    s->state = code == CB_OK ? READY : FAILED;
    if (code == CB_OK && s->data.size < s->length)
        note_end(ra, s);
    pthread_cond_broadcast(&ra->changed);
    return code;
}

static segment *next_queued(const cb_readahead *ra)
{
    segment *first = NULL;

    for (segment *s = ra->segments; s != NULL; s = s->next)
        if (s->state == QUEUED && (first == NULL || s->used < first->used))
            first = s;
    return first;
}

/* Make a segment of what is planned, without what is here already. NULL: there is no room. */
static segment *start_planned(cb_readahead *ra, size_t index, bool is_guess)
{
    planned *r = &ra->plan[index];
    uint64_t end = free_until(ra, r->key, r->begin, r->end);
    uint64_t wanted = r->wanted < end - r->begin ? r->wanted : end - r->begin;
    segment *s = NULL;

    if (make_room(ra, end - r->begin, is_guess))
        s = add_segment(ra, r->key, r->begin, end - r->begin, QUEUED);
    if (s == NULL)
        return NULL;
    s->wanted = wanted;
    ra->plan_count--;
    memmove(r, r + 1, (ra->plan_count - index) * sizeof(*r));
    return s;
}

/* The next of the plan, when there is room for it. */
static segment *next_planned(cb_readahead *ra)
{
    while (ra->plan_count > 0) {
        planned *r = &ra->plan[0];
        const segment *there = find_segment(ra, r->key, r->begin);

        if (there == NULL)
            return start_planned(ra, 0, true);
        r->begin = end_of(there);
        if (r->begin >= r->end)
            memmove(r, r + 1, --ra->plan_count * sizeof(*r));
    }
    return NULL;
}

/* What a reader needs now and the plan has, too. NULL: it has not, or there is no room. */
static segment *planned_at(cb_readahead *ra, const char *key, uint64_t at)
{
    for (size_t i = 0; i < ra->plan_count; i++)
        if (at >= ra->plan[i].begin && at < ra->plan[i].end && strcmp(ra->plan[i].key, key) == 0)
            return find_segment(ra, key, ra->plan[i].begin) == NULL ? start_planned(ra, i, false)
                                                                    : NULL;
    return NULL;
}

static void *fetch_ahead(void *arg)
{
    cb_readahead *ra = arg;

    pthread_mutex_lock(&ra->lock);
    while (!ra->ends) {
        segment *s = next_queued(ra);
        cb_error err = {0};

        if (s == NULL)
            s = next_planned(ra);
        if (s == NULL) {
            pthread_cond_wait(&ra->changed, &ra->lock);
            continue;
        }
        s->pins++;
        cb_ignore(fetch(ra, s, &err)); /* a guess that failed: who needs it asks again */
        unpin(ra, s);
    }
    pthread_mutex_unlock(&ra->lock);
    return NULL;
}

/* ---- reading ----------------------------------------------------------------------------- */

typedef struct wish {
    const char *key;
    uint64_t at, end; /* what is still wanted */
    cb_buf *into;
} wish;

/* Under the lock. Take what the segment has; *failed when it came to nothing. */
static cb_code take(cb_readahead *ra, segment *s, wish *w, bool *failed, cb_error *err)
{
    cb_code code = CB_OK;

    s->pins++;
    while (s->state == UNDER_WAY)
        pthread_cond_wait(&ra->changed, &ra->lock);
    if (s->state == QUEUED) /* sooner by ourselves than by who comes to it later */
        code = fetch(ra, s, err);
    *failed = s->state == FAILED && code != CB_NOT_FOUND;
    if (*failed) {
        cb_error_clear(err);
        code = CB_OK;
    } else if (code == CB_OK) {
        uint64_t skip = w->at - s->begin;
        uint64_t have = s->data.size > skip ? s->data.size - skip : 0;
        uint64_t some = have < w->end - w->at ? have : w->end - w->at;

        s->used = ++ra->clock;
        pthread_mutex_unlock(&ra->lock);
        if (some > 0)
            code = cb_buf_append(w->into, s->data.data + skip, (size_t)some, err);
        pthread_mutex_lock(&ra->lock);
        s->served += some;
        w->at += some;
        if (s->data.size < s->length && w->at >= s->begin + s->data.size)
            w->end = w->at; /* the object ends here */
    }
    unpin(ra, s);
    return code;
}

/* Under the lock. No room at all: straight to where it is wanted. */
static cb_code read_past(cb_readahead *ra, wish *w, uint64_t end, cb_error *err)
{
    size_t before = w->into->size;
    cb_code code;

    pthread_mutex_unlock(&ra->lock);
    code = cb_store_get(ra->store, w->key, w->at, end - w->at, w->into, err);
    pthread_mutex_lock(&ra->lock);
    w->at += w->into->size - before;
    if (w->at < end)
        w->end = w->at;
    return code;
}

/* Under the lock. Nothing there: fetch it, with as much behind it as the stream is worth. */
static cb_code fetch_window(cb_readahead *ra, stream *s, wish *w, bool *failed, cb_error *err)
{
    uint64_t least = free_until(ra, w->key, w->at, w->end);
    uint64_t begin = w->at;
    uint64_t end = begin + s->window > w->end ? begin + s->window : w->end;
    segment *own = NULL;

    if (end > s->object_bytes)
        end = s->object_bytes > w->end ? s->object_bytes : w->end;
    end = free_until(ra, w->key, w->at, end);
    if (s->window > 0 && s->fetched < begin && begin - s->fetched <= GAP_BYTES &&
        find_segment(ra, w->key, s->fetched) == NULL &&
        free_until(ra, w->key, s->fetched, begin) == begin)
        begin = s->fetched; /* what was skipped is another thread's */
    if (!make_room(ra, end - begin, false)) {
        begin = w->at;
        end = least;
    }
    if (make_room(ra, end - begin, false))
        own = add_segment(ra, w->key, begin, end - begin, QUEUED);
    if (own == NULL)
        return read_past(ra, w, least, err);
    note_fetched(s, own);
    look_ahead(ra, s);
    return take(ra, own, w, failed, err);
}

cb_code cb_readahead_get(cb_readahead *ra, const char *key, uint64_t object_bytes, uint64_t offset,
                         uint64_t length, cb_buf *into, cb_error *err)
{
    wish w = {key, offset, offset + length, into};
    size_t before = into->size;
    bool failed = false;
    stream *s = NULL;
    cb_code code = CB_OK;

    if (length > ra->limits.window_bytes || strlen(key) > CB_KEY_MAX)
        return cb_store_get(ra->store, key, offset, length, into, err);
    pthread_mutex_lock(&ra->lock);
    while (w.at < w.end && code == CB_OK && !failed) {
        segment *there = find_segment(ra, key, w.at);

        if (there == NULL)
            there = planned_at(ra, key, w.at);
        if (s == NULL && (there == NULL || there->wanted == 0)) {
            s = access_stream(ra, key, object_bytes, w.at, w.end - w.at);
            if (there != NULL)
                look_ahead(ra, s);
        }
        if (there != NULL)
            code = take(ra, there, &w, &failed, err);
        else /* others may have turned the stream over meanwhile: it only guesses */
            code = fetch_window(ra, s, &w, &failed, err);
    }
    pthread_mutex_unlock(&ra->lock);
    if (failed) {
        into->size = before;
        return cb_store_get(ra->store, key, offset, length, into, err);
    }
    if (code != CB_OK)
        into->size = before;
    return code;
}

/* ---- what is expected -------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const planned *one = a, *other = b;
    int keys = strcmp(one->key, other->key);

    if (keys != 0)
        return keys;
    return one->begin < other->begin ? -1 : one->begin > other->begin;
}

static int by_turn(const void *a, const void *b)
{
    const planned *one = a, *other = b;

    return one->first < other->first ? -1 : one->first > other->first;
}

/* Neighbours become one, up to a window. Returns how many are left. */
static size_t join(const cb_readahead *ra, planned *ranges, size_t count)
{
    size_t last = 0;

    qsort(ranges, count, sizeof(*ranges), by_place);
    for (size_t i = 1; i < count; i++) {
        planned *before = &ranges[last];
        const planned *next = &ranges[i];
        uint64_t end = next->end > before->end ? next->end : before->end;

        if (next->begin <= before->end + GAP_BYTES && strcmp(before->key, next->key) == 0 &&
            end - before->begin <= ra->limits.window_bytes) {
            before->end = end;
            before->wanted += next->wanted;
            if (next->first < before->first)
                before->first = next->first;
        } else {
            ranges[++last] = *next;
        }
    }
    count = count > 0 ? last + 1 : 0;
    qsort(ranges, count, sizeof(*ranges), by_turn);
    return count;
}

void cb_readahead_expect(cb_readahead *ra, const cb_expected *pieces, size_t count)
{
    size_t free_slots, first;

    pthread_mutex_lock(&ra->lock);
    first = ra->plan_count;
    free_slots = start_threads(ra) ? PLAN_MAX - first : 0;
    for (size_t i = 0; i < count && free_slots > 0; i++) {
        const cb_expected *piece = &pieces[i];
        planned *r = &ra->plan[ra->plan_count];

        if (piece->length == 0 || piece->length > ra->limits.window_bytes)
            continue;
        *r = (planned){.begin = piece->offset, .wanted = piece->length, .first = i};
        r->end = piece->offset + piece->length;
        memcpy(r->key, piece->key, sizeof(r->key));
        ra->plan_count++;
        free_slots--;
    }
    ra->plan_count = first + join(ra, ra->plan + first, ra->plan_count - first);
    pthread_cond_broadcast(&ra->changed);
    pthread_mutex_unlock(&ra->lock);
}

/* ---- begin and end ----------------------------------------------------------------------- */

cb_code cb_readahead_new(cb_store *store, const cb_readahead_limits *limits, cb_readahead **out,
                         cb_error *err)
{
    cb_readahead *ra = calloc(1, sizeof(*ra));

    *out = NULL;
    if (ra == NULL)
        return cb_fail_memory(err, sizeof(*ra));
    ra->store = store;
    ra->limits = *limits;
    if (ra->limits.memory_bytes == 0)
        ra->limits.memory_bytes = MEMORY_BYTES;
    if (ra->limits.window_bytes == 0)
        ra->limits.window_bytes = WINDOW_BYTES;
    pthread_mutex_init(&ra->lock, NULL);
    pthread_cond_init(&ra->changed, NULL);
    *out = ra;
    return CB_OK;
}

void cb_readahead_free(cb_readahead *ra)
{
    if (ra == NULL)
        return;
    pthread_mutex_lock(&ra->lock);
    ra->ends = true;
    pthread_cond_broadcast(&ra->changed);
    pthread_mutex_unlock(&ra->lock);
    for (unsigned i = 0; i < ra->thread_count; i++)
        pthread_join(ra->threads[i], NULL);
    while (ra->segments != NULL)
        drop(ra, ra->segments);
    while (ra->spare_count > 0)
        cb_buf_free(&ra->spare[--ra->spare_count]);
    pthread_cond_destroy(&ra->changed);
    pthread_mutex_destroy(&ra->lock);
    free(ra);
}
