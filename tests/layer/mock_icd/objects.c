/*
 * The driver's register of objects: a handle names a row, so that one that was
 * never given out, or is gone, is recognised without looking behind it.
 */
#include "mock.h"

#include <pthread.h>
#include <stdlib.h>

enum { ROW_BITS = 12, ROWS = 1 << ROW_BITS, BLOCKS = 4096 };
/* Handles look like small numbers with a mark, not like addresses. */
#define HANDLE_MARK UINT64_C(0x00d1000000000000)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct mock_object *_Atomic blocks[BLOCKS];
static uint32_t used = 1, free_list;

static struct mock_object *row(uint32_t index)
{
    struct mock_object *block = index >> ROW_BITS < BLOCKS ? atomic_load(&blocks[index >> ROW_BITS]) : NULL;
    return block ? &block[index & (ROWS - 1)] : NULL;
}

static uint32_t take_index(void)
{
    uint32_t index = free_list;
    if (index) {
        free_list = row(index)->next_free;
        return index;
    }
    index = used++;
    if (index >> ROW_BITS >= BLOCKS) return 0;
    if (!atomic_load(&blocks[index >> ROW_BITS]))
        atomic_store(&blocks[index >> ROW_BITS], calloc(ROWS, sizeof(struct mock_object)));
    return index;
}

struct mock_object *mock_object_new(enum mock_kind kind, uint64_t *handle)
{
    pthread_mutex_lock(&lock);
    uint32_t index = take_index();
    pthread_mutex_unlock(&lock);
    struct mock_object *object = index ? row(index) : NULL;
    if (!object) return NULL;
    *object = (struct mock_object){.kind = (uint8_t)kind};
    *handle = HANDLE_MARK | (uint64_t)index << 8 | (uint64_t)kind;
    return object;
}

struct mock_object *mock_object_of(enum mock_kind kind, uint64_t handle, const char *who)
{
    if (mock.alias_of && handle == mock.config.alias) handle = mock.alias_of;
    uint64_t index = (handle ^ HANDLE_MARK) >> 8;
    struct mock_object *object = index && index < UINT32_MAX ? row((uint32_t)index) : NULL;
    if (object && object->kind == kind && (handle & 0xff) == (uint64_t)kind) return object;
    mock_breach("%s: 0x%llx is no live object of kind %d", who, (unsigned long long)handle, (int)kind);
    return NULL;
}

void mock_object_free(uint64_t handle)
{
    if (mock.alias_of && handle == mock.config.alias) {
        handle = mock.alias_of;
        mock.alias_of = mock.config.alias = 0;
    }
    uint32_t index = (uint32_t)((handle ^ HANDLE_MARK) >> 8);
    pthread_mutex_lock(&lock);
    row(index)->kind = 0;
    row(index)->next_free = free_list;
    free_list = index;
    pthread_mutex_unlock(&lock);
}
