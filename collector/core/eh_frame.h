/*
 * Reads the unwind tables (.eh_frame) of loaded objects: how to get from one
 * frame to its caller. Any thread, also in signal handlers: takes no lock,
 * allocates nothing. The object must stay loaded during the call.
 */
#ifndef MT_EH_FRAME_H
#define MT_EH_FRAME_H

#include <stdbool.h>
#include <stdint.h>

enum mt_cfa_kind {
    MT_CFA_NONE = 0,      /* no rule: try the chain of frame pointers */
    MT_CFA_STACK = 1,     /* CFA = stack pointer + offset */
    MT_CFA_FRAME = 2,     /* CFA = frame pointer + offset */
    MT_CFA_FRAME_MEM = 3, /* CFA = word at frame pointer + offset (realigned stacks) */
    MT_CFA_SIGNAL = 4,    /* the frame the kernel makes for a signal handler */
    MT_CFA_END = 5,       /* the outermost frame */
    MT_CFA_UNKNOWN = 6,   /* a rule that is not understood: stop here */
};

enum mt_frame_pointer_kind {
    MT_FP_SAME = 0,     /* the caller's frame pointer is still in the register */
    MT_FP_AT_CFA = 1,   /* saved at CFA + offset */
    MT_FP_AT_FRAME = 2, /* saved at frame pointer + offset */
    MT_FP_LOST = 3,
};

/* The return address is always at CFA - 8. */
struct mt_unwind_rule {
    uint8_t cfa;           /* enum mt_cfa_kind */
    uint8_t frame_pointer; /* enum mt_frame_pointer_kind */
    int32_t cfa_offset;
    int32_t frame_pointer_offset;
};

/*
 * The rule for an address inside an object whose .eh_frame_hdr is given.
 * MT_CFA_NONE when the object has no entry for it. On other machines than
 * x86-64 always MT_CFA_NONE.
 */
struct mt_unwind_rule mt_eh_frame_rule(const void *eh_frame_hdr, uintptr_t address);

#endif
