/*
 * Which pages of an injected library's file stay in the program's memory.
 */
#ifndef MT_RESIDENT_H
#define MT_RESIDENT_H

/*
 * Before the library starts: what the loader went through leaves, and the start reaches no further than it must.
 * Once; keeps errno.
 */
void mt_resident_begin(void);

/*
 * Gives the pages back that the library's start needed and that its usual work
 * does not: they come back from the file by themselves when they are needed
 * after all. Once, when the library has started; any thread; keeps errno.
 */
void mt_resident_settle(void);

/* The same of the library's unwind tables, when a walk has read a rule of them. Any thread; keeps errno. */
void mt_resident_release_tables(void);

#endif
