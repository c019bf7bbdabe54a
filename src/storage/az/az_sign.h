/*
 * az_sign.h - the text that a shared key signs. Pure: same request, same text.
 *
 * Source: the public reference of Azure Storage, "Authorize with Shared Key".
 */
#ifndef CB_STORAGE_AZ_AZ_SIGN_H
#define CB_STORAGE_AZ_AZ_SIGN_H

#include "base/bytes.h"

typedef struct cb_az_signing {
    const char *account;
    const char *method;
    const char *url;            /* as sent */
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    const char *const *more;    /* the same: those of one attempt, with x-ms-date */
    uint64_t body_bytes;
} cb_az_signing;

CB_MUST_USE cb_code cb_az_string_to_sign(const cb_az_signing *of, cb_buf *into, cb_error *err);

/* "Sat, 21 Nov 2026 11:04:31 GMT". */
enum { CB_AZ_DATE_MAX = 40 };
const char *cb_az_date(int64_t us, char out[CB_AZ_DATE_MAX]);

#endif
