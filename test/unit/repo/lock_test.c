/*
 * One run of a name at a time: who waits says for whom, a silent or vanished holder is passed by,
 * and a clock that jumps does no harm.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake_hooks.h"
#include "fault_store.h"
#include "fixture.h"
#include "temp.h"

typedef struct place {
    cb_ctx *ctx;
    cb_store *store;
    cb_repo *repo;
    test_hooks hooks;
    unsigned waits;
    char said[256];
} place;

static void note_wait(void *arg, const cb_event *event)
{
    place *p = arg;

    if (event->kind != CB_EVENT_WAITING)
        return;
    p->waits++;
    snprintf(p->said, sizeof(p->said), "%s", event->text);
}

static int begin(void **state)
{
    place *p = calloc(1, sizeof(*p));
    cb_error err = {0};

    p->ctx = test_ctx_new();
    p->ctx->sink = note_wait;
    p->ctx->sink_arg = p;
    test_hooks_install(&p->hooks, p->ctx, (int64_t)1800000000 * 1000000, 3);
    assert_ok(cb_memory_store_new(p->ctx, &p->store, &err));
    assert_ok(fixture_create(p->ctx, p->store, &err));
    assert_ok(cb_repo_open(p->ctx, p->store, &p->repo, &err));
    *state = p;
    return 0;
}

static int end(void **state)
{
    place *p = *state;

    cb_repo_close(p->repo);
    cb_ctx_free(p->ctx);
    free(p);
    return 0;
}

static cb_session_request request_of(const char *name, int64_t wait_us)
{
    return (cb_session_request){.name = name, .lock_wait_us = wait_us, .single_threaded = true};
}

static void test_second_waits_and_gives_up(void **state)
{
    place *p = *state;
    cb_session_request first = request_of("prod", 0);
    cb_session_request second = request_of("prod", 10 * 1000000);
    cb_session *a, *b;
    cb_error err = {0};
    char pid[32];

    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    assert_ok(cb_session_open(p->repo, &first, &a, &err));
    assert_code(CB_BUSY, cb_session_open(p->repo, &second, &b, &err));
    assert_null(b);
    assert_int_equal(p->waits, 1);
    assert_non_null(strstr(p->said, pid));
    assert_non_null(strstr(err.message, pid));
    assert_true(err.hint[0] != '\0');
    /* Who gave up has ended: it holds nobody up. */
    cb_session_free(a);
    err = (cb_error){0};
    assert_ok(cb_session_open(p->repo, &first, &a, &err));
    assert_int_equal(cb_session_number(a), 4); /* the second began twice: its label was taken */
    cb_session_free(a);
}

static void test_other_names_do_not_wait(void **state)
{
    place *p = *state;
    cb_session_request first = request_of("prod", 0);
    cb_session_request second = request_of("other", 0);
    cb_session *a, *b;
    cb_error err = {0};

    assert_ok(cb_session_open(p->repo, &first, &a, &err));
    assert_ok(cb_session_open(p->repo, &second, &b, &err));
    cb_session_free(a);
    cb_session_free(b);
    assert_int_equal(p->waits, 0);
}

static void test_silent_holder_is_passed_by(void **state)
{
    place *p = *state;
    cb_session_request request = request_of("prod", 600 * (int64_t)1000000);
    fixture_shape shape = {.name = "prod", .items = 1, .chunks = 3, .version = 1};
    cb_session *a, *b;
    cb_manifest_ref *refs;
    size_t count;
    cb_error err = {0};

    assert_ok(cb_session_open(p->repo, &request, &a, &err)); /* beats never: it sleeps */
    assert_ok(cb_session_open(p->repo, &request, &b, &err)); /* after 4 minutes of waiting */
    assert_int_equal(p->waits, 1);
    /* Both commit, and both are right. */
    assert_ok(fixture_fill(p->repo, b, &shape, &err));
    assert_ok(fixture_fill(p->repo, a, &shape, &err));
    assert_string_not_equal(cb_session_label(a), cb_session_label(b));
    cb_session_free(a);
    cb_session_free(b);
    assert_ok(fixture_check_all(p->repo, &count, &err));
    assert_int_equal(count, 2);
    assert_ok(cb_manifest_list(p->repo, "prod", &refs, &count, &err));
    assert_int_equal(refs[0].number, 1);
    free(refs);
}

static void test_dead_process_is_passed_by(void **state)
{
    place *p = *state;
    cb_session_request request = request_of("prod", 0);
    cb_session_open_record record = {.started_us = 1, .stale_limit_us = INT64_MAX};
    CB_CLEANUP(cb_buf_free) cb_buf payload = {0};
    cb_reclaim_result result;
    char name[CB_NAME_MAX + 1];
    char key[CB_KEY_MAX];
    cb_session *a;
    cb_error err = {0};
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    assert_true(child > 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    cb_process_self(&record.process);
    record.process.pid = child;
    memset(record.id, 7, sizeof(record.id));
    cb_key_manifest(record.manifest_key, cb_name_key(p->repo, "prod", name), 1, "20261121-000000");
    cb_session_object_key(p->repo, "prod", 1, "open", key);
    assert_ok(cb_session_open_render(&record, &payload, &err));
    assert_ok(
        cb_object_write(p->repo, CB_OBJECT_SESSION, key, CB_PUT_NEW, cb_buf_bytes(&payload), &err));
    assert_ok(cb_session_open(p->repo, &request, &a, &err));
    assert_int_equal(p->waits, 0);
    cb_session_free(a);
    /* A reclaim that has to wait buries it, so that nothing of it can come any more. */
    {
        fixture_shape shape = {.name = "other", .items = 1, .chunks = 3, .version = 1};
        cb_manifest_ref ref;

        assert_ok(fixture_backup(p->repo, &shape, &ref, &err));
        assert_ok(cb_manifest_remove(p->repo, &ref, &err));
    }
    assert_ok(cb_repo_reclaim(p->repo, 0, &result, &err));
    assert_string_equal(result.pending, "");
    assert_int_equal(fixture_count(p->store, record.manifest_key), 1);
    assert_int_equal(fixture_count(p->store, cb_session_object_key(p->repo, "prod", 1, "", key)),
                     0);
    assert_int_equal(fixture_count(p->store, "pack/"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_second_waits_and_gives_up, begin, end),
        cmocka_unit_test_setup_teardown(test_other_names_do_not_wait, begin, end),
        cmocka_unit_test_setup_teardown(test_silent_holder_is_passed_by, begin, end),
        cmocka_unit_test_setup_teardown(test_dead_process_is_passed_by, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
