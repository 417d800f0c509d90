/* Options: every type's good and bad texts, unknown names, printing. */
#include "options.h"
#include "run_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char last_line[600];
static unsigned lines;

static void remember(const char *line)
{
    lines++;
    strncpy(last_line, line, sizeof last_line - 1);
}

static unsigned read_one(struct mt_option_values *values, const char *entry)
{
    char *environment[] = {(char *)"PATH=/bin", (char *)entry, NULL};
    lines = 0;
    last_line[0] = 0;
    return mt_options_read(values, environment, remember);
}

START_TEST(defaults_are_those_of_the_table)
{
    struct mt_option_values values;
    ck_assert_uint_eq(mt_options_read(&values, NULL, remember), 0);
    ck_assert_str_eq(values.text[MT_OPT_OUTPUT], ".");
    ck_assert_uint_eq(values.number[MT_OPT_INTERVAL], UINT64_C(5000000000));
    ck_assert_uint_eq(values.number[MT_OPT_PEAK_BATCH], 65536);
    ck_assert_uint_eq(values.number[MT_OPT_PEAK], 0);
    ck_assert_uint_eq(values.number[MT_OPT_CPU], 1);
}
END_TEST

START_TEST(every_default_is_a_legal_value)
{
    struct mt_option_values values;
    char message[512];
    mt_options_read(&values, NULL, NULL);
    for (int i = 0; i < MT_OPT_COUNT; i++)
        ck_assert_msg(
            !mt_option_set(&values, (enum mt_option)i, mt_option_table[i].default_text, message, sizeof message),
            "%s", message);
}
END_TEST

static const struct {
    const char *text;
    uint64_t bytes;
} sizes[] = {{"4096", 4096},    {"64K", 65536},   {"1.5M", 1572864},
             {"1MiB", 1048576}, {"1mb", 1048576}, {"1G", 1073741824}};

START_TEST(a_size_takes_suffixes)
{
    struct mt_option_values values;
    char message[512];
    mt_options_read(&values, NULL, NULL);
    ck_assert_int_eq(mt_option_set(&values, MT_OPT_PEAK_BATCH, sizes[_i].text, message, sizeof message), 0);
    ck_assert_uint_eq(values.number[MT_OPT_PEAK_BATCH], sizes[_i].bytes);
}
END_TEST

static const char *const bad[] = {"MEMTRACK_PEAK=maybe",
                                  "MEMTRACK_PEAK=batche",
                                  "MEMTRACK_PEAK_BATCH=12x",
                                  "MEMTRACK_PEAK_BATCH=1",
                                  "MEMTRACK_PEAK_BATCH=-4096",
                                  "MEMTRACK_INTERVAL=0",
                                  "MEMTRACK_INTERVAL=soon",
                                  "MEMTRACK_INTERVAL=.",
                                  "MEMTRACK_KEEP=perhaps",
                                  "MEMTRACK_SEGMENT_SIZE=1K",
                                  "MEMTRACK_VULKAN_HEAP_LIMIT=4G",
                                  "MEMTRACK_VULKAN_HEAP_LIMIT=0:0",
                                  "MEMTRACK_VULKAN_HEAP_LIMIT=16:1G",
                                  "MEMTRACK_VULKAN_HEAP_LIMIT=0:4G,",
                                  "MEMTRACK_VULKAN_HEAP_LIMIT=0:1G,0:2G",
                                  "MEMTRACK_VULKAN_BUDGET=0:4Q",
                                  "MEMTRACK_VULKAN_BUDGET=0:99999999999999999999",
                                  "MEMTRACK_VULKAN_FAIL=0",
                                  "MEMTRACK_VULKAN_FAIL=x",
                                  "MEMTRACK_VULKAN_FAIL=every:",
                                  "MEMTRACK_VULKAN_FAIL=rate:2",
                                  "MEMTRACK_VULKAN_FAIL=rate:0",
                                  "MEMTRACK_VULKAN_FAIL=5x"};

START_TEST(a_bad_value_keeps_the_default_and_says_so_in_one_line)
{
    struct mt_option_values values, defaults;
    mt_options_read(&defaults, NULL, NULL);
    ck_assert_uint_eq(read_one(&values, bad[_i]), 1);
    ck_assert_uint_eq(lines, 1);
    ck_assert_ptr_null(strchr(last_line, '\n'));
    ck_assert_ptr_nonnull(strstr(last_line, "expected"));
    ck_assert_mem_eq(values.number, defaults.number, sizeof values.number);
}
END_TEST

START_TEST(sizes_by_heap_and_failures_are_read)
{
    uint64_t bytes[MT_OPTION_HEAPS];
    struct mt_failures failures;
    ck_assert(mt_option_heaps("2:1G,0:4096", bytes));
    ck_assert_uint_eq(bytes[0], 4096);
    ck_assert_uint_eq(bytes[1], 0);
    ck_assert_uint_eq(bytes[2], 1073741824);
    ck_assert(mt_option_failures("7", &failures) && failures.mode == MT_FAIL_ONCE && failures.number == 7);
    ck_assert(mt_option_failures("every:3", &failures) && failures.mode == MT_FAIL_EVERY && failures.number == 3);
    ck_assert(mt_option_failures("rate:0.5", &failures) && failures.mode == MT_FAIL_RATE);
    ck_assert_uint_eq(failures.chance, UINT64_C(1) << 63);
}
END_TEST

START_TEST(an_unknown_option_is_named)
{
    struct mt_option_values values;
    ck_assert_uint_eq(read_one(&values, "MEMTRACK_PAEK=exact"), 1);
    ck_assert_ptr_nonnull(strstr(last_line, "MEMTRACK_PAEK"));
}
END_TEST

START_TEST(an_empty_value_means_the_default)
{
    struct mt_option_values values;
    ck_assert_uint_eq(read_one(&values, "MEMTRACK_OUTPUT="), 0);
    ck_assert_str_eq(values.text[MT_OPT_OUTPUT], ".");
}
END_TEST

START_TEST(seconds_may_have_a_fraction)
{
    struct mt_option_values values;
    ck_assert_uint_eq(read_one(&values, "MEMTRACK_INTERVAL=0.5s"), 0);
    ck_assert_uint_eq(values.number[MT_OPT_INTERVAL], 500000000);
}
END_TEST

START_TEST(printing_names_every_option_once)
{
    struct mt_option_values values;
    char text[8192];
    mt_options_read(&values, NULL, NULL);
    size_t length = mt_options_print(&values, text, sizeof text);
    ck_assert_uint_eq(length, strlen(text));
    for (int i = 0; i < MT_OPT_COUNT; i++) {
        char line[64];
        snprintf(line, sizeof line, "%s=", mt_option_table[i].name);
        ck_assert_ptr_nonnull(strstr(text, line));
    }
    ck_assert_uint_eq(mt_options_print(&values, text, 10), 9);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");
    tcase_add_test(tests, defaults_are_those_of_the_table);
    tcase_add_test(tests, every_default_is_a_legal_value);
    tcase_add_loop_test(tests, a_size_takes_suffixes, 0, sizeof sizes / sizeof *sizes);
    tcase_add_loop_test(tests, a_bad_value_keeps_the_default_and_says_so_in_one_line, 0, sizeof bad / sizeof *bad);
    tcase_add_test(tests, sizes_by_heap_and_failures_are_read);
    tcase_add_test(tests, an_unknown_option_is_named);
    tcase_add_test(tests, an_empty_value_means_the_default);
    tcase_add_test(tests, seconds_may_have_a_fraction);
    tcase_add_test(tests, printing_names_every_option_once);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_NOFORK);
}
