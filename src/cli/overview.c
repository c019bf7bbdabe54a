/*
 * Two sorted lists, backups and runs, are walked side by side: each name of either becomes a view.
 */
#include "cli/overview.h"

#include <string.h>

void cb_overview_free(cb_overview *overview)
{
    cb_last_runs_free(&overview->runs);
    cb_arena_free(&overview->arena);
    *overview = (cb_overview){0};
}

static void take_backup(cb_name_view *view, const cb_backup_info *backup)
{
    view->newest = backup;
    if (backup->damaged == 0)
        view->good = backup;
    view->verified_count += backup->verified_us != 0;
    if (backup->verified_us > view->verified_us)
        view->verified_us = backup->verified_us;
    view->count++;
}

static const char *lesser(const char *a, const char *b)
{
    if (!a || !b)
        return a ? a : b;
    return strcmp(a, b) <= 0 ? a : b;
}

static cb_code make_views(cb_overview *self, cb_error *err)
{
    size_t most = self->list->count + self->runs.count;
    size_t backup = 0;
    size_t run = 0;
    cb_code code =
        cb_arena_alloc(&self->arena, (most + 1) * sizeof(*self->names), &self->names, err);

    if (code != CB_OK)
        return code;
    while (backup < self->list->count || run < self->runs.count) {
        cb_name_view *view = &self->names[self->count++];

        view->name = lesser(backup < self->list->count ? self->list->backups[backup].name : NULL,
                            run < self->runs.count ? self->runs.items[run].name : NULL);
        view->backups = self->list->backups + backup;
        while (backup < self->list->count &&
               strcmp(self->list->backups[backup].name, view->name) == 0)
            take_backup(view, &self->list->backups[backup++]);
        view->runs = self->runs.items + run;
        while (run < self->runs.count && strcmp(self->runs.items[run].name, view->name) == 0) {
            view->run_count++;
            run++;
        }
    }
    return CB_OK;
}

cb_code cb_overview_make(const cb_repo_result *repo, const cb_list_result *list, cb_last_runs *runs,
                         int64_t now_us, cb_overview *out, cb_error *err)
{
    const char *address = repo->address ? repo->address : "";
    size_t size = strstr(address, "://") ? strcspn(address, "?") : strlen(address);
    cb_code code;

    *out = (cb_overview){.repo = repo, .list = list, .runs = *runs, .now_us = now_us};
    *runs = (cb_last_runs){0};
    code = cb_arena_text_n(&out->arena, address, size, &out->address, err);
    return code == CB_OK ? make_views(out, err) : code;
}
