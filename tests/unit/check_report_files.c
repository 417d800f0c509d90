/*
 * Report files, names, the timeline, the kernel's numbers and readable ones.
 */
#include "report_support.h"

#include "report/human.h"
#include "report/procfs.h"
#include "report/segment_file.h"
#include "report/timeline.h"
#include "report/writer.h"
#include "run_suite.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- files ------------------------------------------------------------------------------------------- */

START_TEST(report_names_have_the_last_part_of_the_executable)
{
    char stem[300];
    mt_report_path_stem(stem, sizeof stem, "/out", "/usr/games/my game", 12, 1);
    ck_assert_str_eq(stem, "/out/memtrack.my_game.12");
    mt_report_path_stem(stem, sizeof stem, "/out", "/bin/x (deleted)", 12, 3);
    ck_assert_str_eq(stem, "/out/memtrack.x.12.3");
    mt_report_path_stem(stem, sizeof stem, "/out", "", 12, 1);
    ck_assert_str_eq(stem, "/out/memtrack.unknown.12");
}
END_TEST

START_TEST(a_report_that_cannot_be_written_leaves_the_old_one)
{
    char stem[200], file[220];
    snprintf(stem, sizeof stem, "%s/memtrack.x.1", folder);
    snprintf(file, sizeof file, "%s.json", stem);
    json_t *first = json_pack("{s:i}", "n", 1), *second = json_pack("{s:s}", "n", "two");
    ck_assert_int_eq(mt_report_write(first, stem, false, 1), 0);
    /* A limit on the file size is a full disk for one process. */
    pid_t child = fork();
    if (child == 0) {
        static char longer[200001];
        struct rlimit limit = {100000, 100000};
        memset(longer, 'x', sizeof longer - 1);
        json_object_set_new(second, "long", json_string(longer));
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit)) _exit(2);
        _exit(mt_report_write(second, stem, false, 1) == -EFBIG ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_lt(mt_report_write(second, "/nonexistent/folder/x", false, 1), 0);
    json_t *read = json_load_file(file, 0, NULL);
    ck_assert_int_eq(number(read, "n"), 1);
    json_decref(read);
    json_decref(first);
    json_decref(second);
}
END_TEST

START_TEST(keep_makes_a_numbered_copy_that_stays)
{
    char stem[200], file[220];
    snprintf(stem, sizeof stem, "%s/memtrack.x.1", folder);
    for (int i = 1; i <= 2; i++) {
        json_t *report = json_pack("{s:i}", "n", i);
        ck_assert_int_eq(mt_report_write(report, stem, true, (unsigned long)i), 0);
        json_decref(report);
    }
    snprintf(file, sizeof file, "%s.000001.json", stem);
    json_t *read = json_load_file(file, 0, NULL);
    ck_assert_int_eq(number(read, "n"), 1);
    json_decref(read);
}
END_TEST

START_TEST(segment_names_are_understood)
{
    int32_t pid;
    uint64_t ticks;
    unsigned n;
    ck_assert(mt_segment_file_parse_name("12.345.6.seg", &pid, &ticks, &n));
    ck_assert_int_eq(pid, 12);
    ck_assert_uint_eq(ticks, 345);
    ck_assert_uint_eq(n, 6);
    ck_assert(!mt_segment_file_parse_name("12.345.6.seg.report", &pid, &ticks, &n));
    ck_assert(!mt_segment_file_parse_name("collector.lock", &pid, &ticks, &n));
    ck_assert(!mt_segment_file_parse_name("-1.3.4.seg", &pid, &ticks, &n));
}
END_TEST

START_TEST(json_that_is_no_report_is_refused)
{
    static const char *const texts[] = {"",
                                        "{}",
                                        "[]",
                                        "nonsense",
                                        "{\"schema\":\"memtrack-report\"}",
                                        "{\"schema\":\"memtrack-report\",\"schema_version\":2}",
                                        "{\"schema\":\"memtrack-report\",\"schema_version\":1,\"cpu\":[]}"};
    char file[200], why[300];
    snprintf(file, sizeof file, "%s/x.json", folder);
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        FILE *out = fopen(file, "w");
        fputs(texts[i], out);
        fclose(out);
        ck_assert_ptr_null(mt_report_load(file, why, sizeof why));
    }
}
END_TEST

/* ---- timeline, procfs, numbers ------------------------------------------------------------------------- */

START_TEST(a_long_timeline_is_thinned_and_says_so)
{
    struct mt_timeline timeline = {0};
    for (uint64_t i = 0; i < 3 * MT_TIMELINE_POINTS; i++) {
        struct mt_timeline_point point = {.t_ns = i};
        mt_timeline_add(&timeline, &point);
    }
    ck_assert_uint_le(timeline.count, MT_TIMELINE_POINTS);
    ck_assert_uint_eq(timeline.count + timeline.thinned_count, 3 * MT_TIMELINE_POINTS);
    for (size_t i = 1; i < timeline.count; i++)
        ck_assert_uint_gt(timeline.points[i].t_ns, timeline.points[i - 1].t_ns);
    mt_timeline_free(&timeline);
}
END_TEST

static json_t *trend_of(int64_t per_second, unsigned points)
{
    struct mt_timeline timeline = {0};
    for (unsigned i = 0; i < points; i++) {
        struct mt_timeline_point point = {.t_ns = i * UINT64_C(1000000000),
                                          .cpu_current_bytes = 1000000 + per_second * (int64_t)i};
        mt_timeline_add(&timeline, &point);
    }
    json_t *trend = mt_trend_json(&timeline);
    mt_timeline_free(&timeline);
    return trend;
}

START_TEST(the_trend_has_direction_and_rate)
{
    static const struct {
        int64_t rate;
        unsigned points;
        const char *direction;
    } cases[] = {{5000, 20, "increasing"},
                 {-5000, 20, "decreasing"},
                 {0, 20, "stable"},
                 {3, 20, "stable"},
                 {5000, 2, "null"}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *trend = trend_of(cases[i].rate, cases[i].points);
        ck_assert_str_eq(word(trend, "cpu.direction"), cases[i].direction);
        if (cases[i].points > 2) ck_assert_int_eq(number(trend, "cpu.bytes_per_s"), cases[i].rate);
        json_decref(trend);
    }
}
END_TEST

START_TEST(the_kernel_s_numbers_of_this_process_add_up)
{
    struct mt_proc_memory memory = {0};
    struct mt_proc_mappings mappings = {0};
    ck_assert(mt_proc_read_memory(getpid(), &memory));
    ck_assert(mt_proc_read_mappings(getpid(), "4000000.77.0.seg", &mappings));
    uint64_t sum = 0;
    for (unsigned i = 0; i < MT_PROC_CATEGORIES; i++) sum += mappings.category[i].rss_bytes;
    ck_assert_uint_gt(memory.rss_bytes, 0);
    ck_assert_msg(sum > memory.rss_bytes / 2 && sum < memory.rss_bytes * 2, "%" PRIu64 " of %" PRIu64, sum,
                  memory.rss_bytes);
    ck_assert_uint_eq(mappings.category[MT_PROC_MEMTRACK].count, 1);
    ck_assert_int_eq(mt_proc_liveness(getpid(), 0), MT_ALIVE);
    ck_assert_int_eq(mt_proc_liveness(getpid(), 1), MT_REUSED);
    ck_assert_int_eq(mt_proc_liveness(4000000, 0), MT_GONE);
    pid_t child = fork();
    if (child == 0) _exit(0);
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(mt_proc_liveness(child, 0), MT_GONE); /* a zombie is gone */
    waitpid(child, NULL, 0);
}
END_TEST

START_TEST(numbers_are_readable)
{
    char buffer[MT_HUMAN_BYTES];
    ck_assert_str_eq(mt_human_bytes(buffer, 0), "0 B");
    ck_assert_str_eq(mt_human_bytes(buffer, 1023), "1023 B");
    ck_assert_str_eq(mt_human_bytes(buffer, 1536), "1.5 KiB");
    ck_assert_str_eq(mt_human_bytes(buffer, -3145728), "-3.0 MiB");
    ck_assert_str_eq(mt_human_bytes(buffer, INT64_MIN), "-8.0 EiB");
    ck_assert_str_eq(mt_human_count(buffer, 1234567), "1,234,567");
    ck_assert_str_eq(mt_human_count(buffer, -999), "-999");
    ck_assert_str_eq(mt_human_ns(buffer, 1500000), "1.50 ms");
    ck_assert_str_eq(mt_human_seconds(buffer, 65), "1 min 05 s");
}
END_TEST

static TCase *file_tests(void)
{
    TCase *tests = with_segment("files");
    tcase_add_test(tests, report_names_have_the_last_part_of_the_executable);
    tcase_add_test(tests, a_report_that_cannot_be_written_leaves_the_old_one);
    tcase_add_test(tests, keep_makes_a_numbered_copy_that_stays);
    tcase_add_test(tests, segment_names_are_understood);
    tcase_add_test(tests, json_that_is_no_report_is_refused);
    tcase_add_test(tests, a_long_timeline_is_thinned_and_says_so);
    tcase_add_test(tests, the_trend_has_direction_and_rate);
    tcase_add_test(tests, the_kernel_s_numbers_of_this_process_add_up);
    tcase_add_test(tests, numbers_are_readable);
    return tests;
}

static Suite *suite(void)
{
    Suite *all = suite_create("report files");
    suite_add_tcase(all, file_tests());
    return all;
}

int main(void)
{
    return run_suite(suite(), CK_FORK_GETENV);
}
