/*
 * Random sequences of create, allocate, bind, map, write, flush, free and
 * destroy against a model, from one thread and from several: what is mapped
 * holds what was written, fresh memory is clear, counts agree, and the driver
 * sees no breach. MEMTRACK_TEST_SEED and MEMTRACK_TEST_STEPS choose others.
 */
#include "pool_support.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 300, STEPS = 20000, THREADS = 8 };

/* One allocation as the model has it. */
struct item {
    VkDeviceMemory memory;
    VkBuffer buffer;
    uint64_t bytes;
    unsigned char *data; /* mapped */
    unsigned char mark;
};

struct player {
    uint64_t random;
    struct item items[SLOTS];
    uint64_t live_count, live_bytes[2];
    unsigned char next_mark;
    const char *problem;
};

static uint64_t roll(struct player *player, uint64_t sides)
{
    player->random ^= player->random << 13;
    player->random ^= player->random >> 7;
    player->random ^= player->random << 17;
    return (player->random >> 11) % sides;
}

static uint64_t random_bytes(struct player *player)
{
    static const uint64_t most[] = {512, 65536, 300000, 4000000, 20000000};
    return 1 + roll(player, most[roll(player, 64) ? roll(player, 3) : 3 + roll(player, 2)]);
}

/* Only the ends of large ranges are looked at. */
static void fill(struct item *item)
{
    uint64_t part = item->bytes < 4096 ? item->bytes : 4096;
    memset(item->data, item->mark, part);
    memset(item->data + item->bytes - part, item->mark, part);
}

static bool holds(const struct item *item, unsigned char value)
{
    uint64_t part = item->bytes < 4096 ? item->bytes : 4096;
    for (uint64_t i = 0; i < part; i++)
        if (item->data[i] != value || item->data[item->bytes - 1 - i] != value) return false;
    return true;
}

static void put_in_use(struct player *player, struct item *item)
{
    void *data = NULL;
    if (vkMapMemory(device, item->memory, 0, VK_WHOLE_SIZE, 0, &data) != VK_SUCCESS)
        player->problem = "cannot be mapped";
    item->data = data;
    if (data && !holds(item, 0)) player->problem = "new memory is not clear";
    item->mark = ++player->next_mark | 1;
    if (data) fill(item);
}

static void bind_buffer(struct player *player, struct item *item)
{
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = item->bytes / 2 + 1};
    VkMemoryRequirements required;
    if (vkCreateBuffer(device, &info, NULL, &item->buffer) != VK_SUCCESS) player->problem = "no buffer";
    vkGetBufferMemoryRequirements(device, item->buffer, &required);
    uint64_t room = item->bytes >= required.size ? (item->bytes - required.size) / required.alignment : 0;
    if (item->bytes < required.size) return;
    if (vkBindBufferMemory(device, item->buffer, item->memory, roll(player, room + 1) * required.alignment) !=
        VK_SUCCESS)
        player->problem = "cannot be bound";
}

static void make(struct player *player, struct item *item)
{
    bool is_staging = roll(player, 2);
    item->bytes = random_bytes(player);
    if (try_allocate(item->bytes, is_staging ? STAGING_TYPE : DEVICE_TYPE, NULL, &item->memory) != VK_SUCCESS) {
        item->memory = VK_NULL_HANDLE;
        return;
    }
    player->live_count++;
    player->live_bytes[is_staging] += item->bytes;
    if (is_staging) put_in_use(player, item);
    if (roll(player, 2)) bind_buffer(player, item);
}

static void drop(struct player *player, struct item *item)
{
    if (item->data && !holds(item, item->mark)) player->problem = "another slice wrote here";
    player->live_count--;
    player->live_bytes[item->data != NULL] -= item->bytes;
    bool is_memory_first = roll(player, 2);
    if (is_memory_first) free_memory(item->memory);
    vkDestroyBuffer(device, item->buffer, NULL);
    if (!is_memory_first) free_memory(item->memory);
    memset(item, 0, sizeof *item);
}

static void flush(struct player *player, const struct item *item)
{
    VkMappedMemoryRange range = {VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE, NULL, item->memory, 0, VK_WHOLE_SIZE};
    if (item->data && vkFlushMappedMemoryRanges(device, 1, &range) != VK_SUCCESS)
        player->problem = "cannot be flushed";
}

static unsigned steps(void)
{
    const char *text = getenv("MEMTRACK_TEST_STEPS");
    return text ? (unsigned)atoi(text) : STEPS;
}

static void *play(void *argument)
{
    struct player *player = argument;
    unsigned count = steps();
    for (unsigned i = 0; i < count && !player->problem; i++) {
        struct item *item = &player->items[roll(player, SLOTS)];
        if (!item->memory)
            make(player, item);
        else if (roll(player, 8))
            drop(player, item);
        else
            flush(player, item);
    }
    return NULL;
}

static void finish(struct player *player)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (player->items[i].memory) drop(player, &player->items[i]);
    ck_assert_msg(!player->problem, "%s", player->problem);
}

static struct player *new_player(unsigned number)
{
    const char *seed = getenv("MEMTRACK_TEST_SEED");
    struct player *player = calloc(1, sizeof *player);
    player->random = (seed ? strtoull(seed, NULL, 10) : 1) * UINT64_C(0x9e3779b97f4a7c15) + number;
    return player;
}

static const struct {
    const char *driver, *options;
} setups[] = {
    {"", "MEMTRACK_VULKAN_POOL=verify"},
    {"", "MEMTRACK_VULKAN_POOL=arena"},
    {"", "MEMTRACK_VULKAN_POOL=tlsf MEMTRACK_VULKAN_POOL_REST=0"},
    {"", "MEMTRACK_VULKAN_POOL=arena MEMTRACK_VULKAN_POOL_REST=0"},
    {"granularity=131072;buffer_alignment=65536;atom=256", "MEMTRACK_VULKAN_POOL=verify"},
    {"heaps=512M:local,512M", "MEMTRACK_VULKAN_POOL=verify"},
    {"fail_larger=3000000", "MEMTRACK_VULKAN_POOL=verify"},
    {"fail_allocate=1+2+3+9+11+13+15+20+21+22+30+31", "MEMTRACK_VULKAN_POOL=verify MEMTRACK_VULKAN_POOL_REST=1"},
    {"", "MEMTRACK_VULKAN_POOL=verify MEMTRACK_VULKAN_FAIL=rate:0.05"},
    {"", "MEMTRACK_VULKAN_POOL=off"},
};

START_TEST(one_thread)
{
    start_device(setups[_i].driver, setups[_i].options);
    struct player *player = new_player(0);
    play(player);
    ck_assert_int_eq(heap_row(0)->current_bytes, (int64_t)player->live_bytes[0]);
    ck_assert_int_eq(heap_row(1)->current_bytes, (int64_t)player->live_bytes[1]);
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), player->live_count);
    finish(player);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_LIVE), 0);
    ck_assert_uint_eq(driver->live_resource_count, 0);
    end_device();
}
END_TEST

START_TEST(many_threads)
{
    pthread_t threads[THREADS];
    struct player *players[THREADS];
    start_device(setups[_i].driver, setups[_i].options);
    for (unsigned i = 0; i < THREADS; i++) {
        players[i] = new_player(i + 1);
        pthread_create(&threads[i], NULL, play, players[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    uint64_t live = 0;
    for (unsigned i = 0; i < THREADS; i++) live += players[i]->live_count;
    ck_assert_uint_eq(view_count(segment, MT_VK_MEMORY), live);
    for (unsigned i = 0; i < THREADS; i++) finish(players[i]);
    ck_assert_int_eq(heap_row(0)->current_bytes, 0);
    ck_assert_uint_eq(pool_sum(MT_VK_POOL_LIVE), 0);
    end_device();
}
END_TEST

Suite *sequences_suite(void)
{
    Suite *suite = suite_create("sequences");
    TCase *cases = tcase_create("sequences");
    tcase_set_timeout(cases, 120);
    tcase_add_loop_test(cases, one_thread, 0, sizeof setups / sizeof *setups);
    tcase_add_loop_test(cases, many_threads, 0, sizeof setups / sizeof *setups);
    suite_add_tcase(suite, cases);
    return suite;
}
