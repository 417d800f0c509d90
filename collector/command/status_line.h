/* The live line of `memtrack run` on a terminal. One thread. */
#ifndef MT_STATUS_LINE_H
#define MT_STATUS_LINE_H

#include "collector.h"

/* Shows the line where that disturbs nobody: see status_line.c. */
void mt_status_line_show(struct mt_collector *collector);
/* Erases the line when one is shown. */
void mt_status_line_erase(void);

#endif
