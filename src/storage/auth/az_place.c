/*
 * az_place.c - which storage account, and at which address: from the repository's address, the
 * connection string, the environment; what is not said follows from the rest.
 */
#include "storage/auth/az_internal.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/text.h"

const char cb_az_emulator_key[] =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/* ---- connection strings --------------------------------------------------------------------- */

static cb_code take_pair(const char *text, size_t size, cb_vault *vault, cb_az_connection *out,
                         cb_error *err)
{
    const struct {
        const char *name;
        const char **into;
    } fields[] = {
        {"AccountName", &out->account},
        {"AccountKey", &out->key},
        {"SharedAccessSignature", &out->sas},
        {"BlobEndpoint", &out->blob_endpoint},
        {"DefaultEndpointsProtocol", &out->protocol},
        {"EndpointSuffix", &out->suffix},
    };
    const char *equals = memchr(text, '=', size);
    size_t name = equals != NULL ? (size_t)(equals - text) : 0;
    size_t value = size - name - 1;

    if (name == 0) {
        cb_fail(err, CB_USAGE, "AZURE_STORAGE_CONNECTION_STRING is not Name=value;Name=value");
        cb_hint(err, "Copy it whole from the account's access keys, and quote it in the shell.");
        return err->code;
    }
    if (name == 21 && strncasecmp(text, "UseDevelopmentStorage", name) == 0) {
        out->is_development = value == 4 && strncasecmp(equals + 1, "true", 4) == 0;
        return CB_OK;
    }
    for (size_t i = 0; i < CB_LENGTH(fields); i++) {
        if (name == strlen(fields[i].name) && strncasecmp(text, fields[i].name, name) == 0)
            return value > 0 ? cb_vault_text_n(vault, equals + 1, value, fields[i].into, err)
                             : CB_OK;
    }
    return CB_OK; /* queues, tables, files: not ours */
}

cb_code cb_az_connection_parse(const char *text, cb_vault *vault, cb_az_connection *out,
                               cb_error *err)
{
    *out = (cb_az_connection){0};
    while (*text != '\0') {
        size_t size = strcspn(text, ";");
        size_t start = 0;

        while (start < size && isspace((unsigned char)text[start]))
            start++;
        if (start < size) {
            cb_code code = take_pair(text + start, size - start, vault, out, err);

            if (code != CB_OK)
                return code;
        }
        text += size + (text[size] == ';');
    }
    return CB_OK;
}

/* ---- account and endpoint ------------------------------------------------------------------- */

/* Host and path of an endpoint, without scheme. */
static const char *behind_scheme(const char *endpoint)
{
    const char *at = strstr(endpoint, "://");

    return at != NULL ? at + 3 : endpoint;
}

static bool is_by_number(const char *host, size_t size)
{
    return (size > 0 && host[0] == '[') || strspn(host, "0123456789.") >= size;
}

/*
 * "account.blob.core.windows.net" has the account in front; a server that has no such names (an
 * emulator: an address by number, or localhost) has it as the first part of the path.
 */
static bool account_of_endpoint(const char *endpoint, char *out, size_t size)
{
    const char *host = behind_scheme(endpoint);
    size_t host_size = strcspn(host, "/");
    const char *path = host + host_size;
    size_t bare = host[0] == '[' ? host_size : strcspn(host, ":/");
    size_t length;

    if (path[0] == '/') {
        path++;
        length = strcspn(path, "/");
        host = path;
    } else {
        length = strcspn(host, ".");
        if (length >= bare || is_by_number(host, bare) || !cb_has_prefix(host + length, ".blob."))
            return false;
    }
    if (length == 0 || length >= size)
        return false;
    memcpy(out, host, length);
    out[length] = '\0';
    return true;
}

/* An emulator's address without the account behind it. */
static cb_code complete_endpoint(cb_az *az, cb_error *err)
{
    const char *host = behind_scheme(az->endpoint);
    size_t bare = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":/");
    bool is_local =
        is_by_number(host, bare) || (bare == 9 && strncasecmp(host, "localhost", 9) == 0);
    size_t used = strlen(az->endpoint);

    if (!is_local || strchr(host, '/') != NULL)
        return CB_OK;
    if (used + 1 + strlen(az->account) >= sizeof(az->endpoint))
        return cb_fail(err, CB_USAGE, "the endpoint is too long");
    snprintf(az->endpoint + used, sizeof(az->endpoint) - used, "/%s", az->account);
    return CB_OK;
}

/* The endpoint that is written somewhere; "" when none is. */
static cb_code written_endpoint(cb_az *az, const cb_place *place, cb_error *err)
{
    const char *text = place->endpoint[0] != '\0' ? place->endpoint : NULL;
    const char *what = "the endpoint";

    if (text == NULL && az->has_connection) {
        what = "BlobEndpoint of AZURE_STORAGE_CONNECTION_STRING";
        text = az->connection.blob_endpoint;
        if (text == NULL && az->connection.is_development)
            text = CB_AZ_EMULATOR_ENDPOINT;
    }
    if (text == NULL && az->environment[CB_AZ_BLOB_ENDPOINT] != NULL) {
        what = "AZURE_STORAGE_BLOB_ENDPOINT";
        text = az->environment[CB_AZ_BLOB_ENDPOINT];
    }
    if (text == NULL && az->environment[CB_AZ_ENDPOINT] != NULL) {
        what = "AZURE_STORAGE_ENDPOINT";
        text = az->environment[CB_AZ_ENDPOINT];
    }
    az->endpoint[0] = '\0';
    return text != NULL ? cb_url_endpoint(what, text, az->endpoint, sizeof(az->endpoint), err)
                        : CB_OK;
}

static cb_code usual_endpoint(cb_az *az, cb_error *err)
{
    const char *suffix = az->has_connection ? az->connection.suffix : NULL;
    const char *protocol = az->has_connection ? az->connection.protocol : NULL;
    char text[512];

    if (suffix == NULL)
        suffix = "core.windows.net";
    snprintf(text, sizeof(text), "%s://%s.blob.%.200s",
             protocol != NULL && strcasecmp(protocol, "http") == 0 ? "http" : "https", az->account,
             suffix);
    return cb_url_endpoint("EndpointSuffix of AZURE_STORAGE_CONNECTION_STRING", text, az->endpoint,
                           sizeof(az->endpoint), err);
}

/* The account's own name, before the endpoint is known. */
static const char *written_account(cb_az *az, const cb_place *place)
{
    const cb_az_connection *connection = &az->connection;
    const char *account = connection->account;

    if (account == NULL && connection->is_development)
        account = CB_AZ_EMULATOR_ACCOUNT;
    /* A string for another account is no help with ours. */
    if (az->has_connection && place->account[0] != '\0' && account != NULL &&
        strcmp(account, place->account) != 0)
        az->has_connection = false;
    if (place->account[0] != '\0')
        return place->account;
    if (place->endpoint[0] != '\0' &&
        account_of_endpoint(place->endpoint, az->account, sizeof(az->account))) {
        if (az->has_connection && account != NULL && strcmp(account, az->account) != 0)
            az->has_connection = false;
        return az->account;
    }
    if (az->has_connection && account != NULL)
        return account;
    return az->environment[CB_AZ_ACCOUNT];
}

static cb_code set_account(cb_az *az, const char *account, cb_error *err)
{
    size_t length = strlen(account);

    if (length >= sizeof(az->account))
        return cb_fail(err, CB_USAGE, "the name of a storage account is too long");
    for (size_t i = 0; i < length; i++) { /* it becomes part of a host name, and of a signature */
        if (!isalnum((unsigned char)account[i]) && account[i] != '-')
            return cb_fail(err, CB_USAGE, "'%.64s' is not the name of a storage account", account);
    }
    memmove(az->account, account, length + 1);
    return CB_OK;
}

cb_code cb_az_settle(cb_az *az, const cb_place *place, cb_error *err)
{
    const char *connection = az->environment[CB_AZ_CONNECTION_STRING];
    const char *account;
    cb_code code = CB_OK;

    az->has_connection = connection != NULL;
    if (connection != NULL)
        code = cb_az_connection_parse(connection, &az->vault, &az->connection, err);
    if (code != CB_OK)
        return code;
    if (az->connection.is_development && az->connection.key == NULL)
        az->connection.key = cb_az_emulator_key;
    account = written_account(az, place);
    code = written_endpoint(az, place, err);
    if (code == CB_OK && account == NULL && az->endpoint[0] != '\0' &&
        account_of_endpoint(az->endpoint, az->account, sizeof(az->account)))
        account = az->account;
    if (code == CB_OK && account == NULL) {
        cb_fail(err, CB_USAGE, "no storage account is named");
        cb_hint(err, "Write az://account.blob.core.windows.net/container/prefix, or set "
                     "AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING.");
        return err->code;
    }
    if (code == CB_OK)
        code = set_account(az, account, err);
    if (code == CB_OK && az->endpoint[0] == '\0')
        code = usual_endpoint(az, err);
    return code == CB_OK ? complete_endpoint(az, err) : code;
}
