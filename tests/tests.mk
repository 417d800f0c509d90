# The tests. Every part adds its programs and scripts to the lists below in a file of its own:
# tests/unit/*.mk, tests/fixtures/*.mk, tests/layer/*.mk. tests/run runs what is on a list, one
# `ok`, `FAIL` or `skip` line each; a script is found relative to the build through MEMTRACK_BUILD.
#
#   UNIT_TESTS        programs that run plain, under ASan+UBSan and under TSan
#   UNIT_TESTS_PLAIN  programs that run plain only
#   FIXTURE_TESTS     programs or scripts that run fixtures under the preloaded library
#   LAYER_TESTS       programs or scripts for the Vulkan layer
#   BENCH_PROGRAMS    programs that tests/bench/run.py needs
#
# A program tests/unit/check_NAME.c is built as $(BUILD)/tests/check_NAME from that file, the core
# and $(check_NAME_OBJ), linked with Check and $(check_NAME_LIBS).

UNIT_TESTS       :=
UNIT_TESTS_PLAIN :=
FIXTURE_TESTS    :=
LAYER_TESTS      :=
BENCH_PROGRAMS   :=
TEST_JOBS        ?= 2

PYTHON ?= $(shell test -x /usr/bin/python3 && echo /usr/bin/python3 || echo python3)
RUN_TESTS = $(PYTHON) tests/run --build $(BUILD) -j $(TEST_JOBS)

-include $(wildcard tests/unit/*.mk tests/fixtures/*.mk tests/layer/*.mk tests/fuzz/*.mk)

CHECK_CFLAGS = $(shell pkg-config --cflags check)
CHECK_LIBS   = $(shell pkg-config --libs check)

$(BUILD)/tests/check_%.o: tests/unit/check_%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) $(COMMAND_CFLAGS) $(CHECK_CFLAGS) $(CFLAGS) -c -o $@ $<

.PRECIOUS: $(BUILD)/tests/check_%.o
.SECONDEXPANSION:
$(BUILD)/tests/check_%: $(BUILD)/tests/check_%.o $(core_obj) $$(check_$$*_OBJ)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(CHECK_LIBS) $(check_$*_LIBS) -lpthread -lm

INTEGRATION_TESTS := $(sort $(wildcard tests/integration/test_*.sh))
FULL_TESTS        := $(sort $(wildcard tests/integration/full_*.sh))
STATIC_TESTS      := $(sort $(wildcard tests/static/*.sh))
ORACLE_TESTS      := $(sort $(wildcard tests/oracle/test_*.sh))

.PHONY: check check-unit check-fixtures check-layer check-static check-oracle check-integration check-modes check-full \
        check-asan check-tsan check-exports check-schema check-format check-gpu format lint bench bench-docs bench-scale bench-suite bench-tracking

check: check-static check-unit check-fixtures check-layer check-oracle check-integration check-modes ## every quick test

check-unit: all $(UNIT_TESTS) $(UNIT_TESTS_PLAIN) ## unit tests of the core, the report and the pools
	$(Q)$(RUN_TESTS) $(UNIT_TESTS) $(UNIT_TESTS_PLAIN)

check-fixtures: all $$(filter $$(BUILD)/%,$$(FIXTURE_TESTS)) ## one behaviour each, under the preloaded library
	$(Q)$(RUN_TESTS) $(FIXTURE_TESTS)

check-layer: all $$(filter $$(BUILD)/%,$$(LAYER_TESTS)) ## the Vulkan layer: fake next chain and lavapipe
	$(Q)$(RUN_TESTS) $(LAYER_TESTS)

check-static: all ## exports, needed libraries, headers, schema, both compilers, staged install
	$(Q)$(RUN_TESTS) $(STATIC_TESTS)

check-oracle: all ## counts against valgrind and a call log
	$(Q)$(RUN_TESTS) $(ORACLE_TESTS)

check-integration: all ## real programs and rough treatment
	$(Q)$(RUN_TESTS) $(INTEGRATION_TESTS)

# Deterministic programs and the oracle again, with options that change how every call is counted.
MODE_TESTS := $(patsubst %,tests/integration/test_%.sh,lua sqlite gcc python perl forks vkcube qml) $(ORACLE_TESTS)
check-modes: all ## the main tests without pools, and with every stack and an exact peak
	$(Q)TEST_OPTIONS=MEMTRACK_POOLS=off $(RUN_TESTS) --label "pools off" $(MODE_TESTS)
	$(Q)TEST_OPTIONS='MEMTRACK_STACKS=all MEMTRACK_PEAK=exact' $(RUN_TESTS) --label "all stacks" $(MODE_TESTS)

FULL_VULKAN_TESTS := $(patsubst %,tests/integration/full_%.sh,dsda_doom ffmpeg godot openarena)
check-full: all ## the big games
	$(Q)$(RUN_TESTS) -t 900 -j 1 $(FULL_TESTS)
	$(Q)TEST_OPTIONS=MEMTRACK_VULKAN_POOL=verify $(RUN_TESTS) -t 900 -j 1 --label "device pools that check themselves" $(FULL_VULKAN_TESTS)

check-exports: all ## exported symbols against the version scripts
	$(Q)$(RUN_TESTS) tests/static/exports.sh

check-schema: all ## the report schema and a fresh report against it
	$(Q)$(RUN_TESTS) tests/static/schema.sh

# The core's unit tests under the sanitizers, in build folders of their own.
check-asan: ## unit tests under AddressSanitizer and UBSan
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)-asan OPTIMISE='-O1 -g' \
	  CFLAGS='-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer' check-sanitized

check-tsan: ## unit tests under ThreadSanitizer
	$(Q)$(MAKE) --no-print-directory BUILD=$(BUILD)-tsan OPTIMISE='-O1 -g' \
	  CFLAGS='-fsanitize=thread -fno-omit-frame-pointer' check-sanitized

.PHONY: check-sanitized
check-sanitized: $(UNIT_TESTS)
	$(Q)setarch -R $(RUN_TESTS) $(UNIT_TESTS)

C_FILES = $(shell git ls-files '*.c' '*.h' 2>/dev/null || find collector interpose vklayer tests -name '*.[ch]')

check-format: ## the code against .clang-format
	$(Q)$(RUN_TESTS) tests/static/format.sh

format: ## format the code in place
	$(Q)clang-format -i $(C_FILES)

lint: ## cppcheck, clang-tidy and shellcheck
	$(Q)tests/lint.sh

bench: all $$(BENCH_PROGRAMS) ## interleaved timings against plain runs and the installed peers
	$(Q)$(PYTHON) tests/bench/run.py --build $(BUILD) $(BENCH_ARGS)

bench-docs: all $$(BENCH_PROGRAMS) ## the same, written to docs/benchmarks.md
	$(Q)$(PYTHON) tests/bench/run.py --build $(BUILD) --write docs/benchmarks.md $(BENCH_ARGS)

bench-scale: all $$(BENCH_PROGRAMS) ## cost of a call by size, live blocks and threads, written to docs/benchmarks.md
	$(Q)$(PYTHON) tests/bench/run.py --build $(BUILD) --target bench-scale --write docs/benchmarks.md $(BENCH_ARGS)

bench-suite: all $$(BENCH_PROGRAMS) ## the public malloc suite (SUITE=FOLDER: a built one), written to docs/benchmarks.md
	$(Q)suite='$(SUITE)' && { [ -n "$$suite" ] || suite=$$(tests/bench/get_suite.sh); } && \
	  $(PYTHON) tests/bench/run.py --build $(BUILD) --target bench-suite --suite "$$suite" --write docs/benchmarks.md $(BENCH_ARGS)

bench-tracking: all $$(BENCH_PROGRAMS) ## cost of counting inside the pools, written to docs/benchmarks.md
	$(Q)$(MAKE) --no-print-directory TRACKING=0 BUILD=$(BUILD)-untracked $(BUILD)-untracked/libmemtrack.so
	$(Q)$(PYTHON) tests/bench/run.py --build $(BUILD) --target bench-tracking --write docs/benchmarks.md $(BENCH_ARGS)

check-gpu: all ## the Vulkan tests on the default driver instead of lavapipe
	$(Q)TEST_GPU=1 $(RUN_TESTS) tests/integration/test_vkcube.sh tests/integration/test_glmark2.sh
