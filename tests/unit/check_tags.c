/* Files of tag rules: every mistake has its own line. */
#include "report_support.h"

#include "report/tags.h"
#include "run_suite.h"

static char rules_path[160];

static void write_rules(const char *text)
{
    snprintf(rules_path, sizeof rules_path, "%s/rules.json", folder);
    FILE *file = fopen(rules_path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* ---- mistakes ------------------------------------------------------------------ */

static const struct {
    const char *rules, *line;
} mistakes[] = {
    {"[]", "the file must hold an object"},
    {"{}", "\"tags\", an array, is missing"},
    {"{\"tags\": [], \"tag\": 1}", "unknown key \"tag\""},
    {"{\"tags\": [", "line 1, column"},
    {"{\"tags\": [3]}", "tags[0]: an object is needed, this is"},
    {"{\"tags\": [{\"match\": [{\"thread\": \"a\"}]}]}", "tags[0]: \"tag\", its name, is missing"},
    {"{\"tags\": [{\"tag\": \"\"}]}", "tags[0].tag: the name is empty"},
    {"{\"tags\": [{\"tag\": \"a\"}]}", "tags[0]: neither \"match\" nor \"budget\" is there"},
    {"{\"tags\": [{\"tag\": \"a\", \"match\": {}}]}", "tags[0].match: an array is needed"},
    {"{\"tags\": [{\"tag\": \"a\", \"match\": [{}]}]}", "tags[0].match[0]: it has no pattern"},
    {"{\"tags\": [{\"tag\": \"a\", \"match\": [{\"modul\": \"x\"}]}]}", "tags[0].match[0]: unknown key \"modul\""},
    {"{\"tags\": [{\"tag\": \"a\", \"match\": [{\"module\": 3}]}]}", "tags[0].match[0].module: a string is needed"},
    {"{\"tags\": [{\"tag\": \"a\", \"match\": [{\"module\": \"\"}]}]}",
     "tags[0].match[0].module: the pattern is empty"},
    {"{\"tags\": [{\"tag\": \"a\", \"budget\": \"12Q\"}]}", "tags[0].budget: \"12Q\" is not a size"},
    {"{\"tags\": [{\"tag\": \"a\", \"budget\": -1}]}", "tags[0].budget: a size is needed"},
    {"{\"tags\": [{\"tag\": \"a\", \"budget\": 1}, {\"tag\": \"a\", \"budget\": 2}]}",
     "tags[1]: \"a\" is also the name of tags[0]"},
};

START_TEST(each_mistake_has_its_line)
{
    char why[512] = "";
    write_rules(mistakes[_i].rules);
    ck_assert_ptr_null(mt_tag_rules_load(rules_path, why, sizeof why));
    ck_assert_msg(strstr(why, mistakes[_i].line) != NULL, "%s: %s", mistakes[_i].rules, why);
    ck_assert_msg(strstr(why, "rules.json") != NULL, "%s", why);
    ck_assert_ptr_null(strchr(why, '\n'));
}
END_TEST

START_TEST(a_file_that_is_not_there_is_named)
{
    char why[512] = "";
    ck_assert_ptr_null(mt_tag_rules_load("/no/such/rules.json", why, sizeof why));
    ck_assert_ptr_nonnull(strstr(why, "/no/such/rules.json"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tags");
    TCase *tests = with_segment("tags");
    tcase_add_loop_test(tests, each_mistake_has_its_line, 0, sizeof mistakes / sizeof *mistakes);
    tcase_add_test(tests, a_file_that_is_not_there_is_named);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_NOFORK);
}
