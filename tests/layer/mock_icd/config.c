/*
 * The driver's script and its log. Read once at the first vkCreateInstance,
 * and whenever a test calls mock_configure(); the log is one file per process.
 */
#include "mock.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mock_state mock;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *log_file;

void mock_log(const char *format, ...)
{
    if (!log_file) return;
    va_list list;
    va_start(list, format);
    pthread_mutex_lock(&log_lock);
    vfprintf(log_file, format, list);
    fputc('\n', log_file);
    fflush(log_file);
    pthread_mutex_unlock(&log_lock);
    va_end(list);
}

void mock_breach(const char *format, ...)
{
    char text[160];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (!atomic_fetch_add(&mock.breach_count, 1)) snprintf(mock.first_breach, sizeof mock.first_breach, "%s", text);
    mock_log("BREACH %s", text);
    if (getenv("MOCK_ICD_TELL")) fprintf(stderr, "mock driver: %s\n", text);
}

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 0);
    switch (*end) {
    case 'G': return value << 30;
    case 'M': return value << 20;
    case 'K': return value << 10;
    default: return value;
    }
}

static uint32_t property(const char *word)
{
    static const char *const names[] = {"local", "visible", "coherent", "cached", "lazy", "protected", "amd"};
    for (uint32_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(word, names[i])) return UINT32_C(1) << i;
    return 0;
}

static void set_heap(char *word)
{
    VkMemoryHeap *heap = &mock.config.memory.memoryHeaps[mock.config.memory.memoryHeapCount++];
    char *flag = strchr(word, ':');
    heap->flags = flag && !strcmp(flag + 1, "local") ? VK_MEMORY_HEAP_DEVICE_LOCAL_BIT : 0;
    heap->size = number(word);
}

static void set_type(char *word)
{
    VkMemoryType *type = &mock.config.memory.memoryTypes[mock.config.memory.memoryTypeCount++];
    char *save = NULL, *flags = strchr(word, ':');
    *type = (VkMemoryType){0, (uint32_t)number(word)};
    if (!flags) return;
    for (char *part = strtok_r(flags + 1, "+", &save); part; part = strtok_r(NULL, "+", &save))
        type->propertyFlags |= property(part);
}

static void set_extension(char *word)
{
    struct mock_config *config = &mock.config;
    if (config->extension_count < MOCK_EXTENSIONS)
        snprintf(config->extensions[config->extension_count++], VK_MAX_EXTENSION_NAME_SIZE, "%s", word);
}

static void set_feature(char *word)
{
    mock.config.has_sparse |= !strcmp(word, "sparse");
    mock.config.has_capture_replay |= !strcmp(word, "capture_replay");
    mock.config.has_pageable |= !strcmp(word, "pageable");
    mock.config.has_placed |= !strcmp(word, "placed");
}

static void set_list(char *value, const char *separator, void (*set)(char *word))
{
    char *save = NULL;
    for (char *word = strtok_r(value, separator, &save); word; word = strtok_r(NULL, separator, &save)) set(word);
}

static void set_failures(const char *value)
{
    memset(mock.config.fail_allocate, 0, sizeof mock.config.fail_allocate);
    for (unsigned i = 0; i < MOCK_FAILURES && value; i++) {
        mock.config.fail_allocate[i] = strtoull(value, NULL, 10);
        value = strchr(value, '+');
        if (value) value++;
    }
}

static void set_version(const char *value)
{
    unsigned major = 1, minor = 0;
    sscanf(value, "%u.%u", &major, &minor);
    mock.config.api_version = VK_MAKE_API_VERSION(0, major, minor, 0);
}

static bool set_number(const char *key, uint64_t value)
{
    const struct {
        const char *key;
        uint64_t *field;
    } table[] = {{"granularity", &mock.config.granularity},
                 {"atom", &mock.config.atom},
                 {"map_alignment", &mock.config.map_alignment},
                 {"buffer_alignment", &mock.config.buffer_alignment},
                 {"image_alignment", &mock.config.image_alignment},
                 {"max_allocations", &mock.config.max_allocations},
                 {"fail_allocate_from", &mock.config.fail_allocate_from},
                 {"fail_larger", &mock.config.fail_larger},
                 {"fail_map", &mock.config.fail_map},
                 {"alias", &mock.config.alias},
                 {"host", &mock.config.host_bytes},
                 {"devices", &mock.config.devices},
                 {"delay_allocate_us", &mock.config.delay_allocate_us}};
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++) {
        if (strcmp(table[i].key, key)) continue;
        *table[i].field = value;
        return true;
    }
    return false;
}

static void set_pair(char *pair)
{
    struct mock_config *config = &mock.config;
    char *value = strchr(pair, '=');
    if (!value) return;
    *value++ = 0;
    if (!strcmp(pair, "heaps")) {
        config->memory.memoryHeapCount = 0;
        set_list(value, ",", set_heap);
    } else if (!strcmp(pair, "types")) {
        config->memory.memoryTypeCount = 0;
        set_list(value, ",", set_type);
    } else if (!strcmp(pair, "extensions"))
        set_list(value, ",", set_extension);
    else if (!strcmp(pair, "features"))
        set_list(value, ",", set_feature);
    else if (!strcmp(pair, "api"))
        set_version(value);
    else if (!strcmp(pair, "name"))
        snprintf(config->name, sizeof config->name, "%s", value);
    else if (!strcmp(pair, "device"))
        config->device_type = strcmp(value, "cpu") ? VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
                                                   : VK_PHYSICAL_DEVICE_TYPE_CPU;
    else if (!strcmp(pair, "tool"))
        config->tool_purposes = (uint32_t)number(value);
    else if (!strcmp(pair, "lost_reports"))
        config->has_lost_reports = number(value);
    else if (!strcmp(pair, "fail_reports"))
        config->fails_with_reports = number(value);
    else if (!strcmp(pair, "garbage"))
        config->has_garbage = number(value);
    else if (!strcmp(pair, "fail_device"))
        config->fail_device = atoi(value);
    else if (!strcmp(pair, "fail_allocate"))
        set_failures(value);
    else if (!strcmp(pair, "log"))
        log_file = fopen(value, "ae");
    else if (!set_number(pair, number(value)))
        mock_breach("unknown key %s", pair);
}

void mock_configure(const char *text)
{
    char *copy = strdup(text), *save = NULL;
    for (char *pair = strtok_r(copy, ";\n", &save); pair; pair = strtok_r(NULL, ";\n", &save)) set_pair(pair);
    free(copy);
}

static void configure_from_file(const char *path)
{
    char line[1024];
    FILE *file = fopen(path, "re");
    if (!file) mock_breach("no file %s", path);
    while (file && fgets(line, sizeof line, file))
        if (*line != '#') mock_configure(line);
    if (file) fclose(file);
}

static void start_once(void)
{
    mock_configure(
        "heaps=4G:local,16G;types=0:local,1:visible+coherent,1:visible+coherent+cached,0:local+visible+coherent,"
        "0:local+lazy,1:visible;api=1.3;name=mock device;device=discrete;granularity=1024;atom=64;"
        "map_alignment=64;buffer_alignment=256;image_alignment=4096;devices=1;max_allocations=4294967295");
    const char *text = getenv("MOCK_ICD");
    if (text && *text == '@')
        configure_from_file(text + 1);
    else if (text)
        mock_configure(text);
}

void mock_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_once);
}
