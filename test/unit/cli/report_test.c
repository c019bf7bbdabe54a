/*
 * The page and the metrics from made-up backups. With a file name as argument the page of a large
 * repository is written there, for the test in a browser and for eyes.
 */
#include "cli/overview.h"
#include "cli/report.h"

#include "base/text.h"
#include "cli_kit.h"

enum { HOUR = 3600 };
#define SECONDS(s) ((int64_t)(s)*1000000)
#define NOW        SECONDS(1795260000)

static const char hostile[] = "<script>alert('x')</script>&\"\xff\x01\n</svg>";

typedef struct scene {
    cb_backup_info *backups;
    size_t count;
    cb_list_result list;
    cb_repo_result repo;
    cb_last_runs runs;
    cb_overview overview;
    char (*labels)[32];
    char (*names)[80];
} scene;

static void scene_free(scene *self)
{
    cb_overview_free(&self->overview);
    free(self->backups);
    free(self->labels);
    free(self->names);
}

/* `count` backups of each of `names` names; the last is `late_hours` old. */
static void make_scene(scene *self, size_t names, size_t count, int64_t late_hours)
{
    static const char *const words[] = {"prod", "analytics.events", "app", "config"};
    cb_error err = {0};

    *self = (scene){.count = names * count};
    self->backups = calloc(self->count + 1, sizeof(*self->backups));
    self->labels = calloc(self->count + 1, sizeof(*self->labels));
    self->names = calloc(names, sizeof(*self->names));
    assert_true(self->backups && self->labels && self->names);
    for (size_t n = 0; n < names; n++) {
        if (n < CB_LENGTH(words))
            snprintf(self->names[n], 80, "%zu-%s", n, words[n]);
        else
            snprintf(self->names[n], 80,
                     "9-a-name-that-is-as-long-as-names-may-be-sixty-four-%06zu", n);
        for (size_t i = 0; i < count; i++) {
            cb_backup_info *backup = &self->backups[n * count + i];
            int64_t hours = late_hours + (int64_t)(count - 1 - i) * 24 + (int64_t)n;

            snprintf(self->labels[n * count + i], 32, "2026%04zu-%06zu", i % 10000, n);
            *backup = (cb_backup_info){
                .name = self->names[n],
                .label = self->labels[n * count + i],
                .kind = n == 2 ? "sqlite" : "duckdb",
                .started_us = NOW - SECONDS(hours * HOUR) - 1,
                .point_us = NOW - SECONDS(hours * HOUR),
                .finished_us = NOW - SECONDS(hours * HOUR) + 2500000,
                .source_bytes = (UINT64_C(40) << 30) + i * (UINT64_C(3) << 20),
                .new_bytes = i == 0 ? UINT64_C(40) << 30 : UINT64_C(90) << 20,
                .stored_bytes = i == 0 ? UINT64_C(20) << 30 : UINT64_C(50) << 20,
                .verified_us = i % 3 == 0 ? NOW - SECONDS(hours * HOUR) + 50 : 0,
                .damaged = n == 1 && i + 1 == count ? 2 : 0,
                .source = "/srv/data/a/rather/long/path/to/a/database/that/has/a/long/name.duckdb",
                .host = "db1.example",
            };
        }
    }
    self->list = (cb_list_result){self->backups, self->count};
    self->repo = (cb_repo_result){.address = "s3://bucket/prefix?profile=x",
                                  .stored_bytes = UINT64_C(300) << 30,
                                  .raw_bytes = UINT64_C(500) << 30,
                                  .names = names,
                                  .backups = self->count,
                                  .encrypted = true};
    assert_int_equal(
        cb_overview_make(&self->repo, &self->list, &self->runs, NOW, &self->overview, &err), CB_OK);
}

static void add_run(scene *self, const char *name, const char *command, int code)
{
    cb_error err = {0};

    self->runs.items = calloc(1, sizeof(*self->runs.items));
    assert_non_null(self->runs.items);
    self->runs.items[0] = (cb_last_run){.name = name,
                                        .command = command,
                                        .started_us = NOW - SECONDS(60),
                                        .finished_us = NOW - SECONDS(30),
                                        .exit_code = code,
                                        .message = hostile};
    self->runs.count = 1;
    cb_overview_free(&self->overview);
    assert_int_equal(
        cb_overview_make(&self->repo, &self->list, &self->runs, NOW, &self->overview, &err), CB_OK);
}

static void page_of(const scene *self, cb_buf *out)
{
    cb_error err = {0};

    if (cb_report_page(&self->overview, out, &err) != CB_OK)
        fail_msg("%s", err.message);
}

static void test_page(void **state)
{
    CB_CLEANUP(scene_free) scene s = {0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};

    (void)state;
    make_scene(&s, 3, 30, 2);
    page_of(&s, &out);
    kit_assert_has(&out, "<p class=\"big\">2 h</p>");
    kit_assert_has(&out, "In time.");
    kit_assert_has(&out, "Usually one every 24 h.");
    /* The newest of the second name is damaged: what counts is the one before. */
    kit_assert_has(&out, "<p class=\"big\">27 h</p>");
    kit_assert_has(&out, "Newer backups hold blocks that were damaged");
    kit_assert_has(&out, "20 of 30");
    kit_assert_has(&out, "No run is known on this machine.");
    kit_assert_has(&out, "<p>in s3://bucket/prefix</p>"); /* without its settings */
    kit_assert_lacks(&out, "profile=x");
}

/* Names, paths and messages come from anywhere: they must stay text. */
static void test_hostile_text_stays_text(void **state)
{
    CB_CLEANUP(scene_free) scene s = {0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};

    (void)state;
    make_scene(&s, 1, 1, 2);
    s.backups[0].source = hostile;
    s.backups[0].host = hostile;
    s.backups[0].kind = hostile;
    s.repo.address = hostile;
    add_run(&s, "0-prod", "verify", 3);
    page_of(&s, &out);
    kit_assert_lacks(&out, "<script");
    kit_assert_lacks(&out, "</svg>&");
    kit_assert_lacks(&out, "\x01");
    kit_assert_has(&out,
                   "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\xef\xbf\xbd??");
    assert_true(cb_is_utf8((const char *)out.data, out.size));
}

static void test_late_and_never(void **state)
{
    CB_CLEANUP(scene_free) scene s = {0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};

    (void)state;
    make_scene(&s, 1, 10, 50);
    add_run(&s, "unborn", "backup", 1);
    page_of(&s, &out);
    kit_assert_has(&out, "Late.");
    kit_assert_has(&out, "No good backup.");
    kit_assert_has(&out, "data-t=\"Exit code\">1");
}

static void test_empty(void **state)
{
    CB_CLEANUP(scene_free) scene s = {0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};

    (void)state;
    make_scene(&s, 1, 0, 0);
    page_of(&s, &out);
    kit_assert_has(&out, "There are no backups yet.");
    kit_assert_lacks(&out, "<svg");
}

/* Nothing is fetched from anywhere, and the page stays small. */
static void test_self_contained(void **state)
{
    static const size_t shapes[][2] = {{1, 1000}, {4, 250}, {1000, 1}, {1, 20000}};
    static const char *const outside[] = {"http://", "https://", "src=",    "href=",  "url(",
                                          "@import", "<link",    "<script", "<iframe"};

    (void)state;
    for (size_t i = 0; i < CB_LENGTH(shapes); i++) {
        CB_CLEANUP(scene_free) scene s = {0};
        CB_CLEANUP(cb_buf_free) cb_buf out = {0};

        make_scene(&s, shapes[i][0], shapes[i][1], 2);
        page_of(&s, &out);
        for (size_t k = 0; k < CB_LENGTH(outside); k++)
            kit_assert_lacks(&out, outside[k]);
        if (out.size >= 1000000)
            fail_msg("%zu names of %zu backups make %zu bytes", shapes[i][0], shapes[i][1],
                     out.size);
        if (shapes[i][1] > CB_REPORT_ROWS)
            kit_assert_has(&out, "older ones");
    }
}

static void test_metrics(void **state)
{
    CB_CLEANUP(scene_free) scene s = {0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    cb_error err = {0};

    (void)state;
    make_scene(&s, 2, 10, 2);
    s.repo.address = "/a\\b\"c\nd\xff";
    add_run(&s, "0-prod", "backup", 4);
    assert_int_equal(cb_metrics_text(&s.overview, &out, &err), CB_OK);
    kit_assert_has(&out, "\ncanvasback_backup_age_seconds{repository=\"/a\\\\b\\\"c\\nd?\",name="
                         "\"0-prod\"} 7200\n");
    /* The good one, not the newest. */
    kit_assert_has(&out, "name=\"1-analytics.events\"} 97200\n");
    kit_assert_has(&out, "\ncanvasback_last_run_exit_code{repository=\"/a\\\\b\\\"c\\nd?\",name="
                         "\"0-prod\",command=\"backup\"} 4\n");
    kit_assert_has(&out, "\ncanvasback_last_run_duration_seconds{");
    kit_assert_has(&out, "\n# TYPE canvasback_backup_source_bytes gauge\n");
}

static int write_page(const char *path)
{
    CB_CLEANUP(scene_free) scene s = {0};
    CB_CLEANUP(cb_buf_free) cb_buf out = {0};
    FILE *file = fopen(path, "w");

    make_scene(&s, 5, 200, 2);
    add_run(&s, "1-analytics.events", "verify", 3);
    s.overview.names[0].has_lock = true;
    s.overview.names[0].locked_until_us = NOW + SECONDS(86400 * 20);
    page_of(&s, &out);
    return file && fwrite(out.data, 1, out.size, file) == out.size && fclose(file) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page),           cmocka_unit_test(test_hostile_text_stays_text),
        cmocka_unit_test(test_late_and_never), cmocka_unit_test(test_empty),
        cmocka_unit_test(test_self_contained), cmocka_unit_test(test_metrics),
    };

    if (argc == 2)
        return write_page(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
