/* Does nothing: what it costs to preload a library at all. */
__attribute__((visibility("default"))) extern const int memtrack_bench_empty;
const int memtrack_bench_empty = 1;
