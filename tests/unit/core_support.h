/*
 * A core for tests: started in this process with a segment in a folder of its
 * own, no collector. Used by one test at a time.
 */
#ifndef MT_CORE_SUPPORT_H
#define MT_CORE_SUPPORT_H

#include "core.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void set_up_core(struct mt_core *core)
{
    char directory[] = "/tmp/memtrack-check.XXXXXX";
    memset(core, 0, sizeof *core);
    setenv("MEMTRACK_COLLECTOR", "none", 1);
    setenv("MEMTRACK_SESSION", mkdtemp(directory), 1);
    if (!mt_core_start(core, MT_CLIENT_PRELOAD)) abort();
}

static inline void tear_down_core(struct mt_core *core)
{
    if (core->path[0]) unlink(core->path);
    if (core->segment) munmap(core->segment, core->mapped_bytes);
    rmdir(getenv("MEMTRACK_SESSION"));
}

#endif
