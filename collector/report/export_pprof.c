/*
 * pprof's profile.proto (github.com/google/pprof, proto/profile.proto), as a
 * gzip file of stored blocks, for `go tool pprof`, speedscope and Perfetto.
 * Field numbers are those of that file.
 */
#include "export.h"

#include "json_build.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct buffer {
    unsigned char *bytes;
    size_t count, room;
    bool has_failed;
};

static void put(struct buffer *buffer, const void *bytes, size_t count)
{
    if (buffer->count + count > buffer->room) {
        size_t room = 2 * buffer->room + count + 256;
        unsigned char *grown = realloc(buffer->bytes, room);
        if (!grown) {
            buffer->has_failed = true;
            return;
        }
        buffer->bytes = grown;
        buffer->room = room;
    }
    if (count) memcpy(buffer->bytes + buffer->count, bytes, count);
    buffer->count += count;
}

static void put_varint(struct buffer *buffer, uint64_t value)
{
    unsigned char bytes[10];
    size_t count = 0;
    do {
        bytes[count++] = (unsigned char)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value);
    put(buffer, bytes, count);
}

static void put_number(struct buffer *buffer, unsigned field, uint64_t value)
{
    put_varint(buffer, field << 3);
    put_varint(buffer, value);
}

static void put_block(struct buffer *buffer, unsigned field, const void *bytes, size_t count)
{
    put_varint(buffer, field << 3 | 2);
    put_varint(buffer, count);
    put(buffer, bytes, count);
}

/* Appends a message as a field and empties it for the next one. */
static void put_message(struct buffer *buffer, unsigned field, struct buffer *message)
{
    put_block(buffer, field, message->bytes, message->count);
    buffer->has_failed |= message->has_failed;
    message->count = 0;
}

/* ---- tables of the profile: strings, functions, locations, mappings ------------------------ */

struct profile {
    struct buffer out, message, inner;
    json_t *strings, *functions, *locations; /* number by key */
    struct buffer string_bytes, function_bytes, location_bytes;
    const json_t *modules;
};

/* The number of a key, made when new, from `first` on. */
static uint64_t number_of(json_t *table, const char *key, uint64_t first, bool *is_new)
{
    const json_t *known = json_object_get(table, key);
    *is_new = !known;
    if (known) return (uint64_t)json_integer_value(known);
    uint64_t number = json_object_size(table) + first;
    json_object_set_new(table, key, json_integer((json_int_t)number));
    return number;
}

static uint64_t string_of(struct profile *profile, const char *text)
{
    bool is_new;
    uint64_t number = number_of(profile->strings, text, 0, &is_new);
    if (is_new) put_block(&profile->string_bytes, 6, text, strlen(text));
    return number;
}

static uint64_t function_of(struct profile *profile, const json_t *frame)
{
    char name[1024], key[2200];
    bool is_new;
    const char *file = mt_json_get_text(frame, "file");
    mt_export_frame_name(frame, name, sizeof name);
    snprintf(key, sizeof key, "%s\n%s", name, file);
    uint64_t number = number_of(profile->functions, key, 1, &is_new);
    if (!is_new) return number;
    put_number(&profile->inner, 1, number);
    put_number(&profile->inner, 2, string_of(profile, name));
    put_number(&profile->inner, 3, string_of(profile, name));
    put_number(&profile->inner, 4, string_of(profile, file));
    put_message(&profile->function_bytes, 5, &profile->inner);
    return number;
}

/* The path tells modules apart that lay at the same place one after the other. */
static uint64_t mapping_of(const struct profile *profile, const char *path, uint64_t address)
{
    size_t index;
    const json_t *module;
    json_array_foreach((json_t *)profile->modules, index, module)
    {
        uint64_t start = strtoull(mt_json_get_text(module, "start"), NULL, 16);
        uint64_t end = strtoull(mt_json_get_text(module, "end"), NULL, 16);
        if (address >= start && address < end && !strcmp(mt_json_get_text(module, "path"), path)) return index + 1;
    }
    return 0;
}

/* The lines of one address: what was inlined first, then the function around it. Returns the frames taken. */
static size_t put_lines(struct profile *profile, const json_t *frames, size_t first)
{
    struct buffer line = {0};
    size_t at = first;
    bool is_inlined;
    do {
        const json_t *frame = json_array_get(frames, at++);
        put_number(&line, 1, function_of(profile, frame));
        put_number(&line, 2, (uint64_t)mt_json_get_i64(frame, "line"));
        put_message(&profile->message, 4, &line);
        is_inlined = json_is_true(mt_json_get(frame, "inlined"));
    } while (is_inlined && at < json_array_size(frames));
    free(line.bytes);
    return at - first;
}

static uint64_t location_of(struct profile *profile, const json_t *frames, size_t *at)
{
    const json_t *frame = json_array_get(frames, *at);
    const char *address = mt_json_get_text(frame, "address"), *module = mt_json_get_text(frame, "module");
    char key[2200];
    bool is_new;
    snprintf(key, sizeof key, "%s %s %s", address, module, mt_json_get_text(frame, "function"));
    uint64_t number = number_of(profile->locations, key, 1, &is_new), value = strtoull(address, NULL, 16);
    if (is_new) {
        *at += put_lines(profile, frames, *at);
        put_number(&profile->message, 1, number);
        put_number(&profile->message, 2, mapping_of(profile, module, value));
        put_number(&profile->message, 3, value);
        put_message(&profile->location_bytes, 4, &profile->message);
    } else {
        while (json_is_true(mt_json_get(json_array_get(frames, *at), "inlined"))) ++*at;
        ++*at;
    }
    return number;
}

/* ---- the parts ---------------------------------------------------------------------------------- */

static const char *const sample_types[][3] = {{"inuse_objects", "count", "live_count"},
                                              {"inuse_space", "bytes", "live_bytes"},
                                              {"alloc_objects", "count", "total_count"},
                                              {"alloc_space", "bytes", "total_bytes"},
                                              {"peak_space", "bytes", "peak_bytes"}};
enum { SAMPLE_TYPES = sizeof sample_types / sizeof *sample_types };

static void put_sample(struct profile *profile, const json_t *stack)
{
    const json_t *frames = mt_json_get(stack, "frames");
    struct buffer ids = {0}, values = {0}, sample = {0};
    for (size_t at = 0; at < json_array_size(frames);) put_varint(&ids, location_of(profile, frames, &at));
    for (unsigned i = 0; i < SAMPLE_TYPES; i++) {
        int64_t value = mt_json_get_i64(stack, sample_types[i][2]);
        put_varint(&values, value > 0 ? (uint64_t)value : 0);
    }
    put_message(&sample, 1, &ids);
    put_message(&sample, 2, &values);
    put_message(&profile->out, 2, &sample);
    free(ids.bytes);
    free(values.bytes);
    free(sample.bytes);
}

static void put_types(struct profile *profile)
{
    for (unsigned i = 0; i < SAMPLE_TYPES; i++) {
        put_number(&profile->inner, 1, string_of(profile, sample_types[i][0]));
        put_number(&profile->inner, 2, string_of(profile, sample_types[i][1]));
        put_message(&profile->out, 1, &profile->inner);
    }
}

static void put_mappings(struct profile *profile)
{
    size_t index;
    const json_t *module;
    json_array_foreach((json_t *)profile->modules, index, module)
    {
        put_number(&profile->inner, 1, index + 1);
        put_number(&profile->inner, 2, strtoull(mt_json_get_text(module, "start"), NULL, 16));
        put_number(&profile->inner, 3, strtoull(mt_json_get_text(module, "end"), NULL, 16));
        put_number(&profile->inner, 5, string_of(profile, mt_json_get_text(module, "path")));
        put_number(&profile->inner, 6, string_of(profile, mt_json_get_text(module, "build_id")));
        put_number(&profile->inner, 7, 1); /* has_functions: symbols are in this file */
        put_message(&profile->out, 3, &profile->inner);
    }
}

static void put_period(struct profile *profile, const json_t *summary)
{
    put_number(&profile->inner, 1, string_of(profile, "space"));
    put_number(&profile->inner, 2, string_of(profile, "bytes"));
    put_message(&profile->out, 11, &profile->inner);
    int64_t rate = mt_json_get_i64(summary, "rate_bytes");
    put_number(&profile->out, 12, rate > 0 ? (uint64_t)rate : 1);
    put_number(&profile->out, 14, string_of(profile, "inuse_space"));
}

/* ---- gzip (RFC 1952) of stored blocks (RFC 1951, 3.2.4) --------------------------------------------- */

static uint32_t crc_of(const unsigned char *bytes, size_t count)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

static void put_little(FILE *out, uint32_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) fputc((int)(value >> (8 * i) & 0xff), out);
}

static void write_gzip(FILE *out, const struct buffer *data)
{
    static const unsigned char header[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    fwrite(header, 1, sizeof header, out);
    size_t at = 0;
    do {
        size_t left = data->count - at, count = left < 65535 ? left : 65535;
        fputc(count == left, out); /* the last block has this bit; type 0 is stored */
        put_little(out, (uint32_t)count, 2);
        put_little(out, ~(uint32_t)count & 0xffff, 2);
        fwrite(data->bytes + at, 1, count, out);
        at += count;
    } while (at < data->count);
    put_little(out, crc_of(data->bytes, data->count), 4);
    put_little(out, (uint32_t)data->count, 4);
}

bool mt_export_pprof(const struct mt_export *job)
{
    const json_t *cpu = mt_json_get(job->report, "cpu");
    struct profile profile = {.strings = json_object(),
                              .functions = json_object(),
                              .locations = json_object(),
                              .modules = mt_json_get(cpu, "modules")};
    size_t index;
    const json_t *stack;
    string_of(&profile, "");
    put_types(&profile);
    json_array_foreach((json_t *)mt_export_stacks(job), index, stack) put_sample(&profile, stack);
    put_mappings(&profile);
    put_period(&profile, mt_json_get(cpu, "stack_summary"));
    put(&profile.out, profile.location_bytes.bytes, profile.location_bytes.count);
    put(&profile.out, profile.function_bytes.bytes, profile.function_bytes.count);
    put(&profile.out, profile.string_bytes.bytes, profile.string_bytes.count);
    bool has_memory = !profile.out.has_failed && profile.out.bytes;
    if (has_memory) write_gzip(job->out, &profile.out);
    struct buffer *const buffers[] = {&profile.out,          &profile.message,        &profile.inner,
                                      &profile.string_bytes, &profile.function_bytes, &profile.location_bytes};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) free(buffers[i]->bytes);
    json_decref(profile.strings);
    json_decref(profile.functions);
    json_decref(profile.locations);
    return has_memory;
}
