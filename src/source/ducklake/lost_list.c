/*
 * lost_list.c - see lost_list.h. The writer builds a name that nobody reads and renames it when all
 * is on disk, so a list is whole or not there.
 */
#include "source/ducklake/lost_list.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIELDS = 9, LINE_MAX_BYTES = 64 << 10 };

static const char mark[] = "# canvasback lost files 1 ";

static const char *const kinds[] = {
    [CB_LAKE_FILE_DATA] = "data",
    [CB_LAKE_FILE_DELETE] = "delete",
    [CB_LAKE_FILE_PUFFIN] = "puffin",
    [CB_LAKE_FILE_SCHEDULED] = "scheduled",
};

struct cb_lost_list_writer {
    char path[CB_PATH_MAX], partial[CB_PATH_MAX];
    FILE *file; /* NULL once it has ended */
};

cb_code cb_lost_list_create(const char *path, const cb_lost_list_head *head,
                            cb_lost_list_writer **out, cb_error *err)
{
    cb_lost_list_writer *w = calloc(1, sizeof(*w));
    int fd;

    *out = NULL;
    if (w == NULL)
        return cb_fail_memory(err, sizeof(*w));
    snprintf(w->path, sizeof(w->path), "%s", path);
    if (snprintf(w->partial, sizeof(w->partial), "%s.partial", path) >= (int)sizeof(w->partial)) {
        free(w);
        return cb_fail(err, CB_TOO_LARGE, "the path '%.64s...' is too long", path);
    }
    if (cb_file_open(w->partial, O_WRONLY | O_CREAT | O_TRUNC, 0600, &fd, err) != CB_OK) {
        free(w);
        return err->code;
    }
    w->file = fdopen(fd, "w");
    if (w->file == NULL) {
        close(fd);
        unlink(w->partial);
        free(w);
        return cb_fail_memory(err, 0);
    }
    fprintf(w->file, "%s%s %lld %lld\n", mark, head->identity, (long long)head->restored_snapshot,
            (long long)head->replaced_snapshot);
    *out = w;
    return CB_OK;
}

static void put_escaped(FILE *file, const char *text)
{
    for (const char *at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == '%' || *at == 0x7f)
            fprintf(file, "%%%02X", (unsigned)(unsigned char)*at);
        else
            putc(*at, file);
}

static cb_code failed(const cb_lost_list_writer *w, cb_error *err)
{
    return cb_fail_errno(err, errno, "cannot write '%s'", w->path);
}

cb_code cb_lost_list_add(cb_lost_list_writer *w, const cb_lake_file *file, const char *table,
                         cb_error *err)
{
    fprintf(w->file, "%s\t", kinds[file->kind]);
    put_escaped(w->file, file->url);
    putc('\t', w->file);
    put_escaped(w->file, table != NULL ? table : "");
    fprintf(w->file, "\t%lld\t%lld\t%lld\t%lld\t%lld\t%d\n", (long long)file->table_id,
            (long long)file->begin_snapshot, (long long)file->end_snapshot,
            (long long)file->size_bytes, (long long)file->records, file->is_encrypted ? 1 : 0);
    return ferror(w->file) ? failed(w, err) : CB_OK;
}

cb_code cb_lost_list_end(cb_lost_list_writer *w, cb_error *err)
{
    bool is_written = fflush(w->file) == 0 && fsync(fileno(w->file)) == 0;

    if (!is_written)
        return failed(w, err);
    if (fclose(w->file) != 0) {
        w->file = NULL;
        unlink(w->partial);
        return failed(w, err);
    }
    w->file = NULL;
    if (rename(w->partial, w->path) != 0) {
        cb_fail_errno(err, errno, "cannot name '%s'", w->path);
        unlink(w->partial);
        return err->code;
    }
    return cb_parent_sync(w->path, err);
}

void cb_lost_list_free(cb_lost_list_writer *w)
{
    if (w == NULL)
        return;
    if (w->file != NULL) {
        fclose(w->file);
        unlink(w->partial);
    }
    free(w);
}

/* ---- reading ------------------------------------------------------------------------------ */

/* In place: what was escaped only becomes shorter. */
static bool unescape(char *text)
{
    char *to = text;

    for (const char *at = text; *at != '\0'; at++) {
        uint8_t byte;

        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        if (at[1] == '\0' || !cb_unhex(at + 1, 2, &byte) || byte == 0)
            return false;
        *to++ = (char)byte;
        at += 2;
    }
    *to = '\0';
    return true;
}

static cb_code parse_head(const char *path, char *line, cb_lost_list_head *head, cb_error *err)
{
    char *identity = line + strlen(mark);
    char *restored, *replaced;

    if (!cb_has_prefix(line, mark)) {
        cb_fail(err, CB_UNSUPPORTED, "'%s' is no list of files that a restore wrote", path);
        cb_hint(err, "Name a .lost file that restore told of.");
        return err->code;
    }
    restored = strchr(identity, ' ');
    replaced = restored != NULL ? strchr(restored + 1, ' ') : NULL;
    if (replaced == NULL || (size_t)(restored - identity) >= sizeof(head->identity))
        return cb_fail(err, CB_CORRUPT, "the first line of '%s' is damaged", path);
    *restored = *replaced = '\0';
    memcpy(head->identity, identity, (size_t)(restored - identity) + 1);
    if (cb_parse_i64(restored + 1, &head->restored_snapshot, err) != CB_OK ||
        cb_parse_i64(replaced + 1, &head->replaced_snapshot, err) != CB_OK)
        return cb_context(err, "'%s'", path);
    return CB_OK;
}

static bool parse_kind(const char *text, cb_lake_file_kind *out)
{
    for (size_t i = 0; i < CB_LENGTH(kinds); i++)
        if (strcmp(kinds[i], text) == 0) {
            *out = (cb_lake_file_kind)i;
            return true;
        }
    return false;
}

static bool parse_line(char *line, cb_lake_file *file, const char **table)
{
    char *fields[FIELDS];
    int64_t encrypted;
    cb_error err = {0};

    for (size_t i = 0; i < FIELDS; i++) {
        fields[i] = line;
        line = line != NULL ? strchr(line, '\t') : NULL;
        if (i + 1 < FIELDS && line == NULL)
            return false;
        if (line != NULL)
            *line++ = '\0';
    }
    *file = (cb_lake_file){.url = fields[1], .item = "", .id = -1, .footer_bytes = -1};
    *table = fields[2];
    if (line != NULL || !parse_kind(fields[0], &file->kind) || !unescape(fields[1]) ||
        !unescape(fields[2]) || cb_parse_i64(fields[3], &file->table_id, &err) != CB_OK ||
        cb_parse_i64(fields[4], &file->begin_snapshot, &err) != CB_OK ||
        cb_parse_i64(fields[5], &file->end_snapshot, &err) != CB_OK ||
        cb_parse_i64(fields[6], &file->size_bytes, &err) != CB_OK ||
        cb_parse_i64(fields[7], &file->records, &err) != CB_OK ||
        cb_parse_i64(fields[8], &encrypted, &err) != CB_OK)
        return false;
    file->is_encrypted = encrypted != 0;
    return true;
}

static cb_code read_lines(const char *path, FILE *file, char *line, cb_lost_list_head *head,
                          cb_lost_list_visit *visit, void *arg, cb_error *err)
{
    for (uint64_t number = 1; fgets(line, LINE_MAX_BYTES, file) != NULL; number++) {
        size_t size = strlen(line);
        cb_lake_file lost;
        const char *table;
        cb_code code = CB_OK;

        if (size == 0 || line[size - 1] != '\n')
            return cb_fail(err, CB_CORRUPT, "line %llu of '%s' is cut", (unsigned long long)number,
                           path);
        line[size - 1] = '\0';
        if (number == 1)
            code = parse_head(path, line, head, err);
        else if (!parse_line(line, &lost, &table))
            code = cb_fail(err, CB_CORRUPT, "line %llu of '%s' is damaged",
                           (unsigned long long)number, path);
        else if (visit != NULL)
            code = visit(arg, &lost, table, err);
        if (code != CB_OK || visit == NULL)
            return code;
    }
    return ferror(file) ? cb_fail_errno(err, errno, "cannot read '%s'", path) : CB_OK;
}

cb_code cb_lost_list_read(const char *path, cb_lost_list_head *head, cb_lost_list_visit *visit,
                          void *arg, cb_error *err)
{
    FILE *file = fopen(path, "re");
    char *line;
    cb_code code;

    *head = (cb_lost_list_head){.restored_snapshot = -1, .replaced_snapshot = -1};
    if (file == NULL) {
        cb_fail_errno(err, errno, "cannot open '%s'", path);
        cb_hint(err, "Restores over a lake say which list they have saved; 'canvasback lake adopt "
                     "LAKE' alone finds those of this machine.");
        return err->code;
    }
    line = malloc(LINE_MAX_BYTES);
    code = line != NULL ? read_lines(path, file, line, head, visit, arg, err)
                        : cb_fail_memory(err, LINE_MAX_BYTES);
    if (code == CB_OK && head->replaced_snapshot < 0)
        code = cb_fail(err, CB_CORRUPT, "'%s' is empty", path);
    free(line);
    fclose(file);
    return code;
}
