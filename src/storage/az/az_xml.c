/*
 * az_xml.c - see az_xml.h. Fields are told by their place, not by their name alone: the metadata of
 * a blob may hold an element of any name.
 */
#include "storage/az/az_xml.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/text.h"
#include "storage/http/http.h"

#include <expat.h>

enum { TEXT_MAX = 16 * 1024 };

typedef struct reader {
    XML_Parser parser;
    cb_az_page *page;   /* NULL: a failure is read */
    char *failure_code; /* CB_AZ_CODE_MAX */
    unsigned depth;
    bool in_blobs, in_blob, in_properties, is_encoded;
    cb_buf text; /* of the element at hand */
    cb_code code;
    cb_error *err;
} reader;

static void stop(reader *self, cb_code code)
{
    if (self->code == CB_OK)
        self->code = code;
    XML_StopParser(self->parser, XML_FALSE);
}

static void refuse(reader *self, const char *what)
{
    stop(self, cb_fail(self->err, CB_IO, "the answer of the store is not as documented: %s", what));
}

static void begin_blob(reader *self)
{
    cb_az_page *page = self->page;
    cb_code code = CB_OK;

    if (page->count == page->capacity)
        code = cb_array_grow(&page->blobs, &page->capacity, sizeof(*page->blobs), self->err);
    if (code != CB_OK) {
        stop(self, code);
        return;
    }
    page->blobs[page->count++] = (cb_az_blob){.name = "", .version = "", .tag = ""};
}

static void begin_element(void *arg, const char *name, const char **attributes)
{
    reader *self = arg;

    self->depth++;
    self->text.size = 0;
    self->is_encoded = false;
    if (self->page == NULL)
        return;
    if (self->depth == 1 && strcmp(name, "EnumerationResults") != 0)
        refuse(self, "it is no listing");
    else if (self->depth == 2)
        self->in_blobs = strcmp(name, "Blobs") == 0;
    else if (self->depth == 3 && self->in_blobs)
        self->in_blob = strcmp(name, "Blob") == 0;
    else if (self->depth == 4)
        self->in_properties = strcmp(name, "Properties") == 0;
    if (self->depth == 3 && self->in_blob)
        begin_blob(self);
    for (size_t i = 0; attributes[i] != NULL; i += 2)
        if (strcmp(attributes[i], "Encoded") == 0 && strcmp(attributes[i + 1], "true") == 0)
            self->is_encoded = true;
}

static void keep_text(reader *self, const char **out)
{
    cb_code code = cb_arena_text(&self->page->arena, (const char *)self->text.data, out, self->err);

    if (code != CB_OK)
        stop(self, code);
}

static void end_blob_field(reader *self, const char *name, char *text)
{
    cb_az_blob *blob = &self->page->blobs[self->page->count - 1];

    if (strcmp(name, "Name") == 0) {
        if (self->is_encoded && !cb_url_decode(text))
            refuse(self, "the name of a blob");
        else
            keep_text(self, &blob->name);
    } else if (strcmp(name, "VersionId") == 0) {
        keep_text(self, &blob->version);
    } else if (strcmp(name, "IsCurrentVersion") == 0) {
        blob->is_current = strcmp(text, "true") == 0;
    }
}

/* Of blobs that were put at once, and of others whose writer said it. */
static void keep_tag(reader *self, cb_az_blob *blob, const char *text)
{
    cb_code code = CB_OK;

    if (text[0] != '\0')
        code = cb_arena_format(&self->page->arena, &blob->tag, self->err, "md5:%s", text);
    if (code != CB_OK)
        stop(self, code);
}

static void end_property(reader *self, const char *name, const char *text)
{
    cb_az_blob *blob = &self->page->blobs[self->page->count - 1];
    cb_error ignored;

    if (strcmp(name, "Content-Length") == 0 && text[0] != '\0') {
        if (cb_parse_u64(text, &blob->size_bytes, &ignored) != CB_OK)
            refuse(self, "the size of a blob");
    } else if (strcmp(name, "Last-Modified") == 0) {
        if (!cb_http_time(text, &blob->modified_us))
            blob->modified_us = 0;
    } else if (strcmp(name, "Content-MD5") == 0) {
        keep_tag(self, blob, text);
    } else if (strcmp(name, "ResourceType") == 0) {
        blob->is_folder = strcmp(text, "directory") == 0;
    }
}

static void end_element(void *arg, const char *name)
{
    reader *self = arg;
    cb_code code = cb_buf_u8(&self->text, 0, self->err);

    if (code != CB_OK) {
        stop(self, code);
        return;
    }
    if (self->page == NULL) {
        if (self->depth == 2 && strcmp(name, "Code") == 0)
            snprintf(self->failure_code, CB_AZ_CODE_MAX, "%s", (char *)self->text.data);
    } else if (self->depth == 2 && strcmp(name, "NextMarker") == 0) {
        keep_text(self, &self->page->next);
    } else if (self->depth == 4 && self->in_blob) {
        end_blob_field(self, name, (char *)self->text.data);
    } else if (self->depth == 5 && self->in_blob && self->in_properties) {
        end_property(self, name, (const char *)self->text.data);
    }
    self->text.size = 0;
    self->depth--;
    if (self->depth < 3)
        self->in_blob = false;
    if (self->depth < 4)
        self->in_properties = false;
}

static void take_text(void *arg, const char *text, int size)
{
    reader *self = arg;
    cb_code code = cb_buf_append(&self->text, text, (size_t)size, self->err);

    if (code != CB_OK)
        stop(self, code);
}

static void refuse_document_type(void *arg, const char *name, const char *system_id,
                                 const char *public_id, int has_subset)
{
    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_subset;
    refuse(arg, "it has a document type");
}

static cb_code parse(reader *self, cb_bytes xml)
{
    enum XML_Status status;

    if (xml.size > INT32_MAX)
        return cb_fail(self->err, CB_TOO_LARGE, "the answer of the store is too long");
    self->parser = XML_ParserCreate("UTF-8");
    if (self->parser == NULL)
        return cb_fail(self->err, CB_NO_MEMORY, "no memory to read the answer of the store");
    self->text.limit = TEXT_MAX;
    XML_SetUserData(self->parser, self);
    XML_SetElementHandler(self->parser, begin_element, end_element);
    XML_SetCharacterDataHandler(self->parser, take_text);
    XML_SetStartDoctypeDeclHandler(self->parser, refuse_document_type);
    status = XML_Parse(self->parser, (const char *)xml.data, (int)xml.size, XML_TRUE);
    XML_ParserFree(self->parser);
    cb_buf_free(&self->text);
    if (self->code == CB_OK && status != XML_STATUS_OK)
        self->code =
            cb_fail(self->err, CB_IO, "the answer of the store is not as documented: it is no XML");
    return self->code;
}

void cb_az_page_free(cb_az_page *page)
{
    cb_arena_free(&page->arena);
    free(page->blobs);
    *page = (cb_az_page){0};
}

cb_code cb_az_parse_page(cb_bytes xml, cb_az_page *out, cb_error *err)
{
    reader self = {.page = out, .err = err};
    cb_code code;

    out->next = "";
    code = parse(&self, xml);
    for (size_t i = 0; code == CB_OK && i < out->count; i++)
        if (out->blobs[i].name[0] == '\0')
            code = cb_fail(err, CB_IO, "the answer of the store is not as documented: %s",
                           "a blob without a name");
    return code;
}

void cb_az_parse_failure(cb_bytes xml, char out[CB_AZ_CODE_MAX])
{
    cb_error ignored;
    reader self = {.failure_code = out, .err = &ignored};

    out[0] = '\0';
    cb_ignore(parse(&self, xml)); /* what is no XML has no code */
}
