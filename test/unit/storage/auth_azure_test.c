/*
 * Azure's accounts, endpoints and credentials.
 */
#include "auth_kit.h"

#include <stdio.h>
#include <stdlib.h>

#include "storage/auth/az_internal.h"
#include "unit.h"

#define MINUTE INT64_C(60000000)
#define KEY                                                                                        \
    "S3CRETaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA=="

static const cb_place no_place;

static const char *const how_names[] = {
    [CB_AZ_SHARED_KEY] = "key",
    [CB_AZ_SAS] = "sas",
    [CB_AZ_BEARER] = "bearer",
    [CB_AZ_ANONYMOUS] = "anonymous",
};

/* All that is found in one text: "how text account endpoint (source)". */
static const char *found(test_kit *kit, const cb_place *place)
{
    static char text[2048];
    char source[CB_AUTH_SOURCE_MAX];
    cb_error err = {0};
    cb_az_auth auth;
    cb_az *az;

    assert_ok(cb_az_new(kit->ctx, kit->http, place, &az, &err));
    assert_ok(cb_az_get(az, false, &auth, &err));
    cb_az_source(az, source);
    assert_null(strstr(source, "S3CRET"));
    if (auth.how == CB_AZ_SHARED_KEY)
        assert_int_equal(auth.key_size, 64);
    snprintf(text, sizeof(text), "%s %.200s %s %s (%s)", how_names[auth.how], auth.text,
             cb_az_account(az), cb_az_endpoint(az), source);
    cb_az_free(az);
    return text;
}

static const char *failure_of(test_kit *kit, const cb_place *place, cb_code wanted)
{
    static char text[CB_MESSAGE_MAX + CB_HINT_MAX + 8];
    cb_az_auth auth;
    cb_error err = {0};
    cb_az *az;
    cb_code code = cb_az_new(kit->ctx, kit->http, place, &az, &err);

    if (code == CB_OK)
        code = cb_az_get(az, false, &auth, &err);
    cb_az_free(az);
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

static void test_connection_strings(void **state)
{
    cb_place place = {.account = "acc"};
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    kit_set("AZURE_STORAGE_CONNECTION_STRING",
            "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=" KEY
            ";EndpointSuffix=core.example.net;QueueEndpoint=https://q");
    assert_string_equal(found(&kit, &no_place), "key  acc https://acc.blob.core.example.net "
                                                "(connection string in the environment)");
    assert_says(found(&kit, &place), "connection string");
    /* Of another account: no help, and not sent anywhere. */
    snprintf(place.account, sizeof(place.account), "other");
    assert_says(failure_of(&kit, &place, CB_DENIED), "account 'other'");

    kit_set("AZURE_STORAGE_CONNECTION_STRING",
            "BlobEndpoint=http://127.0.0.1:19120/acc1/;AccountName=acc1;\n accountkey=" KEY ";");
    assert_says(found(&kit, &no_place), "key  acc1 http://127.0.0.1:19120/acc1 (");
    kit_set(
        "AZURE_STORAGE_CONNECTION_STRING",
        "BlobEndpoint=https://acc2.blob.core.windows.net;SharedAccessSignature=sv=1&sig=S3CRET");
    assert_says(found(&kit, &no_place),
                "sas sv=1&sig=S3CRET acc2 https://acc2.blob.core.windows.net (");
    kit_set("AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true");
    assert_says(found(&kit, &no_place),
                "key  devstoreaccount1 http://127.0.0.1:10000/devstoreaccount1 (");
    kit_set("AZURE_STORAGE_CONNECTION_STRING", "AccountName=acc;AccountKey=S3CRET!");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "AccountKey of AZURE_STORAGE_CONNECTION");
    kit_set("AZURE_STORAGE_CONNECTION_STRING", "S3CRET");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "is not Name=value");
    kit_stop(&kit);
}

static void test_accounts_and_endpoints(void **state)
{
    static const struct {
        const char *account, *endpoint, *says;
    } cases[] = {
        {"acc", "", " acc https://acc.blob.core.windows.net ("},
        {"acc", "https://acc.example.net/", " acc https://acc.example.net ("},
        {"", "https://acc3.blob.core.windows.net", " acc3 https://acc3.blob.core.windows.net ("},
        {"", "http://127.0.0.1:9/acc4", " acc4 http://127.0.0.1:9/acc4 ("},
        {"acc", "http://127.0.0.1:9", " acc http://127.0.0.1:9/acc ("},
        {"acc", "http://localhost:9/", " acc http://localhost:9/acc ("},
        {"acc", "http://[::1]:9", " acc http://[::1]:9/acc ("},
        {"acc", "azurite.lab:9", " acc http://azurite.lab:9 ("},
    };
    cb_place place = {.endpoint = "https://store.example.net"};
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "no storage account is named");
    assert_says(failure_of(&kit, &place, CB_USAGE), "no storage account is named");
    kit_set("AZURE_STORAGE_KEY", KEY);
    for (size_t i = 0; i < CB_LENGTH(cases); i++) {
        snprintf(place.account, sizeof(place.account), "%s", cases[i].account);
        snprintf(place.endpoint, sizeof(place.endpoint), "%s", cases[i].endpoint);
        assert_says(found(&kit, &place), cases[i].says);
    }
    kit_set("AZURE_STORAGE_ACCOUNT", "envacc");
    assert_says(found(&kit, &no_place),
                " envacc https://envacc.blob.core.windows.net (account key");
    assert_says(failure_of(&kit, &place, CB_DENIED), "no credentials"); /* a key of envacc alone */
    kit_set("AZURE_STORAGE_BLOB_ENDPOINT", "https://blob.example.net/");
    assert_says(found(&kit, &no_place), " envacc https://blob.example.net (");
    kit_set("AZURE_STORAGE_ACCOUNT", "a/../b");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "not the name of a storage account");
    kit_stop(&kit);
}

static void test_keys_and_signatures(void **state)
{
    cb_az_auth auth;
    cb_error err = {0};
    cb_az *az;
    test_kit kit;

    (void)state;
    kit_start(&kit, NULL);
    kit_set("AZURE_STORAGE_ACCOUNT", "acc");
    kit_set("AZURE_STORAGE_SAS_TOKEN", "?sv=2&se=2026-11-21T12%%3A30%%3A00Z&sig=S3CRET%%3D");
    assert_says(found(&kit, &no_place), "sas sv=2&se=2026-11-21T12%3A30%3A00Z&sig=S3CRET%3D acc");
    assert_ok(cb_az_new(kit.ctx, kit.http, &no_place, &az, &err));
    assert_ok(cb_az_get(az, false, &auth, &err));
    test_time_pass(&kit.hooks, 31 * MINUTE);
    assert_code(CB_DENIED, cb_az_get(az, false, &auth, &err));
    assert_says(err.hint, "expired");
    kit_check_silent(&err);
    cb_az_free(az);
    kit_set("AZURE_STORAGE_SAS_TOKEN", "S3CRET");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "not a shared access signature");
    kit_set("AZURE_STORAGE_KEY", "S3CRET");
    assert_says(failure_of(&kit, &no_place, CB_USAGE), "AZURE_STORAGE_KEY is not the key");
    kit_set("AZURE_STORAGE_KEY", KEY); /* before a signature */
    assert_says(found(&kit, &no_place), "key ");
    unsetenv("AZURE_STORAGE_KEY");
    unsetenv("AZURE_STORAGE_SAS_TOKEN");
    kit_set("AZURE_STORAGE_ANON", "true");
    assert_says(found(&kit, &no_place), "anonymous ");
    kit_stop(&kit);
}

static void test_principals_and_workloads(void **state)
{
    static const kit_answer answers[] = {
        {"POST /tenant-1/oauth2/v2.0/token ", 200,
         "{\"access_token\":\"PRINCIPAL\",\"expires_in\":3599,\"token_type\":\"Bearer\"}"},
        {0}};
    static const kit_answer denied[] = {
        {"POST /tenant-1/", 401,
         "{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: S3CRET\"}"},
        {0}};
    cb_place place = {.account = "acc"};
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("AZURE_AUTHORITY_HOST", "%s/", kit.url);
    kit_set("AZURE_TENANT_ID", "tenant-1");
    kit_set("AZURE_CLIENT_ID", "client");
    kit_set("AZURE_CLIENT_SECRET", "S3CRET/x");
    assert_says(found(&kit, &place), "bearer PRINCIPAL acc https://acc.blob.core.windows.net "
                                     "(service principal in the environment)");
    assert_says(kit_seen(&kit, 0),
                "grant_type=client_credentials&client_id=client&scope=https%3A%2F"
                "%2Fstorage.azure.com%2F.default&client_secret=S3CRET%2Fx");
    unsetenv("AZURE_CLIENT_SECRET");
    kit_set("AZURE_FEDERATED_TOKEN_FILE", "%s", kit_file(&kit, "t", "S3CRETone\n"));
    assert_says(found(&kit, &place), "(workload identity)");
    assert_says(kit_seen(&kit, 1), "&client_assertion=S3CRETone");
    kit_file(&kit, "t", "S3CRETtwo\n");
    assert_says(found(&kit, &place), "(workload identity)");
    assert_says(kit_seen(&kit, 2), "&client_assertion=S3CRETtwo");

    kit_answers(&kit, denied);
    assert_says(failure_of(&kit, &place, CB_DENIED), "answered 401 AADSTS7000215");
    kit_set("AZURE_TENANT_ID", "x/../y");
    assert_says(failure_of(&kit, &place, CB_USAGE), "AZURE_TENANT_ID");
    kit_set("AZURE_TENANT_ID", "tenant-1");
    kit_set("AZURE_AUTHORITY_HOST", "http://example.com");
    assert_says(failure_of(&kit, &place, CB_USAGE), "not https");
    /* A token is not even asked for when it would travel in the clear. */
    snprintf(place.endpoint, sizeof(place.endpoint), "http://store.example.net");
    assert_says(failure_of(&kit, &place, CB_DENIED), "the endpoint is not https");
    kit_stop(&kit);
}

static void test_managed_identities(void **state)
{
    static const kit_answer answers[] = {
        {"GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2F"
         "storage.azure.com%2F ",
         200, "{\"access_token\":\"VM\",\"expires_in\":\"86399\",\"expires_on\":\"1\"}"},
        {"GET /metadata/identity/oauth2/token?api-version=2018-02-01&client_id=me&resource=", 200,
         "{\"access_token\":\"MINE\",\"expires_in\":\"86399\"}"},
        {"GET /app?api-version=2019-08-01&", 200,
         "{\"access_token\":\"APP\",\"expires_on\":\"1795264800\"}"},
        {0}};
    cb_place place = {.account = "acc"};
    cb_az_auth auth;
    cb_error err = {0};
    cb_az *az;
    test_kit kit;

    (void)state;
    kit_start(&kit, answers);
    kit_set("AZURE_POD_IDENTITY_AUTHORITY_HOST", "%s", kit.url);
    kit_set("http_proxy", "http://127.0.0.1:1");
    assert_says(found(&kit, &place), "bearer VM acc");
    assert_says(kit_seen(&kit, 0), "Metadata: true\r\n");
    kit_set("AZURE_CLIENT_ID", "me");
    assert_says(found(&kit, &place), "bearer MINE acc");
    kit_set("IDENTITY_ENDPOINT", "%s/app", kit.url);
    kit_set("IDENTITY_HEADER", "S3CREThead");
    assert_ok(cb_az_new(kit.ctx, kit.http, &place, &az, &err));
    assert_ok(cb_az_get(az, false, &auth, &err));
    assert_string_equal(auth.text, "APP");
    assert_says(kit_seen(&kit, 2), "X-IDENTITY-HEADER: S3CREThead\r\n");
    test_time_pass(&kit.hooks, 36 * MINUTE); /* it ends at 12:40 */
    assert_ok(cb_az_get(az, false, &auth, &err));
    assert_int_equal(kit_count(&kit), 4);
    cb_az_free(az);

    unsetenv("IDENTITY_ENDPOINT");
    kit_answers(&kit, NULL);
    assert_says(failure_of(&kit, &place, CB_DENIED), "(it has none)");
    kit_set("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
    assert_says(failure_of(&kit, &place, CB_DENIED), "(no answer)");
    assert_says(failure_of(&kit, &place, CB_DENIED), "AZURE_STORAGE_KEY");
    kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connection_strings),  cmocka_unit_test(test_accounts_and_endpoints),
        cmocka_unit_test(test_keys_and_signatures), cmocka_unit_test(test_principals_and_workloads),
        cmocka_unit_test(test_managed_identities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
