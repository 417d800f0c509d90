/* memtrack.h for the program where the preloaded library is not there: see api.c. */
#ifndef MT_LAYER_API_H
#define MT_LAYER_API_H

struct mt_core;

/* Gives programs and shared objects that include memtrack.h, and found nobody, the way here. The layer's own core.
 */
void mt_layer_api_offer(struct mt_core *core);

#endif
