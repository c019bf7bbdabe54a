/*
 * s3_xml.c - see s3_xml.h. A document becomes a small tree first; then each kind of answer is read
 * from it by names, in the order of the document.
 */
#include "storage/s3/s3_xml.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "storage/http/http.h"

#include <expat.h>

enum { DEPTH_MAX = 16, NODES_MAX = 100000 };

typedef struct node {
    const char *name, *text;
    struct node *first, *last, *next;
} node;

typedef struct reader {
    XML_Parser parser;
    cb_arena *arena;
    node *open[DEPTH_MAX + 1]; /* [0] holds the root */
    unsigned depth, nodes;
    cb_buf text; /* of the element at hand */
    cb_code code;
    cb_error *err;
} reader;

/* ---- the tree ------------------------------------------------------------------------------- */

static void stop(reader *self, cb_code code)
{
    if (self->code == CB_OK)
        self->code = code;
    XML_StopParser(self->parser, XML_FALSE);
}

static void on_begin(void *arg, const char *name, const char **attributes)
{
    reader *self = arg;
    const char *colon = strrchr(name, ':');
    node *parent = self->open[self->depth];
    node *made;
    cb_code code;

    (void)attributes;
    self->text.size = 0;
    if (self->depth == DEPTH_MAX || self->nodes++ == NODES_MAX) {
        stop(self, cb_fail(self->err, CB_IO,
                           "the answer of the store is deeper or longer than any "
                           "that is documented"));
        return;
    }
    code = cb_arena_alloc(self->arena, sizeof(*made), &made, self->err);
    if (code == CB_OK)
        code = cb_arena_text(self->arena, colon != NULL ? colon + 1 : name, &made->name, self->err);
    if (code != CB_OK) {
        stop(self, code);
        return;
    }
    made->text = "";
    if (parent->last != NULL)
        parent->last->next = made;
    else
        parent->first = made;
    parent->last = made;
    self->open[++self->depth] = made;
}

static void on_end(void *arg, const char *name)
{
    reader *self = arg;
    node *ended = self->open[self->depth--];

    (void)name;
    if (ended->first == NULL && self->text.size > 0) { /* between elements is only white space */
        cb_code code =
            cb_arena_text_n(self->arena, self->text.data, self->text.size, &ended->text, self->err);

        if (code != CB_OK)
            stop(self, code);
    }
    self->text.size = 0;
}

static void on_text(void *arg, const char *text, int size)
{
    reader *self = arg;
    cb_code code = cb_buf_append(&self->text, text, (size_t)size, self->err);

    if (code != CB_OK)
        stop(self, code);
}

static void on_doctype(void *arg, const char *name, const char *system, const char *public, int own)
{
    reader *self = arg;

    (void)name;
    (void)system;
    (void)public;
    (void)own;
    stop(self, cb_fail(self->err, CB_IO, "the answer of the store has a document type"));
}

static cb_code parse(cb_bytes xml, cb_arena *arena, node *root, cb_error *err)
{
    reader self = {.arena = arena, .open = {root}, .err = err, .text = {.limit = 1 << 20}};

    *root = (node){.name = "", .text = ""};
    if (xml.size > INT32_MAX)
        return cb_fail(err, CB_IO, "the answer of the store is too long");
    self.parser = XML_ParserCreate(NULL);
    if (self.parser == NULL)
        return cb_fail_memory(err, xml.size);
    XML_SetUserData(self.parser, &self);
    XML_SetElementHandler(self.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(self.parser, on_text);
    XML_SetStartDoctypeDeclHandler(self.parser, on_doctype);
    if (XML_Parse(self.parser, (const char *)xml.data, (int)xml.size, 1) != XML_STATUS_OK &&
        self.code == CB_OK)
        self.code = cb_fail(err, CB_IO, "the answer of the store is no XML: %s",
                            XML_ErrorString(XML_GetErrorCode(self.parser)));
    XML_ParserFree(self.parser);
    cb_buf_free(&self.text);
    return self.code;
}

static const char *text_of(const node *of, const char *name)
{
    for (const node *at = of->first; at != NULL; at = at->next)
        if (strcmp(at->name, name) == 0)
            return at->text;
    return "";
}

static bool is_named(const node *of, const char *name)
{
    return strcmp(of->name, name) == 0;
}

/* ---- listings ------------------------------------------------------------------------------- */

void cb_s3_page_free(cb_s3_page *page)
{
    cb_arena_free(&page->arena);
    free(page->entries);
    memset(page, 0, sizeof(*page));
}

/* Listings are asked for with encoding-type=url, in which a space is a '+'. */
static cb_code decode(cb_s3_page *page, const char *text, bool is_encoded, const char **out,
                      cb_error *err)
{
    size_t size = strlen(text) + 1;
    char *copy;
    cb_code code;

    *out = text;
    if (!is_encoded || strpbrk(text, "%+") == NULL)
        return CB_OK;
    code = cb_arena_alloc(&page->arena, size, &copy, err);
    if (code != CB_OK)
        return code;
    memcpy(copy, text, size);
    for (char *at = copy; *at != '\0'; at++)
        if (*at == '+')
            *at = ' ';
    if (!cb_url_decode(copy))
        return cb_fail(err, CB_IO, "the store lists a key that is not encoded as it says");
    *out = copy;
    return CB_OK;
}

/* An ETag stands in quotes, most of the time. */
static cb_code read_tag(cb_s3_page *page, const char *text, const char **out, cb_error *err)
{
    size_t size = strlen(text);

    *out = text;
    if (size < 2 || text[0] != '"' || text[size - 1] != '"')
        return CB_OK;
    return cb_arena_text_n(&page->arena, text + 1, size - 2, out, err);
}

static cb_code read_entry(cb_s3_page *page, const node *from, bool is_encoded, cb_error *err)
{
    const char *size = text_of(from, "Size");
    const char *date = text_of(from, "LastModified");
    cb_error ignored;
    cb_s3_entry *entry;
    cb_code code = CB_OK;

    if (page->count == page->capacity)
        code = cb_array_grow(&page->entries, &page->capacity, sizeof(*page->entries), err);
    if (code != CB_OK)
        return code;
    entry = &page->entries[page->count];
    *entry = (cb_s3_entry){.id = text_of(from, "VersionId"), .code = text_of(from, "Code")};
    if (is_named(from, "Upload")) {
        entry->id = text_of(from, "UploadId");
        date = text_of(from, "Initiated");
    }
    entry->is_latest = strcmp(text_of(from, "IsLatest"), "true") == 0;
    entry->is_removal = is_named(from, "DeleteMarker");
    if (size[0] != '\0' && cb_parse_u64(size, &entry->size_bytes, &ignored) != CB_OK)
        return cb_fail(err, CB_IO, "the store lists an object of '%.20s' bytes", size);
    if (date[0] != '\0' && !cb_http_time(date, &entry->modified_us))
        return cb_fail(err, CB_IO, "the store lists an object of '%.40s'", date);
    code = read_tag(page, text_of(from, "ETag"), &entry->tag, err);
    if (code == CB_OK)
        code = decode(page, text_of(from, "Key"), is_encoded, &entry->key, err);
    if (code == CB_OK && entry->key[0] == '\0')
        code = cb_fail(err, CB_IO, "the store lists something without a key");
    if (code == CB_OK)
        page->count++;
    return code;
}

static const char *first_of(const node *of, const char *const *names)
{
    const char *text = "";

    for (; *names != NULL && text[0] == '\0'; names++)
        text = text_of(of, *names);
    return text;
}

static cb_code read_markers(cb_s3_page *page, const node *root, bool is_encoded, cb_error *err)
{
    static const char *const markers[] = {"NextContinuationToken", "NextKeyMarker", NULL};
    static const char *const ids[] = {"NextVersionIdMarker", "NextUploadIdMarker", NULL};
    /* A continuation token is opaque: it is not encoded as keys are. */
    bool is_key = text_of(root, "NextContinuationToken")[0] == '\0';

    page->is_truncated = strcmp(text_of(root, "IsTruncated"), "true") == 0;
    page->next_id = first_of(root, ids);
    return decode(page, first_of(root, markers), is_encoded && is_key, &page->next, err);
}

static cb_code read_page(cb_s3_page *page, const node *root, cb_error *err)
{
    static const char *const kinds[] = {"ListBucketResult", "ListVersionsResult",
                                        "ListMultipartUploadsResult", "DeleteResult"};
    static const char *const lines[] = {"Contents", "Version", "DeleteMarker", "Upload", "Error"};
    bool is_encoded = strcmp(text_of(root, "EncodingType"), "url") == 0;
    bool is_known = false;
    cb_code code = CB_OK;

    for (size_t i = 0; i < CB_LENGTH(kinds); i++)
        is_known = is_known || is_named(root, kinds[i]);
    if (!is_known)
        return cb_fail(err, CB_IO, "the answer of the store is '%.40s' and no listing", root->name);
    for (const node *at = root->first; at != NULL && code == CB_OK; at = at->next)
        for (size_t i = 0; i < CB_LENGTH(lines) && code == CB_OK; i++)
            if (is_named(at, lines[i]))
                code = read_entry(page, at, is_encoded, err);
    return code == CB_OK ? read_markers(page, root, is_encoded, err) : code;
}

cb_code cb_s3_parse_page(cb_bytes xml, cb_s3_page *out, cb_error *err)
{
    node root;
    cb_code code = parse(xml, &out->arena, &root, err);

    out->next = "";
    out->next_id = "";
    return code == CB_OK ? read_page(out, root.first, err) : code;
}

/* ---- single texts --------------------------------------------------------------------------- */

static void quote(const char *from, char *to, size_t room)
{
    size_t i = 0;

    for (; from[i] != '\0' && i + 1 < room; i++)
        to[i] = (char)((unsigned char)from[i] >= 0x20 && from[i] != 0x7f ? from[i] : ' ');
    while (from[i] != '\0' && i > 0 && ((unsigned char)from[i] & 0xc0) == 0x80)
        i--; /* not in the middle of a character */
    to[i] = '\0';
}

bool cb_s3_parse_failure(cb_bytes xml, cb_s3_failure *out)
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_error ignored;
    node root;

    memset(out, 0, sizeof(*out));
    if (xml.size == 0 || parse(xml, &arena, &root, &ignored) != CB_OK ||
        !is_named(root.first, "Error"))
        return false;
    quote(text_of(root.first, "Code"), out->code, sizeof(out->code));
    quote(text_of(root.first, "Message"), out->message, sizeof(out->message));
    quote(text_of(root.first, "Region"), out->region, sizeof(out->region));
    quote(text_of(root.first, "Endpoint"), out->endpoint, sizeof(out->endpoint));
    return true;
}

static const node *find(const node *below, const char *name)
{
    for (const node *at = below->first; at != NULL; at = at->next) {
        const node *found = is_named(at, name) ? at : find(at, name); /* DEPTH_MAX at the most */

        if (found != NULL)
            return found;
    }
    return NULL;
}

const char *cb_s3_find_text(cb_bytes xml, const char *name, char out[CB_S3_TEXT_MAX])
{
    CB_CLEANUP(cb_arena_free) cb_arena arena = {0};
    cb_error ignored;
    const node *found;
    node root;

    out[0] = '\0';
    if (xml.size == 0 || parse(xml, &arena, &root, &ignored) != CB_OK)
        return out;
    found = find(&root, name);
    if (found != NULL && strlen(found->text) < CB_S3_TEXT_MAX)
        quote(found->text, out, CB_S3_TEXT_MAX);
    return out;
}

cb_code cb_s3_escape(cb_buf *into, const char *text, cb_error *err)
{
    cb_code code = CB_OK;

    for (; *text != '\0' && code == CB_OK; text++) {
        const char *special = *text == '&'   ? "&amp;"
                              : *text == '<' ? "&lt;"
                              : *text == '>' ? "&gt;"
                              : *text == '"' ? "&quot;"
                                             : NULL;

        code = special != NULL ? cb_buf_append(into, special, strlen(special), err)
                               : cb_buf_append(into, text, 1, err);
    }
    return code;
}
