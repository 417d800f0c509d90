/* Collecting behind the user's back: detached from the terminal and from the command that started it. */
#ifndef MT_BACKGROUND_H
#define MT_BACKGROUND_H

#include "collector.h"

/*
 * Goes on collecting in a process of its own and returns in this one. The
 * collector's lock goes along; this process must not use the collector again.
 * 0 or -errno.
 */
int mt_background_serve(struct mt_collector *collector, const char *directory, uint64_t linger_ns);

/*
 * Sessions of `memtrack run` whose collector was killed: writes the reports of
 * their processes, in the background. Costs a look into the base directory
 * when there are none.
 */
void mt_background_adopt(void);

#endif
