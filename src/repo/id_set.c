#include "repo/repo_internal.h"

#include <stdlib.h>

static bool slot_is_free(const uint8_t *slot)
{
    static const uint8_t none[CB_INDEX_PREFIX_BYTES];

    return memcmp(slot, none, sizeof(none)) == 0;
}

/* Where the id is or would be. Ids are hashes: their first bytes are as good as any. */
static uint8_t *find_slot(uint8_t (*slots)[CB_INDEX_PREFIX_BYTES], size_t slot_count,
                          const uint8_t *prefix)
{
    size_t at = (size_t)cb_get_u64(prefix) & (slot_count - 1);

    while (!slot_is_free(slots[at]) && memcmp(slots[at], prefix, CB_INDEX_PREFIX_BYTES) != 0)
        at = (at + 1) & (slot_count - 1);
    return slots[at];
}

static cb_code grow_set(cb_id_set *set, cb_error *err)
{
    size_t slot_count = set->slot_count == 0 ? 256 : set->slot_count * 2;
    uint8_t(*slots)[CB_INDEX_PREFIX_BYTES] = calloc(slot_count, sizeof(*slots));

    if (slots == NULL)
        return cb_fail_memory(err, slot_count * sizeof(*slots));
    for (size_t i = 0; i < set->slot_count; i++)
        if (!slot_is_free(set->slots[i]))
            memcpy(find_slot(slots, slot_count, set->slots[i]), set->slots[i], sizeof(*slots));
    free(set->slots);
    set->slots = slots;
    set->slot_count = slot_count;
    return CB_OK;
}

bool cb_id_set_has(const cb_id_set *set, const uint8_t prefix[CB_INDEX_PREFIX_BYTES])
{
    return set->slot_count > 0 && !slot_is_free(find_slot(set->slots, set->slot_count, prefix));
}

cb_code cb_id_set_add(cb_id_set *set, const uint8_t prefix[CB_INDEX_PREFIX_BYTES], cb_error *err)
{
    uint8_t *slot;
    cb_code code = CB_OK;

    if (set->count * 3 >= set->slot_count * 2)
        code = grow_set(set, err);
    if (code != CB_OK)
        return code;
    slot = find_slot(set->slots, set->slot_count, prefix);
    if (slot_is_free(slot)) {
        memcpy(slot, prefix, CB_INDEX_PREFIX_BYTES);
        set->count++;
    }
    return CB_OK;
}

void cb_id_set_free(cb_id_set *set)
{
    free(set->slots);
    memset(set, 0, sizeof(*set));
}
