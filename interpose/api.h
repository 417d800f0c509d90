/* memtrack.h for the program: see api.c. */
#ifndef MT_INTERPOSE_API_H
#define MT_INTERPOSE_API_H

/* The calling thread ends: it is inside of no tag any more. */
void mt_api_thread_end(void);

#endif
