/*
 * Google's credentials. The token that a service account signs is verified with its public key.
 */
#include "auth_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "codec/checksum.h"
#include "codec/mac.h"
#include "storage/auth/gcp_internal.h"
#include "unit.h"

#define MINUTE INT64_C(60000000)

static const cb_place no_place;

static EVP_PKEY *key;
static char *key_json; /* PEM as it stands in a JSON string */

static int make_key(void **state)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long size;
    char *at;

    (void)state;
    key = EVP_RSA_gen(2048);
    PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    size = BIO_get_mem_data(bio, &text);
    at = key_json = calloc(1, (size_t)size * 2 + 1);
    for (long i = 0; i < size; i++) {
        if (text[i] == '\n')
            *at++ = '\\';
        *at++ = text[i] == '\n' ? 'n' : text[i];
    }
    BIO_free(bio);
    return key == NULL;
}

static int free_key(void **state)
{
    (void)state;
    EVP_PKEY_free(key);
    free(key_json);
    return 0;
}

/* The token and its source: "token from source". */
static const char *token_of(test_kit *kit, const cb_place *place)
{
    static char text[1024];
    char token[CB_AUTH_TOKEN_MAX];
    char source[CB_AUTH_SOURCE_MAX];
    cb_error err = {0};
    cb_gcp *gcp;

    assert_ok(cb_gcp_new(kit->ctx, kit->http, place, &gcp, &err));
    assert_ok(cb_gcp_token(gcp, false, token, &err));
    cb_gcp_source(gcp, source);
    snprintf(text, sizeof(text), "%.200s from %s", token, source);
    assert_null(strstr(source, "S3CRET"));
    cb_gcp_free(gcp);
    return text;
}

static const char *failure_of(test_kit *kit, const cb_place *place, cb_code wanted)
{
    static char text[CB_MESSAGE_MAX + CB_HINT_MAX + 8];
    char token[CB_AUTH_TOKEN_MAX];
    cb_error err = {0};
    cb_gcp *gcp;
    cb_code code = cb_gcp_new(kit->ctx, kit->http, place, &gcp, &err);

    if (code == CB_OK)
        code = cb_gcp_token(gcp, false, token, &err);
    cb_gcp_free(gcp);
    snprintf(text, sizeof(text), "%s | %s", err.message, err.hint);
    if (code != wanted)
        fail_msg("%s instead of %s: %s", cb_code_name(code), cb_code_name(wanted), text);
    kit_check_silent(&err);
    if (strstr(text, "PRIVATE KEY") != NULL || strstr(text, "MII") != NULL)
        fail_msg("a key in: %s", text);
    return text;
}

#define assert_says(text, part)                                                                    \
    do {                                                                                           \
        const char *text_ = (text);                                                                \
        if (strstr(text_, (part)) == NULL)                                                         \
            fail_msg("'%s' is not in: %s", (part), text_);                                         \
    } while (0)

/* One part of a JWT as JSON. */
static json_t *part_of(const char *at, size_t size)
{
    uint8_t raw[2048];
    size_t got;
    json_t *json;

    assert_true(cb_unbase64(at, size, raw, sizeof(raw), &got));
    json = json_loadb((const char *)raw, got, 0, NULL);
    assert_non_null(json);
    return json;
}

static void check_jwt(const char *jwt, const char *audience)
{
    const char *dot = strchr(jwt, '.');
    const char *last = strrchr(jwt, '.');
    size_t size =
        strspn(last + 1, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    EVP_MD_CTX *state = EVP_MD_CTX_new();
    uint8_t signature[1024];
    size_t got;
    json_t *json = part_of(jwt, (size_t)(dot - jwt));

    assert_string_equal(json_string_value(json_object_get(json, "alg")), "RS256");
    assert_string_equal(json_string_value(json_object_get(json, "kid")), "key1");
    json_decref(json);
    json = part_of(dot + 1, (size_t)(last - dot - 1));
    assert_string_equal(json_string_value(json_object_get(json, "iss")), "b@p.example");
    assert_string_equal(json_string_value(json_object_get(json, "aud")), audience);
    assert_string_equal(json_string_value(json_object_get(json, "scope")), CB_GCP_SCOPE);
    assert_int_equal(json_integer_value(json_object_get(json, "iat")), KIT_NOW / 1000000);
    assert_int_equal(json_integer_value(json_object_get(json, "exp")), KIT_NOW / 1000000 + 3600);
    json_decref(json);

    assert_true(cb_unbase64(last + 1, size, signature, sizeof(signature), &got));
    assert_int_equal(got, 256);
    assert_int_equal(EVP_DigestVerifyInit(state, NULL, EVP_sha256(), NULL, key), 1);
    assert_int_equal(
        EVP_DigestVerify(state, signature, got, (const uint8_t *)jwt, (size_t)(last - jwt)), 1);
    signature[100] ^= 1;
    assert_int_not_equal(
        EVP_DigestVerify(state, signature, got, (const uint8_t *)jwt, (size_t)(last - jwt)), 1);
    EVP_MD_CTX_free(state);
}

static void test_a_service_account_signs_its_claim(void **state)
{
    static const kit_answer answers[] = {
        {"POST /token ", 200, "{\"access_token\":\"T1\",\"expires_in\":3599,\"token_type\":\"x\"}"},
        {0}};
    static const kit_answer next[] = {
        {"POST /token ", 200, "{\"access_token\":\"T2\",\"expires_in\":3599}"}, {0}};
    static const kit_answer denied[] = {
        {"POST /token ", 400, "{\"error\":\"invalid_grant\",\"error_description\":\"S3CRET\"}"},
        {0}};
    char token[CB_AUTH_TOKEN_MAX];
    char audience[128];
    cb_error err = {0};
    cb_gcp *gcp;
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set(
        "GOOGLE_APPLICATION_CREDENTIALS", "%s",
        kit_file(&kit, "sa.json",
                 "{\"type\":\"service_account\",\"client_email\":\"b@p.example\","
                 "\"private_key_id\":\"key1\",\"private_key\":\"%s\",\"token_uri\":\"%s/token\"}",
                 key_json, kit.url));
    snprintf(audience, sizeof(audience), "%s/token", kit.url);
    assert_ok(cb_gcp_new(kit.ctx, kit.http, &no_place, &gcp, &err));
    assert_string_equal(cb_gcp_endpoint(gcp), "https://storage.googleapis.com");
    assert_ok(cb_gcp_token(gcp, false, token, &err));
    assert_string_equal(token, "T1");
    assert_says(kit_seen(&kit, 0),
                "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=ey");
    check_jwt(strstr(kit_seen(&kit, 0), "&assertion=") + 11, audience);

    kit_answers(&kit, next);
    test_time_pass(&kit.hooks, 54 * MINUTE);
    assert_ok(cb_gcp_token(gcp, false, token, &err));
    assert_string_equal(token, "T1");
    test_time_pass(&kit.hooks, 2 * MINUTE);
    assert_ok(cb_gcp_token(gcp, false, token, &err));
    assert_string_equal(token, "T2");
    assert_int_equal(kit_count(&kit), 2);
    kit_answers(&kit, denied);
    test_time_pass(&kit.hooks, MINUTE);
    assert_code(CB_DENIED, cb_gcp_token(gcp, true, token, &err));
    assert_says(err.message, "/token answered 400 invalid_grant");
    kit_check_silent(&err);
    cb_gcp_free(gcp);
    kit_stop(&kit);
}

static void test_broken_files_are_named(void **state)
{
    static const struct {
        const char *text;
        cb_code code;
        const char *says;
    } cases[] = {
        {"{\"type\":\n\"S3CRET", CB_USAGE, "line 2 is not JSON"},
        {"[1]", CB_USAGE, "is not a JSON object"},
        {"{}", CB_USAGE, "has no field 'type'"},
        {"{\"type\":\"S3CRET\"}", CB_UNSUPPORTED, "a kind that is not known"},
        {"{\"type\":\"service_account\",\"private_key\":\"S3CRET\"}", CB_USAGE, "'client_email'"},
        {"{\"type\":\"service_account\",\"client_email\":\"e\",\"private_key\":\"S3CRET\"}",
         CB_USAGE, "not an RSA private key"},
        {"{\"type\":\"authorized_user\",\"client_id\":\"x\"}", CB_USAGE, "'client_secret'"},
        {"{\"type\":\"authorized_user\",\"client_id\":\"x\",\"client_secret\":\"S3CRET\","
         "\"refresh_token\":\"S3CRET\",\"token_uri\":\"http://example.com/S3CRET\"}",
         CB_USAGE, "not https"},
        {"{\"type\":\"external_account\",\"token_url\":\"https://x\",\"credential_source\":"
         "{\"environment_id\":\"aws1\"}}",
         CB_UNSUPPORTED, "neither a file nor an address"},
        {"{\"type\":\"impersonated_service_account\","
         "\"service_account_impersonation_url\":\"https://x\"}",
         CB_USAGE, "no usable 'source_credentials'"},
    };
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        kit_set("GOOGLE_APPLICATION_CREDENTIALS", "%s",
                kit_file(&kit, "x.json", "%s", cases[i].text));
        assert_says(failure_of(&kit, &no_place, cases[i].code), cases[i].says);
        assert_says(failure_of(&kit, &no_place, cases[i].code), "GOOGLE_APPLICATION_CREDENTIALS");
    }
    kit_set("GOOGLE_APPLICATION_CREDENTIALS", "/nonexistent/x.json");
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "'/nonexistent/x.json' does not exist");
    assert_int_equal(kit_count(&kit), 0);
    kit_stop(&kit);
}

static void test_a_login_of_gcloud(void **state)
{
    static const kit_answer answers[] = {
        {"POST /token ", 200, "{\"access_token\":\"USER\",\"expires_in\":3599}"}, {0}};
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_file(&kit, ".config/gcloud/application_default_credentials.json",
             "{\"type\":\"authorized_user\",\"client_id\":\"id\",\"client_secret\":\"S3CRETc/\","
             "\"refresh_token\":\"S3CRETr\",\"token_uri\":\"%s/token\"}",
             kit.url);
    assert_says(token_of(&kit, &no_place), "USER from user's login in ");
    assert_says(kit_seen(&kit, 0), "grant_type=refresh_token&client_id=id&client_secret=S3CRETc%2F"
                                   "&refresh_token=S3CRETr");
    kit_answers(&kit, NULL);
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "gcloud auth application-default login");
    kit_stop(&kit);
}

static void test_an_identity_of_elsewhere(void **state)
{
    static const kit_answer answers[] = {
        {"GET /subject ", 200, "{\"value\":\"S3CRETurl\"}"},
        {"POST /sts ", 200, "{\"access_token\":\"S3CRETfed\",\"expires_in\":3599}"},
        {"POST /act ", 200, "{\"accessToken\":\"ACT\",\"expireTime\":\"2026-11-21T12:20:00Z\"}"},
        {0}};
    char token[CB_AUTH_TOKEN_MAX];
    cb_error err = {0};
    cb_gcp *gcp;
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_file(&kit, "oidc", "S3CRETfile\n");
    kit_set("GOOGLE_APPLICATION_CREDENTIALS", "%s",
            kit_file(&kit, "e.json",
                     "{\"type\":\"external_account\",\"audience\":\"//iam/a\","
                     "\"subject_token_type\":\"urn:jwt\",\"token_url\":\"%s/sts\","
                     "\"credential_source\":{\"file\":\"%s/oidc\"}}",
                     kit.url, kit.folder));
    assert_says(token_of(&kit, &no_place), "S3CRETfed from external account in ");
    assert_says(kit_seen(&kit, 0), "&audience=%2F%2Fiam%2Fa&");
    assert_says(kit_seen(&kit, 0), "&subject_token=S3CRETfile");

    kit_file(&kit, "e.json",
             "{\"type\":\"external_account\",\"audience\":\"//iam/a\","
             "\"subject_token_type\":\"urn:jwt\",\"token_url\":\"%s/sts\","
             "\"service_account_impersonation_url\":\"%s/act\","
             "\"credential_source\":{\"url\":\"%s/subject\",\"headers\":{\"X-Own\":\"h\"},"
             "\"format\":{\"type\":\"json\",\"subject_token_field_name\":\"value\"}}}",
             kit.url, kit.url, kit.url);
    assert_ok(cb_gcp_new(kit.ctx, kit.http, &no_place, &gcp, &err));
    assert_ok(cb_gcp_token(gcp, false, token, &err));
    assert_string_equal(token, "ACT");
    assert_says(kit_seen(&kit, 1), "X-Own: h\r\n");
    assert_says(kit_seen(&kit, 2), "&subject_token=S3CRETurl");
    assert_says(kit_seen(&kit, 2), "auth%2Fcloud-platform");
    assert_says(kit_seen(&kit, 3), "Authorization: Bearer S3CRETfed\r\n");
    test_time_pass(&kit.hooks, 16 * MINUTE); /* the end is that of the last token */
    assert_ok(cb_gcp_token(gcp, false, token, &err));
    assert_int_equal(kit_count(&kit), 7);
    cb_gcp_free(gcp);

    kit_file(&kit, "e.json",
             "{\"type\":\"impersonated_service_account\","
             "\"service_account_impersonation_url\":\"%s/act\",\"source_credentials\":"
             "{\"type\":\"authorized_user\",\"client_id\":\"i\",\"client_secret\":\"S3CRET\","
             "\"refresh_token\":\"S3CRET\",\"token_uri\":\"%s/sts\"}}",
             kit.url, kit.url);
    assert_says(token_of(&kit, &no_place), "ACT from impersonated account in ");
    kit_stop(&kit);
}

static void test_the_metadata_service(void **state)
{
    static const kit_answer answers[] = {
        {"GET /computeMetadata/v1/instance/service-accounts/default/token ", 200,
         "{\"access_token\":\"META\",\"expires_in\":1800}"},
        {0}};
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("http_proxy", "http://127.0.0.1:1");
    kit_set("GCE_METADATA_HOST", "%s", kit.url + strlen("http://"));
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "NO_GCE_CHECK is set");
    unsetenv("NO_GCE_CHECK");
    assert_string_equal(token_of(&kit, &no_place), "META from metadata service");
    assert_says(kit_seen(&kit, 0), "Metadata-Flavor: Google\r\n");
    kit_answers(&kit, NULL);
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "it answered 404");
    kit_set("GCE_METADATA_HOST", "127.0.0.1:1");
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "(no answer)");
    assert_says(failure_of(&kit, &no_place, CB_DENIED), "application_default_credentials.json'");
    kit_stop(&kit);
}

static void test_tokens_never_travel_in_the_clear(void **state)
{
    static const kit_answer answers[] = {
        {"POST /token ", 200, "{\"access_token\":\"USER\",\"expires_in\":3599}"}, {0}};
    cb_place place = {.endpoint = "http://storage.example.com:80"};
    cb_error err = {0};
    cb_gcp *gcp;
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("STORAGE_EMULATOR_HOST", "127.0.0.1:4443/");
    assert_string_equal(token_of(&kit, &no_place), " from none: requests are not signed");
    assert_ok(cb_gcp_new(kit.ctx, kit.http, &no_place, &gcp, &err));
    assert_string_equal(cb_gcp_endpoint(gcp), "http://127.0.0.1:4443");
    cb_gcp_free(gcp);

    kit_set(
        "GOOGLE_APPLICATION_CREDENTIALS", "%s",
        kit_file(&kit, "u.json",
                 "{\"type\":\"authorized_user\",\"client_id\":\"i\",\"client_secret\":\"S3CRET\","
                 "\"refresh_token\":\"S3CRET\",\"token_uri\":\"%s/token\"}",
                 kit.url));
    assert_string_equal(token_of(&kit, &place), " from none: requests are not signed");
    snprintf(place.endpoint, sizeof(place.endpoint), "HTTP://storage.example.com");
    assert_string_equal(token_of(&kit, &place), " from none: requests are not signed");
    assert_int_equal(kit_count(&kit), 0);
    snprintf(place.endpoint, sizeof(place.endpoint), "http://127.0.0.1:1");
    assert_says(token_of(&kit, &place), "USER from"); /* this machine itself */
    snprintf(place.endpoint, sizeof(place.endpoint), "https://storage.example.com");
    assert_says(token_of(&kit, &place), "USER from");
    snprintf(place.endpoint, sizeof(place.endpoint), "ftp://x");
    assert_says(failure_of(&kit, &place, CB_USAGE), "not the address of a server");
    kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_service_account_signs_its_claim),
        cmocka_unit_test(test_broken_files_are_named),
        cmocka_unit_test(test_a_login_of_gcloud),
        cmocka_unit_test(test_an_identity_of_elsewhere),
        cmocka_unit_test(test_the_metadata_service),
        cmocka_unit_test(test_tokens_never_travel_in_the_clear),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
