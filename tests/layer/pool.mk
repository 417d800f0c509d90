# The mock driver, and the tests of simulation and device-memory pools.

mock_obj := $(patsubst tests/layer/%.c,$(BUILD)/tests/layer/%.o,$(wildcard tests/layer/mock_icd/*.c))
$(BUILD)/tests/layer/mock_icd/%.o: BASE_CFLAGS += -fPIC

# The driver and its manifest, for VK_ICD_FILENAMES.
$(BUILD)/tests/layer/mock_icd/mock_icd.json: tests/layer/mock_icd/mock_icd.json.in $(BUILD)/tests/layer/mock_icd/libmock_icd.so
	$(call say,GEN,$@)
	$(Q)sed -e 's|@LIBRARY_PATH@|$(abspath $(@D))/libmock_icd.so|' $< > $@

$(BUILD)/tests/layer/mock_icd/libmock_icd.so: $(mock_obj)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(CFLAGS) $(LDFLAGS) -o $@ $^ -lpthread

LAYER_TESTS += $(BUILD)/tests/layer/check_pool
check_pool_obj := $(patsubst %,$(BUILD)/tests/layer/%.o,check_pool check_pool_simulation check_pool_slices check_pool_structures check_pool_rays check_pool_devices check_pool_sequences check_pool_threads pool_support segment_view)

$(BUILD)/tests/layer/check_pool: $(check_pool_obj) $(BUILD)/libVkLayer_memtrack.so $(BUILD)/manifests $(BUILD)/tests/layer/mock_icd/mock_icd.json
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(shell pkg-config --libs check) -lvulkan -ldl -lpthread -lm

$(BUILD)/tests/bench_pool: tests/bench/bench_pool.c $(core_pic_obj) $(layer_obj)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_CFLAGS) -Ivklayer $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $(filter %.c %.o,$^) -lvulkan -ldl -lpthread

BENCH_PROGRAMS += $(BUILD)/tests/bench_pool $(BUILD)/tests/layer/mock_icd/mock_icd.json
.PHONY: bench-pool
bench-pool: all $(BUILD)/tests/bench_pool $(BUILD)/tests/layer/mock_icd/mock_icd.json ## device-memory pools against the driver's own calls
	$(Q)$(BUILD)/tests/bench_pool $(BUILD)

$(BUILD)/tests/layer/pool_render: $(BUILD)/tests/layer/pool_render.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lvulkan
check-layer: $(BUILD)/tests/layer/pool_render
LAYER_TESTS += tests/layer/pool_programs.sh

# What the layer says of the driver itself, and of its own memory.
LAYER_TESTS += $(BUILD)/tests/layer/check_driver
check_driver_obj := $(patsubst %,$(BUILD)/tests/layer/%.o,check_driver check_driver_host check_driver_reports check_driver_growth pool_support segment_view)

$(BUILD)/tests/layer/check_driver: $(check_driver_obj) $(BUILD)/libVkLayer_memtrack.so $(BUILD)/manifests $(BUILD)/tests/layer/mock_icd/mock_icd.json
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(shell pkg-config --libs check) -lvulkan -ldl -lpthread -lm

$(BUILD)/tests/layer/host_client: $(BUILD)/tests/layer/host_client.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lvulkan -lpthread
check-layer: $(BUILD)/tests/layer/host_client $(BUILD)/tests/layer/mock_icd/mock_icd.json
LAYER_TESTS += tests/layer/host.sh tests/layer/api.sh
