/*
 * What programs call through memtrack.h in a process that has the layer and
 * not the preloaded library: tags for the objects that they make, frame marks,
 * numbers of device memory. Any thread; no lock; a page for the tags of each
 * thread that uses some.
 *
 * A layer is loaded where the program's own symbols do not see it, and later
 * than the program's first call. So the layer looks for the program: each
 * object that includes memtrack.h has a note, which tells where its word is.
 */
#include "api.h"

#include "layer.h"
#include "query.h"
#include "scope.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <string.h>

/* ---- tags ------------------------------------------------------------------------------- */

static __thread struct mt_tag_stack *tags;
static pthread_key_t end_key;
static _Atomic bool has_key;

static void thread_ends(void *stack)
{
    tags = NULL; /* first: a signal handler that pushes here must not find what goes */
    atomic_signal_fence(memory_order_seq_cst);
    mt_tag_stack_drop(mt_process_core(), stack);
}

/* Without a word at the thread's end its page would be lost. */
static struct mt_tag_stack *make_stack(struct mt_core *core)
{
    if (!atomic_load_explicit(&has_key, memory_order_acquire)) return NULL;
    struct mt_tag_stack *made = mt_tag_stack_make(core);
    if (made && pthread_setspecific(end_key, made)) {
        mt_tag_stack_drop(core, made);
        made = NULL;
    }
    return tags = made;
}

static int push_tag(const char *name)
{
    struct mt_core *core = mt_process_core();
    struct mt_tag_stack *own = tags ? tags : make_stack(core);
    uint32_t tag = own && name && *name ? mt_scope_find_tag(core, name) : 0;
    if (!own || !mt_tag_stack_push(own, tag)) mt_core_drop(core, MT_DROPPED_TAGS);
    return own != NULL;
}

/* One too many may be of a tag that was said before the layer came: nothing to tell. */
static void pop_tag(void)
{
    if (tags) mt_tag_stack_pop(tags);
}

static uint32_t tag_in_force(void)
{
    return tags ? mt_tag_stack_top(tags) : 0;
}

/* ---- the rest ------------------------------------------------------------------------------ */

static void mark_frame(void)
{
    mt_frame_mark(mt_process_core());
}

static int is_tracking(void)
{
    return mt_core_ready(mt_process_core());
}

/* The heap is not counted here. */
static int query(enum memtrack_subject subject, const char *tag, uint32_t index,
                 struct memtrack_statistics *statistics, size_t bytes)
{
    struct mt_core *core = mt_process_core();
    if (subject != MEMTRACK_OF_DEVICE_HEAP || !mt_core_ready(core)) return 0;
    return mt_query(core, subject, tag, index, statistics, bytes);
}

static int set_budget(const char *tag, uint64_t bytes)
{
    struct mt_core *core = mt_process_core();
    return mt_core_ready(core) && tag && *tag && mt_scope_set_budget(core, tag, bytes);
}

static const struct memtrack_api the_api = {
    .version = 1,
    .bytes = sizeof the_api,
    .push_tag = push_tag,
    .pop_tag = pop_tag,
    .mark_frame = mark_frame,
    .is_tracking = is_tracking,
    .query = query,
    .set_budget = set_budget,
};

/* ---- the way here ----------------------------------------------------------------------------- */

enum { NOTE_TYPE = 1, LOOKED_IN_VAIN = 1 };
static const char note_name[] = "memtrack";

/* A word lies in memory of its own object that may be written; a note that says otherwise is not ours. */
static bool is_writable(const struct dl_phdr_info *object, uintptr_t word)
{
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_W) || word % sizeof word) continue;
        uintptr_t start = object->dlpi_addr + part->p_vaddr;
        if (word >= start && word + sizeof word <= start + part->p_memsz) return true;
    }
    return false;
}

static void offer_at(const struct dl_phdr_info *object, const char *description)
{
    int64_t distance;
    memcpy(&distance, description, sizeof distance);
    uintptr_t at = (uintptr_t)description + (uintptr_t)distance;
    if (!is_writable(object, at)) return;
    _Atomic uintptr_t *word = (_Atomic uintptr_t *)at;
    uintptr_t seen = atomic_load_explicit(word, memory_order_relaxed);
    /* Release: pairs with the acquire in memtrack_library(). Who has found a library keeps it. */
    while (seen <= LOOKED_IN_VAIN &&
           !atomic_compare_exchange_weak_explicit(word, &seen, (uintptr_t)&the_api, memory_order_release,
                                                  memory_order_relaxed)) {
    }
}

static size_t padded(size_t bytes)
{
    return (bytes + 3) & ~(size_t)3;
}

static void read_notes(const struct dl_phdr_info *object, const char *at, size_t bytes)
{
    ElfW(Nhdr) note;
    while (bytes >= sizeof note) {
        memcpy(&note, at, sizeof note);
        size_t name_bytes = padded(note.n_namesz), length = sizeof note + name_bytes + padded(note.n_descsz);
        if (length > bytes) return;
        const char *name = at + sizeof note;
        if (note.n_type == NOTE_TYPE && note.n_namesz == sizeof note_name && note.n_descsz == sizeof(int64_t) &&
            !memcmp(name, note_name, sizeof note_name))
            offer_at(object, name + name_bytes);
        at += length;
        bytes -= length;
    }
}

static int look_at_object(struct dl_phdr_info *object, size_t bytes, void *unused)
{
    (void)bytes;
    (void)unused;
    for (unsigned i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type == PT_NOTE && part->p_align <= 4)
            read_notes(object, (const char *)(object->dlpi_addr + part->p_vaddr), part->p_memsz);
    }
    return 0;
}

/* Where the preloaded library is there with a core of its own, programs belong to it. */
void mt_layer_api_offer(struct mt_core *core)
{
    static _Atomic bool is_begun;
    if (dlsym(RTLD_DEFAULT, "memtrack_api_v1")) return;
    dlerror();
    if (!atomic_exchange(&is_begun, true)) {
        atomic_store_explicit(&has_key, !pthread_key_create(&end_key, thread_ends), memory_order_release);
        atomic_store_explicit(&core->tag_in_force, tag_in_force, memory_order_relaxed);
    }
    dl_iterate_phdr(look_at_object, NULL);
}
