/*
 * lake_lists.c - the lists that restores over a live lake have left in the data directory.
 */
#include "command/lake_internal.h"

#include "base/text.h"

#include <dirent.h>

/* One list that is damaged must not hide the others. */
static cb_code visit_one(cb_ctx *ctx, const char *path, const char *identity,
                         cb_lake_list_visit *visit, void *arg, cb_error *err)
{
    cb_lost_list_head head;
    cb_code code = cb_lost_list_read(path, &head, NULL, NULL, err);

    if (code == CB_OK && strcmp(head.identity, identity) == 0)
        return visit(arg, path, &head, err);
    if (code == CB_OK || code == CB_CANCELLED || code == CB_NO_MEMORY)
        return code;
    cb_event_text(ctx, CB_EVENT_WARNING, "the list '%s' was left out: %s", path, err->message);
    cb_error_clear(err);
    return CB_OK;
}

cb_code cb_lake_lists_visit(cb_ctx *ctx, const char *identity, cb_lake_list_visit *visit, void *arg,
                            cb_error *err)
{
    CB_CLEANUP(cb_folder_close) DIR *folder = NULL;
    const struct dirent *entry;
    char place[CB_PATH_MAX];
    char path[CB_PATH_MAX];
    cb_code code = cb_data_folder(place, err);

    if (code == CB_OK)
        folder = opendir(place);
    if (code != CB_OK || folder == NULL) { /* no home: no lists */
        cb_error_clear(err);
        return CB_OK;
    }
    while (code == CB_OK && (entry = readdir(folder)) != NULL)
        if (cb_has_suffix(entry->d_name, ".lost")) {
            code = cb_path_join(place, entry->d_name, path, err);
            if (code == CB_OK)
                code = visit_one(ctx, path, identity, visit, arg, err);
        }
    return code;
}
