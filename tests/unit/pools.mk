# The pools and the TLSF engine: unit tests and the measuring library.

POOLS_SRC     := $(wildcard interpose/pools/*.c)
pools_obj     := $(POOLS_SRC:%.c=$(BUILD)/obj/%.o)
pools_pic_obj := $(POOLS_SRC:%.c=$(BUILD)/pic/%.o)

$(BUILD)/pic/interpose/pools/%.o $(BUILD)/obj/interpose/pools/%.o: BASE_CFLAGS += -Iinterpose/pools

# The pools alone for LD_PRELOAD, to measure them.
$(BUILD)/libmtpools_bench.so: $(core_pic_obj) $(pools_pic_obj) tests/bench/pools_preload.c
	$(call say,LINK,$@)
	$(Q)$(CC) $(BASE_CFLAGS) $(INJECT_CFLAGS) -Iinterpose/pools $(CFLAGS) -MF $@.d -Wno-missing-prototypes $(INJECT_LDFLAGS) -Wl,-Bsymbolic -o $@ $(core_pic_obj) $(pools_pic_obj) tests/bench/pools_preload.c
