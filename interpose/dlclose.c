/*
 * The hook of dlclose: what was read of an object's unwind tables is forgotten
 * when it may be gone. Any thread; takes no lock of its own.
 */
#include "dlclose.h"

#include "count.h"
#include "export.h"
#include "next.h"
#include "pools/sites.h"
#include "through.h"

#include <dlfcn.h>
#include <errno.h>

static void *_Atomic slot;

void mt_dlclose_find_next(void)
{
    mt_next_find_once(&slot, "dlclose");
}

MT_EXPORT int dlclose(void *handle)
{
    mt_count_enter();
    int (*next)(void *) = (int (*)(void *))(uintptr_t)mt_next_find_once(&slot, "dlclose");
    if (!next) return -1;
    mt_trace_closing(true);
    int result = next(handle);
    mt_trace_closing(false);
    mt_sites_forget_all();
    mt_through_forget_all();
    return result;
}
