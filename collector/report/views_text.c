/* Prints views; see views_text.h. Reads the document alone. */
#include "views_text.h"

#include "human.h"
#include "json_build.h"
#include "stack_names.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LINE = 130, NAME_SHOWN = 100, FRAMES_SHOWN = 24, STACKS_SHOWN = 8 };

/* ---- parts ---------------------------------------------------------------------- */

static void print_frame(FILE *out, const json_t *frame, int indent)
{
    const char *function = mt_json_get_text(frame, "function"), *file = mt_json_get_text(frame, "file");
    const char *module = mt_base_name(mt_json_get_text(frame, "module"));
    fprintf(out, "%*s", indent, "");
    if (*function)
        fprintf(out, "%.*s%s", NAME_SHOWN, function, strlen(function) > NAME_SHOWN ? "..." : "");
    else if (*module)
        fprintf(out, "%s+%s", module, mt_json_get_text(frame, "offset"));
    else
        fputs(mt_json_get_text(frame, "address"), out);
    if (*file) fprintf(out, "  %s:%" PRId64, mt_base_name(file), mt_json_get_i64(frame, "line"));
    if (*function && *module) fprintf(out, "  (%s)", module);
    if (json_is_true(mt_json_get(frame, "inlined"))) fputs("  [inlined]", out);
    fputc('\n', out);
}

void mt_stack_frames_text(FILE *out, const json_t *stack, size_t limit, int indent)
{
    const json_t *frames = mt_json_get(stack, "frames");
    size_t count = json_array_size(frames), first = 0;
    while (first < count && mt_frame_is_library(json_array_get(frames, first))) first++;
    if (first == count) first = 0;
    if (first > 1) fprintf(out, "%*s... %zu frames of libraries\n", indent, "", first);
    if (first == 1) first = 0;
    for (size_t i = first; i < count && i < first + limit; i++) print_frame(out, json_array_get(frames, i), indent);
    if (count > first + limit) fprintf(out, "%*s... %zu more frames\n", indent, "", count - first - limit);
}

const json_t *mt_report_stack(const json_t *report, int64_t id)
{
    const json_t *stacks = mt_json_get(mt_json_get(report, "cpu"), "stacks"), *stack;
    size_t index;
    json_array_foreach((json_t *)stacks, index, stack) if (mt_json_get_i64(stack, "id") == id) return stack;
    return NULL;
}

void mt_frame_stacks_text(FILE *out, const json_t *report, const json_t *frame, size_t limit)
{
    const char *about = json_is_true(mt_json_get(frame, "stacks_estimated")) ? "~" : "";
    const char *program = mt_json_get_text(mt_json_get(report, "process"), "executable");
    const json_t *rows = mt_json_get(frame, "stacks"), *row;
    size_t index;
    json_array_foreach((json_t *)rows, index, row)
    {
        char count[MT_HUMAN_BYTES], bytes[MT_HUMAN_BYTES], name[300] = "";
        if (index == limit) break;
        const json_t *stack = mt_report_stack(report, mt_json_get_i64(row, "stack"));
        if (stack) mt_stack_headline(stack, program, name, sizeof name);
        fprintf(out, "        %s%s in %s%s", about, mt_human_bytes(bytes, mt_json_get_i64(row, "bytes")), about,
                mt_human_count(count, mt_json_get_i64(row, "count")));
        if (*about)
            fprintf(out, " (%" PRId64 " sample%s)", mt_json_get_i64(row, "sample_count"),
                    mt_json_get_i64(row, "sample_count") == 1 ? "" : "s");
        fprintf(out, "   #%" PRId64 " %.130s\n", mt_json_get_i64(row, "stack"), name);
    }
}

/* ---- tables ----------------------------------------------------------------------- */

/* The first of the keys that the view has and the report has numbers for. */
static struct mt_view_table make_sorted(const json_t *report, enum mt_view view, const char *sort,
                                        const char *otherwise)
{
    const char *const keys[] = {sort, otherwise, otherwise ? "count" : NULL};
    struct mt_view_table table = {0};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int key = keys[i] ? mt_view_key(view, keys[i]) : -1;
        if (key < 0) continue;
        table = mt_view_make(report, view, key, NULL);
        if (table.shown & (1u << key)) return table;
        mt_view_free(&table);
    }
    return mt_view_make(report, view, -1, NULL);
}

static void print_line(FILE *out, const char *line)
{
    fprintf(out, "%s\n", line);
}

static void print_more(FILE *out, const struct mt_view_table *table, size_t rows)
{
    if (table->count > rows) fprintf(out, "%11s  and %zu more\n", "...", table->count - rows);
}

void mt_view_section(FILE *out, const json_t *report, enum mt_view view, const char *sort, const char *otherwise,
                     size_t rows)
{
    char line[700];
    struct mt_view_table table = make_sorted(report, view, sort, otherwise);
    if (table.count) {
        fprintf(out, "\n%s, by %s\n", mt_view_title(view), mt_view_key_name(view, (size_t)table.key));
        mt_view_head_line(&table, LINE, line, sizeof line);
        print_line(out, line);
    }
    for (size_t i = 0; i < table.count && i < rows; i++) {
        mt_view_row_line(&table, i, LINE, line, sizeof line);
        print_line(out, line);
    }
    print_more(out, &table, rows);
    mt_view_free(&table);
}

static void print_details(FILE *out, const json_t *report, enum mt_view view, const json_t *row)
{
    if (view == MT_VIEW_STACK) mt_stack_frames_text(out, row, FRAMES_SHOWN, 14);
    if (view == MT_VIEW_FRAME) mt_frame_stacks_text(out, report, row, STACKS_SHOWN);
}

bool mt_view_text(FILE *out, const json_t *report, enum mt_view view, const char *sort, size_t rows)
{
    char line[700];
    struct mt_view_table table = make_sorted(report, view, sort, NULL);
    bool has_rows = table.count != 0;
    if (has_rows) {
        fprintf(out, "%s, by %s\n", mt_view_title(view), mt_view_key_name(view, (size_t)table.key));
        mt_view_head_line(&table, LINE, line, sizeof line);
        print_line(out, line);
    }
    for (size_t i = 0; i < table.count && i < rows; i++) {
        mt_view_row_line(&table, i, LINE, line, sizeof line);
        print_line(out, line);
        print_details(out, report, view, table.rows[i].row);
    }
    print_more(out, &table, rows);
    mt_view_free(&table);
    return has_rows;
}
