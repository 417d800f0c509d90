UNIT_TESTS += $(BUILD)/tests/check_options $(BUILD)/tests/check_shard $(BUILD)/tests/check_object $(BUILD)/tests/check_lane \
              $(BUILD)/tests/check_frame $(BUILD)/tests/check_core $(BUILD)/tests/check_origin $(BUILD)/tests/check_groups $(BUILD)/tests/check_scope
