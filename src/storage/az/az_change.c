/*
 * az_change.c - removal, locks, and the way back to an older version.
 */
#include "storage/az/az_internal.h"

#include <stdio.h>

#include "storage/az/az_sign.h"

/* With its snapshots, which the service would otherwise refuse to part from. */
cb_code cb_az_remove(cb_store *store, const char *key, cb_error *err)
{
    cb_az_store *self = (cb_az_store *)store;
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const char *headers[] = {"x-ms-delete-snapshots: include", NULL};
    cb_az_call call = {.method = "DELETE", .key = key, .headers = headers};
    cb_code code = cb_az_send(self, &call, &response, err);

    if (code != CB_OK || cb_az_is_success(&response))
        return code;
    code = cb_az_fail(self, &response, "remove", key, err);
    /* There is none, which is what was asked for; but not that there is no container. */
    return code == CB_NOT_FOUND && !err->in_repository ? CB_OK : code;
}

cb_code cb_az_remove_many(cb_store *store, const char *const *keys, size_t count, cb_error *err)
{
    return cb_blob_remove_many(store, keys, count, cb_az_remove, err);
}

cb_code cb_az_retained(cb_store *store, const char *key, int64_t *until_us, cb_error *err)
{
    cb_az_facts facts;
    cb_code code = cb_az_stat((cb_az_store *)store, key, &facts, err);

    if (code == CB_OK)
        *until_us = facts.retain_until_us;
    return code;
}

/* The service refuses to shorten a lock: one that is long enough is left alone. */
cb_code cb_az_retain(cb_store *store, const char *key, int64_t until_us, cb_error *err)
{
    cb_az_store *self = (cb_az_store *)store;
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    const cb_pair query[] = {{"comp", "immutabilityPolicies"}};
    char until[CB_AZ_DATE_MAX + 64];
    char date[CB_AZ_DATE_MAX];
    const char *headers[] = {until, "x-ms-immutability-policy-mode: Locked", NULL};
    cb_az_call call = {
        .method = "PUT", .key = key, .query = query, .query_count = 1, .headers = headers};
    int64_t now_until_us;
    cb_code code = cb_az_check_locks(self, err);

    if (code == CB_OK)
        code = cb_az_retained(store, key, &now_until_us, err);

    if (code != CB_OK || now_until_us >= until_us)
        return code;
    snprintf(until, sizeof(until), "x-ms-immutability-policy-until-date: %s",
             cb_az_date(until_us + 999999, date));
    code = cb_az_send(self, &call, &response, err);
    if (code != CB_OK || cb_az_is_success(&response))
        return code;
    if (response.status == 400 || response.status == 409 || response.status == 501)
        return cb_az_fail_no_locks(self, err);
    return cb_az_fail(self, &response, "lock", key, err);
}

static cb_code wait_for_copy(cb_az_store *self, const char *key, cb_error *err)
{
    cb_az_facts facts;
    cb_code code = cb_az_stat(self, key, &facts, err);

    for (int64_t wait_us = 50000; code == CB_OK && facts.is_copying; wait_us *= 2) {
        code = cb_sleep_us(self->ctx, wait_us < 2000000 ? wait_us : 2000000, err);
        if (code == CB_OK)
            code = cb_az_stat(self, key, &facts, err);
    }
    if (code == CB_OK && facts.copy_failed)
        return cb_fail(err, CB_IO, "the store could not copy '%s'", key);
    return code;
}

/* A copy of the older version onto the blob itself, made by the service. */
cb_code cb_az_revert(cb_store *store, const char *key, const char *version, cb_error *err)
{
    cb_az_store *self = (cb_az_store *)store;
    CB_CLEANUP(cb_http_response_free) cb_http_response response = {0};
    cb_az_call call = {.method = "PUT", .key = key, .copy_version = version};
    const char *status;
    cb_code code = cb_az_send(self, &call, &response, err);

    if (code != CB_OK)
        return code;
    if (!cb_az_is_success(&response))
        return cb_az_fail(self, &response, "bring back", key, err);
    status = cb_http_header(&response, "x-ms-copy-status");
    if (status != NULL && strcmp(status, "success") == 0)
        return CB_OK;
    return wait_for_copy(self, key, err);
}
