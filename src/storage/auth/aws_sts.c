/*
 * aws_sts.c - roles, by the query API of STS (version 2011-06-15): AssumeRole is signed with the
 * keys of the source, AssumeRoleWithWebIdentity carries a token instead. Answers are XML.
 */
#include "storage/auth/aws_internal.h"

#include <stdio.h>

#include <expat.h>

#include "base/text.h"
#include "codec/hash.h"
#include "codec/mac.h"

/* ---- answers -------------------------------------------------------------------------------- */

enum { FIELD_ID, FIELD_SECRET, FIELD_TOKEN, FIELD_EXPIRATION, FIELD_REASON, FIELD_NONE };

static const char *const field_names[] = {
    [FIELD_ID] = "AccessKeyId",     [FIELD_SECRET] = "SecretAccessKey",
    [FIELD_TOKEN] = "SessionToken", [FIELD_EXPIRATION] = "Expiration",
    [FIELD_REASON] = "Code",
};

typedef struct sts_reader {
    XML_Parser parser;
    cb_aws_keys *keys;
    char expiration[64];
    char reason[64];
    unsigned field; /* that we are in */
    bool is_bad;
} sts_reader;

static char *room_of(sts_reader *reader, size_t *size)
{
    switch (reader->field) {
    case FIELD_ID:
        *size = sizeof(reader->keys->access_key);
        return reader->keys->access_key;
    case FIELD_SECRET:
        *size = sizeof(reader->keys->secret);
        return reader->keys->secret;
    case FIELD_TOKEN:
        *size = sizeof(reader->keys->token);
        return reader->keys->token;
    case FIELD_EXPIRATION:
        *size = sizeof(reader->expiration);
        return reader->expiration;
    case FIELD_REASON:
        *size = sizeof(reader->reason);
        return reader->reason;
    default:
        return NULL;
    }
}

/* Namespaces are left aside: what counts is what stands behind the last colon. */
static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
    sts_reader *reader = arg;
    const char *colon = strrchr(name, ':');
    size_t size;
    char *room;

    (void)attributes;
    name = colon != NULL ? colon + 1 : name;
    reader->field = 0;
    while (reader->field < FIELD_NONE && strcmp(field_names[reader->field], name) != 0)
        reader->field++;
    room = room_of(reader, &size);
    if (room != NULL && room[0] != '\0') /* a second one: which would be ours? */
        reader->is_bad = true;
}

static void on_end(void *arg, const XML_Char *name)
{
    (void)name;
    ((sts_reader *)arg)->field = FIELD_NONE;
}

static void on_text(void *arg, const XML_Char *text, int length)
{
    sts_reader *reader = arg;
    size_t size;
    char *room = room_of(reader, &size);
    size_t used;

    if (room == NULL)
        return;
    used = strlen(room);
    for (int i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c == '\n' || c == '\r' || c == '\t' || c == ' ')
            continue; /* around the value; none of them holds any */
        if (c < ' ' || c >= 0x7f || used + 1 >= size) {
            reader->is_bad = true;
            return;
        }
        room[used++] = (char)c;
        room[used] = '\0';
    }
}

/* Answers declare no entities: one that does wants to grow in our memory. */
static void on_entity(void *arg, const XML_Char *name, int is_parameter, const XML_Char *value,
                      int value_length, const XML_Char *base, const XML_Char *system_id,
                      const XML_Char *public_id, const XML_Char *notation)
{
    sts_reader *reader = arg;

    (void)name, (void)is_parameter, (void)value, (void)value_length, (void)base, (void)system_id;
    (void)public_id, (void)notation;
    reader->is_bad = true;
    XML_StopParser(reader->parser, XML_FALSE);
}

bool cb_aws_sts_parse(cb_bytes xml, cb_aws_keys *keys, int64_t *expires_us, char reason[64])
{
    sts_reader reader = {.keys = keys, .field = FIELD_NONE};
    bool is_whole;

    reason[0] = '\0';
    if (xml.size > CB_AUTH_FILE_MAX)
        return false;
    reader.parser = XML_ParserCreate(NULL);
    if (reader.parser == NULL)
        return false;
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, on_start, on_end);
    XML_SetCharacterDataHandler(reader.parser, on_text);
    XML_SetEntityDeclHandler(reader.parser, on_entity);
    is_whole = XML_Parse(reader.parser, xml.size > 0 ? (const char *)xml.data : "", (int)xml.size,
                         XML_TRUE) == XML_STATUS_OK;
    XML_ParserFree(reader.parser);
    if (!is_whole || reader.is_bad)
        return false;
    memcpy(reason, reader.reason, sizeof(reader.reason));
    if (reason[0] != '\0')
        return true;
    return keys->access_key[0] != '\0' && keys->secret[0] != '\0' && keys->token[0] != '\0' &&
           cb_auth_time(reader.expiration, expires_us);
}

/* ---- requests ------------------------------------------------------------------------------- */

typedef struct sts_signer {
    const cb_aws_keys *keys;
    char provider[128];
} sts_signer;

static cb_code sign(void *arg, const cb_http_request *request, bool again, cb_http_headers *headers,
                    cb_error *err)
{
    const sts_signer *signer = arg;
    cb_code code = CB_OK;

    (void)request;
    (void)again; /* the keys are those that were found for this one question */
    if (signer->keys->token[0] != '\0')
        code = cb_http_add(headers, err, "x-amz-security-token", "%s", signer->keys->token);
    if (code == CB_OK)
        code = cb_http_sigv4(headers, signer->provider, signer->keys->access_key,
                             signer->keys->secret, err);
    return code;
}

/* Without a region it is the global endpoint, which is signed for us-east-1. */
static const char *address_of(const cb_aws *aws, const char *region, char out[CB_AUTH_URL_MAX])
{
    if (aws->sts_endpoint[0] != '\0')
        snprintf(out, CB_AUTH_URL_MAX, "%s/", aws->sts_endpoint);
    else if (region[0] == '\0')
        snprintf(out, CB_AUTH_URL_MAX, "https://sts.amazonaws.com/");
    else
        snprintf(out, CB_AUTH_URL_MAX, "https://sts.%s.amazonaws.com%s/", region,
                 cb_has_prefix(region, "cn-") ? ".cn" : "");
    return out;
}

static bool is_region(const char *text)
{
    return text != NULL && text[0] != '\0' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(text);
}

static cb_code read_answer(const cb_inquiry *inquiry, const cb_http_response *response,
                           cb_aws_keys *keys, cb_grant *grant, cb_error *err)
{
    char reason[64] = "";
    bool is_known;

    is_known = cb_aws_sts_parse(cb_buf_bytes(&response->body), keys, &grant->expires_us, reason);
    if (response->status != 200 || reason[0] != '\0')
        return cb_inquiry_failed(inquiry, response->status, reason, err);
    if (!is_known)
        return cb_fail(err, CB_IO, "the answer of %s is not what STS answers", inquiry->who);
    return CB_OK;
}

/* `with` NULL: not signed. */
static cb_code ask(cb_aws *aws, const cb_aws_role *role, const cb_buf *form,
                   const cb_aws_keys *with, cb_aws_keys *keys, cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_answer_wipe) cb_http_response response = {0};
    const char *region = is_region(role->region) ? role->region : aws->sts_region;
    char url[CB_AUTH_URL_MAX];
    char digest[sizeof("x-amz-content-sha256: ") + 2 * (size_t)CB_HASH_BYTES];
    const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", digest, NULL};
    sts_signer signer = {.keys = with};
    cb_inquiry inquiry = {
        .who = "the role service (STS)",
        .method = "POST",
        .url = address_of(aws, region, url),
        .headers = headers,
        .body = cb_buf_bytes(form),
        .sign = with != NULL ? sign : NULL,
        .arg = &signer,
    };
    cb_hash hash;
    cb_code code;

    snprintf(signer.provider, sizeof(signer.provider), "aws:amz:%s:sts",
             region[0] != '\0' ? region : "us-east-1");
    cb_sha256(inquiry.body, &hash);
    memcpy(digest, "x-amz-content-sha256: ", 22);
    cb_hex(hash.bytes, CB_HASH_BYTES, digest + 22);
    code = cb_inquire(aws->http, &inquiry, &response, err);
    return code == CB_OK ? read_answer(&inquiry, &response, keys, grant, err) : code;
}

static cb_code begin_form(cb_aws *aws, const char *action, const cb_aws_role *role, cb_buf *form,
                          cb_error *err)
{
    const char *session = role->session;
    char made[64];
    cb_code code;

    if (session == NULL)
        session = aws->environment[CB_AWS_ROLE_SESSION_NAME];
    if (session == NULL) {
        snprintf(made, sizeof(made), "canvasback-%lld", (long long)(cb_now_us(aws->ctx) / 1000000));
        session = made;
    }
    code = cb_form_add(form, "Action", action, err);
    if (code == CB_OK)
        code = cb_form_add(form, "Version", "2011-06-15", err);
    if (code == CB_OK)
        code = cb_form_add(form, "RoleArn", role->arn, err);
    if (code == CB_OK)
        code = cb_form_add(form, "RoleSessionName", session, err);
    if (code == CB_OK)
        code = cb_form_add(form, "DurationSeconds", role->duration_seconds, err);
    return code;
}

cb_code cb_aws_assume_role(cb_aws *aws, const cb_aws_role *role, const cb_aws_keys *with,
                           cb_aws_keys *keys, cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf form = {.limit = CB_AUTH_FILE_MAX};
    cb_code code = begin_form(aws, "AssumeRole", role, &form, err);

    if (code == CB_OK)
        code = cb_form_add(&form, "ExternalId", role->external_id, err);
    if (code == CB_OK)
        code = ask(aws, role, &form, with, keys, grant, err);
    return code == CB_OK ? CB_OK : cb_context(err, "role '%.160s'", role->arn);
}

cb_code cb_aws_web_identity(cb_aws *aws, const cb_aws_role *role, const char *token_file,
                            cb_aws_keys *keys, cb_grant *grant, cb_error *err)
{
    CB_CLEANUP(cb_buf_wipe) cb_buf form = {.limit = CB_AUTH_FILE_MAX};
    CB_CLEANUP(cb_vault_free) cb_vault vault = {0};
    const char *token;
    cb_code code;

    /* Read anew each time: whoever put it there puts a new one before the old one ends. */
    code = cb_auth_token_file(&vault, token_file, &token, err);
    if (code == CB_NOT_FOUND)
        code = err->code = CB_DENIED; /* it was named: this is no "look further" */
    if (code == CB_OK)
        code = begin_form(aws, "AssumeRoleWithWebIdentity", role, &form, err);
    if (code == CB_OK)
        code = cb_form_add(&form, "WebIdentityToken", token, err);
    if (code == CB_OK)
        code = ask(aws, role, &form, NULL, keys, grant, err);
    return code == CB_OK ? CB_OK : cb_context(err, "role '%.160s' by web identity", role->arn);
}
