/*
 * Looks, when the process ends, for blocks that the program can no longer
 * reach (MEMTRACK_LEAKS=reachable, with every block recorded): conservatively,
 * from its writable private mappings and its threads' stacks, through all live
 * blocks; any word that points into a block counts. Done in a copy of the
 * process that the system makes for it, so that no thread changes anything
 * meanwhile; the result goes to the segment.
 */
#ifndef MT_LEAKS_H
#define MT_LEAKS_H

/* On the thread that ends the process, before that is marked. Allocates nothing; preserves errno. */
void mt_leaks_at_exit(void);

#endif
