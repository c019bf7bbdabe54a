/*
 * render_lake.h - results of the lake verbs as text for people and as JSON. As render.h and json.h
 * say: pure, appended to `out`.
 */
#ifndef CB_CLI_RENDER_LAKE_H
#define CB_CLI_RENDER_LAKE_H

#include "base/bytes.h"

enum { CB_RENDER_CHANGES = 20, CB_RENDER_ORPHANS = 50 };

CB_MUST_USE cb_code cb_render_lake_status(const cb_lake_status_result *result, int64_t now_us,
                                          cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_lake_repoint(const cb_lake_repoint_result *result, cb_buf *out,
                                           cb_error *err);
CB_MUST_USE cb_code cb_render_lake_orphans(const cb_lake_orphans_result *result, int64_t now_us,
                                           cb_buf *out, cb_error *err);
/* `undone`: the rows went, they did not come. `lake` and `schema` (NULL the default) as given, for
   the command that undoes it. */
CB_MUST_USE cb_code cb_render_lake_adopt(const cb_lake_adopt_result *result, bool undone,
                                         const char *lake, const char *schema, cb_buf *out,
                                         cb_error *err);
/* `lake`: what the dump was read into; NULL: it was written. */
CB_MUST_USE cb_code cb_render_lake_dump(const cb_lake_dump_result *result, const char *lake,
                                        cb_buf *out, cb_error *err);
/* `options`: as of cb_render_restore. */
CB_MUST_USE cb_code cb_render_lake_migrate(const cb_lake_migrate_result *result,
                                           const char *options, cb_buf *out, cb_error *err);
CB_MUST_USE cb_code cb_render_lake_rollback(const cb_lake_rollback_result *result, cb_buf *out,
                                            cb_error *err);

CB_MUST_USE cb_code cb_json_lake_status(const cb_lake_status_result *result, cb_buf *out,
                                        cb_error *err);
CB_MUST_USE cb_code cb_json_lake_repoint(const cb_lake_repoint_result *result, cb_buf *out,
                                         cb_error *err);
CB_MUST_USE cb_code cb_json_lake_orphans(const cb_lake_orphans_result *result, cb_buf *out,
                                         cb_error *err);
CB_MUST_USE cb_code cb_json_lake_adopt(const cb_lake_adopt_result *result, cb_buf *out,
                                       cb_error *err);
CB_MUST_USE cb_code cb_json_lake_dump(const cb_lake_dump_result *result, cb_buf *out,
                                      cb_error *err);
CB_MUST_USE cb_code cb_json_lake_migrate(const cb_lake_migrate_result *result, cb_buf *out,
                                         cb_error *err);
CB_MUST_USE cb_code cb_json_lake_rollback(const cb_lake_rollback_result *result, cb_buf *out,
                                          cb_error *err);

#endif
