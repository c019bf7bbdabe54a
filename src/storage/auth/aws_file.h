/*
 * aws_file.h - the two files that all of Amazon's tools share: ~/.aws/credentials, ~/.aws/config.
 *
 *     [default]                   in config: [default] or [profile NAME], [services NAME]
 *     aws_access_key_id = AKIA…   names in any case; '#' or ';' begins a comment, at the start of a
 *     s3 =                        line or behind a blank
 *       endpoint_url = http://…   lines further in than the name above them belong to it
 *
 * The last of several equal names counts. Messages never quote a line: it may be a secret.
 */
#ifndef CB_STORAGE_AUTH_AWS_FILE_H
#define CB_STORAGE_AUTH_AWS_FILE_H

#include "storage/auth/auth_internal.h"

typedef enum cb_aws_section { CB_AWS_PROFILE, CB_AWS_SERVICES, CB_AWS_OTHER } cb_aws_section;

typedef struct cb_aws_line {
    cb_aws_section kind;
    bool is_marked;    /* [profile x], not [x]: config's [profile default] wins over [default] */
    const char *name;  /* of the section */
    const char *key;   /* NULL: the head of the section */
    const char *below; /* name in a block of its own below `key`; NULL: none */
    const char *value;
    unsigned line; /* from 1 */
} cb_aws_line;

typedef struct cb_aws_file {
    const char *path; /* borrowed */
    cb_aws_line *lines;
    size_t count, capacity;
} cb_aws_file;

/* Texts live in `vault`. Errors: CB_USAGE with path and line, CB_NO_MEMORY. */
CB_MUST_USE cb_code cb_aws_file_parse(const char *path, cb_bytes text, bool is_credentials,
                                      cb_vault *vault, cb_aws_file *out, cb_error *err);
void cb_aws_file_free(cb_aws_file *file);

bool cb_aws_file_has(const cb_aws_file *file, cb_aws_section kind, const char *name);
/* NULL when it is not there, or empty; `below` may be NULL. */
const char *cb_aws_file_get(const cb_aws_file *file, cb_aws_section kind, const char *name,
                            const char *key, const char *below);

#endif
