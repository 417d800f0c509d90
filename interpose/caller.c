/*
 * From a return address to an origin. See caller.h.
 */
#include "caller.h"

#include "init.h"
#include "module.h"
#include "origin.h"
#include "thread.h"

#include <dlfcn.h>
#include <errno.h>

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

/* The first row of the object that the call lies in, plus 1; 0 for code that no object holds. */
static uint32_t module_of(const void *caller)
{
    struct dl_find_object object;
    void *inside = (void *)((uintptr_t)caller - 1); /* a return address belongs to the call in front of it */
    if (!_dl_find_object || _dl_find_object(inside, &object)) return 0;
    int row = mt_module_seen(&mt_core, object.dlfo_link_map, (uintptr_t)object.dlfo_map_start,
                             (uintptr_t)object.dlfo_map_end);
    return row < 0 ? 0 : mt_core.segment->attribution.modules.rows[row].first;
}

unsigned mt_caller_origin(const void *caller, const char *thread, uint32_t scope)
{
    struct mt_thread *self = &mt_thread;
    /* A signal handler must not wait for a table that its own thread is writing. */
    if (self->is_busy || !mt_core_is_on(&mt_core)) return MT_ORIGIN_MAX;
    int saved = errno;
    self->is_busy = true;
    unsigned origin = mt_module_ready(&mt_core)
                          ? mt_origin_find(&mt_core, module_of(caller), thread[0] ? thread : self->name, scope)
                          : 0;
    self->is_busy = false;
    errno = saved;
    return origin;
}
