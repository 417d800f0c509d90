/*
 * A program that locks its memory (mlockall). Any thread.
 */
#ifndef MT_LOCKED_H
#define MT_LOCKED_H

/* Looks up the function that the hook goes on to, while the library starts. */
void mt_locked_find_next(void);

#endif
