/*
 * The Vulkan layer against a fake next chain, without loader or driver: the
 * contract point by point, and what it writes into the segment. Each test is
 * a process of its own (Check's fork mode), with a segment of its own.
 */
#include "layer_support.h"

int main(void)
{
    if (!prepare_tests()) return 1;
    Suite *suite = suite_create("layer");
    add_chain_tests(suite);
    add_memory_tests(suite);
    add_resource_tests(suite);
    add_life_tests(suite);
    add_depth_tests(suite);
    add_rough_tests(suite);
    add_sparse_tests(suite);
    return run_suite(suite);
}
