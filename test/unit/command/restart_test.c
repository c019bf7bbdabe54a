/*
 * A source that begins its items anew: the backup has exactly the last table, and what was read
 * for an earlier one is not read again.
 */
#include "command/command_internal.h"

#include "temp.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILES = 40, CHUNK = 4096, CHUNKS_MAX = 3 };

/* ---- a source of tables that the test writes ----------------------------------------------- */

typedef struct fake_file {
    char path[32];
    unsigned chunks;
    unsigned version; /* of its content */
    bool is_gone;     /* reads find nothing */
} fake_file;

typedef struct fake_table {
    fake_file files[FILES];
    size_t count;
    bool cut_short; /* the restart comes in the middle of the last file */
} fake_table;

typedef struct fake {
    cb_source base;
    const fake_table *tables;
    size_t table_count, table;
    size_t file;
    unsigned chunk;
    enum { AT_ITEM, AT_PIECES, AT_BARRIER, AT_RESTART } at;
    uint32_t number;
    bool is_reused;
    size_t reused[4]; /* items that were taken over, by table */
    atomic_uint reads[4][FILES][CHUNKS_MAX];
} fake;

static void content(const fake_file *file, unsigned chunk, uint8_t into[CHUNK])
{
    uint64_t seed = (uint64_t)file->version * 1000 + chunk;

    for (const char *at = file->path; *at != '\0'; at++)
        seed = seed * 131 + (uint8_t)*at;
    for (size_t i = 0; i < CHUNK; i += 8) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        memcpy(into + i, &seed, 8);
    }
}

static cb_code fake_begin(cb_source *source, cb_bytes state, bool *unchanged, cb_error *err)
{
    (void)source;
    (void)state;
    (void)err;
    *unchanged = false;
    return CB_OK;
}

static cb_code fake_next(cb_source *source, cb_step *step, cb_error *err)
{
    fake *f = (fake *)source;
    const fake_table *table = &f->tables[f->table];
    const fake_file *file = &table->files[f->file];
    bool is_last = f->table + 1 == f->table_count;

    (void)err;
    *step = (cb_step){.pass = 1};
    step->piece.item = f->number;
    if (f->at == AT_PIECES && table->cut_short && !is_last && f->file + 1 == table->count &&
        f->chunk > 0) {
        f->at = AT_RESTART;
    }
    switch (f->at) {
    case AT_ITEM:
        if (f->file == table->count) {
            f->at = AT_RESTART;
            step->kind = CB_STEP_BARRIER;
            return CB_OK;
        }
        f->at = AT_PIECES;
        f->chunk = 0;
        step->kind = CB_STEP_ITEM;
        step->piece.item = ++f->number;
        step->item = (cb_item){.path = file->path,
                               .kind = CB_ITEM_FILE,
                               .size_bytes = (uint64_t)file->chunks * CHUNK,
                               .chunk_bytes = CHUNK};
        return CB_OK;
    case AT_PIECES:
        if (f->chunk < file->chunks && !f->is_reused) {
            step->kind = CB_STEP_PIECE;
            step->piece.index = f->chunk;
            step->piece.offset = (uint64_t)f->chunk * CHUNK;
            step->piece.length = CHUNK;
            step->piece.note[0] = (uint8_t)f->file;
            step->piece.note[1] = (uint8_t)f->table;
            f->chunk++;
            return CB_OK;
        }
        f->at = AT_ITEM;
        f->file++;
        step->kind = CB_STEP_DONE;
        return CB_OK;
    case AT_BARRIER:
    case AT_RESTART:
        break;
    }
    if (is_last) {
        step->kind = CB_STEP_END;
        return CB_OK;
    }
    f->table++;
    f->file = 0;
    f->at = AT_ITEM;
    step->kind = CB_STEP_RESTART;
    return CB_OK;
}

static cb_code fake_take(cb_source *source, const cb_item *parent, bool *reuse, cb_error *err)
{
    fake *f = (fake *)source;
    const fake_file *file = &f->tables[f->table].files[f->file];

    (void)err;
    *reuse = parent != NULL && parent->size_bytes == (uint64_t)file->chunks * CHUNK &&
             file->version == 1;
    f->is_reused = *reuse;
    f->reused[f->table] += *reuse;
    return CB_OK;
}

static cb_code fake_read(cb_source *source, const cb_piece *piece, cb_buf *into, cb_error *err)
{
    fake *f = (fake *)source;
    const fake_file *file = &f->tables[piece->note[1]].files[piece->note[0]];
    uint8_t raw[CHUNK];

    if (file->is_gone)
        return cb_fail(err, CB_RETRY, "gone");
    atomic_fetch_add(&f->reads[piece->note[1]][piece->note[0]][piece->index], 1);
    content(file, (unsigned)piece->index, raw);
    return cb_buf_append(into, raw, CHUNK, err);
}

static cb_code fake_end(cb_source *source, cb_source_facts *out, cb_error *err)
{
    (void)source;
    (void)err;
    *out = (cb_source_facts){.confirmed = "once"};
    return CB_OK;
}

static void fake_free(cb_source *source)
{
    (void)source;
}

static const cb_source_ops fake_ops = {fake_begin, fake_next, fake_take,
                                       fake_read,  fake_end,  fake_free};

static unsigned reads_of(const fake *f, size_t table)
{
    unsigned sum = 0;

    for (size_t i = 0; i < FILES; i++)
        for (size_t c = 0; c < CHUNKS_MAX; c++)
            sum += f->reads[table][i][c];
    return sum;
}

/* ---- a repository ---------------------------------------------------------------------------- */

typedef struct place {
    cb_ctx *ctx;
    cb_repo *repo;
} place;

static place make_place(void)
{
    cb_error err = {0};
    place p = {.ctx = test_ctx_new()};
    cb_store *store;

    assert_ok(cb_memory_store_new(p.ctx, &store, &err));
    assert_ok(cb_repo_create(p.ctx, store, NULL, &err));
    assert_ok(cb_repo_open(p.ctx, store, &p.repo, &err));
    return p;
}

static void drop_place(place *p)
{
    cb_repo_close(p->repo);
    cb_ctx_free(p->ctx);
}

static void start(fake *f, const fake_table *tables, size_t count)
{
    memset(f, 0, sizeof(*f));
    f->base = (cb_source){.ops = &fake_ops, .kind = "fake", .name = "fake", .may_restart = true};
    f->tables = tables;
    f->table_count = count;
}

/* Back up into one repository; the label is of the time that counts up. */
static void run(place *p, fake *f, bool with_parent)
{
    cb_session_request request = {.name = "fake", .codec = CB_CODEC_RAW, .single_threaded = true};
    cb_outlet outlet = {.repo = p->repo, .trust_parent = true};
    cb_manifest manifest = {
        .kind = "fake", .source = "fake", .host = "h", .version = "1", .confirmed = "once"};
    cb_manifest *parent = NULL;
    cb_manifest_ref ref;
    uint64_t read_bytes;
    cb_error err = {0};

    assert_ok(cb_session_open(p->repo, &request, &outlet.session, &err));
    if (with_parent)
        assert_ok(cb_session_parent(outlet.session, &ref, &parent, &err));
    outlet.parent = parent;
    assert_ok(cb_intake(p->ctx, &f->base, &outlet, 1, &read_bytes, &err));
    assert_int_equal(outlet.error.code, CB_OK);
    assert_ok(cb_session_commit(outlet.session, &manifest, &err));
    cb_session_free(outlet.session);
    cb_manifest_free(parent);
}

/* The newest backup is this table, chunk for chunk. */
static void expect_table(place *p, const fake_table *table)
{
    CB_CLEANUP(cb_buf_free) cb_buf raw = {0};
    cb_manifest_ref ref;
    cb_manifest *manifest;
    cb_tree *tree;
    cb_error err = {0};
    cb_item item;
    bool more;

    assert_ok(cb_command_find(p->repo, "fake", &ref, &manifest, &err));
    assert_ok(cb_tree_open(p->repo, manifest, &tree, &err));
    for (size_t i = 0; i < table->count; i++) {
        const fake_file *file = &table->files[i];

        assert_ok(cb_tree_next(tree, &item, &more, &err));
        assert_true(more);
        assert_string_equal(item.path, file->path);
        assert_int_equal(cb_item_chunks(&item), file->chunks);
        for (unsigned c = 0; c < file->chunks; c++) {
            uint8_t wanted[CHUNK];
            cb_entry entry;

            assert_ok(cb_tree_entries(tree, c, 1, &entry, &err));
            assert_false(cb_entry_is_hole(&entry));
            raw.size = 0;
            assert_ok(cb_repo_get(p->repo, 0, &entry.id, &raw, &err));
            content(file, c, wanted);
            assert_int_equal(raw.size, CHUNK);
            assert_memory_equal(raw.data, wanted, CHUNK);
        }
    }
    assert_ok(cb_tree_next(tree, &item, &more, &err));
    assert_false(more);
    cb_tree_free(tree);
    cb_manifest_free(manifest);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void add(fake_table *table, unsigned number, unsigned chunks, unsigned version)
{
    fake_file *file = &table->files[table->count++];

    *file = (fake_file){.chunks = chunks, .version = version};
    snprintf(file->path, sizeof(file->path), "data/%04u", number);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static void nothing_is_read_twice(void **state)
{
    place p = make_place();
    fake_table tables[2] = {0};
    fake *f = calloc(1, sizeof(*f));

    (void)state;
    for (unsigned i = 0; i < 20; i++)
        add(&tables[0], i * 10, 1 + i % 3, 1);
    tables[0].files[7].is_gone = true;
    /* The second names it no more, nor one that was read; it has two new ones. */
    for (unsigned i = 0; i < 20; i++)
        if (i != 7 && i != 11)
            add(&tables[1], i * 10, 1 + i % 3, 1);
    add(&tables[1], 500, 2, 1);
    add(&tables[1], 501, 0, 1);
    start(f, tables, 2);
    run(&p, f, false);
    expect_table(&p, &tables[1]);
    assert_int_equal(f->reused[1], 18);
    assert_int_equal(reads_of(f, 1), 2);
    free(f);
    drop_place(&p);
}

static void a_part_of_a_file_is_no_parent(void **state)
{
    place p = make_place();
    fake_table tables[2] = {0};
    fake *f = calloc(1, sizeof(*f));

    (void)state;
    add(&tables[0], 1, 3, 1);
    add(&tables[0], 2, 3, 1);
    tables[0].cut_short = true; /* behind the first chunk of the second */
    add(&tables[1], 1, 3, 1);
    add(&tables[1], 2, 3, 1);
    start(f, tables, 2);
    run(&p, f, false);
    expect_table(&p, &tables[1]);
    assert_int_equal(f->reused[1], 1);
    assert_int_equal(reads_of(f, 1), 3);
    free(f);
    drop_place(&p);
}

/* What the second table had not come to, or took over, serves the third; the parent serves all. */
static void restarts_and_parent_add_up(void **state)
{
    place p = make_place();
    fake_table before = {0};
    fake_table tables[3] = {0};
    fake *f = calloc(1, sizeof(*f));

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        add(&before, i, 2, 1);
    start(f, &before, 1);
    run(&p, f, false);
    assert_int_equal(reads_of(f, 0), 10);

    for (unsigned i = 0; i < 12; i++)
        add(&tables[0], i, 2, 1); /* 0..4 of the parent, 5..11 read */
    for (unsigned i = 0; i < 8; i++)
        add(&tables[1], i, 2, 1);
    add(&tables[1], 9000, 2, 1); /* the last, cut short: and 8..11 were passed by */
    tables[1].cut_short = true;
    for (unsigned i = 0; i < 8; i++)
        add(&tables[2], i, 2, 1);
    add(&tables[2], 9000, 2, 1);
    start(f, tables, 3);
    run(&p, f, true);
    expect_table(&p, &tables[2]);
    assert_int_equal(f->reused[0], 5);
    assert_int_equal(reads_of(f, 0), 14);
    assert_int_equal(f->reused[1], 8);
    assert_int_equal(reads_of(f, 1), 1);
    assert_int_equal(f->reused[2], 8);
    assert_int_equal(reads_of(f, 2), 2);
    free(f);
    drop_place(&p);
}

/* A restart in the middle: what lies behind it in the table before is not lost. */
static void the_rest_is_carried_over(void **state)
{
    place p = make_place();
    fake_table tables[3] = {0};
    fake *f = calloc(1, sizeof(*f));

    (void)state;
    for (unsigned i = 0; i < 10; i++)
        add(&tables[0], i, 2, 1);
    add(&tables[1], 0, 2, 1);
    add(&tables[1], 1, 3, 1); /* grown: is read, and cut short */
    tables[1].cut_short = true;
    for (unsigned i = 0; i < 10; i++)
        add(&tables[2], i, i == 1 ? 3 : 2, 1);
    start(f, tables, 3);
    run(&p, f, false);
    expect_table(&p, &tables[2]);
    assert_int_equal(f->reused[1], 1);
    assert_int_equal(f->reused[2], 9);
    assert_int_equal(reads_of(f, 2), 3);
    free(f);
    drop_place(&p);
}

/* An item that the source will not take over is read, and equal content is not stored again. */
static void content_may_differ(void **state)
{
    place p = make_place();
    fake_table tables[2] = {0};
    fake *f = calloc(1, sizeof(*f));
    cb_repo_counts counts;
    cb_error err = {0};

    (void)state;
    add(&tables[0], 1, 3, 2); /* version 2 is never taken over */
    add(&tables[1], 1, 3, 2);
    start(f, tables, 2);
    run(&p, f, false);
    expect_table(&p, &tables[1]);
    assert_int_equal(reads_of(f, 1), 3);
    assert_ok(cb_repo_count(p.repo, &counts, &err));
    assert_int_equal(counts.raw_bytes / CHUNK, 3);
    free(f);
    drop_place(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_read_twice),
        cmocka_unit_test(a_part_of_a_file_is_no_parent),
        cmocka_unit_test(restarts_and_parent_add_up),
        cmocka_unit_test(the_rest_is_carried_over),
        cmocka_unit_test(content_may_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
