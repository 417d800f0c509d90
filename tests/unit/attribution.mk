# Call stacks and what is made of them.
UNIT_TESTS += $(BUILD)/tests/check_stack $(BUILD)/tests/check_sampler
UNIT_TESTS += $(BUILD)/tests/check_walk $(BUILD)/tests/check_trail
check_sampler_OBJ = $(BUILD)/obj/interpose/sampler.o
