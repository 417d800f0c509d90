/*
 * The live line of `memtrack run`. It is drawn on the terminal's current line
 * without a newline, and only while stderr and stdout are that terminal, this
 * job is in the foreground and the program has not taken the terminal over.
 */
#include "status_line.h"

#include "report/human.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static bool is_shown;

static bool is_welcome(void)
{
    struct termios mode;
    if (!isatty(STDERR_FILENO) || !isatty(STDOUT_FILENO)) return false;
    if (tcgetpgrp(STDERR_FILENO) != getpgrp()) return false;
    /* An editor or a game in text mode switches line input or echo off. */
    return !tcgetattr(STDERR_FILENO, &mode) && (mode.c_lflag & ICANON) && (mode.c_lflag & ECHO);
}

static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 20 ? 80 : size.ws_col;
}

static void describe(const struct mt_collector_glance *look, char *text, size_t bytes)
{
    char cpu[MT_HUMAN_BYTES], gpu[MT_HUMAN_BYTES], rss[MT_HUMAN_BYTES], time[MT_HUMAN_BYTES], count[MT_HUMAN_BYTES];
    int at = snprintf(text, bytes, "memtrack: %s heap %s  RSS %s", look->name, mt_human_bytes(cpu, look->cpu_bytes),
                      mt_human_bytes(rss, (int64_t)look->rss_bytes));
    if (look->vulkan_bytes)
        at += snprintf(text + at, bytes - (size_t)at, "  Vulkan %s", mt_human_bytes(gpu, look->vulkan_bytes));
    if (look->frames)
        at += snprintf(text + at, bytes - (size_t)at, "  frame %s", mt_human_count(count, (int64_t)look->frames));
    at += snprintf(text + at, bytes - (size_t)at, "  %s", mt_human_seconds(time, look->uptime_s));
    if (look->process_count > 1) snprintf(text + at, bytes - (size_t)at, "  %zu processes", look->process_count);
}

void mt_status_line_show(struct mt_collector *collector)
{
    char text[512], line[640];
    if (!is_welcome()) return;
    struct mt_collector_glance look = mt_collector_look(collector);
    if (!look.known) return;
    describe(&look, text, sizeof text);
    size_t width = terminal_width() - 1;
    if (width > sizeof text - 1) width = sizeof text - 1;
    text[width] = 0;
    /* The cursor goes back to the first column: what the program prints next covers the line. */
    int length = snprintf(line, sizeof line, "\r\033[2m%s\033[0m\033[K\r", text);
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)length);
    (void)ignored;
    is_shown = true;
}

void mt_status_line_erase(void)
{
    if (!is_shown) return;
    is_shown = false;
    ssize_t ignored = write(STDERR_FILENO, "\r\033[K", 4);
    (void)ignored;
}
