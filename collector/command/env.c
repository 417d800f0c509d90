/*
 * `memtrack env`: every option with the value in force here, its default and
 * its meaning, from the one table. --markdown makes docs/options.md, --mdoc
 * the list in the man page.
 */
#include "command.h"

#include "options.h"
#include "report/json_build.h"

#include <stdio.h>
#include <string.h>

extern char **environ;

static const char *type_name(const struct mt_option_info *info)
{
    static const char *const names[] = {"on or off", "number", "size",          "seconds",
                                        "choice",    "text",   "HEAP:SIZE,...", "N, every:N or rate:P"};
    return info->type == MT_TYPE_CHOICE ? info->choices : names[info->type];
}

static void tell_line(const char *line)
{
    mt_tell("%s", line);
}

static void range_text(const struct mt_option_info *info, char *text, size_t bytes)
{
    text[0] = 0;
    if (info->type == MT_TYPE_SIZE || info->type == MT_TYPE_INT || info->type == MT_TYPE_SECONDS)
        snprintf(text, bytes, "%.15g to %.15g", info->min, info->max);
}

static void print_text(const struct mt_option_values *values)
{
    for (int i = 0; i < MT_OPT_COUNT; i++) {
        const struct mt_option_info *info = &mt_option_table[i];
        const char *value = values->text[i];
        printf("%s=%s%s\n    %s\n    %s, default %s\n", info->name, value,
               strcmp(value, info->default_text) ? "  (set)" : "", info->help, type_name(info),
               *info->default_text ? info->default_text : "empty");
    }
}

static void print_json(const struct mt_option_values *values)
{
    json_t *rows = json_array();
    for (int i = 0; i < MT_OPT_COUNT; i++) {
        const struct mt_option_info *info = &mt_option_table[i];
        char range[80];
        range_text(info, range, sizeof range);
        json_t *row = json_object();
        mt_json_set_text(row, "name", info->name);
        mt_json_set_text(row, "value", values->text[i]);
        mt_json_set_text(row, "default", info->default_text);
        mt_json_set_text(row, "type", type_name(info));
        mt_json_set_name(row, "range", range);
        mt_json_set_text(row, "help", info->help);
        json_array_append_new(rows, row);
    }
    json_dumpf(rows, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(rows);
}

/* Prints text with Markdown's bar as it must stand in a table. */
static void print_cell(const char *text)
{
    for (; *text; text++) {
        if (*text == '|') putchar('\\');
        putchar(*text);
    }
}

static void print_markdown(void)
{
    puts("# Options\n");
    puts("Made by `memtrack env --markdown` from `collector/core/options.def`. Each option is an environment");
    puts("variable; `memtrack run` takes it as `--name=value` too, for example `--peak=exact`.\n");
    puts("| option | values | default | meaning |\n|---|---|---|---|");
    for (int i = 0; i < MT_OPT_COUNT; i++) {
        const struct mt_option_info *info = &mt_option_table[i];
        char range[80];
        range_text(info, range, sizeof range);
        printf("| `%s` | ", info->name);
        print_cell(type_name(info));
        printf("%s%s | %s%s%s | ", *range ? ", " : "", range, *info->default_text ? "`" : "", info->default_text,
               *info->default_text ? "`" : "");
        print_cell(info->help);
        puts(" |");
    }
}

static void print_mdoc(void)
{
    for (int i = 0; i < MT_OPT_COUNT; i++) {
        const struct mt_option_info *info = &mt_option_table[i];
        printf(".It Ev %s\n%s.\nValues: %s; default: %s.\n", info->name, info->help, type_name(info),
               *info->default_text ? info->default_text : "empty");
    }
}

int mt_command_env(int argc, char **argv)
{
    struct mt_option_values values;
    const char *form = argc > 1 ? argv[1] : "";
    if (argc > 2) return mt_usage_error("env", "unknown argument %s", argv[2]);
    unsigned problems = mt_options_read(&values, environ, *form && strcmp(form, "--json") ? NULL : tell_line);
    if (!*form)
        print_text(&values);
    else if (!strcmp(form, "--json"))
        print_json(&values);
    else if (!strcmp(form, "--markdown"))
        print_markdown();
    else if (!strcmp(form, "--mdoc"))
        print_mdoc();
    else
        return mt_usage_error("env", "unknown argument %s", form);
    return problems && (!*form || !strcmp(form, "--json")) ? MT_EXIT_FAILURE : 0;
}
