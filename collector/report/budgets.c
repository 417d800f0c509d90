/*
 * Tells changes of budget states. Runs in the collector, when a report is made.
 */
#include "budgets.h"

#include "human.h"
#include "json_build.h"
#include "report_json.h"
#include "tags.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void set_number(const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    setenv(name, text, 1);
}

/* Detached by a second fork: nobody waits for it. */
static void run_command(const char *command, const char *tag, int32_t pid, int64_t bytes)
{
    pid_t child = fork();
    if (child < 0) return;
    if (child) {
        waitpid(child, NULL, 0);
        return;
    }
    if (fork() == 0) {
        unsetenv("LD_PRELOAD");
        setenv("MEMTRACK_TAG", tag, 1);
        set_number("MEMTRACK_PID", pid);
        set_number("MEMTRACK_BYTES", bytes);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    }
    _exit(0);
}

struct budget {
    const char *tag; /* NULL: the whole heap */
    int64_t bytes;
    uint64_t budget_bytes;
    enum mt_budget_state state;
};

static void tell(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot, const struct budget *budget)
{
    static const char *const kinds[] = {"budget", "budget", "budget-warning", "budget-over"};
    static const char *const words[] = {"is", "is back below", "is near", "is over"};
    char bytes[MT_HUMAN_BYTES], limit[MT_HUMAN_BYTES], text[320];
    const struct mt_process *process = &snapshot->segment->process;
    snprintf(text, sizeof text, "%s%s %s its budget: %s of %s", budget->tag ? "tag " : "the heap",
             budget->tag ? budget->tag : "", words[budget->state], mt_human_bytes(bytes, budget->bytes),
             mt_human_bytes(limit, (int64_t)budget->budget_bytes));
    json_t *row = json_object();
    mt_json_set(row, "t_s", mt_report_time_json(snapshot, snapshot->taken_ns));
    mt_json_set_text(row, "kind", kinds[budget->state]);
    mt_json_set_text(row, "text", text);
    json_array_append_new(watch->events, row);
    mt_say("process %d: %s", process->pid, text);
    char command[1024];
    if (budget->state == MT_BUDGET_OVER &&
        mt_snapshot_option(snapshot, "MEMTRACK_ON_OVER_BUDGET", command, sizeof command))
        run_command(command, budget->tag ? budget->tag : "", process->pid, budget->bytes);
}

static void compare(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot, const struct budget *budget)
{
    const char *key = budget->tag ? budget->tag : "";
    if (budget->state == MT_BUDGET_NONE) return;
    int64_t before = mt_json_get_i64(watch->states, key);
    if (before == budget->state || (!before && budget->state == MT_BUDGET_OK)) return;
    json_object_set_new(watch->states, key, json_integer(budget->state));
    tell(watch, snapshot, budget);
}

static void check_heap(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot, unsigned percent)
{
    char value[32];
    mt_snapshot_option(snapshot, "MEMTRACK_BUDGET", value, sizeof value);
    struct budget heap = {NULL, (int64_t)snapshot->segment->globals.inherited_bytes + snapshot->cpu.live_bytes,
                          mt_budget_of_text(value), MT_BUDGET_NONE};
    heap.state = mt_budget_state(heap.bytes, heap.budget_bytes, percent);
    compare(watch, snapshot, &heap);
}

static void check_tags(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot, unsigned percent)
{
    const struct mt_tag_rules *rules = mt_tag_rules_of(snapshot);
    struct mt_tag_sum *sums = NULL;
    if (!rules || !mt_tag_rules_have_budgets(rules)) return;
    size_t count = mt_tags_sum(rules, snapshot, &sums);
    for (size_t i = 0; i < count; i++) {
        int64_t bytes = sums[i].live_bytes + sums[i].vulkan_bytes;
        struct budget budget = {sums[i].tag, bytes, sums[i].budget_bytes,
                                mt_budget_state(bytes, sums[i].budget_bytes, percent)};
        compare(watch, snapshot, &budget);
    }
    free(sums);
}

void mt_budget_watch_check(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot)
{
    if (!watch->states) watch->states = json_object();
    if (!watch->events) watch->events = json_array();
    unsigned percent = mt_budget_warning_percent(snapshot);
    check_heap(watch, snapshot, percent);
    check_tags(watch, snapshot, percent);
}

void mt_budget_watch_free(struct mt_budget_watch *watch)
{
    json_decref(watch->states);
    json_decref(watch->events);
    watch->states = watch->events = NULL;
}
