/*
 * A small interpreter of call frame information (DWARF 5, section 6.4, in the
 * form of the x86-64 psABI). It follows the CFA, the frame pointer and the
 * return address and skips what is said of other registers.
 */
#include "eh_frame.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

enum { REG_FRAME = 6, REG_STACK = 7, REG_RETURN = 16, REMEMBER_MAX = 8 };

enum { PE_OMIT = 0xff, PE_INDIRECT = 0x80, PE_PCREL = 0x10, PE_DATAREL = 0x30 };

/* A reader of bytes that yields zeros behind the end. */
struct cursor {
    const uint8_t *at, *end;
};

static uint64_t read_fixed(struct cursor *cursor, unsigned bytes)
{
    uint64_t value = 0;
    if ((size_t)(cursor->end - cursor->at) < bytes) {
        cursor->at = cursor->end;
        return 0;
    }
    memcpy(&value, cursor->at, bytes);
    cursor->at += bytes;
    return value;
}

static uint64_t read_uleb(struct cursor *cursor)
{
    uint64_t value = 0;
    for (unsigned shift = 0; cursor->at < cursor->end; shift += 7) {
        uint8_t byte = *cursor->at++;
        if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) break;
    }
    return value;
}

static int64_t read_sleb(struct cursor *cursor)
{
    uint64_t value = 0;
    unsigned shift = 0;
    uint8_t byte = 0;
    while (cursor->at < cursor->end) {
        byte = *cursor->at++;
        if (shift < 64) value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
        if (!(byte & 0x80)) break;
    }
    if (shift < 64 && (byte & 0x40)) value |= ~UINT64_C(0) << shift;
    return (int64_t)value;
}

static void skip(struct cursor *cursor, uint64_t bytes)
{
    uint64_t left = (uint64_t)(cursor->end - cursor->at);
    cursor->at += bytes < left ? bytes : left;
}

/* A pointer in one of the encodings of the LSB; `data` is the base of DATAREL. */
static uintptr_t read_encoded(struct cursor *cursor, uint8_t encoding, uintptr_t data)
{
    if (encoding == PE_OMIT) return 0;
    uintptr_t here = (uintptr_t)cursor->at;
    int64_t value = 0;
    switch (encoding & 0x0f) {
    case 0x0: value = (int64_t)read_fixed(cursor, 8); break;
    case 0x1: value = (int64_t)read_uleb(cursor); break;
    case 0x2: value = (int64_t)read_fixed(cursor, 2); break;
    case 0x3: value = (int64_t)read_fixed(cursor, 4); break;
    case 0x4: value = (int64_t)read_fixed(cursor, 8); break;
    case 0x9: value = read_sleb(cursor); break;
    case 0xa: value = (int16_t)read_fixed(cursor, 2); break;
    case 0xb: value = (int32_t)read_fixed(cursor, 4); break;
    case 0xc: value = (int64_t)read_fixed(cursor, 8); break;
    default: return 0;
    }
    uintptr_t base = (encoding & 0x70) == PE_PCREL ? here : (encoding & 0x70) == PE_DATAREL ? data : 0;
    return base + (uintptr_t)value;
}

struct cie {
    uint64_t code_align;
    int64_t data_align;
    uint8_t pointer_encoding;
    bool is_signal_frame;
    bool has_augmentation_data;
    struct cursor program;
};

struct row {
    uint8_t cfa, frame_pointer;
    bool is_outermost, is_odd_return;
    int64_t cfa_offset, frame_pointer_offset;
    uint64_t cfa_register;
};

struct machine {
    struct row row, initial, remembered[REMEMBER_MAX];
    unsigned remembered_count;
    uintptr_t location, target;
};

/* The contents of one CIE or FDE: `id` is the word after the length. */
static bool open_entry(const uint8_t *entry, struct cursor *content)
{
    uint32_t length;
    memcpy(&length, entry, 4);
    if (!length || length == UINT32_MAX) return false; /* 64-bit lengths do not occur in .eh_frame */
    content->at = entry + 4;
    content->end = content->at + length;
    return true;
}

static void read_augmentation(struct cie *cie, const char *letters, struct cursor *cursor)
{
    if (letters[0] != 'z') return;
    cie->has_augmentation_data = true;
    uint64_t bytes = read_uleb(cursor);
    struct cursor data = *cursor;
    skip(cursor, bytes);
    for (const char *letter = letters + 1; *letter; letter++) {
        if (*letter == 'R')
            cie->pointer_encoding = (uint8_t)read_fixed(&data, 1);
        else if (*letter == 'S')
            cie->is_signal_frame = true;
        else if (*letter == 'L')
            read_fixed(&data, 1);
        else if (*letter == 'P')
            read_encoded(&data, (uint8_t)read_fixed(&data, 1) & 0x7f, 0);
        else
            return;
    }
}

static bool read_cie(const uint8_t *entry, struct cie *cie)
{
    struct cursor cursor;
    memset(cie, 0, sizeof *cie);
    if (!open_entry(entry, &cursor) || read_fixed(&cursor, 4)) return false;
    uint8_t version = (uint8_t)read_fixed(&cursor, 1);
    if (version != 1 && version != 3) return false;
    const char *letters = (const char *)cursor.at;
    skip(&cursor, strlen(letters) + 1);
    cie->code_align = read_uleb(&cursor);
    cie->data_align = read_sleb(&cursor);
    uint64_t return_register = version == 1 ? read_fixed(&cursor, 1) : read_uleb(&cursor);
    read_augmentation(cie, letters, &cursor);
    cie->program = cursor;
    return return_register == REG_RETURN;
}

/* "breg6 offset" or "breg6 offset, deref": the forms compilers use for realigned stacks. */
static bool read_frame_expression(struct cursor *cursor, int64_t *offset, bool *is_deref)
{
    uint64_t bytes = read_uleb(cursor);
    struct cursor expression = *cursor;
    skip(cursor, bytes);
    expression.end = cursor->at;
    if (read_fixed(&expression, 1) != 0x70 + REG_FRAME) return false;
    *offset = read_sleb(&expression);
    *is_deref = expression.at < expression.end && read_fixed(&expression, 1) == 0x06;
    return expression.at == expression.end;
}

static void set_cfa(struct row *row, uint64_t reg, int64_t offset)
{
    row->cfa = reg == REG_STACK ? MT_CFA_STACK : reg == REG_FRAME ? MT_CFA_FRAME : MT_CFA_UNKNOWN;
    row->cfa_register = reg;
    row->cfa_offset = offset;
}

static void set_saved(struct row *row, uint64_t reg, int64_t offset)
{
    if (reg == REG_FRAME) {
        row->frame_pointer = MT_FP_AT_CFA;
        row->frame_pointer_offset = offset;
    } else if (reg == REG_RETURN) {
        row->is_outermost = false;
        row->is_odd_return = offset != -8;
    }
}

static void set_other(struct row *row, uint64_t reg, bool is_undefined)
{
    if (reg == REG_FRAME) row->frame_pointer = is_undefined ? MT_FP_LOST : MT_FP_SAME;
    if (reg == REG_RETURN) {
        row->is_outermost = is_undefined;
        row->is_odd_return = !is_undefined;
    }
}

static void restore(struct machine *machine, uint64_t reg)
{
    if (reg == REG_FRAME) {
        machine->row.frame_pointer = machine->initial.frame_pointer;
        machine->row.frame_pointer_offset = machine->initial.frame_pointer_offset;
    } else if (reg == REG_RETURN) {
        machine->row.is_outermost = machine->initial.is_outermost;
        machine->row.is_odd_return = machine->initial.is_odd_return;
    }
}

static void define_cfa_expression(struct row *row, struct cursor *cursor)
{
    bool is_deref;
    bool is_known = read_frame_expression(cursor, &row->cfa_offset, &is_deref);
    row->cfa = !is_known ? MT_CFA_UNKNOWN : is_deref ? MT_CFA_FRAME_MEM : MT_CFA_FRAME;
    row->cfa_register = REG_FRAME;
}

static void save_by_expression(struct row *row, struct cursor *cursor)
{
    uint64_t reg = read_uleb(cursor);
    int64_t offset = 0;
    bool is_deref = false;
    bool is_known = read_frame_expression(cursor, &offset, &is_deref) && !is_deref;
    if (reg == REG_RETURN) row->is_odd_return = true;
    if (reg != REG_FRAME) return;
    row->frame_pointer = is_known ? MT_FP_AT_FRAME : MT_FP_LOST;
    row->frame_pointer_offset = offset;
}

static void remember(struct machine *machine)
{
    if (machine->remembered_count < REMEMBER_MAX) machine->remembered[machine->remembered_count] = machine->row;
    machine->remembered_count++;
}

static bool recall(struct machine *machine)
{
    if (!machine->remembered_count || machine->remembered_count > REMEMBER_MAX) return false;
    machine->row = machine->remembered[--machine->remembered_count];
    return true;
}

/* The instructions that have an opcode of their own. False: one that is not understood. */
static bool run_extended(struct machine *machine, const struct cie *cie, uint8_t code, struct cursor *cursor)
{
    struct row *row = &machine->row;
    uint64_t reg;
    switch (code) {
    case 0x00: return true;
    case 0x01: machine->location = read_encoded(cursor, cie->pointer_encoding, 0); return true;
    case 0x02: machine->location += read_fixed(cursor, 1) * cie->code_align; return true;
    case 0x03: machine->location += read_fixed(cursor, 2) * cie->code_align; return true;
    case 0x04: machine->location += read_fixed(cursor, 4) * cie->code_align; return true;
    case 0x05:
        reg = read_uleb(cursor);
        set_saved(row, reg, (int64_t)read_uleb(cursor) * cie->data_align);
        return true;
    case 0x06: restore(machine, read_uleb(cursor)); return true;
    case 0x07: set_other(row, read_uleb(cursor), true); return true;
    case 0x08: set_other(row, read_uleb(cursor), false); return true;
    case 0x09:
        set_other(row, read_uleb(cursor), true);
        read_uleb(cursor);
        return true;
    case 0x0a: remember(machine); return true;
    case 0x0b: return recall(machine);
    case 0x0c:
        reg = read_uleb(cursor);
        set_cfa(row, reg, (int64_t)read_uleb(cursor));
        return true;
    case 0x0d: set_cfa(row, read_uleb(cursor), row->cfa_offset); return true;
    case 0x0e: set_cfa(row, row->cfa_register, (int64_t)read_uleb(cursor)); return true;
    case 0x0f: define_cfa_expression(row, cursor); return true;
    case 0x10: save_by_expression(row, cursor); return true;
    case 0x11:
        reg = read_uleb(cursor);
        set_saved(row, reg, read_sleb(cursor) * cie->data_align);
        return true;
    case 0x12:
        reg = read_uleb(cursor);
        set_cfa(row, reg, read_sleb(cursor) * cie->data_align);
        return true;
    case 0x13: set_cfa(row, row->cfa_register, read_sleb(cursor) * cie->data_align); return true;
    case 0x14:
    case 0x15:
        set_other(row, read_uleb(cursor), true);
        read_uleb(cursor);
        return true;
    case 0x16:
        set_other(row, read_uleb(cursor), true);
        skip(cursor, read_uleb(cursor));
        return true;
    case 0x2e: read_uleb(cursor); return true;
    case 0x2f:
        reg = read_uleb(cursor);
        set_saved(row, reg, -(int64_t)read_uleb(cursor) * cie->data_align);
        return true;
    default: return false;
    }
}

/* Runs a program up to the target address. */
static bool run(struct machine *machine, const struct cie *cie, struct cursor cursor)
{
    while (cursor.at < cursor.end && machine->location <= machine->target) {
        uint8_t code = (uint8_t)read_fixed(&cursor, 1);
        uint8_t low = code & 0x3f;
        struct row before = machine->row;
        switch (code >> 6) {
        case 1: machine->location += low * cie->code_align; break;
        case 2: set_saved(&machine->row, low, (int64_t)read_uleb(&cursor) * cie->data_align); break;
        case 3: restore(machine, low); break;
        default:
            if (!run_extended(machine, cie, low, &cursor)) return false;
        }
        if (machine->location > machine->target) machine->row = before;
    }
    return true;
}

static struct mt_unwind_rule make_rule(const struct row *row)
{
    struct mt_unwind_rule rule = {row->cfa, row->frame_pointer, (int32_t)row->cfa_offset,
                                  (int32_t)row->frame_pointer_offset};
    bool fits = rule.cfa_offset == row->cfa_offset && rule.frame_pointer_offset == row->frame_pointer_offset;
    if (row->is_outermost)
        rule.cfa = MT_CFA_END;
    else if (row->is_odd_return || !fits)
        rule.cfa = MT_CFA_UNKNOWN;
    return rule;
}

static struct mt_unwind_rule rule_of_fde(const uint8_t *entry, uintptr_t address)
{
    struct mt_unwind_rule none = {0};
    struct mt_unwind_rule unknown = {.cfa = MT_CFA_UNKNOWN};
    struct cursor cursor;
    struct cie cie;
    if (!open_entry(entry, &cursor)) return none;
    const uint8_t *id_at = cursor.at;
    uint32_t back = (uint32_t)read_fixed(&cursor, 4);
    if (!back) return none; /* a CIE */
    if (!read_cie(id_at - back, &cie)) return unknown;
    uintptr_t start = read_encoded(&cursor, cie.pointer_encoding & 0x7f, 0);
    uintptr_t bytes = read_encoded(&cursor, cie.pointer_encoding & 0x0f, 0);
    if (address - start >= bytes) return none;
    if (cie.is_signal_frame) return (struct mt_unwind_rule){.cfa = MT_CFA_SIGNAL};
    if (cie.has_augmentation_data) skip(&cursor, read_uleb(&cursor));
    struct machine machine;
    memset(&machine.row, 0, sizeof machine.row);
    machine.remembered_count = 0;
    machine.location = start;
    machine.target = address;
    machine.initial = machine.row;
    if (!run(&machine, &cie, cie.program)) return unknown;
    machine.initial = machine.row;
    machine.location = start;
    if (!run(&machine, &cie, cursor)) return unknown;
    return make_rule(&machine.row);
}

/* The last entry of the sorted table that starts at or below the address; its entries are {start, FDE} relative to
 * the header. */
static const uint8_t *search(const uint8_t *header, const int32_t *table, uint64_t count, uintptr_t address)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = (low + high) / 2;
        if ((uintptr_t)header + (uintptr_t)(intptr_t)table[2 * middle] <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? header + table[2 * (low - 1) + 1] : NULL;
}

struct mt_unwind_rule mt_eh_frame_rule(const void *eh_frame_hdr, uintptr_t address)
{
    struct mt_unwind_rule none = {0};
    const uint8_t *header = eh_frame_hdr;
    struct cursor cursor = {header + 4, header + 24};
    if (!header || header[0] != 1 || header[3] != (PE_DATAREL | 0x0b)) return none;
    read_encoded(&cursor, header[1], (uintptr_t)header);
    uint64_t count = read_encoded(&cursor, header[2], 0);
    const uint8_t *entry = search(header, (const int32_t *)(const void *)cursor.at, count, address);
    return entry ? rule_of_fde(entry, address) : none;
}

#else

struct mt_unwind_rule mt_eh_frame_rule(const void *eh_frame_hdr, uintptr_t address)
{
    (void)eh_frame_hdr;
    (void)address;
    return (struct mt_unwind_rule){0};
}

#endif
