/* Prints what a report says of drivers' memory; see vulkan_host_text.h. Called with a report; keeps nothing. */
#include "vulkan_host_text.h"

#include "human.h"
#include "json_build.h"

#include <stdbool.h>
#include <string.h>

/* Live bytes, or - where nothing was ever counted. */
static const char *live(char buffer[MT_HUMAN_BYTES], const json_t *part)
{
    return json_is_object(part) ? mt_human_bytes(buffer, mt_json_get_i64(part, "current_bytes")) : "-";
}

static const char *calls(char buffer[MT_HUMAN_BYTES], const json_t *part)
{
    return json_is_object(part) ? mt_human_count(buffer, mt_json_get_i64(part, "allocation_count")) : "-";
}

static void print_command(FILE *out, const json_t *row)
{
    char texts[4][MT_HUMAN_BYTES];
    const json_t *served = mt_json_get(row, "malloc"), *callbacks = mt_json_get(row, "callbacks");
    fprintf(out, "  %-36s malloc: live %11s  %9s calls", mt_json_get_text(row, "command"), live(texts[0], served),
            calls(texts[1], served));
    if (json_is_object(callbacks))
        fprintf(out, "  callbacks: live %11s  %9s calls", live(texts[2], callbacks), calls(texts[3], callbacks));
    fputc('\n', out);
}

void mt_vulkan_host_print(FILE *out, const json_t *vulkan, size_t rows)
{
    const json_t *commands = mt_json_get(mt_json_get(vulkan, "host"), "commands"), *row;
    size_t index;
    if (!json_array_size(commands)) return;
    fprintf(out, "\nHost memory of Vulkan drivers, by the command that took it\n");
    json_array_foreach((json_t *)commands, index, row) if (index < rows) print_command(out, row);
    if (json_array_size(commands) > rows) fprintf(out, "  ... %zu more\n", json_array_size(commands) - rows);
}

static bool is_internal(const json_t *row)
{
    return strcmp(mt_json_get_text(row, "object_type"), "DEVICE_MEMORY") != 0;
}

void mt_vulkan_memory_report_print(FILE *out, const json_t *device)
{
    const json_t *part = mt_json_get(device, "memory_report"), *row;
    const char *between = ":";
    char text[MT_HUMAN_BYTES];
    size_t index;
    if (strcmp(mt_json_get_text(part, "status"), "on")) return;
    fprintf(out, "  the driver reports %s of its own beside the program's allocations",
            mt_human_bytes(text, mt_json_get_i64(part, "driver_internal_bytes")));
    json_array_foreach((json_t *)mt_json_get(part, "by_object_type"), index, row)
    {
        if (!is_internal(row) || !mt_json_get_i64(row, "current_bytes")) continue;
        fprintf(out, "%s %s %s", between, mt_json_get_text(row, "object_type"),
                mt_human_bytes(text, mt_json_get_i64(row, "current_bytes")));
        between = ",";
    }
    fputc('\n', out);
}
