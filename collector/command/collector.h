/*
 * The collector: watches one session directory, writes the reports of its
 * processes and removes a segment once its last report is written. One thread;
 * one collector per directory, held by a lock on DIRECTORY/collector.lock.
 */
#ifndef MT_COLLECTOR_H
#define MT_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mt_collector;

/* Takes the directory's lock. NULL with *error = -EBUSY when another collector has it, or another -errno. */
struct mt_collector *mt_collector_open(const char *directory, int *error);
/* Gives the lock back and frees everything. Removes a directory of `memtrack run` that is empty. */
void mt_collector_close(struct mt_collector *collector);

/* The pid whose end the caller waits for: its last report is written only after mt_collector_note_end(). */
void mt_collector_await(struct mt_collector *collector, int32_t pid);
/* Tells the wait status of the awaited process. */
void mt_collector_note_end(struct mt_collector *collector, int wait_status);

/* Looks for new segments and does what is due. Call it 5 to 10 times a second. */
void mt_collector_step(struct mt_collector *collector);
/* Sleeps until a process ended, `fd` (or -1) is readable, or the time is over. */
void mt_collector_wait(struct mt_collector *collector, int fd, int milliseconds);
/* Writes a report of every process now, without ending anything: before the collector itself stops. */
void mt_collector_write_all(struct mt_collector *collector);
/* Steps until no segment was there for linger_ns, or *stop becomes true; then reports of what still runs. */
void mt_collector_serve(struct mt_collector *collector, uint64_t linger_ns, volatile bool *stop);

/*
 * A process makes its segment and then looks whether the lock is held. So a
 * collector that wants to end gives the lock back first and looks for segments
 * after that: one of the two sees the other. True when it must go on, with the lock.
 */
bool mt_collector_is_needed_again(struct mt_collector *collector);

/* Processes that have a segment and were alive at the last step. */
size_t mt_collector_live_count(const struct mt_collector *collector);

/* Final reports written so far, and the first few of their paths. */
enum { MT_COLLECTOR_PATHS = 8 };
struct mt_collector_result {
    size_t final_count;
    size_t awaited_count;    /* of them, those of the awaited process */
    size_t unreadable_count; /* segments that could not be read from the start */
    size_t stuck_count;      /* last reports that could not be written: their segments stay */
    char paths[MT_COLLECTOR_PATHS][1420];
};
const struct mt_collector_result *mt_collector_result(const struct mt_collector *collector);

/* What a status line shows: the newest numbers of the awaited process, else of any. */
struct mt_collector_glance {
    bool known;
    char name[64];
    int64_t cpu_bytes, vulkan_bytes;
    uint64_t rss_bytes, frames, allocation_count;
    double uptime_s;
    size_t process_count;
};
struct mt_collector_glance mt_collector_look(struct mt_collector *collector);

/* The file beside a segment in which the collector names the report it wrote last. */
void mt_collector_note_path(char *buffer, size_t bytes, const char *segment_path);

#endif
