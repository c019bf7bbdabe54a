/*
 * json_internal.h - what the JSON of all results is made of.
 */
#ifndef CB_CLI_JSON_INTERNAL_H
#define CB_CLI_JSON_INTERNAL_H

#include "cli/json.h"

#include <jansson.h>

typedef struct cb_json {
    json_t *json; /* NULL once anything has failed */
} cb_json;

cb_json cb_json_new(void);
void cb_set(cb_json *self, const char *key, json_t *value /* taken over */);
void cb_set_text(cb_json *self, const char *key, const char *text); /* NULL: null */
void cb_set_time(cb_json *self, const char *key, int64_t us);       /* 0: null */
void cb_set_number(cb_json *self, const char *key, uint64_t number);
void cb_set_bool(cb_json *self, const char *key, bool value);
void cb_set_seconds(cb_json *self, const char *key, double seconds);
void cb_set_span(cb_json *self, const char *key, int64_t from_us, int64_t to_us);
void cb_set_pairs(cb_json *self, const char *key, const cb_pair *pairs, size_t count);
void cb_set_texts(cb_json *self, const char *key, const char *const *texts, size_t count);

/* Put `item` into `array`; both are given up when memory is out. */
void cb_json_push(json_t **array, cb_json item);

/* Append it and a newline. */
CB_MUST_USE cb_code cb_json_dump(json_t *json /* taken over */, cb_buf *out, cb_error *err);

/* The same, with a field `key` behind all others: an array that may be long, of which one item at a
   time is held as an object. */
typedef cb_json cb_json_item(const void *all, size_t i);
CB_MUST_USE cb_code cb_json_dump_list(json_t *head /* taken over */, const char *key,
                                      cb_json_item *item, const void *all, size_t count,
                                      cb_buf *out, cb_error *err);

#endif
