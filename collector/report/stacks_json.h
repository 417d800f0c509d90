/*
 * The parts of the report about who allocated: cpu.stacks, cpu.modules,
 * cpu.lifetimes, cpu.leaks. Names are looked up here and kept between reports.
 * One thread.
 */
#ifndef MT_STACKS_JSON_H
#define MT_STACKS_JSON_H

#include "report_json.h"
#include "symbols.h"

/* Adds the members to the part "cpu". */
void mt_stacks_json_set(json_t *cpu, const struct mt_snapshot *snapshot, bool has_ended);
/* The frames of one stack by its id (of an object of the segment), innermost first; an empty list for 0 and unknown
 * ids. */
json_t *mt_stacks_json_frames(const struct mt_snapshot *snapshot, uint32_t id);

/* Looks the names of all stacks up, so that the next report finds them ready. Stops at a moment (CLOCK_MONOTONIC):
 * false when there is more to do. */
bool mt_stacks_json_look_ahead(const struct mt_snapshot *snapshot, uint64_t until_ns);

/* [{id, frames}] of the stacks that Vulkan objects name. */
json_t *mt_stacks_json_of_objects(const struct mt_snapshot *snapshot);
/* Names for a return address, by the symbols that are kept between reports. */
struct mt_symbol_list mt_stacks_json_symbols(const struct mt_snapshot *snapshot, const struct mt_module *module,
                                             uint64_t return_address);

#endif
