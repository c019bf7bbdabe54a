/*
 * progress.h - how far the running verb is: one line on a terminal, drawn again and again; a line
 * every ten seconds elsewhere; JSON lines for machines.
 */
#ifndef CB_CLI_PROGRESS_H
#define CB_CLI_PROGRESS_H

#include "base/macros.h"

typedef enum cb_progress_kind {
    CB_PROGRESS_AUTO, /* a bar on a terminal, else lines */
    CB_PROGRESS_BAR,
    CB_PROGRESS_JSON,
    CB_PROGRESS_NONE,
    CB_PROGRESS_LINES, /* what auto becomes off a terminal */
} cb_progress_kind;

typedef struct cb_progress {
    cb_progress_kind kind;
    char phase[64];
    uint64_t done_bytes;
    uint64_t total_bytes; /* 0: unknown */
    unsigned pass;
    int64_t started_us; /* monotonic: of the phase; 0: nothing has begun */
    int64_t shown_us;   /* monotonic: when the last line was drawn */
    bool is_drawn;      /* a bar stands on the terminal */
    bool is_untold;     /* there is news since the last line */
} cb_progress;

void cb_progress_init(cb_progress *progress, cb_progress_kind kind);
/* A new phase begins: counts start anew. */
void cb_progress_phase(cb_progress *progress, const char *phase);
void cb_progress_update(cb_progress *progress, uint64_t done_bytes, uint64_t total_bytes,
                        unsigned pass);
/* Take the bar away, so that something else can be written. */
void cb_progress_clear(cb_progress *progress);

/* The verb has ended: clear, and tell machines where it stood. */
void cb_progress_end(cb_progress *progress);

/* The texts, without any terminal: `elapsed_us` since the phase began. They end without newline. */
enum { CB_PROGRESS_TEXT_MAX = 512 };
void cb_progress_bar_text(const cb_progress *progress, int64_t elapsed_us, unsigned width,
                          char out[CB_PROGRESS_TEXT_MAX]);
void cb_progress_line_text(const cb_progress *progress, int64_t elapsed_us,
                           char out[CB_PROGRESS_TEXT_MAX]);
void cb_progress_json_text(const cb_progress *progress, int64_t elapsed_us,
                           char out[CB_PROGRESS_TEXT_MAX]);

#endif
