# The Vulkan layer: a fake next chain (no loader), a client on lavapipe through the loader, and the
# layer among others under real programs.

layer_test_dir := $(BUILD)/tests/layer
LAYER_TESTS += $(layer_test_dir)/check_layer $(layer_test_dir)/check_layer_model tests/layer/lavapipe.sh \
               tests/layer/stacking.sh tests/layer/call_log.sh tests/layer/dawn.sh tests/layer/loader.sh tests/layer/pictures.sh
BENCH_PROGRAMS += $(BUILD)/tests/bench_layer

# What the scripts run.
LAYER_PROGRAMS := $(layer_test_dir)/segment_totals $(layer_test_dir)/lavapipe_client $(layer_test_dir)/libmore_features.so $(layer_test_dir)/libhold_frame.so $(layer_test_dir)/loader_cycles
check-layer: $(LAYER_PROGRAMS)

$(layer_test_dir)/%.o: tests/layer/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE_CFLAGS) $(shell pkg-config --cflags check) $(CFLAGS) -c -o $@ $<

layer_support_obj := $(patsubst %,$(layer_test_dir)/%.o,layer_support fake_driver segment_view)
$(layer_test_dir)/check_layer: $(patsubst %,$(layer_test_dir)/check_layer_%.o,chain memory resources life depth rough sparse)
$(layer_test_dir)/check_layer $(layer_test_dir)/check_layer_model: %: %.o $(layer_support_obj)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs check) -lpthread -lm

$(layer_test_dir)/libmore_features.so $(layer_test_dir)/libhold_frame.so: $(layer_test_dir)/lib%.so: tests/layer/%.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_CFLAGS) -fPIC -shared $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $<

$(layer_test_dir)/loader_cycles: $(layer_test_dir)/loader_cycles.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -ldl

$(layer_test_dir)/segment_totals: $(layer_test_dir)/segment_totals.o $(layer_test_dir)/segment_view.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

$(layer_test_dir)/lavapipe_client: $(layer_test_dir)/lavapipe_client.o $(layer_test_dir)/segment_view.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lvulkan

$(BUILD)/tests/bench_layer: tests/bench/bench_layer.c $(layer_test_dir)/fake_driver.o
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_CFLAGS) -Itests/layer $(CFLAGS) $(LDFLAGS) -MF $@.d -o $@ $(filter %.c %.o,$^) -lpthread

.PHONY: bench-layer
bench-layer: $(BUILD)/libVkLayer_memtrack.so $(BUILD)/tests/bench_layer ## what one call through the layer costs
	$(Q)MEMTRACK_BUILD=$(BUILD) $(BUILD)/tests/bench_layer
