/*
 * Remembers attachments that were destroyed while their memory stayed, so that
 * the report can tell which of them never existed together. A ring per device
 * row, written under its own lock, only where an attachment is destroyed: rare
 * enough for both. Any thread; no lock is held on entry.
 */
#include "layer.h"

enum { ATTACHMENTS = 0x10 | 0x20 | 0x40 | 0x80 }; /* colour, depth, transient, input */

/* What is needed of the memory, copied under its lock. */
struct memory_facts {
    uint64_t handle, create_ns, flags, type;
};

static bool look_at_memory(struct mt_device *device, struct mt_node *image, struct memory_facts *facts)
{
    /* Acquire: pairs with the release in take_off_list(), as in mt_resource_unlink(). */
    struct mt_node *memory = atomic_load_explicit(&image->memory, memory_order_acquire);
    if (!memory) return false;
    struct mt_lock *lock = mt_handles_lock(&device->memories, memory);
    mt_lock_enter(lock);
    bool is_bound = atomic_load_explicit(&image->memory, memory_order_relaxed) == memory;
    const struct mt_object *record = is_bound ? mt_node_object(device, memory) : NULL;
    if (record)
        *facts = (struct memory_facts){record->handle, record->create_ns, record->attr[MT_VK_MEMORY_FLAGS],
                                       record->attr[MT_VK_MEMORY_TYPE]};
    mt_lock_leave(lock);
    return record != NULL;
}

/* The caller holds the ring's lock. The record of the next row, open for writing. */
static struct mt_object *open_row(struct mt_device *device, struct mt_past_images *past)
{
    struct mt_object *row;
    if (past->count < MT_VK_PAST_MAX) {
        row = mt_object_new(device->core, MT_VK_PAST_IMAGE, &past->objects[past->count]);
        if (row) past->count++;
        return row;
    }
    row = mt_object_at(device->core, past->objects[past->next]);
    past->next = (past->next + 1) % MT_VK_PAST_MAX;
    if (row) mt_object_begin(row);
    return row;
}

static void write_row(struct mt_device *device, const struct mt_object *image, const struct memory_facts *memory)
{
    struct mt_past_images *past = &device->stats->past;
    mt_lock_enter(&past->lock);
    struct mt_object *row = open_row(device, past);
    if (row) {
        row->owner = device->stats->object;
        row->link = image->link;
        row->handle = memory->handle;
        row->offset = image->offset;
        row->size_bytes = image->attr[MT_VK_RESOURCE_REQUIRED_BYTES];
        row->create_frame = image->create_frame;
        row->attr[MT_VK_RESOURCE_USAGE] = image->attr[MT_VK_RESOURCE_USAGE];
        row->attr[MT_VK_RESOURCE_ALIGNMENT] = image->attr[MT_VK_RESOURCE_ALIGNMENT];
        row->attr[MT_VK_IMAGE_EXTENT] = image->attr[MT_VK_IMAGE_EXTENT];
        row->attr[MT_VK_IMAGE_FORMAT] = image->attr[MT_VK_IMAGE_FORMAT];
        row->attr[MT_VK_PAST_LAST_FRAME] = mt_frame_now(device->core);
        row->attr[MT_VK_PAST_MEMORY_FLAGS] = memory->flags;
        row->attr[MT_VK_PAST_MEMORY_TYPE] = memory->type;
        row->attr[MT_VK_PAST_MEMORY_NS] = memory->create_ns;
        row->attr[MT_VK_PAST_END_NS] = mt_now_coarse_ns();
        row->create_ns = image->create_ns;
        mt_object_end(row);
    }
    mt_lock_leave(&past->lock);
}

void mt_past_note(struct mt_device *device, struct mt_node *image)
{
    struct memory_facts memory;
    const struct mt_object *record = mt_node_object(device,
                                                    image); /* nobody else writes it: the node is taken out */
    if (!record || !(record->attr[MT_VK_RESOURCE_USAGE] & ATTACHMENTS)) return;
    if (!record->link || !record->attr[MT_VK_RESOURCE_REQUIRED_BYTES]) return;
    if (!look_at_memory(device, image, &memory)) return;
    if (memory.flags & (MT_VK_MEMORY_IS_DEDICATED | MT_VK_MEMORY_IS_IMPORT)) return; /* it goes with the image */
    write_row(device, record, &memory);
}
