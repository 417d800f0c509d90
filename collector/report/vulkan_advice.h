/*
 * Advice about how a program uses device memory, each piece with the numbers
 * that led to it. Says only what the counters and records of a report show;
 * nothing is tried out. The thresholds and where they come from stand in
 * vulkan_advice.c and, for readers, in docs/report.md. One thread per document.
 */
#ifndef MT_VULKAN_ADVICE_H
#define MT_VULKAN_ADVICE_H

#include "vulkan_view.h"

#include <jansson.h>

/*
 * The device's advice[]: {kind, text, is_current, t_s, evidence{}}; empty where nothing stands out. aliasing is
 * the device's part of that name.
 */
json_t *mt_vulkan_advice_json(const struct mt_vulkan_view *device, const json_t *aliasing);

/*
 * What was advised in earlier reports and is not in this one any more is added
 * with is_current false: a game that frees everything before it ends would
 * otherwise end with no advice at all. `kept` is an object that the caller
 * holds from report to report.
 */
void mt_vulkan_advice_keep(json_t *report, json_t *kept);

#endif
