/*
 * dir_source.h - a folder as a source: the walk (dir_find.c), the window that objects pass through
 * (dir_window.c), and the calls of the interface (dir_source.c).
 */
#ifndef CB_SOURCE_DIR_DIR_SOURCE_H
#define CB_SOURCE_DIR_DIR_SOURCE_H

#include "source/dir/dir_internal.h"

enum {
    CB_DIR_WINDOW_ITEMS = 256,
    CB_DIR_CHUNK_BYTES = 1 << 20,
};

typedef struct cb_dir_seen {
    char *path;
    cb_buf attrs;
    cb_item_kind kind;
    uint64_t size;
    int fd; /* -1 unless a file whose pieces are read */
    struct stat before;
    bool is_sparse;
    bool is_checked;
    unsigned attempts;
    atomic_bool came_short; /* a read met the end of the file before its time */
} cb_dir_seen;

typedef enum cb_dir_state {
    CB_DIR_STATE_WALK,   /* find the next object */
    CB_DIR_STATE_PIECES, /* of the slot `current`, then go on with `resume` */
    CB_DIR_STATE_SETTLE, /* wait for the reads, look whether the files held still */
    CB_DIR_STATE_DONE,   /* hand the window over */
    CB_DIR_STATE_END,
} cb_dir_state;

typedef struct cb_dir_source {
    cb_source base;
    cb_ctx *ctx;
    cb_arena arena;
    bool allow_damage;
    int root;
    bool has_repository;
    dev_t repository_device;
    ino_t repository_inode;

    cb_dir_walk *walk;
    cb_dir_links *links;
    bool began_walk, ended_walk;

    cb_dir_seen window[CB_DIR_WINDOW_ITEMS];
    uint32_t first_number; /* of window[0] */
    size_t count, open_files, window_bytes;
    cb_dir_state state, resume;
    size_t current; /* slot whose pieces are yielded; slot whose DONE is next */
    uint64_t chunk;
    uint64_t data_from, data_to; /* of a sparse file: the stretch of data at or behind `chunk` */
    size_t settled;              /* slots before this one were looked at */
    bool is_reading;             /* pieces were yielded since the last barrier */

    pthread_mutex_t lock; /* the next five, and calls of `trouble` */
    cb_dir_trouble *trouble;
    void *trouble_arg;
    uint64_t trouble_count, denied_count;
    char first_trouble[CB_MESSAGE_MAX / 2];

    int64_t point_us;
    uint64_t files, folders, links_count, others, bytes, changed;
    cb_pair facts[5];
    char fact_texts[5][24];
} cb_dir_source;

/* ---- dir_source.c ---- */

/* `path` could not be read, for the reason in `err`. Goes on unless the cause is our own. */
CB_MUST_USE cb_code cb_dir_report(cb_dir_source *source, const char *path, cb_error *err);

/* ---- dir_find.c ---- */

/* Find the next object and put it into the window; a full window, or the end, settles it first. */
CB_MUST_USE cb_code cb_dir_find(cb_dir_source *source, cb_step *step, bool *yielded, cb_error *err);

/* ---- dir_window.c: the functions that yield set *yielded, else they moved source->state on ----
 */

/* Put an object into the window; `fd` becomes the entry's on CB_OK. */
CB_MUST_USE cb_code cb_dir_window_add(cb_dir_source *source, const char *path,
                                      const cb_dir_object *object, const struct stat *st,
                                      const char *same_as, int fd, cb_error *err);
bool cb_dir_window_is_full(const cb_dir_source *source);
void cb_dir_window_start_settling(cb_dir_source *source);
/* The ITEM step of entry `at`; its pieces come next, then `resume`. */
void cb_dir_window_yield(cb_dir_source *source, size_t at, cb_dir_state resume, cb_step *step);
void cb_dir_window_piece(cb_dir_source *source, cb_step *step, bool *yielded);
CB_MUST_USE cb_code cb_dir_window_read(cb_source *base, const cb_piece *piece, cb_buf *into,
                                       cb_error *err);
CB_MUST_USE cb_code cb_dir_window_settle(cb_dir_source *source, cb_step *step, bool *yielded,
                                         cb_error *err);
void cb_dir_window_hand_over(cb_dir_source *source, cb_step *step, bool *yielded);
/* The entry's content is known: it is not read. */
void cb_dir_window_skip(cb_dir_source *source, cb_dir_seen *seen);
void cb_dir_window_describe(const cb_dir_source *source, size_t at, cb_step *step);
void cb_dir_window_empty(cb_dir_source *source);

#endif
