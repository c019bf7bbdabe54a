/*
 * aws_internal.h - one search for Amazon's keys, and the places that it asks.
 *
 * Files are read anew at each search, since tools rewrite them when they renew; the environment is
 * that of the beginning.
 */
#ifndef CB_STORAGE_AUTH_AWS_INTERNAL_H
#define CB_STORAGE_AUTH_AWS_INTERNAL_H

#include "storage/auth/aws_file.h"

typedef enum cb_aws_variable {
    CB_AWS_ACCESS_KEY_ID,
    CB_AWS_SECRET_ACCESS_KEY,
    CB_AWS_SESSION_TOKEN,
    CB_AWS_CREDENTIAL_EXPIRATION,
    CB_AWS_NO_SIGN_REQUEST,
    CB_AWS_PROFILE_NAME,
    CB_AWS_DEFAULT_PROFILE,
    CB_AWS_SHARED_CREDENTIALS_FILE,
    CB_AWS_CONFIG_FILE,
    CB_AWS_REGION,
    CB_AWS_DEFAULT_REGION,
    CB_AWS_ENDPOINT_URL_S3,
    CB_AWS_ENDPOINT_URL_STS,
    CB_AWS_ENDPOINT_URL,
    CB_AWS_IGNORE_ENDPOINT_URLS,
    CB_AWS_WEB_IDENTITY_TOKEN_FILE,
    CB_AWS_ROLE_ARN,
    CB_AWS_ROLE_SESSION_NAME,
    CB_AWS_CONTAINER_RELATIVE_URI,
    CB_AWS_CONTAINER_FULL_URI,
    CB_AWS_CONTAINER_TOKEN,
    CB_AWS_CONTAINER_TOKEN_FILE,
    CB_AWS_METADATA_DISABLED,
    CB_AWS_METADATA_ENDPOINT,
    CB_AWS_METADATA_MODE,
    CB_AWS_HOME,
    CB_AWS_VARIABLES_END,
} cb_aws_variable;

struct cb_aws {
    cb_ctx *ctx;
    cb_http *http;
    cb_vault vault;
    const char *environment[CB_AWS_VARIABLES_END]; /* NULL: unset or empty */
    const char *credentials_path, *config_path;
    const char *profile;
    bool profile_is_option; /* the address names it: nothing else is asked */
    char access_key_id[256];
    char region[64], endpoint[512];
    char sts_region[64], sts_endpoint[512];
    bool has_instance_role; /* the metadata service has answered before: silence is a fault */
    cb_lease *lease;
};

typedef struct cb_aws_search {
    cb_aws *aws;
    cb_vault vault; /* what the files say */
    cb_aws_file credentials, config;
    char instance[128]; /* why the metadata service gave nothing, for the hint */
} cb_aws_search;

/* Each place: *found false and CB_OK when it has nothing to say. Keys and grant are zeroed before,
   expires_us is CB_LEASE_FOREVER. */

/* aws_profile.c */
CB_MUST_USE cb_code cb_aws_search_begin(cb_aws *aws, cb_aws_search *search, cb_error *err);
void cb_aws_search_end(cb_aws_search *search); /* for CB_CLEANUP */
const char *cb_aws_profile_get(const cb_aws_search *search, const char *profile, const char *key);
/* From [services NAME] of the profile, or the profile itself. */
const char *cb_aws_profile_endpoint(const cb_aws_search *search, const char *profile,
                                    const char *service);
CB_MUST_USE cb_code cb_aws_from_profile(cb_aws_search *search, const char *profile,
                                        cb_aws_keys *keys, cb_grant *grant, bool *found,
                                        cb_error *err);
/* The profile whose key id is the one of the option. */
CB_MUST_USE cb_code cb_aws_from_key_id(cb_aws_search *search, cb_aws_keys *keys, cb_grant *grant,
                                       bool *found, cb_error *err);
CB_MUST_USE cb_code cb_aws_from_environment(cb_aws *aws, cb_aws_keys *keys, cb_grant *grant,
                                            bool *found, cb_error *err);

/* aws_sts.c */
typedef struct cb_aws_role {
    const char *arn;
    const char *session; /* NULL: one is made up */
    const char *external_id, *duration_seconds;
    const char *region; /* NULL: that of aws */
} cb_aws_role;
CB_MUST_USE cb_code cb_aws_assume_role(cb_aws *aws, const cb_aws_role *role,
                                       const cb_aws_keys *with, cb_aws_keys *keys, cb_grant *grant,
                                       cb_error *err);
CB_MUST_USE cb_code cb_aws_web_identity(cb_aws *aws, const cb_aws_role *role,
                                        const char *token_file, cb_aws_keys *keys, cb_grant *grant,
                                        cb_error *err);
/* The XML of an answer. `reason` is the code of an <Error>. False: it is neither. */
CB_MUST_USE bool cb_aws_sts_parse(cb_bytes xml, cb_aws_keys *keys, int64_t *expires_us,
                                  char reason[64]);

/* aws_machine.c */
CB_MUST_USE cb_code cb_aws_from_command(cb_aws *aws, const char *command, const char *profile,
                                        cb_aws_keys *keys, cb_grant *grant, cb_error *err);
CB_MUST_USE cb_code cb_aws_from_container(cb_aws *aws, cb_aws_keys *keys, cb_grant *grant,
                                          bool *found, cb_error *err);
CB_MUST_USE cb_code cb_aws_from_instance(cb_aws_search *search, cb_aws_keys *keys, cb_grant *grant,
                                         bool *found, cb_error *err);
/* An answer with AccessKeyId, SecretAccessKey, `token_field` and Expiration. `who` for messages. */
CB_MUST_USE cb_code cb_aws_keys_of_json(const char *who, const json_t *answer,
                                        const char *token_field, cb_aws_keys *keys,
                                        int64_t *expires_us, cb_error *err);

/* Copies with the checks of cb_auth_copy; `token` may be NULL. */
CB_MUST_USE cb_code cb_aws_keys_set(cb_aws_keys *keys, const char *access_key, const char *secret,
                                    const char *token, cb_error *err);

#endif
