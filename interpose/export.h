/*
 * The mark of a function that replaces one of the same name in the program.
 * Each one is listed in libmemtrack.map.
 */
#ifndef MT_EXPORT_H
#define MT_EXPORT_H

#define MT_EXPORT __attribute__((visibility("default")))
#define MT_COLD   __attribute__((cold, noinline))
/* For what a program calls most: begun in the middle of a line of the cache it took up to a tenth longer. */
#define MT_HOT __attribute__((aligned(64)))

/* The return address in the code that called a hook. */
#define MT_CALLER __builtin_return_address(0)

#define MT_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define MT_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif
