/*
 * NAME[@LABEL] as people write it, to one backup.
 */
#include "repo/repo_internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"

/* A label as long as YYYYMMDD-HHMMSS is whole: it never stands for one with -2 behind it. */
enum { NAMES_IN_HINT = 8, WHOLE_LABEL = 15 };

static cb_code not_there(cb_error *err)
{
    err->in_repository = true;
    return err->code;
}

/* "There are: a, b, c" and a guess at what was meant. */
static void hint_names(cb_repo *repo, const char *wanted, cb_error *err)
{
    char text[CB_HINT_MAX] = "";
    char best[CB_NAME_MAX + 1] = "";
    unsigned best_distance = 4;
    size_t used = 0;
    unsigned shown = 0;
    cb_manifest_ref *refs;
    size_t count;
    cb_error quiet = {0};

    if (cb_manifest_list(repo, NULL, &refs, &count, &quiet) != CB_OK)
        return; /* a hint is a courtesy */
    for (size_t i = 0; i < count; i++) {
        unsigned distance;

        if (i > 0 && strcmp(refs[i].name, refs[i - 1].name) == 0)
            continue;
        distance = cb_text_distance(refs[i].name, wanted);
        if (distance < best_distance) {
            best_distance = distance;
            memcpy(best, refs[i].name, sizeof(best));
        }
        if (shown < NAMES_IN_HINT)
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s",
                                     shown > 0 ? ", " : "", refs[i].name);
        shown++;
    }
    free(refs);
    if (shown == 0)
        cb_hint(err, "The repository has no backups yet.");
    else if (best[0] != '\0')
        cb_hint(err, "Did you mean '%s'? The repository has: %s%s.", best, text,
                shown > NAMES_IN_HINT ? ", ..." : "");
    else
        cb_hint(err, "The repository has: %s%s.", text, shown > NAMES_IN_HINT ? ", ..." : "");
}

static cb_code choose(const cb_manifest_ref *refs, size_t count, const char *name,
                      const char *label, cb_manifest_ref *out, cb_error *err)
{
    const cb_manifest_ref *first = NULL;
    const cb_manifest_ref *second = NULL;

    if (strcmp(label, "latest") == 0) {
        *out = refs[count - 1];
        return CB_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(refs[i].label, label) == 0) {
            *out = refs[i];
            return CB_OK;
        }
        if (label[0] != '\0' && strlen(label) < WHOLE_LABEL &&
            cb_has_prefix(refs[i].label, label)) {
            second = first != NULL && second == NULL ? &refs[i] : second;
            first = first == NULL ? &refs[i] : first;
        }
    }
    if (first == NULL) {
        cb_fail(err, CB_NOT_FOUND, "there is no backup '%s@%s' in the repository", name, label);
        cb_hint(err, "The newest is %s@%s; canvasback list %s shows all.", name,
                refs[count - 1].label, name);
        return not_there(err);
    }
    if (second != NULL) {
        cb_fail(err, CB_USAGE, "'%s@%s' may be %s or %s", name, label, first->label, second->label);
        cb_hint(err, "Write more of the label.");
        return err->code;
    }
    *out = *first;
    return CB_OK;
}

cb_code cb_manifest_find(cb_repo *repo, const char *text, cb_manifest_ref *out, cb_error *err)
{
    const char *at = strchr(text, '@');
    size_t name_bytes = at != NULL ? (size_t)(at - text) : strlen(text);
    char name[CB_NAME_MAX + 1];
    cb_manifest_ref *refs;
    size_t count;
    cb_code code;

    if (name_bytes > CB_NAME_MAX)
        name_bytes = 0;
    memcpy(name, text, name_bytes);
    name[name_bytes] = '\0';
    if (!cb_is_name(name)) {
        cb_fail(err, CB_USAGE, "'%s' is not NAME or NAME@LABEL", text);
        cb_hint(err, "A name has letters, digits, '.', '_' and '-', at most 64; "
                     "canvasback list shows them.");
        return err->code;
    }
    code = cb_manifest_list(repo, name, &refs, &count, err);
    if (code != CB_OK)
        return code;
    if (count == 0) {
        cb_fail(err, CB_NOT_FOUND, "there is no backup of '%s' in the repository", name);
        hint_names(repo, name, err);
        code = not_there(err);
    } else {
        code = choose(refs, count, name, at != NULL ? at + 1 : "latest", out, err);
    }
    free(refs);
    return code;
}
