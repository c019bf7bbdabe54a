/*
 * s3_fail.c - refusals in words: what was tried, why it was refused, what to do. Of what the store
 * says only the code and the message are repeated: the rest of such an answer may hold the string
 * that was signed.
 */
#include "storage/s3/s3_internal.h"

#include <stdio.h>

#include "base/text.h"

typedef struct refusal {
    cb_s3_store *store;
    const cb_http_response *response;
    const char *doing;
    char what[CB_OBJECT_KEY_MAX + 64]; /* "'key' in " or "" */
    const char *address;
    cb_s3_failure failure;
} refusal;

typedef cb_code explain(const refusal *of, cb_error *err);

static cb_code no_bucket(const refusal *of, cb_error *err)
{
    const cb_s3_store *self = of->store;

    cb_fail(err, CB_NOT_FOUND, "there is no bucket '%s' at %s", self->place.bucket,
            self->is_amazon ? "Amazon S3" : self->endpoint);
    cb_hint(err, "Make it first, or look at its name and at the endpoint; only restoring a lake "
                 "makes buckets.");
    return err->code;
}

static cb_code no_object(const refusal *of, cb_error *err)
{
    return cb_fail(err, CB_NOT_FOUND, "there is no object %s'%.300s'", of->what, of->address);
}

static cb_code denied(const refusal *of, cb_error *err)
{
    char source[CB_AUTH_SOURCE_MAX];

    cb_aws_source(of->store->aws, source);
    cb_fail(err, CB_DENIED, "not allowed to %s %s'%.300s'", of->doing, of->what, of->address);
    if (source[0] != '\0')
        cb_hint(err,
                "The credentials come from %s: ask whoever owns the bucket for the "
                "permission.",
                source);
    else
        cb_hint(err, "Ask whoever owns the bucket for the permission, or give credentials.");
    return err->code;
}

static cb_code wrong_secret(const refusal *of, cb_error *err)
{
    char source[CB_AUTH_SOURCE_MAX];

    cb_aws_source(of->store->aws, source);
    cb_fail(err, CB_DENIED, "the secret does not fit the access key for '%.300s'", of->address);
    cb_hint(err, "Look at the secret access key in %s.",
            source[0] != '\0' ? source : "the credentials");
    return err->code;
}

static cb_code unknown_key(const refusal *of, cb_error *err)
{
    char source[CB_AUTH_SOURCE_MAX];

    cb_aws_source(of->store->aws, source);
    cb_fail(err, CB_DENIED, "the access key is not known at '%.300s'", of->address);
    cb_hint(err, "It comes from %s: is it of this store, and still valid?",
            source[0] != '\0' ? source : "the credentials");
    return err->code;
}

static cb_code expired(const refusal *of, cb_error *err)
{
    cb_fail(err, CB_DENIED, "the credentials for '%.300s' have expired", of->address);
    cb_hint(err, "Log in again, or get new temporary credentials.");
    return err->code;
}

static cb_code skewed(const refusal *of, cb_error *err)
{
    const char *date = cb_http_header(of->response, "date");
    char apart[CB_DURATION_TEXT_MAX];
    int64_t theirs;

    if (date == NULL || !cb_http_time(date, &theirs))
        return cb_fail(err, CB_DENIED, "the clock of this machine is too far from that of '%.300s'",
                       of->address);
    theirs -= cb_now_us(of->store->ctx);
    cb_fail(err, CB_DENIED, "the clock of this machine is %s %s that of '%.300s'",
            cb_format_duration(theirs < 0 ? -theirs : theirs, apart),
            theirs < 0 ? "ahead of" : "behind", of->address);
    cb_hint(err, "Set the clock right: requests are signed with the time.");
    return err->code;
}

static cb_code elsewhere(const refusal *of, cb_error *err)
{
    cb_fail(err, CB_USAGE, "the bucket '%s' must be asked at another endpoint%s%s",
            of->store->place.bucket, of->failure.endpoint[0] != '\0' ? ": " : "",
            of->failure.endpoint);
    cb_hint(err, "Look at region and endpoint.");
    return err->code;
}

static cb_code no_space(const refusal *of, cb_error *err)
{
    return cb_fail(err, CB_NO_SPACE, "no room to %s %s'%.300s' (%s)", of->doing, of->what,
                   of->address, of->failure.code);
}

static cb_code bad_name(const refusal *of, cb_error *err)
{
    return cb_fail(err, CB_USAGE, "the store refuses the name of the bucket '%s'",
                   of->store->place.bucket);
}

static cb_code too_large(const refusal *of, cb_error *err)
{
    return cb_fail(err, CB_TOO_LARGE, "the store refuses %s'%.300s' as too large", of->what,
                   of->address);
}

static cb_code unsupported(const refusal *of, cb_error *err)
{
    return cb_fail(err, CB_UNSUPPORTED, "the store of '%.300s' does not know how to %s %s(%s)",
                   of->address, of->doing, of->what[0] != '\0' ? "an object " : "it ",
                   of->failure.code);
}

static const struct {
    const char *code;
    explain *explain;
} by_code[] = {
    {"NoSuchBucket", no_bucket},
    {"NoSuchKey", no_object},
    {"NoSuchVersion", no_object},
    {"AccessDenied", denied},
    {"AllAccessDisabled", denied},
    {"AccountProblem", denied},
    {"SignatureDoesNotMatch", wrong_secret},
    {"InvalidAccessKeyId", unknown_key},
    {"InvalidSecurity", unknown_key},
    {"ExpiredToken", expired},
    {"ExpiredTokenException", expired},
    {"InvalidToken", expired},
    {"TokenRefreshRequired", expired},
    {"RequestTimeTooSkewed", skewed},
    {"PermanentRedirect", elsewhere},
    {"TemporaryRedirect", elsewhere},
    {"IllegalLocationConstraintException", elsewhere},
    {"AuthorizationHeaderMalformed", elsewhere},
    {"QuotaExceeded", no_space},
    {"InsufficientStorage", no_space},
    {"XMinioStorageFull", no_space},
    {"XMinioAdminBucketQuotaExceeded", no_space},
    {"InvalidBucketName", bad_name},
    {"EntityTooLarge", too_large},
    {"NotImplemented", unsupported},
};

static explain *by_status(unsigned status)
{
    switch (status) {
    case 301:
    case 307:
    case 308:
        return elsewhere;
    case 401:
    case 403:
        return denied;
    case 404:
        return no_object;
    case 413:
        return too_large;
    case 501:
        return unsupported;
    case 507:
        return no_space;
    default:
        return NULL;
    }
}

cb_code cb_s3_fail(cb_s3_store *self, const cb_http_response *response, const char *doing,
                   const char *key, cb_error *err)
{
    refusal of = {
        .store = self, .response = response, .doing = doing, .address = self->place.address};
    explain *how = NULL;

    if (key != NULL)
        snprintf(of.what, sizeof(of.what), "'%s' in ", key);
    cb_s3_parse_failure(cb_buf_bytes(&response->body), &of.failure);
    for (size_t i = 0; i < CB_LENGTH(by_code); i++)
        if (strcmp(by_code[i].code, of.failure.code) == 0)
            how = by_code[i].explain;
    if (how == NULL)
        how = by_status(response->status);
    if (how == no_object && key == NULL)
        how = no_bucket;
    if (how != NULL)
        return how(&of, err);
    return cb_fail(err, CB_IO, "cannot %s %s'%.300s': the store answered %u%s%s%s%s", doing,
                   of.what, of.address, response->status, of.failure.code[0] != '\0' ? " " : "",
                   of.failure.code, of.failure.message[0] != '\0' ? ": " : "", of.failure.message);
}

cb_code cb_s3_fail_no_locks(cb_s3_store *self, cb_error *err)
{
    cb_fail(err, CB_UNSUPPORTED, "the bucket of '%.300s' has no object lock", self->place.address);
    cb_hint(err, "Object lock must be switched on when a bucket is made, or by its provider.");
    return err->code;
}
