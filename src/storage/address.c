/*
 * address.c - the store behind an address.
 */
#include "storage/place.h"

#include <stdlib.h>

static void place_free(cb_place **place)
{
    free(*place);
}

cb_code cb_store_open(cb_ctx *ctx, const char *address, bool make, cb_store **out, cb_error *err)
{
    CB_CLEANUP(place_free) cb_place *place = NULL;
    cb_code code;

    *out = NULL;
    /* A plain path needs no taking apart, and may be longer than an address. */
    if (address[0] != '\0' && strstr(address, "://") == NULL)
        return cb_file_store_open(ctx, address, make, out, err);
    place = malloc(sizeof(*place));
    if (place == NULL)
        return cb_fail_memory(err, sizeof(*place));
    code = cb_place_parse(ctx, address, place, err);
    if (code != CB_OK)
        return code;
    switch (place->kind) {
    case CB_PLACE_FOLDER:
        return cb_file_store_open(ctx, place->path, make, out, err);
    case CB_PLACE_S3:
        return cb_s3_store_open(ctx, place, out, err);
    case CB_PLACE_GS:
        return cb_gs_store_open(ctx, place, out, err);
    case CB_PLACE_AZ:
        return cb_az_store_open(ctx, place, out, err);
    }
    return cb_fail(err, CB_INTERNAL, "an unknown kind of place");
}
