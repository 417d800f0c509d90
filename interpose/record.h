/*
 * Where every block is recorded and the pools serve (MEMTRACK_STACKS=all): the
 * hooks come here instead of to the pools' own fast path when mt_record() says
 * so. Any thread. errno as malloc and free leave it.
 *
 * Each is best called last by a hook, so that the hook's frame is gone and the
 * walk begins next to the program's call.
 */
#ifndef MT_RECORD_H
#define MT_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern _Atomic bool mt_record_is_on __attribute__((visibility("hidden")));

static inline bool mt_record(void)
{
    return __builtin_expect(atomic_load_explicit(&mt_record_is_on, memory_order_relaxed), 0);
}

/* From now on mt_record() says so. */
void mt_record_start(void);

void *mt_record_malloc(size_t bytes, const void *caller) __attribute__((noinline));
/* For the C++ operators, which give the other arguments to mt_cxx_new_failed() when there is no memory. */
void *mt_record_operator(unsigned index, size_t bytes, uintptr_t second, const void *caller)
    __attribute__((noinline));
void *mt_cxx_new_failed(unsigned index, size_t bytes, uintptr_t second, const void *caller)
    __attribute__((noinline, cold));
/* False, with nothing done, when the block is not the pools'. */
bool mt_record_free(void *block) __attribute__((noinline));
/* NULL when there is no memory; the caller counts that. The block is the pools', bytes not 0. */
void *mt_record_reallocate(void *block, size_t bytes) __attribute__((noinline));
/* Records a block without content that the pools have just handed out by another way; returns it. NULL is allowed.
 */
void *mt_record_block(void *block, size_t bytes) __attribute__((noinline));

#endif
