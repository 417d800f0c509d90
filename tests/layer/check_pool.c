/*
 * Simulation and device-memory pools on the mock driver, through the real
 * loader. Each test is a process of its own (Check's fork mode).
 */
#include "pool_support.h"

#include <stdlib.h>

int main(void)
{
    SRunner *runner = srunner_create(simulation_suite());
    srunner_add_suite(runner, pool_suite());
    srunner_add_suite(runner, structures_suite());
    srunner_add_suite(runner, rays_suite());
    srunner_add_suite(runner, devices_suite());
    srunner_add_suite(runner, sequences_suite());
    srunner_add_suite(runner, threads_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
