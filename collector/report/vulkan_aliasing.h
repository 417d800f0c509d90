/*
 * What placing attachments over each other could save, estimated from the
 * frames in which they existed. The layer looks at no commands, so it does not
 * know in which part of a frame an image is really used: two images that exist
 * in the same frame are taken to need their memory at the same time. The
 * estimate is therefore low where a frame's passes could share memory; an upper
 * bound for those stands beside it. Before the first frame is ended, while a
 * game loads, the clock takes the place of frames. One thread per document.
 */
#ifndef MT_VULKAN_ALIASING_H
#define MT_VULKAN_ALIASING_H

#include "vulkan_view.h"

#include <jansson.h>

/* Something that needs memory from one moment (a frame) to another, both included. */
struct mt_lifetime {
    uint64_t bytes, alignment; /* alignment 0 counts as 1 */
    uint64_t first, last;
    uint64_t offset; /* set by mt_lifetimes_pack() */
};

/*
 * Interval packing: the largest first, each at the lowest offset where nothing
 * lies that exists in one of its frames (first fit by decreasing size). Sorts
 * the list, sets each offset, returns the bytes of memory that the whole needs:
 * at least the largest sum of any one frame, at most the sum of all with
 * alignment. Quadratic in count.
 */
uint64_t mt_lifetimes_pack(struct mt_lifetime *list, size_t count);
/* The largest sum of bytes that exist in one frame: no packing can need less. */
uint64_t mt_lifetimes_minimum(const struct mt_lifetime *list, size_t count);

/*
 * The device's part "aliasing": by memory type, the bytes that attachments hold
 * now (live ones, and what destroyed ones left behind in memory that is still
 * allocated), the bytes that the packing needs, and the difference.
 */
json_t *mt_vulkan_aliasing_json(const struct mt_vulkan_view *device);

#endif
