/*
 * repo_check.c - what the place of a repository can do, and how fast. Needs no passphrase.
 */
#include "command/command_internal.h"

#include <stdlib.h>

typedef struct owned_check {
    cb_repo_check_result public; /* first */
    cb_arena arena;
} owned_check;

static void store_cleanup(cb_store **store)
{
    cb_store_close(*store);
}

static cb_ability ability(cb_answer answer)
{
    switch (answer) {
    case CB_ANSWER_UNKNOWN:
        break;
    case CB_ANSWER_YES:
        return CB_ABILITY_YES;
    case CB_ANSWER_NO:
        return CB_ABILITY_NO;
    }
    return CB_ABILITY_UNKNOWN;
}

static cb_code describe(owned_check *check, cb_store *store, const cb_store_facts *facts,
                        cb_error *err)
{
    cb_repo_check_result *r = &check->public;
    const struct {
        const char *from;
        const char **to;
    } texts[] = {
        {cb_store_address(store), &r->address}, {facts->kind, &r->kind},
        {facts->endpoint, &r->endpoint},        {facts->region, &r->region},
        {facts->credentials, &r->credentials},
    };
    cb_code code = CB_OK;

    for (size_t i = 0; code == CB_OK && i < CB_LENGTH(texts); i++)
        code = cb_arena_text(&check->arena, texts[i].from, texts[i].to, err);
    r->create_if_absent = ability(facts->create_if_absent);
    r->versioning = ability(facts->versioning);
    r->object_lock = ability(facts->object_lock);
    r->checksums = ability(facts->checksums);
    r->retain_default_us = facts->retain_default_us;
    return code;
}

/* Its configuration makes it one. Who may not read it cannot tell. */
static cb_code look_for_repository(cb_store *store, bool *out, cb_error *err)
{
    uint64_t size;
    cb_code code = cb_store_size(store, "config", &size, err);

    *out = code == CB_OK;
    if (code != CB_NOT_FOUND && code != CB_DENIED)
        return code;
    cb_error_clear(err);
    return CB_OK;
}

/* The store's clock is read by writing: a place that cannot be written says so here. */
static cb_code look_at_clock(cb_ctx *ctx, cb_store *store, cb_repo_check_result *r, cb_error *err)
{
    int64_t began = cb_now_us(ctx);
    int64_t there;
    cb_code code = cb_store_now(store, &there, err);

    r->writable = code == CB_OK ? CB_ABILITY_YES : CB_ABILITY_UNKNOWN;
    if (code == CB_OK)
        r->clock_skew_us = there - (began + cb_now_us(ctx)) / 2;
    if (code == CB_DENIED || code == CB_NO_SPACE) {
        r->writable = CB_ABILITY_NO;
        cb_event_text(ctx, CB_EVENT_WARNING, "cannot be written: %s", err->message);
        cb_error_clear(err);
        code = CB_OK;
    }
    return code;
}

static cb_code run(cb_ctx *ctx, owned_check *check, cb_error *err)
{
    CB_CLEANUP(store_cleanup) cb_store *store = NULL;
    cb_repo_check_result *r = &check->public;
    cb_store_facts facts = {0};
    cb_store_speed speed = {0};
    cb_code code;

    if (ctx->settings.repository == NULL || ctx->settings.repository[0] == '\0') {
        cb_fail(err, CB_USAGE, "no repository was named");
        cb_hint(err, "Say where it is with --repo ADDRESS or CANVASBACK_REPO.");
        return err->code;
    }
    code = cb_store_open(ctx, ctx->settings.repository, false, &store, err);
    if (code == CB_OK)
        code = look_for_repository(store, &r->is_repository, err);
    if (code == CB_OK)
        code = look_at_clock(ctx, store, r, err);
    if (code == CB_OK)
        code = cb_store_probe(ctx, store, &facts, &speed, err);
    if (code == CB_OK)
        code = cb_store_free_space(store, &r->free_bytes, err);
    r->round_trip_us = speed.round_trip_us;
    r->put_bytes_per_second = speed.put_bytes_per_second;
    r->get_bytes_per_second = speed.get_bytes_per_second;
    return code == CB_OK ? describe(check, store, &facts, err) : code;
}

cb_code cb_repo_check(cb_ctx *ctx, cb_repo_check_result **out, cb_error *err)
{
    owned_check *check = calloc(1, sizeof(*check));
    cb_code code;

    *out = NULL;
    if (check == NULL)
        return cb_fail_memory(err, sizeof(*check));
    code = run(ctx, check, err);
    if (code != CB_OK) {
        cb_repo_check_result_free(&check->public);
        return code;
    }
    *out = &check->public;
    return CB_OK;
}

void cb_repo_check_result_free(cb_repo_check_result *result)
{
    owned_check *owned = (owned_check *)result;

    if (owned == NULL)
        return;
    cb_arena_free(&owned->arena);
    free(owned);
}
