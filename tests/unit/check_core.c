/* The core's life: start, what the header says, fork, raw clone, exit, no file to be had. */
#include "core_support.h"
#include "segment.h"
#include "shard.h"
#include "run_suite.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static struct mt_core core;

static void set_up(void)
{
    set_up_core(&core);
}

static void tear_down(void)
{
    tear_down_core(&core);
}

static int wait_for(pid_t child)
{
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(the_header_says_who_the_process_is)
{
    const struct mt_process *process = &core.segment->process;
    struct stat info;
    ck_assert_mem_eq(core.segment->magic, MT_SEGMENT_MAGIC, 8);
    ck_assert_uint_eq(core.segment->layout_version, MT_LAYOUT_VERSION);
    ck_assert_int_eq(process->pid, getpid());
    ck_assert_uint_ne(process->start_ticks, 0);
    ck_assert_uint_eq(process->state, MT_STATE_RUNNING);
    ck_assert_ptr_nonnull(strstr(process->executable, "check_core"));
    ck_assert_uint_gt(process->command_line_bytes, 0);
    ck_assert_int_eq(process->output_directory[0], '/');
    ck_assert_ptr_nonnull(strstr(process->options, "MEMTRACK_INTERVAL=5\n"));
    ck_assert_int_eq(stat(core.path, &info), 0);
    ck_assert_int_eq(info.st_mode & 0777, 0600);
    ck_assert_uint_eq((uint64_t)info.st_size, core.mapped_bytes);
    ck_assert_uint_lt((uint64_t)info.st_blocks * 512, 1 << 20); /* sparse */
}
END_TEST

START_TEST(a_second_start_adds_its_client)
{
    ck_assert(mt_core_start(&core, MT_CLIENT_LAYER));
    ck_assert_uint_eq(core.segment->process.clients, MT_CLIENT_PRELOAD | MT_CLIENT_LAYER);
    ck_assert(mt_core_matches(&core));
    core.version++;
    ck_assert(!mt_core_matches(&core));
    core.version--;
}
END_TEST

START_TEST(errno_survives_the_start)
{
    static struct mt_core other;
    errno = 4711;
    ck_assert(mt_core_start(&other, MT_CLIENT_LAYER));
    ck_assert_int_eq(errno, 4711);
    unlink(other.path);
    munmap(other.segment, other.mapped_bytes);
}
END_TEST

static int child_of_fork(const char *parent_path)
{
    mt_core_after_fork_in_child(&core);
    if (mt_core_is_on(&core) || core.epoch != 1) return 1;
    if (!mt_core_ready(&core)) return 2;
    if (!strcmp(core.path, parent_path) || core.segment->process.pid != getpid()) return 3;
    if (core.segment->globals.inherited_bytes != 4096 || core.segment->globals.inherited_count != 1) return 4;
    struct mt_shard *shard = mt_shard_claim(&core, 1, "child");
    mt_shard_freed(&core, shard, 4096);
    struct mt_shard_sum sum;
    mt_shards_sum(core.segment, &sum);
    if (sum.free_count != 1 || sum.allocation_count || sum.peak_bytes != 4096) return 5;
    mt_core_mark_exit(&core, 42);
    if (core.segment->process.state != MT_STATE_EXITED || core.segment->process.exit_code != 42) return 6;
    unlink(core.path);
    return 0;
}

START_TEST(a_forks_child_gets_its_own_segment_at_the_same_address)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "parent");
    char path[1200];
    strcpy(path, core.path);
    mt_shard_allocated(&core, shard, 4000, 4096);
    mt_core_before_fork(&core);
    pid_t child = fork();
    if (!child) _exit(child_of_fork(path));
    ck_assert_int_eq(wait_for(child), 0);
    ck_assert_uint_eq(shard->free_count, 0);
    ck_assert_uint_eq(core.segment->process.state, MT_STATE_RUNNING);
}
END_TEST

static int child_of_clone(struct mt_shard *shard)
{
    for (int i = 0; i < 100; i++) mt_shard_allocated(&core, shard, 65536, 65536); /* flushes */
    if (core.segment->process.pid != (int32_t)syscall(SYS_getpid)) return 1;
    if (shard->allocation_count == 0 || shard->state != MT_SHARD_LIVE) return 2;
    unlink(core.path);
    return 0;
}

START_TEST(a_child_of_raw_clone_leaves_the_parents_segment_at_its_first_flush)
{
    struct mt_shard *shard = mt_shard_claim(&core, 1, "parent");
    mt_shard_allocated(&core, shard, 16, 16);
    long child = syscall(SYS_clone, SIGCHLD, 0L, 0L, 0L, 0L);
    if (!child) syscall(SYS_exit_group, child_of_clone(shard));
    ck_assert_int_eq(wait_for((pid_t)child), 0);
    ck_assert_uint_le(shard->allocation_count, 2);
}
END_TEST

START_TEST(a_vforks_child_marks_nothing)
{
    pid_t child = vfork();
    if (!child) {
        mt_core_mark_exit(&core, 3);
        mt_core_mark_exec(&core);
        _exit(0);
    }
    ck_assert_int_eq(wait_for(child), 0);
    ck_assert_uint_eq(core.segment->process.state, MT_STATE_RUNNING);
}
END_TEST

START_TEST(a_failed_exec_is_unmarked)
{
    mt_core_mark_exec(&core);
    ck_assert_uint_eq(core.segment->process.state, MT_STATE_EXECED);
    mt_core_unmark_exec(&core);
    ck_assert_uint_eq(core.segment->process.state, MT_STATE_RUNNING);
    ck_assert_uint_eq(core.segment->process.end_ns, 0);
}
END_TEST

static int start_with_limits(int resource, uint64_t limit, bool expect_on, bool expect_file)
{
    static struct mt_core limited;
    struct rlimit value = {limit, limit};
    setrlimit(resource, &value);
    int quiet = open("/dev/null", O_WRONLY);
    dup2(quiet, 2);
    bool on = mt_core_start(&limited, MT_CLIENT_PRELOAD);
    if (on != expect_on) return 1;
    if (on && limited.is_file != expect_file) return 2;
    if (on) mt_shard_allocated(&limited, mt_shard_claim(&limited, 1, "x"), 10, 16);
    if (on && expect_file) unlink(limited.path);
    return 0;
}

START_TEST(a_file_size_limit_means_a_smaller_file_or_anonymous_memory)
{
    pid_t child = fork();
    if (!child) _exit(start_with_limits(RLIMIT_FSIZE, 1 << 20, true, false));
    ck_assert_int_eq(wait_for(child), 0);
    child = fork();
    if (!child) _exit(start_with_limits(RLIMIT_FSIZE, 64 << 20, true, true));
    ck_assert_int_eq(wait_for(child), 0);
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
START_TEST(an_address_space_limit_means_a_smaller_segment)
{
    pid_t child = fork();
    if (!child) _exit(start_with_limits(RLIMIT_AS, UINT64_C(1400) << 20, true, true));
    ck_assert_int_eq(wait_for(child), 0);
    child = fork();
    if (!child) _exit(start_with_limits(RLIMIT_AS, 4096, false, false));
    ck_assert_int_eq(wait_for(child), 0);
}
END_TEST
#endif

START_TEST(memory_of_the_segment_is_zero_and_runs_out_cleanly)
{
    uint64_t offset = mt_core_alloc(&core, 100000);
    ck_assert_uint_ne(offset, 0);
    ck_assert_uint_eq(offset % 64, 0);
    const char *bytes = (const char *)core.segment + offset;
    for (int i = 0; i < 100000; i++) ck_assert_int_eq(bytes[i], 0);
    ck_assert_uint_eq(mt_core_alloc(&core, core.mapped_bytes), 0);
    ck_assert_uint_eq(mt_core_alloc(&core, UINT64_MAX - 100), 0);
    ck_assert_uint_eq(core.segment->dropped[MT_DROPPED_MEMORY], 2);
}
END_TEST

START_TEST(private_memory_is_counted)
{
    uint64_t before = core.segment->globals.private_bytes;
    char *page = mt_private_map(&core, 5000);
    page[4999] = 1;
    ck_assert_uint_eq(core.segment->globals.private_bytes, before + 8192);
    mt_private_unmap(&core, page, 5000);
    ck_assert_uint_eq(core.segment->globals.private_bytes, before);
}
END_TEST

START_TEST(the_formatter_knows_its_formats_and_its_limits)
{
    char text[40];
    ck_assert_uint_eq(
        mt_format(text, sizeof text, "%s %d %u %lu %ld %zu %x%%", "a", -5, 7u, 8ul, -9l, (size_t)10, 0xffu), 18);
    ck_assert_str_eq(text, "a -5 7 8 -9 10 ff%");
    ck_assert_uint_eq(mt_format(text, 5, "123456789"), 4);
    ck_assert_str_eq(text, "1234");
    ck_assert_uint_eq(mt_format(text, sizeof text, "%ld", INT64_MIN), 20);
    ck_assert_str_eq(text, "-9223372036854775808");
}
END_TEST

START_TEST(disabled_means_off)
{
    static struct mt_core off;
    setenv("MEMTRACK_DISABLE", "0", 1);
    ck_assert(!mt_core_start(&off, MT_CLIENT_PRELOAD));
    ck_assert(!mt_core_ready(&off));
    ck_assert_ptr_null(off.segment);
    unsetenv("MEMTRACK_DISABLE");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core");
    TCase *tests = tcase_create("core");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, the_header_says_who_the_process_is);
    tcase_add_test(tests, a_second_start_adds_its_client);
    tcase_add_test(tests, errno_survives_the_start);
    tcase_add_test(tests, a_forks_child_gets_its_own_segment_at_the_same_address);
    tcase_add_test(tests, a_child_of_raw_clone_leaves_the_parents_segment_at_its_first_flush);
    tcase_add_test(tests, a_vforks_child_marks_nothing);
    tcase_add_test(tests, a_failed_exec_is_unmarked);
    tcase_add_test(tests, a_file_size_limit_means_a_smaller_file_or_anonymous_memory);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    tcase_add_test(tests, an_address_space_limit_means_a_smaller_segment);
#endif
    tcase_add_test(tests, memory_of_the_segment_is_zero_and_runs_out_cleanly);
    tcase_add_test(tests, private_memory_is_counted);
    tcase_add_test(tests, the_formatter_knows_its_formats_and_its_limits);
    tcase_add_test(tests, disabled_means_off);
    suite_add_tcase(suite, tests);
    return run_suite(suite, CK_NOFORK);
}
