/*
 * The table of loaded objects in the segment. An object is registered when a
 * stack first meets it, read from its own mapped headers without the loader's
 * lock. Rows stay for the report when the object is gone; an address belongs
 * to the row that was in force in the generation of its stack.
 */
#ifndef MT_MODULE_H
#define MT_MODULE_H

#include "core.h"

struct link_map;

/* Makes the table usable in this segment. False when there is no memory for it. Cheap once done. */
bool mt_module_ready(struct mt_core *core);
/* Registers the object when it is new. Any thread, not re-entered. Returns its row, -1 when there is none. */
int mt_module_seen(struct mt_core *core, const struct link_map *map, uintptr_t start, uintptr_t end);
/* The row in force that holds an address, -1 when there is none. */
int mt_module_find(struct mt_core *core, uintptr_t address);

static inline uint32_t mt_module_generation(const struct mt_core *core)
{
    return atomic_load_explicit(&core->segment->attribution.modules.generation, memory_order_relaxed);
}

#endif
