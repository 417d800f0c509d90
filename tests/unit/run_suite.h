/*
 * How a test program ends: its suite runs, and the exit status says whether anything failed.
 * CK_NOFORK keeps all tests in this process, CK_FORK gives each one of its own; CK_FORK_GETENV asks CK_FORK of the
 * environment.
 */
#ifndef MT_RUN_SUITE_H
#define MT_RUN_SUITE_H

#include <check.h>

static inline int run_suite(Suite *suite, enum fork_status fork_status)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, fork_status);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
