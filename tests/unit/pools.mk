# The pools and the TLSF engine: unit tests and the measuring library.

POOLS_SRC     := $(wildcard interpose/pools/*.c)
pools_obj     := $(POOLS_SRC:%.c=$(BUILD)/obj/%.o)
pools_pic_obj := $(POOLS_SRC:%.c=$(BUILD)/pic/%.o)

$(BUILD)/pic/interpose/pools/%.o $(BUILD)/obj/interpose/pools/%.o: BASE_CFLAGS += -Iinterpose/pools
# No frame pointer in functions that call nothing or only as their last act: those are the hot ones.
$(BUILD)/pic/interpose/pools/%.o $(BUILD)/pic/interpose/malloc.o $(BUILD)/pic/interpose/cxx.o: INJECT_CFLAGS += -momit-leaf-frame-pointer

# The pools alone for LD_PRELOAD, to measure them.
$(BUILD)/libmtpools_bench.so: $(core_pic_obj) $(pools_pic_obj) tests/bench/pools_preload.c
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_CFLAGS) $(INJECT_CFLAGS) -momit-leaf-frame-pointer -Iinterpose/pools $(CFLAGS) -MF $@.d -Wno-missing-prototypes $(INJECT_LDFLAGS) -Wl,-Bsymbolic -o $@ $(core_pic_obj) $(pools_pic_obj) tests/bench/pools_preload.c

UNIT_TESTS += $(BUILD)/tests/check_tlsf $(BUILD)/tests/check_pools $(BUILD)/tests/check_pools_mid $(BUILD)/tests/check_pools_pages $(BUILD)/tests/check_pools_fork $(BUILD)/tests/check_pools_origins $(BUILD)/tests/check_pools_idle $(BUILD)/tests/check_pools_huge_pages $(BUILD)/tests/check_arena $(BUILD)/tests/check_arena_serve
check_pools_OBJ = $(pools_obj)
check_pools_mid_OBJ = $(pools_obj)
check_pools_pages_OBJ = $(pools_obj)
check_pools_fork_OBJ = $(pools_obj)
check_pools_origins_OBJ = $(pools_obj)
check_pools_idle_OBJ = $(pools_obj)
check_pools_huge_pages_OBJ = $(pools_obj)
check_arena_OBJ = $(pools_obj)
check_arena_serve_OBJ = $(pools_obj)
$(BUILD)/tests/check_pools.o $(BUILD)/tests/check_pools_mid.o $(BUILD)/tests/check_pools_pages.o $(BUILD)/tests/check_pools_fork.o $(BUILD)/tests/check_pools_origins.o $(BUILD)/tests/check_pools_idle.o $(BUILD)/tests/check_pools_huge_pages.o $(BUILD)/tests/check_arena.o $(BUILD)/tests/check_arena_serve.o: BASE_CFLAGS += -Iinterpose/pools

# Fuzzing needs clang; `make fuzz-tlsf FUZZ_SECONDS=60`.
FUZZ_SECONDS ?= 30
.PHONY: fuzz-tlsf
fuzz-tlsf: ## fuzz the TLSF engine (clang)
	@mkdir -p $(BUILD)/fuzz/tlsf
	$(Q)clang $(BASE_CFLAGS) -O1 -g -fsanitize=fuzzer,address,undefined -Itests/unit -MF $(BUILD)/fuzz/tlsf.d -o $(BUILD)/fuzz/fuzz_tlsf tests/fuzz/fuzz_tlsf.c collector/core/tlsf.c
	$(Q)$(BUILD)/fuzz/fuzz_tlsf -max_len=4096 -max_total_time=$(FUZZ_SECONDS) $(BUILD)/fuzz/tlsf

.SECONDARY: $(pools_obj)

pools_bench := $(BUILD)/tests/bench_patterns $(BUILD)/tests/bench_bursts $(BUILD)/tests/bench_scale
BENCH_PROGRAMS += $(pools_bench) $(BUILD)/tests/bench_containers $(BUILD)/tests/bench_launch $(BUILD)/tests/libempty.so
# Static, where that can be linked: memtrack and heaptrack then see the program behind it alone.
$(BUILD)/tests/bench_launch: tests/bench/bench_launch.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) -MF $@.d $(CFLAGS) -static -o $@ $< 2>/dev/null || $(CC) $(BASE_CFLAGS) -MF $@.d $(CFLAGS) -o $@ $<
$(BUILD)/tests/libempty.so: tests/bench/libempty.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) -MF $@.d $(CFLAGS) -shared -fPIC -o $@ $<
$(pools_bench): $(BUILD)/tests/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) -fno-builtin -MF $@.d $(CFLAGS) -o $@ $< -lpthread

$(BUILD)/tests/bench_containers: tests/bench/bench_containers.cpp
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) -std=c++17 -O2 -g -Wall -Wextra -o $@ $<
