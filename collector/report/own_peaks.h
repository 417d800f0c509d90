/*
 * The own peaks of origins, modules and tags, as a segment tells them: what
 * threads handed over, and what they have not handed over yet. Belongs to a
 * snapshot and to its thread.
 */
#ifndef MT_REPORT_OWN_PEAKS_H
#define MT_REPORT_OWN_PEAKS_H

#include "origins.h"

struct mt_own_peak {
    int64_t bytes;           /* usable */
    int64_t error_bytes;     /* the true one lies within this much of it; 0 = exact; -1 = nobody knows */
    uint64_t when_ns, frame; /* when bytes was seen; 0 = not known */
};

struct mt_own_peaks {
    struct mt_own_peak of[MT_GROUP_KINDS][MT_GROUP_MAX];
};

/* What a look at the process says beside its groups. */
struct mt_own_peaks_moment {
    uint64_t when_ns, frame;
};

/*
 * Copies them into memory that the caller frees; *peaks is NULL where nothing
 * is live by origin. copy: the fixed part of the segment with its shards.
 * Returns 0 or -errno; -EINVAL when an offset lies outside the file.
 */
int mt_own_peaks_take(struct mt_own_peaks **peaks, const struct mt_segment_file *file,
                      const struct mt_segment *copy, uint32_t shard_limit, const struct mt_origins_copy *origins,
                      struct mt_own_peaks_moment moment);

#endif
