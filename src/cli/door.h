/*
 * door.h - one run of the program: its settings, its context, what it will print.
 *
 * A verb fills `out`; main writes it to standard output when the verb has succeeded, so that a
 * failed run never leaves half a result there. Events go to standard error as they come.
 */
#ifndef CB_CLI_DOOR_H
#define CB_CLI_DOOR_H

#include "cli/progress.h"
#include "config/config.h"

typedef struct cb_door {
    cb_config *config; /* borrowed */
    cb_ctx *ctx;       /* NULL until cb_door_open */
    bool json;
    int level; /* events above it are not shown: 0 error, 1 warning, 2 info, 3 debug */
    cb_progress progress;
    cb_buf out;      /* the result */
    cb_buf paste;    /* options for commands that the user is told to paste */
    cb_error damage; /* code is CB_OK unless the result tells of damage */
    char program_directory[CB_ORIGIN_TEXT_MAX * 8];
} cb_door;

CB_MUST_USE cb_code cb_door_init(cb_door *door, cb_config *config, cb_error *err);
/* Make the context, for verbs that call the library; signals cancel it from now on. */
CB_MUST_USE cb_code cb_door_open(cb_door *door, cb_error *err);
void cb_door_free(cb_door *door);

/* The path of this program; "canvasback" where the system does not tell. */
void cb_program_path(char *out, size_t size);

/* A message at a level, unless it is filtered out. */
void cb_door_say(cb_door *door, cb_event_kind kind, const char *format, ...) CB_PRINTF(3, 4);

#endif
