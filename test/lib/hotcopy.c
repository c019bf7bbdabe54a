/*
 * hotcopy.c - copy a live database from SOURCE to TARGET by the step interface alone, as `copy` and
 * `restore` do together, without a repository between them. For tests under load.
 *
 *     hotcopy [--delta] [--mend] [--allow-damage] [--attach] [--snapshot PATH] [--deadline SECONDS]
 *             [--state FILE] [--jobs N] [--verbose] SOURCE TARGET
 *     hotcopy --check SOURCE
 *
 * Prints "OK how passes=N commits=N bytes=N damaged=N" or "FAIL code: message | hint"; exits 0
 * or 1.
 * --state FILE: the record of the run before, read when it exists, then written.
 */
#include "source/source.h"

#include "base/file.h"
#include "base/pool.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ITEMS_MAX = 8, WORKERS_MAX = 64 };

typedef struct hotcopy {
    cb_source_options source_options;
    cb_target_options target_options;
    const char *state_path;
    bool verbose;
    bool check_only;
    bool delta;
    cb_source *source;
    cb_target *target;
    uint32_t numbers[ITEMS_MAX];
    cb_buf buffers[WORKERS_MAX], there[WORKERS_MAX];
    atomic_uint_fast64_t read_bytes, written_bytes;
} hotcopy;

static void sink(void *arg, const cb_event *event)
{
    const hotcopy *h = arg;

    if (event->text != NULL && (h->verbose || event->kind <= CB_EVENT_WARNING))
        fprintf(stderr, "%s\n", event->text);
}

static int report(const cb_error *err)
{
    printf("FAIL %s: %s | %s\n", cb_code_name(err->code), err->message, err->hint);
    return 1;
}

static cb_code work(void *arg, unsigned worker, void *data, cb_error *err)
{
    hotcopy *h = arg;
    const cb_piece *piece = data;
    cb_buf *raw = &h->buffers[worker];
    cb_buf *old = &h->there[worker];
    cb_code code;

    raw->size = old->size = 0;
    code = cb_source_read(h->source, piece, raw, err);
    if (code == CB_RETRY)
        return CB_OK;
    if (code != CB_OK)
        return code;
    atomic_fetch_add(&h->read_bytes, raw->size);
    if (h->delta)
        code = cb_target_read(h->target, h->numbers[piece->item], piece->offset, piece->length, old,
                              err);
    if (code != CB_OK || (old->size == raw->size && memcmp(old->data, raw->data, raw->size) == 0))
        return code;
    atomic_fetch_add(&h->written_bytes, raw->size);
    return cb_target_write(h->target, h->numbers[piece->item], piece->offset, cb_buf_bytes(raw),
                           err);
}

static cb_code step(hotcopy *h, cb_pool *pool, const cb_step *s, cb_error *err)
{
    bool reuse;
    cb_code code = CB_OK;

    if (s->kind != CB_STEP_PIECE)
        code = cb_pool_drain(pool, err);
    if (code != CB_OK)
        return code;
    switch (s->kind) {
    case CB_STEP_ITEM:
        code = cb_target_item(h->target, &s->item, &h->numbers[s->piece.item], err);
        return code == CB_OK ? cb_source_take(h->source, NULL, &reuse, err) : code;
    case CB_STEP_PIECE:
        return cb_pool_submit(pool, &s->piece, err);
    case CB_STEP_HOLE:
        return cb_target_hole(h->target, h->numbers[s->piece.item], s->piece.offset,
                              s->piece.length, err);
    case CB_STEP_DONE:
        return cb_target_done(h->target, h->numbers[s->piece.item], err);
    case CB_STEP_BARRIER:
    case CB_STEP_RESTART:
    case CB_STEP_END:
        break;
    }
    return CB_OK;
}

static cb_code run(hotcopy *h, cb_ctx *ctx, cb_error *err)
{
    cb_pool *pool = NULL;
    cb_step s = {0};
    cb_code code;

    code = cb_target_prepare(h->target, err);
    h->delta = h->target->in_place;
    if (code == CB_OK)
        code = cb_pool_new(cb_jobs(ctx), 16, sizeof(cb_piece), work, h, &pool, err);
    while (code == CB_OK) {
        code = cb_source_next(h->source, &s, err);
        if (code != CB_OK || s.kind == CB_STEP_END)
            break;
        code = step(h, pool, &s, err);
    }
    if (code == CB_OK)
        code = cb_pool_drain(pool, err);
    cb_pool_free(pool);
    return code;
}

static cb_code write_state(const char *path, cb_bytes state, cb_error *err)
{
    CB_CLEANUP(cb_fd_close) int fd = -1;
    cb_code code = cb_file_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, err);

    return code == CB_OK ? cb_file_write(fd, path, 0, state.data, state.size, err) : code;
}

static cb_code copy(hotcopy *h, cb_ctx *ctx, const char *from, const char *to, cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf parent = {0};
    cb_source_facts facts = {0};
    bool unchanged = false;
    cb_code code = CB_OK;

    if (h->state_path != NULL && cb_path_exists(h->state_path))
        code = cb_file_slurp(h->state_path, &parent, err);
    if (code == CB_OK)
        code = cb_duckdb_engine.source(ctx, from, &h->source_options, &h->source, err);
    if (code == CB_OK)
        code = cb_source_begin(h->source, cb_buf_bytes(&parent), &unchanged, err);
    if (code == CB_OK)
        h->target_options.state = cb_buf_bytes(&parent);
    if (code == CB_OK && !unchanged) {
        code = cb_duckdb_engine.target(ctx, to, &h->target_options, &h->target, err);
        if (code == CB_OK)
            code = run(h, ctx, err);
    }
    if (code == CB_OK)
        code = cb_source_end(h->source, &facts, err);
    if (code == CB_OK && h->target != NULL)
        code = cb_target_finish(h->target, err);
    if (code == CB_OK && h->state_path != NULL)
        code = write_state(h->state_path, facts.state, err);
    if (code != CB_OK)
        return code;
    printf("OK %s passes=%u commits=%llu bytes=%llu written=%llu damaged=%llu\n", facts.confirmed,
           facts.passes, (unsigned long long)facts.commits_in_log,
           (unsigned long long)atomic_load(&h->read_bytes),
           (unsigned long long)atomic_load(&h->written_bytes), (unsigned long long)facts.damaged);
    for (size_t i = 0; h->verbose && i < facts.fact_count; i++)
        printf("  %s: %s\n", facts.facts[i].key, facts.facts[i].value);
    return CB_OK;
}

static cb_code check(cb_ctx *ctx, const char *path, cb_error *err)
{
    cb_check_report r = {0};
    cb_code code = cb_duckdb_engine.check(ctx, path, &r, err);

    if (code == CB_OK) {
        printf("OK %s: %llu blocks, %llu used, %llu free, %llu bad, %llu commits, open by %lld\n",
               r.version != NULL ? r.version : "?", (unsigned long long)r.blocks,
               (unsigned long long)r.used_blocks, (unsigned long long)r.free_blocks,
               (unsigned long long)r.bad_blocks, (unsigned long long)r.commits_in_log,
               (long long)r.open_by);
        for (size_t i = 0; i < r.damaged_count; i++)
            printf("  %s %s: %s\n", r.damaged[i].item, r.damaged[i].chunk, r.damaged[i].reason);
        for (size_t i = 0; i < r.note_count; i++)
            printf("  note: %s\n", r.notes[i]);
    }
    cb_check_report_free(&r);
    return code;
}

static const struct option flags[] = {
    {"delta", no_argument, NULL, 'd'},
    {"mend", no_argument, NULL, 'm'},
    {"allow-damage", no_argument, NULL, 'a'},
    {"attach", no_argument, NULL, 't'},
    {"snapshot", required_argument, NULL, 'n'},
    {"deadline", required_argument, NULL, 'l'},
    {"state", required_argument, NULL, 's'},
    {"jobs", required_argument, NULL, 'j'},
    {"verbose", no_argument, NULL, 'v'},
    {"check", no_argument, NULL, 'c'},
    {NULL, 0, NULL, 0},
};

static void parse(hotcopy *h, cb_settings *settings, int argc, char **argv)
{
    for (int flag; (flag = getopt_long(argc, argv, "", flags, NULL)) != -1;) {
        switch (flag) {
        case 'd':
            h->target_options.delta = true;
            break;
        case 'm':
            h->target_options.mend = true;
            break;
        case 'a':
            h->source_options.allow_damage = true;
            break;
        case 't':
            h->source_options.method = CB_METHOD_ATTACH;
            break;
        case 'n':
            h->source_options.snapshot = optarg;
            break;
        case 'l':
            h->source_options.deadline_us = (int64_t)(atof(optarg) * 1e6);
            break;
        case 's':
            h->state_path = optarg;
            break;
        case 'j':
            settings->jobs = (unsigned)atoi(optarg);
            break;
        case 'v':
            h->verbose = true;
            break;
        case 'c':
            h->check_only = true;
            break;
        default:
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    hotcopy *h = calloc(1, sizeof(*h));
    cb_settings settings = {.jobs = 2};
    cb_error err = {0};
    cb_ctx *ctx;
    cb_code code;

    if (h == NULL)
        return 2;
    h->target_options.force = true;
    parse(h, &settings, argc, argv);
    if (optind + (h->check_only ? 1 : 2) != argc)
        return 2;
    if (cb_ctx_new(&settings, sink, h, &ctx, &err) != CB_OK)
        return report(&err);
    code = h->check_only ? check(ctx, argv[optind], &err)
                         : copy(h, ctx, argv[optind], argv[optind + 1], &err);
    cb_target_free(h->target);
    cb_source_free(h->source);
    for (unsigned i = 0; i < WORKERS_MAX; i++) {
        cb_buf_free(&h->buffers[i]);
        cb_buf_free(&h->there[i]);
    }
    cb_ctx_free(ctx);
    free(h);
    return code == CB_OK ? 0 : report(&err);
}
