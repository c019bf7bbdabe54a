/*
 * door.h - one run of the program: its settings, its context, what it will print.
 *
 * A verb fills `out` or, for JSON, `object`; main writes it to standard output when the verb has
 * succeeded, so that a failed run never leaves half a result there. Events go to standard error as
 * they come.
 */
#ifndef CB_CLI_DOOR_H
#define CB_CLI_DOOR_H

#include "cli/progress.h"
#include "config/request.h"

enum { CB_PASSPHRASE_MAX = 1024 };

typedef struct cb_door {
    cb_config *config; /* borrowed */
    cb_ctx *ctx;       /* NULL until cb_door_open */
    bool json;
    int level; /* events above it are not shown: 0 error, 1 warning, 2 info, 3 debug */
    cb_progress progress;
    cb_buf out;      /* the result as text */
    cb_buf object;   /* the result as JSON, where cb_door_wants_object */
    cb_buf paste;    /* options for commands that the user is told to paste */
    cb_error damage; /* code is CB_OK unless the result itself tells of damage or failure */
    int exit_code;   /* of a run that went well: 0, or what else the verb has to say by it */
    cb_hooks hooks;
    bool is_begun;               /* cb_door_begin has succeeded: --after is due */
    char name[CB_NAME_TEXT_MAX]; /* of the database that the run is about; "" none or several */
    char label[64];              /* of its backup, once that is known */
    uint64_t failed_places;      /* bit n: repository n of several was not written */
    int64_t started_us;
    char passphrase[CB_PASSPHRASE_MAX]; /* asked for by us; wiped by cb_door_free */
    char program_directory[CB_ORIGIN_TEXT_MAX * 8];
} cb_door;

CB_MUST_USE cb_code cb_door_init(cb_door *door, cb_config *config, cb_error *err);
/* Make the context, for verbs that call the library; signals cancel it from now on. */
CB_MUST_USE cb_code cb_door_open(cb_door *door, cb_error *err);
/* The same for verbs with hooks: --before runs too. What can be wrong with the words has been
   found by then. Errors: those of the hook. */
CB_MUST_USE cb_code cb_door_begin(cb_door *door, cb_error *err);
void cb_door_free(cb_door *door);

/* Put door->paste together, for another repository than the usual one if that is not NULL. */
CB_MUST_USE cb_code cb_door_paste(cb_door *door, const char *repository, cb_error *err);

/* Is somebody going to read the result as JSON, the user or a hook? */
bool cb_door_wants_object(const cb_door *door);

/* The clock, for what is noted about the run itself. */
int64_t cb_door_now_us(void);

/* The path of this program; "canvasback" where the system does not tell. */
void cb_program_path(char *out, size_t size);

/* A message at a level, unless it is filtered out. */
void cb_door_say(cb_door *door, cb_event_kind kind, const char *format, ...) CB_PRINTF(3, 4);

#endif
