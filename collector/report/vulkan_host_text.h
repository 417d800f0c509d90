/* The text report's lines on drivers: host memory by command, and device memory as the driver reports it. */
#ifndef MT_VULKAN_HOST_TEXT_H
#define MT_VULKAN_HOST_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* The first `rows` commands; nothing where no driver took host memory. */
void mt_vulkan_host_print(FILE *out, const json_t *vulkan, size_t rows);
/* Nothing where the driver reports nothing. */
void mt_vulkan_memory_report_print(FILE *out, const json_t *device);

#endif
