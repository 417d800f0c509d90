/*
 * The tables of instances and devices, keyed by dispatch key. Looked up by
 * every hook without a lock; changed when an instance or device comes or
 * goes, by compare-and-swap. A found entry stays valid for the call because
 * the program may not destroy what it is using.
 */
#include "layer.h"

/* Live at one time in one process; beyond it vkCreateInstance and vkCreateDevice fail. */
enum { TABLE_SLOTS = 16384 };

struct table {
    _Atomic uint32_t limit; /* slots below this have been used */
    void *_Atomic keys[TABLE_SLOTS];
    void *_Atomic values[TABLE_SLOTS];
};

static struct table instances, devices;
static char taken; /* its address marks a slot that is being filled */

static void *table_find(struct table *table, void *key)
{
    uint32_t limit = atomic_load_explicit(&table->limit, memory_order_relaxed);
    for (uint32_t i = 0; i < limit; i++) {
        /* Acquire: pairs with the release in table_add(), so that the value is seen. */
        if (atomic_load_explicit(&table->keys[i], memory_order_acquire) == key)
            return atomic_load_explicit(&table->values[i], memory_order_relaxed);
    }
    return NULL;
}

static void raise_limit(struct table *table, uint32_t limit)
{
    uint32_t seen = atomic_load_explicit(&table->limit, memory_order_relaxed);
    while (seen < limit && !atomic_compare_exchange_weak_explicit(&table->limit, &seen, limit, memory_order_release,
                                                                  memory_order_relaxed)) {
    }
}

/* Takes an entry out; any value when value is NULL. */
static void table_remove(struct table *table, void *key, void *value)
{
    uint32_t limit = atomic_load_explicit(&table->limit, memory_order_relaxed);
    for (uint32_t i = 0; i < limit; i++) {
        if (atomic_load_explicit(&table->keys[i], memory_order_acquire) != key) continue;
        if (value && atomic_load_explicit(&table->values[i], memory_order_relaxed) != value) continue;
        atomic_store_explicit(&table->keys[i], NULL, memory_order_release);
        return;
    }
}

static bool table_add(struct table *table, void *key, void *value)
{
    table_remove(table, key, NULL); /* left by a device that went with its instance */
    for (uint32_t i = 0; i < TABLE_SLOTS; i++) {
        void *unused = NULL;
        if (!atomic_compare_exchange_strong_explicit(&table->keys[i], &unused, &taken, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        atomic_store_explicit(&table->values[i], value, memory_order_relaxed);
        atomic_store_explicit(&table->keys[i], key, memory_order_release); /* pairs with table_find() */
        raise_limit(table, i + 1);
        return true;
    }
    return false;
}

struct mt_instance *mt_instance_find(const void *handle)
{
    return handle ? table_find(&instances, mt_dispatch_key(handle)) : NULL;
}

struct mt_device *mt_device_find(const void *handle)
{
    return handle ? table_find(&devices, mt_dispatch_key(handle)) : NULL;
}

bool mt_instance_register(struct mt_instance *instance)
{
    return table_add(&instances, instance->key, instance);
}

bool mt_device_register(struct mt_device *device)
{
    return table_add(&devices, device->key, device);
}

void mt_instance_unregister(struct mt_instance *instance)
{
    table_remove(&instances, instance->key, instance);
}

void mt_device_unregister(struct mt_device *device)
{
    table_remove(&devices, device->key, device);
}

void mt_device_visit(void (*visit)(struct mt_device *device, void *context), void *context)
{
    uint32_t limit = atomic_load_explicit(&devices.limit, memory_order_acquire);
    for (uint32_t i = 0; i < limit; i++) {
        void *key = atomic_load_explicit(&devices.keys[i], memory_order_acquire);
        if (key && key != &taken) visit(atomic_load_explicit(&devices.values[i], memory_order_relaxed), context);
    }
}
