/*
 * Leak suspects: call stacks whose live bytes only grow. The collector feeds
 * it each report's stacks; it keeps a short history of each. One thread.
 */
#ifndef MT_SUSPECTS_H
#define MT_SUSPECTS_H

#include "snapshot.h"

#include <jansson.h>

struct mt_suspects {
    struct mt_history **histories; /* by stack id */
    size_t room;
};

void mt_suspects_add(struct mt_suspects *suspects, const struct mt_snapshot *snapshot);
/* [{stack, live_bytes, growth_bytes_per_minute, confidence, samples}], fastest growth first. NULL suspects: an
 * empty list. */
json_t *mt_suspects_json(const struct mt_suspects *suspects);
void mt_suspects_free(struct mt_suspects *suspects);

#endif
