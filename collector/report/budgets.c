/*
 * Tells changes of budget states. Runs in the collector, at each look at a
 * process and when a report is made.
 */
#include "budgets.h"

#include "human.h"
#include "json_build.h"
#include "options.h"
#include "report_json.h"
#include "tags.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct budget {
    const char *kind; /* "heap", "tag" or "device" */
    char name[128];   /* as people read it; "" for the heap */
    int64_t bytes, peak_bytes;
    uint64_t when_ns; /* of the peak; 0 = not known */
    uint64_t budget_bytes;
};

/* ---- the user's command ----------------------------------------------------------- */

static void set_number(const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    setenv(name, text, 1);
}

static void become_command(const char *command, const struct budget *budget, int64_t bytes, int32_t pid)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* the collector has its own */
    signal(SIGPIPE, SIG_DFL);
    unsetenv("LD_PRELOAD");
    setenv("MEMTRACK_OVER_KIND", budget->kind, 1);
    setenv("MEMTRACK_OVER_NAME", budget->name, 1);
    set_number("MEMTRACK_OVER_PID", pid);
    set_number("MEMTRACK_OVER_BYTES", bytes);
    set_number("MEMTRACK_OVER_BUDGET", (int64_t)budget->budget_bytes);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
}

/* Detached by a second fork: nobody waits for it. */
static void run_command(const char *command, const struct budget *budget, int64_t bytes, int32_t pid)
{
    pid_t child = fork();
    if (child < 0) return;
    if (child) {
        waitpid(child, NULL, 0);
        return;
    }
    if (fork() == 0) become_command(command, budget, bytes, pid);
    _exit(0);
}

/* ---- telling --------------------------------------------------------------------------- */

static void tell(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot, const struct budget *budget,
                 int64_t bytes, enum mt_budget_state state)
{
    static const char *const kinds[] = {"budget", "budget", "budget-warning", "budget-over"};
    static const char *const words[] = {"is", "is back below", "is near", "is over"};
    char human[MT_HUMAN_BYTES], limit[MT_HUMAN_BYTES], text[320], command[1024];
    int32_t pid = snapshot->segment->process.pid;
    bool is_past = bytes > budget->bytes && state > MT_BUDGET_OK; /* it was so between two looks */
    snprintf(text, sizeof text, "%s%s%s %s its budget: %s of %s",
             !strcmp(budget->kind, "heap") ? "the heap" : budget->kind, *budget->name ? " " : "", budget->name,
             is_past ? (state == MT_BUDGET_OVER ? "was over" : "was near") : words[state],
             mt_human_bytes(human, bytes), mt_human_bytes(limit, (int64_t)budget->budget_bytes));
    json_t *row = json_object();
    mt_json_set(row, "t_s",
                mt_report_time_json(snapshot, is_past && budget->when_ns ? budget->when_ns : snapshot->taken_ns));
    mt_json_set_text(row, "kind", kinds[state]);
    mt_json_set_text(row, "text", text);
    json_array_append_new(watch->events, row);
    if (state > MT_BUDGET_OK) mt_say("process %d: %s", pid, text);
    if (state == MT_BUDGET_OVER && mt_snapshot_option(snapshot, "MEMTRACK_ON_OVER_BUDGET", command, sizeof command))
        run_command(command, budget, bytes, pid);
}

/* Going down takes 5 % more than going up, so that a value at a limit does not tell on and on. */
static enum mt_budget_state settle(enum mt_budget_state before, int64_t bytes, uint64_t budget, unsigned percent)
{
    enum mt_budget_state state = mt_budget_state(bytes, budget, percent);
    enum mt_budget_state with_margin = mt_budget_state(bytes + bytes / 19, budget, percent);
    if (state >= before) return state;
    return with_margin < before ? with_margin : before;
}

static void compare(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot, const struct budget *budget)
{
    char key[160];
    if (!budget->budget_bytes) return;
    snprintf(key, sizeof key, "%s %s", budget->kind, budget->name);
    json_t *told = json_object_get(watch->told, key);
    if (!told) {
        told = json_object();
        mt_json_set_i64(told, "state", MT_BUDGET_OK);
        json_object_set_new(watch->told, key, told);
    }
    int64_t highest = mt_json_get_i64(told, "highest");
    int64_t bytes = budget->peak_bytes > highest && budget->peak_bytes > budget->bytes ? budget->peak_bytes
                                                                                       : budget->bytes;
    enum mt_budget_state before = (enum mt_budget_state)mt_json_get_i64(told, "state");
    enum mt_budget_state state = settle(before, bytes, budget->budget_bytes, mt_budget_warning_percent(snapshot));
    if (bytes > highest) mt_json_set_i64(told, "highest", bytes);
    if (state == before) return;
    mt_json_set_i64(told, "state", state);
    tell(watch, snapshot, budget, bytes, state);
}

/* ---- what has budgets ---------------------------------------------------------------------- */

static void check_heap(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot)
{
    char value[32];
    const struct mt_globals *globals = &snapshot->segment->globals;
    mt_snapshot_option(snapshot, "MEMTRACK_BUDGET", value, sizeof value);
    struct budget heap = {.kind = "heap",
                          .bytes = (int64_t)globals->inherited_bytes + snapshot->cpu.live_bytes,
                          .peak_bytes = snapshot->cpu.peak_bytes,
                          .when_ns = MT_GET(globals->peak_ns),
                          .budget_bytes = mt_budget_of_text(value)};
    compare(watch, snapshot, &heap);
}

/* Devices of one game have the same heaps mostly: the number of the heap names it, the owner tells them apart. */
static void check_device_heaps(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot)
{
    char value[512];
    uint64_t budgets[MT_OPTION_HEAPS];
    if (!mt_snapshot_option(snapshot, "MEMTRACK_VULKAN_BUDGET", value, sizeof value)) return;
    if (!mt_option_heaps(value, budgets)) return;
    for (unsigned i = 0; i < MT_HEAP_MAX; i++) {
        const struct mt_heap *row = &snapshot->segment->heaps[i];
        if (MT_GET(row->kind) != MT_HEAP_DEVICE_HEAP || row->index >= MT_OPTION_HEAPS) continue;
        struct budget heap = {.kind = "device",
                              .bytes = MT_GET(row->current_bytes),
                              .peak_bytes = MT_GET(row->peak_bytes),
                              .when_ns = MT_GET(row->peak_ns),
                              .budget_bytes = budgets[row->index]};
        snprintf(heap.name, sizeof heap.name, "%" PRIu32 " heap %" PRIu32, row->owner, row->index);
        compare(watch, snapshot, &heap);
    }
}

static void check_tags(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot)
{
    const struct mt_tag_rules *rules = mt_tag_rules_of(snapshot);
    struct mt_tag_sum *sums = NULL;
    size_t count = mt_tags_sum(rules, snapshot, &sums);
    for (size_t i = 0; i < count; i++) {
        struct budget budget = {.kind = "tag",
                                .bytes = sums[i].live_bytes + sums[i].vulkan_bytes,
                                .budget_bytes = sums[i].budget_bytes};
        snprintf(budget.name, sizeof budget.name, "%s", sums[i].tag);
        compare(watch, snapshot, &budget);
    }
    free(sums);
}

bool mt_budget_watch_needs_tags(const struct mt_snapshot *snapshot)
{
    const struct mt_tag_rules *rules = mt_tag_rules_of(snapshot);
    for (unsigned i = 0; i < MT_SCOPE_MAX; i++)
        if (snapshot->origins.budgets[i]) return rules != NULL;
    return rules && mt_tag_rules_have_budgets(rules);
}

void mt_budget_watch_totals(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot)
{
    if (!watch->told) watch->told = json_object();
    if (!watch->events) watch->events = json_array();
    check_heap(watch, snapshot);
    check_device_heaps(watch, snapshot);
}

void mt_budget_watch_all(struct mt_budget_watch *watch, const struct mt_snapshot *snapshot)
{
    mt_budget_watch_totals(watch, snapshot);
    if (mt_budget_watch_needs_tags(snapshot)) check_tags(watch, snapshot);
}

void mt_budget_watch_free(struct mt_budget_watch *watch)
{
    json_decref(watch->told);
    json_decref(watch->events);
    watch->told = watch->events = NULL;
}
