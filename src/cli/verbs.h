/*
 * verbs.h - one function a command: settings to request, call, result to text in door->out or
 * to JSON in door->object.
 */
#ifndef CB_CLI_VERBS_H
#define CB_CLI_VERBS_H

#include "cli/door.h"

typedef cb_code cb_verb(cb_door *door, cb_error *err);

cb_verb cb_verb_backup;
cb_verb cb_verb_restore;
cb_verb cb_verb_list;
cb_verb cb_verb_show;
cb_verb cb_verb_verify;
cb_verb cb_verb_check;
cb_verb cb_verb_expire;
cb_verb cb_verb_copy;
cb_verb cb_verb_init;
cb_verb cb_verb_repo;
cb_verb cb_verb_repair;
cb_verb cb_verb_lake;
cb_verb cb_verb_metrics;
cb_verb cb_verb_report;
cb_verb cb_verb_schedule;
cb_verb cb_verb_help;
cb_verb cb_verb_version;
cb_verb cb_verb_completion;

#endif
