/*
 * The layout of a segment: the shared-memory file that holds everything
 * memtrack knows about one process. The injected libraries write it, the
 * memtrack command reads it, at any time and also after the process is gone.
 *
 * Everything is addressed by offsets from the start of the file, so that each
 * reader maps it where it likes. Writers use relaxed atomics unless a field
 * says otherwise. A change of anything here must change MT_LAYOUT_VERSION.
 */
#ifndef MT_LAYOUT_H
#define MT_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MT_SEGMENT_MAGIC  "MEMTRACK"
#define MT_LAYOUT_VERSION 1u

enum {
    MT_NAME_BYTES = 64,   /* names of heaps, tags, threads, events' sources */
    MT_CLASS_COUNT = 337, /* size classes, see mt_class_of() */
    MT_STEP_COUNT = 65,   /* finer ones of small blocks, see mt_shard_step() */
    MT_POOL_CLASSES = 72, /* size classes that come from slabs: 1 byte to 32 KiB */
    MT_HEAP_MAX = 128,
    MT_SHARD_MAX = 1024, /* shard 0 is shared by threads that have none */
    MT_LANE_MAX = 64,    /* threads with counters of their own for heaps and objects */
    MT_LANE_ENDING = 8,  /* freed objects whose records a thread has not written yet */
    MT_THREAD_MAX = 512, /* rows of the table of ended threads, by name */
    MT_EVENT_MAX = 256,
    MT_FRAME_RING = 4096,
    MT_WORST_FRAMES = 16,
    MT_FRAME_STACKS = 8,     /* stacks kept of each of them */
    MT_TOUCHED_PARTS = 2048, /* stacks followed in one frame, once for each thread in mode all */
    MT_HISTOGRAM_MAX = 128,
    MT_HISTOGRAM_BUCKETS = 976, /* 16 per doubling: at most 6.25 % wide */
    MT_OBJECT_CHUNK = 1024,     /* objects in one chunk */
    MT_OBJECT_CHUNKS = 4096,    /* chunks in one segment: 4 Mi objects */
    MT_OPTIONS_BYTES = 8192,
};

/* ---- who the process is ------------------------------------------------ */

enum mt_process_state {
    MT_STATE_STARTING = 0, /* the header is not complete yet */
    MT_STATE_RUNNING = 1,
    MT_STATE_EXITED = 2, /* exit_code is valid; late frees may still come */
    MT_STATE_EXECED = 3, /* the image was replaced by exec */
};

enum mt_client { MT_CLIENT_PRELOAD = 1, MT_CLIENT_LAYER = 2 };

struct mt_process {
    char executable[512];
    char command_line[4096];
    char output_directory[1024];    /* absolute */
    char options[MT_OPTIONS_BYTES]; /* "NAME=value\n" for every option in force */
    char next_allocator[256];       /* path of the object that serves malloc below memtrack */
    char foreign_allocator[256];    /* an allocator bundled in the program, or empty */
    int32_t pid;
    int32_t parent_pid;
    uint64_t start_ticks;       /* field 22 of /proc/PID/stat: tells a reused pid */
    uint64_t start_realtime_ns; /* when the segment was made, CLOCK_REALTIME */
    uint64_t start_ns;          /* the same moment, CLOCK_MONOTONIC */
    _Atomic uint32_t clients;   /* bits of enum mt_client */
    _Atomic uint32_t state;     /* enum mt_process_state; release after the header is complete */
    _Atomic int32_t exit_code;
    uint32_t is_fork;            /* 1: made by fork from a tracked process */
    _Atomic uint64_t end_ns;     /* CLOCK_MONOTONIC when state left RUNNING */
    uint32_t command_line_bytes; /* valid bytes of command_line, NUL-separated */
    uint32_t options_bytes;
};

/* ---- counters ---------------------------------------------------------- */

struct mt_class_counter {
    _Atomic uint64_t allocation_count;
    _Atomic uint64_t free_count;
};

enum mt_shard_state { MT_SHARD_FREE = 0, MT_SHARD_LIVE = 1 };

/*
 * One thread's counters. Only the owning thread writes them (shard 0 is
 * written by many with atomic read-modify-write). They never go down but for
 * live_bytes, and a shard that is claimed again by a new thread counts on:
 * the process's totals are always the sum over all shards. The thread's own
 * share is what was added since the base_ values were taken.
 */
struct mt_shard {
    /* identity */
    _Alignas(64) _Atomic uint32_t state; /* enum mt_shard_state */
    _Atomic int32_t tid;
    _Atomic uint32_t generation; /* times claimed */
    _Atomic uint32_t tag;        /* tag in force for this thread */
    uint64_t start_ns;
    uint64_t base_allocation_count, base_free_count, base_requested_bytes;
    int64_t base_live_bytes;
    char name[MT_NAME_BYTES];
    /* the hot line; see shard.h for how the fields work together */
    _Alignas(64) _Atomic uint64_t allocation_count, free_count; /* but for those that origins' cells count */
    _Atomic uint64_t requested_bytes;                           /* cumulative bytes asked for */
    _Atomic int64_t live_bytes;             /* usable bytes allocated minus freed by this thread */
    _Atomic int64_t high_bytes;             /* highest live_bytes since the last flush */
    _Atomic int64_t low_limit_bytes;        /* live_bytes below this flushes */
    _Atomic int64_t flushed_bytes;          /* live_bytes that the shared total already has */
    _Atomic int64_t sample_countdown_bytes; /* requested_bytes at which the stack sampler is asked next */
    /* warm */
    _Alignas(64) _Atomic uint64_t realloc_count;
    _Atomic uint64_t failed_count;
    _Atomic uint64_t foreign_free_count;
    _Atomic int64_t slack_bytes;       /* low_limit_bytes lies so much lower than batch_bytes alone would have it */
    _Atomic uint64_t sample_doublings; /* of the rate that sample_countdown_bytes was drawn with */
    _Atomic uint64_t is_stepped;       /* steps[] may hold something */
    _Atomic uint64_t attribution;      /* offset of its struct mt_shard_attribution; 0 = none */
    _Atomic uint64_t origins;          /* offset of its newest struct mt_origin_counts; 0 = none; release */
    /* peaks; see groups.h */
    _Alignas(64) _Atomic uint64_t group_parts; /* offset of its newest struct mt_group_part; 0 = none; release */
    _Atomic int64_t own_peak_bytes; /* highest live_bytes at a flush since the claim, less base_live_bytes */
    _Atomic uint64_t own_peak_ns, own_peak_frame;
    uint64_t touched;     /* offset of the first part of the look in progress; 0 = the last one */
    uint32_t look;        /* number of the look in progress, or the last one */
    uint32_t is_looking;  /* 1: one is in progress */
    uint32_t is_followed; /* 1: some of its rows know what becomes of their blocks */
    /* at the last look, and the extremes of flushes since then */
    _Alignas(64) _Atomic int64_t look_bytes, look_high_bytes, look_low_bytes; /* of live_bytes */
    uint64_t look_calls, look_kept_calls;     /* allocations and frees; those in allocation_count and free_count */
    uint64_t look_print, look_small_print;    /* see groups.h; the latter less that of large blocks, by origin */
    uint64_t look_other_print;                /* less that of all that any row knows */
    uint64_t look_row, look_row_print;        /* offset of a row whose large blocks changed then; 0 = none */
    uint32_t look_flushes, look_next;         /* since then; of these, when calls are counted next */
    uint32_t look_samples, look_samples_next; /* the same of samples */
    _Atomic uint64_t frame_counts[4]; /* at the last frame: requested_bytes, live_bytes; what was counted in all */
    /* Blocks of 16 * n - 8 usable bytes that are neither in allocation_count and free_count nor in classes[]. */
    struct mt_class_counter steps[MT_STEP_COUNT];
    struct mt_class_counter classes[MT_CLASS_COUNT];
};

/* What ended threads did, summed by thread name. A row is taken by a CAS of key. */
struct mt_ended_threads {
    _Atomic uint64_t key; /* hash of the name; 0 = unused row */
    char name[MT_NAME_BYTES];
    _Atomic uint64_t thread_count;
    _Atomic uint64_t allocation_count, free_count, requested_bytes;
    _Atomic int64_t live_bytes;
    _Atomic int64_t peak_bytes; /* the highest of any one of them */
    _Atomic uint64_t peak_ns, peak_frame;
};

struct mt_globals {
    _Alignas(64) _Atomic int64_t current_bytes; /* sum of all flushed_bytes */
    _Alignas(64) _Atomic int64_t peak_bytes;
    _Atomic uint64_t peak_ns; /* CLOCK_MONOTONIC of the peak */
    _Atomic uint64_t peak_frame;
    _Alignas(64) uint64_t batch_bytes;         /* MEMTRACK_PEAK_BATCH; 0 = exact */
    uint64_t inherited_bytes, inherited_count; /* live at fork, from the parent */
    _Atomic uint32_t live_shards, live_shards_max;
    _Atomic uint64_t thread_count; /* threads ever seen */
    /* mappings made by the program's own mmap, mremap, brk and by pthread_create */
    _Alignas(64) _Atomic uint64_t mapped_bytes, mapped_peak_bytes, mapped_count;
    _Atomic uint64_t map_count, unmap_count;                     /* cumulative calls that changed something */
    _Atomic uint64_t stack_bytes, stack_peak_bytes, stack_count; /* live thread stacks */
    _Atomic int64_t brk_bytes;
    /* memtrack's own */
    _Atomic uint64_t private_bytes;             /* memtrack's own anonymous mappings in the process */
    _Atomic uint64_t layer_bytes;               /* the Vulkan layer's part of private_bytes */
    _Atomic uint64_t dump_requested, dump_done; /* memtrack dump: asks by adding one */
};

enum mt_dropped {
    MT_DROPPED_OBJECTS,      /* objects that found no room */
    MT_DROPPED_EVENTS,       /* events overwritten before they were read, or lost */
    MT_DROPPED_MAPPINGS,     /* mapping changes not recorded */
    MT_DROPPED_THREAD_NAMES, /* ended threads counted under "(other)" */
    MT_DROPPED_SHARDS,       /* threads that had to share shard 0 */
    MT_DROPPED_HEAPS,        /* heaps, histograms or tags beyond the tables */
    MT_DROPPED_NAMES,        /* names cut at their field's length */
    MT_DROPPED_FRAMES,       /* frame marks that met another one in progress */
    MT_DROPPED_MEMORY,       /* times the segment could not grow */
    MT_DROPPED_ORIGINS,      /* callers counted under "(other)" because the table of origins was full */
    MT_DROPPED_TAGS,         /* tags and scopes beyond the tables, and pops of a tag without a push */
    MT_DROPPED_COUNT
};

/* ---- heaps: named pots of bytes that are counted with shared atomics ----- */

enum mt_heap_kind {
    MT_HEAP_UNUSED = 0,
    MT_HEAP_DEVICE_HEAP = 1,   /* one memory heap of one device; index, owner = device object */
    MT_HEAP_DEVICE_TYPE = 2,   /* one memory type of one device; heap_index = its heap */
    MT_HEAP_DEVICE_IMPORT = 3, /* imported memory of one device */
    MT_HEAP_HOST = 4,          /* host memory through VkAllocationCallbacks, by scope */
};

struct mt_heap {
    _Alignas(64) _Atomic uint32_t kind; /* enum mt_heap_kind; written last, release */
    uint32_t index;                     /* the owner's index of it */
    uint32_t heap_index;                /* DEVICE_TYPE: the heap it lies in */
    uint32_t flags;                     /* the owner's flags as they are */
    uint32_t owner;                     /* object id */
    uint32_t reserved;
    uint64_t size_bytes;
    _Alignas(64) _Atomic int64_t current_bytes;
    _Atomic int64_t current_count;
    _Atomic int64_t peak_bytes;
    _Atomic uint64_t peak_ns, peak_frame;
    _Atomic uint64_t total_bytes;
    _Atomic uint64_t allocation_count, free_count;
    _Alignas(64) _Atomic uint64_t failed_count;
    _Atomic uint64_t budget_bytes, usage_bytes; /* 0 = not known */
    _Atomic uint64_t budget_ns;                 /* when they were read */
    _Atomic uint64_t budget_rejected_count;     /* readings that could not be true */
    char name[MT_NAME_BYTES];
};

/*
 * What one thread counted in one row of heaps. Only that thread writes it. A
 * row's totals are the row's own numbers plus those of all lanes; its current
 * bytes are the row's current_bytes plus what no lane has flushed yet
 * (mt_heap_sum()).
 */
struct mt_lane_heap {
    _Alignas(64) _Atomic uint64_t allocation_count;
    _Atomic uint64_t free_count;
    _Atomic uint64_t total_bytes;
    _Atomic int64_t live_bytes;    /* allocated minus freed by this thread; negative where others allocated */
    _Atomic int64_t flushed_bytes; /* live_bytes that the row's current_bytes already has */
    _Atomic int64_t high_bytes;    /* highest live_bytes since the last flush */
};

/* The counters of one thread that makes device memory and objects; taken and given back like a shard. */
struct mt_lane {
    _Alignas(64) _Atomic int32_t tid;
    uint32_t free_object, free_object_count; /* object ids that this thread hands out next; a list by next_free */
    uint32_t ending_at;                      /* where in `ending` the oldest is */
    _Atomic int64_t live_objects;            /* made minus freed by this thread */
    _Atomic uint64_t device_call_ns;         /* spent in the driver's own allocating and freeing calls */
    /* Ids of objects that are freed, though their records look alive: readers leave them out. 0 = none. */
    _Atomic uint32_t ending[MT_LANE_ENDING];
    _Atomic uint64_t histograms[MT_HISTOGRAM_MAX]; /* offset of this thread's part of that row; 0 = none; release */
    struct mt_lane_heap heaps[MT_HEAP_MAX];
};

/* ---- events, histograms -------------------------------------------------- */

struct mt_event {
    _Atomic uint64_t sequence; /* 1-based; 0 while being written; release */
    uint64_t time_ns;          /* CLOCK_MONOTONIC */
    char kind[32];
    char text[216];
};

/* Log-linear: value v lies in bucket mt_histogram_bucket(v). */
struct mt_histogram {
    _Atomic uint32_t used; /* release after the name */
    uint32_t owner;        /* object id, 0 = the process */
    char name[MT_NAME_BYTES];
    char unit[16];
    _Atomic uint64_t count, sum, max;
    _Atomic uint64_t buckets[MT_HISTOGRAM_BUCKETS];
};

/* ---- frames -------------------------------------------------------------- */

enum mt_frame_source {
    MT_FRAME_NONE = 0,
    MT_FRAME_VULKAN = 1, /* vkQueuePresentKHR */
    MT_FRAME_EGL = 2,
    MT_FRAME_GLX = 3,
    MT_FRAME_SDL = 4,
    MT_FRAME_GLFW = 5,
    MT_FRAME_API = 6,
};

struct mt_frame {
    _Atomic uint64_t index; /* 1-based frame number; 0 while being written; release */
    uint64_t end_ns;        /* CLOCK_MONOTONIC */
    uint64_t duration_ns;
    uint64_t allocation_count, free_count, requested_bytes; /* CPU heap, all threads, this frame */
    uint64_t device_allocation_count, device_bytes;         /* device memory, this frame */
    uint64_t device_call_ns; /* in the driver's vkAllocateMemory and vkFreeMemory, this frame */
    int64_t current_bytes;   /* CPU heap at the end of the frame */
};

/* What one call stack allocated in one frame; counts in 1/MT_SCALE, estimates in sampled mode. */
struct mt_frame_stack {
    uint32_t id, sample_count;
    uint64_t count, bytes;
};

/* A frame that is kept, with the stacks that allocated most often in it. */
struct mt_kept_frame {
    struct mt_frame frame;
    uint32_t stack_count;              /* rows of stacks[] in use */
    uint32_t is_cut;                   /* 1: more stacks allocated in it than could be followed */
    uint64_t other_count, other_bytes; /* of the stacks that are not in the list */
    struct mt_frame_stack stacks[MT_FRAME_STACKS];
};

/*
 * What one call stack (or one thread's part of it) allocated in the frame it
 * allocated in last. One writer at a time; read by the thread that ends a frame.
 */
struct mt_frame_part {
    _Atomic uint32_t frame; /* number of the frame + 1 in 32 bits; 1 = before the first one; 0 = none */
    _Atomic uint32_t stack; /* id */
    _Atomic uint32_t sample_count, told; /* told: by the end of frame `told` - 1 */
    _Atomic uint64_t count, bytes;       /* count in 1/MT_SCALE */
};

/* The parts that a frame's blocks were counted in, in the order of their first block; see frame_stacks.c. */
struct mt_touched_parts {
    _Atomic uint32_t count;                   /* may pass MT_TOUCHED_PARTS: those were not kept */
    _Atomic uint64_t parts[MT_TOUCHED_PARTS]; /* offsets of struct mt_frame_part */
};

struct mt_frames {
    _Atomic uint32_t source; /* enum mt_frame_source in force: the outermost seen */
    _Atomic uint32_t busy;   /* taken by the thread that writes a frame */
    _Atomic uint64_t count;
    _Atomic uint64_t zero_allocation_frames;
    _Atomic uint64_t ignored_presents; /* presentation calls inside or beside the source */
    _Atomic uint64_t first_ns, last_ns;
    uint64_t last_allocation_count, last_free_count, last_requested_bytes;
    uint64_t last_device_allocation_count, last_device_bytes, last_device_call_ns;
    /* from here on there is memory only once a frame has begun */
    struct mt_frame ring[MT_FRAME_RING];           /* frame n at (n - 1) % MT_FRAME_RING */
    struct mt_kept_frame worst[MT_WORST_FRAMES];   /* most allocations first; frame.index 0 = unused */
    struct mt_kept_frame longest[MT_WORST_FRAMES]; /* longest first */
    struct mt_touched_parts touched[2];            /* of frame n at n % 2 */
    struct mt_histogram allocations, frees, bytes, duration;
};

/* ---- pools: what serves the program's malloc when the pools are on ---------- */

struct mt_pool_class {
    _Atomic uint64_t slab_count; /* slabs that exist now */
    _Atomic uint64_t
        reserved_bytes; /* their size; a place that a block of another class has in them is that one's */
};

/*
 * Written by the preloaded library alone. Live and cumulative blocks of a size
 * class are in the shards (all shards' classes[]); here is what they lie in.
 * Everything is "now" but for the fields marked cumulative.
 */
struct mt_pools {
    _Atomic uint32_t is_on;
    uint32_t padding;
    char reason[120];                                     /* why the pools are on or off */
    _Atomic uint64_t slab_reserved_bytes;                 /* address space of slab chunks */
    _Atomic uint64_t slab_used_bytes;                     /* in slabs; the sum of the classes' reserved_bytes */
    _Atomic uint64_t slab_dirty_bytes;                    /* in no slab, but still with memory behind it */
    _Atomic uint64_t slab_purged_bytes, slab_purge_count; /* cumulative */
    _Atomic uint64_t slab_huge_page_bytes;                /* for which the system was asked for huge pages */
    _Atomic uint64_t remote_free_count,
        remote_batch_count; /* cumulative: blocks freed by another thread, and in how many sends */
    _Atomic uint64_t heap_count,
        absorbed_heap_count; /* thread heaps ever made; cumulative takeovers of idle ones */
    struct { /* of each TLSF arena, written by who holds its lock; blocks, and cumulative blocks made */
        _Alignas(64) _Atomic uint64_t used_bytes, dirty_bytes, used_count, free_count, allocation_count;
    } tlsf[4];
    _Atomic uint64_t tlsf_reserved_bytes, tlsf_chunk_count, tlsf_largest_free_bytes;
    _Atomic uint64_t tlsf_resize_count, tlsf_purged_bytes, tlsf_purge_count; /* cumulative */
    _Atomic uint64_t huge_bytes, huge_count;
    _Atomic uint64_t huge_allocation_count, huge_remap_count; /* cumulative */
    _Atomic uint64_t arena_chunk_count;                       /* of 64 KiB, part of slab_used_bytes */
    _Atomic uint64_t arena_pinned_bytes;                      /* unused in chunks that few old blocks hold */
    _Atomic uint64_t arena_reuse_count, arena_orphan_count;   /* cumulative: chunks begun anew; left by a thread */
    _Atomic uint64_t arena_promotion_count, arena_demotion_count; /* cumulative, of sites */
    _Atomic uint64_t arena_lost_site_count;                       /* cumulative: sites that found no row */
    _Atomic uint64_t arena_sites;                  /* offset of MT_ARENA_SITE_MAX rows; 0 = none; release */
    struct mt_pool_class classes[MT_POOL_CLASSES]; /* index: mt_class_of() */
};

enum { MT_ARENA_SITE_MAX = 256, MT_ARENA_CHUNK_BYTES = 65536 };

enum mt_arena_site_state {
    MT_ARENA_SITE_UNUSED = 0,
    MT_ARENA_SITE_NAMED = 1,   /* by a rule */
    MT_ARENA_SITE_LEARNED = 2, /* its blocks were seen to die young */
    MT_ARENA_SITE_DEMOTED = 3, /* its blocks come from slabs again */
};

/* A call site whose blocks come from arenas, or did. Row 0 is not used. */
struct mt_arena_site {
    _Atomic uint32_t state;                     /* enum mt_arena_site_state; release after the rest */
    uint32_t origin;                            /* of its blocks */
    uint64_t address;                           /* the return address */
    _Atomic uint64_t pinned_bytes;              /* unused in chunks that its blocks hold */
    _Atomic uint64_t sample_count, young_count; /* cumulative: sampled blocks that were freed; and died young */
    _Atomic uint32_t promotion_count, demotion_count;
    _Atomic uint64_t changed_ns; /* CLOCK_MONOTONIC of the last change of its state */
    uint32_t generation;         /* of the module table when the site was met */
    uint32_t reserved;
    int64_t inherited_bytes, inherited_count; /* live at fork, from the parent */
};

/* ---- objects: records of a few kinds, made and dropped by a client -------- */

/*
 * A record of something that lives for a while: a device, a memory
 * allocation, a buffer. The core knows integers and names; what attr[] means
 * for each kind stands in vulkan_records.h. seq is odd while the owner writes
 * (a reader tries again); kind 0 means the slot is free.
 */
struct mt_object {
    _Alignas(64) _Atomic uint32_t seq;
    uint16_t kind;   /* 0 = free slot */
    uint16_t thread; /* that made it: row of thread_names + 1; 0 = not known */
    uint32_t owner;  /* object id of what it belongs to, 0 = none */
    uint32_t link;   /* object id, meaning by kind (what it is bound to) */
    uint64_t handle;
    uint64_t size_bytes;
    uint64_t offset;
    uint64_t create_ns; /* CLOCK_MONOTONIC */
    uint64_t create_frame;
    int32_t create_tid;
    uint32_t stack;     /* stack id, 0 = none */
    uint32_t next_free; /* free slots: id of the next one */
    uint16_t tag;       /* that the program said when it was made, by number like scopes; 0 = none */
    uint16_t heap;      /* index into heaps + 1, 0 = none */
    uint64_t attr[12];
    char name[MT_NAME_BYTES];
    char text[80]; /* a second string, meaning by kind */
};

struct mt_objects {
    _Atomic uint64_t free_head;  /* id in the low 32 bits, a changing tag above */
    _Atomic uint32_t used_slots; /* ids 1 .. used_slots have been handed out at least once */
    _Atomic uint32_t live_count;
    _Atomic uint32_t growing; /* taken by the thread that adds a chunk */
};

/* ---- call stacks and modules ------------------------------------------------ */

enum {
    MT_STACK_DEPTH_MAX = 256,
    MT_STACK_BUCKETS = 131072,      /* of mode all */
    MT_STACK_BUCKETS_SAMPLED = 512, /* the last of them, which mode sampled uses: half a page */
    MT_STACK_CHUNK = 16,            /* stacks in one chunk */
    MT_STACK_CHUNKS = 131072,       /* chunks in one segment: 2 Mi stacks */
    MT_MODULE_MAX = 1024,
    MT_LIFETIME_BUCKETS = 32,
    MT_THREAD_NAMES = 256,
    MT_SCALE = 256, /* estimated counts are kept in 1/256 so that a scaled sample adds no bias */
};

enum mt_stacks_mode { MT_STACKS_OFF = 0, MT_STACKS_SAMPLED = 1, MT_STACKS_ALL = 2 };

enum { MT_STACK_OF_NOBODY = UINT32_MAX };
/* Live bytes that a record of a shared stack keeps to itself, at most, either way. */
enum { MT_STACK_HAND_OVER = 16384 };

/*
 * One distinct call stack. The identity (to frames) is written once, before
 * the id is published.
 *
 * In sampled mode every number is an estimate: a sampled block of s bytes
 * stands for 1 / (1 - e^(-s/rate)) blocks. The counters are changed by one
 * thread at a time, with lock odd while they are.
 *
 * Where every block is recorded (mode all), a record is written by the thread
 * that holds the walker whose number is in `owner`, and lock is odd while it
 * moves parts of live. Other threads count the same stack in records of their
 * own, its twins, which have no frames and are in no bucket: the numbers of a
 * stack are the sum of its record and its twins. While it has no twins,
 * max_bytes and max_count are exact. Once it has some (is_shared), the first
 * twin belongs to nobody and keeps the maximum: the others hand it their live
 * part, with its lock held, when that passes max_bytes or falls far below 0,
 * and what the stack's own record holds until it does so for the first time is
 * looked at meanwhile. So the maximum is off by at most MT_STACK_HAND_OVER for
 * each record that has an owner.
 *
 * live bytes are at_peak + since. Bytes at the process's peak: at_peak_bytes
 * when epoch is the table's peak_epoch, at_peak_bytes + since_bytes otherwise.
 */
struct mt_stack {
    /* what nearly every block changes */
    _Alignas(64) _Atomic uint32_t lock; /* odd: being changed; release */
    uint32_t epoch;                     /* peak epoch of at_peak */
    union {
        struct {                   /* mode sampled */
            uint64_t sample_count; /* blocks really seen */
            int64_t live_variance; /* of live bytes, in KiB squared */
        };
        struct {                    /* mode all */
            _Atomic uint32_t owner; /* number of a walker, 0 = none yet, MT_STACK_OF_NOBODY */
            uint32_t twin_of;       /* id of the stack this is a twin of; 0 = none */
            _Atomic uint32_t twins; /* id of the first twin, or of the next one; 0 = none; release */
            uint32_t id;            /* its own */
        };
    };
    int64_t at_peak_bytes, since_bytes;
    int64_t since_count;  /* in 1/MT_SCALE, like at_peak_count */
    uint64_t total_bytes; /* requested, cumulative */
    uint64_t total_count; /* in 1/MT_SCALE */
    /* the second line */
    int64_t max_bytes;         /* highest live bytes of this stack alone */
    uint64_t last_ns;          /* CLOCK_MONOTONIC of its newest block, coarse */
    uint64_t temporary_count;  /* in 1/MT_SCALE: freed before its thread allocated again */
    uint64_t same_frame_count; /* in 1/MT_SCALE: freed in the frame it was made in */
    uint64_t lifetime_ms;      /* sum over freed blocks, in 1/MT_SCALE */
    int64_t at_peak_count;
    int64_t max_count; /* in 1/MT_SCALE: live blocks when max_bytes was reached */
    uint64_t first_ns; /* CLOCK_MONOTONIC when it was first seen, coarse */
    /* the third line: what it is */
    struct mt_frame_part in_frame;
    uint64_t hash;
    uint32_t frames; /* offset / 8 of depth return addresses, outermost first, which the process keeps no more */
    uint32_t check;  /* a second hash of them */
    _Atomic uint32_t next; /* next stack of the same bucket; 0 = none */
    uint32_t generation;   /* of the module table when it was seen */
    uint16_t thread;       /* row of thread_names + 1; 0 = threads are not told apart */
    uint16_t tag;          /* that the program said, by number like scopes; 0 = none */
    uint16_t depth;
    uint8_t is_cut; /* 1: the walk ended before the stack did */
    _Atomic uint8_t is_shared;
};
_Static_assert(sizeof(struct mt_stack) == 192, "three cache lines");

_Static_assert(MT_STACK_BUCKETS % 1024 == 0, "whole pages");

/* A loaded object, registered when a stack first meets it. Rows are never reused. */
struct mt_module {
    _Atomic uint32_t state; /* 1 = complete; release */
    uint32_t first_generation;
    _Atomic uint32_t end_generation; /* 0 = in force; else first generation it is no longer valid in */
    uint32_t first;                  /* the first row of the same file + 1: itself, or where it was loaded before */
    uint64_t base;                   /* load address: address minus base is the object's own address */
    uint64_t start, end;             /* mapped range */
    uint32_t build_id_bytes;
    unsigned char build_id[32];
    char path[332];
};

struct mt_modules {
    _Atomic uint32_t count;
    _Atomic uint32_t generation; /* grows when an address range is taken by another object */
    _Atomic uint32_t busy;
    struct mt_module rows[MT_MODULE_MAX];
};

/* What one shard counts besides; one writer, like the shard. At mt_shard.attribution as an offset. */
struct mt_shard_attribution {
    _Atomic uint64_t lifetime_time[MT_LIFETIME_BUCKETS];   /* in 1/MT_SCALE; bucket b: below 4 ms << b */
    _Atomic uint64_t lifetime_frames[MT_LIFETIME_BUCKETS]; /* in 1/MT_SCALE; 0, 1, 2-3, 4-7 ... frames */
    /*
     * Estimates from sampled blocks: usable minus requested bytes of the live blocks, by size class, allocated
     * minus freed by this thread; and the variance of their sum in bytes squared.
     */
    _Atomic int64_t live_slack_bytes[MT_POOL_CLASSES];
    _Atomic int64_t live_slack_variance;
};

/* A thread name that stacks are told apart by. */
struct mt_thread_name {
    _Atomic uint32_t state; /* 1 = complete; release */
    char name[28];
};

enum mt_attribution_dropped {
    MT_LOST_STACKS,  /* the table was full: blocks without a stack */
    MT_LOST_THREADS, /* no memory for a thread's walker */
    MT_LOST_NESTED,  /* allocations inside memtrack's own code or in a signal handler meanwhile */
    MT_LOST_BLOCKS,  /* live blocks that could not be remembered */
    MT_LOST_MODULES, /* the module table was full */
    MT_LOST_COUNT
};

/* Live blocks at the end that the program can no longer reach; indirect: through other such blocks alone. */
struct mt_leak {
    uint64_t direct_bytes, direct_count, indirect_bytes, indirect_count;
};

enum mt_leaks_state {
    MT_LEAKS_NONE = 0, /* not looked for */
    MT_LEAKS_FAILED = 1,
    MT_LEAKS_DONE = 2,
};

/* The buckets that mode sampled uses, what follows them and the first chunks lie in one page. */
struct mt_attribution {
    _Alignas(4096) char apart[MT_STACK_BUCKETS_SAMPLED * sizeof(uint32_t)];
    _Atomic uint32_t buckets[MT_STACK_BUCKETS]; /* id of the newest stack; release */
    _Alignas(64) _Atomic uint32_t mode;         /* enum mt_stacks_mode */
    _Atomic uint32_t used_stacks;               /* ids 1 .. used_stacks have been handed out */
    _Atomic uint32_t used_chunks;
    _Atomic uint32_t growing;
    uint64_t rate_bytes;
    _Atomic uint64_t coarsest_rate_bytes; /* the highest that was in force for a sample; 0 = no sample yet */
    _Atomic uint64_t lost[MT_LOST_COUNT];
    _Alignas(64) _Atomic uint32_t peak_epoch; /* grows when what came before is known to stand at the peak */
    _Atomic int64_t noted_peak_bytes;         /* the peak that epoch belongs to */
    _Alignas(64) _Atomic uint64_t frames_at;  /* bump pointer into the newest arena of frames */
    _Atomic uint64_t frames_begin, frames_end;
    _Atomic uint32_t leaks_state; /* enum mt_leaks_state; release */
    uint32_t leak_count;
    uint64_t leaks;                 /* offset of leak_count rows, by the number of the stack; 0 = none */
    struct mt_leak leaks_reachable; /* what can be reached, in the direct_ fields */
    _Atomic uint32_t walker_count;  /* numbers given to walkers, from 1 on, where every block is recorded */
    _Atomic uint32_t
        bucket_pages[MT_STACK_BUCKETS / 1024 / 32]; /* bits: pages of buckets with memory behind them */
    _Atomic uint64_t chunks[MT_STACK_CHUNKS];
    struct mt_thread_name thread_names[MT_THREAD_NAMES]; /* the last one is "(other)" */
    _Alignas(4096) struct mt_modules modules;
};

/* ---- groups: whose own peaks are known ------------------------------------------ */

enum mt_group_kind {
    MT_GROUP_ORIGIN = 0, /* one origin, by its id */
    MT_GROUP_MODULE = 1, /* all origins of a module, by the first row of its file + 1; 0 = those of none */
    MT_GROUP_TAG = 2, /* all origins of a tag, by number like scopes; 0 = those whose tag the process cannot tell */
    MT_GROUP_KINDS
};
enum { MT_GROUP_MAX = MT_MODULE_MAX + 1 }; /* ids of one kind */

/* What a group of origins holds and held at most, in usable bytes. Changed by many, as shard 0 is. */
struct mt_group {
    _Atomic int64_t current_bytes; /* as far as threads have handed over */
    _Atomic int64_t peak_bytes;    /* the highest that was reached, as far as the others had handed over */
    _Atomic int64_t limit_bytes; /* the highest that may have been, by the same knowledge; never below peak_bytes */
    _Atomic uint64_t peak_ns, peak_frame;
    uint64_t reserved[3];
};

/* What one shard has to do with one group; one writer, like the shard. */
struct mt_group_part {
    uint32_t kind, id;
    uint64_t next;             /* offset of the shard's next one; 0 = none */
    _Atomic int64_t lag_bytes; /* the most by which the thread was ever away from what it had handed over */
    int64_t allocated, freed;  /* in the look in progress, usable bytes */
    uint64_t next_touched;     /* offset of the next one that it found changed; 0 = none */
    uint32_t look;             /* number of the look that the three above are of */
    uint32_t reserved[3];
};

/* ---- origins: who allocates -------------------------------------------------- */

enum {
    MT_ORIGIN_MAX = 1024, /* origin 0 is "(other)" */
    MT_ORIGIN_BUCKETS = 512,
    MT_ORIGIN_THREAD_BYTES = 24,
    MT_SCOPE_MAX = 512, /* scopes and tags; 0 is none */
    MT_SCOPE_BYTES = 56,
};

/*
 * A distinct (calling module, thread name, tag, scope). Written once before its
 * id is published; rows are never reused.
 */
struct mt_origin {
    _Atomic uint32_t state;                   /* 1 = complete; release */
    uint32_t next;                            /* next origin of the same bucket; 0 = none */
    uint32_t module;                          /* first row of the module's file + 1; 0 = not known */
    uint32_t scope;                           /* 0 = none */
    int64_t inherited_bytes, inherited_count; /* live at fork, from the parent */
    char thread[MT_ORIGIN_THREAD_BYTES];
    uint32_t tag;       /* that the program said, by number like scopes; 0 = none */
    uint32_t tag_group; /* its group of tags, also by number like scopes; 0 = the process cannot tell */
};

struct mt_origins {
    _Atomic uint32_t count; /* ids below this have been handed out; 0 = the table was never used */
    uint32_t reserved;
    _Atomic uint32_t buckets[MT_ORIGIN_BUCKETS]; /* id of the newest origin; release */
    _Alignas(64) struct mt_origin rows[MT_ORIGIN_MAX];
    _Alignas(4096) char scopes[MT_SCOPE_MAX][MT_SCOPE_BYTES]; /* names of scopes and tags; "" = never used */
    _Atomic uint64_t budgets[MT_SCOPE_MAX];                   /* that the program gave to tags; 0 = none */
};

struct mt_origin_cell {
    _Atomic uint64_t allocation_count, free_count, requested_bytes; /* cumulative */
};

/*
 * What one shard counts for one origin; one writer, like the shard (shard 0:
 * many, by atomic read-modify-write). Blocks of the pools alone. A block is
 * counted as allocated by the thread that got it and as freed by the thread
 * that frees it, both under the origin of the allocation.
 *
 * Blocks of the slabs' size classes are counted in their cell, and then not in the shard's classes[] and
 * allocation_count. Larger ones are counted in the sums below, and there too, or in cells of their size
 * (size_counts.h), and then not in classes[].
 */
struct mt_origin_counts {
    uint16_t origin, site;  /* site: of arenas, whose blocks alone are counted here; 0 = all others */
    _Atomic uint32_t sizes; /* its newest struct mt_size_counts, by offset / 64; 0 = none; release */
    uint64_t next;          /* offset of the shard's next one; 0 = none */
    _Atomic uint64_t large_allocation_count, large_free_count;
    _Atomic uint64_t large_requested_bytes, large_requested_freed_bytes; /* cumulative */
    _Atomic uint64_t large_allocated_bytes, large_freed_bytes;           /* cumulative, usable */
    /* what its groups were told; see groups.h */
    _Atomic uint32_t parts[MT_GROUP_KINDS];      /* of the shard's, by offset / 64; 0 = not looked for yet */
    _Atomic uint8_t used_above;                  /* bits: classes[] from 64 on that may hold something */
    uint8_t is_open;                             /* 1: bins count in it */
    uint8_t is_changed;                          /* 1: something else counted in its classes since the last look */
    uint8_t is_quiet;                            /* 1: nothing in its classes had changed at the last look */
    _Atomic uint64_t told_allocated, told_freed; /* usable bytes in classes[], cumulative, at the last look */
    _Atomic uint64_t told_large_allocated, told_large_freed; /* the same of the large ones */
    _Atomic uint64_t used; /* bits: classes[] below 64 that may hold something; not in shard 0, nor of a site */
    uint64_t told_print, told_calls; /* of classes[], at the last look; see groups.h */
    struct mt_origin_cell classes[MT_POOL_CLASSES];
};

/* ---- the whole ------------------------------------------------------------ */

/*
 * Most tables are long and hardly used, and memory comes by pages of 4 KiB as they are touched. So what every
 * program touches lies side by side as far as can be: the heads of tables before the first long one.
 */

struct mt_segment {
    char magic[8];
    uint32_t layout_version;
    uint32_t header_bytes;  /* sizeof(struct mt_segment) of the writer */
    uint64_t virtual_bytes; /* size of the file and of the mapping */
    char build[64];         /* version string of the writer */
    char apart[4096 - (88 + offsetof(struct mt_process, pid)) % 4096];
    struct mt_process process;   /* its texts are for readers; from pid on all programs go on touching one page */
    _Atomic uint64_t used_bytes; /* bump pointer for chunks behind the fixed part */
    _Atomic uint64_t dropped[MT_DROPPED_COUNT];
    _Atomic uint32_t committed_tables; /* bits: tables below that have memory behind them */
    struct mt_globals globals;
    _Atomic uint64_t shard_free_bits[MT_SHARD_MAX / 64];  /* 1 = may be claimed */
    _Atomic uint64_t shard_ready_bits[MT_SHARD_MAX / 64]; /* 1 = has memory behind it */
    _Atomic uint32_t shard_limit;                         /* shards below this have been claimed at least once */
    _Atomic uint64_t lanes_taken;                         /* 1 = a thread has it */
    _Atomic uint32_t lane_limit;                          /* lanes below this have been taken at least once */
    _Atomic uint64_t laneless_call_ns;                    /* device_call_ns of threads without a lane */
    _Atomic uint64_t event_count;                         /* events ever written; row = (n - 1) % MT_EVENT_MAX */
    _Atomic uint64_t device_heaps[MT_HEAP_MAX / 64];      /* bits: rows of heaps that are MT_HEAP_DEVICE_HEAP */
    struct mt_pools pools;
    struct mt_objects objects;
    struct mt_frames frames; /* its head, and what only programs with frames touch */
    struct mt_heap heaps[MT_HEAP_MAX];
    _Atomic uint64_t object_chunks[MT_OBJECT_CHUNKS]; /* offset of the chunk; 0 = none; release */
    struct mt_attribution attribution;
    /* the large tables, taken from the system as they are touched */
    _Alignas(4096) struct mt_event events[MT_EVENT_MAX];
    _Alignas(4096) struct mt_ended_threads ended_threads[MT_THREAD_MAX];
    _Alignas(4096) struct mt_histogram histograms[MT_HISTOGRAM_MAX];
    _Alignas(4096) struct mt_shard shards[MT_SHARD_MAX];
    _Alignas(4096) struct mt_lane lanes[MT_LANE_MAX];
    _Alignas(4096) struct mt_origins origins;
    _Alignas(4096) struct mt_group groups[MT_GROUP_MAX][MT_GROUP_KINDS]; /* by id, then by kind */
};

_Static_assert(offsetof(struct mt_segment, process.pid) % 4096 == 0, "a page begins");
_Static_assert(offsetof(struct mt_segment, frames.ring) - offsetof(struct mt_segment, process.pid) <= 4096,
               "one page");

/* A histogram's bucket: exact to 16, then 16 buckets per doubling. */
static inline unsigned mt_histogram_bucket(uint64_t value)
{
    if (value < 16) return (unsigned)value;
    unsigned exponent = 63u - (unsigned)__builtin_clzll(value);
    return (exponent - 3u) * 16u + (unsigned)((value >> (exponent - 4u)) & 15u);
}

/* The lowest value that lies in a bucket. */
static inline uint64_t mt_histogram_bucket_low(unsigned bucket)
{
    if (bucket < 16) return bucket;
    unsigned exponent = bucket / 16u + 3u;
    return (UINT64_C(1) << exponent) | ((uint64_t)(bucket % 16u) << (exponent - 4u));
}

/*
 * The size class of a block: class 0 holds 1 to 16 bytes, then steps of 16
 * bytes to 128, then 8 classes per doubling (steps of at most 12.5 %).
 */
static inline unsigned mt_class_of(uint64_t bytes)
{
    uint64_t last = bytes - (bytes != 0);
    unsigned exponent = 63u ^ (unsigned)__builtin_clzll(last | 128); /* no branch: sizes are not predictable */
    unsigned index = (exponent - 7u) * 8u + (unsigned)(last >> (exponent - 3u));
    return index < MT_CLASS_COUNT ? index : MT_CLASS_COUNT - 1u;
}

/* The same for the size of a block that exists: at least 1 and less than 2^48. */
static inline unsigned mt_class_of_block(uint64_t bytes)
{
    uint64_t last = bytes - 1;
    unsigned exponent = 63u ^ (unsigned)__builtin_clzll(last | 128);
    return (exponent - 7u) * 8u + (unsigned)(last >> (exponent - 3u));
}

/* The largest size that lies in a class; UINT64_MAX for the last one. */
static inline uint64_t mt_class_bytes(unsigned index)
{
    if (index < 8) return (uint64_t)(index + 1u) * 16u;
    if (index >= MT_CLASS_COUNT - 1u) return UINT64_MAX;
    unsigned exponent = (index - 8u) / 8u + 7u;
    return (UINT64_C(1) << exponent) + (((uint64_t)((index - 8u) % 8u) + 1u) << (exponent - 3u));
}

#endif
