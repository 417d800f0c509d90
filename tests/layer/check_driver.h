/* The suites of check_driver. */
#ifndef CHECK_DRIVER_H
#define CHECK_DRIVER_H

#include "pool_support.h"

Suite *host_suite(void);
Suite *reports_suite(void);
Suite *growth_suite(void);

#endif
