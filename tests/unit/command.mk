# Unit tests of the report's reader side and of the command's collector, and the texts made from the option table.
UNIT_TESTS += $(BUILD)/tests/check_report $(BUILD)/tests/check_report_files $(BUILD)/tests/check_vulkan $(BUILD)/tests/check_vulkan_objects $(BUILD)/tests/check_lifetimes
check_report_OBJ = $(patsubst %.c,$(BUILD)/obj/%.o,$(filter-out collector/command/main.c,$(COMMAND_SRC)))
check_report_LIBS = $(COMMAND_LIBS)
UNIT_TESTS += $(BUILD)/tests/check_tags
check_tags_OBJ = $(check_report_OBJ)
check_tags_LIBS = $(COMMAND_LIBS)
check_report_files_OBJ = $(check_report_OBJ)
check_report_files_LIBS = $(COMMAND_LIBS)
check_lifetimes_OBJ = $(check_report_OBJ)
check_lifetimes_LIBS = $(COMMAND_LIBS)
check_vulkan_objects_OBJ = $(check_report_OBJ)
check_vulkan_objects_LIBS = $(COMMAND_LIBS)
check_vulkan_OBJ = $(check_report_OBJ)
check_vulkan_LIBS = $(COMMAND_LIBS)

docs: $(BUILD)/memtrack ## write docs/options.md and the man page's list from the option table
	$(Q)scripts/update-docs $(BUILD)
