/*
 * metrics and report: gather the same things, write them down in two ways.
 */
#include "cli/verbs.h"

#include "base/ctx.h"
#include "cli/json.h"
#include "cli/output.h"
#include "cli/overview.h"
#include "cli/report.h"

typedef struct gathered {
    cb_repo_result *repo;
    cb_list_result *list;
    cb_overview overview;
} gathered;

static void gathered_free(gathered *self)
{
    cb_overview_free(&self->overview);
    cb_list_result_free(self->list);
    cb_repo_result_free(self->repo);
}

static cb_code gather(cb_door *door, gathered *out, cb_error *err)
{
    cb_last_runs runs = {0};
    cb_code code = cb_door_open(door, err);

    if (code == CB_OK)
        code = cb_repo_info(door->ctx, &out->repo, err);
    if (code == CB_OK)
        code = cb_list(door->ctx, NULL, &out->list, err);
    if (code == CB_OK)
        code = cb_last_runs_read(door->config, door->config->values[CB_OPT_REPO].text, &runs, err);
    if (code == CB_OK)
        code = cb_overview_make(out->repo, out->list, &runs, cb_now_us(door->ctx), &out->overview,
                                err);
    cb_last_runs_free(&runs);
    return code;
}

/* What is said when a file was written. */
static cb_code answer_file(cb_door *door, const char *key, const char *path, cb_error *err)
{
    cb_pair pair = {key, path};

    if (door->json)
        return cb_json_pairs(&pair, 1, &door->object, err);
    return cb_buf_format(&door->out, err, "%s written\n", path);
}

cb_code cb_verb_metrics(cb_door *door, cb_error *err)
{
    CB_CLEANUP(gathered_free) gathered all = {0};
    CB_CLEANUP(cb_buf_free) cb_buf text = {0};
    const char *path = door->config->values[CB_OPT_OUTPUT].text;
    cb_code code = gather(door, &all, err);

    if (code == CB_OK && !path && door->json)
        return cb_json_overview(&all.overview, &door->object, err);
    if (code == CB_OK)
        code = cb_metrics_text(&all.overview, path ? &text : &door->out, err);
    if (code == CB_OK && path)
        code = cb_output_file(path, cb_buf_bytes(&text), err);
    return code == CB_OK && path ? answer_file(door, "output", path, err) : code;
}

/* ---- report ------------------------------------------------------------------------------- */

static void free_show(cb_show_result **result)
{
    cb_show_result_free(*result);
}

/*
 * Until when the newest good backup of each name is locked. It is asked for one by one: a store
 * without object lock answers at once, and a page without it is better than none.
 */
static cb_code find_locks(cb_door *door, cb_overview *overview, cb_error *err)
{
    cb_code code = CB_OK;

    for (size_t i = 0; i < overview->count && code == CB_OK; i++) {
        CB_CLEANUP(free_show) cb_show_result *shown = NULL;
        cb_name_view *view = &overview->names[i];
        const char *backup;
        cb_error ignored = {0};

        if (!view->good)
            continue;
        code =
            cb_arena_format(&overview->arena, &backup, err, "%s@%s", view->name, view->good->label);
        if (code != CB_OK)
            return code;
        view->has_lock = cb_show(door->ctx, backup, &shown, &ignored) == CB_OK;
        if (view->has_lock)
            view->locked_until_us = shown->backup.locked_until_us;
        code = cb_check_cancel(door->ctx, err);
    }
    return code;
}

cb_code cb_verb_report(cb_door *door, cb_error *err)
{
    CB_CLEANUP(gathered_free) gathered all = {0};
    CB_CLEANUP(cb_buf_free) cb_buf page = {0};
    const char *path = door->config->values[CB_OPT_HTML].text;
    cb_code code;

    if (!path) {
        cb_fail(err, CB_USAGE, "report needs a file to write");
        cb_hint(err, "For example: canvasback report --html backups.html");
        return err->code;
    }
    code = gather(door, &all, err);
    if (code == CB_OK)
        code = find_locks(door, &all.overview, err);
    if (code == CB_OK)
        code = cb_report_page(&all.overview, &page, err);
    if (code == CB_OK)
        code = cb_output_file(path, cb_buf_bytes(&page), err);
    return code == CB_OK ? answer_file(door, "html", path, err) : code;
}
