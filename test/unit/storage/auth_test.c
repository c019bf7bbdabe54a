/*
 * Amazon's credentials, and what all clouds share. Services are played on loopback: the real ones
 * answer only on their own machines.
 */
#include "auth_kit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "storage/auth/aws_internal.h"
#include "unit.h"

#define MINUTE INT64_C(60000000)

static const cb_place no_place;

static cb_aws *make(test_kit *kit, const cb_place *place)
{
    cb_error err = {0};
    cb_aws *aws;

    assert_ok(cb_aws_new(kit->ctx, kit->http, place, &aws, &err));
    return aws;
}

/* The keys and their source in one text: "id/secret/token from source". */
static const char *keys_of(test_kit *kit, const cb_place *place)
{
    static char text[1024];
    cb_aws *aws = make(kit, place);
    char source[CB_AUTH_SOURCE_MAX];
    cb_aws_keys keys;
    cb_error err = {0};

    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    cb_aws_source(aws, source);
    snprintf(text, sizeof(text), "%.100s/%.100s/%.100s%s from %s", keys.access_key, keys.secret,
             keys.token, keys.anonymous ? " anonymous" : "", source);
    assert_null(strstr(source, "S3CRET"));
    cb_aws_free(aws);
    return text;
}

/* New or the first get must fail so; returns the message and hint. */
static const char *failure_of(test_kit *kit, const cb_place *place, cb_code wanted)
{
    static char text[CB_MESSAGE_MAX + CB_HINT_MAX + 8];
    cb_aws_keys keys;
    cb_error err = {0};
    cb_aws *aws;
    cb_code code = cb_aws_new(kit->ctx, kit->http, place, &aws, &err);

    if (code == CB_OK)
        code = cb_aws_keys_get(aws, false, &keys, &err);
    cb_aws_free(aws);
    snprintf(text, sizeof(text), "%s | %s", err.message, err.hint);
    if (code != wanted)
        fail_msg("%s instead of %s: %s", cb_code_name(code), cb_code_name(wanted), text);
    kit_check_silent(&err);
    return text;
}

#define assert_says(text, part)                                                                    \
    do {                                                                                           \
        const char *text_ = (text);                                                                \
        if (strstr(text_, (part)) == NULL)                                                         \
            fail_msg("'%s' is not in: %s", (part), text_);                                         \
    } while (0)

/* ---- leases --------------------------------------------------------------------------------- */

typedef struct fake_issuer {
    test_kit *kit;
    atomic_uint calls;
    atomic_bool fails, is_slow, is_fixed;
    int64_t lifetime_us;
    unsigned value; /* of fixed ones */
} fake_issuer;

static cb_code issue(void *arg, void *value, cb_grant *grant, cb_error *err)
{
    fake_issuer *issuer = arg;
    unsigned number = atomic_fetch_add(&issuer->calls, 1) + 1;

    if (issuer->is_slow)
        usleep(100000);
    if (issuer->fails)
        return cb_fail(err, CB_RETRY, "the issuer is away");
    if (issuer->is_fixed)
        number = issuer->value;
    memcpy(value, &number, sizeof(number));
    grant->is_fixed = issuer->is_fixed;
    grant->expires_us = issuer->lifetime_us == 0
                            ? CB_LEASE_FOREVER
                            : cb_now_us(issuer->kit->ctx) + issuer->lifetime_us;
    snprintf(grant->source, sizeof(grant->source), "issuer");
    return CB_OK;
}

static unsigned value_of(cb_lease *lease, bool refused)
{
    unsigned value = 0;
    cb_error err = {0};

    assert_ok(cb_lease_get(lease, refused, &value, &err));
    return value;
}

static void test_a_lease_is_renewed_before_its_end(void **state)
{
    fake_issuer issuer = {.lifetime_us = 60 * MINUTE};
    cb_error err = {0};
    cb_lease *lease;
    unsigned value;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    issuer.kit = &kit;
    assert_ok(cb_lease_new(kit.ctx, sizeof(value), issue, &issuer, &lease, &err));
    assert_int_equal(value_of(lease, false), 1);
    test_time_pass(&kit.hooks, 55 * MINUTE);
    assert_int_equal(value_of(lease, false), 1);
    test_time_pass(&kit.hooks, 1);
    assert_int_equal(value_of(lease, false), 2);
    assert_int_equal(value_of(lease, false), 2);

    /* A failure before the end harms nobody, and is not repeated at each call. */
    issuer.fails = true;
    test_time_pass(&kit.hooks, 56 * MINUTE);
    for (int i = 0; i < 5; i++)
        assert_int_equal(value_of(lease, false), 2);
    assert_int_equal(issuer.calls, 3);
    test_time_pass(&kit.hooks, 11 * 1000000);
    assert_int_equal(value_of(lease, false), 2);
    assert_int_equal(issuer.calls, 4);
    test_time_pass(&kit.hooks, 5 * MINUTE);
    assert_code(CB_RETRY, cb_lease_get(lease, false, &value, &err));
    issuer.fails = false;
    assert_int_equal(value_of(lease, false), 6);
    cb_lease_free(lease);
    kit_stop(&kit);
}

static void test_a_refused_lease_is_renewed_once(void **state)
{
    fake_issuer issuer = {.lifetime_us = 60 * MINUTE};
    cb_error err = {0};
    cb_lease *lease;
    unsigned value;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    issuer.kit = &kit;
    assert_ok(cb_lease_new(kit.ctx, sizeof(value), issue, &issuer, &lease, &err));
    assert_int_equal(value_of(lease, false), 1);
    assert_int_equal(value_of(lease, true), 2);
    assert_int_equal(value_of(lease, true), 2); /* of another thread, about the first */
    test_time_pass(&kit.hooks, MINUTE);
    assert_int_equal(value_of(lease, true), 3);
    cb_lease_free(lease);

    /* What only repeats itself says so. */
    issuer.is_fixed = true;
    issuer.value = 7;
    assert_ok(cb_lease_new(kit.ctx, sizeof(value), issue, &issuer, &lease, &err));
    assert_int_equal(value_of(lease, false), 7);
    assert_code(CB_DENIED, cb_lease_get(lease, true, &value, &err));
    assert_says(err.hint, "The temporary credentials in issuer expired");
    issuer.value = 8; /* somebody has written newer ones */
    assert_int_equal(value_of(lease, true), 8);
    test_time_pass(&kit.hooks, 60 * MINUTE);
    issuer.lifetime_us = -1;
    assert_code(CB_DENIED, cb_lease_get(lease, false, &value, &err));
    cb_lease_free(lease);
    kit_stop(&kit);
}

typedef struct lease_caller {
    cb_lease *lease;
    bool refused;
    unsigned value;
    cb_code code;
    pthread_t thread;
} lease_caller;

static void *call(void *arg)
{
    lease_caller *caller = arg;
    cb_error err = {0};

    caller->code = cb_lease_get(caller->lease, caller->refused, &caller->value, &err);
    return NULL;
}

static void call_from_eight(cb_lease *lease, bool refused, lease_caller callers[8])
{
    for (int i = 0; i < 8; i++) {
        callers[i] = (lease_caller){.lease = lease, .refused = refused};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
    }
    for (int i = 0; i < 8; i++)
        pthread_join(callers[i].thread, NULL);
}

static void test_one_of_eight_threads_renews(void **state)
{
    fake_issuer issuer = {.lifetime_us = 60 * MINUTE, .is_slow = true};
    lease_caller callers[8];
    cb_error err = {0};
    cb_lease *lease;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    issuer.kit = &kit;
    assert_ok(cb_lease_new(kit.ctx, sizeof(unsigned), issue, &issuer, &lease, &err));
    call_from_eight(lease, false, callers);
    for (int i = 0; i < 8; i++)
        assert_true(callers[i].code == CB_OK && callers[i].value == 1);
    assert_int_equal(issuer.calls, 1);

    call_from_eight(lease, true, callers);
    for (int i = 0; i < 8; i++)
        assert_true(callers[i].code == CB_OK && callers[i].value == 2);
    assert_int_equal(issuer.calls, 2);

    /* Near the end the others go on with what they have. */
    test_time_pass(&kit.hooks, 58 * MINUTE);
    call_from_eight(lease, false, callers);
    for (int i = 0; i < 8; i++)
        assert_true(callers[i].code == CB_OK && callers[i].value >= 2);
    assert_int_equal(issuer.calls, 3);
    assert_int_equal(value_of(lease, false), 3);

    /* A failure is one failure, told to all who waited for it. */
    issuer.fails = true;
    test_time_pass(&kit.hooks, 120 * MINUTE);
    call_from_eight(lease, false, callers);
    for (int i = 0; i < 8; i++)
        assert_int_equal(callers[i].code, CB_RETRY);
    assert_in_range(issuer.calls, 4, 5); /* one may come too late to wait */
    cb_lease_free(lease);
    kit_stop(&kit);
}

/* ---- files and addresses -------------------------------------------------------------------- */

static void test_files_are_read_as_the_other_tools_read_them(void **state)
{
    static const char text[] = "\xef\xbb\xbf# a comment\r\n"
                               "[ default ] ; another\n"
                               "Region = eu-west-1   # and one more\n"
                               "region=eu-west-2\n"
                               "empty =\n"
                               "[profile default]\n"
                               "region = eu-central-1\n"
                               "[default]\n"
                               "region = us-east-2\n"
                               "[profile \"a b\"]\n"
                               "  key = a=b#c\n"
                               "  s3 =\n"
                               "    endpoint_url = http://x\n"
                               "    other = 1\n"
                               "  long = one\n"
                               "     two\n"
                               "  after = yes\n"
                               "[services lab]\n"
                               "s3 =\n"
                               "\tendpoint_url = http://y\n"
                               "[stranger]\n"
                               "region = no";
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    cb_error err = {0};
    cb_aws_file file;

    (void)state;
    assert_ok(cb_aws_file_parse("config", cb_bytes_of(text, sizeof(text) - 1), false, &vault, &file,
                                &err));
#define VALUE(kind, name, key, below) cb_aws_file_get(&file, kind, name, key, below)
    assert_string_equal(VALUE(CB_AWS_PROFILE, "default", "region", NULL), "eu-central-1");
    assert_null(VALUE(CB_AWS_PROFILE, "default", "empty", NULL));
    assert_string_equal(VALUE(CB_AWS_PROFILE, "a b", "key", NULL), "a=b#c");
    assert_string_equal(VALUE(CB_AWS_PROFILE, "a b", "s3", "endpoint_url"), "http://x");
    assert_null(VALUE(CB_AWS_PROFILE, "a b", "endpoint_url", NULL));
    assert_string_equal(VALUE(CB_AWS_PROFILE, "a b", "long", NULL), "one");
    assert_string_equal(VALUE(CB_AWS_PROFILE, "a b", "after", NULL), "yes");
    assert_string_equal(VALUE(CB_AWS_SERVICES, "lab", "s3", "endpoint_url"), "http://y");
    assert_false(cb_aws_file_has(&file, CB_AWS_PROFILE, "stranger"));
#undef VALUE
    cb_aws_file_free(&file);
}

static void test_broken_files_name_their_line(void **state)
{
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"[a]\nx = 1\nS3CRET\n", "line 3 "},           {"S3CRET = 1\n", "line 1 stands before"},
        {"[a]\n\n[b\nx = S3CRET", "line 3 has a '['"}, {"[a] S3CRET\n", "line 1 has something"},
        {"[a]\n= S3CRET\n", "line 2 has nothing"},
    };
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    cb_error err = {0};
    cb_aws_file file;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        assert_code(CB_USAGE, cb_aws_file_parse("some/file",
                                                cb_bytes_of(cases[i].text, strlen(cases[i].text)),
                                                true, &vault, &file, &err));
        assert_says(err.message, "'some/file'");
        assert_says(err.message, cases[i].line);
        kit_check_silent(&err);
        assert_null(file.lines);
    }
    assert_code(CB_USAGE,
                cb_aws_file_parse("f", cb_bytes_of("[a]\nx=\0y", 8), true, &vault, &file, &err));
}

static void test_secrets_go_only_where_they_are_safe(void **state)
{
    static const struct {
        const char *url;
        bool safe, container;
    } cases[] = {
        {"https://example.com/x", true, true},
        {"http://example.com/x", false, false},
        {"http://127.0.0.1:80/", true, true},
        {"http://127.9.9.9/", true, true},
        {"http://localhost:1/", true, true},
        {"http://[::1]:1/", true, true},
        {"http://localhost.example.com/", false, false},
        {"http://127.0.0.1@example.com/", false, false},
        {"http://127.0.0.1.example.com/", false, false},
        {"http://169.254.170.2/v2", false, true},
        {"http://169.254.170.23/v1", false, true},
        {"http://[fd00:ec2::23]/v1", false, true},
        {"http://169.254.170.2@10.0.0.1/v2", false, false},
        {"http://169.254.169.254/", false, false},
        {"ftp://127.0.0.1/", false, false},
        {"nothing", false, false},
    };
    char shown[CB_AUTH_URL_MAX];

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        if (cb_url_is_safe(cases[i].url) != cases[i].safe ||
            cb_url_is_container(cases[i].url) != cases[i].container)
            fail_msg("%s", cases[i].url);
    }
    cb_url_shown("https://me:S3CRET@host:1/a/b/?q=S3CRET#S3CRET", shown);
    assert_string_equal(shown, "https://host:1/a/b");
}

static void test_times_of_services_are_understood(void **state)
{
    static const char *const same[] = {
        "2026-11-21T12:00:00Z",
        "2026-11-21T12:00:00",
        "2026-11-21T13:00:00+01:00",
        "2026-11-21T12:00:00.000Z",
        "2026-11-21T12:00:00.000000000Z",
        "2026-11-21 12:00:00Z",
        "2026-11-21T12:00:00.0000000+00:00",
    };
    int64_t time;

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(same); i++) {
        if (!cb_auth_time(same[i], &time) || time != KIT_NOW)
            fail_msg("%s: %lld", same[i], (long long)time);
    }
    assert_false(cb_auth_time("", &time));
    assert_false(cb_auth_time("2026-11-21", &time));
    assert_false(cb_auth_time("tomorrow at noon", &time));
    assert_false(
        cb_auth_time("2026-11-21T12:00:00Z2026-11-21T12:00:00Z2026-11-21T12:00:00Z2026-11", &time));
}

/* ---- environment and profiles --------------------------------------------------------------- */

static void test_the_environment_comes_first(void **state)
{
    cb_aws_keys keys;
    cb_error err = {0};
    cb_aws *aws;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    kit_file(&kit, ".aws/credentials",
             "[default]\naws_access_key_id = FILE\naws_secret_access_key = S3CRETf\n");
    assert_string_equal(keys_of(&kit, &no_place),
                        "FILE/S3CRETf/ from profile 'default' in ~/.aws/credentials");
    kit_set("AWS_ACCESS_KEY_ID", "ENV");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "AWS_SECRET_ACCESS_KEY is not");
    kit_set("AWS_SECRET_ACCESS_KEY", "S3CRETe");
    kit_set("AWS_REGION", "eu-north-1");
    assert_string_equal(keys_of(&kit, &no_place), "ENV/S3CRETe/ from environment");

    /* Temporary ones end, and nobody can renew them. */
    kit_set("AWS_SESSION_TOKEN", "S3CRETt");
    aws = make(&kit, &no_place);
    assert_string_equal(cb_aws_region(aws), "eu-north-1");
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    assert_string_equal(keys.token, "S3CRETt");
    assert_code(CB_DENIED, cb_aws_keys_get(aws, true, &keys, &err));
    assert_says(err.hint, "The temporary credentials in the environment expired");
    kit_check_silent(&err);
    cb_aws_free(aws);

    kit_set("AWS_CREDENTIAL_EXPIRATION", "2026-11-21T12:30:00Z");
    aws = make(&kit, &no_place);
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    test_time_pass(&kit.hooks, 31 * MINUTE);
    assert_code(CB_DENIED, cb_aws_keys_get(aws, false, &keys, &err));
    cb_aws_free(aws);

    kit_set("AWS_NO_SIGN_REQUEST", "YES");
    assert_string_equal(keys_of(&kit, &no_place),
                        "// anonymous from none: requests are not signed");
    kit_stop(&kit);
}

static void test_profiles_of_both_files(void **state)
{
    cb_place place = {.profile = "prod"};
    cb_aws *aws;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    kit_file(&kit, ".aws/credentials",
             "[prod]\naws_access_key_id = P\naws_secret_access_key = S3CRETp\n"
             "aws_session_token = S3CRETs\n[half]\naws_access_key_id = H\n");
    kit_file(&kit, ".aws/config",
             "[profile prod]\nregion = eu-west-3\nservices = lab\nendpoint_url = http://all:1\n"
             "[profile conf]\naws_access_key_id = C\naws_secret_access_key = S3CRETc\n"
             "[services lab]\ns3 =\n  endpoint_url = http://127.0.0.1:9/\n");
    kit_set("AWS_ACCESS_KEY_ID", "ENV");
    kit_set("AWS_SECRET_ACCESS_KEY", "S3CRETe");
    /* An address that names a profile means it, whatever the environment says. */
    assert_string_equal(keys_of(&kit, &place),
                        "P/S3CRETp/S3CRETs from profile 'prod' in ~/.aws/credentials");
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    kit_set("AWS_PROFILE", "conf");
    assert_string_equal(keys_of(&kit, &no_place),
                        "C/S3CRETc/ from profile 'conf' in ~/.aws/config");
    kit_set("AWS_PROFILE", "half");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "only one of");
    kit_set("AWS_PROFILE", "nobody");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "no profile 'nobody'");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "AWS_PROFILE names it");

    kit_set("AWS_PROFILE", "prod");
    aws = make(&kit, &no_place);
    assert_string_equal(cb_aws_region(aws), "eu-west-3");
    assert_string_equal(cb_aws_endpoint(aws), "http://127.0.0.1:9");
    cb_aws_free(aws);
    kit_set("AWS_ENDPOINT_URL", "https://env/");
    aws = make(&kit, &no_place);
    assert_string_equal(cb_aws_endpoint(aws), "https://env");
    cb_aws_free(aws);
    kit_set("AWS_ENDPOINT_URL_S3", "https://s3env");
    kit_set("AWS_DEFAULT_REGION", "sa-east-1");
    aws = make(&kit, &no_place);
    assert_string_equal(cb_aws_endpoint(aws), "https://s3env");
    assert_string_equal(cb_aws_region(aws), "sa-east-1");
    cb_aws_free(aws);
    kit_set("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true");
    aws = make(&kit, &no_place);
    assert_string_equal(cb_aws_endpoint(aws), "");
    cb_aws_free(aws);
    kit_set("AWS_REGION", "x.example.com/");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "not the name of a region");
    kit_stop(&kit);
}

static void test_a_key_id_finds_its_secret(void **state)
{
    cb_place place = {.access_key_id = "AKIA2"};
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    kit_file(&kit, ".aws/credentials",
             "[one]\naws_access_key_id = AKIA1\naws_secret_access_key = S3CRET1\n"
             "[two]\naws_access_key_id = AKIA2\naws_secret_access_key = S3CRET2\n");
    assert_string_equal(keys_of(&kit, &place),
                        "AKIA2/S3CRET2/ from profile 'two' in ~/.aws/credentials");
    kit_set("AWS_SECRET_ACCESS_KEY", "S3CRETe");
    assert_string_equal(keys_of(&kit, &place), "AKIA2/S3CRETe/ from environment");
    kit_set("AWS_ACCESS_KEY_ID", "AKIA9"); /* then that secret is another's */
    assert_string_equal(keys_of(&kit, &place),
                        "AKIA2/S3CRET2/ from profile 'two' in ~/.aws/credentials");
    snprintf(place.access_key_id, sizeof(place.access_key_id), "AKIA3");
    assert_says(failure_of(&kit, &place, CB_DENIED), "no secret for the access key id");
    kit_stop(&kit);
}

static void test_nothing_anywhere_says_where_was_looked(void **state)
{
    const char *text;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    text = failure_of(&kit, &no_place, CB_DENIED);
    assert_says(text, "no credentials for S3 were found");
    assert_says(text, "AWS_ACCESS_KEY_ID");
    assert_says(text, "/.aws/credentials'");
    assert_says(text, "AWS_EC2_METADATA_DISABLED is set");
    kit_file(&kit, ".aws/config", "[default]\nregion\n");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "/.aws/config' line 2");
    kit_stop(&kit);
}

/* ---- roles ---------------------------------------------------------------------------------- */

#define STS_KEYS(id)                                                                               \
    "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>"   \
    "<Credentials><AccessKeyId>" id                                                                \
    "</AccessKeyId>\n<SecretAccessKey>S3CRET&amp;x</SecretAccessKey>"                              \
    "<SessionToken>S3CRETtoken==</SessionToken><Expiration>2026-11-21T13:00:00Z</Expiration>"      \
    "</Credentials></AssumeRoleResult></AssumeRoleResponse>"

static void test_a_role_is_assumed_with_the_keys_of_its_source(void **state)
{
    static const kit_answer answers[] = {{"POST / ", 200, STS_KEYS("ROLE")}, {0}};
    static const kit_answer denied[] = {
        {"POST / ", 403,
         "<ErrorResponse><Error><Code>AccessDenied</Code><Message>S3CRET</Message>"
         "</Error></ErrorResponse>"},
        {0}};
    cb_place place = {.profile = "role", .region = "eu-west-1"};
    const char *request;
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("AWS_ENDPOINT_URL_STS", "%s", kit.url);
    kit_file(&kit, ".aws/credentials",
             "[base]\naws_access_key_id = BASE\naws_secret_access_key = S3CRETb\n"
             "[role]\nrole_arn = arn:aws:iam::1:role/backup\nsource_profile = base\n"
             "external_id = e x\nduration_seconds = 900\n"
             "[loop]\nrole_arn = arn:aws:iam::1:role/l\nsource_profile = loop2\n"
             "[loop2]\nrole_arn = arn:aws:iam::1:role/l\nsource_profile = loop\n"
             "[self]\nrole_arn = arn:aws:iam::1:role/s\nsource_profile = self\n"
             "aws_access_key_id = SELF\naws_secret_access_key = S3CRETs\n"
             "[env]\nrole_arn = arn:aws:iam::1:role/e\ncredential_source = Environment\n"
             "[mfa]\nrole_arn = arn:aws:iam::1:role/e\nsource_profile = base\nmfa_serial = x\n"
             "[bad]\nrole_arn = arn:aws:iam::1:role/e\n"
             "[sso]\nsso_session = x\n");
    assert_string_equal(
        keys_of(&kit, &place),
        "ROLE/S3CRET&x/S3CRETtoken== from role 'arn:aws:iam::1:role/backup' of profile 'role'");
    request = kit_seen(&kit, 0);
    assert_says(request, "Authorization: AWS4-HMAC-SHA256 Credential=BASE/");
    assert_says(request, "/eu-west-1/sts/aws4_request");
    assert_says(request, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1");
    assert_says(request, "&ExternalId=e%20x");
    assert_says(request, "&DurationSeconds=900");
    assert_null(strstr(request, "S3CRET"));

    kit_set("AWS_PROFILE", "self");
    assert_says(keys_of(&kit, &no_place), "ROLE/");
    assert_says(kit_seen(&kit, 1), "Credential=SELF/");
    kit_set("AWS_PROFILE", "loop");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "name one another");
    snprintf(place.profile, sizeof(place.profile), "env");
    assert_says(failure_of(&kit, &place, CB_DENIED), "has no keys");
    kit_set("AWS_ACCESS_KEY_ID", "ENV");
    kit_set("AWS_SECRET_ACCESS_KEY", "S3CRETe");
    kit_set("AWS_SESSION_TOKEN", "S3CRETt");
    assert_says(keys_of(&kit, &place), "ROLE/");
    assert_says(kit_seen(&kit, 2), "Credential=ENV/");
    assert_says(kit_seen(&kit, 2), "x-amz-security-token: S3CRETt");
    snprintf(place.profile, sizeof(place.profile), "mfa");
    assert_says(failure_of(&kit, &place, CB_UNSUPPORTED), "second factor");
    snprintf(place.profile, sizeof(place.profile), "bad");
    assert_says(failure_of(&kit, &place, CB_USAGE), "neither source_profile");
    snprintf(place.profile, sizeof(place.profile), "sso");
    assert_says(failure_of(&kit, &place, CB_UNSUPPORTED), "export-credentials --profile sso");

    kit_answers(&kit, denied);
    snprintf(place.profile, sizeof(place.profile), "role");
    assert_says(failure_of(&kit, &place, CB_DENIED), "answered 403 AccessDenied");
    kit_stop(&kit);
}

static void test_web_identity_reads_its_token_anew(void **state)
{
    static const kit_answer answers[] = {{"POST / ", 200, STS_KEYS("WEB")}, {0}};
    static const kit_answer next[] = {{"POST / ", 200, STS_KEYS("WEB2")}, {0}};
    cb_aws_keys keys;
    cb_error err = {0};
    cb_aws *aws;
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("AWS_ENDPOINT_URL_STS", "%s", kit.url);
    kit_set("AWS_WEB_IDENTITY_TOKEN_FILE", "%s", kit_file(&kit, "token", "S3CRETone\n"));
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "AWS_ROLE_ARN is not");
    kit_set("AWS_ROLE_ARN", "arn:aws:iam::1:role/web");
    kit_set("AWS_ROLE_SESSION_NAME", "me");
    aws = make(&kit, &no_place);
    assert_int_equal(kit_count(&kit), 0); /* nothing is asked before it is needed */
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    assert_string_equal(keys.access_key, "WEB");
    assert_null(strstr(kit_seen(&kit, 0), "Authorization:"));
    assert_says(kit_seen(&kit, 0), "Action=AssumeRoleWithWebIdentity");
    assert_says(kit_seen(&kit, 0), "&RoleSessionName=me");
    assert_says(kit_seen(&kit, 0), "&WebIdentityToken=S3CRETone");

    kit_answers(&kit, next);
    kit_file(&kit, "token", "S3CRETtwo");
    test_time_pass(&kit.hooks, 54 * MINUTE);
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    assert_string_equal(keys.access_key, "WEB");
    test_time_pass(&kit.hooks, 2 * MINUTE);
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    assert_string_equal(keys.access_key, "WEB2");
    assert_says(kit_seen(&kit, 1), "&WebIdentityToken=S3CRETtwo");
    assert_int_equal(kit_count(&kit), 2);
    cb_aws_free(aws);

    kit_file(&kit, "token", "\n");
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "holds no token");
    kit_set("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token");
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "/nonexistent/token");
    kit_stop(&kit);
}

static void test_answers_of_sts(void **state)
{
    static const char bomb[] = "<!DOCTYPE x [<!ENTITY a \"ENTITY\">]>" STS_KEYS("&a;");
    static const char twice[] = "<x><AccessKeyId>a</AccessKeyId><AccessKeyId>b</AccessKeyId></x>";
    cb_aws_keys keys = {0};
    int64_t expires = 0;
    char reason[64];

    (void)state;
    assert_true(cb_aws_sts_parse(cb_bytes_of(STS_KEYS("A"), sizeof(STS_KEYS("A")) - 1), &keys,
                                 &expires, reason));
    assert_string_equal(keys.secret, "S3CRET&x");
    assert_true(expires == KIT_NOW + 60 * MINUTE);
    memset(&keys, 0, sizeof(keys));
    assert_false(cb_aws_sts_parse(cb_bytes_of(bomb, sizeof(bomb) - 1), &keys, &expires, reason));
    memset(&keys, 0, sizeof(keys));
    assert_false(cb_aws_sts_parse(cb_bytes_of(twice, sizeof(twice) - 1), &keys, &expires, reason));
    memset(&keys, 0, sizeof(keys));
    assert_false(cb_aws_sts_parse(cb_bytes_of("<x", 2), &keys, &expires, reason));
    assert_false(cb_aws_sts_parse(cb_bytes_of(NULL, 0), &keys, &expires, reason));
}

/* ---- machines ------------------------------------------------------------------------------- */

static void test_a_command_gives_keys(void **state)
{
    cb_aws_keys keys;
    cb_error err = {0};
    cb_aws *aws;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    kit_file(&kit, "answer.json",
             "{\"Version\":1,\"AccessKeyId\":\"CMD\",\"SecretAccessKey\":\"S3CRETc\","
             "\"SessionToken\":\"S3CRETt\",\"Expiration\":\"2026-11-21T13:00:00+00:00\"}");
    kit_file(&kit, ".aws/config",
             "[default]\ncredential_process = cat %s/answer.json; echo x >> %s/runs\n", kit.folder,
             kit.folder);
    assert_string_equal(keys_of(&kit, &no_place),
                        "CMD/S3CRETc/S3CRETt from profile 'default' in credential_process");
    aws = make(&kit, &no_place);
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    assert_ok(cb_aws_keys_get(aws, true, &keys, &err)); /* it can be asked again */
    cb_aws_free(aws);
    kit_file(&kit, "answer.json", "{\"Version\":1,\"AccessKeyId\":\"CMD\",S3CRET");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "line 1 is not JSON");
    kit_file(&kit, "answer.json", "{\"Version\":2}");
    assert_says(failure_of(&kit, &no_place, CB_UNSUPPORTED), "Version 1");
    kit_file(&kit, ".aws/config", "[default]\ncredential_process = echo S3CRET; exit 3\n");
    assert_says(failure_of(&kit, &no_place, CB_IO), "credential_process of profile 'default': a "
                                                    "command ended with status 3");
    kit_stop(&kit);
}

#define MACHINE_KEYS(id)                                                                           \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"" id "\",\"SecretAccessKey\":\"S3CRETm\","            \
    "\"Token\":\"S3CRETt\",\"Expiration\":\"2026-11-21T18:00:00Z\"}"

static void test_a_container_is_asked(void **state)
{
    static const kit_answer answers[] = {{"GET /v2/keys?id=1 ", 200, MACHINE_KEYS("BOX")}, {0}};
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s/v2/keys?id=1", kit.url);
    kit_set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "S3CRETplain");
    assert_string_equal(keys_of(&kit, &no_place), "BOX/S3CRETm/S3CRETt from container");
    assert_says(kit_seen(&kit, 0), "Authorization: S3CRETplain\r\n");
    kit_set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "%s", kit_file(&kit, "t", "S3CRETfile\n"));
    assert_says(keys_of(&kit, &no_place), "BOX/");
    assert_says(kit_seen(&kit, 1), "Authorization: S3CRETfile\r\n");
    kit_file(&kit, "t", "S3CRET\nX-Evil: 1");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "control character");
    kit_file(&kit, "t", "S3CRETfile\n");
    kit_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "%s/v2/nothing?id=S3CRET", kit.url);
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "/v2/nothing answered 404");
    kit_set("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/S3CRET");
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "a server that is not asked");
    assert_int_equal(kit_count(&kit), 3);
    kit_stop(&kit);
}

static void test_an_instance_is_asked(void **state)
{
    static const kit_answer answers[] = {
        {"PUT /latest/api/token ", 200, "S3CRETsession"},
        {"GET /latest/meta-data/iam/security-credentials/ ", 200, "backup\n"},
        {"GET /latest/meta-data/iam/security-credentials/backup ", 200, MACHINE_KEYS("IMDS")},
        {0}};
    static const kit_answer no_role[] = {{"PUT /latest/api/token ", 200, "S3CRETsession"}, {0}};
    cb_aws_keys keys;
    cb_error err = {0};
    cb_aws *aws;
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "%s/", kit.url);
    kit_set("http_proxy", "http://127.0.0.1:1"); /* no proxy sees what is asked there */
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "AWS_EC2_METADATA_DISABLED");
    assert_int_equal(kit_count(&kit), 0);
    unsetenv("AWS_EC2_METADATA_DISABLED");
    assert_string_equal(keys_of(&kit, &no_place),
                        "IMDS/S3CRETm/S3CRETt from instance role 'backup'");
    assert_says(kit_seen(&kit, 0), "X-aws-ec2-metadata-token-ttl-seconds: 21600\r\n");
    assert_says(kit_seen(&kit, 1), "X-aws-ec2-metadata-token: S3CRETsession\r\n");
    assert_says(kit_seen(&kit, 2), "X-aws-ec2-metadata-token: S3CRETsession\r\n");

    aws = make(&kit, &no_place);
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    kit_answers(&kit, no_role);
    test_time_pass(&kit.hooks, 356 * MINUTE);
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err)); /* the old ones are still good */
    test_time_pass(&kit.hooks, 5 * MINUTE);
    assert_code(CB_RETRY, cb_aws_keys_get(aws, false, &keys, &err));
    assert_says(err.message, "gave no new keys");
    cb_aws_free(aws);
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "the instance has no role");
    kit_set("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "(no answer)");
    kit_stop(&kit);
}

/* ---- a real server: CB_TEST_S3 names one, as the store tests have it --------------------------
 */

static char *real_endpoint, *real_id, *real_secret;

static void keep_real_server(void)
{
    const char *address = getenv("CB_TEST_S3");
    const char *endpoint = address != NULL ? strstr(address, "endpoint=") : NULL;

    if (endpoint == NULL || getenv("AWS_ACCESS_KEY_ID") == NULL ||
        getenv("AWS_SECRET_ACCESS_KEY") == NULL)
        return;
    real_endpoint = strndup(endpoint + 9, strcspn(endpoint + 9, "&"));
    if (real_endpoint == NULL || !cb_url_decode(real_endpoint))
        exit(99);
    real_id = strdup(getenv("AWS_ACCESS_KEY_ID"));
    real_secret = strdup(getenv("AWS_SECRET_ACCESS_KEY"));
}

static void test_a_real_server_gives_a_role(void **state)
{
    cb_aws_keys keys;
    cb_aws_keys other;
    cb_error err = {0};
    cb_aws *aws;
    test_kit kit;

    (void)state;
    if (real_endpoint == NULL)
        skip();
    kit_start(&kit, NULL);
    test_hooks_install(&kit.hooks, kit.ctx, (int64_t)time(NULL) * 1000000, 1);
    kit_set("AWS_ENDPOINT_URL_STS", "%s", real_endpoint);
    kit_set("AWS_PROFILE", "role");
    kit_file(&kit, ".aws/credentials",
             "[base]\naws_access_key_id = %s\naws_secret_access_key = %s\n"
             "[role]\nrole_arn = arn:xxx:xxx:xxx:xxxx\nsource_profile = base\n",
             real_id, real_secret);
    aws = make(&kit, &no_place);
    assert_ok(cb_aws_keys_get(aws, false, &keys, &err));
    assert_string_not_equal(keys.access_key, real_id);
    assert_true(strlen(keys.secret) > 8 && strlen(keys.token) > 20);
    assert_ok(cb_aws_keys_get(aws, true, &other, &err));
    assert_string_not_equal(keys.access_key, other.access_key);
    cb_aws_free(aws);

    kit_file(&kit, ".aws/credentials",
             "[base]\naws_access_key_id = %s\naws_secret_access_key = S3CRETwrong\n"
             "[role]\nrole_arn = arn:xxx:xxx:xxx:xxxx\nsource_profile = base\n",
             real_id);
    (void)failure_of(&kit, &no_place, CB_DENIED);
    kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_lease_is_renewed_before_its_end),
        cmocka_unit_test(test_a_refused_lease_is_renewed_once),
        cmocka_unit_test(test_one_of_eight_threads_renews),
        cmocka_unit_test(test_files_are_read_as_the_other_tools_read_them),
        cmocka_unit_test(test_broken_files_name_their_line),
        cmocka_unit_test(test_secrets_go_only_where_they_are_safe),
        cmocka_unit_test(test_times_of_services_are_understood),
        cmocka_unit_test(test_the_environment_comes_first),
        cmocka_unit_test(test_profiles_of_both_files),
        cmocka_unit_test(test_a_key_id_finds_its_secret),
        cmocka_unit_test(test_nothing_anywhere_says_where_was_looked),
        cmocka_unit_test(test_a_role_is_assumed_with_the_keys_of_its_source),
        cmocka_unit_test(test_web_identity_reads_its_token_anew),
        cmocka_unit_test(test_answers_of_sts),
        cmocka_unit_test(test_a_command_gives_keys),
        cmocka_unit_test(test_a_container_is_asked),
        cmocka_unit_test(test_an_instance_is_asked),
        cmocka_unit_test(test_a_real_server_gives_a_role),
    };

    keep_real_server();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
