/*
 * The memtrack command: one table of subcommands, their help, and the choice
 * among them. Everything else is in the file of the subcommand.
 */
#include "command.h"
#include "options.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef MT_VERSION
#define MT_VERSION "0.1.0"
#endif

struct subcommand {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *arguments;
    const char *summary;
    const char *help;
};

static int command_help(int argc, char **argv);
static int command_version(int argc, char **argv);

static const struct subcommand subcommands[] = {
    {"run", mt_command_run, "[OPTIONS] [--] COMMAND [ARGUMENTS]",
     "run a program under memtrack and write its reports",
     "  -o, --output DIR   where the reports go (made when missing; default: MEMTRACK_OUTPUT or .)\n"
     "  --interval S       seconds between two reports of a running program (default 5)\n"
     "  --keep             keep every full report under a sequence number\n"
     "  --vulkan=MODE      auto: load the Vulkan layer where it is found; on: say so when it is not; off\n"
     "  --quiet            no status line and no closing lines\n"
     "  --NAME=VALUE       any option of `memtrack env`: --peak=exact is MEMTRACK_PEAK=exact\n"
     "The exit status is the program's; 126 and 127 when it cannot be executed or found.\n"},
    {"collect", mt_command_collect, "--session DIR [--detached] [--linger S]",
     "write the reports of a session (the libraries start it themselves)",
     "  --session DIR      the directory of the segments; without it, the user's base directory\n"
     "  --detached         lines go to DIR/collector.log instead of stderr\n"
     "  --linger S         seconds to wait for another program before it ends (default 2)\n"},
    {"report", mt_command_report, "FILE [--by VIEW] [--sort KEY] [--top N] [--json]",
     "show a report, or a segment, as text",
     "  FILE               a JSON report, or the segment of a running or ended program\n"
     "  --by VIEW          one view: tag, module, thread, stack, size, heap or frame\n"
     "  --sort KEY         sort lists that have it by live, peak, total, count, frame (allocations per frame),\n"
     "                     recent (per frame since the last report), frees, temporary, blocks, size,\n"
     "                     budget, usage, time, device, device-total, device-time\n"
     "  --top N            rows of each list (default 10, 20 of one view)\n"
     "  --json             print the JSON document, or the view's rows, instead of text\n"},
    {"top", mt_command_top, "[PID] [--by VIEW] [--sort KEY] [--interval S] [--batch] [-n N] [--top N]",
     "watch a running program live",
     "  PID                the process; without it, the one that was started last\n"
     "  --by VIEW          the first view: tag, module, thread (default), stack, size, heap or frame\n"
     "  --sort KEY         as in `memtrack report`, and rate (allocations per second)\n"
     "  --interval S       seconds between two looks (default 1)\n"
     "  -b, --batch        print looks one after the other instead of drawing; -n N: so many\n"
     "  --once             the same as --batch -n 1\n"
     "  --top N            rows of the table\n"
     "Keys: q ends, Tab or 1 to 7 changes the view, s the sort key, arrows scroll, + and - change the interval.\n"},
    {"dump", mt_command_dump, "PID [--timeout S]", "have a report of a running program written now",
     "  --timeout S        seconds to wait for the collector (default 10)\n"
     "Prints the path of the report.\n"},
    {"diff", mt_command_diff, "BEFORE AFTER | FILE --from POINT --to POINT [--by LIST] [--top N] [--json]",
     "compare two reports, or two points of one run",
     "  BEFORE, AFTER      JSON reports or segments; stacks are compared by the names of their functions\n"
     "  FILE --from POINT --to POINT\n"
     "                     two points of the run of a report: seconds since its start (10, 2.5s, 3m, 1h), a frame\n"
     "                     (frame:600), start or end; whichever is left out is the start or the end. Lines of the\n"
     "                     timeline have totals only; where run --keep kept the reports of both, these are "
     "compared\n"
     "  --by LIST          tag, module, thread, size, stack or heap (of device memory) alone\n"
     "  --top N            rows of each list (default 10)\n"
     "  --json             print the comparison as JSON\n"},
    {"export", mt_command_export, "FILE [--format F] [--by NUMBER] [--device N] [--output FILE]",
     "write a report in the format of another tool",
     "  FILE               a JSON report or a segment, with call stacks for all formats but the last three\n"
     "  --format F         folded (default), speedscope, pprof, massif, dhat, perfetto (or chrome), vma, csv\n"
     "  --by NUMBER        what folded stacks hold: live (default), peak, total, count, temporary, live-count\n"
     "  --device N         vma: which Vulkan device, from 1, or all: a file for each, its number before the "
     "suffix;\n"
     "                     default: that with most memory\n"
     "  --output FILE      where to write; default: standard output\n"},
    {"env", mt_command_env, "[--json | --markdown]", "list the options with their values, defaults and meaning",
     ""},
    {"help", command_help, "[SUBCOMMAND]", "show this list, or the help of a subcommand", ""},
    {"version", command_version, "", "print the version", ""},
};

enum { SUBCOMMAND_COUNT = sizeof subcommands / sizeof *subcommands };

static const struct subcommand *find_subcommand(const char *name)
{
    for (unsigned i = 0; i < SUBCOMMAND_COUNT; i++)
        if (!strcmp(subcommands[i].name, name)) return &subcommands[i];
    return NULL;
}

static void print_overview(void)
{
    puts("memtrack shows where the memory of a program goes: CPU heap, Vulkan memory, frames.\n");
    puts("Usage: memtrack SUBCOMMAND [ARGUMENTS]\n");
    for (unsigned i = 0; i < SUBCOMMAND_COUNT; i++)
        printf("  %-8s %s\n", subcommands[i].name, subcommands[i].summary);
    puts("\nThe usual start: memtrack run -- ./game --its --args");
    puts("Options in the environment (memtrack env shows their values):");
    for (int i = 0; i < MT_OPT_COUNT; i++) printf("  %-30s %s\n", mt_option_table[i].name, mt_option_table[i].help);
}

int mt_command_help(const char *name)
{
    const struct subcommand *subcommand = find_subcommand(name);
    if (!subcommand) return mt_usage_error("", "no subcommand %s", name);
    printf("Usage: memtrack %s%s%s\n%s.\n%s", subcommand->name, *subcommand->arguments ? " " : "",
           subcommand->arguments, subcommand->summary, subcommand->help);
    return 0;
}

static int command_help(int argc, char **argv)
{
    if (argc > 1) return mt_command_help(argv[1]);
    print_overview();
    return 0;
}

static int command_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    puts("memtrack " MT_VERSION);
    return 0;
}

static bool is_one_of(const char *text, const char *first, const char *second)
{
    return !strcmp(text, first) || !strcmp(text, second);
}

/* `run` hands the rest to a program, whose own --help must not be taken. */
static bool asks_for_help(const struct subcommand *subcommand, int argc, char **argv)
{
    int last = subcommand->run == mt_command_run && argc > 2 ? 2 : argc;
    for (int i = 1; i < last; i++)
        if (is_one_of(argv[i], "--help", "-h")) return true;
    return false;
}

/* A report on stdout may fail late, for example on a full disk. */
static int finish_output(int status)
{
    if (!fflush(stdout) && !ferror(stdout)) return status;
    mt_tell("cannot write to standard output");
    return status ? status : MT_EXIT_FAILURE;
}

/* Files that are opened later must not become standard streams; a program that is started does not inherit these.
 */
static void fill_standard_streams(void)
{
    int fd;
    do fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_streams();
    if (argc < 2) {
        mt_tell("no subcommand; see `memtrack help`");
        return MT_EXIT_USAGE;
    }
    const char *name = is_one_of(argv[1], "--help", "-h") ? "help"
                       : !strcmp(argv[1], "--version")    ? "version"
                                                          : argv[1];
    const struct subcommand *subcommand = find_subcommand(name);
    if (!subcommand) return mt_usage_error("", "unknown subcommand %s", argv[1]);
    if (asks_for_help(subcommand, argc - 1, argv + 1)) return finish_output(mt_command_help(subcommand->name));
    return finish_output(subcommand->run(argc - 1, argv + 1));
}
