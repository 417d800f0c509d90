/*
 * The hook of dlclose (dlclose.c).
 */
#ifndef MT_DLCLOSE_H
#define MT_DLCLOSE_H

/* Finds the next function, from the constructor. */
void mt_dlclose_find_next(void);

#endif
