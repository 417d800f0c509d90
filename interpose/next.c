/*
 * Finds the functions below memtrack. dlsym(RTLD_NEXT) gives them; dlsym
 * itself is found by reading symbol tables, because memtrack interposes it.
 * Runs on the first thread that allocates, with its busy mark set.
 */
#include "next.h"

#include "core.h"
#include "dl.h"
#include "elf.h"
#include "thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

struct mt_next mt_next;

/* The result passes through memory so that no call of dlsym is a tail call: RTLD_NEXT goes by the return address.
 */
static void *ask(void *handle, const char *name)
{
    void *volatile found = mt_dl_libc_sym() ? mt_dl_libc_sym()(handle, name) : NULL;
    if (!found) dlerror();
    return found;
}

/*
 * By architecture: the version that programs ask the C allocation functions
 * for, and whether it is known how glibc's blocks carry their size.
 */
#if defined(__x86_64__)
enum { KNOWS_HEADERS = 1 };
static const char base_version[] = "GLIBC_2.2.5", aligned_version[] = "GLIBC_2.16";
#else
enum { KNOWS_HEADERS = 0 };
static const char base_version[] = "GLIBC_2.17", aligned_version[] = "GLIBC_2.17";
#endif

static const char *version_of(const char *name)
{
    return strcmp(name, "aligned_alloc") ? base_version : aligned_version;
}

static bool is_in_libc(const void *address)
{
    struct mt_elf_symbol libc;
    Dl_info info;
    return mt_elf_find("gnu_get_libc_version", MT_ELF_LIBC, &libc) && dladdr(address, &info) &&
           libc.base == (uintptr_t)info.dli_fbase;
}

/*
 * The next definition that a program's own reference would get. dlsym does
 * not see an object before libc whose functions are old versions only
 * (libc_malloc_debug.so), dlvsym none that has no versions (other allocators).
 */
static void *ask_base(const char *name)
{
    struct mt_elf_symbol exists;
    /*
     * A look-up that fails has dlerror translate its message, which takes the lock of the locales; the first
     * allocation of a program may well come from under that lock (newlocale, setlocale).
     */
    if (!mt_elf_find(name, MT_ELF_AFTER_US, &exists)) return NULL;
    void *found = ask(RTLD_NEXT, name);
    if (found && !is_in_libc(found)) return found;
    void *volatile versioned = mt_dl_libc_vsym() ? mt_dl_libc_vsym()(RTLD_NEXT, name, version_of(name)) : NULL;
    if (!versioned) dlerror();
    return versioned ? versioned : found;
}

void mt_next_fail(const char *name)
{
    void *volatile found = mt_dl_libc_sym() ? mt_dl_libc_sym()(RTLD_NEXT, name) : NULL;
    (void)found;
}

void *mt_next_find(const char *name)
{
    int saved = errno;
    bool was_busy = mt_thread_set_busy(true);
    void *found = ask(RTLD_NEXT, name);
    mt_thread_set_busy(was_busy);
    errno = saved;
    return found;
}

/* Asks the scope of the object that holds an address; its handle is given back at once. */
static void *ask_object_of(const void *address, const char *name)
{
    Dl_info info;
    struct link_map *map = NULL;
    if (!dladdr1(address, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_name || !map->l_name[0])
        return NULL;
    void *handle = dlopen(map->l_name, RTLD_LAZY | RTLD_NOLOAD);
    if (!handle) {
        dlerror();
        return NULL;
    }
    void *found = ask(handle, name);
    dlclose(handle);
    return found;
}

void *mt_next_find_in(const char *name, const void *address)
{
    int saved = errno;
    bool was_busy = mt_thread_set_busy(true);
    void *found = ask_object_of(address, name);
    mt_thread_set_busy(was_busy);
    errno = saved;
    return found;
}

void *mt_next_find_for(const char *name, const void *caller)
{
    void *found = mt_next_find(name);
    return found ? found : mt_next_find_in(name, caller);
}

void *mt_next_find_once(void *_Atomic *slot, const char *name)
{
    void *found = atomic_load_explicit(slot, memory_order_relaxed);
    if (found) return found;
    found = mt_next_find(name);
    atomic_store_explicit(slot, found, memory_order_relaxed);
    return found;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* Stand-ins for a next allocator that lacks a function: another object's would not fit its free. */
static void *memalign_by_posix(size_t alignment, size_t bytes)
{
    void *block = NULL;
    if (alignment < sizeof(void *)) alignment = sizeof(void *);
    int error = mt_next.posix_memalign(&block, alignment, bytes);
    if (!error) return block;
    errno = error;
    return NULL;
}

static int posix_by_memalign(void **block, size_t alignment, size_t bytes)
{
    int saved = errno;
    if (alignment % sizeof(void *) || alignment & (alignment - 1) || !alignment) return EINVAL;
    void *found = mt_next.memalign(alignment, bytes);
    errno = saved;
    if (!found) return ENOMEM;
    *block = found;
    return 0;
}

static void *valloc_by_memalign(size_t bytes)
{
    return mt_next.memalign(page_bytes(), bytes);
}

static void *pvalloc_by_memalign(size_t bytes)
{
    size_t page = page_bytes();
    if (bytes > PTRDIFF_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return mt_next.memalign(page, (bytes + page - 1) & ~(page - 1));
}

/* A function of the same object as malloc, else NULL. */
static void *find_beside(const char *name)
{
    void *found = ask_base(name);
    return (uintptr_t)found - mt_next.low < mt_next.high - mt_next.low ? found : NULL;
}

static void find_aligned(void)
{
    mt_next.memalign = (void *(*)(size_t, size_t))(uintptr_t)find_beside("memalign");
    mt_next.posix_memalign = (int (*)(void **, size_t, size_t))(uintptr_t)find_beside("posix_memalign");
    if (!mt_next.memalign &&
        !mt_next.posix_memalign) /* a partial allocator: then what the program would get without memtrack */
        mt_next.memalign = (void *(*)(size_t, size_t))(uintptr_t)ask_base("memalign");
    if (!mt_next.memalign) mt_next.memalign = memalign_by_posix;
    if (!mt_next.posix_memalign) mt_next.posix_memalign = posix_by_memalign;
    mt_next.aligned_alloc = (void *(*)(size_t, size_t))(uintptr_t)find_beside("aligned_alloc");
    if (!mt_next.aligned_alloc) mt_next.aligned_alloc = mt_next.memalign;
    mt_next.valloc = (void *(*)(size_t))(uintptr_t)find_beside("valloc");
    if (!mt_next.valloc) mt_next.valloc = valloc_by_memalign;
    mt_next.pvalloc = (void *(*)(size_t))(uintptr_t)find_beside("pvalloc");
    if (!mt_next.pvalloc) mt_next.pvalloc = pvalloc_by_memalign;
}

static void copy_path(char *field, size_t bytes, const char *path)
{
    if (path[0])
        mt_format(field, bytes, "%s", path);
    else
        mt_format(field, bytes, "%s", "the program itself");
}

static bool reads_as_expected(size_t bytes)
{
    void *block = mt_next.malloc(bytes);
    if (!block) return false;
    bool same = mt_next_usable(block) == mt_next.usable_size(block);
    mt_next.free(block);
    return same;
}

static bool is_glibc(void)
{
    struct mt_elf_symbol valgrind; /* puts its own malloc in the place of libc's, behind the same address */
    return KNOWS_HEADERS && is_in_libc((void *)(uintptr_t)mt_next.malloc) &&
           !mt_elf_find("_vgnU_freeres", MT_ELF_OTHER, &valgrind);
}

void mt_next_probe_headers(void)
{
    static const size_t probes[] = {0, 24, 25, 100, 1000, 5000};
    mt_next.has_chunk_header = mt_next.is_glibc;
    for (unsigned i = 0; i < sizeof probes / sizeof *probes && mt_next.has_chunk_header; i++)
        if (!reads_as_expected(probes[i])) mt_next.has_chunk_header = false;
}

/* The marks of allocators that programs bring along; the plain name tells one linked into the program. */
static const char *const marks[] = {"malloc",    "mallocx",  "je_malloc",       "tc_malloc",
                                    "mi_malloc", "rpmalloc", "scalable_malloc", "hoard_malloc"};

/* What allocators tell about themselves: nothing of it hands out memory or takes it. */
static const char *const harmless[] = {"mallctl", "mallctlnametomib", "mallctlbymib",   "malloc_stats_print",
                                       "nallocx", "malloc_conf",      "malloc_message", NULL};

static void find_foreign(void)
{
    struct mt_elf_symbol symbol;
    bool is_beside = false; /* there is another than the one that serves malloc */
    for (unsigned i = 0; i < sizeof marks / sizeof *marks; i++) {
        if (!mt_elf_find(marks[i], i ? MT_ELF_OTHER : MT_ELF_FIRST, &symbol) || symbol.is_ours) continue;
        char path[200];
        copy_path(path, sizeof path, symbol.object);
        if (!mt_next.foreign[0]) mt_format(mt_next.foreign, sizeof mt_next.foreign, "%s (%s)", path, marks[i]);
        is_beside |= (uintptr_t)symbol.address - mt_next.low >= mt_next.high - mt_next.low;
    }
    mt_next.is_replaceable = mt_next.foreign[0] && !is_beside &&
                             mt_elf_is_replaceable((void *)(uintptr_t)mt_next.malloc, harmless);
}

static bool find_family(void)
{
    mt_next.malloc = (void *(*)(size_t))(uintptr_t)ask_base("malloc");
    mt_next.free = (void (*)(void *))(uintptr_t)ask_base("free");
    mt_next.calloc = (void *(*)(size_t, size_t))(uintptr_t)ask_base("calloc");
    mt_next.realloc = (void *(*)(void *, size_t))(uintptr_t)ask_base("realloc");
    mt_next.usable_size = (size_t(*)(void *))(uintptr_t)ask_base("malloc_usable_size");
    return mt_next.malloc && mt_next.free && mt_next.calloc && mt_next.realloc && mt_next.usable_size;
}

/*
 * Some allocators set themselves up, and allocate through the hooks, when they
 * are first asked for a size. Now that comes from the bootstrap pool.
 */
static void warm_up(void)
{
    void *block = mt_next.malloc(1);
    if (block) mt_next.usable_size(block);
    mt_next.free(block);
}

bool mt_next_resolve(void)
{
    Dl_info info;
    if (!find_family()) return false;
    if (!is_in_libc((void *)(uintptr_t)mt_next.malloc))
        warm_up(); /* libc's own calls no hook, and has a heap then */
    if (!dladdr((void *)(uintptr_t)mt_next.malloc, &info) || !info.dli_fname) return false;
    copy_path(mt_next.path, sizeof mt_next.path, info.dli_fname);
    mt_elf_range((void *)(uintptr_t)mt_next.malloc, &mt_next.low, &mt_next.high);
    find_aligned();
    mt_next.is_glibc = is_glibc();
    find_foreign();
    atomic_store_explicit(&mt_next.is_ready, true, memory_order_release);
    return true;
}
