/*
 * gcp.c - where Google's tokens come from: the file that GOOGLE_APPLICATION_CREDENTIALS names, the
 * one that gcloud writes, the metadata service.
 */
#include "storage/auth/gcp_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/mac.h"

static const char *const variables[CB_GCP_VARIABLES_END] = {
    [CB_GCP_CREDENTIALS] = "GOOGLE_APPLICATION_CREDENTIALS",
    [CB_GCP_CLOUDSDK_CONFIG] = "CLOUDSDK_CONFIG",
    [CB_GCP_METADATA_HOST] = "GCE_METADATA_HOST",
    [CB_GCP_NO_METADATA] = "NO_GCE_CHECK",
    [CB_GCP_EMULATOR] = "STORAGE_EMULATOR_HOST",
    [CB_GCP_HOME] = "HOME",
};

/* ---- places --------------------------------------------------------------------------------- */

/* *found false only when there is no such file. */
static cb_code from_file(cb_gcp *gcp, const char *path, char token[CB_AUTH_TOKEN_MAX],
                         cb_grant *grant, bool *found, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf text = {0};
    CB_CLEANUP(cb_json_wipe) json_t *file = NULL;
    char name[CB_AUTH_SOURCE_MAX];
    cb_code code = cb_auth_slurp(path, &text, err);

    *found = code != CB_NOT_FOUND;
    if (code == CB_NOT_FOUND) {
        cb_error_clear(err);
        return CB_OK;
    }
    if (code != CB_OK)
        return code;
    snprintf(name, sizeof(name), "'%.200s'", path);
    code = cb_json_parse(name, cb_buf_bytes(&text), &file, err);
    if (code == CB_OK)
        code = cb_gcp_from_json(gcp, name, file, token, grant, err);
    return code;
}

static cb_code ask_metadata(cb_gcp *gcp, cb_http_response *response, cb_error *err)
{
    static const char path[] = "/computeMetadata/v1/instance/service-accounts/default/token";
    const char *host = gcp->environment[CB_GCP_METADATA_HOST];
    static const char *const headers[] = {"Metadata-Flavor: Google", NULL};
    char base[512];
    char url[CB_AUTH_URL_MAX];
    cb_inquiry inquiry = {
        .who = "the metadata service of this machine",
        .method = "GET",
        .url = url,
        .headers = headers,
        .is_direct = true,
        .is_quick = true,
    };
    cb_code code;

    /* By number: without the service, a search for its name may take long. */
    code = cb_url_endpoint("GCE_METADATA_HOST", host != NULL ? host : "169.254.169.254", base,
                           sizeof(base), err);
    if (code != CB_OK)
        return code;
    snprintf(url, sizeof(url), "%s%s", base, path);
    code = cb_inquire(gcp->http, &inquiry, response, err);
    if (code != CB_OK && code != CB_CANCELLED && code != CB_NO_MEMORY) {
        snprintf(gcp->metadata, sizeof(gcp->metadata), "no answer");
        cb_answer_wipe(response);
        *response = (cb_http_response){0};
        return CB_OK; /* nobody there: most machines are not Google's */
    }
    return code;
}

static cb_code from_metadata(cb_gcp *gcp, char token[CB_AUTH_TOKEN_MAX], cb_grant *grant,
                             bool *found, cb_error *err)
{
    CB_CLEANUP(cb_answer_wipe) cb_http_response response = {0};
    CB_CLEANUP(cb_json_wipe) json_t *answer = NULL;
    static const char who[] = "the metadata service of this machine";
    cb_code code;

    snprintf(gcp->metadata, sizeof(gcp->metadata), "NO_GCE_CHECK is set");
    if (cb_auth_is_true(gcp->environment[CB_GCP_NO_METADATA]))
        return CB_OK;
    code = ask_metadata(gcp, &response, err);
    if (code != CB_OK)
        return code;
    if (response.status != 200) {
        if (response.status != 0)
            snprintf(gcp->metadata, sizeof(gcp->metadata), "it answered %u", response.status);
        if (gcp->has_metadata)
            return cb_fail(err, CB_RETRY, "%s gave no new token (%s)", who, gcp->metadata);
        return CB_OK;
    }
    *found = true;
    gcp->has_metadata = true;
    snprintf(grant->source, sizeof(grant->source), "metadata service");
    code = cb_json_parse("the answer of the metadata service", cb_buf_bytes(&response.body),
                         &answer, err);
    if (code == CB_OK)
        code = cb_json_bearer(who, answer, cb_now_us(gcp->ctx), token, grant, err);
    return code;
}

static cb_code fail_nowhere(const cb_gcp *gcp, cb_error *err)
{
    cb_fail(err, CB_DENIED, "no credentials for Google Cloud Storage were found");
    cb_hint(err,
            "Looked at GOOGLE_APPLICATION_CREDENTIALS, for '%.200s', and at the metadata "
            "service of this machine (%s).",
            gcp->well_known, gcp->metadata);
    return err->code;
}

static cb_code fetch(void *arg, void *value, cb_grant *grant, cb_error *err)
{
    cb_gcp *gcp = arg;
    const char *named = gcp->environment[CB_GCP_CREDENTIALS];
    bool found = false;
    cb_code code;

    if (gcp->is_unsigned) {
        snprintf(grant->source, sizeof(grant->source), "none: requests are not signed");
        return CB_OK;
    }
    if (named != NULL) {
        code = from_file(gcp, named, value, grant, &found, err);
        if (code == CB_OK && !found)
            code = cb_fail(err, CB_DENIED, "'%.300s' does not exist", named);
        return code == CB_OK ? CB_OK : cb_context(err, "GOOGLE_APPLICATION_CREDENTIALS");
    }
    code = from_file(gcp, gcp->well_known, value, grant, &found, err);
    if (code == CB_OK && !found)
        code = from_metadata(gcp, value, grant, &found, err);
    if (code == CB_OK && !found)
        code = fail_nowhere(gcp, err);
    return code;
}

/* ---- the interface -------------------------------------------------------------------------- */

/*
 * An emulator takes unsigned requests; a token never travels in the clear over a network. On this
 * machine itself it may, when credentials are named: that is how proxies and tests are reached.
 */
static cb_code choose_endpoint(cb_gcp *gcp, const cb_place *place, cb_error *err)
{
    const char *emulator = gcp->environment[CB_GCP_EMULATOR];
    const char *text = CB_GCP_ENDPOINT;
    const char *what = "the endpoint of Google Cloud Storage";
    bool has_credentials = gcp->environment[CB_GCP_CREDENTIALS] != NULL;
    cb_code code;

    if (place->endpoint[0] != '\0') {
        what = "the endpoint";
        text = place->endpoint;
    } else if (emulator != NULL) {
        what = variables[CB_GCP_EMULATOR];
        text = emulator;
        gcp->is_unsigned = true;
    }
    code = cb_url_endpoint(what, text, gcp->endpoint, sizeof(gcp->endpoint), err);
    if (code == CB_OK && cb_has_prefix(gcp->endpoint, "http://") &&
        !(has_credentials && cb_url_is_loopback(gcp->endpoint)))
        gcp->is_unsigned = true;
    return code;
}

static cb_code begin(cb_gcp *gcp, const cb_place *place, cb_error *err)
{
    const char *folder;
    cb_code code;

    code =
        cb_vault_environment(&gcp->vault, variables, CB_GCP_VARIABLES_END, gcp->environment, err);
    folder = gcp->environment[CB_GCP_CLOUDSDK_CONFIG];
    if (code == CB_OK && folder != NULL)
        code = cb_vault_format(&gcp->vault, &gcp->well_known, err,
                               "%s/application_default_credentials.json", folder);
    else if (code == CB_OK)
        code = cb_auth_home_path(&gcp->vault, gcp->environment[CB_GCP_HOME],
                                 "~/.config/gcloud/application_default_credentials.json",
                                 &gcp->well_known, err);
    if (code == CB_OK)
        code = choose_endpoint(gcp, place, err);
    if (code == CB_OK)
        code = cb_lease_new(gcp->ctx, CB_AUTH_TOKEN_MAX, fetch, gcp, &gcp->lease, err);
    return code;
}

cb_code cb_gcp_new(cb_ctx *ctx, cb_http *http, const cb_place *place, cb_gcp **out, cb_error *err)
{
    cb_gcp *gcp = calloc(1, sizeof(*gcp));
    cb_code code;

    *out = NULL;
    if (gcp == NULL)
        return cb_fail_memory(err, sizeof(*gcp));
    gcp->ctx = ctx;
    gcp->http = http;
    code = begin(gcp, place, err);
    if (code != CB_OK) {
        cb_gcp_free(gcp);
        return code;
    }
    *out = gcp;
    return CB_OK;
}

void cb_gcp_free(cb_gcp *gcp)
{
    if (gcp == NULL)
        return;
    cb_lease_free(gcp->lease);
    cb_vault_free(&gcp->vault);
    free(gcp);
}

cb_code cb_gcp_token(cb_gcp *gcp, bool refused, char out[CB_AUTH_TOKEN_MAX], cb_error *err)
{
    return cb_lease_get(gcp->lease, refused, out, err);
}

void cb_gcp_source(cb_gcp *gcp, char out[CB_AUTH_SOURCE_MAX])
{
    cb_lease_source(gcp->lease, out);
}

const char *cb_gcp_endpoint(const cb_gcp *gcp)
{
    return gcp->endpoint;
}
