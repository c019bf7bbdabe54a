/*
 * files_versions.c - is it still the file that a backup refers to, and where is it if not?
 *
 * A lake's file never changes. So what matters is one content: the version that the backup has
 * seen, or another with the same mark. Stores mark what they hold (S3's ETag is the MD5 of an
 * object that was put at once, and a hash of its parts' hashes else); nothing is read for it.
 *
 * To bring a deleted file back its delete markers are taken away, as long as nothing else lies
 * above: no byte is copied, and the version that the backup knows is what reads see again. Else the
 * store copies the version onto its own key: what lies above becomes an older version itself, and
 * nothing is lost.
 */
#include "source/ducklake/files_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "codec/checksum.h"
#include "codec/hash.h"

enum { MARKERS_MAX = 16, MD5_TEXT = 2 * CB_MD5_BYTES, HASH_PIECE = 1 << 20 };

/* ---- marks ---------------------------------------------------------------------------------- */

static bool is_md5(const char *text, size_t size)
{
    return size == MD5_TEXT && strspn(text, "0123456789abcdefABCDEF") >= MD5_TEXT;
}

/* The mark of an object that was put in one part of an upload: the MD5 of the MD5. */
static bool single_part_of(const char *md5, char out[MD5_TEXT + 1])
{
    uint8_t bytes[CB_MD5_BYTES];
    uint8_t twice[CB_MD5_BYTES];

    if (!cb_unhex(md5, sizeof(bytes), bytes) || !cb_md5(cb_bytes_of(bytes, sizeof(bytes)), twice))
        return false;
    cb_hex(twice, sizeof(twice), out);
    return true;
}

/* "md5" and "md5-1" of the same bytes; `plain` is the one without parts. */
static cb_lake_likeness compare_put_with_part(const char *plain, const char *part)
{
    char expected[MD5_TEXT + 1];

    if (!is_md5(plain, strlen(plain)) || strcmp(part + MD5_TEXT, "-1") != 0 ||
        !single_part_of(plain, expected))
        return CB_LAKE_UNTOLD;
    return strncasecmp(expected, part, MD5_TEXT) == 0 ? CB_LAKE_ALIKE : CB_LAKE_UNLIKE;
}

cb_lake_likeness cb_lake_tag_compare(const char *a, const char *b)
{
    const char *a_parts;
    const char *b_parts;

    if (a == NULL || b == NULL || a[0] == '\0' || b[0] == '\0')
        return CB_LAKE_UNTOLD;
    if (strcmp(a, b) == 0)
        return CB_LAKE_ALIKE;
    a_parts = strlen(a) > MD5_TEXT && a[MD5_TEXT] == '-' ? a + MD5_TEXT : "";
    b_parts = strlen(b) > MD5_TEXT && b[MD5_TEXT] == '-' ? b + MD5_TEXT : "";
    if (a_parts[0] == '\0' && b_parts[0] != '\0')
        return compare_put_with_part(a, b);
    if (b_parts[0] == '\0' && a_parts[0] != '\0')
        return compare_put_with_part(b, a);
    /* Uploads that were cut in another way, or another kind of mark altogether. */
    if (strlen(a) != strlen(b) || strcmp(a_parts, b_parts) != 0 ||
        strcspn(a, ":") != strcspn(b, ":"))
        return CB_LAKE_UNTOLD;
    return strcasecmp(a, b) == 0 ? CB_LAKE_ALIKE : CB_LAKE_UNLIKE;
}

/* ---- the versions of one key ---------------------------------------------------------------- */

typedef struct search {
    const char *key;
    const cb_lake_wanted *wanted; /* NULL: any */
    bool is_past;                 /* the listing has left the key behind */
    bool has_latest;
    cb_lake_facts latest; /* what reads see */
    bool has_chosen, is_current;
    char chosen[CB_LAKE_VERSION_MAX];
    /* Delete markers above all else. */
    char markers[MARKERS_MAX][CB_LAKE_VERSION_MAX];
    size_t marker_count, versions_seen;
    bool only_markers_above; /* the chosen one */
} search;

static bool is_wanted(const cb_lake_wanted *wanted, const cb_version *version)
{
    bool has_version = wanted->version != NULL && wanted->version[0] != '\0';
    bool has_tag = wanted->tag != NULL && wanted->tag[0] != '\0';

    if (version->size_bytes != wanted->size)
        return false;
    if ((!has_version && !has_tag) || (has_version && strcmp(wanted->version, version->id) == 0))
        return true;
    return cb_lake_tag_compare(wanted->tag, version->tag) == CB_LAKE_ALIKE;
}

static void note_marker(search *s, const cb_version *version)
{
    size_t at = s->marker_count++;

    if (s->versions_seen == 0 && at < MARKERS_MAX && strlen(version->id) < CB_LAKE_VERSION_MAX)
        snprintf(s->markers[at], sizeof(s->markers[at]), "%s", version->id);
    else
        s->marker_count = MARKERS_MAX + 1; /* not to be taken away one by one */
}

static void set_facts(cb_lake_facts *out, const cb_version *version)
{
    const char *tag = version->tag != NULL ? version->tag : "";

    *out = (cb_lake_facts){.size = version->size_bytes, .modified_us = version->modified_us};
    /* "null" is S3's name for what was put before the bucket kept versions. */
    if (strcmp(version->id, "null") != 0 && strlen(version->id) < sizeof(out->version))
        snprintf(out->version, sizeof(out->version), "%s", version->id);
    if (strlen(tag) < sizeof(out->tag))
        snprintf(out->tag, sizeof(out->tag), "%s", tag);
}

static cb_code note_version(void *arg, const cb_version *version, cb_error *err)
{
    search *s = arg;

    if (strcmp(version->key, s->key) != 0) {
        s->is_past = true;
        return cb_fail(err, CB_CANCELLED, "the versions of '%.200s' are known", s->key);
    }
    if (version->is_removal) {
        note_marker(s, version);
        return CB_OK;
    }
    if (version->is_latest) {
        s->has_latest = true;
        set_facts(&s->latest, version);
    }
    s->versions_seen++;
    if (s->wanted == NULL || s->has_chosen || !is_wanted(s->wanted, version) ||
        strlen(version->id) >= sizeof(s->chosen))
        return CB_OK;
    s->has_chosen = true;
    s->is_current = version->is_latest;
    s->only_markers_above =
        s->versions_seen == 1 && s->marker_count > 0 && s->marker_count <= MARKERS_MAX;
    snprintf(s->chosen, sizeof(s->chosen), "%s", version->id);
    return CB_OK;
}

static cb_code look_at_versions(cb_store *store, search *s, cb_error *err)
{
    cb_code code = cb_store_versions(store, s->key, note_version, s, err);

    if (code == CB_OK || !s->is_past)
        return code;
    cb_error_clear(err);
    return CB_OK;
}

/* ---- one file ------------------------------------------------------------------------------- */

static cb_code find_object(void *arg, const cb_object *object, cb_error *err)
{
    const cb_version version = {.key = object->key,
                                .id = "",
                                .size_bytes = object->size_bytes,
                                .modified_us = object->modified_us,
                                .tag = object->tag,
                                .is_latest = true};

    return note_version(arg, &version, err);
}

static cb_code look_remote(cb_lake_files *files, const char *url, search *s, cb_error *err)
{
    cb_store *store;
    cb_code code = cb_lake_files_store(files, url, false, &store, &s->key, err);

    if (code == CB_OK)
        code = look_at_versions(store, s, err);
    if (code != CB_DENIED && code != CB_UNSUPPORTED)
        return code;
    cb_error_clear(err); /* objects may be listed where their versions may not */
    *s = (search){.key = s->key};
    code = cb_store_list(store, s->key, find_object, s, err);
    if (code == CB_CANCELLED && s->is_past) {
        cb_error_clear(err);
        code = CB_OK;
    }
    return code;
}

cb_code cb_lake_files_look(cb_lake_files *files, const char *url, cb_lake_facts *out, cb_error *err)
{
    search s = {0};
    struct stat facts;
    cb_code code;

    *out = (cb_lake_facts){0};
    if (cb_lake_url_is_remote(url)) {
        code = look_remote(files, url, &s, err);
        if (code == CB_OK && !s.has_latest)
            code = cb_fail(err, CB_NOT_FOUND, "there is no object '%.400s'", url);
        *out = s.latest;
        return code;
    }
    if (stat(url, &facts) != 0)
        return cb_fail_errno(err, errno, "cannot look at '%s'", url);
    if (!S_ISREG(facts.st_mode))
        return cb_fail(err, CB_CORRUPT, "'%s' is not a plain file", url);
    out->size = (uint64_t)facts.st_size;
    out->modified_us = (int64_t)facts.st_mtim.tv_sec * 1000000 + facts.st_mtim.tv_nsec / 1000;
    return CB_OK;
}

static void hasher_end(cb_hasher **hasher)
{
    cb_hasher_free(*hasher);
}

cb_code cb_lake_files_hash(cb_lake_files *files, const char *url, uint64_t size, uint8_t out[32],
                           cb_error *err)
{
    CB_CLEANUP(cb_buf_free) cb_buf piece = {0};
    CB_CLEANUP(hasher_end) cb_hasher *hasher = NULL;
    cb_hash hash;
    uint64_t at = 0;
    cb_code code = cb_hasher_new(&hasher, err);

    while (code == CB_OK) {
        piece.size = 0;
        code = cb_check_cancel(files->ctx, err);
        if (code == CB_OK)
            code = cb_lake_files_read(files, url, at, HASH_PIECE, &piece, err);
        if (code != CB_OK || piece.size == 0)
            break;
        cb_hasher_step(hasher, cb_buf_bytes(&piece));
        at += piece.size;
        if (at > size)
            break;
    }
    if (code == CB_OK && at != size)
        code = cb_fail(err, CB_CORRUPT, "'%s' has not %llu bytes", url, (unsigned long long)size);
    if (code != CB_OK)
        return code;
    cb_hasher_end(hasher, &hash);
    memcpy(out, hash.bytes, sizeof(hash.bytes));
    return CB_OK;
}

/* ---- older versions ------------------------------------------------------------------------- */

/* Who may not look at versions has none. */
static cb_code seek(cb_lake_files *files, search *s, cb_store **store, cb_error *err)
{
    cb_code code;

    if (!cb_lake_url_is_remote(s->wanted->url))
        return CB_OK;
    code = cb_lake_files_store(files, s->wanted->url, false, store, &s->key, err);
    if (code == CB_OK)
        code = look_at_versions(*store, s, err);
    if (code != CB_DENIED && code != CB_UNSUPPORTED && code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    s->has_chosen = false;
    return CB_OK;
}

cb_code cb_lake_files_seek(cb_lake_files *files, const cb_lake_wanted *wanted, cb_lake_where *where,
                           char version[CB_LAKE_VERSION_MAX], cb_error *err)
{
    search s = {.wanted = wanted};
    cb_store *store;
    cb_code code = seek(files, &s, &store, err);

    *where = code != CB_OK || !s.has_chosen ? CB_LAKE_NOWHERE
             : s.is_current                 ? CB_LAKE_IN_PLACE
                                            : CB_LAKE_BELOW;
    memcpy(version, s.chosen, sizeof(s.chosen));
    return code;
}

cb_code cb_lake_files_read_past(cb_lake_files *files, const char *url, uint64_t size,
                                uint64_t offset, uint64_t length, cb_buf *into, bool *done,
                                cb_error *err)
{
    cb_lake_wanted wanted = {.url = url, .size = size};
    search s = {.wanted = &wanted};
    cb_store *store;
    cb_code code = seek(files, &s, &store, err);

    *done = false;
    if (code != CB_OK || !s.has_chosen || s.chosen[0] == '\0')
        return code;
    code = cb_store_get_version(store, s.key, s.chosen, offset, length, into, err);
    *done = code == CB_OK;
    if (code != CB_DENIED && code != CB_UNSUPPORTED && code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err);
    return CB_OK;
}

cb_code cb_lake_files_read_version(cb_lake_files *files, const char *url, const char *version,
                                   uint64_t offset, uint64_t length, cb_buf *into, cb_error *err)
{
    cb_store *store;
    const char *key;
    cb_code code;

    if (version[0] == '\0' || !cb_lake_url_is_remote(url))
        return cb_lake_files_read(files, url, offset, length, into, err);
    code = cb_lake_files_store(files, url, false, &store, &key, err);
    return code == CB_OK ? cb_store_get_version(store, key, version, offset, length, into, err)
                         : code;
}

/* *done false: not to be had in this way. */
static cb_code take_markers_away(cb_store *store, const search *s, bool *done, cb_error *err)
{
    cb_code code = CB_OK;

    *done = false;
    if (!s->only_markers_above)
        return CB_OK;
    for (size_t i = 0; code == CB_OK && i < s->marker_count; i++)
        code = cb_store_unremove(store, s->key, s->markers[i], err);
    *done = code == CB_OK;
    if (code != CB_DENIED && code != CB_UNSUPPORTED)
        return code;
    cb_error_clear(err); /* a copy needs other permissions */
    return CB_OK;
}

cb_code cb_lake_files_bring_back(cb_lake_files *files, const cb_lake_wanted *wanted, bool *done,
                                 cb_error *err)
{
    search s = {.wanted = wanted};
    cb_store *store;
    cb_code code = seek(files, &s, &store, err);

    *done = code == CB_OK && s.has_chosen && s.is_current;
    if (code != CB_OK || !s.has_chosen || s.is_current)
        return code;
    code = take_markers_away(store, &s, done, err);
    if (code != CB_OK || *done)
        return code;
    code = cb_store_revert(store, s.key, s.chosen, err);
    *done = code == CB_OK;
    if (code == CB_DENIED) {
        err->hint[0] = '\0';
        cb_hint(err, "To bring a deleted file back, its delete marker is taken away "
                     "(s3:DeleteObjectVersion), or the version is copied over it "
                     "(s3:GetObjectVersion and s3:PutObject): these credentials may do neither.");
    }
    if (code != CB_UNSUPPORTED && code != CB_NOT_FOUND)
        return code;
    cb_error_clear(err); /* it keeps none, after all; or the version went a moment ago */
    return CB_OK;
}
