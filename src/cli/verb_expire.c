/*
 * expire, for one name or for all. Rules may stand in the sections of the configuration file, one
 * for each name: then expire without NAME must treat each name by the rules of its own section.
 * Taking the global rules for all of them would remove backups that their section keeps.
 */
#include "cli/json.h"
#include "cli/render.h"
#include "cli/verbs.h"
#include "config/request.h"

#include "base/array.h"

#include <stdlib.h>
#include <string.h>

typedef struct results {
    cb_expire_result **items; /* owned */
    size_t count;
    size_t capacity;
} results;

static void results_free(results *self)
{
    for (size_t i = 0; i < self->count; i++)
        cb_expire_result_free(self->items[i]);
    free(self->items);
}

static void free_list(cb_list_result **list)
{
    cb_list_result_free(*list);
}

static cb_code expire_one(cb_door *door, const cb_expire_request *request, results *all,
                          cb_error *err)
{
    cb_code code = CB_OK;

    if (all->count == all->capacity)
        code = cb_array_grow(&all->items, &all->capacity, sizeof(*all->items), err);
    if (code == CB_OK)
        code = cb_expire(door->ctx, request, &all->items[all->count], err);
    if (code == CB_OK)
        all->count++;
    return code;
}

/* A name for which no rule counts keeps all of its backups. */
static cb_code expire_name(cb_door *door, const char *name, results *all, cb_error *err)
{
    cb_expire_request request;
    cb_code code = cb_config_resolve(door->config, name, err);

    if (code != CB_OK)
        return code;
    if (!cb_has_keep_rules(door->config)) {
        cb_door_say(door, CB_EVENT_WARNING, "%s: no rule for it, everything stays", name);
        return CB_OK;
    }
    code = cb_expire_request_fill(door->config, &request, err);
    request.name = name;
    if (code == CB_OK)
        code = expire_one(door, &request, all, err);
    return code == CB_OK ? CB_OK : cb_context(err, "%s", name);
}

static cb_code expire_each(cb_door *door, results *all, cb_error *err)
{
    CB_CLEANUP(free_list) cb_list_result *list = NULL;
    cb_code code = cb_list(door->ctx, NULL, &list, err);

    for (size_t i = 0; code == CB_OK && i < list->count; i++) {
        const char *name = list->backups[i].name;

        if (i == 0 || strcmp(name, list->backups[i - 1].name) != 0) /* they come by name */
            code = expire_name(door, name, all, err);
    }
    return code;
}

cb_code cb_verb_expire(cb_door *door, cb_error *err)
{
    CB_CLEANUP(results_free) results all = {0};
    bool by_name = door->config->line.operand_count == 0 &&
                   cb_config_has_sections_for(door->config, CB_COMMAND_EXPIRE);
    cb_expire_request request;
    cb_code code = CB_OK;

    if (!by_name)
        code = cb_expire_request_fill(door->config, &request, err);
    if (code == CB_OK)
        code = cb_door_begin(door, err);
    if (code == CB_OK)
        code = by_name ? expire_each(door, &all, err) : expire_one(door, &request, &all, err);
    if (code == CB_OK && cb_door_wants_object(door))
        code = cb_json_expire(all.items, all.count, &door->object, err);
    return code == CB_OK && !door->json ? cb_render_expire(all.items, all.count, &door->out, err)
                                        : code;
}
