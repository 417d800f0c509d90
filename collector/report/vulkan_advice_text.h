/* Advice as the text report prints it. One thread. */
#ifndef MT_VULKAN_ADVICE_TEXT_H
#define MT_VULKAN_ADVICE_TEXT_H

#include <jansson.h>
#include <stdio.h>

/* `device` is a row of the report's vulkan.devices; prints nothing where there is nothing to say. */
void mt_vulkan_advice_print(FILE *out, const json_t *device);

#endif
