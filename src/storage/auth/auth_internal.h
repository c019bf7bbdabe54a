/*
 * auth_internal.h - what the three clouds share: memory that is wiped, grants that are renewed,
 * questions to token services, JSON.
 *
 * Everything that may hold a secret lies in a vault or in a fixed array that its owner wipes.
 */
#ifndef CB_STORAGE_AUTH_INTERNAL_H
#define CB_STORAGE_AUTH_INTERNAL_H

#include "storage/auth/auth.h"

#include <jansson.h>

enum { CB_AUTH_FILE_MAX = 1 << 20, CB_AUTH_URL_MAX = 2048 };

/* ---- vault.c: texts that live together and are wiped together ------------------------------- */

typedef struct cb_vault {
    struct cb_vault_item *items; /* zero-initialised is empty */
} cb_vault;

void cb_vault_free(cb_vault *vault);
CB_MUST_USE cb_code cb_vault_text_n(cb_vault *vault, const void *data, size_t size,
                                    const char **out, cb_error *err);
CB_MUST_USE cb_code cb_vault_text(cb_vault *vault, const char *text, const char **out,
                                  cb_error *err);
CB_MUST_USE cb_code cb_vault_format(cb_vault *vault, const char **out, cb_error *err,
                                    const char *format, ...) CB_PRINTF(4, 5);
/* out[i] is the variable names[i], NULL when it is unset or empty. */
CB_MUST_USE cb_code cb_vault_environment(cb_vault *vault, const char *const *names, size_t count,
                                         const char **out, cb_error *err);

/* For CB_CLEANUP: wipes the buffer's memory before it is freed. */
void cb_buf_wipe(cb_buf *buf);

/* All of a small file. Errors: CB_NOT_FOUND, CB_DENIED, CB_TOO_LARGE past 1 MiB, CB_IO. */
CB_MUST_USE cb_code cb_auth_slurp(const char *path, cb_buf *into, cb_error *err);
/* A file that holds one token: the blanks around it are cut off. CB_DENIED when it is empty. */
CB_MUST_USE cb_code cb_auth_token_file(cb_vault *vault, const char *path, const char **out,
                                       cb_error *err);
/* Copy into an array. `what` names it in a message; its text stays out. CB_USAGE when it holds a
   control character (it could not stand in a header), CB_TOO_LARGE when it does not fit. */
CB_MUST_USE cb_code cb_auth_copy(char *out, size_t size, const char *text, const char *what,
                                 cb_error *err);
bool cb_auth_is_true(const char *text); /* "true", "1", "yes", "on" in any case; NULL is false */
/* Absolute, or with a leading "~/". */
CB_MUST_USE cb_code cb_auth_home_path(cb_vault *vault, const char *home, const char *below,
                                      const char **out, cb_error *err);
/* ISO 8601; without a zone it is UTC. */
CB_MUST_USE bool cb_auth_time(const char *text, int64_t *out_us);

/* ---- lease.c: a value with an end, renewed by one thread ------------------------------------ */

#define CB_LEASE_FOREVER INT64_MAX

typedef struct cb_grant {
    int64_t expires_us; /* CB_LEASE_FOREVER: not known to end */
    bool is_fixed;      /* nobody issues newer ones: asked again, the place only repeats itself */
    char source[CB_AUTH_SOURCE_MAX];
} cb_grant;

typedef struct cb_lease cb_lease;

/* Get a new value from wherever it comes; `value` and `grant` are zeroed before, expires_us is
   CB_LEASE_FOREVER. One call at a time. */
typedef cb_code cb_lease_fetch(void *arg, void *value, cb_grant *grant, cb_error *err);

CB_MUST_USE cb_code cb_lease_new(cb_ctx *ctx, size_t value_size, cb_lease_fetch *fetch, void *arg,
                                 cb_lease **out, cb_error *err);
void cb_lease_free(cb_lease *lease); /* wipes; NULL is allowed */
/* Copies the value. `refused` as in auth.h. Errors: those of fetch; CB_DENIED when a fixed value
   has ended; CB_CANCELLED while waiting for another thread. */
CB_MUST_USE cb_code cb_lease_get(cb_lease *lease, bool refused, void *out, cb_error *err);
void cb_lease_source(cb_lease *lease, char out[CB_AUTH_SOURCE_MAX]);

/* ---- inquiry.c: requests to services that hand out keys and tokens -------------------------- */

typedef struct cb_inquiry {
    const char *who; /* for messages: "the token service of Google" */
    const char *method;
    const char *url;
    const char *const *headers;
    cb_bytes body;  /* size 0: none */
    bool is_direct; /* past any proxy: only this machine can reach it */
    bool is_quick;  /* where nobody may be at home: one second, two tries; else 20 s, four */
    cb_http_sign *sign;
    void *arg;
} cb_inquiry;

/* Any answer is CB_OK; one of more than 1 MiB is CB_TOO_LARGE. Free with cb_answer_wipe. */
CB_MUST_USE cb_code cb_inquire(cb_http *http, const cb_inquiry *inquiry, cb_http_response *response,
                               cb_error *err);
void cb_answer_wipe(cb_http_response *response);
/* The same for JSON: any answer but 2xx is an error: CB_DENIED (4xx), CB_RETRY (5xx). */
CB_MUST_USE cb_code cb_inquire_json(cb_http *http, const cb_inquiry *inquiry, json_t **out,
                                    cb_error *err);
/* The error for an answer that is not what was hoped for; `reason` is the service's own word for it
   (only letters, digits, '_', '.', '-' of it are shown), "" or NULL unknown. */
cb_code cb_inquiry_failed(const cb_inquiry *inquiry, unsigned status, const char *reason,
                          cb_error *err);
/* Append "name=value" percent-encoded, behind '&' where something is there. NULL value: nothing. */
CB_MUST_USE cb_code cb_form_add(cb_buf *form, const char *name, const char *value, cb_error *err);

/* "scheme://host[:port]/path" without user, query and slashes behind. */
void cb_url_shown(const char *url, char out[CB_AUTH_URL_MAX]);
/* May a secret be sent there: https, or http to this machine itself. */
bool cb_url_is_safe(const char *url);
bool cb_url_is_loopback(const char *url);
/* Safe, or one of the addresses that hand out keys to containers. */
bool cb_url_is_container(const char *url);
/* In place: slashes behind are cut off. */
void cb_url_trim(char *url);
/* http:// is put in front of "host:port". Errors: CB_USAGE, naming `what`. */
CB_MUST_USE cb_code cb_url_endpoint(const char *what, const char *text, char *out, size_t size,
                                    cb_error *err);

/* ---- json.c --------------------------------------------------------------------------------- */

/* `name` for messages: a file's path, or who answered. Errors: CB_USAGE with the line. */
CB_MUST_USE cb_code cb_json_parse(const char *name, cb_bytes text, json_t **out, cb_error *err);
void cb_json_wipe(json_t **json); /* for CB_CLEANUP: wipes all strings and frees */
/* NULL unless there is a text that is not empty. */
const char *cb_json_text(const json_t *object, const char *field);
CB_MUST_USE cb_code cb_json_need(const char *name, const json_t *object, const char *field,
                                 const char **out, cb_error *err);
/* A number, or a text of digits, as some services write it. */
CB_MUST_USE bool cb_json_number(const json_t *object, const char *field, int64_t *out);
/* "access_token" and "expires_in" (seconds from `now_us`) of a token service's answer. */
CB_MUST_USE cb_code cb_json_bearer(const char *who, const json_t *answer, int64_t now_us,
                                   char out[CB_AUTH_TOKEN_MAX], cb_grant *grant, cb_error *err);

#endif
