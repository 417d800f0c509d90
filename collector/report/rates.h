/*
 * Who allocates how much in a frame: what the rows of tags, modules and threads
 * grew by, divided by the frames between two reports. The collector feeds it
 * each report it makes. One thread.
 */
#ifndef MT_RATES_H
#define MT_RATES_H

#include <jansson.h>

struct mt_rates {
    json_t *first, *previous, *newest; /* counters by list and name; NULL: not yet */
};

/* Notes the counters of a report's part "cpu", made after `frame` frames. The first one with any frame is where the
 * run's means begin. */
void mt_rates_note(struct mt_rates *rates, const json_t *cpu, int64_t frame);
/* {run, window}: since the first note, and between the two newest; null where no frame ended in between. */
json_t *mt_rates_json(const struct mt_rates *rates);
void mt_rates_free(struct mt_rates *rates);

#endif
