/*
 * Sparse binds: which range of a buffer or image lies where, after binds that
 * follow, cut, replace and undo each other; against a plain map of pages too.
 */
#include "layer_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 65536, BLOCK = 256, GRID_X = 5, GRID_Y = 4 };
#define RANGES view_count(segment, MT_VK_SPARSE_RANGE)

static VkBuffer create_sparse_buffer(uint64_t bytes)
{
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .flags = VK_BUFFER_CREATE_SPARSE_BINDING_BIT, .size = bytes};
    VkBuffer buffer = VK_NULL_HANDLE;
    ck_assert_int_eq(DEVICE_COMMAND(device, CreateBuffer)(device, &info, NULL, &buffer), VK_SUCCESS);
    return buffer;
}

static void submit(const VkBindSparseInfo *info)
{
    ck_assert_int_eq(DEVICE_COMMAND(device, QueueBindSparse)(fake_queue(device), 1, info, VK_NULL_HANDLE),
                     VK_SUCCESS);
}

/* In pages. */
static void bind(VkBuffer buffer, uint64_t first, uint64_t count, VkDeviceMemory memory, uint64_t at)
{
    VkSparseMemoryBind one = {first * PAGE, count * PAGE, memory, at * PAGE, 0};
    VkSparseBufferMemoryBindInfo buffers = {buffer, 1, &one};
    submit(&(VkBindSparseInfo){
        .sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .bufferBindCount = 1, .pBufferBinds = &buffers});
}

static void bind_blocks(VkImage image, VkSparseImageMemoryBind one)
{
    VkSparseImageMemoryBindInfo images = {image, 1, &one};
    one.subresource.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT;
    submit(&(VkBindSparseInfo){
        .sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .imageBindCount = 1, .pImageBinds = &images});
}

/* The range of a resource that begins at `start`; NULL when there is none. */
static const struct mt_object *range_at(uint64_t resource, uint64_t start)
{
    const struct mt_object *record;
    for (unsigned n = 0; (record = view_nth(segment, MT_VK_SPARSE_RANGE, n)); n++)
        if (record->handle == resource && record->attr[MT_VK_SPARSE_START] == start) return record;
    return NULL;
}

static void expect_range(uint64_t resource, uint64_t start, uint64_t bytes, VkDeviceMemory memory, uint64_t offset)
{
    const struct mt_object *range = range_at(resource, start);
    ck_assert_msg(range != NULL, "no range at %#lx", (unsigned long)start);
    ck_assert_uint_eq(range->size_bytes, bytes);
    ck_assert_uint_eq(range->offset, offset);
    ck_assert_ptr_eq(view_at(segment, range->link), RECORD(MT_VK_MEMORY, memory));
    ck_assert_uint_eq(range->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_BOUND, MT_VK_RESOURCE_BOUND);
}

static void expect_page_range(VkBuffer buffer, uint64_t first, uint64_t count, VkDeviceMemory memory, uint64_t at)
{
    expect_range((uint64_t)buffer, first * PAGE, count * PAGE, memory, at * PAGE);
}

START_TEST(ranges_join_and_are_cut)
{
    VkDeviceMemory a = allocate(16 * PAGE, 0), b = allocate(16 * PAGE, 0);
    VkBuffer buffer = create_sparse_buffer(64 * PAGE);
    bind(buffer, 0, 4, a, 0);
    bind(buffer, 4, 4, a, 4); /* follows in both */
    ck_assert_uint_eq(RANGES, 1);
    expect_page_range(buffer, 0, 8, a, 0);
    bind(buffer, 3, 2, b, 7); /* out of the middle */
    ck_assert_uint_eq(RANGES, 3);
    expect_page_range(buffer, 0, 3, a, 0);
    expect_page_range(buffer, 3, 2, b, 7);
    expect_page_range(buffer, 5, 3, a, 5);
    bind(buffer, 2, 2, VK_NULL_HANDLE, 0); /* the end of one, the start of the next */
    expect_page_range(buffer, 0, 2, a, 0);
    expect_page_range(buffer, 4, 1, b, 8);
    bind(buffer, 0, 64, VK_NULL_HANDLE, 0);
    ck_assert_uint_eq(RANGES, 0);
    bind(buffer, 9, 1, a, 9);
    bind(buffer, 8, 1, a, 8); /* in front of it, in both */
    ck_assert_uint_eq(RANGES, 1);
    expect_page_range(buffer, 8, 2, a, 8);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, a)->attr[MT_VK_MEMORY_BOUND], 1);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, b)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, a)->attr[MT_VK_MEMORY_FLAGS], MT_VK_MEMORY_IS_SPARSE);
    ck_assert_uint_eq(RECORD(MT_VK_BUFFER, buffer)->attr[MT_VK_RESOURCE_FLAGS], MT_VK_RESOURCE_SPARSE);
    destroy_buffer(buffer);
    ck_assert_uint_eq(RANGES, 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, a)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

START_TEST(one_memory_under_two_places)
{
    VkDeviceMemory memory = allocate(16 * PAGE, 0);
    VkBuffer one = create_sparse_buffer(64 * PAGE), two = create_sparse_buffer(64 * PAGE);
    bind(one, 0, 4, memory, 0);
    bind(one, 4, 4, memory, 0);
    bind(two, 0, 4, memory, 2);
    ck_assert_uint_eq(RANGES, 3);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_BOUND], 3);
    destroy_buffer(one);
    ck_assert_uint_eq(RANGES, 1);
    expect_page_range(two, 0, 4, memory, 2);
}
END_TEST

START_TEST(memory_that_is_freed_first)
{
    VkDeviceMemory memory = allocate(16 * PAGE, 0), other = allocate(16 * PAGE, 0);
    VkBuffer buffer = create_sparse_buffer(64 * PAGE);
    bind(buffer, 0, 4, memory, 0);
    bind(buffer, 4, 4, other, 0);
    free_memory(memory);
    const struct mt_object *range = range_at((uint64_t)buffer, 0);
    ck_assert_ptr_nonnull(range);
    ck_assert_uint_eq(range->link, 0);
    ck_assert_uint_ne(range->attr[MT_VK_RESOURCE_FLAGS] & MT_VK_RESOURCE_MEMORY_FREED, 0);
    bind(buffer, 1, 1, other, 10); /* what is left of the freed one stays so */
    expect_page_range(buffer, 1, 1, other, 10);
    expect_page_range(buffer, 4, 4, other, 0);
    bind(buffer, 0, 8, other, 0);
    ck_assert_uint_eq(RANGES, 1);
    destroy_buffer(buffer);
    ck_assert_uint_eq(RANGES, 0);
}
END_TEST

static uint64_t block_start(uint64_t level, uint64_t layer, uint64_t block)
{
    return MT_VK_SPARSE_BLOCKS | layer << MT_VK_SPARSE_LAYER_SHIFT | level << MT_VK_SPARSE_LEVEL_SHIFT |
           block * BLOCK;
}

START_TEST(blocks_of_an_image)
{
    VkDeviceMemory memory = allocate(1 << 20, 0);
    VkImage image = create_image(NULL, VK_IMAGE_CREATE_SPARSE_BINDING_BIT | VK_IMAGE_CREATE_SPARSE_RESIDENCY_BIT);
    uint64_t handle = (uint64_t)image;
    VkMemoryRequirements required;
    DEVICE_COMMAND(device, GetImageMemoryRequirements)(device, image, &required);
    /* 640 x 480: five blocks in a row, four rows, the last one not full. */
    bind_blocks(image, (VkSparseImageMemoryBind){{0, 1, 2}, {128, 128, 0}, {256, 256, 1}, memory, 4096, 0});
    ck_assert_uint_eq(RANGES, 0); /* level 1 is 320 x 240: not that wide */
    bind_blocks(image, (VkSparseImageMemoryBind){{0, 0, 2}, {128, 128, 0}, {256, 256, 1}, memory, 4096, 0});
    ck_assert_uint_eq(RANGES, 2);
    expect_range(handle, block_start(0, 2, GRID_X + 1), 2 * BLOCK, memory, 4096);
    expect_range(handle, block_start(0, 2, 2 * GRID_X + 1), 2 * BLOCK, memory, 4096 + 2 * BLOCK);
    ck_assert_uint_eq(range_at(handle, block_start(0, 2, GRID_X + 1))->attr[MT_VK_SPARSE_BLOCK_BYTES], BLOCK);
    ck_assert_uint_eq(range_at(handle, block_start(0, 2, GRID_X + 1))->attr[MT_VK_SPARSE_ASPECT], 1);
    bind_blocks(image, (VkSparseImageMemoryBind){{0, 0, 2}, {0, 0, 0}, {640, 480, 1}, memory, 8192, 0});
    ck_assert_uint_eq(RANGES, 1); /* the whole level */
    expect_range(handle, block_start(0, 2, 0), GRID_X * GRID_Y * BLOCK, memory, 8192);
    bind_blocks(image, (VkSparseImageMemoryBind){{0, 0, 3}, {0, 0, 0}, {640, 480, 1}, memory, 8192, 0});
    bind_blocks(image, (VkSparseImageMemoryBind){{0, 1, 3}, {0, 0, 0}, {320, 240, 1}, memory, 65536, 0});
    ck_assert_uint_eq(RANGES, 3);
    expect_range(handle, block_start(1, 3, 0), 3 * 2 * BLOCK, memory, 65536);
    bind_blocks(image, (VkSparseImageMemoryBind){{0, 0, 2}, {512, 384, 0}, {128, 96, 1}, VK_NULL_HANDLE, 0, 0});
    expect_range(handle, block_start(0, 2, 0), (GRID_X * GRID_Y - 1) * BLOCK, memory, 8192); /* all but the last */
    ck_assert_uint_ne(RECORD(MT_VK_MEMORY, memory)->attr[MT_VK_MEMORY_FLAGS] & MT_VK_MEMORY_SPARSE_UNKNOWN, 0);
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
    ck_assert_uint_eq(RANGES, 0);
}
END_TEST

START_TEST(the_tail_and_the_metadata_of_an_image)
{
    VkDeviceMemory memory = allocate(1 << 20, 0);
    VkImage image = create_image(NULL, VK_IMAGE_CREATE_SPARSE_BINDING_BIT | VK_IMAGE_CREATE_SPARSE_RESIDENCY_BIT);
    VkSparseMemoryBind binds[2] = {{65536, 4096, memory, 0, 0},
                                   {65536, 4096, memory, 8192, VK_SPARSE_MEMORY_BIND_METADATA_BIT}};
    VkSparseImageOpaqueMemoryBindInfo opaque = {image, 2, binds};
    VkDeviceGroupBindSparseInfo group = {VK_STRUCTURE_TYPE_DEVICE_GROUP_BIND_SPARSE_INFO, NULL, 1, 0};
    VkBindSparseInfo info = {
        .sType = VK_STRUCTURE_TYPE_BIND_SPARSE_INFO, .imageOpaqueBindCount = 1, .pImageOpaqueBinds = &opaque};
    submit(&info);
    ck_assert_uint_eq(RANGES, 2);
    expect_range((uint64_t)image, 65536, 4096, memory, 0);
    expect_range((uint64_t)image, 65536 | MT_VK_SPARSE_METADATA, 4096, memory, 8192);
    info.pNext = &group; /* on the other device of a group it is another place */
    submit(&info);
    ck_assert_uint_eq(RANGES, 4);
    expect_range((uint64_t)image, 65536 | UINT64_C(1) << MT_VK_SPARSE_DEVICE_SHIFT, 4096, memory, 0);
    DEVICE_COMMAND(device, DestroyImage)(device, image, NULL);
    ck_assert_uint_eq(RANGES, 0);
}
END_TEST

/* ---- against a plain map of pages ------------------------------------------------------------ */

enum { BUFFERS = 3, PAGES = 48, MEMORIES = 4, STEPS = 6000 };

struct page {
    unsigned memory; /* 0: none, else number + 1; FREED: it had one that is gone */
    uint64_t at;
};
enum { FREED = 99 };

static struct {
    VkBuffer buffers[BUFFERS];
    VkDeviceMemory memories[MEMORIES];
    struct page pages[BUFFERS][PAGES];
} model;

static void model_bind(unsigned buffer, unsigned first, unsigned count, unsigned memory, uint64_t at)
{
    bind(model.buffers[buffer], first, count, memory ? model.memories[memory - 1] : VK_NULL_HANDLE, at);
    for (unsigned i = 0; i < count; i++) model.pages[buffer][first + i] = (struct page){memory, at + i};
}

static void model_free(unsigned memory)
{
    free_memory(model.memories[memory]);
    model.memories[memory] = allocate(PAGES * PAGE, 0);
    for (unsigned b = 0; b < BUFFERS; b++)
        for (unsigned p = 0; p < PAGES; p++)
            if (model.pages[b][p].memory == memory + 1) model.pages[b][p].memory = FREED;
}

static unsigned buffer_of(uint64_t handle)
{
    for (unsigned b = 0; b < BUFFERS; b++)
        if ((uint64_t)model.buffers[b] == handle) return b;
    ck_abort_msg("a range of no buffer");
    return 0;
}

/* Takes the pages of all ranges off the model's; all that is left must be unbound. */
static void compare(void)
{
    struct page left[BUFFERS][PAGES];
    const struct mt_object *range;
    memcpy(left, model.pages, sizeof left);
    for (unsigned n = 0; (range = view_nth(segment, MT_VK_SPARSE_RANGE, n)); n++) {
        unsigned b = buffer_of(range->handle), first = (unsigned)(range->attr[MT_VK_SPARSE_START] / PAGE);
        for (unsigned p = first; p < first + range->size_bytes / PAGE; p++) {
            struct page *page = &left[b][p];
            if (!range->link) { /* freed, or the remains of it */
                ck_assert_uint_eq(page->memory, FREED);
            } else {
                ck_assert_uint_ge(page->memory, 1);
                ck_assert_uint_le(page->memory, MEMORIES);
                ck_assert_ptr_eq(view_at(segment, range->link),
                                 RECORD(MT_VK_MEMORY, model.memories[page->memory - 1]));
                ck_assert_uint_eq(range->offset / PAGE + (p - first), page->at);
            }
            page->memory = 0;
        }
    }
    for (unsigned b = 0; b < BUFFERS; b++)
        for (unsigned p = 0; p < PAGES; p++) ck_assert(left[b][p].memory == 0 || left[b][p].memory == FREED);
}

static void step(void)
{
    unsigned buffer = (unsigned)rand() % BUFFERS, first = (unsigned)rand() % PAGES;
    unsigned count = 1 + (unsigned)rand() % (PAGES - first), memory = (unsigned)rand() % (MEMORIES + 1);
    if (rand() % 3) count = 1 + count % 4; /* short ones, beside each other */
    if (count > PAGES - first) count = PAGES - first;
    switch (rand() % 40) {
    case 0: model_free((unsigned)rand() % MEMORIES); break;
    case 1:
        destroy_buffer(model.buffers[buffer]);
        memset(model.pages[buffer], 0, sizeof model.pages[buffer]);
        model.buffers[buffer] = create_sparse_buffer(PAGES * PAGE);
        break;
    default: model_bind(buffer, first, count, memory, rand() % 2 ? first : (unsigned)rand() % (PAGES - count + 1));
    }
}

START_TEST(random_binds_against_a_map_of_pages)
{
    srand(7);
    for (unsigned i = 0; i < MEMORIES; i++) model.memories[i] = allocate(PAGES * PAGE, 0);
    for (unsigned i = 0; i < BUFFERS; i++) model.buffers[i] = create_sparse_buffer(PAGES * PAGE);
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        if (i % 8 == 0) compare();
    }
    for (unsigned i = 0; i < BUFFERS; i++) destroy_buffer(model.buffers[i]);
    ck_assert_uint_eq(RANGES, 0);
    for (unsigned i = 0; i < MEMORIES; i++)
        ck_assert_uint_eq(RECORD(MT_VK_MEMORY, model.memories[i])->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

/* ---- threads ----------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 3000 };

static VkDeviceMemory lasting; /* bound by all */

/* Binds its own buffer to memory of its own, which it frees now and then, and to what all have. */
static void *bind_and_free(void *seed)
{
    unsigned random = (unsigned)(uintptr_t)seed;
    VkBuffer buffer = create_sparse_buffer(PAGES * PAGE);
    VkDeviceMemory own = allocate(PAGES * PAGE, 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        random = random * 1664525 + 1013904223;
        unsigned first = random >> 8 & 31, count = 1 + (random >> 16 & 15), what = random >> 24 & 7;
        bind(buffer, first, count, what == 0 ? VK_NULL_HANDLE : what < 4 ? lasting : own, first);
        if (what != 7) continue;
        free_memory(own);
        own = allocate(PAGES * PAGE, 0);
    }
    destroy_buffer(buffer);
    free_memory(own);
    return NULL;
}

START_TEST(threads_bind_and_free)
{
    pthread_t threads[THREADS];
    lasting = allocate(PAGES * PAGE, 0);
    for (uintptr_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, bind_and_free, (void *)(i + 1));
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    ck_assert_uint_eq(RANGES, 0);
    ck_assert_uint_eq(RECORD(MT_VK_MEMORY, lasting)->attr[MT_VK_MEMORY_BOUND], 0);
    ck_assert_uint_eq(DEVICE_FLAG(MT_VK_DEVICE_UNKNOWN_FREES), 0);
}
END_TEST

START_TEST(cycles_of_sparse_resources_do_not_grow)
{
    VkDeviceMemory memory = allocate(16 * PAGE, 0);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < 2000; i++) {
        VkBuffer buffer = create_sparse_buffer(1024 * PAGE);
        for (unsigned p = 0; p < 300; p += 2) bind(buffer, p, 1, memory, p % 16);
        destroy_buffer(buffer);
        if (i == 20) bytes = segment->globals.private_bytes;
    }
    ck_assert_uint_eq(segment->globals.private_bytes, bytes);
    ck_assert_uint_eq(RANGES, 0);
}
END_TEST

START_TEST(a_device_ends_with_ranges_alive)
{
    VkDeviceMemory memory = allocate(16 * PAGE, 0);
    uint64_t bytes = segment->globals.layer_bytes;
    VkBuffer buffer = create_sparse_buffer(64 * PAGE);
    bind(buffer, 0, 4, memory, 0);
    DEVICE_COMMAND(device, DestroyDevice)(device, NULL);
    ck_assert_uint_eq(RANGES, 1); /* with the buffer that leaks */
    ck_assert_uint_lt(segment->globals.layer_bytes, bytes);
}
END_TEST

void add_sparse_tests(Suite *suite)
{
    static const TTest *tests[10];
    size_t count = 0;
    tests[count++] = ranges_join_and_are_cut;
    tests[count++] = one_memory_under_two_places;
    tests[count++] = memory_that_is_freed_first;
    tests[count++] = blocks_of_an_image;
    tests[count++] = the_tail_and_the_metadata_of_an_image;
    tests[count++] = random_binds_against_a_map_of_pages;
    tests[count++] = threads_bind_and_free;
    tests[count++] = cycles_of_sparse_resources_do_not_grow;
    tests[count++] = a_device_ends_with_ranges_alive;
    add_tests(suite, "sparse", start_device, tests, count);
}
