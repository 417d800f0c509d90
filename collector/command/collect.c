/*
 * `memtrack collect`: the collector of one directory. The libraries start it
 * detached; a person may start it by hand. Ends by itself when it is not needed.
 */
#include "command.h"

#include "background.h"
#include "collector.h"
#include "segment.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile bool stop_requested;

static void request_stop(int signal_number)
{
    (void)signal_number;
    stop_requested = true;
}

static void set_signals(bool detached)
{
    struct sigaction action = {.sa_handler = request_stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (!detached) sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN;
    if (detached) sigaction(SIGHUP, &action, NULL);
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}

/* Started from a preloaded environment, it would be tracked itself: start again without. */
static void leave_preload(char **argv)
{
    const char *preload = getenv("LD_PRELOAD");
    if (!preload || !strstr(preload, "libmemtrack.so")) return;
    unsetenv("LD_PRELOAD");
    unsetenv("MEMTRACK_VULKAN");
    execv("/proc/self/exe", argv - 1);
}

struct collect_arguments {
    const char *session;
    bool detached;
    double linger_s;
};

static int parse(int argc, char **argv, struct collect_arguments *arguments)
{
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (!strcmp(argv[i], "--detached"))
            arguments->detached = true;
        else if (mt_option_argument(argc, argv, &i, "--session", &value)) {
            if (!value || *value != '/') return mt_usage_error("collect", "--session takes an absolute directory");
            arguments->session = value;
        } else if (mt_option_argument(argc, argv, &i, "--linger", &value)) {
            char *end = NULL;
            arguments->linger_s = value ? strtod(value, &end) : -1;
            if (!value || *end || end == value || !(arguments->linger_s >= 0 && arguments->linger_s <= 86400))
                return mt_usage_error("collect", "--linger takes a number of seconds from 0 to 86400");
        } else
            return mt_usage_error("collect", "unknown argument %s", argv[i]);
    }
    return 0;
}

int mt_command_collect(int argc, char **argv)
{
    struct collect_arguments arguments = {.linger_s = 2};
    char base[1024], log[1100];
    int status = parse(argc, argv, &arguments);
    if (status) return status;
    leave_preload(argv);
    int error = arguments.session ? 0 : mt_segment_base_directory(base, sizeof base);
    const char *directory = arguments.session ? arguments.session : base;
    if (arguments.detached) {
        snprintf(log, sizeof log, "%s/collector.log", directory);
        mt_log_to(log);
    }
    struct mt_collector *collector = error ? NULL : mt_collector_open(directory, &error);
    if (!collector && error == -EBUSY && arguments.detached) return 0;
    if (!collector) {
        mt_tell("cannot collect in %s: %s", error && !arguments.session ? "the base directory" : directory,
                error == -EBUSY ? "another collector is at work there" : strerror(-error));
        return MT_EXIT_FAILURE;
    }
    mt_background_adopt();
    set_signals(arguments.detached);
    mt_collector_serve(collector, (uint64_t)(arguments.linger_s * 1e9), &stop_requested);
    mt_collector_close(collector);
    return 0;
}
