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

/* A slash ends a component: it sorts before any byte a name can have, and behind the end. */
static int rank(char byte)
{
    if (byte == '\0')
        return 0;
    return byte == '/' ? 1 : 2 + (unsigned char)byte;
}

int cb_item_path_compare(const char *a, const char *b)
{
    size_t at = 0;
    bool a_is_root = strcmp(a, ".") == 0;
    bool b_is_root = strcmp(b, ".") == 0;

    if (a_is_root || b_is_root)
        return (int)b_is_root - (int)a_is_root;
    while (a[at] != '\0' && a[at] == b[at])
        at++;
    return rank(a[at]) - rank(b[at]);
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
