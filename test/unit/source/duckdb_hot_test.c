/*
 * The hot copy, pass by pass: a file made by hand that changes at the barriers, held by a process.
 */
#include "unit.h"

#include "duckdb_kit.h"
#include "temp.h"

#include "source/duckdb/state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct place {
    char folder[256];
    char db[300], copy[300], wal[300];
    cb_ctx *ctx;
    kit_file file;
    pid_t holder;
} place;

static cb_buf log_with(size_t commits)
{
    cb_buf log = {0};

    kit_log_header(&log, NULL, 0);
    for (size_t i = 0; i < commits; i++) {
        kit_log_entry(&log, 26, 50 + 10 * i);
        kit_log_flush(&log);
    }
    return log;
}

static void write_log(const place *p, size_t commits)
{
    CB_CLEANUP(cb_buf_free) cb_buf log = log_with(commits);

    kit_log_write(&log, p->db);
}

/* Ten blocks: 1 is metadata, 3 and 8 are free. */
static int set_up(void **state)
{
    place *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -1;
    test_temp_make(p->folder);
    snprintf(p->db, sizeof(p->db), "%s/a.duckdb", p->folder);
    snprintf(p->copy, sizeof(p->copy), "%s/b.duckdb", p->folder);
    snprintf(p->wal, sizeof(p->wal), "%s/a.duckdb.wal", p->folder);
    p->ctx = test_ctx_new();
    p->file = (kit_file){.block_bytes = 16384,
                         .iteration = 5,
                         .block_count = 10,
                         .metadata = {1},
                         .metadata_count = 1,
                         .free_ids = {3, 8},
                         .free_count = 2};
    kit_write(&p->file, p->db);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    place *p = *state;

    if (p->holder > 0)
        kit_release(p->holder);
    cb_ctx_free(p->ctx);
    test_temp_remove(p->folder);
    free(p);
    return 0;
}

/* The pieces of the database in pass `pass`, as a set of block numbers; the head is bit 63. */
static uint64_t seen_in(const kit_copy *copy, unsigned pass)
{
    uint64_t set = 0;
    unsigned at = 1;

    for (size_t i = 0; i + 8 <= copy->seen.size; i += 8) {
        uint64_t value;

        memcpy(&value, copy->seen.data + i, sizeof(value));
        if (value > UINT64_MAX / 2)
            at = (unsigned)~value + 1;
        else if (at == pass)
            set |= value == 0 ? UINT64_C(1) << 63 : UINT64_C(1) << (value - 1);
    }
    return set;
}

/* A copy is right when each used block is as in `file`. */
static void expect_copy_of(const place *p, const kit_file *file)
{
    CB_CLEANUP(cb_buf_free) cb_buf got = kit_slurp(p->copy);
    uint8_t block[16384];
    cb_duckdb_head head;
    cb_error err = {0};

    assert_ok(cb_duckdb_head_parse(cb_buf_bytes(&got), &head, &err));
    assert_true(cb_duckdb_head_ok(&head));
    assert_int_equal(head.header.iteration, file->iteration);
    for (uint64_t id = 0; id < file->block_count; id++) {
        bool is_free = false;

        for (size_t i = 0; i < file->free_count; i++)
            is_free = is_free || file->free_ids[i] == id;
        if (is_free)
            continue;
        kit_block(file, id, block);
        assert_true(got.size >= CB_DUCKDB_HEAD + (id + 1) * 16384);
        assert_memory_equal(got.data + CB_DUCKDB_HEAD + id * 16384, block, 16384);
    }
}

/* ---- one pass ----------------------------------------------------------------------------- */

static void test_idle_file_is_copied_without_its_free_blocks(void **state)
{
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};

    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_string_equal(copy.facts.confirmed, "idle");
    assert_int_equal(copy.facts.passes, 1);
    assert_true(seen_in(&copy, 1) == (0x3ff & ~0x108U));
    assert_true(seen_in(&copy, 2) == UINT64_C(1) << 63); /* the head comes after the barrier */
    expect_copy_of(p, &p->file);
    kit_copy_end(&copy);
}

static void test_trailing_free_blocks_are_cut(void **state)
{
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};
    struct stat st;

    p->file.free_ids[2] = 9;
    p->file.free_count = 3;
    kit_write(&p->file, p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_int_equal(stat(p->copy, &st), 0);
    assert_int_equal(st.st_size, CB_DUCKDB_HEAD + 8 * 16384);
    kit_copy_end(&copy);
}

static void test_log_is_cut_at_its_last_commit(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf log = log_with(3);
    CB_CLEANUP(cb_buf_free) cb_buf copied = {0};
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};
    size_t whole = log.size;
    char path[320];

    kit_log_entry(&log, 26, 400); /* no FLUSH: not committed */
    kit_log_write(&log, p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_int_equal(copy.facts.commits_in_log, 3);
    snprintf(path, sizeof(path), "%s.wal", p->copy);
    copied = kit_slurp(path);
    assert_int_equal(copied.size, whole);
    assert_memory_equal(copied.data, log.data, whole);
    kit_copy_end(&copy);
}

/* DuckDB's log stands beside the name that it was opened by. */
static void test_log_beside_a_link_is_found(void **state)
{
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};
    char link[300], log[310];

    snprintf(link, sizeof(link), "%s/link.duckdb", p->folder);
    snprintf(log, sizeof(log), "%s.wal", link);
    assert_int_equal(symlink("a.duckdb", link), 0);
    write_log(p, 2);
    assert_int_equal(rename(p->wal, log), 0);
    assert_ok(kit_copy_run(p->ctx, link, p->copy, &copy, &err));
    assert_int_equal(copy.facts.commits_in_log, 2);
    kit_copy_end(&copy);
    write_log(p, 1);
    copy = (kit_copy){.target = {.force = true}};
    assert_code(CB_UNSUPPORTED, kit_copy_run(p->ctx, link, p->copy, &copy, &err));
    kit_copy_end(&copy);
    cb_error_clear(&err);
    assert_code(CB_UNSUPPORTED, kit_copy_run(p->ctx, p->db, link, &copy, &err));
    kit_copy_end(&copy);
}

static void test_blocks_named_by_the_log_are_copied_too(void **state)
{
    static const uint64_t ids[] = {8, 12};
    CB_CLEANUP(cb_buf_free) cb_buf log = log_with(1);
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};
    uint8_t block[16384];

    for (size_t i = 0; i < 2; i++) { /* one is free, one past the header's count */
        kit_block(&p->file, ids[i], block);
        kit_poke(p->db, CB_DUCKDB_HEAD + ids[i] * 16384, block, sizeof(block));
    }
    kit_log_names(&log, ids, 2);
    kit_log_flush(&log);
    kit_log_write(&log, p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_true(seen_in(&copy, 1) == ((0x3ff & ~0x8U) | 1U << 12));
    kit_copy_end(&copy);
}

/* ---- passes ------------------------------------------------------------------------------- */

/* The next checkpoint: block 2 is freed, 8 is used now, the metadata block is written again. */
static void checkpoint(place *p)
{
    uint8_t block[16384], pages[CB_DUCKDB_HEAD];

    p->file.iteration++;
    p->file.free_ids[0] = 2;
    p->file.free_ids[1] = 3;
    p->file.free_ids[2] = 11; /* above all used ones: no tail */
    p->file.free_count = 3;
    p->file.block_count = 12;
    for (uint64_t id = 1; id < 11; id += id == 1 ? 7 : 2) { /* 1, 8, 10 */
        kit_block(&p->file, id, block);
        kit_poke(p->db, CB_DUCKDB_HEAD + id * 16384, block, sizeof(block));
    }
    kit_pages(&p->file, pages);
    kit_poke(p->db, 0, pages, sizeof(pages));
    write_log(p, 1);
}

static void checkpoint_at_first_barrier(unsigned pass, void *arg)
{
    if (pass == 1)
        checkpoint(arg);
}

static void test_next_pass_reads_only_what_a_checkpoint_can_change(void **state)
{
    place *p = *state;
    kit_copy copy = {.at_barrier = checkpoint_at_first_barrier, .arg = p};
    cb_error err = {0};

    write_log(p, 2);
    p->holder = kit_hold(p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_string_equal(copy.facts.confirmed, "log");
    assert_int_equal(copy.facts.passes, 2);
    assert_int_equal(copy.facts.commits_in_log, 1);
    /* metadata (1), newly used (8, 10), and the tail of the header before (9) */
    assert_true(seen_in(&copy, 2) == (1U << 1 | 1U << 8 | 1U << 9 | 1U << 10));
    expect_copy_of(p, &p->file);
    kit_copy_end(&copy);
}

static void two_checkpoints_at_first_barrier(unsigned pass, void *arg)
{
    place *p = arg;

    if (pass != 1)
        return;
    p->file.iteration++;
    p->file.seed = 99; /* everything is another */
    kit_write(&p->file, p->db);
    checkpoint(p);
}

static void test_skipped_header_costs_a_whole_pass(void **state)
{
    place *p = *state;
    kit_copy copy = {.at_barrier = two_checkpoints_at_first_barrier, .arg = p};
    cb_error err = {0};

    write_log(p, 2);
    p->holder = kit_hold(p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_true(seen_in(&copy, 2) == (0x7ff & ~0xcU));
    expect_copy_of(p, &p->file);
    kit_copy_end(&copy);
}

static void exchange_at_first_barrier(unsigned pass, void *arg)
{
    place *p = arg;
    char other[320];

    if (pass != 1)
        return;
    snprintf(other, sizeof(other), "%s.other", p->db);
    p->file.seed = 7; /* the same header, another history */
    kit_write(&p->file, other);
    if (rename(other, p->db) != 0)
        fail();
}

static void test_exchanged_file_is_read_anew(void **state)
{
    place *p = *state;
    kit_copy copy = {.at_barrier = exchange_at_first_barrier, .arg = p};
    cb_error err = {0};

    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_int_equal(copy.facts.passes, 2);
    assert_true(seen_in(&copy, 2) == (0x3ff & ~0x108U));
    expect_copy_of(p, &p->file);
    kit_copy_end(&copy);
}

static void more_log_at_first_barrier(unsigned pass, void *arg)
{
    if (pass == 1) {
        place *p = arg;
        CB_CLEANUP(cb_buf_free) cb_buf log = log_with(5);

        kit_poke(p->wal, 0, log.data, log.size);
    }
}

static void test_log_that_grows_does_not_void_the_pass(void **state)
{
    place *p = *state;
    kit_copy copy = {.at_barrier = more_log_at_first_barrier, .arg = p};
    cb_error err = {0};

    write_log(p, 2);
    p->holder = kit_hold(p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_int_equal(copy.facts.passes, 1);
    assert_int_equal(copy.facts.commits_in_log, 2); /* as of the moment that it was fixed */
    kit_copy_end(&copy);
}

static void other_log_at_first_barrier(unsigned pass, void *arg)
{
    if (pass == 1) {
        place *p = arg;
        CB_CLEANUP(cb_buf_free) cb_buf log = {0};

        kit_log_header(&log, NULL, 0);
        kit_log_entry(&log, 27, 50); /* not what stood there */
        kit_log_flush(&log);
        kit_log_entry(&log, 27, 60);
        kit_log_flush(&log);
        kit_poke(p->wal, 0, log.data, log.size);
    }
}

static void test_log_that_changes_does(void **state)
{
    place *p = *state;
    kit_copy copy = {.at_barrier = other_log_at_first_barrier, .arg = p};
    CB_CLEANUP(cb_buf_free) cb_buf copied = {0};
    cb_error err = {0};
    char path[320];

    write_log(p, 2);
    p->holder = kit_hold(p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_int_equal(copy.facts.passes, 2);
    snprintf(path, sizeof(path), "%s.wal", p->copy);
    assert_true(kit_same_files(p->wal, path));
    kit_copy_end(&copy);
}

/* ---- what must not be published ----------------------------------------------------------- */

static void expect_busy_after(place *p, void (*at_barrier)(unsigned pass, void *arg),
                              const char *word)
{
    kit_copy copy = {.source = {.deadline_us = 300000}, .at_barrier = at_barrier, .arg = p};
    cb_error err = {0};

    assert_code(CB_BUSY, kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_non_null(strstr(err.message, word));
    assert_true(err.hint[0] != '\0');
    kit_copy_end(&copy);
    assert_int_not_equal(access(p->copy, F_OK), 0);
}

static void expect_busy(place *p, const char *word)
{
    expect_busy_after(p, NULL, word);
}

static void mark_log(unsigned pass, void *arg)
{
    if (pass == 1) {
        place *p = arg;
        CB_CLEANUP(cb_buf_free) cb_buf log = log_with(2);

        kit_log_marker(&log, 1);
        kit_log_flush(&log);
        kit_poke(p->wal, 0, log.data, log.size);
    }
}

static void make_second_log(unsigned pass, void *arg)
{
    place *p = arg;
    char path[320];

    if (pass != 1)
        return;
    snprintf(path, sizeof(path), "%s.checkpoint", p->wal);
    kit_poke(path, 0, "x", 1);
}

static void test_checkpoint_that_began_meanwhile_voids_the_pass(void **state)
{
    place *p = *state;

    write_log(p, 2);
    p->holder = kit_hold(p->db);
    expect_busy_after(p, mark_log, "checkpoint");
}

static void test_second_log_that_appeared_voids_the_pass(void **state)
{
    place *p = *state;

    write_log(p, 2);
    p->holder = kit_hold(p->db);
    expect_busy_after(p, make_second_log, "checkpoint");
}

/* A block that was read before, with the header as it was: only its time of change tells. */
static void write_blocks(unsigned pass, void *arg)
{
    place *p = arg;
    uint8_t block[16384];

    if (pass != 1)
        return;
    p->file.seed = 5;
    for (uint64_t id = 0; id < p->file.block_count; id++) {
        kit_block(&p->file, id, block);
        kit_poke(p->db, CB_DUCKDB_HEAD + id * 16384, block, sizeof(block));
    }
}

static void test_file_that_was_not_idle_after_all_is_read_again(void **state)
{
    place *p = *state;
    kit_copy copy = {.at_barrier = write_blocks, .arg = p};
    cb_error err = {0};

    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_int_equal(copy.facts.passes, 2);
    expect_copy_of(p, &p->file);
    kit_copy_end(&copy);
}

static void test_running_checkpoint_is_waited_for(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf log = log_with(2);
    place *p = *state;

    kit_log_marker(&log, 1);
    kit_log_flush(&log);
    kit_log_write(&log, p->db);
    p->holder = kit_hold(p->db);
    expect_busy(p, "checkpoint");
}

static void test_second_log_is_waited_for(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf log = log_with(2);
    place *p = *state;
    char path[320];

    write_log(p, 2);
    snprintf(path, sizeof(path), "%s.checkpoint", p->wal);
    kit_poke(path, 0, log.data, log.size);
    p->holder = kit_hold(p->db);
    expect_busy(p, "checkpoint");
}

static void test_log_of_another_header_is_waited_for(void **state)
{
    static const uint8_t identifier[16] = {0};
    CB_CLEANUP(cb_buf_free) cb_buf log = {0};
    place *p = *state;

    kit_log_header(&log, identifier, 4); /* the file is at 5 */
    kit_log_entry(&log, 26, 50);
    kit_log_flush(&log);
    kit_log_write(&log, p->db);
    p->holder = kit_hold(p->db);
    expect_busy(p, "another state");
}

static void test_stopped_holder_without_a_log_proves_nothing(void **state)
{
    place *p = *state;

    p->holder = kit_hold(p->db);
    assert_int_equal(kill(p->holder, SIGSTOP), 0);
    expect_busy(p, "state T");
}

static void test_sleeping_holder_without_a_log_is_settled(void **state)
{
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};

    p->holder = kit_hold(p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_string_equal(copy.facts.confirmed, "settle");
    kit_copy_end(&copy);
}

/* ---- crashes ------------------------------------------------------------------------------ */

static void test_unfinished_checkpoint_of_a_killed_process_is_taken_as_it_is(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf log = log_with(2);
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};
    char other[330], copied[330];

    kit_log_marker(&log, 1);
    kit_log_flush(&log);
    kit_log_write(&log, p->db);
    snprintf(other, sizeof(other), "%s.checkpoint", p->wal);
    snprintf(copied, sizeof(copied), "%s.wal.checkpoint", p->copy);
    kit_poke(other, 0, log.data, 60);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_string_equal(copy.facts.confirmed, "crashed");
    assert_true(kit_same_files(p->db, p->copy)); /* header pages and free blocks too */
    assert_true(kit_same_files(other, copied));
    snprintf(copied, sizeof(copied), "%s.wal", p->copy);
    assert_true(kit_same_files(p->wal, copied));
    kit_copy_end(&copy);
}

/* Half of the metadata block is of another write: its checksum is not that of its bytes. */
static void tear(const place *p)
{
    uint8_t garbage[4096];

    for (size_t i = 0; i < sizeof(garbage); i++) /* equal words would cancel in the checksum */
        garbage[i] = (uint8_t)(i * i / 7);
    kit_poke(p->db, CB_DUCKDB_HEAD + 16384 + 12000, garbage, sizeof(garbage));
}

static void test_torn_metadata_is_stored_and_mended(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf kept = {0};
    CB_CLEANUP(cb_buf_free) cb_buf got = {0};
    place *p = *state;
    kit_copy copy = {0};
    kit_copy second = {.target = {.force = true, .mend = true}};
    cb_error err = {0};
    cb_duckdb_state record;

    tear(p);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_ok(cb_duckdb_state_parse(copy.facts.state, &record, &err));
    assert_int_equal(record.torn_count, 1);
    assert_int_equal(record.torn[0], 1);
    cb_duckdb_state_free(&record);
    got = kit_slurp(p->copy);
    assert_false(cb_duckdb_block_ok(cb_bytes_of(got.data + CB_DUCKDB_HEAD + 16384, 16384)));
    cb_buf_free(&got);

    assert_ok(cb_buf_append(&kept, copy.facts.state.data, copy.facts.state.size, &err));
    kit_copy_end(&copy);
    second.target.state = cb_buf_bytes(&kept);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &second, &err));
    got = kit_slurp(p->copy);
    assert_true(cb_duckdb_block_ok(cb_bytes_of(got.data + CB_DUCKDB_HEAD + 16384, 16384)));
    kit_copy_end(&second);
}

/* ---- damage ------------------------------------------------------------------------------- */

static void expect_damage(place *p, const char *word)
{
    kit_copy copy = {0};
    kit_copy allowed = {.source = {.allow_damage = true}};
    cb_error err = {0};

    assert_code(CB_CORRUPT, kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_non_null(strstr(err.message, word));
    kit_copy_end(&copy);
    cb_error_clear(&err);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &allowed, &err));
    assert_int_equal(allowed.facts.damaged, 1);
    kit_copy_end(&allowed);
}

static void test_damaged_block_is_named(void **state)
{
    place *p = *state;

    kit_poke(p->db, CB_DUCKDB_HEAD + 6 * 16384 + 100, "rot", 3);
    expect_damage(p, "block 6");
}

static void test_flipped_byte_of_metadata_is_damage_and_not_torn(void **state)
{
    place *p = *state;

    kit_poke(p->db, CB_DUCKDB_HEAD + 16384 + 12000, "r", 1);
    expect_damage(p, "block 1");
}

static void test_damaged_log_is_said(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf log = log_with(3);
    place *p = *state;

    log.data[log.size - 60] ^= 1;
    kit_log_write(&log, p->db);
    expect_damage(p, "log");
}

static void test_damaged_header_is_said(void **state)
{
    place *p = *state;

    kit_poke(p->db, 5000, "rot", 3);
    expect_damage(p, "header");
}

static void test_tail_block_never_written_is_no_damage(void **state)
{
    static const uint8_t zeros[16384];
    place *p = *state;
    kit_copy copy = {0};
    cb_error err = {0};

    kit_poke(p->db, CB_DUCKDB_HEAD + 9 * 16384, zeros, sizeof(zeros));
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_int_equal(copy.facts.damaged, 0);
    kit_copy_end(&copy);
}

static void test_check_tells_what_is_there(void **state)
{
    place *p = *state;
    cb_check_report report = {0};
    cb_error err = {0};

    write_log(p, 2);
    p->holder = kit_hold(p->db);
    assert_ok(cb_duckdb_engine.check(p->ctx, p->db, &report, &err));
    assert_int_equal(report.blocks, 10);
    assert_int_equal(report.free_blocks, 2);
    assert_int_equal(report.bad_blocks, 0);
    assert_int_equal(report.commits_in_log, 2);
    assert_int_equal(report.open_by, p->holder);
    cb_check_report_free(&report);
    kit_release(p->holder);
    p->holder = 0;

    kit_poke(p->db, CB_DUCKDB_HEAD + 6 * 16384 + 100, "rot", 3);
    assert_ok(cb_duckdb_engine.check(p->ctx, p->db, &report, &err));
    assert_int_equal(report.bad_blocks, 1);
    assert_int_equal(report.damaged_count, 1);
    assert_string_equal(report.damaged[0].chunk, "6");
    cb_check_report_free(&report);
}

/* ---- from run to run ---------------------------------------------------------------------- */

static int64_t an_hour_ahead(void *arg)
{
    struct timespec now;

    (void)arg;
    clock_gettime(CLOCK_REALTIME, &now);
    return ((int64_t)now.tv_sec + 3600) * 1000000;
}

static void test_unchanged_only_when_nothing_can_have_changed(void **state)
{
    CB_CLEANUP(cb_buf_free) cb_buf kept = {0};
    place *p = *state;
    kit_copy first = {0};
    kit_copy second = {.target = {.force = true}};
    cb_error err = {0};

    write_log(p, 2);
    /* Written this very moment: a change in the same tick of the clock could hide. */
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &first, &err));
    second.parent_state = first.facts.state;
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &second, &err));
    assert_false(second.unchanged);
    kit_copy_end(&first);
    kit_copy_end(&second);

    p->ctx->clock = an_hour_ahead; /* as if it had been written long before */
    first = (kit_copy){.target = {.force = true}};
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &first, &err));
    assert_ok(cb_buf_append(&kept, first.facts.state.data, first.facts.state.size, &err));
    kit_copy_end(&first);
    second = (kit_copy){.target = {.force = true}, .parent_state = cb_buf_bytes(&kept)};
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &second, &err));
    assert_true(second.unchanged);
    assert_string_equal(second.facts.confirmed, "unchanged");
    assert_int_equal(second.facts.commits_in_log, 2);
    assert_true(second.facts.fact_count > 3);
    kit_copy_end(&second);

    write_log(p, 2); /* the same bytes, another file */
    second = (kit_copy){.target = {.force = true}, .parent_state = cb_buf_bytes(&kept)};
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &second, &err));
    assert_false(second.unchanged);
    kit_copy_end(&second);
}

static void test_snapshot_of_another_database_is_refused(void **state)
{
    place *p = *state;
    char snap[320];
    kit_copy copy = {.source = {.snapshot = snap}};
    cb_error err = {0};

    snprintf(snap, sizeof(snap), "%s/snap.duckdb", p->folder);
    p->file.iteration = 4; /* older: it may be one */
    kit_write(&p->file, snap);
    p->holder = kit_hold(p->db);
    assert_ok(kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    assert_string_equal(copy.facts.confirmed, "idle");
    assert_string_equal(copy.open_source->address, p->db);
    kit_copy_end(&copy);
    p->file.iteration = 9;
    kit_write(&p->file, snap);
    copy = (kit_copy){.source = {.snapshot = snap}, .target = {.force = true}};
    assert_code(CB_USAGE, kit_copy_run(p->ctx, p->db, p->copy, &copy, &err));
    kit_copy_end(&copy);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_idle_file_is_copied_without_its_free_blocks),
        TEST(test_trailing_free_blocks_are_cut),
        TEST(test_log_is_cut_at_its_last_commit),
        TEST(test_log_beside_a_link_is_found),
        TEST(test_blocks_named_by_the_log_are_copied_too),
        TEST(test_next_pass_reads_only_what_a_checkpoint_can_change),
        TEST(test_skipped_header_costs_a_whole_pass),
        TEST(test_exchanged_file_is_read_anew),
        TEST(test_log_that_grows_does_not_void_the_pass),
        TEST(test_log_that_changes_does),
        TEST(test_checkpoint_that_began_meanwhile_voids_the_pass),
        TEST(test_second_log_that_appeared_voids_the_pass),
        TEST(test_file_that_was_not_idle_after_all_is_read_again),
        TEST(test_running_checkpoint_is_waited_for),
        TEST(test_second_log_is_waited_for),
        TEST(test_log_of_another_header_is_waited_for),
        TEST(test_stopped_holder_without_a_log_proves_nothing),
        TEST(test_sleeping_holder_without_a_log_is_settled),
        TEST(test_unfinished_checkpoint_of_a_killed_process_is_taken_as_it_is),
        TEST(test_torn_metadata_is_stored_and_mended),
        TEST(test_damaged_block_is_named),
        TEST(test_flipped_byte_of_metadata_is_damage_and_not_torn),
        TEST(test_damaged_log_is_said),
        TEST(test_damaged_header_is_said),
        TEST(test_tail_block_never_written_is_no_damage),
        TEST(test_check_tells_what_is_there),
        TEST(test_unchanged_only_when_nothing_can_have_changed),
        TEST(test_snapshot_of_another_database_is_refused),
    };

    return cmocka_run_group_tests_name("duckdb hot copy", tests, NULL, NULL);
}
