/*
 * item.c - arithmetic of the grid. Sizes come from records: sums that could overflow are written
 * so that they cannot.
 */
#include "codec/item.h"

static uint64_t head_of(const cb_item *item)
{
    return item->head_bytes < item->size_bytes ? item->head_bytes : item->size_bytes;
}

uint64_t cb_item_chunks(const cb_item *item)
{
    uint64_t head = head_of(item);
    uint64_t body = item->size_bytes - head;
    uint64_t count = body / item->chunk_bytes + (body % item->chunk_bytes != 0 ? 1 : 0);

    return count + (head != 0 ? 1 : 0);
}

void cb_item_chunk(const cb_item *item, uint64_t index, uint64_t *offset, uint32_t *length)
{
    uint64_t head = head_of(item);
    uint64_t rest;

    if (head != 0 && index == 0) {
        *offset = 0;
        *length = (uint32_t)head;
        return;
    }
    *offset = head + (index - (head != 0 ? 1 : 0)) * item->chunk_bytes;
    rest = item->size_bytes - *offset;
    *length = rest < item->chunk_bytes ? (uint32_t)rest : item->chunk_bytes;
}

bool cb_item_same_grid(const cb_item *a, const cb_item *b)
{
    return a->head_bytes == b->head_bytes && a->chunk_bytes == b->chunk_bytes;
}

const char *cb_item_kind_name(cb_item_kind kind)
{
    switch (kind) {
    case CB_ITEM_FILE:
        return "file";
    case CB_ITEM_FOLDER:
        return "folder";
    case CB_ITEM_LINK:
        return "link";
    case CB_ITEM_DATABASE:
        return "database";
    case CB_ITEM_LOG:
        return "log";
    case CB_ITEM_OTHER:
        return "other";
    }
    return "unknown"; /* the number came from a disk */
}
