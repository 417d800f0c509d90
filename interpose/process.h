/*
 * The life of the process: fork, exec and exit. Any thread.
 */
#ifndef MT_PROCESS_H
#define MT_PROCESS_H

/* Registers the handlers and finds the next functions, from the constructor. */
void mt_process_start(void);

#endif
