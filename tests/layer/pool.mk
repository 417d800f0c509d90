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
