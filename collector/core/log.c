/*
 * Lines on stderr, a formatter that needs no stdio, clocks and the thread id.
 * Callable from any thread at any time, also inside a signal handler; keeps errno.
 */
#include "clock.h"
#include "segment.h"
#include "sys.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct sink {
    char *buffer;
    size_t bytes, at;
};

static void put(struct sink *sink, char c)
{
    if (sink->at + 1 < sink->bytes) sink->buffer[sink->at++] = c;
}

/* Text that is not all to be kept need not end anywhere. */
static void put_text(struct sink *sink, const char *text)
{
    for (text = text ? text : "(null)"; sink->at + 1 < sink->bytes && *text; text++) put(sink, *text);
}

static void put_number(struct sink *sink, uint64_t value, unsigned base)
{
    char digits[24];
    int count = 0;
    do digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    while (count) put(sink, digits[--count]);
}

static void put_signed(struct sink *sink, int64_t value)
{
    if (value < 0) put(sink, '-');
    put_number(sink, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10);
}

static void put_formatted(struct sink *sink, const char *format, va_list arguments)
{
    for (; *format; format++) {
        if (*format != '%') {
            put(sink, *format);
            continue;
        }
        bool wide = false;
        for (format++; *format == 'l' || *format == 'z'; format++) wide = true;
        switch (*format) {
        case 's': put_text(sink, va_arg(arguments, const char *)); break;
        case 'd': put_signed(sink, wide ? va_arg(arguments, long) : va_arg(arguments, int)); break;
        case 'u':
            put_number(sink, wide ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned), 10);
            break;
        case 'x':
            put_number(sink, wide ? va_arg(arguments, unsigned long) : va_arg(arguments, unsigned), 16);
            break;
        case '%': put(sink, '%'); break;
        default: return; /* a format that this function does not know */
        }
    }
}

size_t mt_format(char *buffer, size_t bytes, const char *format, ...)
{
    struct sink sink = {buffer, bytes, 0};
    va_list arguments;
    va_start(arguments, format);
    put_formatted(&sink, format, arguments);
    va_end(arguments);
    if (bytes) buffer[sink.at] = 0;
    return sink.at;
}

/* Options and file names may hold what a terminal takes for commands. */
static void hide_controls(char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) text[i] = '?';
}

static void write_line(const char *format, va_list arguments)
{
    int saved = errno;
    char line[512];
    struct sink sink = {line, sizeof line - 1, 0};
    put_text(&sink, "memtrack: ");
    put_formatted(&sink, format, arguments);
    hide_controls(line, sink.at);
    line[sink.at++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, sink.at);
    (void)ignored;
    errno = saved;
}

void mt_say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(format, arguments);
    va_end(arguments);
}

void mt_verbose(struct mt_core *core, const char *format, ...)
{
    if (!core->options.number[MT_OPT_VERBOSE]) return;
    va_list arguments;
    va_start(arguments, format);
    write_line(format, arguments);
    va_end(arguments);
}

static void put_event(struct mt_event *row, const char *kind, const char *format, va_list arguments)
{
    struct sink kind_sink = {row->kind, sizeof row->kind, 0};
    put_text(&kind_sink, kind);
    row->kind[kind_sink.at] = 0;
    struct sink text_sink = {row->text, sizeof row->text, 0};
    put_formatted(&text_sink, format, arguments);
    row->text[text_sink.at] = 0;
}

void mt_event(struct mt_core *core, const char *kind, const char *format, ...)
{
    if (!mt_core_ready(core)) return;
    struct mt_segment *segment = core->segment;
    uint64_t number = atomic_fetch_add_explicit(&segment->event_count, 1, memory_order_relaxed) + 1;
    struct mt_event *row = &segment->events[(number - 1) % MT_EVENT_MAX];
    if (!mt_segment_commit_table(core, MT_TABLE_EVENTS)) {
        mt_core_drop(core, MT_DROPPED_EVENTS);
        return;
    }
    if (number > MT_EVENT_MAX) mt_core_drop(core, MT_DROPPED_EVENTS);
    atomic_store_explicit(&row->sequence, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* pairs with the reader's acquire of sequence */
    row->time_ns = mt_now_ns();
    va_list arguments;
    va_start(arguments, format);
    put_event(row, kind, format, arguments);
    va_end(arguments);
    atomic_store_explicit(&row->sequence, number, memory_order_release);
}

/* These clocks are there on every kernel. */
_Atomic(mt_clock_function *) mt_clock_read = clock_gettime;

uint64_t mt_now_ns(void)
{
    /* A confined thread may not read the processor's counter either; the coarse clock is in memory. */
    return mt_clock_ns(mt_sys_may_call() ? CLOCK_MONOTONIC : CLOCK_MONOTONIC_COARSE);
}

uint64_t mt_now_coarse_ns(void)
{
    return mt_clock_ns(CLOCK_MONOTONIC_COARSE);
}

int32_t mt_gettid(void)
{
    return (int32_t)mt_sys_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}
