/*
 * The hook in front of dlsym and dlvsym: a question for a presentation call
 * (frames.h) is answered with its hook, every other one goes on untouched.
 * Any thread. The entry points are in dl_entry.S on x86-64; elsewhere they
 * are below, and RTLD_NEXT then searches after this library instead of after
 * the caller.
 */
#include "dl.h"

#include "elf.h"
#include "frames.h"
#include "init.h"
#include "next.h"
#include "pooled.h"

#include <dlfcn.h>
#include <stdatomic.h>

static void *_Atomic libc_sym, *_Atomic libc_vsym, *_Atomic next_sym, *_Atomic next_vsym, *_Atomic next_open;

static void *find_once(void *_Atomic *slot, const char *name, enum mt_elf_where where)
{
    struct mt_elf_symbol symbol = {0};
    void *found = atomic_load_explicit(slot, memory_order_relaxed);
    if (found) return found;
    if (!mt_elf_find(name, where, &symbol) && !mt_elf_find(name, MT_ELF_OTHER, &symbol)) return NULL;
    atomic_store_explicit(slot, symbol.address, memory_order_relaxed);
    return symbol.address;
}

mt_dlsym_function *mt_dl_libc_sym(void)
{
    return (mt_dlsym_function *)(uintptr_t)find_once(&libc_sym, "dlsym", MT_ELF_LIBC);
}

mt_dlvsym_function *mt_dl_libc_vsym(void)
{
    return (mt_dlvsym_function *)(uintptr_t)find_once(&libc_vsym, "dlvsym", MT_ELF_LIBC);
}

static void *no_symbol(void *handle, const char *name)
{
    (void)handle;
    (void)name;
    return NULL;
}

static void *next_or_none(void *_Atomic *slot, const char *name)
{
    void *found = find_once(slot, name, MT_ELF_AFTER_US);
    return found ? found : (void *)(uintptr_t)no_symbol;
}

void mt_dl_start(void)
{
    next_or_none(&next_sym, "dlsym");
    next_or_none(&next_open, "dlopen");
}

struct mt_dl_answer mt_dl_ask_sym(void *handle, const char *name, const void *caller)
{
    void *next = next_or_none(&next_sym, "dlsym");
    if (!mt_frames_is_hooked(name)) return (struct mt_dl_answer){next, 0};
    if (handle == RTLD_DEFAULT || handle == RTLD_NEXT) {
        void *hook = mt_frames_default(name, caller);
        bool goes_on = hook && handle == RTLD_NEXT; /* what is next for the caller, only dlsym knows */
        return goes_on ? (struct mt_dl_answer){next, 0} : (struct mt_dl_answer){hook, 1};
    }
    void *volatile real = ((mt_dlsym_function *)(uintptr_t)next)(handle, name);
    return (struct mt_dl_answer){mt_frames_wrap(name, real, caller), 1};
}

struct mt_dl_answer mt_dl_ask_vsym(void *handle, const char *name, const char *version, const void *caller)
{
    void *next = next_or_none(&next_vsym, "dlvsym");
    if (handle == RTLD_NEXT || handle == RTLD_DEFAULT || !mt_frames_is_hooked(name))
        return (struct mt_dl_answer){next, 0};
    void *volatile real = ((mt_dlvsym_function *)(uintptr_t)next)(handle, name, version);
    return (struct mt_dl_answer){mt_frames_wrap(name, real, caller), 1};
}

/* Once is enough for a report. */
static void tell_of_deepbind(const char *path, bool is_pooled)
{
    static _Atomic bool is_told;
    if (atomic_exchange_explicit(&is_told, true, memory_order_relaxed)) return;
    if (is_pooled)
        mt_event(&mt_core, "dlopen", "RTLD_DEEPBIND is taken out while the pools serve: %s", path ? path : "");
    else
        mt_event(&mt_core, "dlopen",
                 "RTLD_DEEPBIND: what %s allocates and frees passes memtrack by (MEMTRACK_POOLS=on would count it)",
                 path ? path : "");
}

struct mt_dl_open mt_dl_ask_open(const char *path, int flags)
{
    void *next = next_or_none(&next_open, "dlopen");
    if (!(flags & RTLD_DEEPBIND)) return (struct mt_dl_open){next, (unsigned)flags};
    bool is_pooled = mt_pooled();
    tell_of_deepbind(path, is_pooled);
    return (struct mt_dl_open){next, (unsigned)(is_pooled ? flags & ~RTLD_DEEPBIND : flags)};
}

#if !defined(__x86_64__)
__attribute__((visibility("default"))) void *dlsym(void *restrict handle, const char *restrict name)
{
    struct mt_dl_answer answer = mt_dl_ask_sym(handle, name, __builtin_return_address(0));
    return answer.answered ? answer.value : ((mt_dlsym_function *)(uintptr_t)answer.value)(handle, name);
}

__attribute__((visibility("default"))) void *dlvsym(void *restrict handle, const char *restrict name,
                                                    const char *restrict version)
{
    struct mt_dl_answer answer = mt_dl_ask_vsym(handle, name, version, __builtin_return_address(0));
    return answer.answered ? answer.value : ((mt_dlvsym_function *)(uintptr_t)answer.value)(handle, name, version);
}

/* Here a name without a slash is searched as memtrack's own libraries are, not as the caller's. */
__attribute__((visibility("default"))) void *dlopen(const char *path, int flags)
{
    struct mt_dl_open open = mt_dl_ask_open(path, flags);
    return ((void *(*)(const char *, int))(uintptr_t)open.function)(path, (int)open.flags);
}
#endif
