/* The lines of the text report that say what to do about device memory; see the header. */
#include "vulkan_advice_text.h"

#include "human.h"
#include "json_build.h"

#include <stdbool.h>
#include <string.h>

enum { WIDTH = 100 };

/* Breaks at spaces; further lines are indented below the text. */
static void print_wrapped(FILE *out, const char *first, const char *indent, const char *text)
{
    size_t room = WIDTH - strlen(first);
    fputs(first, out);
    while (*text) {
        size_t length = strlen(text);
        if (length > room) {
            length = room;
            while (length && text[length] != ' ') length--;
            if (!length) length = strcspn(text, " "); /* one word longer than the line */
        }
        fprintf(out, "%.*s\n", (int)length, text);
        text += length;
        while (*text == ' ') text++;
        if (*text) fputs(indent, out);
        room = WIDTH - strlen(indent);
    }
}

void mt_vulkan_advice_print(FILE *out, const json_t *device)
{
    const json_t *rows = mt_json_get(device, "advice"), *row;
    size_t index;
    if (json_array_size(rows)) fprintf(out, "  advice:\n");
    json_array_foreach((json_t *)rows, index, row)
    {
        char first[80];
        bool is_current = json_is_true(mt_json_get(row, "is_current"));
        snprintf(first, sizeof first, "    %s%s: ", mt_json_get_text(row, "kind"), is_current ? "" : " (earlier)");
        print_wrapped(out, first, "      ", mt_json_get_text(row, "text"));
    }
}
