/*
 * The hooks of setrlimit and prlimit, and programs that meet a limit (rlimit.c).
 */
#ifndef MT_RLIMIT_H
#define MT_RLIMIT_H

#include <stdbool.h>

/* Finds the next functions, from the constructor. */
void mt_rlimit_find_next(void);

/* The system has just refused the program memory: true where the pools have given some back. Keeps errno. */
bool mt_rlimit_make_room(void);

#endif
