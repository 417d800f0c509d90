/*
 * massif.out, for ms_print and massif-visualizer: the timeline as snapshots,
 * and the stacks at the peak as its tree.
 */
#include "export.h"

#include "json_build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Children below this part of the tree are written as one line, as massif does (its --threshold). */
static const double threshold = 0.01;

struct node {
    struct node *next, *children;
    const json_t *frame;
    int64_t bytes;
};

static bool is_same_frame(const json_t *a, const json_t *b)
{
    return !strcmp(mt_json_get_text(a, "address"), mt_json_get_text(b, "address")) &&
           !strcmp(mt_json_get_text(a, "function"), mt_json_get_text(b, "function"));
}

static struct node *child_of(struct node *parent, const json_t *frame)
{
    for (struct node *child = parent->children; child; child = child->next)
        if (is_same_frame(child->frame, frame)) return child;
    struct node *child = calloc(1, sizeof *child);
    if (!child) return NULL;
    child->frame = frame;
    child->next = parent->children;
    parent->children = child;
    return child;
}

static bool add_stack(struct node *root, const json_t *stack, int64_t bytes)
{
    size_t index;
    const json_t *frame;
    struct node *at = root;
    root->bytes += bytes;
    json_array_foreach((json_t *)mt_json_get(stack, "frames"), index, frame)
    {
        at = child_of(at, frame);
        if (!at) return false;
        at->bytes += bytes;
    }
    return true;
}

static void free_children(struct node *node)
{
    for (struct node *child = node->children, *next; child; child = next) {
        next = child->next;
        free_children(child);
        free(child);
    }
}

/* Sorts a list by bytes, largest first (insertion: lists are short). */
static struct node *sorted(struct node *list)
{
    struct node *first = NULL;
    while (list) {
        struct node *node = list, **at = &first;
        list = list->next;
        while (*at && (*at)->bytes >= node->bytes) at = &(*at)->next;
        node->next = *at;
        *at = node;
    }
    return first;
}

static void put_label(FILE *out, const json_t *frame)
{
    char name[1024];
    const char *file = mt_json_get_text(frame, "file"), *slash = strrchr(file, '/');
    fprintf(out, "%s: %s", mt_json_get_text(frame, "address"), mt_export_frame_name(frame, name, sizeof name));
    if (*file)
        fprintf(out, " (%s:%" PRId64 ")", slash ? slash + 1 : file, mt_json_get_i64(frame, "line"));
    else if (*mt_json_get_text(frame, "module"))
        fprintf(out, " (in %s)", mt_json_get_text(frame, "module"));
}

static void put_children(FILE *out, struct node *node, unsigned depth, int64_t total, int64_t other_bytes);

static void put_node(FILE *out, struct node *node, unsigned depth, int64_t total)
{
    size_t shown = 0, hidden = 0;
    for (struct node *child = node->children; child; child = child->next)
        *((double)child->bytes >= threshold * (double)total ? &shown : &hidden) += 1;
    fprintf(out, "%*sn%zu: %" PRId64 " ", (int)depth, "", shown + (hidden != 0), node->bytes);
    put_label(out, node->frame);
    fputc('\n', out);
    put_children(out, node, depth + 1, total, 0);
}

static void put_children(FILE *out, struct node *node, unsigned depth, int64_t total, int64_t other_bytes)
{
    size_t hidden = other_bytes > 0;
    node->children = sorted(node->children);
    for (struct node *child = node->children; child; child = child->next) {
        if ((double)child->bytes >= threshold * (double)total) {
            put_node(out, child, depth, total);
        } else {
            hidden++;
            other_bytes += child->bytes;
        }
    }
    if (hidden)
        fprintf(out, "%*sn0: %" PRId64 " in %zu place%s, all below massif's threshold (%.2f%%)\n", (int)depth, "",
                other_bytes, hidden, hidden == 1 ? "" : "s", threshold * 100);
}

static void put_tree(FILE *out, struct node *root, int64_t other_bytes)
{
    size_t shown = 0, hidden = other_bytes > 0;
    int64_t total = root->bytes + other_bytes;
    for (struct node *child = root->children; child; child = child->next)
        *((double)child->bytes >= threshold * (double)total ? &shown : &hidden) += 1;
    fprintf(out, "n%zu: %" PRId64 " (heap allocation functions) malloc/new/new[], --alloc-fns, etc.\n",
            shown + (hidden != 0), total);
    put_children(out, root, 1, total, other_bytes);
}

static void put_snapshot(FILE *out, unsigned number, int64_t time_ms, int64_t bytes, const char *tree)
{
    fprintf(out,
            "#-----------\nsnapshot=%u\n#-----------\ntime=%" PRId64 "\nmem_heap_B=%" PRId64
            "\nmem_heap_extra_B=0\nmem_stacks_B=0\nheap_tree=%s\n",
            number, time_ms, bytes, tree);
}

static int64_t ms_of(const json_t *object, const char *key)
{
    return (int64_t)(mt_json_get_real(object, key) * 1000);
}

static void put_command(const struct mt_export *job)
{
    size_t index;
    const json_t *word;
    fputs("desc: memtrack " MT_VERSION "\ncmd:", job->out);
    json_array_foreach((json_t *)mt_json_get(mt_json_get(job->report, "process"), "command_line"), index, word)
    {
        fputc(' ', job->out);
        for (const char *at = json_string_value(word); at && *at; at++) fputc(*at == '\n' ? ' ' : *at, job->out);
    }
    fputs("\ntime_unit: ms\n", job->out);
}

bool mt_export_massif(const struct mt_export *job)
{
    const json_t *cpu = mt_json_get(job->report, "cpu"),
                 *rest = mt_json_get(mt_json_get(cpu, "stack_summary"), "not_listed");
    struct node root = {0};
    bool has_memory = true, is_peak_put = false;
    unsigned number = 0;
    size_t index;
    const json_t *row;
    json_array_foreach((json_t *)mt_export_stacks(job), index, row)
    {
        int64_t bytes = mt_json_get_i64(row, "peak_bytes");
        if (bytes > 0 && !add_stack(&root, row, bytes)) has_memory = false;
    }
    int64_t peak_ms = ms_of(cpu, "peak_s"), other = mt_json_get_i64(rest, "peak_bytes");
    put_command(job);
    const json_t *timeline = mt_json_get(job->report, "timeline");
    for (size_t i = 0; i <= json_array_size(timeline); i++) {
        const json_t *point = json_array_get(timeline, i);
        if (!is_peak_put && (!point || ms_of(point, "t_s") >= peak_ms)) {
            put_snapshot(job->out, number++, peak_ms, root.bytes + (other > 0 ? other : 0), "peak");
            put_tree(job->out, &root, other > 0 ? other : 0);
            is_peak_put = true;
        }
        if (point)
            put_snapshot(job->out, number++, ms_of(point, "t_s"), mt_json_get_i64(point, "cpu_current_bytes"),
                         "empty");
    }
    free_children(&root);
    return has_memory;
}
