/*
 * What the layer says of the driver itself, on the mock driver through the
 * real loader: host memory, memory reports, and that nothing of the layer's
 * own grows. Each test is a process of its own (Check's fork mode).
 */
#include "check_driver.h"

#include <stdlib.h>

int main(void)
{
    SRunner *runner = srunner_create(host_suite());
    srunner_add_suite(runner, reports_suite());
    srunner_add_suite(runner, growth_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
