/*
 * `memtrack run`: prepares the environment, starts the program as a child in
 * the same process group with the same terminal and signals, collects while it
 * runs, and ends the way the program ended. The parent is never preloaded.
 */
#include "command.h"

#include "background.h"
#include "collector.h"
#include "options.h"
#include "session.h"
#include "status_line.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { STEP_MS = 100, STATUS_EVERY_STEPS = 10 };

enum vulkan_mode { VULKAN_AUTO, VULKAN_ON, VULKAN_OFF };

struct run_arguments {
    enum vulkan_mode vulkan;
    bool quiet;
    char **command; /* NULL-ended */
};

/* ---- arguments ------------------------------------------------------------------------ */

/* "--peak-batch" is MEMTRACK_PEAK_BATCH. -1 for a name that is no option or that `run` sets itself. */
static int find_option(const char *argument, size_t length)
{
    char name[80] = "MEMTRACK_";
    size_t at = strlen(name);
    if (length < 3 || length - 2 >= sizeof name - at) return -1;
    for (size_t i = 2; i < length; i++)
        name[at++] = argument[i] == '-' ? '_' : (char)toupper((unsigned char)argument[i]);
    name[at] = 0;
    for (int i = 0; i < MT_OPT_COUNT; i++)
        if (!strcmp(mt_option_table[i].name, name) && i != MT_OPT_SESSION && i != MT_OPT_VULKAN &&
            i != MT_OPT_DISABLE)
            return i;
    return -1;
}

static int set_option(int option, const char *value)
{
    struct mt_option_values values;
    char message[512];
    mt_options_read(&values, NULL, NULL);
    if (mt_option_set(&values, (enum mt_option)option, value, message, sizeof message)) {
        char *rest = strstr(message, "; using "); /* nothing is used: the program is not started */
        if (rest) *rest = 0;
        return mt_usage_error("run", "%s", message);
    }
    setenv(mt_option_table[option].name, value, 1);
    return 0;
}

static int parse_vulkan(const char *value, struct run_arguments *arguments)
{
    if (value && !strcmp(value, "auto"))
        arguments->vulkan = VULKAN_AUTO;
    else if (value && !strcmp(value, "on"))
        arguments->vulkan = VULKAN_ON;
    else if (value && !strcmp(value, "off"))
        arguments->vulkan = VULKAN_OFF;
    else
        return mt_usage_error("run", "--vulkan takes auto, on or off");
    return 0;
}

/* "-o DIR" and "-oDIR". */
static int parse_output(int argc, char **argv, int *at)
{
    const char *value = argv[*at][2] ? argv[*at] + 2 : *at + 1 < argc ? argv[++*at] : NULL;
    if (!value || *value == '-') return mt_usage_error("run", "-o needs a directory");
    return set_option(MT_OPT_OUTPUT, value);
}

/* One option at argv[*at]; moves *at over a value of its own. */
static int parse_option(int argc, char **argv, int *at, struct run_arguments *arguments)
{
    const char *argument = argv[*at], *value;
    size_t length = strcspn(argument, "=");
    if (!strcmp(argument, "--quiet"))
        arguments->quiet = true;
    else if (!strcmp(argument, "--keep"))
        return set_option(MT_OPT_KEEP, "on");
    else if (!strncmp(argument, "-o", 2))
        return parse_output(argc, argv, at);
    else if (mt_option_argument(argc, argv, at, "--vulkan", &value))
        return parse_vulkan(value, arguments);
    else {
        int option = find_option(argument, length);
        if (option < 0) return mt_usage_error("run", "unknown option %.*s", (int)length, argument);
        value = argument[length] ? argument + length + 1 : *at + 1 < argc ? argv[++*at] : NULL;
        if (!value) return mt_usage_error("run", "%.*s needs a value", (int)length, argument);
        return set_option(option, value);
    }
    return 0;
}

static int parse(int argc, char **argv, struct run_arguments *arguments)
{
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (!strcmp(argv[i], "--")) {
            i++;
            break;
        }
        int status = parse_option(argc, argv, &i, arguments);
        if (status) return status;
    }
    arguments->command = argv + i;
    return i < argc ? 0 : mt_usage_error("run", "no program to run");
}

/* ---- environment ----------------------------------------------------------------------- */

static void complain(const char *line)
{
    mt_tell("%s", line);
}

/* Reports go to an absolute directory, which is made and tried before the program starts. */
static void set_output_directory(void)
{
    char absolute[PATH_MAX], here[PATH_MAX];
    const char *asked = getenv("MEMTRACK_OUTPUT");
    if (!asked || !*asked) asked = ".";
    if (*asked == '/')
        snprintf(absolute, sizeof absolute, "%s", asked);
    else if (!getcwd(here, sizeof here))
        return;
    else if ((size_t)snprintf(absolute, sizeof absolute, strcmp(asked, ".") ? "%s/%s" : "%s", here, asked) >=
             sizeof absolute)
        return;
    setenv("MEMTRACK_OUTPUT", absolute, 1);
    int error = mt_make_directories(absolute, 0777);
    if (!error && access(absolute, W_OK | X_OK)) error = -errno;
    if (error)
        mt_tell("reports cannot be written to %s: %s; the program runs all the same", absolute, strerror(-error));
}

/* Puts `entry` before the colon-separated list in a variable, unless it is in it. */
static void prepend(const char *variable, const char *entry, const char *when_unset)
{
    const char *before = getenv(variable);
    size_t length = strlen(entry);
    if (!before || !*before) before = when_unset;
    for (const char *at = before; at && *at; at = strchr(at, ':') ? strchr(at, ':') + 1 : NULL)
        if (!strncmp(at, entry, length) && (!at[length] || at[length] == ':')) return;
    size_t bytes = length + strlen(before) + 2;
    char *list = malloc(bytes);
    if (!list) return;
    snprintf(list, bytes, *before ? "%s:%s" : "%s", entry, before);
    setenv(variable, list, 1);
    free(list);
}

/* The loader of shared objects splits LD_PRELOAD at spaces and colons: such a path goes through a link. */
static void set_preload(const char *library, const char *session)
{
    char link_path[1100];
    if (strpbrk(library, " :\t")) {
        snprintf(link_path, sizeof link_path, "%s/libmemtrack.so", session);
        if (!*session || strpbrk(link_path, " :\t") || symlink(library, link_path)) {
            mt_tell("%s cannot be preloaded: its path has a space or a colon", library);
            return;
        }
        library = link_path;
    }
    prepend("LD_PRELOAD", library, "");
}

static void set_vulkan(const struct run_arguments *arguments, const struct mt_places *places)
{
    if (arguments->vulkan == VULKAN_OFF) {
        unsetenv("MEMTRACK_VULKAN");
        return;
    }
    setenv("MEMTRACK_VULKAN", "1", 1); /* the value that the layer's manifest names */
    if (places->data_directory[0])
        prepend("XDG_DATA_DIRS", places->data_directory, "/usr/local/share:/usr/share");
    else if (arguments->vulkan == VULKAN_ON)
        mt_tell("the Vulkan layer's manifest is not beside this command; the loader must find it by itself");
}

/* A session of its own with this process as its collector; NULL and one line when that cannot be. */
static struct mt_collector *open_session(char *directory, size_t bytes)
{
    int error = mt_session_make(directory, bytes);
    struct mt_collector *collector = error ? NULL : mt_collector_open(directory, &error);
    if (collector) {
        setenv("MEMTRACK_SESSION", directory, 1);
        return collector;
    }
    mt_tell("no directory for the statistics (%s): no report will be written", strerror(-error));
    *directory = 0;
    unsetenv("MEMTRACK_SESSION");
    return NULL;
}

/* What the collector holds open itself, and one for the process it looks at. */
enum { FEW_FILES = 8 };

static bool may_open_few(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_max >= FEW_FILES) return false;
    mt_tell("no more than %llu files may be open at once (ulimit -n): the program runs untracked",
            (unsigned long long)limit.rlim_max);
    return true;
}

/* NULL where nothing can be collected. */
static struct mt_collector *prepare(const struct run_arguments *arguments, char *session, size_t session_bytes)
{
    struct mt_places places;
    struct mt_option_values values;
    mt_run_prepare_tags();
    mt_options_read(&values, environ, complain);
    if (may_open_few()) return NULL;
    mt_find_places(&places);
    set_output_directory();
    struct mt_collector *collector = open_session(session, session_bytes);
    if (places.preload[0])
        set_preload(places.preload, session);
    else
        mt_tell("libmemtrack.so is not beside this command%s: the CPU heap is not tracked",
                access("/proc/self/exe", F_OK) ? ", as far as can be told without /proc" : "");
    set_vulkan(arguments, &places);
    return collector;
}

/* ---- the child --------------------------------------------------------------------------- */

/* Signals that are passed on when somebody sends them to this process alone. */
static const int forwarded[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP};

struct signal_state {
    sigset_t mask, before;
    struct sigaction child, pipe, file_size, terminal_output;
    int fd;
};

static void set_own_signals(struct signal_state *state)
{
    sigemptyset(&state->mask);
    sigaddset(&state->mask, SIGCHLD);
    for (size_t i = 0; i < sizeof forwarded / sizeof *forwarded; i++) sigaddset(&state->mask, forwarded[i]);
    sigprocmask(SIG_BLOCK, &state->mask, &state->before);
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(SIGCHLD, &action, &state->child); /* inherited as ignored, it would lose the exit status */
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, &state->pipe);
    sigaction(SIGXFSZ, &action, &state->file_size);
    sigaction(SIGTTOU, &action, &state->terminal_output);
    state->fd = signalfd(-1, &state->mask, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void restore_signals(const struct signal_state *state)
{
    sigaction(SIGCHLD, &state->child, NULL);
    sigaction(SIGPIPE, &state->pipe, NULL);
    sigaction(SIGXFSZ, &state->file_size, NULL);
    sigaction(SIGTTOU, &state->terminal_output, NULL);
    sigprocmask(SIG_SETMASK, &state->before, NULL);
}

static void become_program(char **command, const struct signal_state *state, const struct rlimit *descriptors)
{
    setrlimit(RLIMIT_NOFILE, descriptors); /* the collector raised its own */
    restore_signals(state);
    execvp(command[0], command);
    int error = errno;
    mt_tell("%s: %s", command[0], error == ENOENT ? "command not found" : strerror(error));
    _exit(error == ENOENT ? MT_EXIT_NOT_FOUND : MT_EXIT_NOT_EXECUTABLE);
}

/*
 * The kernel sends a key press or a lost terminal to the whole group: the
 * child has it already, unless it came before there was a child (`all`).
 */
static void forward_signals(const struct signal_state *state, pid_t child, bool all)
{
    struct signalfd_siginfo info;
    while (read(state->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        bool from_process = info.ssi_code <= 0 && info.ssi_pid != (uint32_t)child;
        if (info.ssi_signo != SIGCHLD && (all || from_process)) kill(child, (int)info.ssi_signo);
    }
}

/* The job was stopped by its terminal: this process stops too, so that the shell takes over. */
static void stop_with_child(int signal_number, pid_t child)
{
    if (signal_number != SIGTSTP && signal_number != SIGTTIN && signal_number != SIGTTOU) return;
    mt_status_line_erase();
    kill(getpid(), SIGSTOP);
    kill(child, SIGCONT);
}

/* True when the child has ended; *status is its wait status. */
static bool child_has_ended(pid_t child, int *status)
{
    int seen;
    while (waitpid(child, &seen, WNOHANG | WUNTRACED) == child) {
        if (!WIFSTOPPED(seen)) {
            *status = seen;
            return true;
        }
        stop_with_child(WSTOPSIG(seen), child);
    }
    return false;
}

static int watch(struct mt_collector *collector, pid_t child, const struct signal_state *state, bool quiet)
{
    int status = 0;
    for (unsigned step = 1; !child_has_ended(child, &status); step++) {
        mt_collector_step(collector);
        if (!quiet && step % STATUS_EVERY_STEPS == 0) mt_status_line_show(collector);
        mt_collector_wait(collector, state->fd, STEP_MS);
        forward_signals(state, child, false);
    }
    mt_collector_note_end(collector, status);
    mt_collector_step(collector);
    mt_status_line_erase();
    return status;
}

static int wait_only(pid_t child, const struct signal_state *state)
{
    int status = 0;
    while (!child_has_ended(child, &status)) {
        siginfo_t info;
        struct timespec limit = {0, 200000000};
        sigset_t only_child;
        sigemptyset(&only_child);
        sigaddset(&only_child, SIGCHLD);
        sigtimedwait(&only_child, &info, &limit);
        forward_signals(state, child, false);
    }
    return status;
}

/* ---- afterwards ------------------------------------------------------------------------------ */

static void tell_reports(struct mt_collector *collector, bool has_library)
{
    const struct mt_collector_result *result = mt_collector_result(collector);
    size_t shown = result->final_count < MT_COLLECTOR_PATHS ? result->final_count : MT_COLLECTOR_PATHS;
    for (size_t i = 0; i < shown; i++) mt_tell("report in %s", result->paths[i]);
    if (result->final_count > shown) mt_tell("%zu more reports beside them", result->final_count - shown);
    size_t left = result->stuck_count + result->unreadable_count;
    if (left > 1) mt_tell("the statistics of %zu processes stay unreported", left);
    if (result->final_count || left || mt_collector_live_count(collector) || !has_library) return;
    if (getenv("MEMTRACK_DISABLE"))
        mt_tell("no report: MEMTRACK_DISABLE is set");
    else
        mt_tell("no report: the program did not load memtrack (is it static, 32-bit, set-user-id or built with a "
                "sanitizer?)");
}

/* What still runs in the session is collected in the background. */
static void hand_over(struct mt_collector *collector, const char *directory)
{
    if (!mt_collector_live_count(collector) && !mt_collector_is_needed_again(collector)) {
        mt_collector_close(collector);
        return;
    }
    int error = mt_background_serve(collector, directory, UINT64_C(1000000000));
    if (error) mt_tell("cannot go on collecting: %s", strerror(-error));
}

/* Ends like the program did: with its status, or by its signal, without a core file of this process. */
static int end_like(int status)
{
    if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
    int signal_number = WTERMSIG(status);
    struct rlimit none = {0, 0};
    sigset_t only;
    setrlimit(RLIMIT_CORE, &none);
    signal(signal_number, SIG_DFL);
    sigemptyset(&only);
    sigaddset(&only, signal_number);
    fflush(NULL);
    kill(getpid(), signal_number);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    return 128 + signal_number;
}

int mt_command_run(int argc, char **argv)
{
    struct run_arguments arguments = {0};
    struct signal_state state;
    struct rlimit descriptors;
    int status = parse(argc, argv, &arguments);
    if (status) return status;
    getrlimit(RLIMIT_NOFILE, &descriptors);
    char session[1024];
    mt_background_adopt();
    struct mt_collector *collector = prepare(&arguments, session, sizeof session);
    set_own_signals(&state);
    pid_t child = fork();
    if (child == 0) become_program(arguments.command, &state, &descriptors);
    if (child < 0) {
        mt_tell("cannot start %s: %s", arguments.command[0], strerror(errno));
        return MT_EXIT_NOT_EXECUTABLE;
    }
    forward_signals(&state, child, true);
    if (!collector) return end_like(wait_only(child, &state));
    mt_collector_await(collector, child);
    status = watch(collector, child, &state, arguments.quiet);
    bool started = !(WIFEXITED(status) &&
                     (WEXITSTATUS(status) == MT_EXIT_NOT_FOUND || WEXITSTATUS(status) == MT_EXIT_NOT_EXECUTABLE));
    if (!arguments.quiet) tell_reports(collector, started);
    hand_over(collector, session);
    return end_like(status);
}
